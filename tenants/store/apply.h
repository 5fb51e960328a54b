/* What a transaction means, for every database: private to this folder. */
#pragma once

#include "tenants/store/backend.h"

/* Between begin and commit: one transaction, all or nothing. CONFLICT, NOT_FOUND and INVALID are verdicts on it; after
 * any other failure only rollback may follow. visit: with each record that was written. *revision: of the last. */
enum status transaction_apply(const struct backend *backend, void *database, const struct changes *changes,
	record_visit *visit, void *context, int64_t *revision) MUST_CHECK;
