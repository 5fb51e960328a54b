/* Siglet's management API: two resources, one document for each tenant. */
#include "tenants/dp/signaling/siglet.h"

#include <string.h>

#include "server/base/id.h"
#include "server/path.h"
#include "tenants/dp/manage/operation.h"
#include "tenants/dp/signaling/key_mapping.h"
#include "tenants/dp/signaling/public_keys.h"
#include "tenants/dp/signaling/transfer_types.h"

/* Of a rotated key: its tokens stay good until they expire, or the mapping is taken back. */
enum { KEYS_KEPT = 4 };
enum { BODY_MAX = 256 * 1024, WAITING_MAX = 1024, SWEEP_MAX = 16 };
#define WAITING_MS INT64_C(86400000)
#define API TEXT("siglet-mgmt-api")

/* --- bodies */

/* The body's object, its participantContextId in operation->ctx; NULL: it has answered. */
static struct json *parse(struct operation *operation, struct text body)
{
	struct json *root = manage_parse(operation, body);
	if (root == NULL)
		return NULL;
	bool is_post = operation->ctx.bytes == NULL;
	struct text ctx = json_member_text(root, "participantContextId");
	if (!id_is_valid(ctx) || (!is_post && !text_equals(operation->ctx, ctx))) {
		operation_refuse(operation, 400,
			is_post ? "participantContextId: must be 32 lower-case hex characters"
					: "participantContextId: must be that of the path");
	} else if (!is_post) {
		return root;
	} else if (access_allow(operation->dp->access, operation->exchange, API, TEXT_NONE, ACCESS_WRITE, ctx)) {
		operation->ctx = exchange_copy(operation->exchange, ctx);
		if (operation->ctx.bytes != NULL)
			return root;
		operation_refuse(operation, 503, NULL);
	}
	json_free(root);
	return NULL;
}

/* --- changes */

static struct transaction *add_put(
	struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id, struct text record)
{
	if (transaction != NULL && record.length > 0 && transaction_put(transaction, ctx, kind, id, record, REVISION_ANY))
		return transaction;
	transaction_free(transaction);
	return NULL;
}

static struct transaction *add_delete(
	struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id)
{
	if (transaction != NULL && transaction_delete(transaction, ctx, kind, id, REVISION_ANY))
		return transaction;
	transaction_free(transaction);
	return NULL;
}

/* Public halves of mapped keys, all but the newest `kept`: the keys of the vault's own making have the ctx in their
 * kid.
 */
static struct transaction *add_key_deletes(
	struct transaction *transaction, const struct operation *operation, unsigned kept)
{
	const struct participant *participant = registry_find(operation->dp->registry, operation->ctx);
	unsigned seen = 0;
	for (size_t i = participant == NULL ? 0 : participant->key_count; i > 0; i--) { /* newest last */
		struct text kid = key_id(participant->keys[i - 1]);
		if (!text_starts_with(kid, operation->ctx) && ++seen > kept)
			transaction = add_delete(transaction, operation->ctx, RECORD_KEY, kid);
	}
	return transaction;
}

/* --- key mappings that came before their participant */

static struct transaction *put_record(
	struct transaction *transaction, const struct key_mapping *mapping, struct text ctx, struct text id)
{
	struct buffer record = {0};
	key_mapping_print(mapping, true, &record);
	transaction = add_put(transaction, ctx, RECORD_KEY_MAPPING, id, record.failed ? TEXT_NONE : buffer_text(&record));
	buffer_free(&record);
	return transaction;
}

struct sweep {
	struct operation *operation;
	struct transaction *transaction;
	int64_t now_ms;
	unsigned moved, waiting;
};

/* Those whose participant has come go to it, those that nobody came for within a day go. */
static bool sweep_one(void *context, struct text key, void *value)
{
	struct sweep *sweep = context;
	const struct key_mapping *mapping = value;
	const struct dp *dp = sweep->operation->dp;
	struct text ctx = text_of(mapping->ctx);
	(void)key;
	if (dp_find(dp, DP_KEY_MAPPINGS, KEY_MAPPING_WAITING, ctx) != mapping || text_equals(ctx, sweep->operation->ctx))
		return true;
	bool has_come = registry_find(dp->registry, ctx) != NULL;
	if (sweep->moved == SWEEP_MAX || (!has_come && sweep->now_ms - mapping->created_ms < WAITING_MS)) {
		sweep->waiting++;
		return true;
	}
	sweep->moved++;
	if (has_come && dp_find(dp, DP_KEY_MAPPINGS, ctx, KEY_MAPPING_ID) == NULL) {
		sweep->transaction = put_record(sweep->transaction, mapping, ctx, KEY_MAPPING_ID);
	}
	sweep->transaction = add_delete(sweep->transaction, KEY_MAPPING_WAITING, RECORD_KEY_MAPPING, ctx);
	return sweep->transaction != NULL;
}

static void store_mapping(struct operation *operation, const struct key_mapping *mapping)
{
	struct dp *dp = operation->dp;
	struct sweep sweep = {
		.operation = operation, .transaction = transaction_new(), .now_ms = worker_wall_ms(operation->worker)};
	bool waits = registry_find(dp->registry, operation->ctx) == NULL;
	map_each(atomic_load_explicit(&dp->maps[DP_KEY_MAPPINGS], memory_order_acquire), sweep_one, &sweep);
	if (waits && sweep.waiting >= WAITING_MAX) {
		transaction_free(sweep.transaction);
		operation_refuse(operation, 429, "too many key mappings wait for their participants");
		return;
	}
	if (waits) {
		sweep.transaction = put_record(sweep.transaction, mapping, KEY_MAPPING_WAITING, operation->ctx);
	} else {
		if (dp_find(dp, DP_KEY_MAPPINGS, KEY_MAPPING_WAITING, operation->ctx) != NULL)
			sweep.transaction = add_delete(sweep.transaction, KEY_MAPPING_WAITING, RECORD_KEY_MAPPING, operation->ctx);
		sweep.transaction = put_record(sweep.transaction, mapping, operation->ctx, KEY_MAPPING_ID);
		sweep.transaction = add_key_deletes(sweep.transaction, operation, KEYS_KEPT);
	}
	operation_submit(operation, sweep.transaction);
}

static void mapping_put(struct operation *operation, struct text body)
{
	struct json *root = parse(operation, body);
	if (root == NULL)
		return;
	struct key_mapping *mapping = NULL;
	struct buffer error = {0};
	enum status status = key_mapping_build(root, true, &mapping, &error);
	if (status != STATUS_OK) {
		operation_refuse(operation, status_to_http(status), error.bytes);
	} else {
		mapping->created_ms = worker_wall_ms(operation->worker);
		if (operation->status == 201)
			key_mapping_print(mapping, false, &operation->answer);
		store_mapping(operation, mapping);
	}
	key_mapping_free(mapping);
	buffer_free(&error);
	json_free(root);
}

static void mapping_show(struct operation *operation, struct text body)
{
	const struct key_mapping *mapping = key_mapping_find(operation->dp, operation->ctx);
	(void)body;
	if (mapping == NULL) {
		operation_refuse(operation, 404, NULL);
		return;
	}
	key_mapping_print(mapping, false, &operation->answer);
	operation_answer(operation, 200);
}

static void mapping_delete(struct operation *operation, struct text body)
{
	const struct dp *dp = operation->dp;
	struct transaction *transaction = transaction_new();
	(void)body;
	if (key_mapping_find(dp, operation->ctx) == NULL) {
		transaction_free(transaction);
		operation_refuse(operation, 404, NULL);
		return;
	}
	if (dp_find(dp, DP_KEY_MAPPINGS, operation->ctx, KEY_MAPPING_ID) != NULL)
		transaction = add_delete(transaction, operation->ctx, RECORD_KEY_MAPPING, KEY_MAPPING_ID);
	transaction = add_key_deletes(transaction, operation, 0);
	if (dp_find(dp, DP_KEY_MAPPINGS, KEY_MAPPING_WAITING, operation->ctx) != NULL)
		transaction = add_delete(transaction, KEY_MAPPING_WAITING, RECORD_KEY_MAPPING, operation->ctx);
	operation->status = 204;
	operation_submit(operation, transaction);
}

/* --- transfer types: the fabric maps them after it made the participant context, so one without is an error */

static void types_put(struct operation *operation, struct text body)
{
	struct json *root = parse(operation, body);
	if (root == NULL)
		return;
	struct transfer_types *types = NULL;
	struct buffer error = {0};
	enum status status = transfer_types_build(root, &types, &error);
	if (status != STATUS_OK) {
		operation_refuse(operation, status_to_http(status), error.bytes);
	} else if (registry_find(operation->dp->registry, operation->ctx) == NULL) {
		operation_refuse(operation, 404, "there is no such participant context");
	} else {
		struct text record = text_of(types->body);
		if (operation->status == 201)
			buffer_append(&operation->answer, record);
		operation_submit(
			operation, add_put(transaction_new(), operation->ctx, RECORD_TRANSFER_TYPES, TRANSFER_TYPES_ID, record));
	}
	transfer_types_free(types);
	buffer_free(&error);
	json_free(root);
}

static const struct transfer_types *own_types(const struct operation *operation)
{
	return dp_find(operation->dp, DP_TRANSFER_TYPES, operation->ctx, TRANSFER_TYPES_ID);
}

static void types_show(struct operation *operation, struct text body)
{
	const struct transfer_types *types = own_types(operation);
	(void)body;
	if (types == NULL) {
		operation_refuse(operation, 404, NULL);
		return;
	}
	buffer_append(&operation->answer, text_of(types->body));
	operation_answer(operation, 200);
}

static void types_delete(struct operation *operation, struct text body)
{
	(void)body;
	if (own_types(operation) == NULL) {
		operation_refuse(operation, 404, NULL);
		return;
	}
	operation->status = 204;
	operation_submit(
		operation, add_delete(transaction_new(), operation->ctx, RECORD_TRANSFER_TYPES, TRANSFER_TYPES_ID));
}

/* --- calls */

static const struct endpoint endpoints[] = {
	{"POST", "transfer-type-mappings", 1, NULL, ACCESS_WRITE, true, types_put},
	{"GET", "transfer-type-mappings", 2, NULL, ACCESS_READ, false, types_show},
	{"PUT", "transfer-type-mappings", 2, NULL, ACCESS_WRITE, true, types_put},
	{"DELETE", "transfer-type-mappings", 2, NULL, ACCESS_WRITE, false, types_delete},
	{"POST", "key-mappings", 1, NULL, ACCESS_WRITE, true, mapping_put},
	{"GET", "key-mappings", 2, NULL, ACCESS_READ, false, mapping_show},
	{"PUT", "key-mappings", 2, NULL, ACCESS_WRITE, true, mapping_put},
	{"DELETE", "key-mappings", 2, NULL, ACCESS_WRITE, false, mapping_delete},
};

static void on_body(struct exchange *exchange, struct text body)
{
	struct operation *operation = exchange->state;
	operation->endpoint->run(operation, body);
}

/* path: "/{resource}" or "/{resource}/{ctx}" */
static void serve(struct dp *dp, struct exchange *exchange, struct buffer *path)
{
	struct operation *operation = operation_new(dp, exchange, path);
	if (operation == NULL)
		return;
	struct text rest = text_of(operation->names), resource, ctx = TEXT_NONE;
	unsigned segments = path_next(&rest, &resource) ? 1 : 0;
	if (segments == 1 && path_next(&rest, &ctx))
		segments = 2;
	if (segments == 0 || rest.length > 0 || (segments == 2 && !id_is_valid(ctx))) {
		operation_refuse(operation, 404, NULL);
		return;
	}
	operation->ctx = ctx;
	const struct endpoint *endpoint =
		endpoint_find(operation, endpoints, sizeof(endpoints) / sizeof(endpoints[0]), resource, segments);
	if (endpoint == NULL)
		return;
	bool is_allowed = segments == 2 ? access_allow(dp->access, exchange, API, TEXT_NONE, endpoint->action, ctx)
									: access_allow_scope(dp->access, exchange, API, TEXT_NONE, endpoint->action);
	if (!is_allowed)
		return;
	operation->endpoint = endpoint;
	operation->status = segments == 1 ? 201 : 204;
	if (endpoint->has_body)
		collect_body(exchange, BODY_MAX, on_body);
	else
		endpoint->run(operation, TEXT_NONE);
}

static void serve_below(struct dp *dp, struct exchange *exchange, struct text prefix, struct text rest)
{
	struct buffer path = {0};
	buffer_append(&path, prefix);
	buffer_append(&path, rest);
	serve(dp, exchange, &path);
}

void siglet_types(void *dp, struct exchange *exchange, const struct route *route)
{
	serve_below(dp, exchange, TEXT("/transfer-type-mappings"), route->rest);
}

void siglet_keys(void *dp, struct exchange *exchange, const struct route *route)
{
	serve_below(dp, exchange, TEXT("/key-mappings"), route->rest);
}

void siglet_health(void *dp, struct exchange *exchange, const struct route *route)
{
	(void)dp;
	if (route->rest.length > 0)
		answer_problem(exchange, 404, TEXT_NONE);
	else if (!text_equals(exchange->method, TEXT("GET")) && !text_equals(exchange->method, TEXT("HEAD")))
		answer_problem(exchange, 405, TEXT_NONE);
	else
		answer_json(exchange, 200, TEXT("{\"status\":\"UP\"}"));
}

void siglet_handle(void *dp, struct exchange *exchange, const struct route *route)
{
	static const struct {
		struct text name;
		void (*handle)(void *dp, struct exchange *exchange, const struct route *route);
	} open[] = {{{"health", 6}, siglet_health}, {{"keys", 4}, public_keys}};
	struct text rest = route->rest, segment = TEXT_NONE;
	bool has_segment = path_next(&rest, &segment);
	const struct route below = {.rest = rest};
	for (size_t i = 0; has_segment && i < sizeof(open) / sizeof(open[0]); i++) {
		if (text_equals(segment, open[i].name)) {
			open[i].handle(dp, exchange, &below);
			return;
		}
	}
	serve_below(dp, exchange, TEXT(""), route->rest);
}
