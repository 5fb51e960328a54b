/* What agents and the Provision Manager answer: a profile's VPAs move, and the message is acknowledged after the
 * commit. What cannot be read is dropped with a line in the log; what cannot be stored now comes again (cfm.md 3.3). */
#include <stdlib.h>

#include "control/fabric/commands.h"
#include "control/fabric/manager/manager_private.h"
#include "control/fabric/manager/profile.h"
#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/log.h"

enum {
	CONFLICTS_MAX = 8, /* runs of one delivery */
	RETRY_MS = 1000,
	UNKNOWN_RETRY_MS = 500,
	UNKNOWN_DELIVERIES = 40 /* of a profile another replica may just have written: 20 s */
};

struct response {
	struct manager *manager;
	char *reply;
	uint64_t deliveries;
	struct json *body;
	struct text profile_id, manifest_id, type; /* into body */
	bool is_success;
	char *detail; /* of a failure; NULL: none was given */
	int runs;
};

static void response_free(struct response *response)
{
	json_free(response->body);
	free(response->reply);
	free(response->detail);
	free(response);
}

static void end(struct response *response, enum bus_verdict verdict, uint64_t delay_ms)
{
	bus_answer(response->manager->bus, text_of(response->reply), verdict, delay_ms);
	response_free(response);
}

static void drop(struct response *response, const char *why)
{
	LOG(WARNING, "response.dropped", log_text("profile", response->profile_id),
		log_text("manifest", response->manifest_id), log_text("why", text_of(why)));
	end(response, BUS_ACK, 0);
}

/* --- what it means */

static bool find_event(const struct response *response, enum vpa_event *event)
{
	static const struct {
		struct text type;
		enum vpa_event on_success, on_failure;
	} types[] = {{{"cfm.orchestration.vpa.deploy", 28}, VPA_DEPLOYED, VPA_DEPLOY_FAILED},
		{{"cfm.orchestration.vpa.dispose", 29}, VPA_DISPOSED, VPA_DISPOSE_FAILED}};
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (!text_equals(response->type, types[i].type))
			continue;
		*event = response->is_success ? types[i].on_success : types[i].on_failure;
		return true;
	}
	return false;
}

static bool any_vpa_moves(const struct json *profile, enum vpa_event event)
{
	for (const struct json *vpa = json_first(json_member(profile, "vpas")); vpa != NULL; vpa = json_next(vpa)) {
		if (vpa_next_state(vpa_state_of(vpa), event) != vpa_state_of(vpa))
			return true;
	}
	return false;
}

/* What the deployment gave out, under "cfm.vpa.state". */
static bool keep_state(struct json *profile, const struct response *response)
{
	const struct json *given = json_member(response->body, "properties");
	struct json *state = json_kind(given) == JSON_OBJECT ? json_copy(given) : json_object_new();
	if (json_member(profile, "properties") == NULL && !json_add(profile, "properties", json_object_new())) {
		json_free(state);
		return false;
	}
	if (json_set((struct json *)(uintptr_t)json_member(profile, "properties"), "cfm.vpa.state", state))
		return true;
	json_free(state);
	return false;
}

static bool keep_error(struct json *profile, const struct response *response)
{
	struct buffer detail = {0};
	if (response->detail != NULL)
		buffer_append(&detail, text_of(response->detail));
	else
		buffer_printf(&detail, "orchestration %.*s failed, no cause was given", TEXT_ARGUMENTS(response->manifest_id));
	json_remove(profile, "error");
	json_remove(profile, "errorDetail");
	bool is_kept = !detail.failed && json_add_bool(profile, "error", true) &&
				   json_add_text(profile, "errorDetail", buffer_text(&detail));
	buffer_free(&detail);
	return is_kept;
}

/* --- what follows for the cells */

struct change {
	struct manager *manager;
	const struct response *response;
	struct transaction *transaction;
};

static bool tell_cell(const struct change *change, const struct json *vpa, enum command_op op, struct text args)
{
	const struct cell_record *cell = cells_find(change->manager->cells, json_member_text(vpa, "cellId"));
	int64_t epoch = 1;
	(void)json_integer(json_member(json_member(vpa, "celld"), "epoch"), &epoch);
	return cell == NULL || cell->epoch == 0 ||
		   commands_add(change->transaction, cell, json_member_text(vpa, "id"), epoch, op, args);
}

/* The context the deployment made is what the VPA serves. */
static bool activate(void *context, const struct json *vpa)
{
	const struct change *change = context;
	struct text ctx = json_member_text(json_member(change->response->body, "properties"), "participantContextId");
	struct buffer args = {0};
	if (!id_is_valid(ctx))
		return true;
	buffer_append(&args, TEXT("{\"participantContextId\":"));
	buffer_append_json(&args, ctx);
	buffer_append_byte(&args, '}');
	bool is_told = !args.failed && tell_cell(change, vpa, COMMAND_VPA_ACTIVATE, buffer_text(&args));
	buffer_free(&args);
	return is_told;
}

/* Its capacity is free with the commit. */
static bool bury(void *context, const struct json *vpa)
{
	static const char *const names[] = {
#define RESOURCE_NAME(name, text) text,
		CELL_RESOURCE_LIST(RESOURCE_NAME)
#undef RESOURCE_NAME
	};
	const struct change *change = context;
	const struct json *stored = json_member(json_member(vpa, "celld"), "demand");
	int64_t demand[CELL_RESOURCE_COUNT] = {0};
	const struct cell_record *cell = cells_find(change->manager->cells, json_member_text(vpa, "cellId"));
	int type = 0;
	while (type < VPA_TYPE_COUNT &&
		   !text_equals(json_member_text(vpa, "type"), text_of(vpa_type_name((enum vpa_type)type))))
		type++;
	if (cell == NULL || type == VPA_TYPE_COUNT)
		return true;
	for (size_t i = 0; i < CELL_RESOURCE_COUNT; i++)
		(void)json_integer(json_member(stored, names[i]), &demand[i]);
	return placer_release(change->manager->placer, cell, (enum vpa_type)type, demand, change->transaction) &&
		   tell_cell(change, vpa, COMMAND_VPA_TOMBSTONE, TEXT("{}"));
}

static bool moved(void *context, const struct json *vpa)
{
	switch (vpa_state_of(vpa)) {
	case VPA_STATE_ACTIVE:
		return activate(context, vpa);
	case VPA_STATE_DISPOSED:
		return bury(context, vpa);
	case VPA_STATE_PENDING:
	case VPA_STATE_DISPOSING:
	case VPA_STATE_LOCKED:
	case VPA_STATE_OFFLINE:
	case VPA_STATE_ERROR:
	case VPA_STATE_COUNT:
		break;
	}
	return true;
}

/* --- storing */

static void apply(struct response *response);

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct response *response = context;
	(void)revision;
	if (status == STATUS_OK)
		end(response, BUS_ACK, 0);
	else if ((status == STATUS_CONFLICT || status == STATUS_NOT_FOUND) && ++response->runs < CONFLICTS_MAX)
		apply(response);
	else
		end(response, BUS_NAK, RETRY_MS);
}

static void store(struct response *response, const struct record_item *item, struct json *profile, enum vpa_event event)
{
	struct transaction *transaction = transaction_new();
	struct change change = {response->manager, response, transaction};
	struct buffer record = {0};
	bool is_made = transaction != NULL;
	if (event == VPA_DEPLOYED || event == VPA_DEPLOY_FAILED)
		is_made = is_made && keep_state(profile, response);
	is_made = is_made && (response->is_success || keep_error(profile, response)) &&
			  profile_move(profile, event, clock_wall_ms(), moved, &change);
	json_print(profile, &record);
	enum status status = is_made
							 ? manager_put(transaction, RECORD_PARTICIPANT_PROFILE, item->id, &record, item->revision)
							 : STATUS_NO_MEMORY;
	buffer_free(&record);
	if (status == STATUS_OK) {
		state_submit(response->manager->state, transaction, on_stored, response);
		return;
	}
	transaction_free(transaction);
	if (status == STATUS_INVALID)
		drop(response, "the profile would be too large");
	else
		end(response, BUS_NAK, RETRY_MS);
}

static void apply(struct response *response)
{
	enum vpa_event event;
	const struct record_item *item = record_index_find(response->manager->profiles, response->profile_id);
	if (!find_event(response, &event)) {
		drop(response, "an orchestration of another type");
		return;
	}
	if (item == NULL) {
		if (response->deliveries < UNKNOWN_DELIVERIES)
			end(response, BUS_NAK, UNKNOWN_RETRY_MS);
		else
			drop(response, "no such participant profile");
		return;
	}
	struct json *profile = record_item_json(item);
	bool has_error = false;
	if (profile != NULL)
		(void)json_bool(json_member(profile, "error"), &has_error);
	if (profile == NULL)
		end(response, BUS_NAK, RETRY_MS);
	else if (!any_vpa_moves(profile, event) && (response->is_success || has_error))
		end(response, BUS_ACK, 0); /* heard before, or overtaken */
	else
		store(response, item, profile, event);
	json_free(profile);
}

/* --- the cause of a failure: agents of the existing library leave it in the orchestration alone */

static void on_orchestration(void *context, enum status status, struct text value, uint64_t revision)
{
	struct response *response = context;
	struct json *orchestration = NULL;
	(void)revision;
	if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
		end(response, BUS_NAK, RETRY_MS);
		return;
	}
	if (status == STATUS_OK && json_parse(value, NULL, &orchestration) == STATUS_OK) {
		const struct json *error = json_member(json_member(orchestration, "processingData"), "error");
		struct buffer printed = {0};
		if (json_text(error).length > 0)
			buffer_append(&printed, json_text(error));
		else if (error != NULL)
			json_print(error, &printed);
		response->detail = printed.length == 0 ? NULL : buffer_take(&printed);
		buffer_free(&printed);
	}
	json_free(orchestration);
	apply(response);
}

/* --- messages */

/* False: it is no OrchestrationResponse. */
static bool read_response(struct response *response)
{
	static const char *const required[] = {"id", "manifestId", "correlationId", "orchestrationType"};
	for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
		if (json_member_text(response->body, required[i]).length == 0)
			return false;
	}
	response->manifest_id = json_member_text(response->body, "manifestId");
	response->profile_id = json_member_text(response->body, "correlationId");
	response->type = json_member_text(response->body, "orchestrationType");
	(void)json_bool(json_member(response->body, "success"), &response->is_success);
	struct text detail = json_member_text(response->body, "errorDetail");
	response->detail = detail.length == 0 ? NULL : text_copy(detail);
	return true;
}

void responses_take(void *context, const struct bus_message *message)
{
	struct bus_delivery delivery = {0};
	struct response *response = calloc(1, sizeof(*response));
	if (response == NULL || (response->reply = text_copy(message->reply)) == NULL) {
		free(response); /* not answered: it comes again */
		return;
	}
	response->manager = context;
	if (bus_delivery_parse(message->reply, &delivery) == STATUS_OK)
		response->deliveries = delivery.deliveries;
	enum status status = json_parse(message->body, NULL, &response->body);
	if (status == STATUS_NO_MEMORY)
		end(response, BUS_NAK, RETRY_MS);
	else if (status != STATUS_OK || !read_response(response))
		drop(response, "it is no response of an orchestration");
	else if (response->is_success || response->detail != NULL)
		apply(response);
	else
		bus_bucket_get(response->manager->bus, text_of(response->manager->settings->bucket), response->manifest_id,
			on_orchestration, response);
}
