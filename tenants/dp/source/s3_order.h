/* A call to an S3 store for a tenant: signed with the tenant's keys, bound by the tenant's address rules. */
#pragma once

#include "tenants/dp/source/s3_request.h"
#include "tenants/dp/state.h"

struct s3_order {
	struct dp_worker *home;
	struct text ctx;
	const struct s3_bucket *bucket;
	struct text secret; /* the vault's value */
	struct s3_request request;
	int64_t body_length; /* for s3_order_start; 0: none */
};

/* On the home's worker. All-zero `call` before; s3_call_clear after, whatever came of it. UNAVAILABLE: the tenant is
 * gone; else as s3_call_build. */
enum status s3_order_sign(const struct s3_order *order, struct s3_call *call, struct address_rules *rules) MUST_CHECK;
/* Signs, and starts the call; everything in `order` is copied or used before this returns. */
enum status s3_order_start(const struct s3_order *order, const struct client_events *events, void *context,
	struct client_call **call) MUST_CHECK;
