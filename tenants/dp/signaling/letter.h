/* A letter: one callback that is to reach a control plane (record OUTBOX), and when it goes out. */
#pragma once

#include "tenants/dp/flow.h"
#include "tenants/store/store.h"

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
bool letter_goes(enum letter_kind kind, enum flow_state state);
bool letter_ends(enum letter_kind kind, enum flow_state state);

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
enum { LETTER_ID_MAX = 256 };
struct text letter_id(struct text flow, enum letter_kind kind, char room[LETTER_ID_MAX]);
/* False: out of memory. */
bool letter_put(struct transaction *transaction, const struct letter *letter, int64_t expected) MUST_CHECK;
