/* One attempt of a push: private to its three files. */
#pragma once

#include "server/base/secret.h"
#include "server/share.h"
#include "tenants/dp/sink/push_private.h"

enum { PUSH_BLOCK = 64 * 1024 };

struct push_attempt {
	struct push *push; /* NULL: stopped, freed when what it waits for comes */
	bool is_waiting;   /* for the vault: its answer frees what was stopped */
	bool waits_for_save;
	struct dataset *dataset; /* a reference */
	size_t part;
	struct share *share;
	/* where to */
	struct data_address *address;
	struct url endpoint; /* into the address */
	struct secret *authorization;
	struct buffer path; /* of the part */
	struct client_call *call;
	bool takes_segments;
	/* where from */
	struct inner *source;
	int64_t total; /* -1: not known */
	int64_t at;    /* offset of the next byte to send */
	int64_t skip;  /* bytes to leave out first: a source without ranges */
	char content_type[256];
	/* the request under way */
	bool is_whole, is_sent, is_draining;
	int64_t end; /* offset behind its last byte; -1: not known */
	uint8_t *block;
	size_t held_at, held;
	uint64_t moved_ms;
};

/* Ends the attempt and tells the push. */
void attempt_end(struct push_attempt *attempt, enum attempt_end end, const char *error);
/* The next part, or the end. */
void attempt_next_part(struct push_attempt *attempt);

/* push_source.c: opens the part at an offset; then attempt_source_ready, or the attempt's end. */
void attempt_open_source(struct push_attempt *attempt, int64_t offset);
void attempt_close_source(struct push_attempt *attempt);

/* push_send.c */
void attempt_probe(struct push_attempt *attempt);
void attempt_source_ready(struct push_attempt *attempt);
/* What the source has, as far as the receiver takes it. */
void attempt_pump(struct push_attempt *attempt);
