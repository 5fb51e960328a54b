/* What an HTTP source asks of us: a header with a secret, or an OAuth 2 token (RFC 6749 section 4.4, client
 * credentials). Fetched once by each worker, one fetch at a time, and kept until it expires, a secret changes, or the
 * source refuses it. */
#pragma once

#include "server/base/secret.h"
#include "tenants/dp/pull.h"

struct credential_rules {
	char *header;                                /* authKey, lower-case */
	struct secret *literal;                      /* authCode */
	char *secret_name;                           /* vault alias, when there is no literal */
	bool is_document;                            /* the secret is JSON and taken whole: no header is made of it */
	char *client_id, *client_secret_key, *scope; /* oauth2 */
	char *token_url;
};

/* One worker's. All-zero starts. */
struct credential_lane {
	struct secret *value;  /* of `header`, from the vault */
	struct secret *bearer; /* "Bearer ..." */
	int64_t bearer_until_ms;
	uint64_t secrets; /* dp->secrets when fetched */
	bool is_fetching;
	struct credential_waiter *waiters;
};

struct credential_waiter {
	void (*ready)(struct credential_waiter *waiter, enum status status);
	struct credential_waiter *next, **previous;
};

/* True: all that is needed is in the lane. */
bool credential_is_ready(
	const struct pull *pull, const struct credential_rules *rules, const struct credential_lane *lane);
/* Fetches (or joins the fetch under way); `ready` runs later on this worker, unless the waiter leaves. */
void credential_fetch(struct pull *pull, const struct credential_rules *rules, struct credential_lane *lane,
	struct credential_waiter *waiter);
void credential_leave(struct credential_waiter *waiter);
/* The source refused what we have. */
void credential_forget(struct credential_lane *lane);
