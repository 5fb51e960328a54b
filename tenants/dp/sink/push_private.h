/* What the files of the push engine share. */
#pragma once

#include <stdatomic.h>

#include "server/inner.h"
#include "tenants/dp/data_address.h"
#include "tenants/dp/pull.h"
#include "tenants/dp/sink/push.h"

enum { PUSH_PART_MAX = 256, PUSH_VALIDATOR_MAX = 128 };

/* How far the receiver has acknowledged; a record of its own, written now and then. */
struct push_progress {
	char part[PUSH_PART_MAX + 1];           /* path of the part under way */
	char validator[PUSH_VALIDATOR_MAX + 1]; /* of the source when the part began: a strong ETag or a date; "" none */
	int64_t offset, length;                 /* length -1: not known */
	bool is_begun, is_done;
};

/* RESTING: until the next attempt. OVER: all sent, or given up, until the flow is started anew. */
enum push_phase { PUSH_IDLE, PUSH_QUEUED, PUSH_RUNNING, PUSH_RESTING, PUSH_OVER };

struct push_attempt;

/* One flow's push. But for the references, touched by its worker alone once that runs. */
struct push {
	atomic_uint references;
	struct dp *dp;
	unsigned index; /* of the worker */
	char ctx[ID_LENGTH + 1];
	char *id;
	struct flow *flow;      /* NULL: not heard of yet, or gone */
	struct dp_worker *home; /* NULL: not listed */
	struct push *next, **previous;
	enum push_phase phase;
	int64_t started_ms; /* the change of state that it obeys */
	unsigned failures;  /* in a row, without a byte acknowledged between them */
	struct timer *timer;
	struct push_attempt *attempt; /* RUNNING */
	struct push_progress progress;
	uint64_t saved_ms;
	bool is_dirty, is_saving, has_record;
	bool has_used;     /* the contract has counted this push */
	bool is_resumable; /* its receiver has told offsets */
};

void push_ref(struct push *push);

/* --- push_progress.c */
bool push_progress_read(const struct json *body, struct push_progress *progress);
/* Stores what is not stored yet, unless that is under way. */
void push_progress_save(struct push *push);
void push_progress_forget(struct push *push);

/* --- push_attempt.c: one try, from the address to the last acknowledgement or the first failure */
enum attempt_end { ATTEMPT_DONE, ATTEMPT_AGAIN, ATTEMPT_FAILED, ATTEMPT_STOPPED };
/* NULL: out of memory. Ends with push_attempt_ended, later. */
struct push_attempt *push_attempt_start(struct push *push);
/* Ends it without a word. */
void push_attempt_stop(struct push_attempt *attempt);
/* A save has finished. */
void push_attempt_saved(struct push_attempt *attempt);
/* Once a second: does the receiver still take bytes? */
void push_attempt_check(struct push_attempt *attempt);

/* --- push.c */
/* The attempt is over and freed; `error` for people, no secrets in it. */
void push_attempt_ended(struct push *push, enum attempt_end end, const char *error);
