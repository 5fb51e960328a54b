/* Processors of the two activities, over the cell's own rooms. */
#include "control/cell/activities.h"

#include <ctype.h>
#include <stdlib.h>

#include "control/orchestration/executor.h"
#include "control/orchestration/messages.h"
#include "control/state/parked_record.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "tenants/cp/provision.h"
#include "tenants/dp/signaling/transfer_types.h"

struct activities {
	struct bus *bus;
	struct state *state;
	struct management *management;
	char *cell_id, *ingress;
	struct executor *edcv, *siglet;
};

/* One run. It may outlive its activity's patience: then what it does is done, and said again by the next run. */
struct run {
	struct activities *activities;
	struct activity *activity;
	char ctx[ID_LENGTH + 1];
};

static void finish(struct run *run, enum status status, const char *what)
{
	char detail[200];
	snprintf(detail, sizeof(detail), "%s: %s", what, status_text(status));
	bool is_transient = status == STATUS_UNAVAILABLE || status == STATUS_NO_MEMORY || status == STATUS_TIMEOUT;
	activity_finish(run->activity,
		status == STATUS_OK ? ACTIVITY_COMPLETE
		: is_transient      ? ACTIVITY_RETRY
							: ACTIVITY_FATAL,
		0, detail);
	free(run);
}

/* --- the participant context's id */

/* Of an orchestration that begins here: its own id, so that a repeated run finds what the first one made. */
static bool ctx_of_orchestration(struct text orchestration, char into[ID_LENGTH + 1])
{
	size_t length = 0;
	for (size_t i = 0; i < orchestration.length; i++) {
		char byte = (char)tolower((unsigned char)orchestration.bytes[i]);
		if (byte == '-')
			continue;
		if (length == ID_LENGTH)
			return false;
		into[length++] = byte;
	}
	into[length] = 0;
	return id_is_valid((struct text){into, length});
}

static bool find_ctx(struct run *run)
{
	struct text given = json_text(activity_value(run->activity, "participantContextId"));
	if (given.bytes == NULL)
		return ctx_of_orchestration(activity_orchestration(run->activity), run->ctx);
	snprintf(run->ctx, sizeof(run->ctx), "%.*s", TEXT_ARGUMENTS(given));
	return id_is_valid(given);
}

static struct json *text_node(const char *text)
{
	struct json *array = json_array_new(), *node = NULL;
	if (json_add_text(array, NULL, text_of(text)))
		node = json_copy(json_first(array));
	json_free(array);
	return node;
}

static bool tell_ctx(struct run *run)
{
	return activity_set_value(run->activity, "participantContextId", text_node(run->ctx)) &&
		   activity_set_output(run->activity, "participantContextId", text_node(run->ctx));
}

static bool is_deploy(const struct run *run)
{
	return text_equals(activity_discriminator(run->activity), ORCHESTRATION_DEPLOY);
}

static bool is_dispose(const struct run *run)
{
	return text_equals(activity_discriminator(run->activity), ORCHESTRATION_DISPOSE);
}

/* The run, or NULL when it has ended already. */
static struct run *begin(struct activities *activities, struct activity *activity)
{
	struct run *run = calloc(1, sizeof(*run));
	if (run == NULL) {
		activity_finish(activity, ACTIVITY_RETRY, 0, status_text(STATUS_NO_MEMORY));
		return NULL;
	}
	*run = (struct run){.activities = activities, .activity = activity};
	if (!is_deploy(run) && !is_dispose(run)) {
		finish(run, STATUS_INVALID, "neither deploy nor dispose");
		return NULL;
	}
	if (!find_ctx(run)) {
		finish(run, STATUS_INVALID, "participantContextId is not 32 hexadecimal digits");
		return NULL;
	}
	return run;
}

/* --- edcv: the control plane's participant context */

static void on_participant(void *context, enum status status)
{
	struct run *run = context;
	if (status == STATUS_OK && !tell_ctx(run))
		status = STATUS_NO_MEMORY;
	finish(run, status, "the participant context");
}

static void on_removed(void *context, enum status status)
{
	finish(context, status, "removing the participant context");
}

static void run_edcv(void *context, struct activity *activity)
{
	struct activities *activities = context;
	struct run *run = begin(activities, activity);
	if (run == NULL)
		return;
	if (is_dispose(run)) {
		provision_remove(activities->management, text_of(run->ctx), on_removed, run);
		return;
	}
	struct text identity = json_text(activity_value(activity, "cfm.participant.id"));
	provision_participant(activities->management, text_of(run->ctx), identity, on_participant, run);
}

/* --- siglet: the data plane's transfer types, and what the control plane must know of it */

/* Is this VPA in this cell? One without a cell is: a fabric that knows no others. */
static bool is_here(const struct activities *activities, const struct json *vpa, struct text type)
{
	struct text cell = json_member_text(vpa, "externalCellId");
	return text_equals(json_member_text(vpa, "vpaType"), type) &&
		   (cell.length == 0 || text_equals(cell, text_of(activities->cell_id)));
}

static const struct json *find_vpa(const struct run *run, struct text type)
{
	const struct json *data = activity_value(run->activity, "cfm.vpa.data");
	for (const struct json *vpa = json_first(data); vpa != NULL; vpa = json_next(vpa)) {
		if (is_here(run->activities, vpa, type))
			return vpa;
	}
	return NULL;
}

/* What PUT .../dataplanes would say of this cell; NULL: out of memory. */
static struct json *describe_data_plane(const struct run *run, const struct json *mappings)
{
	const struct activities *activities = run->activities;
	bool is_alone = find_vpa(run, TEXT("cfm.connector")) == NULL; /* several data planes differ by their cell */
	struct json *plane = json_object_new(), *types = json_array_new();
	struct buffer id = {0}, endpoint = {0};
	buffer_printf(&id, "%s-siglet%s%s", run->ctx, is_alone ? "-" : "", is_alone ? activities->cell_id : "");
	buffer_printf(&endpoint, "%s/api/v1/%s/dataflows", activities->ingress, run->ctx);
	bool is_made = plane != NULL && types != NULL && !id.failed && !endpoint.failed &&
				   json_add_text(plane, "dataplaneId", buffer_text(&id)) &&
				   json_add_text(plane, "endpoint", buffer_text(&endpoint));
	for (const struct json *one = json_first(mappings); one != NULL && is_made; one = json_next(one))
		is_made = json_add_text(types, NULL, text_of(json_name(one)));
	is_made = json_add(plane, "transferTypes", types) && is_made;
	buffer_free(&id);
	buffer_free(&endpoint);
	if (is_made)
		return plane;
	json_free(plane);
	return NULL;
}

/* As an output of the activity. */
static bool tell_data_plane(struct run *run, const struct json *mappings)
{
	struct json *plane = describe_data_plane(run, mappings);
	struct buffer name = {0};
	buffer_printf(&name, "cfm.dataplane.%s", run->activities->cell_id);
	bool is_told = plane != NULL && !name.failed && activity_set_output(run->activity, name.bytes, plane);
	if (plane != NULL && name.failed)
		json_free(plane);
	buffer_free(&name);
	return is_told;
}

static void on_types(void *context, enum status status, int64_t revision)
{
	(void)revision;
	finish(context, status, "the transfer types");
}

/* The control plane is in this cell. */
static enum status register_data_plane(
	struct transaction *transaction, const struct run *run, const struct json *mappings)
{
	struct json *plane = describe_data_plane(run, mappings);
	bool is_added = false;
	const char *wrong = plane == NULL ? NULL : data_plane_add(transaction, text_of(run->ctx), plane, &is_added);
	json_free(plane);
	return is_added ? STATUS_OK : wrong != NULL ? STATUS_INVALID : STATUS_NO_MEMORY;
}

static void store_types(struct run *run, const struct json *mappings)
{
	struct json *body = json_object_new();
	struct buffer error = {0};
	struct transaction *transaction = transaction_new();
	enum status status = STATUS_NO_MEMORY;
	if (transaction != NULL && json_add_text(body, "participantContextId", text_of(run->ctx)) &&
		json_add(body, "mappings", json_copy(mappings)))
		status = transfer_types_add(transaction, text_of(run->ctx), body, &error);
	json_free(body);
	if (status == STATUS_OK && find_vpa(run, TEXT("cfm.connector")) != NULL)
		status = register_data_plane(transaction, run, mappings);
	if (status == STATUS_OK && !tell_data_plane(run, mappings))
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK) {
		store_submit(
			state_store(run->activities->state), transaction, state_worker(run->activities->state), on_types, run);
	} else {
		transaction_free(transaction);
		finish(run, status, error.length > 0 ? error.bytes : "the transfer types");
	}
	buffer_free(&error);
}

static void on_edge_participant(void *context, enum status status)
{
	struct run *run = context;
	const struct json *vpa = find_vpa(run, TEXT("cfm.dataplane"));
	const struct json *mappings = json_member(json_member(vpa, "properties"), "transferTypeMappings");
	if (status != STATUS_OK)
		finish(run, status, "the participant context");
	else if (mappings == NULL) /* nothing to map: the built-in ones serve */
		finish(run, tell_data_plane(run, NULL) ? STATUS_OK : STATUS_NO_MEMORY, "the data plane");
	else
		store_types(run, mappings);
}

static void on_types_deleted(void *context, enum status status, int64_t revision)
{
	(void)revision;
	finish(context, status == STATUS_NOT_FOUND ? STATUS_OK : status, "removing the transfer types");
}

static void dispose_siglet(struct run *run)
{
	if (find_vpa(run, TEXT("cfm.connector")) == NULL) { /* a data plane alone: the context was ours */
		provision_remove(run->activities->management, text_of(run->ctx), on_removed, run);
		return;
	}
	struct transaction *transaction = transaction_new();
	if (transaction == NULL ||
		!transaction_delete(transaction, text_of(run->ctx), RECORD_TRANSFER_TYPES, TRANSFER_TYPES_ID, REVISION_ANY)) {
		transaction_free(transaction);
		finish(run, STATUS_NO_MEMORY, "removing the transfer types");
		return;
	}
	store_submit(
		state_store(run->activities->state), transaction, state_worker(run->activities->state), on_types_deleted, run);
}

static void run_siglet(void *context, struct activity *activity)
{
	struct activities *activities = context;
	struct run *run = begin(activities, activity);
	if (run == NULL)
		return;
	if (is_dispose(run)) {
		dispose_siglet(run);
		return;
	}
	struct text identity = json_text(activity_value(activity, "cfm.participant.id"));
	provision_participant(activities->management, text_of(run->ctx), identity, on_edge_participant, run);
}

/* --- what can never be done is kept here, for the operator of this cell */

struct parking {
	void (*done)(void *ticket, bool is_kept);
	void *ticket;
};

static void on_parked(void *context, enum status status, int64_t revision)
{
	struct parking parking = *(struct parking *)context;
	(void)revision;
	free(context);
	parking.done(parking.ticket, status == STATUS_OK);
}

static void park(void *context, const struct bus_message *message, const char *why,
	void (*done)(void *ticket, bool is_kept), void *ticket)
{
	struct activities *activities = context;
	struct transaction *transaction = transaction_new();
	struct parking *parking = malloc(sizeof(*parking));
	LOG(ERROR, "activity.parked", log_text("subject", message->subject), log_text("why", text_of(why)));
	if (transaction == NULL || parking == NULL ||
		!parked_add(transaction, message->subject, why, message->body, TEXT_NONE, clock_wall_ms())) {
		transaction_free(transaction);
		free(parking);
		done(ticket, false);
		return;
	}
	*parking = (struct parking){done, ticket};
	state_submit(activities->state, transaction, on_parked, parking);
}

/* --- life */

static struct executor *open_executor(
	struct activities *activities, struct text type, void (*run)(void *context, struct activity *activity))
{
	struct buffer name = {0};
	activity_type_of_cell(type, text_of(activities->cell_id), &name);
	const struct executor_settings settings = {.type = buffer_text(&name), .is_reader_only = true};
	const struct executor_processor processor = {.run = run, .park = park, .context = activities};
	struct executor *executor =
		name.failed ? NULL : executor_open(activities->bus, state_worker(activities->state), &settings, &processor);
	buffer_free(&name);
	return executor;
}

struct activities *activities_open(
	const struct activities_settings *settings, struct bus *bus, struct state *state, struct management *management)
{
	struct activities *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return NULL;
	*made = (struct activities){.bus = bus,
		.state = state,
		.management = management,
		.cell_id = text_copy(settings->cell_id),
		.ingress = text_copy(settings->ingress)};
	if (made->cell_id != NULL && made->ingress != NULL) {
		made->edcv = open_executor(made, TEXT("edcv-activity"), run_edcv);
		made->siglet = open_executor(made, TEXT("siglet-activity"), run_siglet);
	}
	if (made->edcv != NULL && made->siglet != NULL)
		return made;
	activities_close(made);
	return NULL;
}

void activities_close(struct activities *activities)
{
	if (activities == NULL)
		return;
	executor_close(activities->edcv);
	executor_close(activities->siglet);
	free(activities->cell_id);
	free(activities->ingress);
	free(activities);
}

void activities_hold(struct activities *activities, bool is_held)
{
	if (activities == NULL)
		return;
	executor_hold(activities->edcv, is_held);
	executor_hold(activities->siglet, is_held);
}
