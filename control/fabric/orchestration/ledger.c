/* The ledger: every orchestration there is a record of. */
#include <stdlib.h>

#include "control/fabric/orchestration/pm_private.h"
#include "control/fabric/parked.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/map.h"
#include "server/base/timestamp.h"

static int64_t number(const struct json *object, const char *name)
{
	int64_t value = 0;
	return json_integer(json_member(object, name), &value) ? value : 0;
}

static int64_t time_of(const struct json *object, const char *name)
{
	int64_t wall_ms = 0;
	bool is_day;
	return time_parse(json_member_text(object, name), &wall_ms, &is_day) == STATUS_OK ? wall_ms : 0;
}

/* --- items */

static bool copy_text(char **into, struct text text)
{
	if (*into != NULL && text_equals(text_of(*into), text))
		return true;
	char *copy = text_copy(text.bytes != NULL ? text : TEXT(""));
	if (copy == NULL)
		return false;
	free(*into);
	*into = copy;
	return true;
}

static void item_free(struct ledger_item *item)
{
	free(item->id);
	free(item->type);
	free(item->correlation_id);
	free(item);
}

static struct ledger_item *item_add(struct pm *pm, struct text id)
{
	struct ledger_item *item = calloc(1, sizeof(*item));
	if (item == NULL)
		return NULL;
	item->id = text_copy(id);
	if (item->id == NULL || map_load(pm->by_id, id, item) != STATUS_OK) {
		item_free(item);
		return NULL;
	}
	item->next = pm->items;
	pm->items = item;
	return item;
}

static void count(struct pm *pm, const struct ledger_item *item, int by)
{
	enum statistics_place place = item->is_requested                       ? STATISTICS_ORDERED
								  : item->state == ORCHESTRATION_COMPLETED ? STATISTICS_COMPLETED
								  : item->state == ORCHESTRATION_ERRORED   ? STATISTICS_ERRORED
																		   : STATISTICS_RUNNING;
	if (item->revision != 0)
		statistics_count(pm->statistics, text_of(item->type), place, by);
}

static void item_fill(struct ledger_item *item, const struct orchestration *orchestration, int64_t revision)
{
	const struct json *own = json_member(orchestration->root, "celld");
	bool was_finished = item->ended_ms != 0;
	item->revision = revision;
	item->state = orchestration->state;
	item->is_requested = json_member(own, "requested") != NULL;
	item->is_foreign = json_member(own, "foreign") != NULL;
	item->is_purged = json_member(own, "purged") != NULL;
	item->is_compensated = json_member(own, "compensation") != NULL;
	item->created_ms = time_of(orchestration->root, "createdTimestamp");
	item->ended_ms = orchestration_is_finished(orchestration) ? time_of(orchestration->root, "stateTimestamp") : 0;
	item->since_ms = number(own, "since");
	item->settle_at_ms = number(own, "settleAt");
	item->at_us = number(own, "at");
	item->bucket_revision = number(own, "revision");
	if (was_finished != (item->ended_ms != 0))
		item->answer_at_ms = item->answer_pause_ms = 0;
	item->check_at_ms = item->check_pause_ms = 0; /* it has moved */
	item->doubts = 0;
}

static void on_record(void *context, const struct record *record)
{
	struct pm *pm = context;
	struct ledger_item *item = ledger_find(pm, record->id);
	struct orchestration orchestration;
	struct buffer error = {0};
	if (record->body.bytes == NULL) {
		if (item != NULL) {
			count(pm, item, -1);
			item->revision = 0;
		}
		return;
	}
	if (item == NULL)
		item = item_add(pm, record->id);
	if (item == NULL || orchestration_parse(record->body, &orchestration, &error) != STATUS_OK) {
		LOG(ERROR, "orchestration.unreadable", log_text("orchestration", record->id),
			log_text("why", buffer_text(&error)));
		buffer_free(&error);
		return;
	}
	count(pm, item, -1);
	if (copy_text(&item->type, orchestration.type) && copy_text(&item->correlation_id, orchestration.correlation_id)) {
		item_fill(item, &orchestration, record->revision);
		count(pm, item, 1);
	} else {
		item->revision = 0;
		LOG(ERROR, "orchestration.unreadable", log_text("orchestration", record->id), log_text("why", TEXT("memory")));
	}
	orchestration_free(&orchestration);
	buffer_free(&error);
}

struct ledger_item *ledger_find(const struct pm *pm, struct text id)
{
	return map_find(pm->by_id, id);
}

bool ledger_is_used(void *context, struct text type)
{
	const struct pm *pm = context;
	const struct ledger_item *item = pm->items;
	while (item != NULL && !(item->revision != 0 && text_equals(text_of(item->type), type)))
		item = item->next;
	return item != NULL;
}

enum status ledger_open(struct pm *pm)
{
	pm->by_id = map_new();
	if (pm->by_id == NULL)
		return STATUS_NO_MEMORY;
	enum status status = record_index_open(pm->base.state, RECORD_ORCHESTRATION, &pm->index);
	if (status == STATUS_OK)
		state_watch(pm->base.state, RECORD_ORCHESTRATION, on_record, NULL, pm);
	return status;
}

void ledger_close(struct pm *pm)
{
	while (pm->items != NULL) {
		struct ledger_item *item = pm->items;
		pm->items = item->next;
		item_free(item);
	}
	map_free(pm->by_id);
	record_index_free(pm->index);
}

/* --- values */

bool ledger_read(const struct pm *pm, const struct ledger_item *item, struct orchestration *orchestration)
{
	const struct record_item *record = record_index_find(pm->index, text_of(item->id));
	struct buffer error = {0};
	bool is_read = record != NULL && orchestration_parse(record->body, orchestration, &error) == STATUS_OK;
	buffer_free(&error);
	return is_read;
}

struct json *ledger_own(struct orchestration *orchestration)
{
	const struct json *own = json_member(orchestration->root, "celld");
	struct json *made = own == NULL ? json_object_new() : NULL;
	if (own == NULL && !json_set(orchestration->root, "celld", made)) {
		json_free(made);
		return NULL;
	}
	return own != NULL ? (struct json *)(uintptr_t)own : made;
}

bool ledger_own_number(struct orchestration *orchestration, const char *name, int64_t value)
{
	struct json *own = ledger_own(orchestration);
	json_remove(own, name);
	return json_add_integer(own, name, value);
}

bool ledger_own_text(struct orchestration *orchestration, const char *name, struct text value)
{
	struct json *own = ledger_own(orchestration);
	json_remove(own, name);
	return json_add_text(own, name, value);
}

bool ledger_own_flag(struct orchestration *orchestration, const char *name)
{
	struct json *own = ledger_own(orchestration);
	json_remove(own, name);
	return json_add_bool(own, name, true);
}

void ledger_print_value(struct orchestration *orchestration, struct buffer *into)
{
	json_remove(orchestration->root, "celld");
	orchestration_print(orchestration, into);
}

bool ledger_put(struct transaction *transaction, const struct orchestration *orchestration, int64_t expected)
{
	struct buffer body = {0};
	orchestration_print(orchestration, &body);
	bool is_put =
		!body.failed && state_put(transaction, RECORD_ORCHESTRATION, orchestration->id, buffer_text(&body), expected);
	buffer_free(&body);
	return is_put;
}

bool ledger_tell(struct transaction *transaction, const struct orchestration *orchestration)
{
	char id[UUID_LENGTH + 1];
	struct buffer body = {0};
	bool is_success = orchestration->state != ORCHESTRATION_ERRORED;
	uuid_random(id);
	response_print(&(struct response){.id = text_of(id),
					   .manifest_id = orchestration->id,
					   .correlation_id = orchestration->correlation_id,
					   .type = orchestration->type,
					   .is_success = is_success,
					   .error_detail = is_success ? TEXT_NONE : json_text(orchestration_value(orchestration, "error")),
					   .properties = orchestration_output(orchestration)},
		&body);
	bool is_added =
		!body.failed && letters_add(transaction, text_of(id), ORCHESTRATION_RESPONSE_SUBJECT, buffer_text(&body));
	buffer_free(&body);
	return is_added;
}

/* --- parking */

struct parking {
	void (*done)(void *ticket, bool is_kept);
	void *ticket;
};

static void on_parked(void *context, enum status status, int64_t revision)
{
	struct parking *parking = context;
	(void)revision;
	parking->done(parking->ticket, status == STATUS_OK);
	free(parking);
}

void ledger_park(struct pm *pm, const struct bus_message *message, const char *why,
	void (*done)(void *ticket, bool is_kept), void *ticket)
{
	struct parking *parking = malloc(sizeof(*parking));
	struct transaction *transaction = transaction_new();
	LOG(WARNING, "message.parked", log_text("subject", message->subject), log_text("why", text_of(why)));
	if (parking == NULL || transaction == NULL ||
		!parked_add(transaction, message->subject, why, message->body, TEXT_NONE, worker_wall_ms(pm->worker))) {
		transaction_free(transaction);
		free(parking);
		done(ticket, false);
		return;
	}
	*parking = (struct parking){done, ticket};
	state_submit(pm->base.state, transaction, on_parked, parking);
}

/* --- orders */

bool pm_order(struct transaction *transaction, const struct manifest *manifest, int64_t wall_ms)
{
	struct buffer letter = {0}, record = {0};
	char now[25];
	clock_format(wall_ms, now);
	manifest_print(manifest, &letter);
	message_print_text(&record, "{\"id\":", manifest->id);
	message_print_text(&record, ",\"correlationId\":", manifest->correlation_id);
	message_print_text(&record, ",\"definitionId\":", manifest->type);
	message_print_text(&record, ",\"state\":0,\"stateTimestamp\":", text_of(now));
	message_print_text(&record, ",\"createdTimestamp\":", text_of(now));
	message_print_text(&record, ",\"orchestrationType\":", manifest->type);
	buffer_append(&record, TEXT(",\"steps\":[],\"processingData\":"));
	if (manifest->payload != NULL)
		json_print(manifest->payload, &record);
	else
		buffer_append(&record, TEXT("{}"));
	buffer_append(&record, TEXT(",\"outputData\":{},\"completed\":{}"));
	struct json *trace = trace_json(&manifest->trace);
	if (trace != NULL) {
		buffer_append(&record, TEXT(",\"" ORCHESTRATION_TRACE "\":"));
		json_print(trace, &record);
		json_free(trace);
	}
	buffer_append(&record, TEXT(",\"celld\":{\"requested\":true}}"));
	bool is_ordered =
		!letter.failed && !record.failed &&
		letters_add_traced(transaction, manifest->id, ORCHESTRATION_SUBJECT, buffer_text(&letter), &manifest->trace) &&
		state_put(transaction, RECORD_ORCHESTRATION, manifest->id, buffer_text(&record), REVISION_ABSENT);
	buffer_free(&letter);
	buffer_free(&record);
	return is_ordered;
}
