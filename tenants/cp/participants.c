/* Participant contexts over HTTP: checked, stored in one transaction, answered when every worker sees them. */
#include <stdlib.h>

#include "server/base/clock.h"
#include "tenants/cp/management_call.h"
#include "tenants/participant_build.h"

enum { LIMIT_PRESET = 50, LIMIT_MAX = 100000, IDENTITY_MAX = 1024 };

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

void participant_create(struct call *call, struct text body)
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

void participant_show(struct call *call, struct text body)
{
	(void)body;
	const struct participant *participant = call_participant(call);
	if (participant == NULL)
		return;
	print_participant(participant, &call->answer);
	call->status = 200;
	call_finish(call);
}

void participant_replace(struct call *call, struct text body)
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
	call_submit(call, transaction, call_on_stored);
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

void participant_delete(struct call *call, struct text body)
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

void participants_list(struct call *call, struct text body)
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
