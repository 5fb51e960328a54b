/* What the data plane says to control planes by itself: callbacks (dps.md 2.2), each a record made in the same
 * transaction as the change it tells of, sent at least once, in order for each flow, until the control plane has
 * acknowledged it or the flow has ended otherwise. And what it does to flows by the clock.
 *
 * One worker of the process does all of it, with a lane for each flow that has something to do. Of several processes on
 * one database the owner of a letter sends it; another takes over when the owner has not renewed its claim in time. */
#pragma once

#include "tenants/dp/state.h"

/* In the order in which they leave: letter, last segment of the path, the state it tells (the flow's own when it tells
 * none), states in which it goes out, states in which nobody needs it any more. In others it waits. */
#define LETTER_IN(name) (1U << FLOW_##name)
#define LETTER_ENDED (LETTER_IN(COMPLETED) | LETTER_IN(TERMINATED))
#define LETTER_LIST(X)                                                                                                 \
	X(PREPARED, "prepared", LETTER_IN(PREPARED), LETTER_IN(STARTED) | LETTER_IN(SUSPENDED) | LETTER_ENDED)             \
	X(STARTED, "started", LETTER_IN(STARTED), LETTER_ENDED)                                                            \
	X(ERRORED, "errored", ~LETTER_ENDED, LETTER_ENDED)                                                                 \
	X(COMPLETED, "completed", LETTER_IN(STARTED), LETTER_ENDED)
enum letter_kind {
#define LETTER_MEMBER(name, segment, goes, ends) LETTER_##name,
	LETTER_LIST(LETTER_MEMBER)
#undef LETTER_MEMBER
		LETTER_COUNT
};
const char *letter_segment(enum letter_kind kind);

/* Immutable once published in DP_LETTERS under (ctx, "<flow>:<segment>"). */
struct letter {
	char ctx[ID_LENGTH + 1];
	char *flow, *error; /* error: of ERRORED */
	enum letter_kind kind;
	char message[ID_LENGTH + 1]; /* the same for each attempt */
	char owner[ID_LENGTH + 1];   /* the process that sends it */
	int64_t until_ms;            /* when another may */
	int64_t queued_ms, attempts;
	int64_t revision;
};
enum status letter_parse(struct text ctx, const struct json *body, struct letter **letter) MUST_CHECK;
void letter_free(void *letter);

/* Into the transaction with the change it tells of; on a worker. error: TEXT_NONE but for ERRORED. False: out of
 * memory. */
bool outbox_put(const struct dp *dp, struct transaction *transaction, struct text ctx, struct text flow,
	enum letter_kind kind, struct text error, int64_t now_ms) MUST_CHECK;
/* Something about the flow has changed: look whether there is something to do. From any thread. */
void outbox_wake(struct dp *dp, struct text ctx, struct text flow);
/* The same for all flows of the ctx that have letters; their waiting is over. */
void outbox_wake_all(struct dp *dp, struct text ctx);

struct outbox;
/* On the worker that runs it; takes up what is there. */
struct outbox *outbox_new(struct dp_worker *home);
void outbox_free(struct outbox *outbox);
