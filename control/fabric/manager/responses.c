/* What agents and the Provision Manager answer: a profile's VPAs move, and the message is acknowledged after the
 * commit. What cannot be read is dropped with a line in the log; what cannot be stored now comes again (cfm.md 3.3). */
#include <stdlib.h>

#include "control/fabric/commands.h"
#include "control/fabric/manager/manager_private.h"
#include "control/fabric/manager/profile.h"
#include "control/fabric/manager/profile_list.h"
#include "control/fabric/manager/wire.h"
#include "control/fabric/parked.h"
#include "control/orchestration/messages.h"
#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/log.h"

enum {
	CONFLICTS_MAX = 8, /* runs of one delivery */
	RETRY_MS = 1000,
	UNKNOWN_RETRY_MS = 500,
	UNKNOWN_DELIVERIES = 40 /* of a profile another replica may just have written: 20 s */
};

struct arrival {
	struct manager *manager;
	char *reply, *subject, *body;
	uint64_t deliveries;
	struct response response;
	char *detail; /* of a failure; NULL: none was given */
	int runs;
};

static void arrival_free(struct arrival *arrival)
{
	json_free(arrival->response.root);
	free(arrival->reply);
	free(arrival->subject);
	free(arrival->body);
	free(arrival->detail);
	free(arrival);
}

static void end(struct arrival *arrival, enum bus_verdict verdict, uint64_t delay_ms)
{
	bus_answer(arrival->manager->bus, text_of(arrival->reply), verdict, delay_ms);
	arrival_free(arrival);
}

static void on_parked(void *context, enum status status, int64_t revision)
{
	(void)revision;
	if (status == STATUS_OK)
		end(context, BUS_ACK, 0);
	else
		end(context, BUS_NAK, RETRY_MS);
}

/* What makes no sense does not come again: it is kept for the operator to see. */
static void park(struct arrival *arrival, const char *why)
{
	struct transaction *transaction = transaction_new();
	LOG(WARNING, "response.parked", log_text("profile", arrival->response.correlation_id),
		log_text("manifest", arrival->response.manifest_id), log_text("why", text_of(why)));
	if (transaction != NULL &&
		parked_add(transaction, text_of(arrival->subject), why, text_of(arrival->body), TEXT_NONE, clock_wall_ms())) {
		state_submit(arrival->manager->state, transaction, on_parked, arrival);
		return;
	}
	transaction_free(transaction);
	end(arrival, BUS_NAK, RETRY_MS);
}

/* --- what it means */

static bool find_event(const struct arrival *arrival, enum vpa_event *event)
{
	static const struct {
		struct text type;
		enum vpa_event on_success, on_failure;
	} types[] = {{{"cfm.orchestration.vpa.deploy", 28}, VPA_DEPLOYED, VPA_DEPLOY_FAILED},
		{{"cfm.orchestration.vpa.dispose", 29}, VPA_DISPOSED, VPA_DISPOSE_FAILED}};
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (!text_equals(arrival->response.type, types[i].type))
			continue;
		*event = arrival->response.is_success ? types[i].on_success : types[i].on_failure;
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
static bool keep_state(struct json *profile, const struct arrival *arrival)
{
	const struct json *given = arrival->response.properties;
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

static bool keep_error(struct json *profile, const struct arrival *arrival)
{
	struct buffer detail = {0};
	if (arrival->detail != NULL)
		buffer_append(&detail, text_of(arrival->detail));
	else
		buffer_printf(
			&detail, "orchestration %.*s failed, no cause was given", TEXT_ARGUMENTS(arrival->response.manifest_id));
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
	const struct arrival *arrival;
	const struct json *profile;
	struct transaction *transaction;
};

/* Takes the arguments. A cell that has never joined takes no commands: it gets none, and what is said later to one that
 * has joined since says all of it. */
static bool tell_cell(const struct change *change, const struct json *vpa, enum command_op op, struct buffer *args)
{
	const struct cell_record *cell = cells_find(change->manager->cells, json_member_text(vpa, "cellId"));
	int64_t epoch = 1;
	(void)json_integer(json_member(json_member(vpa, "celld"), "epoch"), &epoch);
	bool is_told = !args->failed && (cell == NULL || cell->epoch == 0 ||
										commands_add(change->transaction, cell, json_member_text(vpa, "id"), epoch, op,
											buffer_text(args)));
	buffer_free(args);
	return is_told;
}

/* What deployments give out per data plane's cell: cfm.dataplane.<cell>. */
static void print_data_planes(struct buffer *into, const struct json *given)
{
	size_t count = 0;
	for (const struct json *one = json_first(given); one != NULL; one = json_next(one)) {
		if (!text_starts_with(text_of(json_name(one)), TEXT("cfm.dataplane.")) || json_kind(one) != JSON_OBJECT)
			continue;
		buffer_append(into, count++ == 0 ? TEXT(",\"dataplanes\":[") : TEXT(","));
		json_print(one, into);
	}
	if (count > 0)
		buffer_append_byte(into, ']');
}

/* The context the deployment made is what the VPA serves. */
static bool activate(void *context, const struct json *vpa)
{
	const struct change *change = context;
	const struct json *given = change->arrival->response.properties;
	struct text ctx = json_member_text(given, "participantContextId"), type = json_member_text(vpa, "type");
	struct buffer args = {0};
	if (!id_is_valid(ctx))
		return true;
	buffer_append(&args, TEXT("{\"type\":"));
	buffer_append_json(&args, type);
	buffer_append_member(&args, "participant", json_member_text(change->profile, "identifier"));
	buffer_append_member(&args, "tenant", json_member_text(change->profile, "tenantId"));
	buffer_append_member(&args, "profile", json_member_text(change->profile, "id"));
	buffer_append_member(&args, "participantContextId", ctx);
	if (text_equals(type, text_of(vpa_type_name(VPA_CONNECTOR))))
		print_data_planes(&args, given);
	buffer_append_byte(&args, '}');
	return tell_cell(change, vpa, COMMAND_VPA_ACTIVATE, &args);
}

static bool tell_end(const struct change *change, const struct json *vpa)
{
	struct buffer args = {0};
	buffer_append(&args, TEXT("{\"type\":"));
	buffer_append_json(&args, json_member_text(vpa, "type"));
	buffer_append_byte(&args, '}');
	return tell_cell(change, vpa, COMMAND_VPA_TOMBSTONE, &args);
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
	enum vpa_type type;
	if (cell == NULL || !vpa_type_parse(json_member_text(vpa, "type"), &type))
		return true;
	for (size_t i = 0; i < CELL_RESOURCE_COUNT; i++)
		(void)json_integer(json_member(stored, names[i]), &demand[i]);
	return placer_release(change->manager->placer, cell, type, demand, change->transaction) && tell_end(change, vpa);
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

static void apply(struct arrival *arrival);

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct arrival *arrival = context;
	(void)revision;
	if (status == STATUS_OK)
		end(arrival, BUS_ACK, 0);
	else if ((status == STATUS_CONFLICT || status == STATUS_NOT_FOUND) && ++arrival->runs < CONFLICTS_MAX)
		apply(arrival);
	else
		end(arrival, BUS_NAK, RETRY_MS);
}

static void store(struct arrival *arrival, const struct record *stored, struct json *profile, enum vpa_event event)
{
	struct transaction *transaction = transaction_new();
	struct change change = {arrival->manager, arrival, profile, transaction};
	struct buffer record = {0};
	bool is_made = transaction != NULL;
	if (event == VPA_DEPLOYED || event == VPA_DEPLOY_FAILED)
		is_made = is_made && keep_state(profile, arrival);
	is_made = is_made && (arrival->response.is_success || keep_error(profile, arrival)) &&
			  profile_move(profile, event, clock_wall_ms(), moved, &change);
	json_print(profile, &record);
	enum status status =
		is_made ? manager_put(transaction, RECORD_PARTICIPANT_PROFILE, stored->id, &record, stored->revision)
				: STATUS_NO_MEMORY;
	buffer_free(&record);
	if (status == STATUS_OK) {
		state_submit(arrival->manager->state, transaction, on_stored, arrival);
		return;
	}
	transaction_free(transaction);
	if (status == STATUS_INVALID)
		park(arrival, "the profile would be too large");
	else
		end(arrival, BUS_NAK, RETRY_MS);
}

/* Another replica may just have written it. */
static void wait_for_profile(struct arrival *arrival)
{
	if (arrival->deliveries < UNKNOWN_DELIVERIES)
		end(arrival, BUS_NAK, UNKNOWN_RETRY_MS);
	else
		park(arrival, "no such participant profile");
}

static void on_profile(void *context, enum status status, const struct record *record)
{
	struct arrival *arrival = context;
	struct json *profile = NULL;
	enum vpa_event event;
	bool has_error = false;
	if (status == STATUS_NOT_FOUND) {
		wait_for_profile(arrival);
		return;
	}
	if (status != STATUS_OK || !find_event(arrival, &event) || json_parse(record->body, NULL, &profile) != STATUS_OK) {
		end(arrival, BUS_NAK, RETRY_MS);
		return;
	}
	(void)json_bool(json_member(profile, "error"), &has_error);
	if (!any_vpa_moves(profile, event) && (arrival->response.is_success || has_error))
		end(arrival, BUS_ACK, 0); /* heard before, or overtaken */
	else
		store(arrival, record, profile, event);
	json_free(profile);
}

static void apply(struct arrival *arrival)
{
	enum vpa_event event;
	const struct profile_row *row = profile_index_find(arrival->manager->profiles, arrival->response.correlation_id);
	if (!find_event(arrival, &event))
		park(arrival, "an orchestration of another type");
	else if (row == NULL)
		wait_for_profile(arrival);
	else
		profile_read(arrival->manager, row, on_profile, arrival);
}

/* --- the cause of a failure: agents of the existing library leave it in the orchestration alone */

static void on_orchestration(void *context, enum status status, struct text value, uint64_t revision)
{
	struct arrival *arrival = context;
	struct json *orchestration = NULL;
	(void)revision;
	if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
		end(arrival, BUS_NAK, RETRY_MS);
		return;
	}
	if (status == STATUS_OK && json_parse(value, NULL, &orchestration) == STATUS_OK) {
		const struct json *error = json_member(json_member(orchestration, "processingData"), "error");
		struct buffer printed = {0};
		if (json_text(error).length > 0)
			buffer_append(&printed, json_text(error));
		else if (error != NULL)
			json_print(error, &printed);
		arrival->detail = printed.length == 0 ? NULL : buffer_take(&printed);
		buffer_free(&printed);
	}
	json_free(orchestration);
	apply(arrival);
}

/* --- messages */

void responses_take(void *context, const struct bus_message *message)
{
	struct bus_delivery delivery = {0};
	struct buffer error = {0};
	struct arrival *arrival = calloc(1, sizeof(*arrival));
	if (arrival != NULL) {
		arrival->manager = context;
		arrival->reply = text_copy(message->reply);
		arrival->subject = text_copy(message->subject);
		arrival->body = text_copy(message->body);
	}
	if (arrival == NULL || arrival->reply == NULL || arrival->subject == NULL || arrival->body == NULL) {
		if (arrival != NULL)
			arrival_free(arrival); /* not answered: it comes again */
		return;
	}
	if (bus_delivery_parse(message->reply, &delivery) == STATUS_OK)
		arrival->deliveries = delivery.deliveries;
	enum status status = response_parse(message->body, &arrival->response, &error);
	if (status == STATUS_OK && arrival->response.error_detail.length > 0)
		arrival->detail = text_copy(arrival->response.error_detail);
	if (status == STATUS_NO_MEMORY)
		end(arrival, BUS_NAK, RETRY_MS);
	else if (status != STATUS_OK)
		park(arrival, error.bytes == NULL ? "it is no response of an orchestration" : error.bytes);
	else if (arrival->response.is_success || arrival->detail != NULL)
		apply(arrival);
	else
		bus_bucket_get(arrival->manager->bus, text_of(arrival->manager->settings->bucket),
			arrival->response.manifest_id, on_orchestration, arrival);
	buffer_free(&error);
}
