/* What the files of the data plane share: the runtime, and its half on each worker. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "server/base/map.h"
#include "tenants/did_resolver.h"
#include "tenants/dp/contract/agreement.h"
#include "tenants/dp/dataset.h"
#include "tenants/dp/dp.h"
#include "tenants/dp/flow.h"
#include "tenants/dp/source/digests.h"
#include "tenants/dp/source/open_file.h"
#include "tenants/dp/token.h"

/* In-memory indexes by (ctx, id): struct dataset, flow, revocation, transfer_types, key_mapping, renewal (id: the
 * flow's), control_planes (id: ""), letter (outbox.h), agreement, opaque_token (id: its digest). */
enum dp_map {
	DP_DATASETS,
	DP_FLOWS,
	DP_REVOCATIONS,
	DP_TRANSFER_TYPES,
	DP_KEY_MAPPINGS,
	DP_RENEWALS,
	DP_CONTROL_PLANES,
	DP_LETTERS,
	DP_AGREEMENTS,
	DP_TOKENS,
	DP_MAP_COUNT
};

struct revocation {
	char *ctx, *jti;
	int64_t expires_ms; /* of the token: afterwards the record may go */
};

struct books;
struct grave;
struct tally;
struct replays;
struct jwks;
struct outbox;
struct callback_tokens;
struct agreement_fetch;

struct dp {
	struct dp_settings settings;
	struct worker_pool *pool;
	struct store *store;
	struct vault *vault;
	struct registry *registry;
	struct access *access;
	struct did_resolver *resolver;
	_Atomic(struct map *) maps[DP_MAP_COUNT]; /* written by the store's thread */
	bool loading;                             /* until the first batch nobody reads */
	unsigned workers;
	int slot;
	int root;          /* directory of file sources */
	struct disk *disk; /* threads for what may block on files */
	struct digests *digests;
	struct books *books;
	_Atomic uint64_t secrets;     /* grows with each change of a secret */
	_Atomic uint64_t token_epoch; /* opaque_token.h */
	int64_t token_sweep_ms;       /* when to look for those that are over; the store's thread's */
	pthread_mutex_t graves_lock;  /* never taken while serving */
	struct grave *graves, **graves_end;
	char process[ID_LENGTH + 1]; /* who we are among the processes on the database */
	struct replays *replays;     /* NULL: not asked for */
	atomic_bool is_stopping;
};

struct dp_worker {
	struct dp *dp;
	struct worker *worker;
	unsigned index;
	struct verdicts *verdicts;
	struct open_files *files;
	struct holdings *holdings;    /* of the tokens this worker keeps */
	struct push *pushes;          /* of the tenants whose pushes run here */
	struct pull *expiring;        /* live pulls that end by the clock */
	struct pull *sending;         /* live pulls whose bytes the kernel sends */
	struct agreement_lane *dirty; /* with something to book */
	struct tally *tallies;        /* one a flow, of the pulls that ended */
	struct timer *tick;
	struct jwks *jwks;
	struct outbox *outbox; /* of the first worker alone */
	struct callback_tokens *callback_tokens;
	struct agreement_fetch *agreement_fetches; /* under way */
	struct digest_lane *digests;
	struct buffer key_set; /* public_keys.c: as printed at key_set_ms */
	uint64_t key_set_ms;
};

#define DP_METRIC_LIST(X)                                                                                              \
	X(PULL_OK, "celld_dp_pulls_total", "outcome=\"ok\"", "Pulls by outcome")                                           \
	X(PULL_UNAUTHORIZED, "celld_dp_pulls_total", "outcome=\"unauthorized\"", "Pulls by outcome")                       \
	X(PULL_FORBIDDEN, "celld_dp_pulls_total", "outcome=\"forbidden\"", "Pulls by outcome")                             \
	X(PULL_NOT_FOUND, "celld_dp_pulls_total", "outcome=\"not_found\"", "Pulls by outcome")                             \
	X(PULL_REFUSED, "celld_dp_pulls_total", "outcome=\"refused\"", "Pulls by outcome")                                 \
	X(PULL_STOPPED, "celld_dp_pulls_total", "outcome=\"stopped\"", "Pulls by outcome")                                 \
	X(PULL_BROKEN, "celld_dp_pulls_total", "outcome=\"broken\"", "Pulls by outcome")                                   \
	X(TOKEN_HIT, "celld_dp_token_cache_total", "result=\"hit\"", "Look-ups of cached token verdicts")                  \
	X(TOKEN_MISS, "celld_dp_token_cache_total", "result=\"miss\"", "Look-ups of cached token verdicts")                \
	X(RENEWED, "celld_dp_renewals_total", "outcome=\"renewed\"", "Tokens renewed for consumers")                       \
	X(RENEWAL_REPLAYED, "celld_dp_renewals_total", "outcome=\"repeated\"", "Tokens renewed for consumers")             \
	X(RENEWAL_REFUSED, "celld_dp_renewals_total", "outcome=\"refused\"", "Tokens renewed for consumers")               \
	X(RENEWAL_RECEIVED, "celld_dp_own_renewals_total", "outcome=\"renewed\"", "Own tokens renewed at providers")       \
	X(RENEWAL_FAILED, "celld_dp_own_renewals_total", "outcome=\"failed\"", "Own tokens renewed at providers")          \
	X(LOCAL_OK, "celld_dp_local_pulls_total", "outcome=\"ok\"", "Pulls for own applications")                          \
	X(LOCAL_FAILED, "celld_dp_local_pulls_total", "outcome=\"failed\"", "Pulls for own applications")                  \
	X(LOCAL_CORRUPT, "celld_dp_local_corrupt_total", NULL, "Pulls for own applications whose digest did not match")    \
	X(LOCAL_RESUMED, "celld_dp_local_resumes_total", NULL, "Pulls for own applications taken up after a cut")          \
	X(CUTS, "celld_dp_cut_streams_total", NULL, "Live streams stopped because their flow ended")                       \
	X(PUSH_OK, "celld_dp_pushes_total", "outcome=\"ok\"", "Pushes that ended")                                         \
	X(PUSH_FAILED, "celld_dp_pushes_total", "outcome=\"failed\"", "Pushes that ended")                                 \
	X(PUSH_RETRIED, "celld_dp_push_retries_total", NULL, "Attempts of pushes that failed and are made again")          \
	X(CALLBACK_SENT, "celld_dp_callbacks_total", "outcome=\"acknowledged\"", "Attempts to call control planes back")   \
	X(CALLBACK_FAILED, "celld_dp_callbacks_total", "outcome=\"failed\"", "Attempts to call control planes back")       \
	X(RECEIPTS_LOST, "celld_dp_receipts_lost_total", NULL, "Pulls that no receipt tells of: out of memory")            \
	X(SOURCE_ERRORS, "celld_dp_source_errors_total", NULL, "Sources that failed before or after their head")
enum dp_metric {
#define DP_METRIC_MEMBER(name, series, labels, help) DP_##name,
	DP_METRIC_LIST(DP_METRIC_MEMBER)
#undef DP_METRIC_MEMBER
		DP_METRIC_COUNT
};
void dp_count(enum dp_metric metric);
/* A pull refused or stopped by its agreement's policy. */
void dp_count_reason(enum policy_reason reason);

/* On a worker: valid until it returns to its loop. */
void *dp_find(const struct dp *dp, enum dp_map map, struct text ctx, struct text id);
/* The same; a memo is of one key. */
void *dp_recall(const struct dp *dp, enum dp_map map, struct text ctx, struct text id, struct map_memo *memo);
/* Its data plane is open to the world. NULL is fine: false. */
bool dp_serves(const struct participant *participant);
struct dp_worker *dp_here(const struct dp *dp, struct worker *worker);
/* records.c: the listener that keeps the maps, and the end of a participant. */
void records_listen(struct dp *dp);
void records_free(struct dp *dp);
