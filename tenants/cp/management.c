/* Participant contexts over HTTP: checked, stored in one transaction, answered when every worker sees them. */
#include "tenants/cp/management_call.h"

#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "server/base/clock.h"
#include "server/path.h"
#include "tenants/participant_build.h"

enum { BODY_MAX = 1024 * 1024, LIMIT_PRESET = 50, LIMIT_MAX = 100000, IDENTITY_MAX = 1024 };

/* --- answers: errors are arrays of {message, type, path, invalidValue} (cfm.md 6.3) */

void call_refuse(struct call *call, int status, const char *type, const char *message, const char *path)
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

void call_refuse_status(struct call *call, enum status status)
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
			call_refuse(call, answers[i].http, answers[i].type, answers[i].message, NULL);
			return;
		}
	}
	call_refuse(call, status == STATUS_NO_MEMORY ? 503 : 500, "InternalError", status_text(status), NULL);
}

static void call_free(struct call *call)
{
	buffer_free(&call->answer);
	json_free(call->body);
	json_free(call->secrets);
	early_config_free(call->early);
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

bool call_resumes(struct call *call)
{
	call->is_pending = false;
	if (call->exchange != NULL)
		return true;
	call_free(call);
	return false;
}

void call_go_on(struct call *call, enum status status, void (*next)(struct call *call))
{
	if (!call_resumes(call))
		return;
	if (status == STATUS_OK)
		next(call);
	else
		call_refuse_status(call, status);
}

void call_finish(struct call *call)
{
	if (call->answer.failed)
		call_refuse_status(call, STATUS_NO_MEMORY);
	else if (call->answer.length == 0)
		answer_empty(call->exchange, call->status);
	else
		answer_json(call->exchange, call->status, buffer_text(&call->answer));
}

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct call *call = context;
	(void)revision;
	call_go_on(call, status, call_finish);
}

void call_submit(struct call *call, struct transaction *transaction,
	void (*done)(void *context, enum status status, int64_t revision))
{
	call->is_pending = true;
	store_submit(call->store, transaction, call->worker, done, call);
}

/* --- participants */

/* NULL: fine; else the member that is wrong. */
static const char *wrong_member(const struct json *body, bool is_new)
{
	enum participant_state state;
	for (const struct json *member = json_first(body); member != NULL; member = json_next(member)) {
		bool is_fine = false;
		if (json_name_is(member, "@context"))
			is_fine = json_kind(member) == JSON_ARRAY || json_kind(member) == JSON_STRING;
		else if (json_name_is(member, "@type"))
			is_fine = text_equals(json_text(member), TEXT("ParticipantContext"));
		else if (json_name_is(member, "@id"))
			is_fine = id_is_valid(json_text(member));
		else if (json_name_is(member, "identity"))
			is_fine = json_text(member).length > 0 && json_text(member).length <= IDENTITY_MAX;
		else if (json_name_is(member, "properties"))
			is_fine = json_kind(member) == JSON_OBJECT;
		else if (json_name_is(member, "state"))
			is_fine = participant_state_parse(json_text(member), &state);
		if (!is_fine)
			return json_name(member);
	}
	return is_new && json_member_text(body, "identity").bytes == NULL ? "identity" : NULL;
}

bool call_parse(struct call *call, struct text body)
{
	enum status status = json_parse(body, NULL, &call->body);
	if (status == STATUS_OK && json_kind(call->body) == JSON_OBJECT)
		return true;
	if (status == STATUS_NO_MEMORY)
		call_refuse_status(call, status);
	else
		call_refuse(call, 400, "InvalidRequest", "the body must be one JSON object", NULL);
	return false;
}

bool participant_print_record(
	const struct json *change, const struct json *before, int64_t created_ms, struct buffer *into)
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

static void say_created(struct call *call, int64_t created_ms)
{
	buffer_clear(&call->answer);
	buffer_printf(&call->answer,
		"{\"@context\":" MANAGEMENT_CONTEXT ",\"@type\":\"IdResponse\",\"@id\":\"%s\",\"createdAt\":%lld}", call->ctx,
		(long long)created_ms);
	call->status = 200;
}

/* An agent that did not hear the answer says the same again; anything else is a conflict. */
static void create_again(struct call *call, const struct participant *participant)
{
	struct text state = json_member_text(call->body, "state");
	if (!text_equals(json_member_text(call->body, "identity"), text_of(participant->identity)) ||
		!text_equals(
			state.bytes == NULL ? TEXT("CREATED") : state, text_of(participant_state_name(participant->state)))) {
		call_refuse_status(call, STATUS_CONFLICT);
		return;
	}
	say_created(call, participant->created_ms);
	call_finish(call);
}

static void store_participant(struct call *call);

static void on_taken(void *context, enum status status, struct early_config *early)
{
	struct call *call = context;
	early_config_free(call->early);
	call->early = early;
	call_go_on(call, status, store_participant);
}

/* CONFLICT: another was as fast, or there is a configuration that came before. */
static void on_created(void *context, enum status status, int64_t revision)
{
	struct call *call = context;
	(void)revision;
	if (status == STATUS_OK && call->early != NULL)
		early_config_forget(call->vault, text_of(call->ctx));
	if (!call_resumes(call))
		return;
	const struct participant *participant =
		status == STATUS_CONFLICT ? registry_find(call->registry, text_of(call->ctx)) : NULL;
	if (participant != NULL) {
		create_again(call, participant);
	} else if (status == STATUS_CONFLICT && ++call->attempts < CALL_ATTEMPTS_MAX) {
		call->is_pending = true;
		early_config_take(call->store, call->vault, text_of(call->ctx), call->worker, on_taken, call);
	} else if (status == STATUS_OK) {
		call_finish(call);
	} else {
		call_refuse_status(call, status);
	}
}

static void store_participant(struct call *call)
{
	struct buffer record = {0};
	struct transaction *transaction = transaction_new();
	bool is_made = transaction != NULL && participant_print_record(call->body, NULL, call->created_ms, &record) &&
				   transaction_put(transaction, text_of(call->ctx), RECORD_PARTICIPANT, TEXT("participant"),
					   buffer_text(&record), REVISION_ABSENT) &&
				   early_config_adopt(transaction, text_of(call->ctx), call->early, NULL);
	buffer_free(&record);
	if (is_made) {
		call_submit(call, transaction, on_created);
	} else {
		transaction_free(transaction);
		call_refuse_status(call, STATUS_NO_MEMORY);
	}
}

/* Whatever the vault still has of a namesake (its delete was cut off by a crash) must not be inherited. Another create
 * of the same ctx is no danger: its clearing was asked for before ours is answered, and the vault keeps the order. */
static void on_cleared(void *context, enum status status, struct text result)
{
	struct call *call = context;
	(void)result;
	call_go_on(call, status, store_participant);
}

static void create(struct call *call, struct text body)
{
	if (!call_parse(call, body))
		return;
	const char *wrong = wrong_member(call->body, true);
	if (wrong != NULL) {
		call_refuse(call, 400, "ValidationFailure", "is not what a ParticipantContext has here", wrong);
		return;
	}
	struct text id = json_member_text(call->body, "@id");
	if (id.bytes != NULL)
		memcpy(call->ctx, id.bytes, ID_LENGTH);
	else
		id_random(call->ctx);
	const struct participant *participant = registry_find(call->registry, text_of(call->ctx));
	if (participant != NULL) {
		create_again(call, participant);
		return;
	}
	call->created_ms = clock_wall_ms();
	say_created(call, call->created_ms);
	call->is_pending = true;
	vault_forget(call->vault, text_of(call->ctx), call->worker, on_cleared, call);
}

static void print_participant(const struct participant *participant, struct buffer *into)
{
	struct json *record = NULL;
	if (json_parse(text_of(participant->body), NULL, &record) != STATUS_OK) {
		into->failed = true;
		return;
	}
	buffer_printf(into,
		"{\"@context\":" MANAGEMENT_CONTEXT ",\"@type\":\"ParticipantContext\",\"@id\":\"%s\",\"identity\":",
		participant->ctx);
	buffer_append_json(into, text_of(participant->identity));
	buffer_append(into, TEXT(",\"properties\":"));
	json_print(json_member(record, "properties"), into);
	buffer_printf(into, ",\"state\":\"%s\",\"createdAt\":%lld}", participant_state_name(participant->state),
		(long long)participant->created_ms);
	json_free(record);
}

const struct participant *call_participant(struct call *call)
{
	const struct participant *participant = registry_find(call->registry, text_of(call->ctx));
	if (participant == NULL)
		call_refuse_status(call, STATUS_NOT_FOUND);
	return participant;
}

static void show(struct call *call, struct text body)
{
	(void)body;
	const struct participant *participant = call_participant(call);
	if (participant == NULL)
		return;
	print_participant(participant, &call->answer);
	call->status = 200;
	call_finish(call);
}

static void replace(struct call *call, struct text body)
{
	if (!call_parse(call, body))
		return;
	const char *wrong = wrong_member(call->body, false);
	struct text id = json_member_text(call->body, "@id");
	if (wrong == NULL && id.bytes != NULL && !text_equals(id, text_of(call->ctx)))
		wrong = "@id";
	if (wrong != NULL) {
		call_refuse(call, 400, "ValidationFailure", "is not what this ParticipantContext has here", wrong);
		return;
	}
	const struct participant *participant = call_participant(call);
	if (participant == NULL)
		return;
	struct json *before = NULL;
	struct buffer record = {0};
	struct transaction *transaction = transaction_new();
	bool is_made = transaction != NULL && json_parse(text_of(participant->body), NULL, &before) == STATUS_OK &&
				   participant_print_record(call->body, before, participant->created_ms, &record) &&
				   transaction_put(transaction, text_of(call->ctx), RECORD_PARTICIPANT, TEXT("participant"),
					   buffer_text(&record), participant->revision);
	json_free(before);
	buffer_free(&record);
	if (!is_made) {
		transaction_free(transaction);
		call_refuse_status(call, STATUS_NO_MEMORY);
		return;
	}
	call->status = 204;
	call_submit(call, transaction, on_stored);
}

static void on_forgotten(void *context, enum status status, struct text result)
{
	struct call *call = context;
	(void)result;
	call_go_on(call, status, call_finish);
}

static void on_deleted(void *context, enum status status, int64_t revision)
{
	struct call *call = context;
	(void)revision;
	if (status == STATUS_OK) { /* the records are gone whether or not the caller still waits */
		vault_forget(call->vault, text_of(call->ctx), call->worker, on_forgotten, call);
		return;
	}
	if (call_resumes(call))
		call_refuse_status(call, status);
}

/* Nothing to delete; but an earlier delete may have been cut off before the vault forgot, and a configuration may have
 * come for one that never did. */
static void on_leftovers_forgotten(void *context, enum status status, struct text result)
{
	struct call *call = context;
	(void)result;
	if (call_resumes(call))
		call_refuse_status(call, status == STATUS_OK ? STATUS_NOT_FOUND : status);
}

static void on_leftovers_deleted(void *context, enum status status, int64_t revision)
{
	struct call *call = context;
	(void)revision;
	if (status == STATUS_OK) {
		early_config_forget(call->vault, text_of(call->ctx));
		vault_forget(call->vault, text_of(call->ctx), call->worker, on_leftovers_forgotten, call);
		return;
	}
	if (call_resumes(call))
		call_refuse_status(call, status);
}

static void delete (struct call *call, struct text body)
{
	(void)body;
	bool is_there = registry_find(call->registry, text_of(call->ctx)) != NULL;
	struct transaction *transaction = transaction_new();
	bool is_made = transaction != NULL && (is_there ? transaction_delete_ctx(transaction, text_of(call->ctx))
													: early_config_drop(transaction, text_of(call->ctx)));
	if (!is_made) {
		transaction_free(transaction);
		call_refuse_status(call, STATUS_NO_MEMORY);
		return;
	}
	call->status = 200;
	call_submit(call, transaction, is_there ? on_deleted : on_leftovers_deleted);
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
		call_refuse(call, 400, "InvalidRequest", "offset and limit must be numbers", NULL);
		return;
	}
	struct listing all = {.room = registry_count(call->registry)};
	all.items = calloc(all.room + 1, sizeof(all.items[0]));
	if (all.items == NULL) {
		call_refuse_status(call, STATUS_NO_MEMORY);
		return;
	}
	registry_each(call->registry, list_one, &all);
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
	call_finish(call);
}

/* --- dispatch */

static const struct endpoint endpoints[] = {
	{"POST", 0, true, NULL, NULL, create},
	{"GET", 0, false, NULL, NULL, list},
	{"GET", 1, false, NULL, NULL, show},
	{"PUT", 1, true, NULL, NULL, replace},
	{"DELETE", 1, false, NULL, NULL, delete},
	{"GET", 2, false, "config", NULL, config_show},
	{"PUT", 2, true, "config", NULL, config_change},
	{"PATCH", 2, true, "config", NULL, config_change},
	{"PUT", 2, true, "dataplanes", "dataplanes", data_plane_put},
	{"DELETE", 3, false, "dataplanes", "dataplanes", data_plane_delete},
};

static void on_whole_body(struct exchange *exchange, struct text body)
{
	struct call *call = exchange->state;
	call->endpoint->run(call, body);
}

/* NULL: it has answered, with 404 or 405. */
static const struct endpoint *find_endpoint(struct exchange *exchange, unsigned segments, struct text tail)
{
	char allow[64] = "";
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
		const struct endpoint *endpoint = &endpoints[i];
		if (endpoint->segments != segments ||
			!text_equals(endpoint->tail == NULL ? TEXT_NONE : text_of(endpoint->tail), tail))
			continue;
		if (text_equals(exchange->method, text_of(endpoint->method)))
			return endpoint;
		size_t length = strlen(allow);
		snprintf(allow + length, sizeof(allow) - length, "%s%s", length == 0 ? "" : ", ", endpoint->method);
	}
	if (*allow == 0) {
		answer_problem(exchange, 404, TEXT_NONE);
		return NULL;
	}
	struct text value = exchange_copy(exchange, text_of(allow));
	if (value.bytes != NULL)
		exchange_add_header(exchange, TEXT("allow"), value);
	answer_problem(exchange, 405, TEXT_NONE);
	return NULL;
}

static bool is_allowed(
	struct management *management, struct exchange *exchange, const struct endpoint *endpoint, struct text ctx)
{
	if (endpoint->resource == NULL)
		return access_allow(management->access, exchange, TEXT("management-api"), TEXT_NONE, ACCESS_ADMIN, TEXT_NONE);
	return access_allow(
		management->access, exchange, TEXT("management-api"), text_of(endpoint->resource), ACCESS_WRITE, ctx);
}

void management_handle(void *context, struct exchange *exchange, const struct route *route)
{
	struct management *management = context;
	struct text rest = route->rest, parts[3] = {TEXT_NONE, TEXT_NONE, TEXT_NONE}, more;
	unsigned segments = 0;
	while (segments < 3 && path_next(&rest, &parts[segments]))
		segments++;
	if (path_next(&rest, &more)) {
		answer_problem(exchange, 404, TEXT_NONE);
		return;
	}
	struct text ctx = parts[0];
	const struct endpoint *endpoint = find_endpoint(exchange, segments, parts[1]);
	if (endpoint == NULL || !is_allowed(management, exchange, endpoint, ctx))
		return;
	struct call *call = calloc(1, sizeof(*call));
	if (call == NULL) {
		answer_problem(exchange, 503, TEXT_NONE);
		return;
	}
	*call = (struct call){.store = management->store,
		.vault = management->vault,
		.registry = management->registry,
		.worker = exchange->worker,
		.exchange = exchange,
		.endpoint = endpoint,
		.id = exchange_copy(exchange, parts[2])};
	exchange->state = call;
	exchange->on_close = on_close;
	if (segments > 0 && !id_is_valid(ctx)) {
		call_refuse_status(call, STATUS_NOT_FOUND);
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
