/* A flow: what one agreement lets one counterparty pull, its state machine, and the lanes its live streams stand in. */
#pragma once

#include <stdatomic.h>

#include "server/base/id.h"
#include "server/base/json.h"
#include "server/base/map.h"
#include "server/worker.h"

/* The states of Data Plane Signaling 1.0 (dps.md, state enum). */
#define FLOW_STATE_LIST(X)                                                                                             \
	X(INITIALIZED)                                                                                                     \
	X(PREPARING)                                                                                                       \
	X(PREPARED)                                                                                                        \
	X(STARTING)                                                                                                        \
	X(STARTED)                                                                                                         \
	X(SUSPENDED)                                                                                                       \
	X(COMPLETED)                                                                                                       \
	X(TERMINATED)

enum flow_state {
#define FLOW_STATE_MEMBER(name) FLOW_##name,
	FLOW_STATE_LIST(FLOW_STATE_MEMBER)
#undef FLOW_STATE_MEMBER
		FLOW_STATE_COUNT
};
struct text flow_state_name(enum flow_state state);

/* What happens to a flow, whoever says so: a control plane's message, management, the wire or the clock. */
#define FLOW_EVENT_LIST(X)                                                                                             \
	X(PREPARE)       /* /prepare, and all is there */                                                                  \
	X(PREPARE_LATER) /* /prepare, and it takes a while */                                                              \
	X(START)         /* /start, and all is there */                                                                    \
	X(START_LATER)   /* /start, and it takes a while */                                                                \
	X(READY)         /* what took a while is there */                                                                  \
	X(STARTED)       /* /started: the other side has started */                                                        \
	X(SUSPEND)                                                                                                         \
	X(RESUME)                                                                                                          \
	X(TERMINATE)                                                                                                       \
	X(COMPLETE) /* /completed: the other side has finished */                                                          \
	X(FINISH)   /* this side has finished, and the control plane knows */
enum flow_event {
#define FLOW_EVENT_MEMBER(name) FLOW_ON_##name,
	FLOW_EVENT_LIST(FLOW_EVENT_MEMBER)
#undef FLOW_EVENT_MEMBER
		FLOW_EVENT_COUNT
};
/* The transition table: false when the event is refused in this state. *to == from: it has happened before and changes
 * nothing. */
bool flow_may_move(enum flow_state from, enum flow_event event, enum flow_state *to);
bool flow_state_is_final(enum flow_state state);

/* Which side of the contract this participant is on. */
#define FLOW_ROLE_LIST(X)                                                                                              \
	X(PROVIDER, "provider")                                                                                            \
	X(CONSUMER, "consumer")
enum flow_role {
#define FLOW_ROLE_MEMBER(name, text) FLOW_##name,
	FLOW_ROLE_LIST(FLOW_ROLE_MEMBER)
#undef FLOW_ROLE_MEMBER
};

/* What the record says; immutable once published. Times are wall milliseconds, 0: none. Texts but for the first three
 * may be NULL. */
struct flow_terms {
	char *dataset, *agreement, *counter_party;
	char *participant, *profile, *dataspace; /* as Data Plane Signaling names them */
	char *control_plane;                     /* who gets the callbacks */
	char *messages;                          /* JSON: the last messages obeyed, "verb id", oldest first */
	char *reason;                            /* of the last suspension or termination */
	char *address;                           /* JSON: the DataAddress received, without its secrets */
	char *public_url;                        /* where the control plane reached us: what offered addresses start with */
	char *claims, *labels, *metadata;        /* JSON */
	enum flow_role role;
	enum flow_state state;
	int64_t not_before_ms, expires_ms, created_ms, changed_ms;
	int64_t due_ms; /* when the cell moves it on by itself: READY, or the end of what is STARTED */
	int64_t revision;
	char *region, *purpose, *industry; /* what labels and claims say of them: see fact_of in flow.c */
};

/* From a record or a request. `strict` refuses unknown members and the members the cell sets itself; `error` gets one
 * line that names the member. */
enum status flow_terms_parse(
	const struct json *body, bool strict, struct flow_terms **terms, struct buffer *error) MUST_CHECK;
/* The record's JSON, without the closing brace, so that a view may add members. */
void flow_terms_print(const struct flow_terms *terms, struct text id, struct buffer *into);
/* The one function that moves a flow. CONFLICT when the table does not allow it; changed_ms stays when nothing changes.
 */
enum status flow_terms_move(struct flow_terms *terms, enum flow_event event, int64_t now_ms) MUST_CHECK;
void flow_terms_free(void *terms);
/* The profile ends in -push, in any case. */
bool flow_terms_is_push(const struct flow_terms *terms);
/* STARTED and inside its window: bytes may flow. */
bool flow_terms_admit(const struct flow_terms *terms, int64_t now_ms);

struct pull;
struct push;
struct agreement;
struct dataset;
struct tally;

/* One worker's live streams of the flow; touched by that worker alone, but for the counters. */
struct flow_lane {
	_Alignas(64) struct pull *pulls;
	_Atomic uint64_t bytes, requests;
	struct tally *tally;     /* of the pulls that ended since the last collection; NULL: none */
	struct dataset *dataset; /* a reference for those pulls that read it, so that workers do not count in one line */
	unsigned readers;
	struct map_memo known; /* the record of the dataset that the flow is of */
};

struct flow {
	char ctx[ID_LENGTH + 1];
	char *id;
	_Atomic(struct flow_terms *) terms;    /* replaced by the store's thread, the old retired */
	_Atomic(struct agreement *) agreement; /* never NULL once published; the same */
	unsigned lane_count;
	struct flow_lane *lanes; /* one per worker */
	struct push *push;       /* of a provider's push flow; made by the store's thread */
};

/* Takes the terms over on success. */
struct flow *flow_new(struct text ctx, struct text id, struct flow_terms *terms, unsigned workers);
/* No stream may be live. */
void flow_free(void *flow);
uint64_t flow_bytes(const struct flow *flow);
uint64_t flow_requests(const struct flow *flow);
