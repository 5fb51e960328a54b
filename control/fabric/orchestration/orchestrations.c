/* REST of orchestrations: the existing manager's (cfm.md 2.4), and what an operator may do beyond it (control.md 2.10).
 */
#include <stdlib.h>

#include "control/fabric/listing.h"
#include "control/fabric/manager/wire.h"
#include "control/fabric/orchestration/pm_private.h"
#include "control/fabric/orchestration/steps.h"

static const struct query_field fields[] = {
	{"id", "id"},
	{"correlationId", "correlationId"},
	{"DefinitionID", "definitionId"},
	{"definitionId", "definitionId"},
	{"state", "state"},
	{"stateTimestamp", "stateTimestamp"},
	{"createdTimestamp", "createdTimestamp"},
	{"orchestrationType", "orchestrationType"},
	{NULL, NULL},
};

static void print_json(struct buffer *into, const char *before, const struct json *value)
{
	buffer_append(into, text_of(before));
	json_print(value, into);
}

/* The members of an entry, without the closing brace. */
static void print_entry(const struct orchestration *orchestration, struct buffer *into)
{
	message_print_text(into, "{\"id\":", orchestration->id);
	message_print_text(into, ",\"correlationId\":", orchestration->correlation_id);
	message_print_text(into, ",\"definitionId\":", orchestration->definition_id);
	buffer_printf(into, ",\"state\":%d", (int)orchestration->state);
	message_print_text(into, ",\"stateTimestamp\":", json_member_text(orchestration->root, "stateTimestamp"));
	message_print_text(into, ",\"createdTimestamp\":", json_member_text(orchestration->root, "createdTimestamp"));
	message_print_text(into, ",\"orchestrationType\":", orchestration->type);
}

static void print_orchestration(const struct orchestration *orchestration, struct buffer *into)
{
	print_entry(orchestration, into);
	buffer_append(into, TEXT(",\"steps\":["));
	for (size_t i = 0; i < orchestration_steps(orchestration); i++) {
		buffer_append(into, i == 0 ? TEXT("{\"activities\":[") : TEXT(",{\"activities\":["));
		const struct json *first = json_first(orchestration_step(orchestration, i));
		for (const struct json *activity = first; activity != NULL; activity = json_next(activity)) {
			if (activity != first)
				buffer_append_byte(into, ',');
			step_print_activity(activity, into);
		}
		buffer_append(into, TEXT("]}"));
	}
	print_json(into, "],\"processingData\":", json_member(orchestration->root, "processingData"));
	print_json(into, ",\"outputData\":", orchestration_output(orchestration));
	print_json(into, ",\"completed\":", json_member(orchestration->root, "completed"));
	buffer_append_byte(into, '}');
}

static bool print_item(const struct record_item *item, struct buffer *into)
{
	struct orchestration orchestration;
	struct buffer error = {0};
	if (orchestration_parse(item->body, &orchestration, &error) == STATUS_OK) {
		print_entry(&orchestration, into);
		buffer_append_byte(into, '}');
		orchestration_free(&orchestration);
	}
	buffer_free(&error);
	return !into->failed;
}

/* The item the path names; NULL: it has answered. */
static struct ledger_item *find(struct rest_call *call, struct text id)
{
	struct ledger_item *item = ledger_find(call->context, id);
	if (item != NULL && item->revision != 0)
		return item;
	rest_refuse(call, STATUS_NOT_FOUND, NULL);
	return NULL;
}

static void answer_item(struct rest_call *call, int status, const struct ledger_item *item,
	void (*print)(const struct orchestration *orchestration, struct buffer *into))
{
	struct orchestration orchestration;
	struct buffer body = {0};
	if (!ledger_read(call->context, item, &orchestration)) {
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		return;
	}
	print(&orchestration, &body);
	orchestration_free(&orchestration);
	if (body.failed)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else
		rest_answer(call, status, buffer_text(&body));
	buffer_free(&body);
}

static void get_orchestration(struct rest_call *call)
{
	const struct ledger_item *item = find(call, call->arguments[0]);
	if (item != NULL)
		answer_item(call, 200, item, print_orchestration);
}

static void query_orchestrations(struct rest_call *call)
{
	struct pm *pm = call->context;
	listing_query(call, pm->listing, "/orchestrations/query", pm->worker);
}

/* --- starting one by hand */

static void print_value(const struct orchestration *orchestration, struct buffer *into)
{
	struct orchestration copy = *orchestration;
	ledger_print_value(&copy, into);
}

static void on_started(void *context, enum status status, const struct ledger_item *item, const char *why)
{
	struct rest_call *call = context;
	if (status == STATUS_OK)
		answer_item(call, 202, item, print_value);
	else
		rest_refuse(call, status == STATUS_NOT_FOUND ? STATUS_INVALID : status, why);
	rest_release(call);
}

static void post_orchestration(struct rest_call *call)
{
	struct manifest manifest;
	struct buffer error = {0}, message = {0};
	if (manifest_read(call->body, &manifest, &error) != STATUS_OK) {
		buffer_printf(&message, "Invalid payload: %s", error.failed ? "" : error.bytes);
		rest_refuse_with(call, 400, message.failed ? "Invalid payload" : message.bytes);
	} else {
		rest_hold(call);
		manifest.trace = trace_of(call->traceparent, call->tracestate);
		pm_start(call->context, &manifest, on_started, call);
	}
	buffer_free(&error);
	buffer_free(&message);
}

/* --- what an operator may do */

static void on_changed(void *context, enum change change)
{
	struct rest_call *call = context;
	switch (change) {
	case CHANGE_MADE:
		rest_answer(call, 202, TEXT_NONE);
		break;
	case CHANGE_NOT_ALLOWED:
		rest_refuse(call, STATUS_CONFLICT, NULL);
		break;
	case CHANGE_FAILED:
		rest_refuse_with(call, 503, "The broker cannot be reached, or others are faster: try again");
		break;
	}
	rest_release(call);
}

static bool cancel(void *context, struct orchestration *orchestration)
{
	const struct rest_call *call = context;
	const struct pm *pm = call->context;
	return !orchestration_is_finished(orchestration) &&
		   orchestration_set_value(orchestration, "celld.manager", json_object_new()) &&
		   orchestration_fail(orchestration, TEXT("cancelled by the operator"), worker_wall_ms(pm->worker));
}

static void cancel_item(struct rest_call *call, struct ledger_item *item)
{
	rest_hold(call);
	pm_change(call->context, item, cancel, on_changed, call);
}

/* Failures are forgotten, and what has failed or was left out may run. */
static void forget_failures(struct orchestration *orchestration)
{
	size_t now = orchestration_step_now(orchestration);
	for (const struct json *activity = json_first(orchestration_step(orchestration, now)); activity != NULL;
		 activity = json_next(activity)) {
		struct text id = json_member_text(activity, "id");
		static const char *const members[] = {"failed", "skipped", "failures", "first"};
		struct json *note =
			orchestration_note(orchestration, id) != NULL ? orchestration_note_write(orchestration, id) : NULL;
		for (size_t i = 0; note != NULL && i < sizeof(members) / sizeof(members[0]); i++)
			json_remove(note, members[i]);
	}
}

static bool retry(void *context, struct orchestration *orchestration)
{
	const struct rest_call *call = context;
	const struct pm *pm = call->context;
	if (orchestration->state == ORCHESTRATION_COMPLETED)
		return false;
	forget_failures(orchestration);
	orchestration_remove_value(orchestration, "error");
	orchestration_remove_value(orchestration, "celld.manager");
	return orchestration_set_state(orchestration, ORCHESTRATION_INITIALIZED, worker_wall_ms(pm->worker));
}

/* The value says that it runs: its messages follow by the check, which finds that the stream has none. */
static void retry_item(struct rest_call *call, struct ledger_item *item)
{
	if (item->is_compensated || item->settle_at_ms > 0) {
		rest_refuse(call, STATUS_CONFLICT, NULL); /* what it made is being undone */
		return;
	}
	rest_hold(call);
	pm_change(call->context, item, retry, on_changed, call);
}

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct rest_call *call = context;
	const struct pm *pm = call->context;
	(void)revision;
	if (status == STATUS_OK) {
		statistics_event(pm->statistics, STATISTICS_COMPENSATION, 1);
		rest_answer(call, 202, TEXT_NONE);
	} else {
		rest_refuse(call, status, NULL);
	}
	rest_release(call);
}

static void compensate_item(struct rest_call *call, struct ledger_item *item)
{
	struct pm *pm = call->context;
	struct orchestration orchestration;
	if (item->state != ORCHESTRATION_ERRORED || item->is_compensated || item->is_purged ||
		text_equals(text_of(item->type), ORCHESTRATION_DISPOSE)) {
		rest_refuse(call, STATUS_CONFLICT, NULL);
		return;
	}
	struct transaction *transaction = transaction_new();
	enum status status = STATUS_NO_MEMORY;
	if (transaction != NULL && ledger_read(pm, item, &orchestration)) {
		status = pm_compensation_add(pm, transaction, &orchestration);
		if (status == STATUS_OK && !ledger_put(transaction, &orchestration, item->revision))
			status = STATUS_NO_MEMORY;
		orchestration_free(&orchestration);
	}
	if (status == STATUS_OK) {
		rest_hold(call);
		state_submit(pm->base.state, transaction, on_stored, call);
		return;
	}
	transaction_free(transaction);
	if (status == STATUS_NOT_FOUND)
		rest_refuse_with(call, 409, "The definition's template has no disposal");
	else
		rest_refuse(call, status, NULL);
}

static void act(struct rest_call *call)
{
	static const struct {
		const char *name;
		void (*run)(struct rest_call *call, struct ledger_item *item);
	} actions[] = {{":cancel", cancel_item}, {":retry", retry_item}, {":compensate", compensate_item}};
	struct text path = call->arguments[0];
	size_t colon = text_find(path, ':');
	struct text name = text_slice(path, colon, path.length);
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
		if (!text_equals(name, text_of(actions[i].name)))
			continue;
		struct ledger_item *item = find(call, text_slice(path, 0, colon));
		if (item != NULL)
			actions[i].run(call, item);
		return;
	}
	rest_refuse(call, STATUS_NOT_FOUND, NULL);
}

/* The record as it is, our member with it. */
static void get_record(struct rest_call *call)
{
	const struct ledger_item *item = find(call, call->arguments[0]);
	if (item != NULL)
		answer_item(call, 200, item, orchestration_print);
}

static void health(struct rest_call *call)
{
	rest_answer(call, 200, TEXT("{\"message\":\"OK\"}"));
}

static const struct rest_endpoint endpoints[] = {
	{"POST", "/orchestrations", PM_WRITE, true, post_orchestration},
	{"POST", "/orchestrations/query", PM_READ, true, query_orchestrations},
	{"GET", "/orchestrations/{orchestrationID}", PM_READ, false, get_orchestration},
};
static const struct rest_endpoint own_endpoints[] = {
	{"GET", "/orchestrations/{id}", PM_READ, false, get_record},
	{"POST", "/orchestrations/{id}", PM_WRITE, false, act},
};
static const struct rest_endpoint health_endpoint[] = {{"GET", "/health", NULL, false, health}};

enum status pm_serve(struct pm *pm)
{
	struct listing *listing = malloc(sizeof(*listing));
	if (listing == NULL)
		return STATUS_NO_MEMORY;
	*listing = (struct listing){pm->index, fields, "/orchestrations", print_item};
	pm->listing = listing;
	enum status status = rest_add(pm->base.rest, PM_BASE, endpoints, sizeof(endpoints) / sizeof(endpoints[0]), pm);
	if (status == STATUS_OK)
		status = rest_add(
			pm->base.rest, "/api/celld/v1", own_endpoints, sizeof(own_endpoints) / sizeof(own_endpoints[0]), pm);
	if (status == STATUS_OK)
		status = rest_add(pm->base.rest, "", health_endpoint, 1, pm);
	return status;
}
