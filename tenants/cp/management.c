/* Calls of the management API: which they are, whether they may, and how they are answered. */
#include "tenants/cp/management_call.h"

#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "server/path.h"

enum { BODY_MAX = 1024 * 1024 };

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

void call_on_stored(void *context, enum status status, int64_t revision)
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

const struct participant *call_participant(struct call *call)
{
	const struct participant *participant = registry_find(call->registry, text_of(call->ctx));
	if (participant == NULL)
		call_refuse_status(call, STATUS_NOT_FOUND);
	return participant;
}

/* --- dispatch */

static const struct endpoint endpoints[] = {
	{"POST", 0, true, NULL, NULL, participant_create},
	{"GET", 0, false, NULL, NULL, participants_list},
	{"GET", 1, false, NULL, NULL, participant_show},
	{"PUT", 1, true, NULL, NULL, participant_replace},
	{"DELETE", 1, false, NULL, NULL, participant_delete},
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
	exchange_add_header_copy(exchange, TEXT("allow"), text_of(allow));
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
