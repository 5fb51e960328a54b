/* The management API of the data plane: routes, and what all its calls share. */
#include <stdlib.h>
#include <string.h>

#include "server/base/id.h"
#include "server/path.h"
#include "tenants/dp/manage/operation.h"
#include "tenants/dp/signer.h"

enum { BODY_MAX = 1024 * 1024, LIMIT_PRESET = 50, LIMIT_MAX = 2000 };

static const struct endpoint endpoints[] = {
	{"GET", "datasets", 1, NULL, ACCESS_READ, false, datasets_list},
	{"POST", "datasets", 1, NULL, ACCESS_WRITE, true, datasets_put},
	{"GET", "datasets", 2, NULL, ACCESS_READ, false, datasets_show},
	{"PUT", "datasets", 2, NULL, ACCESS_WRITE, true, datasets_put},
	{"DELETE", "datasets", 2, NULL, ACCESS_WRITE, false, datasets_delete},
	{"GET", "flows", 1, NULL, ACCESS_READ, false, flows_list},
	{"POST", "flows", 1, NULL, ACCESS_WRITE, true, flows_create},
	{"GET", "flows", 2, NULL, ACCESS_READ, false, flows_show},
	{"DELETE", "flows", 2, NULL, ACCESS_WRITE, false, flows_delete},
	{"POST", "flows", 3, "suspend", ACCESS_WRITE, false, flows_move},
	{"POST", "flows", 3, "resume", ACCESS_WRITE, false, flows_move},
	{"POST", "flows", 3, "terminate", ACCESS_WRITE, false, flows_move},
	{"POST", "flows", 3, "complete", ACCESS_WRITE, false, flows_move},
	{"POST", "flows", 3, "token", ACCESS_WRITE, true, tokens_create},
	{"DELETE", "flows", 4, "tokens", ACCESS_WRITE, false, tokens_revoke},
	{"GET", "agreements", 1, NULL, ACCESS_READ, false, agreements_list},
	{"GET", "agreements", 2, NULL, ACCESS_READ, false, agreements_show},
	{"PUT", "agreements", 2, NULL, ACCESS_WRITE, true, agreements_put},
	{"DELETE", "agreements", 2, NULL, ACCESS_WRITE, false, agreements_delete},
	{"GET", "agreements", 3, "book", ACCESS_READ, false, agreements_book},
	{"PUT", "keys", 2, NULL, ACCESS_WRITE, true, keys_put},
	{"GET", "receipts", 1, NULL, ACCESS_READ, false, receipts_list},
	{"PUT", "secrets", 2, NULL, ACCESS_WRITE, true, secrets_put},
	{"DELETE", "secrets", 2, NULL, ACCESS_WRITE, false, secrets_delete},
};

/* --- operations */

static void operation_free(struct operation *operation)
{
	buffer_free(&operation->answer);
	buffer_free(&operation->needle);
	transaction_free(operation->transaction);
	free(operation->names);
	free(operation);
}

static void on_close(struct exchange *exchange, enum status outcome)
{
	struct operation *operation = exchange->state;
	(void)outcome;
	operation->exchange = NULL;
	if (!operation->is_pending)
		operation_free(operation);
}

bool operation_resumes(struct operation *operation)
{
	operation->is_pending = false;
	if (operation->exchange != NULL)
		return true;
	operation_free(operation);
	return false;
}

void operation_answer(struct operation *operation, int status)
{
	if (operation->answer.failed)
		operation_refuse(operation, 503, NULL);
	else if (operation->answer.length == 0)
		answer_empty(operation->exchange, status);
	else
		answer_json(operation->exchange, status, buffer_text(&operation->answer));
}

void operation_refuse(struct operation *operation, int status, const char *what)
{
	answer_problem(operation->exchange, status, what == NULL ? TEXT_NONE : text_of(what));
}

void operation_stored(void *context, enum status status, int64_t revision)
{
	struct operation *operation = context;
	(void)revision;
	if (!operation_resumes(operation))
		return;
	if (status == STATUS_OK)
		operation_answer(operation, operation->status);
	else
		operation_refuse(
			operation, status_to_http(status), status == STATUS_CONFLICT ? "the stored state is another one" : NULL);
}

void operation_submit(struct operation *operation, struct transaction *transaction)
{
	if (transaction == NULL || operation->answer.failed) {
		transaction_free(transaction);
		operation_refuse(operation, 503, NULL);
		return;
	}
	operation->is_pending = true;
	store_submit(operation->dp->store, transaction, operation->worker, operation_stored, operation);
}

/* --- shared by the resources */

struct json *manage_parse(struct operation *operation, struct text body)
{
	struct json *root = NULL;
	enum status status = json_parse(body, NULL, &root);
	if (status == STATUS_OK && json_kind(root) == JSON_OBJECT)
		return root;
	json_free(root);
	operation_refuse(operation, status == STATUS_NO_MEMORY ? 503 : 400, "the body must be one JSON object");
	return NULL;
}

bool manage_is_reserved(const struct operation *operation, struct text alias)
{
	const struct participant *participant = registry_find(operation->dp->registry, operation->ctx);
	if (text_equals(alias, SIGNER_ALIAS))
		return true;
	for (size_t i = 0; participant != NULL && i < participant->key_count; i++) { /* kid: <ctx>#<alias>-<8 hex> */
		struct text kid = key_id(participant->keys[i]);
		size_t at = text_find(kid, '#');
		if (kid.length == at + 1 + alias.length + 9 && text_equals(text_slice(kid, at + 1, kid.length - 9), alias))
			return true;
	}
	return false;
}

struct listing {
	struct text ctx;
	enum dp_map map;
	struct listed {
		const char *ctx, *id;
		const void *value;
	} * items;
	size_t count, room;
	bool failed;
};

/* False: it is not shown. */
static bool describe(enum dp_map map, const void *value, struct listed *listed)
{
	const struct flow *flow = value;
	const struct dataset *dataset = value;
	const struct agreement *agreement = value;
	if (map == DP_FLOWS)
		*listed = (struct listed){flow->ctx, flow->id, value};
	else if (map == DP_DATASETS)
		*listed = (struct listed){dataset->ctx, dataset->id, value};
	else
		*listed = (struct listed){agreement->ctx, agreement->id, value};
	/* an agreement without a record is but spoken of */
	return map != DP_AGREEMENTS || atomic_load_explicit(&agreement->terms, memory_order_acquire) != NULL;
}

static bool list_one(void *context, struct text key, void *value)
{
	struct listing *list = context;
	struct listed listed;
	(void)key;
	if (!describe(list->map, value, &listed) || !text_equals(text_of(listed.ctx), list->ctx))
		return true;
	if (list->count == list->room) {
		size_t room = list->room == 0 ? 64 : list->room * 2;
		struct listed *grown = realloc(list->items, room * sizeof(*grown));
		if (grown == NULL) {
			list->failed = true;
			return false;
		}
		list->items = grown;
		list->room = room;
	}
	list->items[list->count++] = listed;
	return true;
}

static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct listed *)a)->id, ((const struct listed *)b)->id);
}

static bool query_number(struct text query, struct text name, uint64_t maximum, uint64_t *value)
{
	struct text rest = query, part;
	for (bool done = query.length == 0; text_next_part(&rest, '&', &part, &done);) {
		size_t equals = text_find(part, '=');
		if (text_equals(text_slice(part, 0, equals), name) &&
			(equals == part.length ||
				text_to_unsigned(text_slice(part, equals + 1, part.length), maximum, value) != STATUS_OK))
			return false;
	}
	return true;
}

void manage_list(struct operation *operation, enum dp_map map, void (*print)(const void *value, struct buffer *into))
{
	uint64_t offset = 0, limit = LIMIT_PRESET;
	struct text query = exchange_query(operation->exchange);
	if (!query_number(query, TEXT("offset"), UINT32_MAX, &offset) ||
		!query_number(query, TEXT("limit"), LIMIT_MAX, &limit)) {
		operation_refuse(operation, 400, "offset and limit must be numbers, limit at most 2000");
		return;
	}
	struct listing list = {.ctx = operation->ctx, .map = map};
	map_each(atomic_load_explicit(&operation->dp->maps[map], memory_order_acquire), list_one, &list);
	if (list.count > 1)
		qsort(list.items, list.count, sizeof(list.items[0]), by_id);
	buffer_append_byte(&operation->answer, '[');
	for (size_t i = (size_t)offset; i < list.count && i < offset + limit; i++) {
		if (i > offset)
			buffer_append_byte(&operation->answer, ',');
		print(list.items[i].value, &operation->answer);
	}
	buffer_append_byte(&operation->answer, ']');
	free(list.items);
	if (list.failed)
		operation_refuse(operation, 503, NULL);
	else
		operation_answer(operation, 200);
}

/* --- secrets */

static void on_vault(void *context, enum status status, struct text result)
{
	struct operation *operation = context;
	(void)result;
	atomic_fetch_add_explicit(&operation->dp->secrets, 1, memory_order_relaxed);
	if (!operation_resumes(operation))
		return;
	if (status == STATUS_OK)
		operation_answer(operation, operation->status);
	else
		operation_refuse(operation, status_to_http(status), NULL);
}

void secrets_put(struct operation *operation, struct text body)
{
	struct json *root = manage_parse(operation, body);
	if (root == NULL)
		return;
	struct text value = json_member_text(root, "value");
	for (const struct json *item = json_first(root); item != NULL; item = json_next(item)) {
		if (strcmp(json_name(item), "value") == 0)
			continue;
		struct buffer detail = {0};
		buffer_printf(&detail, "%s: unknown member", json_name(item));
		operation_refuse(operation, 400, detail.bytes);
		buffer_free(&detail);
		json_free(root);
		return;
	}
	if (value.length == 0 || value.length > 65536)
		operation_refuse(operation, 400, "value: must be 1 to 65536 bytes of text");
	else if (manage_is_reserved(operation, operation->id))
		operation_refuse(operation, 409, "the alias belongs to a key");
	else {
		operation->status = 204;
		operation->is_pending = true;
		vault_secret_put(
			operation->dp->vault, operation->ctx, operation->id, value, operation->worker, on_vault, operation);
	}
	json_free(root);
}

void secrets_delete(struct operation *operation, struct text body)
{
	(void)body;
	if (manage_is_reserved(operation, operation->id)) {
		operation_refuse(operation, 409, "the alias belongs to a key");
		return;
	}
	operation->status = 204;
	operation->is_pending = true;
	vault_delete(operation->dp->vault, operation->ctx, operation->id, operation->worker, on_vault, operation);
}

/* --- routes */

static bool split(struct operation *operation, struct text rest, struct text *resource, unsigned *count)
{
	struct text *const into[] = {resource, &operation->id, &operation->verb, &operation->token};
	struct text segment;
	*count = 0;
	while (path_next(&rest, &segment)) {
		if (*count == 4 || !name_is_valid(segment, MANAGE_ID_MAX))
			return false;
		*into[(*count)++] = segment;
	}
	return *count > 0;
}

const struct endpoint *endpoint_find(const struct operation *operation, const struct endpoint *table, size_t count,
	struct text resource, unsigned segments)
{
	struct buffer allow = {0};
	for (const struct endpoint *endpoint = table; endpoint < table + count; endpoint++) {
		if (endpoint->segments != segments || !text_equals(resource, text_of(endpoint->resource)) ||
			(endpoint->verb != NULL && !text_equals(operation->verb, text_of(endpoint->verb))))
			continue;
		if (text_equals(operation->exchange->method, text_of(endpoint->method))) {
			buffer_free(&allow);
			return endpoint;
		}
		buffer_printf(&allow, "%s%s", allow.length > 0 ? ", " : "", endpoint->method);
	}
	if (allow.length > 0 && !allow.failed)
		exchange_add_header_copy(operation->exchange, TEXT("allow"), buffer_text(&allow));
	answer_problem(operation->exchange, allow.length > 0 ? 405 : 404, TEXT_NONE);
	buffer_free(&allow);
	return NULL;
}

static void on_body(struct exchange *exchange, struct text body)
{
	struct operation *operation = exchange->state;
	operation->endpoint->run(operation, body);
}

static void run(struct operation *operation)
{
	struct dp *dp = operation->dp;
	struct exchange *exchange = operation->exchange;
	struct text resource = TEXT_NONE;
	unsigned count = 0;
	const struct endpoint *endpoint = NULL;
	struct text rest = {operation->names, strlen(operation->names)}, ctx;
	if (!path_next(&rest, &ctx) || !split(operation, rest, &resource, &count)) {
		answer_problem(exchange, 404, TEXT_NONE);
		return;
	}
	operation->ctx = ctx;
	endpoint = endpoint_find(operation, endpoints, sizeof(endpoints) / sizeof(endpoints[0]), resource, count);
	if (endpoint == NULL ||
		!access_allow(dp->access, exchange, TEXT("management-api"), resource, endpoint->action, operation->ctx))
		return;
	if (registry_find(dp->registry, operation->ctx) == NULL) {
		answer_problem(exchange, 404, TEXT_NONE);
		return;
	}
	operation->endpoint = endpoint;
	if (endpoint->has_body)
		collect_body(exchange, BODY_MAX, on_body);
	else
		endpoint->run(operation, TEXT_NONE);
}

struct operation *operation_new(struct dp *dp, struct exchange *exchange, struct buffer *names)
{
	struct operation *operation = names->failed || names->bytes == NULL ? NULL : calloc(1, sizeof(*operation));
	if (operation == NULL) {
		answer_problem(exchange, names->bytes == NULL && !names->failed ? 404 : 503, TEXT_NONE);
		buffer_free(names);
		return NULL;
	}
	operation->names = buffer_take(names);
	operation->dp = dp;
	operation->worker = exchange->worker;
	operation->exchange = exchange;
	exchange->state = operation;
	exchange->on_close = on_close;
	return operation;
}

void dp_manage(void *context, struct exchange *exchange, const struct route *route)
{
	struct buffer names = {0};
	if (route->participant != NULL) { /* a route with the ctx taken off: put it back */
		buffer_append_byte(&names, '/');
		buffer_append(&names, text_of(route->participant->ctx));
	}
	buffer_append(&names, route->rest);
	struct operation *operation = operation_new(context, exchange, &names);
	if (operation != NULL)
		run(operation);
}
