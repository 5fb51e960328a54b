/* Placement over REST. */
#include "control/fabric/place/placements_private.h"

#include <stdlib.h>

#include "server/answer.h"

enum { FIND_PAGE = 64 }; /* ids that share all but their last digits */

#define READ_SCOPE "tenant-manager-api:read"
#define WRITE_SCOPE "tenant-manager-api:write"

static struct placements *placements_of(const struct rest_call *call)
{
	return call->context;
}

void placements_reply(struct rest_call *call, int status, bool is_text, const struct buffer *body)
{
	if (call->exchange == NULL)
		return;
	if (body->failed)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else if (is_text)
		answer(call->exchange, status, TEXT("text/plain; charset=utf-8"), buffer_text(body));
	else
		rest_answer(call, status, buffer_text(body));
}

/* --- reading what is asked */

void asked_free(struct asked *asked)
{
	for (size_t i = 0; i < asked->count; i++)
		place_request_free(asked->requests[i]);
}

static enum status read_one(const struct json *object, struct asked *asked, struct buffer *error)
{
	if (asked->count == PLACE_GROUP_MAX) {
		buffer_printf(error, "requests: at most %d", PLACE_GROUP_MAX);
		return STATUS_INVALID;
	}
	enum status status = place_request_parse(object, &asked->requests[asked->count], error);
	asked->count += status == STATUS_OK;
	return status;
}

enum status asked_read(const struct json *requests, struct asked *asked, struct buffer *error)
{
	enum status status = STATUS_OK;
	for (const struct json *one = json_first(requests); one != NULL && status == STATUS_OK; one = json_next(one))
		status = read_one(one, asked, error);
	if (status == STATUS_OK && (json_kind(requests) != JSON_ARRAY || asked->count == 0)) {
		buffer_append(error, TEXT("requests: must be an array of requests"));
		status = STATUS_INVALID;
	}
	return status;
}

static enum status read_asked(const struct json *body, struct asked *asked, struct buffer *error)
{
	const struct json *requests = json_member(body, "requests");
	bool is_dry = true;
	if (requests == NULL)
		return read_one(body, asked, error);
	for (const struct json *member = json_first(body); member != NULL; member = json_next(member)) {
		if (strcmp(json_name(member), "requests") != 0 && strcmp(json_name(member), "dryRun") != 0) {
			buffer_printf(error, "%s: unknown member", json_name(member));
			return STATUS_INVALID;
		}
	}
	if (json_member(body, "dryRun") != NULL && (!json_bool(json_member(body, "dryRun"), &is_dry) || !is_dry)) {
		buffer_append(error, TEXT("dryRun: must be true: what is placed for good is placed with its participant"));
		return STATUS_INVALID;
	}
	return asked_read(requests, asked, error);
}

/* --- for people */

static void print_cell_line(const struct json *cell, struct text chosen, size_t width, struct buffer *into)
{
	struct text name = json_member_text(cell, "cell"), why = json_member_text(cell, "why");
	int64_t total;
	buffer_printf(into, "  %-*.*s  ", (int)width, TEXT_ARGUMENTS(name));
	if (json_integer(json_member(cell, "total"), &total))
		buffer_printf(into, "%s, %lld points\n", text_equals(name, chosen) ? "chosen" : "fits", (long long)total);
	else
		buffer_printf(into, "%.*s\n", TEXT_ARGUMENTS(why));
}

/* One decision: for whom, why, and each cell. */
static void print_decision(const struct json *decision, bool with_cells, struct buffer *into)
{
	const struct json *cells = json_member(decision, "cells"), *vpas = json_member(decision, "vpas");
	size_t width = 0;
	for (const struct json *vpa = json_first(vpas); vpa != NULL; vpa = json_next(vpa))
		buffer_printf(
			into, "%s%.*s", vpa == json_first(vpas) ? "" : " + ", TEXT_ARGUMENTS(json_member_text(vpa, "type")));
	if (json_member(decision, "reason") != NULL)
		buffer_printf(into, ": %.*s\n", TEXT_ARGUMENTS(json_member_text(decision, "reason")));
	else
		buffer_printf(into, ": %.*s, placed among many: only counts were kept\n",
			TEXT_ARGUMENTS(json_member_text(decision, "chosen")));
	for (const struct json *cell = json_first(cells); cell != NULL; cell = json_next(cell)) {
		size_t length = json_member_text(cell, "cell").length;
		width = length > width ? length : width;
	}
	for (const struct json *cell = json_first(cells); with_cells && cell != NULL; cell = json_next(cell))
		print_cell_line(cell, json_member_text(decision, "chosen"), width, into);
}

static void print_explain(const struct json *explain, bool with_cells, struct buffer *into)
{
	const struct json *decisions = json_member(explain, "decisions");
	if (decisions == NULL)
		print_decision(explain, with_cells, into);
	for (const struct json *one = json_first(decisions); one != NULL; one = json_next(one))
		print_decision(one, with_cells, into);
}

bool placements_form(struct rest_call *call, enum form *form)
{
	static const char *const names[] = {"json", "text", "line"};
	struct text wanted = rest_parameter(call, "format");
	for (int i = 0; i < 3; i++) {
		if (wanted.length == 0 || text_equals(wanted, text_of(names[i]))) {
			*form = (enum form)i;
			return true;
		}
	}
	rest_refuse(call, STATUS_INVALID, "format: must be json, text or line");
	return false;
}

/* --- POST /placements */

void placements_print_chosen(struct buffer *into, const struct text *chosen, size_t count)
{
	buffer_append_byte(into, '[');
	for (size_t i = 0; i < count; i++) {
		buffer_append(into, i == 0 ? TEXT("") : TEXT(","));
		buffer_append_json(into, chosen[i]);
	}
	buffer_append_byte(into, ']');
}

static void print_try_text(
	struct buffer *into, enum form form, const struct text *chosen, size_t count, const struct buffer *explain)
{
	static const struct json_limits limits = {.bytes = (size_t)64 * 1024 * 1024, .depth = 64, .nodes = 4000000};
	struct json *root = NULL;
	for (size_t i = 0; i < count; i++)
		buffer_printf(into, "%s%.*s", i == 0 ? "chosen: " : ", ", TEXT_ARGUMENTS(chosen[i]));
	buffer_append(into, count == 0 ? TEXT("no cell fits\n") : TEXT("\n"));
	if (json_parse(buffer_text(explain), &limits, &root) != STATUS_OK)
		into->failed = true;
	print_explain(root, form == FORM_TEXT, into);
	json_free(root);
}

static void print_try(struct buffer *into, const struct text *chosen, size_t count, const struct buffer *explain)
{
	buffer_append(into, TEXT("{\"chosen\":"));
	placements_print_chosen(into, chosen, count);
	buffer_append(into, TEXT(",\"dryRun\":true,\"explain\":"));
	buffer_append(into, buffer_text(explain));
	buffer_append_byte(into, '}');
	into->failed = into->failed || explain->failed;
}

static void try_asked(struct rest_call *call, const struct asked *asked, enum form form)
{
	struct buffer explain = {0}, line = {0}, body = {0};
	struct text chosen[PLACE_GROUP_MAX];
	enum status status = placer_try(placements_of(call)->placer, (const struct place_request *const *)asked->requests,
		asked->count, chosen, &explain, &line);
	size_t count = status == STATUS_OK ? asked->count : 0;
	if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
		rest_refuse(call, status, NULL);
	} else {
		if (form == FORM_JSON)
			print_try(&body, chosen, count, &explain);
		else
			print_try_text(&body, form, chosen, count, &explain);
		placements_reply(call, 200, form != FORM_JSON, &body);
	}
	buffer_free(&explain);
	buffer_free(&line);
	buffer_free(&body);
}

static void try_placement(struct rest_call *call)
{
	struct asked asked = {.count = 0};
	struct buffer error = {0};
	enum form form;
	if (!placements_form(call, &form))
		return;
	enum status status = read_asked(call->body, &asked, &error);
	if (status != STATUS_OK)
		rest_refuse(call, status, error.bytes);
	else
		try_asked(call, &asked, form);
	asked_free(&asked);
	buffer_free(&error);
}

/* --- a stored decision: found by its record's id and its index there */

struct lookup {
	struct rest_call *call;
	char record[ID_LENGTH + 1];
	uint64_t index;
	void (*found)(struct rest_call *call, const struct stored_decision *stored);
};

static const struct json *decision_at(const struct json *root, uint64_t index)
{
	const struct json *decision = json_first(json_member(root, "decisions"));
	while (decision != NULL && index-- > 0)
		decision = json_next(decision);
	return decision;
}

static void on_found(void *context, enum status status, const struct record *records, size_t count)
{
	static const struct json_limits limits = {.bytes = (size_t)16 * 1024 * 1024, .depth = 64, .nodes = 2000000};
	struct lookup *lookup = context;
	struct json *root = NULL;
	for (size_t i = 0; i < count && root == NULL; i++) {
		if (text_equals(records[i].id, text_of(lookup->record)) &&
			json_parse(records[i].body, &limits, &root) != STATUS_OK)
			status = STATUS_INTERNAL;
	}
	const struct json *decision = root == NULL ? NULL : decision_at(root, lookup->index);
	if (decision != NULL)
		lookup->found(lookup->call, &(struct stored_decision){lookup->record, root, decision});
	else
		rest_refuse(lookup->call, status == STATUS_OK ? STATUS_NOT_FOUND : status, NULL);
	json_free(root);
	rest_release(lookup->call);
	free(lookup);
}

/* "<record>-<index>" */
static bool split_id(struct text id, struct lookup *lookup)
{
	struct text record = text_slice(id, 0, ID_LENGTH);
	if (!id_is_valid(record) || id.length <= ID_LENGTH + 1 || id.bytes[ID_LENGTH] != '-' ||
		text_to_unsigned(text_slice(id, ID_LENGTH + 1, id.length), 1000000, &lookup->index) != STATUS_OK)
		return false;
	memcpy(lookup->record, record.bytes, ID_LENGTH);
	return true;
}

void decision_find(
	struct rest_call *call, struct text id, void (*found)(struct rest_call *call, const struct stored_decision *stored))
{
	struct lookup *lookup = calloc(1, sizeof(*lookup));
	if (lookup == NULL || !split_id(id, lookup)) {
		rest_refuse(call, lookup == NULL ? STATUS_NO_MEMORY : STATUS_NOT_FOUND, NULL);
		free(lookup);
		return;
	}
	lookup->call = call;
	lookup->found = found;
	rest_hold(call);
	/* what comes after the id without its last two digits is the id, or one of few before it */
	struct text after = text_slice(text_of(lookup->record), 0, ID_LENGTH - 2);
	struct state *state = placements_of(call)->state;
	store_list(state_store(state), TEXT(""), RECORD_DECISION, after, FIND_PAGE, state_worker(state), on_found, lookup);
}

/* --- GET /placements/{id}/explain */

static void show_explain(struct rest_call *call, const struct stored_decision *found)
{
	const struct json *stored = json_member(found->decision, "explain");
	struct buffer body = {0};
	enum form form;
	if (!placements_form(call, &form))
		return;
	if (form == FORM_JSON)
		json_print(stored, &body);
	else
		print_explain(stored, form == FORM_TEXT, &body);
	placements_reply(call, 200, form != FORM_JSON, &body);
	buffer_free(&body);
}

static void explain(struct rest_call *call)
{
	decision_find(call, call->arguments[0], show_explain);
}

/* --- GET /placements:lapses */

struct lapses {
	struct buffer body;
	bool is_text;
	size_t count;
};

static void print_lapse(void *context, const struct cell_record *cell, const char *compliance, int64_t vpas)
{
	struct lapses *lapses = context;
	if (lapses->is_text) {
		buffer_printf(&lapses->body, "%s: the attestation of %s has expired; %lld VPAs live there\n", cell->external_id,
			compliance, (long long)vpas);
		return;
	}
	buffer_printf(&lapses->body, "%s{\"cell\":", lapses->count++ == 0 ? "" : ",");
	buffer_append_json(&lapses->body, text_of(cell->external_id));
	buffer_append(&lapses->body, TEXT(",\"compliance\":"));
	buffer_append_json(&lapses->body, text_of(compliance));
	buffer_printf(&lapses->body, ",\"vpas\":%lld}", (long long)vpas);
}

static void list_lapses(struct rest_call *call)
{
	struct lapses lapses = {.count = 0};
	enum form form;
	if (!placements_form(call, &form))
		return;
	lapses.is_text = form != FORM_JSON;
	if (!lapses.is_text)
		buffer_append_byte(&lapses.body, '[');
	placer_lapses(placements_of(call)->placer, print_lapse, &lapses);
	if (!lapses.is_text)
		buffer_append_byte(&lapses.body, ']');
	placements_reply(call, 200, lapses.is_text, &lapses.body);
	buffer_free(&lapses.body);
}

/* --- life */

static const struct rest_endpoint endpoints[] = {
	{.method = "POST", .path = "/placements:replay", .scope = READ_SCOPE, .has_body = true, .run = replay_placement},
	{.method = "GET", .path = "/placements:lapses", .scope = READ_SCOPE, .run = list_lapses},
	{.method = "POST", .path = "/placements", .scope = READ_SCOPE, .has_body = true, .run = try_placement},
	{.method = "GET", .path = "/placements/{id}/explain", .scope = READ_SCOPE, .run = explain},
};

enum status placements_open(
	struct placer *placer, struct state *state, struct rest *rest, struct placements **placements)
{
	struct placements *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	*made = (struct placements){placer, state};
	enum status status = rest_add(rest, "/api/celld/v1", endpoints, sizeof(endpoints) / sizeof(endpoints[0]), made);
	if (status == STATUS_OK)
		*placements = made;
	else
		free(made);
	return status;
}

void placements_free(struct placements *placements)
{
	free(placements);
}
