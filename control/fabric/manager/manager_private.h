/* What the files of this folder share. */
#pragma once

#include "control/fabric/listing.h"
#include "control/fabric/manager/manager.h"
#include "control/fabric/manager/profile_index.h"
#include "control/fabric/record_index.h"
#include "control/fabric/rest_submit.h"

/* A cell or a participant on its way to its commit: what a concurrent call must know of. */
struct pending {
	struct pending *next;
	char *name; /* a cell's external id, a tenant's id */
};

struct manager {
	const struct manager_settings *settings;
	struct state *state;
	struct cells *cells;
	struct placer *placer;
	struct bus *bus; /* NULL: none yet */
	struct record_index *tenants, *dataspaces;
	struct profile_index *profiles;
	struct listing tenant_list, dataspace_list;
	struct pending *cells_coming, *profiles_coming;
	struct bus_consumer *responses;
};

static inline struct manager *manager_of(const struct rest_call *call)
{
	return call->context;
}

/* NULL: out of memory. */
struct pending *pending_add(struct pending **list, struct text name);
void pending_remove(struct pending **list, struct pending *one);
bool pending_has(const struct pending *list, struct text name);

/* Puts the record, if it can be read again: INVALID: it is too large. */
enum status manager_put(struct transaction *transaction, enum record_kind kind, struct text id,
	const struct buffer *body, int64_t expected) MUST_CHECK;
/* 201, 202: one record that is new or changed, and the answer when it is stored; both buffers are taken. */
void manager_store(struct rest_call *call, enum record_kind kind, struct text id, struct buffer *record,
	int64_t expected, int http, struct buffer *answer);

/* Sends the manifest (its JSON) to whoever provisions, within the transaction, as part of the call's trace. False: out
 * of memory. */
bool manager_order(const struct rest_call *call, struct transaction *transaction, struct text id, struct text manifest);
/* NULL: none; json_free it. */
struct json *manager_tenant(const struct manager *manager, struct text id);
/* Expects that the tenant is there, as it is now, and not about to go: INVALID: it is. NOT_FOUND: there is none. */
enum status manager_expect_tenant(
	const struct manager *manager, struct text id, struct transaction *transaction) MUST_CHECK;
/* NULL: this tenant has none of that id. */
const struct profile_row *profile_find(const struct manager *manager, struct text tenant, struct text profile);

/* Each file's table. */
extern const struct rest_endpoint tenant_endpoints[], cell_endpoints[], dataspace_endpoints[], profile_endpoints[];
extern const size_t tenant_endpoint_count, cell_endpoint_count, dataspace_endpoint_count, profile_endpoint_count;
#define MANAGER_READ "tenant-manager-api:read"
#define MANAGER_WRITE "tenant-manager-api:write"

/* For the lists. */
bool record_print(const struct record_item *item, struct buffer *into); /* the body as it is */
bool tenant_print(const struct record_item *item, struct buffer *into);
extern const struct query_field tenant_fields[], dataspace_fields[], profile_fields[];

/* responses.c: a message of the consumer. */
void responses_take(void *manager, const struct bus_message *message);
