/* From a manifest to a record in the ledger and messages on the stream. */
#include <stdlib.h>

#include "control/fabric/orchestration/pm_private.h"
#include "server/base/log.h"

enum {
	STARTS_MAX = 5, /* tries, while other replicas are faster */
	RETRY_MS = 1000,
	HELD_MS = 2000,
	HEARING_MS = 300, /* a definition may have come to another replica just now: */
	HEARINGS_MAX = 5, /* deliveries before its absence is believed */
};

struct starting {
	struct pm *pm;
	struct json *root; /* the manifest's own copy */
	struct manifest manifest;
	struct json *trace; /* NULL: none */
	unsigned tries;
	void (*done)(void *context, enum status status, const struct ledger_item *item, const char *why);
	void *context;
	struct ledger_item *item;
};

static void finish(struct starting *starting, enum status status, const char *why)
{
	starting->done(starting->context, status, starting->item, why);
	json_free(starting->root);
	json_free(starting->trace);
	free(starting);
}

static void on_dispatched(void *context)
{
	finish(context, STATUS_OK, NULL);
}

/* --- the shared data to begin with */

static bool copy_missing(struct json *into, const struct json *from)
{
	for (const struct json *member = json_first(from); member != NULL; member = json_next(member)) {
		if (json_member(into, json_name(member)) != NULL)
			continue;
		struct json *copy = json_copy(member);
		if (!json_set(into, json_name(member), copy)) {
			json_free(copy);
			return false;
		}
	}
	return true;
}

static bool copy_one_missing(struct json *into, const struct json *from, const char *name)
{
	const struct json *member = json_member(from, name);
	if (member == NULL || json_member(into, name) != NULL)
		return true;
	struct json *copy = json_copy(member);
	if (json_set(into, name, copy))
		return true;
	json_free(copy);
	return false;
}

/* The newest deployment of the same participant that has come to its end. */
static const struct ledger_item *find_deployment(const struct pm *pm, struct text correlation_id)
{
	const struct ledger_item *found = NULL;
	for (const struct ledger_item *item = pm->items; item != NULL; item = item->next) {
		if (item->revision != 0 && item->state == ORCHESTRATION_COMPLETED && !item->is_purged &&
			text_equals(text_of(item->correlation_id), correlation_id) &&
			text_equals(text_of(item->type), ORCHESTRATION_DEPLOY) &&
			(found == NULL || item->created_ms > found->created_ms))
			found = item;
	}
	return found;
}

/* What the agents of a disposal look for at the top, wherever the existing tenant manager has put it (T3). */
static bool mend_disposal(const struct pm *pm, const struct manifest *manifest, struct json *data)
{
	struct orchestration deployment;
	bool is_mended = copy_missing(data, json_member(data, "cfm.vpa.state"));
	const struct ledger_item *item = find_deployment(pm, manifest->correlation_id);
	if (item == NULL || !ledger_read(pm, item, &deployment))
		return is_mended;
	is_mended = is_mended && copy_missing(data, orchestration_output(&deployment)) &&
				copy_one_missing(data, json_member(deployment.root, "processingData"), "cfm.vpa.credentials") &&
				copy_one_missing(data, json_member(deployment.root, "processingData"), "participantContextId");
	orchestration_free(&deployment);
	return is_mended;
}

static struct json *data_of(const struct pm *pm, const struct manifest *manifest)
{
	struct json *data = manifest->payload != NULL ? json_copy(manifest->payload) : json_object_new();
	if (data != NULL && text_equals(manifest->type, ORCHESTRATION_DISPOSE) && !mend_disposal(pm, manifest, data)) {
		json_free(data);
		data = NULL;
	}
	return data;
}

/* --- the record */

static void start_run(struct starting *starting);

static void count_start(const struct starting *starting)
{
	const struct ledger_item *item = starting->item;
	statistics_started(starting->pm->statistics, text_of(item->type));
	if (item->ended_ms != 0) /* there was nothing to do */
		statistics_ended(starting->pm->statistics, text_of(item->type), "completed", 0);
}

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct starting *starting = context;
	(void)revision;
	starting->item = ledger_find(starting->pm, starting->manifest.id);
	if (status == STATUS_OK && starting->item != NULL)
		count_start(starting);
	if (status == STATUS_CONFLICT && ++starting->tries < STARTS_MAX)
		start_run(starting);
	else if (status != STATUS_OK || starting->item == NULL)
		finish(starting, status != STATUS_OK ? status : STATUS_INTERNAL, NULL);
	else if (starting->item->state == ORCHESTRATION_COMPLETED)
		finish(starting, STATUS_OK, NULL); /* there was nothing to do */
	else
		pm_dispatch(starting->pm, starting->item, on_dispatched, starting);
}

/* As the existing manager keeps it, for whoever goes on with the orchestration. */
static bool add_trace(const struct starting *starting, struct orchestration *orchestration)
{
	struct json *trace = starting->trace == NULL ? NULL : json_copy(starting->trace);
	if (starting->trace == NULL || json_set(orchestration->root, ORCHESTRATION_TRACE, trace))
		return true;
	json_free(trace);
	return false;
}

/* The planned value as a record; NULL: out of memory. */
static struct transaction *record_of(
	const struct starting *starting, struct text value, const struct json *compensation)
{
	struct orchestration orchestration;
	struct buffer error = {0};
	struct transaction *transaction = transaction_new();
	struct text compensates = json_member_text(compensation, "of");
	if (transaction == NULL || orchestration_parse(value, &orchestration, &error) != STATUS_OK) {
		buffer_free(&error);
		transaction_free(transaction);
		return NULL;
	}
	bool is_put =
		add_trace(starting, &orchestration) &&
		ledger_own_number(&orchestration, "since", worker_wall_ms(starting->pm->worker)) &&
		(compensates.bytes == NULL || ledger_own_text(&orchestration, "compensates", compensates)) &&
		ledger_put(transaction, &orchestration, starting->item != NULL ? starting->item->revision : REVISION_ABSENT) &&
		(!orchestration_is_finished(&orchestration) || ledger_tell(transaction, &orchestration));
	orchestration_free(&orchestration);
	if (is_put)
		return transaction;
	transaction_free(transaction);
	return NULL;
}

static void start_planned(struct starting *starting, struct text value, const struct json *data)
{
	struct transaction *transaction = value.length > ORCHESTRATION_BYTES_MAX
										  ? NULL
										  : record_of(starting, value, json_member(data, "celld.compensation"));
	if (transaction != NULL)
		state_submit(starting->pm->base.state, transaction, on_stored, starting);
	else if (value.length > ORCHESTRATION_BYTES_MAX)
		finish(starting, STATUS_INVALID, "the orchestration would be larger than a message");
	else
		finish(starting, STATUS_NO_MEMORY, NULL);
}

static void start_run(struct starting *starting)
{
	struct pm *pm = starting->pm;
	struct buffer value = {0}, error = {0};
	starting->item = ledger_find(pm, starting->manifest.id);
	if (starting->item != NULL && starting->item->revision == 0)
		starting->item = NULL;
	if (starting->item != NULL && !starting->item->is_requested) {
		finish(starting, STATUS_OK, NULL);
		return;
	}
	struct json *definition = definitions_find(pm->definitions, starting->manifest.type);
	struct json *data = data_of(pm, &starting->manifest);
	enum status status = STATUS_NOT_FOUND;
	if (definition == NULL)
		buffer_printf(&error, "no orchestration definition of type '%.*s'", TEXT_ARGUMENTS(starting->manifest.type));
	else if (data == NULL)
		status = STATUS_NO_MEMORY;
	else
		status =
			steps_make(&pm->plan, &starting->manifest, definition, data, worker_wall_ms(pm->worker), &value, &error);
	if (status == STATUS_OK)
		start_planned(starting, buffer_text(&value), data);
	else
		finish(starting, status, error.bytes);
	json_free(definition);
	json_free(data);
	buffer_free(&value);
	buffer_free(&error);
}

void pm_start(struct pm *pm, const struct manifest *manifest,
	void (*done)(void *context, enum status status, const struct ledger_item *item, const char *why), void *context)
{
	struct starting *starting = calloc(1, sizeof(*starting));
	struct buffer copy = {0}, error = {0};
	manifest_print(manifest, &copy);
	if (starting == NULL || copy.failed ||
		manifest_parse(buffer_text(&copy), &starting->manifest, &error) != STATUS_OK) {
		free(starting);
		done(context, STATUS_NO_MEMORY, NULL, NULL);
	} else {
		starting->pm = pm;
		starting->root = starting->manifest.root;
		starting->trace = trace_json(&manifest->trace);
		starting->done = done;
		starting->context = context;
		start_run(starting);
	}
	buffer_free(&copy);
	buffer_free(&error);
}

/* --- what cannot be started is answered */

struct refusal {
	struct pm *pm;
	char *reply; /* NULL: no message waits for it */
};

static void on_refused(void *context, enum status status, int64_t revision)
{
	struct refusal *refusal = context;
	(void)revision;
	/* CONFLICT: it has been answered already */
	bool is_done = status == STATUS_OK || status == STATUS_CONFLICT;
	if (refusal->reply != NULL)
		(void)bus_answer(refusal->pm->base.bus, text_of(refusal->reply), is_done ? BUS_ACK : BUS_NAK, RETRY_MS);
	free(refusal->reply);
	free(refusal);
}

/* The response without an orchestration, and the end of the order, if there was one. */
static struct transaction *refusal_record(struct pm *pm, const struct manifest *manifest, const char *why)
{
	struct ledger_item *item = ledger_find(pm, manifest->id);
	struct transaction *transaction = transaction_new();
	struct orchestration orchestration;
	char id[UUID_LENGTH + 1];
	struct buffer letter_id = {0}, body = {0};
	uuid_random(id);
	response_print(&(struct response){.id = text_of(id),
					   .manifest_id = manifest->id,
					   .correlation_id = manifest->correlation_id,
					   .type = manifest->type,
					   .error_detail = text_of(why)},
		&body);
	buffer_printf(&letter_id, "%.*s.refused", TEXT_ARGUMENTS(manifest->id));
	bool is_made =
		transaction != NULL && !body.failed && !letter_id.failed &&
		letters_add(transaction, buffer_text(&letter_id), ORCHESTRATION_RESPONSE_SUBJECT, buffer_text(&body));
	if (is_made && item != NULL && item->is_requested && ledger_read(pm, item, &orchestration)) {
		is_made = orchestration_fail(&orchestration, text_of(why), worker_wall_ms(pm->worker));
		json_remove(ledger_own(&orchestration), "requested");
		is_made = is_made && ledger_put(transaction, &orchestration, item->revision);
		orchestration_free(&orchestration);
	}
	buffer_free(&letter_id);
	buffer_free(&body);
	if (is_made)
		return transaction;
	transaction_free(transaction);
	return NULL;
}

/* Owns `reply`. */
static void refuse(struct pm *pm, const struct manifest *manifest, const char *why, char *reply)
{
	struct refusal *refusal = malloc(sizeof(*refusal));
	struct transaction *transaction = refusal != NULL ? refusal_record(pm, manifest, why) : NULL;
	LOG(WARNING, "orchestration.refused", log_text("orchestration", manifest->id), log_text("why", text_of(why)));
	if (transaction == NULL) {
		if (reply != NULL)
			(void)bus_answer(pm->base.bus, text_of(reply), BUS_NAK, RETRY_MS);
		free(reply);
		free(refusal);
		return;
	}
	*refusal = (struct refusal){pm, reply};
	statistics_ended(pm->statistics, manifest->type, "refused", 0);
	state_submit(pm->base.state, transaction, on_refused, refusal);
}

/* --- messages and orders */

struct arrival {
	struct pm *pm;
	struct manifest manifest;
	char *reply; /* NULL: an order without its letter */
	uint64_t deliveries;
	struct ledger_item *item;
};

static void arrival_free(struct arrival *arrival)
{
	json_free(arrival->manifest.root);
	free(arrival->reply);
	free(arrival);
}

static void on_started(void *context, enum status status, const struct ledger_item *item, const char *why)
{
	struct arrival *arrival = context;
	(void)item;
	if (arrival->item != NULL)
		arrival->item->is_busy = false;
	if (status == STATUS_NOT_FOUND && arrival->reply != NULL && arrival->deliveries < HEARINGS_MAX) {
		(void)bus_answer(arrival->pm->base.bus, text_of(arrival->reply), BUS_NAK, HEARING_MS);
	} else if (status == STATUS_INVALID || status == STATUS_NOT_FOUND) {
		refuse(arrival->pm, &arrival->manifest, why != NULL ? why : "invalid", arrival->reply);
		arrival->reply = NULL;
	} else if (arrival->reply != NULL) {
		(void)bus_answer(
			arrival->pm->base.bus, text_of(arrival->reply), status == STATUS_OK ? BUS_ACK : BUS_NAK, RETRY_MS);
	}
	arrival_free(arrival);
}

static void on_parked(void *ticket, bool is_kept)
{
	struct arrival *arrival = ticket;
	(void)bus_answer(arrival->pm->base.bus, text_of(arrival->reply), is_kept ? BUS_ACK : BUS_NAK, RETRY_MS);
	arrival_free(arrival);
}

void pm_on_manifest(void *context, const struct bus_message *message)
{
	struct pm *pm = context;
	struct buffer error = {0};
	if (pm->is_held) {
		(void)bus_answer(pm->base.bus, message->reply, BUS_NAK, HELD_MS);
		return;
	}
	struct arrival *arrival = calloc(1, sizeof(*arrival));
	if (arrival != NULL)
		arrival->reply = text_copy(message->reply);
	if (arrival == NULL || arrival->reply == NULL) {
		(void)bus_answer(pm->base.bus, message->reply, BUS_NAK, RETRY_MS);
		free(arrival);
		return;
	}
	arrival->pm = pm;
	struct bus_delivery delivery;
	if (bus_delivery_parse(message->reply, &delivery) == STATUS_OK)
		arrival->deliveries = delivery.deliveries;
	enum status status = manifest_parse(message->body, &arrival->manifest, &error);
	arrival->manifest.trace =
		trace_of(bus_message_header(message, TEXT("traceparent")), bus_message_header(message, TEXT("tracestate")));
	if (status == STATUS_OK)
		pm_start(pm, &arrival->manifest, on_started, arrival);
	else if (status == STATUS_NO_MEMORY)
		on_started(arrival, status, NULL, NULL);
	else
		ledger_park(pm, message, error.failed ? "no manifest" : error.bytes, on_parked, arrival);
	buffer_free(&error);
}

void pm_start_item(struct pm *pm, struct ledger_item *item)
{
	struct arrival *arrival = calloc(1, sizeof(*arrival));
	struct orchestration ordered;
	if (arrival == NULL || !ledger_read(pm, item, &ordered)) {
		free(arrival);
		return;
	}
	struct manifest manifest = {.id = ordered.id,
		.correlation_id = ordered.correlation_id,
		.type = ordered.type,
		.payload = json_member(ordered.root, "processingData")};
	struct buffer copy = {0}, error = {0};
	manifest_print(&manifest, &copy);
	arrival->pm = pm;
	if (!copy.failed && manifest_parse(buffer_text(&copy), &arrival->manifest, &error) == STATUS_OK) {
		arrival->item = item;
		arrival->manifest.trace = trace_read(json_member(ordered.root, ORCHESTRATION_TRACE)); /* while it starts */
		item->is_busy = true;
		pm_start(pm, &arrival->manifest, on_started, arrival);
	} else {
		free(arrival);
	}
	orchestration_free(&ordered);
	buffer_free(&copy);
	buffer_free(&error);
}
