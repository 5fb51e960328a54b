/* S3 stores of records. */
#include "tenants/dp/source/s3_store.h"

#include <stdlib.h>

enum status s3_store_build(
	const struct json *properties, unsigned workers, struct s3_store *store, struct buffer *error)
{
	store->lane_count = workers;
	store->lanes = calloc(workers, sizeof(store->lanes[0]));
	if (store->lanes == NULL)
		return STATUS_NO_MEMORY;
	enum status status = s3_bucket_build(properties, &store->bucket, error);
	store->credential = (struct credential_rules){.secret_name = store->bucket.secret_name, .is_document = true};
	return status;
}

void s3_store_clear(struct s3_store *store)
{
	for (unsigned i = 0; store->lanes != NULL && i < store->lane_count; i++)
		credential_forget(&store->lanes[i]);
	s3_bucket_clear(&store->bucket);
	free(store->lanes);
	*store = (struct s3_store){.lanes = NULL};
}
