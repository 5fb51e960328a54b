/* Participant contexts over HTTP: checked, stored in one transaction, answered when every worker sees them. */
#include "tenants/cp/management.h"

#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "server/base/clock.h"
#include "server/path.h"
#include "tenants/participant_build.h"

enum {
	BODY_MAX = 1024 * 1024,
	LIMIT_PRESET = 50,
	LIMIT_MAX = 100000,
	IDENTITY_MAX = 1024,
	ATTEMPTS_MAX = 5,
	ALIAS_MAX = 160
};

#define CONTEXT "[\"https://w3id.org/edc/connector/management/v2\"]"

struct management {
	struct store *store;
	struct vault *vault;
	struct registry *registry;
	struct access *access;
};

struct call;
struct endpoint {
	const char *method;
	unsigned segments; /* behind /participants: ctx, "config" */
	bool has_body;
	void (*run)(struct call *call, struct text body);
};

/* One call; freed when both the exchange and what it waits for are over. */
struct call {
	struct management *management;
	struct worker *worker;
	struct exchange *exchange; /* NULL: the caller has gone */
	const struct endpoint *endpoint;
	char ctx[ID_LENGTH + 1];
	bool is_pending;
	int status; /* of the answer when all goes well */
	struct buffer answer;
	struct json *body;
	struct transaction *transaction; /* waits for the vault */
	struct json *secrets;            /* {name: text, or null to delete} */
	const struct json *secret;       /* the next that goes to the vault */
	unsigned attempts;
};

/* --- answers: errors are arrays of {message, type, path, invalidValue} (cfm.md 6.3) */

static void refuse(struct call *call, int status, const char *type, const char *message, const char *path)
{
	struct buffer text = {0};
	buffer_append(&text, TEXT("[{\"message\":"));
	buffer_append_json(&text, text_of(message));
	buffer_append(&text, TEXT(",\"type\":"));
	buffer_append_json(&text, text_of(type));
	buffer_append(&text, TEXT(",\"path\":"));
	if (path == NULL)
		buffer_append(&text, TEXT("null"));
	else
		buffer_append_json(&text, text_of(path));
	buffer_append(&text, TEXT(",\"invalidValue\":null}]"));
	if (text.failed)
		answer_empty(call->exchange, 503);
	else
		answer_json(call->exchange, status, buffer_text(&text));
	buffer_free(&text);
}

static void refuse_status(struct call *call, enum status status)
{
	static const struct {
		enum status status;
		int http;
		const char *type, *message;
	} answers[] = {{STATUS_NOT_FOUND, 404, "ObjectNotFound", "there is no such participant context"},
		{STATUS_CONFLICT, 409, "ObjectConflict", "the participant context exists, or was changed meanwhile"},
		{STATUS_INVALID, 400, "InvalidRequest", "the request is not valid"},
		{STATUS_UNAVAILABLE, 503, "Unavailable", "the store cannot be changed now"}};
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (answers[i].status == status) {
			refuse(call, answers[i].http, answers[i].type, answers[i].message, NULL);
			return;
		}
	}
	refuse(call, status == STATUS_NO_MEMORY ? 503 : 500, "InternalError", status_text(status), NULL);
}

static void call_free(struct call *call)
{
	buffer_free(&call->answer);
	json_free(call->body);
	json_free(call->secrets);
	transaction_free(call->transaction);
	free(call);
}

static void on_close(struct exchange *exchange, enum status outcome)
{
	struct call *call = exchange->state;
	(void)outcome;
	call->exchange = NULL;
	if (!call->is_pending)
		call_free(call);
}

/* Ends waiting; false when the caller has gone and the call with it. */
static bool resumes(struct call *call)
{
	call->is_pending = false;
	if (call->exchange != NULL)
		return true;
	call_free(call);
	return false;
}

static void finish(struct call *call)
{
	if (call->answer.failed)
		refuse_status(call, STATUS_NO_MEMORY);
	else if (call->answer.length == 0)
		answer_empty(call->exchange, call->status);
	else
		answer_json(call->exchange, call->status, buffer_text(&call->answer));
}

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct call *call = context;
	(void)revision;
	if (!resumes(call))
		return;
	if (status == STATUS_OK)
		finish(call);
	else
		refuse_status(call, status);
}

static void submit(struct call *call, struct transaction *transaction,
	void (*done)(void *context, enum status status, int64_t revision))
{
	call->is_pending = true;
	store_submit(call->management->store, transaction, call->worker, done, call);
}

/* --- participants */

static bool name_is(const struct json *member, const char *name)
{
	return strcmp(json_name(member), name) == 0;
}

/* NULL: fine; else the member that is wrong. */
static const char *wrong_member(const struct json *body, bool is_new)
{
	enum participant_state state;
	for (const struct json *member = json_first(body); member != NULL; member = json_next(member)) {
		bool is_fine = false;
		if (name_is(member, "@context"))
			is_fine = json_kind(member) == JSON_ARRAY || json_kind(member) == JSON_STRING;
		else if (name_is(member, "@type"))
			is_fine = text_equals(json_text(member), TEXT("ParticipantContext"));
		else if (name_is(member, "@id"))
			is_fine = id_is_valid(json_text(member));
		else if (name_is(member, "identity"))
			is_fine = json_text(member).length > 0 && json_text(member).length <= IDENTITY_MAX;
		else if (name_is(member, "properties"))
			is_fine = json_kind(member) == JSON_OBJECT;
		else if (name_is(member, "state"))
			is_fine = participant_state_parse(json_text(member), &state);
		if (!is_fine)
			return json_name(member);
	}
	return is_new && json_member_text(body, "identity").bytes == NULL ? "identity" : NULL;
}

static bool parse(struct call *call, struct text body)
{
	enum status status = json_parse(body, NULL, &call->body);
	if (status == STATUS_OK && json_kind(call->body) == JSON_OBJECT)
		return true;
	if (status == STATUS_NO_MEMORY)
		refuse_status(call, status);
	else
		refuse(call, 400, "InvalidRequest", "the body must be one JSON object", NULL);
	return false;
}

/* The record: identity, state, properties, createdAt. Members that `change` lacks stay as `before` has them. */
static bool print_record(const struct json *change, const struct json *before, int64_t created_ms, struct buffer *into)
{
	struct text identity = json_member_text(change, "identity"), state = json_member_text(change, "state");
	const struct json *properties = json_member(change, "properties");
	if (identity.bytes == NULL)
		identity = json_member_text(before, "identity");
	if (state.bytes == NULL)
		state = before == NULL ? TEXT("CREATED") : json_member_text(before, "state");
	if (properties == NULL)
		properties = json_member(before, "properties");
	buffer_append(into, TEXT("{\"identity\":"));
	buffer_append_json(into, identity);
	buffer_append(into, TEXT(",\"state\":"));
	buffer_append_json(into, state);
	buffer_append(into, TEXT(",\"properties\":"));
	if (properties == NULL)
		buffer_append(into, TEXT("{}"));
	else
		json_print(properties, into);
	buffer_append(into, TEXT(",\"createdAt\":"));
	buffer_append_number(into, created_ms);
	buffer_append_byte(into, '}');
	return !into->failed;
}

/* Whatever the vault still has of a namesake (its delete was cut off by a crash) must not be inherited. Another create
 * of the same ctx is no danger: its clearing was asked for before ours is answered, and the vault keeps the order. */
static void on_cleared(void *context, enum status status, struct text result)
{
	struct call *call = context;
	(void)result;
	if (!resumes(call))
		return;
	if (status != STATUS_OK) {
		refuse_status(call, status);
		return;
	}
	struct transaction *transaction = call->transaction;
	call->transaction = NULL;
	submit(call, transaction, on_stored);
}

static void create(struct call *call, struct text body)
{
	if (!parse(call, body))
		return;
	const char *wrong = wrong_member(call->body, true);
	if (wrong != NULL) {
		refuse(call, 400, "ValidationFailure", "is not what a ParticipantContext has here", wrong);
		return;
	}
	struct text id = json_member_text(call->body, "@id");
	if (id.bytes != NULL)
		memcpy(call->ctx, id.bytes, ID_LENGTH);
	else
		id_random(call->ctx);
	if (registry_find(call->management->registry, text_of(call->ctx)) != NULL) {
		refuse_status(call, STATUS_CONFLICT);
		return;
	}
	int64_t now_ms = clock_wall_ms();
	struct buffer record = {0};
	struct transaction *transaction = transaction_new();
	bool is_made = transaction != NULL && print_record(call->body, NULL, now_ms, &record) &&
				   transaction_put(transaction, text_of(call->ctx), RECORD_PARTICIPANT, TEXT("participant"),
					   buffer_text(&record), REVISION_ABSENT);
	buffer_free(&record);
	buffer_printf(&call->answer,
		"{\"@context\":" CONTEXT ",\"@type\":\"IdResponse\",\"@id\":\"%s\",\"createdAt\":%lld}", call->ctx,
		(long long)now_ms);
	if (!is_made) {
		transaction_free(transaction);
		refuse_status(call, STATUS_NO_MEMORY);
		return;
	}
	call->status = 200;
	call->transaction = transaction;
	call->is_pending = true;
	vault_forget(call->management->vault, text_of(call->ctx), call->worker, on_cleared, call);
}

static void print_participant(const struct participant *participant, struct buffer *into)
{
	struct json *record = NULL;
	if (json_parse(text_of(participant->body), NULL, &record) != STATUS_OK) {
		into->failed = true;
		return;
	}
	buffer_printf(into,
		"{\"@context\":" CONTEXT ",\"@type\":\"ParticipantContext\",\"@id\":\"%s\",\"identity\":", participant->ctx);
	buffer_append_json(into, text_of(participant->identity));
	buffer_append(into, TEXT(",\"properties\":"));
	json_print(json_member(record, "properties"), into);
	buffer_printf(into, ",\"state\":\"%s\",\"createdAt\":%lld}", participant_state_name(participant->state),
		(long long)participant->created_ms);
	json_free(record);
}

static const struct participant *found(struct call *call)
{
	const struct participant *participant = registry_find(call->management->registry, text_of(call->ctx));
	if (participant == NULL)
		refuse_status(call, STATUS_NOT_FOUND);
	return participant;
}

static void show(struct call *call, struct text body)
{
	(void)body;
	const struct participant *participant = found(call);
	if (participant == NULL)
		return;
	print_participant(participant, &call->answer);
	call->status = 200;
	finish(call);
}

static void replace(struct call *call, struct text body)
{
	if (!parse(call, body))
		return;
	const char *wrong = wrong_member(call->body, false);
	struct text id = json_member_text(call->body, "@id");
	if (wrong == NULL && id.bytes != NULL && !text_equals(id, text_of(call->ctx)))
		wrong = "@id";
	if (wrong != NULL) {
		refuse(call, 400, "ValidationFailure", "is not what this ParticipantContext has here", wrong);
		return;
	}
	const struct participant *participant = found(call);
	if (participant == NULL)
		return;
	struct json *before = NULL;
	struct buffer record = {0};
	struct transaction *transaction = transaction_new();
	bool is_made = transaction != NULL && json_parse(text_of(participant->body), NULL, &before) == STATUS_OK &&
				   print_record(call->body, before, participant->created_ms, &record) &&
				   transaction_put(transaction, text_of(call->ctx), RECORD_PARTICIPANT, TEXT("participant"),
					   buffer_text(&record), participant->revision);
	json_free(before);
	buffer_free(&record);
	if (!is_made) {
		transaction_free(transaction);
		refuse_status(call, STATUS_NO_MEMORY);
		return;
	}
	call->status = 204;
	submit(call, transaction, on_stored);
}

static void on_forgotten(void *context, enum status status, struct text result)
{
	struct call *call = context;
	(void)result;
	if (!resumes(call))
		return;
	if (status == STATUS_OK)
		finish(call);
	else
		refuse_status(call, status);
}

static void on_deleted(void *context, enum status status, int64_t revision)
{
	struct call *call = context;
	(void)revision;
	if (status == STATUS_OK) { /* the records are gone whether or not the caller still waits */
		vault_forget(call->management->vault, text_of(call->ctx), call->worker, on_forgotten, call);
		return;
	}
	if (resumes(call))
		refuse_status(call, status);
}

/* Nothing to delete; but an earlier delete may have been cut off before the vault forgot. */
static void on_leftovers_forgotten(void *context, enum status status, struct text result)
{
	struct call *call = context;
	(void)result;
	if (resumes(call))
		refuse_status(call, status == STATUS_OK ? STATUS_NOT_FOUND : status);
}

static void delete (struct call *call, struct text body)
{
	(void)body;
	if (registry_find(call->management->registry, text_of(call->ctx)) == NULL) {
		call->is_pending = true;
		vault_forget(call->management->vault, text_of(call->ctx), call->worker, on_leftovers_forgotten, call);
		return;
	}
	struct transaction *transaction = transaction_new();
	if (transaction == NULL || !transaction_delete_ctx(transaction, text_of(call->ctx))) {
		transaction_free(transaction);
		refuse_status(call, STATUS_NO_MEMORY);
		return;
	}
	call->status = 200;
	submit(call, transaction, on_deleted);
}

/* --- the list */

struct item {
	const struct participant *participant;
};
struct listing {
	struct item *items;
	size_t count, room;
};

static bool list_one(void *context, const struct participant *participant)
{
	struct listing *list = context;
	if (list->count < list->room)
		list->items[list->count++].participant = participant;
	return true;
}

static int by_ctx(const void *a, const void *b)
{
	const struct item *first = a, *second = b;
	return strcmp(first->participant->ctx, second->participant->ctx);
}

static bool query_number(const struct exchange *exchange, struct text name, uint64_t limit, uint64_t *number)
{
	struct text rest = exchange_query(exchange), part;
	for (bool done = rest.length == 0; text_next_part(&rest, '&', &part, &done);) {
		size_t equals = text_find(part, '=');
		if (text_equals(text_slice(part, 0, equals), name))
			return equals < part.length &&
				   text_to_unsigned(text_slice(part, equals + 1, part.length), limit, number) == STATUS_OK;
	}
	return true;
}

static void list(struct call *call, struct text body)
{
	(void)body;
	uint64_t offset = 0, limit = LIMIT_PRESET;
	if (!query_number(call->exchange, TEXT("offset"), UINT32_MAX, &offset) ||
		!query_number(call->exchange, TEXT("limit"), LIMIT_MAX, &limit)) {
		refuse(call, 400, "InvalidRequest", "offset and limit must be numbers", NULL);
		return;
	}
	struct listing all = {.room = registry_count(call->management->registry)};
	all.items = calloc(all.room + 1, sizeof(all.items[0]));
	if (all.items == NULL) {
		refuse_status(call, STATUS_NO_MEMORY);
		return;
	}
	registry_each(call->management->registry, list_one, &all);
	qsort(all.items, all.count, sizeof(all.items[0]), by_ctx);
	buffer_append_byte(&call->answer, '[');
	for (uint64_t i = offset; i < all.count && i < offset + limit; i++) {
		if (i > offset)
			buffer_append_byte(&call->answer, ',');
		print_participant(all.items[i].participant, &call->answer);
	}
	buffer_append_byte(&call->answer, ']');
	free(all.items);
	call->status = 200;
	finish(call);
}

/* --- configuration: {"entries":{...},"privateEntries":[names]}; private values are in the vault alone */

static const char *wrong_config_member(const struct json *body, const char *ctx)
{
	for (const struct json *member = json_first(body); member != NULL; member = json_next(member)) {
		bool is_fine = name_is(member, "@context") || name_is(member, "@id");
		if (name_is(member, "@type"))
			is_fine = text_equals(json_text(member), TEXT("ParticipantContextConfig"));
		else if (name_is(member, "identity"))
			is_fine = text_equals(json_text(member), text_of(ctx));
		else if (name_is(member, "entries") || name_is(member, "privateEntries")) {
			is_fine = json_kind(member) == JSON_OBJECT;
			for (const struct json *entry = json_first(member); entry != NULL && is_fine; entry = json_next(entry))
				is_fine = (json_kind(entry) == JSON_STRING || json_kind(entry) == JSON_NULL) &&
						  name_is_valid(text_of(json_name(entry)), ALIAS_MAX);
		}
		if (!is_fine)
			return json_name(member);
	}
	return NULL;
}

static bool set_entries(struct json *into, const struct json *change)
{
	bool is_set = into != NULL;
	for (const struct json *entry = json_first(change); entry != NULL && is_set; entry = json_next(entry)) {
		if (json_kind(entry) == JSON_NULL)
			json_remove(into, json_name(entry));
		else
			is_set = json_set(into, json_name(entry), json_copy(entry));
	}
	return is_set;
}

/* Names only. */
static bool set_private_names(struct json *into, const struct json *before, const struct json *change)
{
	bool is_set = into != NULL;
	for (const struct json *name = json_first(before); name != NULL && is_set; name = json_next(name)) {
		char *text = text_copy(json_text(name));
		is_set = text != NULL && (json_member(change, text) != NULL || json_add_text(into, NULL, json_text(name)));
		free(text);
	}
	for (const struct json *entry = json_first(change); entry != NULL && is_set; entry = json_next(entry)) {
		if (json_kind(entry) != JSON_NULL)
			is_set = json_add_text(into, NULL, text_of(json_name(entry)));
	}
	return is_set;
}

static bool is_patch(const struct call *call)
{
	return strcmp(call->endpoint->method, "PATCH") == 0;
}

static struct json *merged_config(const struct call *call, const struct participant *participant)
{
	struct json *before = NULL, *config = json_object_new();
	if (is_patch(call) && participant->config != NULL &&
		json_parse(text_of(participant->config), NULL, &before) != STATUS_OK)
		before = NULL;
	struct json *entries = before == NULL ? json_object_new() : json_copy(json_member(before, "entries"));
	struct json *names = json_array_new();
	bool is_made =
		set_entries(entries, json_member(call->body, "entries")) &&
		set_private_names(names, json_member(before, "privateEntries"), json_member(call->body, "privateEntries"));
	is_made = json_add(config, "entries", entries) && is_made;
	is_made = json_add(config, "privateEntries", names) && is_made;
	json_free(before);
	if (is_made)
		return config;
	json_free(config);
	return NULL;
}

static void store_config(struct call *call);

static void on_config_stored(void *context, enum status status, int64_t revision)
{
	struct call *call = context;
	(void)revision;
	if (!resumes(call))
		return;
	if (status == STATUS_CONFLICT && ++call->attempts < ATTEMPTS_MAX)
		store_config(call); /* somebody else's merge came first: merge into theirs */
	else if (status == STATUS_OK)
		finish(call);
	else
		refuse_status(call, status);
}

static void store_config(struct call *call)
{
	const struct participant *participant = found(call);
	if (participant == NULL)
		return;
	struct json *config = merged_config(call, participant);
	struct buffer text = {0}, error = {0};
	if (config != NULL)
		json_print(config, &text);
	enum status status = config == NULL || text.failed ? STATUS_NO_MEMORY : participant_check_config(config, &error);
	json_free(config);
	struct transaction *transaction = status == STATUS_OK ? transaction_new() : NULL;
	if (status == STATUS_INVALID)
		refuse(call, 400, "ValidationFailure", error.bytes, "entries");
	else if (transaction == NULL || !transaction_put(transaction, text_of(call->ctx), RECORD_PARTICIPANT_CONFIG,
										TEXT("config"), buffer_text(&text), participant->config_revision)) {
		transaction_free(transaction);
		refuse_status(call, STATUS_NO_MEMORY);
	} else {
		submit(call, transaction, on_config_stored);
	}
	buffer_free(&text);
	buffer_free(&error);
}

static void keep_private_entries(struct call *call);

static void on_private_entry(void *context, enum status status, struct text result)
{
	struct call *call = context;
	(void)result;
	if (!resumes(call))
		return;
	if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
		refuse_status(call, status);
		return;
	}
	call->secret = json_next(call->secret);
	keep_private_entries(call);
}

static void keep_private_entries(struct call *call)
{
	if (call->secret == NULL) {
		store_config(call);
		return;
	}
	char alias[ALIAS_MAX + 16];
	int length = snprintf(alias, sizeof(alias), "config.%s", json_name(call->secret));
	struct text name = {alias, (size_t)length};
	call->is_pending = true;
	if (json_kind(call->secret) == JSON_NULL)
		vault_delete(call->management->vault, text_of(call->ctx), name, call->worker, on_private_entry, call);
	else
		vault_secret_put(call->management->vault, text_of(call->ctx), name, json_text(call->secret), call->worker,
			on_private_entry, call);
}

/* What the body gives; a replacing one deletes the others. */
static struct json *list_secrets(const struct call *call, const struct participant *participant)
{
	const struct json *given = json_member(call->body, "privateEntries");
	struct json *secrets = given == NULL ? json_object_new() : json_copy(given), *before = NULL;
	if (is_patch(call) || participant->config == NULL ||
		json_parse(text_of(participant->config), NULL, &before) != STATUS_OK)
		return secrets;
	bool is_made = secrets != NULL;
	const struct json *name = json_first(json_member(before, "privateEntries"));
	for (; name != NULL && is_made; name = json_next(name)) {
		char *text = text_copy(json_text(name));
		is_made = text != NULL && (json_member(secrets, text) != NULL || json_add_null(secrets, text));
		free(text);
	}
	json_free(before);
	if (is_made)
		return secrets;
	json_free(secrets);
	return NULL;
}

static void change_config(struct call *call, struct text body)
{
	const struct participant *participant = parse(call, body) ? found(call) : NULL;
	if (participant == NULL)
		return;
	const char *wrong = wrong_config_member(call->body, call->ctx);
	struct buffer error = {0};
	if (wrong != NULL)
		refuse(call, 400, "ValidationFailure", "is not what a ParticipantContextConfig has here", wrong);
	else if (participant_check_config(call->body, &error) == STATUS_INVALID)
		refuse(call, 400, "ValidationFailure", error.bytes, "entries");
	else {
		call->status = 204;
		call->secrets = list_secrets(call, participant);
		call->secret = json_first(call->secrets);
		if (call->secrets == NULL)
			refuse_status(call, STATUS_NO_MEMORY);
		else
			keep_private_entries(call);
	}
	buffer_free(&error);
}

static void show_config(struct call *call, struct text body)
{
	(void)body;
	const struct participant *participant = found(call);
	if (participant == NULL)
		return;
	struct json *config = NULL;
	if (participant->config != NULL && json_parse(text_of(participant->config), NULL, &config) != STATUS_OK)
		config = NULL;
	buffer_printf(&call->answer,
		"{\"@context\":" CONTEXT ",\"@type\":\"ParticipantContextConfig\",\"identity\":\"%s\",\"entries\":", call->ctx);
	if (config == NULL)
		buffer_append(&call->answer, TEXT("{}"));
	else
		json_print(json_member(config, "entries"), &call->answer);
	buffer_append(&call->answer, TEXT(",\"privateEntries\":{}}"));
	json_free(config);
	call->status = 200;
	finish(call);
}

/* --- dispatch */

static const struct endpoint endpoints[] = {
	{"POST", 0, true, create},
	{"GET", 0, false, list},
	{"GET", 1, false, show},
	{"PUT", 1, true, replace},
	{"DELETE", 1, false, delete},
	{"GET", 2, false, show_config},
	{"PUT", 2, true, change_config},
	{"PATCH", 2, true, change_config},
};

static void on_whole_body(struct exchange *exchange, struct text body)
{
	struct call *call = exchange->state;
	call->endpoint->run(call, body);
}

static const struct endpoint *find_endpoint(struct exchange *exchange, unsigned segments)
{
	char allow[64] = "";
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
		const struct endpoint *endpoint = &endpoints[i];
		if (endpoint->segments != segments)
			continue;
		if (text_equals(exchange->method, text_of(endpoint->method)))
			return endpoint;
		size_t length = strlen(allow);
		snprintf(allow + length, sizeof(allow) - length, "%s%s", length == 0 ? "" : ", ", endpoint->method);
	}
	struct text value = exchange_copy(exchange, text_of(allow));
	if (value.bytes != NULL)
		exchange_add_header(exchange, TEXT("allow"), value);
	answer_problem(exchange, 405, TEXT_NONE);
	return NULL;
}

void management_handle(void *context, struct exchange *exchange, const struct route *route)
{
	struct management *management = context;
	struct text rest = route->rest, ctx = TEXT_NONE, tail = TEXT_NONE, more;
	unsigned segments = path_next(&rest, &ctx) ? path_next(&rest, &tail) ? 2 : 1 : 0;
	if ((segments == 2 && !text_equals(tail, TEXT("config"))) || path_next(&rest, &more)) {
		answer_problem(exchange, 404, TEXT_NONE);
		return;
	}
	if (!access_allow(management->access, exchange, TEXT("management-api"), TEXT_NONE, ACCESS_ADMIN, TEXT_NONE))
		return;
	const struct endpoint *endpoint = find_endpoint(exchange, segments);
	if (endpoint == NULL)
		return;
	struct call *call = calloc(1, sizeof(*call));
	if (call == NULL) {
		answer_problem(exchange, 503, TEXT_NONE);
		return;
	}
	*call =
		(struct call){.management = management, .worker = exchange->worker, .exchange = exchange, .endpoint = endpoint};
	exchange->state = call;
	exchange->on_close = on_close;
	if (segments > 0 && !id_is_valid(ctx)) {
		refuse_status(call, STATUS_NOT_FOUND);
		return;
	}
	if (segments > 0)
		memcpy(call->ctx, ctx.bytes, ID_LENGTH);
	if (endpoint->has_body)
		collect_body(exchange, BODY_MAX, on_whole_body);
	else
		endpoint->run(call, TEXT_NONE);
}

enum status management_open(struct store *store, struct vault *vault, struct registry *registry, struct access *access,
	struct management **management)
{
	struct management *made = malloc(sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	*made = (struct management){store, vault, registry, access};
	*management = made;
	return STATUS_OK;
}

void management_free(struct management *management)
{
	free(management);
}
