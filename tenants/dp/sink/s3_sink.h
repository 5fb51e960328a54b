/* Sink "s3", inside: sink_s3.c takes the bytes and cuts them into parts, s3_upload.c speaks about the multipart upload,
 * s3_slot.c sends parts. All on the intake's worker. */
#pragma once

#include "tenants/dp/sink/teller.h"
#include "tenants/dp/source/s3_store.h"
#include "tenants/dp/source/s3_talk.h"
#include "tenants/jose/digest.h"
#include "tenants/jose/running_digest.h"

enum { S3_SLOTS = 2, S3_PARTS_MAX = 10000, S3_TAG_MAX = 128, S3_UPLOAD_MAX = 1024 };
struct s3_sink {
	struct s3_store store;
	char *folder, *object;
};

enum slot_phase { SLOT_FREE, SLOT_FILLING, SLOT_READY, SLOT_SENDING };
/* One part on its way. */
struct slot {
	struct s3_intake *home;
	enum slot_phase phase;
	struct buffer bytes;
	struct running_digest *digest; /* NULL over TLS: the payload is not signed there */
	char payload[DIGEST_HEX + 1];
	size_t number, sent;
	unsigned tries;
	struct client_call *call;
};

struct s3_intake {
	struct teller told; /* first */
	struct credential_waiter waiter;
	struct secret *secret;
	struct buffer key;
	char upload[S3_UPLOAD_MAX]; /* id; "" none */
	char (*tags)[S3_TAG_MAX];   /* of part 1, 2, ... */
	size_t tag_count, tag_room;
	int64_t part_bytes;
	size_t next_number;
	struct s3_talk *talk;
	struct slot slots[S3_SLOTS];
	size_t used; /* of the write under way */
	bool is_whole;
};

/* What a store's answer means for the sender; 0: there was none. */
enum status s3_status_of(int http);

/* sink_s3.c: goes on with what was written, after something has changed. */
void s3_intake_feed(struct s3_intake *state);

/* s3_upload.c. Each tells the intake how it ended, now or later. */
/* With its credential: finds the upload that broke off, and what it has, or that there is none. */
void s3_upload_begin(struct s3_intake *state);
/* Then the slots that are READY go. */
void s3_upload_create(struct s3_intake *state);
/* All parts are there: the object. */
void s3_upload_complete(struct s3_intake *state);
/* Nobody waits for it. */
void s3_upload_abandon(struct s3_intake *state);
/* False: out of memory, or no such number. */
bool s3_upload_keep_tag(struct s3_intake *state, size_t number, const char *tag);

/* s3_slot.c */
/* Sends the part, a few times if need be; then the slot is FREE and the intake goes on, or it fails. */
void s3_slot_send(struct slot *slot);
/* Free, whatever it did. */
void s3_slot_clear(struct slot *slot);
