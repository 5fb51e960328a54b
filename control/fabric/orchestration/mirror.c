/* What changes in the bucket becomes the record; an error that arrives so starts the compensation, in the same
 * transaction: once, whoever else sees it (F47). */
#include <stdlib.h>

#include "control/fabric/orchestration/pm_private.h"
#include "server/base/log.h"

enum { RETRY_MS = 1000 };

struct taking {
	struct pm *pm;
	struct orchestration orchestration; /* the bucket's value; our member is added */
	int64_t revision, at_us;            /* at 0: not known */
	int64_t known;                      /* the revision that the record had when this value was asked for, or came */
	unsigned clashes;
	char *reply;                 /* NULL: nobody waits */
	struct orchestration before; /* the record that was changed; root NULL: there was none */
	int64_t since_ms;            /* when its step began */
};

static void finish(struct taking *taking, enum bus_verdict verdict)
{
	if (taking->reply != NULL)
		(void)bus_answer(taking->pm->base.bus, text_of(taking->reply), verdict, RETRY_MS);
	orchestration_free(&taking->orchestration);
	orchestration_free(&taking->before);
	free(taking->reply);
	free(taking);
}

/* --- compensation */

/* A type of the disposal whose deployment has never begun: it leaves nothing to undo. */
static bool is_unbegun(const struct orchestration *orchestration, struct text type)
{
	size_t now = orchestration_step_now(orchestration), steps = orchestration_steps(orchestration);
	bool is_there = false;
	for (size_t i = 0; i < steps; i++) {
		for (const struct json *activity = json_first(orchestration_step(orchestration, i)); activity != NULL;
			 activity = json_next(activity)) {
			struct text own = json_member_text(activity, "type");
			if (!text_equals(own, type) && !(text_starts_with(own, type) &&
											   text_starts_with(text_slice(own, type.length, own.length), TEXT("--"))))
				continue;
			if (i <= now)
				return false;
			is_there = true;
		}
	}
	return is_there;
}

/* "celld.compensation": {"of", "skip": types} */
static bool add_hint(const struct orchestration *orchestration, const struct json *disposal, struct json *data)
{
	struct json *hint = json_object_new(), *skip = json_array_new();
	bool is_added = json_add_text(hint, "of", orchestration->id);
	for (const struct json *activity = json_first(json_member(disposal, "activities")); activity != NULL && is_added;
		 activity = json_next(activity)) {
		struct text type = json_member_text(activity, "type");
		if (is_unbegun(orchestration, type))
			is_added = json_add_text(skip, NULL, type);
	}
	if (!is_added || !json_add(hint, "skip", skip)) {
		json_free(skip);
		is_added = false;
	}
	if (is_added && json_set(data, "celld.compensation", hint))
		return true;
	json_free(hint);
	return false;
}

static struct json *find_disposal(const struct pm *pm, const struct orchestration *orchestration)
{
	struct text type = orchestration->definition_id.length > 0 ? orchestration->definition_id : orchestration->type;
	struct json *definition = definitions_find(pm->definitions, type);
	struct json *disposal =
		definition != NULL ? definitions_find_beside(pm->definitions, definition, ORCHESTRATION_DISPOSE) : NULL;
	json_free(definition);
	return disposal;
}

enum status pm_compensation_add(struct pm *pm, struct transaction *transaction, struct orchestration *orchestration)
{
	char id[UUID_LENGTH + 1];
	struct json *disposal = find_disposal(pm, orchestration);
	if (disposal == NULL)
		return STATUS_NOT_FOUND;
	struct json *data = json_copy(json_member(orchestration->root, "processingData"));
	uuid_random(id);
	orchestration_strip_notes(data);
	bool is_added = add_hint(orchestration, disposal, data) &&
					ledger_own_text(orchestration, "compensation", text_of(id)) &&
					pm_order(transaction,
						&(struct manifest){.id = text_of(id),
							.correlation_id = orchestration->correlation_id,
							.type = ORCHESTRATION_DISPOSE,
							.payload = data,
							.trace = trace_read(json_member(orchestration->root, ORCHESTRATION_TRACE))},
						worker_wall_ms(pm->worker));
	json_remove(ledger_own(orchestration), "settleAt");
	json_free(data);
	json_free(disposal);
	return is_added ? STATUS_OK : STATUS_NO_MEMORY;
}

static bool is_compensable(const struct orchestration *orchestration)
{
	const struct json *own = json_member(orchestration->root, "celld");
	return orchestration->state == ORCHESTRATION_ERRORED && !text_equals(orchestration->type, ORCHESTRATION_DISPOSE) &&
		   json_member(own, "compensation") == NULL && json_member(own, "foreign") == NULL;
}

/* What an error asks for: a compensation at once when nothing can be under way any more, else later (T6). */
static bool follow_error(
	struct pm *pm, struct transaction *transaction, struct orchestration *orchestration, bool is_new, bool is_waiting)
{
	bool is_settled = !pm->is_held && orchestration_value(orchestration, "celld.manager") == NULL &&
					  orchestration_step_is_settled(orchestration, orchestration_step_now(orchestration));
	if (!is_compensable(orchestration) || !(is_new || is_waiting))
		return true;
	if (!is_settled)
		return !is_new ||
			   ledger_own_number(orchestration, "settleAt", worker_wall_ms(pm->worker) + pm->settings.settle_ms);
	enum status status = pm_compensation_add(pm, transaction, orchestration);
	if (status == STATUS_NOT_FOUND)
		LOG(WARNING, "compensation.none", log_text("orchestration", orchestration->id));
	return status != STATUS_NO_MEMORY;
}

/* --- taking in */

/* Our member as the record has it. */
static bool keep_own(struct taking *taking)
{
	struct json *root = taking->orchestration.root;
	if (taking->before.root == NULL)
		return ledger_own_flag(&taking->orchestration, "foreign");
	struct json *own = json_copy(ledger_own(&taking->before));
	json_remove(own, "requested");
	if (json_set(root, "celld", own))
		return true;
	json_free(own);
	return false;
}

static size_t completed_count(const struct orchestration *orchestration)
{
	return json_count(json_member(orchestration->root, "completed"));
}

static bool has_moved(const struct taking *taking)
{
	const struct orchestration *before = &taking->before, *now = &taking->orchestration;
	return before->root == NULL || completed_count(before) != completed_count(now) || before->state != now->state;
}

static struct transaction *record_of(struct taking *taking, const struct ledger_item *item)
{
	struct pm *pm = taking->pm;
	struct orchestration *orchestration = &taking->orchestration;
	struct transaction *transaction = transaction_new();
	bool is_new_error =
		orchestration->state == ORCHESTRATION_ERRORED && (item == NULL || item->state != ORCHESTRATION_ERRORED);
	bool is_ours = orchestration_value(orchestration, "celld.manager") != NULL;
	bool is_put = transaction != NULL && keep_own(taking) &&
				  ledger_own_number(orchestration, "revision", taking->revision) &&
				  (taking->at_us == 0 || ledger_own_number(orchestration, "at", taking->at_us)) &&
				  (!has_moved(taking) || ledger_own_number(orchestration, "since", worker_wall_ms(pm->worker))) &&
				  (!is_new_error || !is_ours || ledger_tell(transaction, orchestration)) &&
				  follow_error(pm, transaction, orchestration, is_new_error, item != NULL && item->settle_at_ms > 0) &&
				  ledger_put(transaction, orchestration, item != NULL ? item->revision : REVISION_ABSENT);
	if (is_put)
		return transaction;
	transaction_free(transaction);
	return NULL;
}

static void take(struct taking *taking);

/* What has come to its end by this change. */
static void count_ends(struct taking *taking)
{
	struct pm *pm = taking->pm;
	const struct orchestration *now = &taking->orchestration,
							   *before = taking->before.root == NULL ? NULL : &taking->before;
	const struct ledger_item *item = ledger_find(pm, now->id);
	if (item == NULL || before == NULL)
		return; /* another manager's: it counts */
	statistics_compare(pm->statistics, before, now, taking->since_ms, worker_wall_ms(pm->worker));
	if (orchestration_is_finished(now) && !orchestration_is_finished(before))
		statistics_ended(pm->statistics, now->type, now->state == ORCHESTRATION_COMPLETED ? "completed" : "errored",
			item->ended_ms - item->created_ms);
	if (item->is_compensated && json_member(json_member(before->root, "celld"), "compensation") == NULL)
		statistics_event(pm->statistics, STATISTICS_COMPENSATION, 1);
}

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct taking *taking = context;
	(void)revision;
	if (status == STATUS_OK) {
		count_ends(taking);
		finish(taking, BUS_ACK);
	} else if (status == STATUS_CONFLICT && ++taking->clashes < PM_CLASHES_MAX) {
		take(taking);
	} else {
		finish(taking, BUS_NAK);
	}
}

static bool is_known(const struct taking *taking, const struct ledger_item *item)
{
	if (item == NULL || item->is_requested)
		return false;
	if (taking->at_us == 0)
		return taking->revision == item->bucket_revision;
	return taking->at_us <= item->at_us;
}

/* The record has moved to another value meanwhile, and this one may be older: a record never goes back. What was read
 * is read again by the next check. What was told comes once more if it is still the value: its revision alone says
 * nothing, since those of a new bucket begin anew. */
static bool is_overtaken(const struct taking *taking, const struct ledger_item *item)
{
	if (item == NULL || item->bucket_revision == taking->known)
		return false;
	return taking->at_us == 0 || taking->revision < item->bucket_revision;
}

static void take(struct taking *taking)
{
	struct ledger_item *item = ledger_find(taking->pm, taking->orchestration.id);
	if (item != NULL && item->revision == 0)
		item = NULL;
	if (is_known(taking, item)) {
		finish(taking, BUS_ACK);
		return;
	}
	if (is_overtaken(taking, item)) {
		finish(taking, BUS_NAK);
		return;
	}
	orchestration_free(&taking->before);
	taking->before = (struct orchestration){0};
	taking->since_ms = item == NULL ? 0 : item->since_ms;
	bool is_read = item == NULL || ledger_read(taking->pm, item, &taking->before);
	struct transaction *transaction = is_read ? record_of(taking, item) : NULL;
	if (transaction != NULL)
		state_submit(taking->pm->base.state, transaction, on_stored, taking);
	else
		finish(taking, BUS_NAK);
}

static void take_first(struct taking *taking)
{
	const struct ledger_item *item = ledger_find(taking->pm, taking->orchestration.id);
	taking->known = item == NULL ? 0 : item->bucket_revision;
	take(taking);
}

static void on_parked(void *ticket, bool is_kept)
{
	finish(ticket, is_kept ? BUS_ACK : BUS_NAK);
}

void pm_on_bucket(void *context, const struct bus_message *message)
{
	struct pm *pm = context;
	struct bus_delivery delivery = {0};
	struct buffer error = {0};
	struct taking *taking = calloc(1, sizeof(*taking));
	if (taking != NULL)
		taking->reply = text_copy(message->reply);
	if (taking == NULL || taking->reply == NULL) {
		free(taking);
		(void)bus_answer(pm->base.bus, message->reply, BUS_NAK, RETRY_MS);
		return;
	}
	taking->pm = pm;
	if (bus_message_header(message, TEXT("KV-Operation")).bytes != NULL) {
		finish(taking, BUS_ACK); /* deleted by somebody: put back by the sweep, as long as it is needed */
		return;
	}
	if (bus_delivery_parse(message->reply, &delivery) == STATUS_OK) {
		taking->revision = (int64_t)delivery.stream_sequence;
		taking->at_us = delivery.timestamp_ns / 1000;
	}
	enum status status = orchestration_parse(message->body, &taking->orchestration, &error);
	if (status == STATUS_OK)
		take_first(taking);
	else if (status == STATUS_NO_MEMORY)
		finish(taking, BUS_NAK);
	else
		ledger_park(pm, message, error.failed ? "no orchestration" : error.bytes, on_parked, taking);
	buffer_free(&error);
}

void pm_mirror_take(struct pm *pm, struct text value, uint64_t revision, int64_t known)
{
	struct buffer error = {0};
	struct taking *taking = calloc(1, sizeof(*taking));
	if (taking != NULL && orchestration_parse(value, &taking->orchestration, &error) == STATUS_OK) {
		taking->pm = pm;
		taking->revision = (int64_t)revision;
		taking->known = known;
		take(taking);
	} else {
		free(taking);
	}
	buffer_free(&error);
}

/* --- later */

struct compensating {
	struct pm *pm;
	struct ledger_item *item;
};

static void on_compensated(void *context, enum status status, int64_t revision)
{
	struct compensating *compensating = context;
	(void)revision; /* CONFLICT: another was faster, or the next sweep tries again */
	compensating->item->is_busy = false;
	if (status == STATUS_OK && compensating->item->is_compensated)
		statistics_event(compensating->pm->statistics, STATISTICS_COMPENSATION, 1);
	free(compensating);
}

void pm_compensate(struct pm *pm, struct ledger_item *item)
{
	struct orchestration orchestration;
	struct transaction *transaction = transaction_new();
	struct compensating *compensating = malloc(sizeof(*compensating));
	if (transaction == NULL || compensating == NULL || !ledger_read(pm, item, &orchestration)) {
		transaction_free(transaction);
		free(compensating);
		return;
	}
	*compensating = (struct compensating){pm, item};
	enum status status = STATUS_OK;
	if (is_compensable(&orchestration))
		status = pm_compensation_add(pm, transaction, &orchestration);
	json_remove(ledger_own(&orchestration), "settleAt");
	if (status != STATUS_NO_MEMORY && ledger_put(transaction, &orchestration, item->revision)) {
		item->is_busy = true;
		state_submit(pm->base.state, transaction, on_compensated, compensating);
	} else {
		transaction_free(transaction);
		free(compensating);
	}
	orchestration_free(&orchestration);
}
