/* The data plane runtime: datasets, flows, access tokens, and the pull of bytes from sources. Everything it needs to
 * serve an admitted flow is in memory. */
#pragma once

#include "server/base/config.h"
#include "server/client.h"
#include "tenants/access.h"
#include "tenants/registry.h"
#include "tenants/runtime.h"
#include "tenants/store/store.h"
#include "tenants/vault/vault.h"

enum policy_unenforceable { POLICY_REFUSE, POLICY_FLAG };
enum agreement_fetching { AGREEMENT_FETCH_NEVER, AGREEMENT_FETCH_OPTIONAL, AGREEMENT_FETCH_REQUIRED };

/* Of the access tokens this cell makes. */
enum token_form { TOKEN_FORM_JWT, TOKEN_FORM_OPAQUE };

/* Section "dp". */
struct dp_settings {
	char *source_root;         /* file sources: <source_root>/<ctx>/<dataset path>; default <state directory>/sources */
	int64_t token_lifetime_ms; /* 1 h; a flow's own expiry bounds it */
	int token_form;            /* enum token_form: jwt */
	int64_t renewal_lifetime_ms;      /* of a token that can be renewed: 300 s */
	int64_t renewal_grace_ms;         /* how long ago a token may have expired that is to be renewed: 30 d */
	int64_t token_cache;              /* verdicts per worker: 16,384 */
	int64_t open_files;               /* cached per worker: 1,024 */
	int64_t source_ms;                /* how long a source may stay silent: 30 s */
	int64_t digest_wait_ms;           /* how long an answer waits for a digest that is asked for: 2 s */
	char *cell_file;                  /* holds the name this cell keeps its books under; made when missing */
	int64_t flush_ms;                 /* between two writings of the books: 1 s */
	bool receipts;                    /* true */
	int64_t receipts_kept;            /* per participant: 100,000 */
	bool agreement_required;          /* without an agreement's record nothing flows: false */
	int policy_unenforceable;         /* enum policy_unenforceable: refuse */
	int agreement_from_control_plane; /* enum agreement_fetching: never */
	/* Data Plane Signaling */
	char *public_url;                         /* NULL: as the caller reached us */
	int64_t callback_min_ms, callback_max_ms; /* between attempts: 1 s, doubled to 60 s */
	int64_t callback_timeout_ms;              /* of one answer: 5 s */
	char *subject_token_file;                 /* the workload's token, for token exchange */
	bool unverified_control_planes;           /* tokens of those without keys pass unsigned */
	bool replay_detection;                    /* a token id of a control plane is good once */
	int64_t jwks_ms;                          /* how long key sets are good: 5 min */
	/* pushes, and what is received */
	int64_t pushes;         /* at once, of one tenant: 4 */
	int64_t received_bytes; /* of one object in a file sink: 64 GiB */
	int64_t push_segment;   /* bytes a receiver acknowledges at once: 8 MiB */
	int64_t push_retries;   /* in a row without progress: 10 */
	int64_t push_pause_ms;  /* before the first of them; doubles up to 30 s: 500 ms */
	int64_t push_ms;        /* how long a receiver may stay silent, or take no byte: 60 s */
};
extern const struct setting dp_settings_table[];
extern const size_t dp_settings_count;

struct dp;
enum status dp_open(const struct dp_settings *settings, struct worker_pool *pool, struct store *store,
	struct vault *vault, struct registry *registry, struct access *access, struct dp **dp) MUST_CHECK;
/* Public pull: /api/public/{ctx}/... ; rest is what follows the ctx. */
void dp_pull(void *dp, struct exchange *exchange, const struct route *route);
/* The public API: POST {ctx}/token (and /token/refresh) renews a consumer's token, all else is a pull. */
void dp_public(void *dp, struct exchange *exchange, const struct route *route);
/* For the participant's own applications: GET /tokens/{ctx}/{flow}, the token it holds of a flow, and GET or HEAD
 * /api/local/{ctx}/{flow}/..., the flow's data fetched with it. Callers need management-api:tokens:read or
 * siglet-mgmt-api:read. */
void dp_token(void *dp, struct exchange *exchange, const struct route *route);
void dp_local(void *dp, struct exchange *exchange, const struct route *route);
/* Where this cell receives what others push: /api/ingest/{ctx}/{flow}[/path]. */
void dp_ingest(void *dp, struct exchange *exchange, const struct route *route);
/* Management of datasets, flows and tokens: /api/cell/v1/participants/{ctx}/(datasets|flows|secrets)... */
void dp_manage(void *dp, struct exchange *exchange, const struct route *route);
/* Data Plane Signaling: /api/v1/{ctx}/(dataflows|controlplanes)... */
void dp_signaling(void *dp, struct exchange *exchange, const struct route *route);
/* What the data plane does by itself ends: `done` runs once when no worker is at it any more. While the workers, the
 * store and the vault still run. */
void dp_stop(struct dp *dp, void (*done)(void *context), void *context);
/* Once the workers run: the books begin. */
enum status dp_start(struct dp *dp) MUST_CHECK;
/* Before the store is closed, the workers still running: what was sent is booked. NULL is fine. */
void dp_settle(struct dp *dp);
/* After the workers have stopped. */
void dp_free(struct dp *dp);
