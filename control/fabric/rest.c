/* From a request to its endpoint: who may call, which endpoint it is, its body and arguments. */
#include "control/fabric/rest_private.h"

#include <stdlib.h>

#include "server/answer.h"
#include "server/path.h"

enum { TABLES_MAX = 16 };

struct table {
	const char *base;
	const struct rest_endpoint *endpoints;
	size_t count;
	void *context;
};

struct rest {
	struct access *access;
	const char *unasked; /* the base of those who are asked for no token; NULL: none is */
	struct table tables[TABLES_MAX];
	size_t count;
	const char *guarded; /* a base; NULL: none */
	const char *(*refusal)(const void *context);
	const void *refusal_context;
};

/* --- tokens */

static void refuse_token(struct exchange *exchange, const char *message)
{
	struct buffer body = {0};
	buffer_printf(&body, "{\"error\":\"Unauthorized\",\"message\":\"%s\"}", message);
	exchange_add_header(exchange, TEXT("www-authenticate"), TEXT("Bearer"));
	if (body.failed)
		answer_empty(exchange, 503);
	else
		rest_respond(exchange, 401, buffer_text(&body));
	buffer_free(&body);
}

/* Word for word: write does not imply read, and there are no wildcards (cfm.md 2.2). */
static bool has_scope(struct text scopes, struct text wanted)
{
	struct text scope;
	for (bool done = false; text_next_part(&scopes, ' ', &scope, &done);) {
		if (text_equals(scope, wanted))
			return true;
	}
	return false;
}

/* False: it has answered. *caller: the exchange's. */
static bool allow(const struct rest *rest, const struct table *table, const struct rest_endpoint *endpoint,
	struct exchange *exchange, struct text *caller)
{
	struct jws jws;
	if (rest->access == NULL || endpoint->scope == NULL ||
		(rest->unasked != NULL && strcmp(rest->unasked, table->base) == 0))
		return true;
	struct text token = access_bearer(exchange);
	if (token.length == 0 || access_verify(rest->access, token, &jws) != STATUS_OK) {
		refuse_token(exchange, token.length == 0 ? "missing or invalid bearer token" : "invalid token");
		return false;
	}
	bool is_allowed = has_scope(json_member_text(jws.claims, "scope"), text_of(endpoint->scope));
	*caller = exchange_copy(exchange, json_member_text(jws.claims, "sub"));
	jws_free(&jws);
	if (!is_allowed) {
		struct buffer message = {0};
		buffer_printf(&message, "Access not granted: required scope '%s' not present", endpoint->scope);
		rest_say(exchange, 403, buffer_text(&message));
		buffer_free(&message);
	}
	return is_allowed;
}

/* --- paths */

static bool is_argument(struct text segment)
{
	return text_starts_with(segment, TEXT("{"));
}

/* "{id}:cancel" takes "5:cancel" and gives "5"; "{id}" takes all. False: the segment does not end so. */
static bool argument_of(struct text wanted, struct text segment, struct text *argument)
{
	struct text end = text_slice(wanted, text_find(wanted, '}') + 1, wanted.length);
	*argument = text_slice(segment, 0, segment.length - (end.length < segment.length ? end.length : segment.length));
	return argument->length > 0 && text_ends_with(segment, end);
}

/* Does the path, without the base, have this shape? Fills the encoded arguments. */
static bool path_matches(struct text pattern, struct text path, struct text *arguments)
{
	struct text wanted, segment;
	size_t count = 0;
	memset(arguments, 0, REST_ARGUMENTS_MAX * sizeof(*arguments));
	while (path_next(&pattern, &wanted)) {
		if (!path_next(&path, &segment) || segment.length == 0)
			return false;
		if (is_argument(wanted)) {
			if (!argument_of(wanted, segment, &arguments[count++]))
				return false;
		} else if (!text_equals(wanted, segment)) {
			return false;
		}
	}
	return path.length == 0 || text_equals(path, TEXT("/")); /* the existing managers take a final slash too */
}

static bool base_matches(const struct table *table, struct text path, struct text *rest)
{
	struct text base = text_of(table->base);
	if (!text_starts_with(path, base))
		return false;
	*rest = text_slice(path, base.length, path.length);
	return rest->length == 0 || rest->bytes[0] == '/';
}

/* NULL: none; `allow` then lists the methods that the path does have. */
static const struct rest_endpoint *find_endpoint(const struct rest *rest, struct text method, struct text path,
	const struct table **table, struct buffer *allow, struct text *arguments)
{
	struct text below;
	for (size_t i = 0; i < rest->count; i++) {
		if (!base_matches(&rest->tables[i], path, &below))
			continue;
		for (size_t j = 0; j < rest->tables[i].count; j++) {
			const struct rest_endpoint *endpoint = &rest->tables[i].endpoints[j];
			if (!path_matches(text_of(endpoint->path), below, arguments))
				continue;
			*table = &rest->tables[i];
			if (text_equals(method, text_of(endpoint->method)))
				return endpoint;
			buffer_printf(allow, "%s%s", allow->length == 0 ? "" : ", ", endpoint->method);
		}
	}
	return NULL;
}

static void refuse_path(struct exchange *exchange, const struct buffer *allow)
{
	if (allow->length > 0)
		exchange_add_header_copy(exchange, TEXT("allow"), buffer_text(allow));
	rest_say(
		exchange, allow->length == 0 ? 404 : 405, allow->length == 0 ? TEXT("Not found") : TEXT("Method not allowed"));
}

/* --- bodies */

static void run(struct held_call *call)
{
	call->references++; /* the exchange may end inside */
	call->runs++;
	call->endpoint->run(&call->call);
	call_drop(call);
}

bool rest_again(struct rest_call *call)
{
	if (held(call)->runs >= REST_RUNS_MAX)
		return false;
	call_free_state(call);
	run(held(call));
	return true;
}

static void on_body(struct exchange *exchange, struct text body)
{
	struct held_call *call = exchange->state;
	size_t offset = 0;
	call->call.text = call_copy(call, body);
	enum status status = call->call.text.bytes == NULL ? STATUS_NO_MEMORY : json_parse(body, NULL, &call->parsed);
	if (status == STATUS_NO_MEMORY) {
		rest_refuse(&call->call, status, NULL);
	} else if (status != STATUS_OK || json_kind(call->parsed) != JSON_OBJECT) {
		struct buffer message = {0};
		if (body.length == 0)
			buffer_append(&message, TEXT("Invalid JSON: the body is empty"));
		else if (json_check(body, NULL, &offset) != STATUS_OK)
			buffer_printf(&message, "Invalid JSON: at byte %zu", offset);
		else
			buffer_append(&message, TEXT("Invalid JSON: must be an object"));
		rest_refuse_with(&call->call, 400, message.failed ? "Invalid JSON" : message.bytes);
		buffer_free(&message);
	} else {
		call->call.body = call->parsed;
		run(call);
	}
}

struct text rest_parameter(struct rest_call *call, const char *name)
{
	struct text rest = held(call)->query, part;
	for (bool done = rest.length == 0; text_next_part(&rest, '&', &part, &done);) {
		size_t equals = text_find(part, '=');
		if (!text_equals(text_slice(part, 0, equals), text_of(name)))
			continue;
		struct text value = equals < part.length ? text_slice(part, equals + 1, part.length) : TEXT("");
		char *room = call_room(held(call), value.length + 1);
		if (room == NULL)
			return TEXT_NONE;
		for (size_t i = 0; i < value.length; i++)
			room[i] = (char)(value.bytes[i] == '+' ? ' ' : value.bytes[i]);
		struct text encoded = {room, value.length}; /* decoding in place only shortens */
		if (percent_decode(encoded, room, encoded.length, &value) != STATUS_OK)
			return TEXT_NONE;
		room[value.length] = 0;
		return value;
	}
	return TEXT_NONE;
}

/* --- dispatch */

static void on_close(struct exchange *exchange, enum status outcome)
{
	struct held_call *call = exchange->state;
	(void)outcome;
	call->call.exchange = NULL;
	call_drop(call);
}

static struct held_call *call_new(struct exchange *exchange, const struct rest_endpoint *endpoint, void *context)
{
	struct held_call *call = calloc(1, sizeof(*call));
	if (call == NULL)
		return NULL;
	call->call.exchange = exchange;
	call->call.context = context;
	call->endpoint = endpoint;
	call->references = 1;
	exchange->state = call;
	exchange->on_close = on_close;
	return call;
}

/* Into the call's memory. */
static enum status keep_arguments(struct held_call *call, const struct text *arguments)
{
	struct text query = exchange_query(call->call.exchange);
	for (size_t i = 0; i < REST_ARGUMENTS_MAX && arguments[i].bytes != NULL; i++) {
		char *room = call_room(call, arguments[i].length + 1);
		if (room == NULL)
			return STATUS_NO_MEMORY;
		if (percent_decode(arguments[i], room, arguments[i].length, &call->call.arguments[i]) != STATUS_OK)
			return STATUS_NOT_FOUND;
		room[call->call.arguments[i].length] = 0;
	}
	call->call.traceparent = call_copy(call, exchange_header(call->call.exchange, TEXT("traceparent")));
	call->call.tracestate = call_copy(call, exchange_header(call->call.exchange, TEXT("tracestate")));
	call->query = call_copy(call, query);
	return query.bytes != NULL && call->query.bytes == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

/* Why this may not be changed now; NULL: it may, or nothing is changed. */
static const char *refusal_of(const struct rest *rest, const struct table *table, const struct rest_endpoint *endpoint)
{
	struct text path = text_of(endpoint->path), query = TEXT("/query");
	bool is_query =
		path.length > query.length && text_equals(text_slice(path, path.length - query.length, path.length), query);
	if (rest->guarded == NULL || strcmp(table->base, rest->guarded) != 0 || strcmp(endpoint->method, "GET") == 0 ||
		is_query)
		return NULL;
	return rest->refusal(rest->refusal_context);
}

static void start(const struct rest *rest, struct exchange *exchange, const struct table *table,
	const struct rest_endpoint *endpoint, const struct text *arguments)
{
	struct text caller = TEXT_NONE;
	if (!allow(rest, table, endpoint, exchange, &caller))
		return;
	const char *why = refusal_of(rest, table, endpoint);
	if (why != NULL) {
		rest_say(exchange, 503, text_of(why));
		return;
	}
	struct held_call *call = call_new(exchange, endpoint, table->context);
	enum status status = call == NULL ? STATUS_NO_MEMORY : keep_arguments(call, arguments);
	if (call != NULL)
		call->call.caller = call_copy(call, caller);
	if (call == NULL)
		rest_say(exchange, 500, TEXT("Operation failed: out of memory"));
	else if (status != STATUS_OK)
		rest_refuse(&call->call, status, NULL);
	else if (endpoint->has_body)
		collect_body(exchange, REST_BODY_MAX, on_body);
	else
		run(call);
}

void rest_handle(void *context, struct exchange *exchange)
{
	const struct rest *rest = context;
	const struct table *table = NULL;
	struct text arguments[REST_ARGUMENTS_MAX] = {{0}}, path = exchange_path(exchange);
	struct buffer allow = {0};
	char *room = exchange_allocate(exchange, path.length + 1);
	if (room == NULL || path_canonical(path, room, path.length, &path) != STATUS_OK) {
		rest_say(exchange, room == NULL ? 500 : 400, TEXT("Invalid path"));
		return;
	}
	const struct rest_endpoint *endpoint = find_endpoint(rest, exchange->method, path, &table, &allow, arguments);
	if (endpoint == NULL)
		refuse_path(exchange, &allow);
	else
		start(rest, exchange, table, endpoint, arguments);
	buffer_free(&allow);
}

/* --- opening */

enum status rest_open(struct access *access, struct rest **rest)
{
	struct rest *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->access = access;
	*rest = made;
	return STATUS_OK;
}

void rest_ask_nobody(struct rest *rest, const char *base)
{
	rest->unasked = base;
}

void rest_guard(struct rest *rest, const char *base, const char *(*refusal)(const void *context), const void *context)
{
	rest->guarded = base;
	rest->refusal = refusal;
	rest->refusal_context = context;
}

void rest_free(struct rest *rest)
{
	free(rest);
}

enum status rest_add(
	struct rest *rest, const char *base, const struct rest_endpoint *endpoints, size_t count, void *context)
{
	if (rest->count == TABLES_MAX)
		return STATUS_INVALID;
	for (size_t i = 0; i < count; i++) {
		struct text path = text_of(endpoints[i].path), segment;
		size_t arguments = 0;
		while (path_next(&path, &segment))
			arguments += is_argument(segment);
		if (arguments > REST_ARGUMENTS_MAX)
			return STATUS_INVALID;
	}
	rest->tables[rest->count++] = (struct table){base, endpoints, count, context};
	return STATUS_OK;
}
