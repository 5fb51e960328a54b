/* An S3 store as a source or a sink has it: its bucket, and each worker's copy of the keys to it. */
#pragma once

#include "tenants/dp/source/credential.h"
#include "tenants/dp/source/s3_request.h"

struct s3_store {
	struct s3_bucket bucket;
	struct credential_rules credential;
	unsigned lane_count;
	struct credential_lane *lanes; /* one per worker: the vault's document in `value` */
};

/* The properties of a bucket. All-zero before; s3_store_clear after, whatever came of it. */
enum status s3_store_build(
	const struct json *properties, unsigned workers, struct s3_store *store, struct buffer *error) MUST_CHECK;
void s3_store_clear(struct s3_store *store);
