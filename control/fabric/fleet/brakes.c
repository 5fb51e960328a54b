/* Brakes that stay until an operator takes them off: his own, and the one of a database that is an older copy
 * (control.md 2.5 f, F24). Records BRAKE, for all replicas: "freeze"   {"at", "why"}: no fail-over "behind"   {"at",
 * "why"}: what the fabric knows is older than what its cells know: nothing is ordered any more "adopted"  {"at",
 * "term", "shift"}: the operator's word that the older copy is what holds from here on: terms above "term" are good,
 * and commands written after this record are numbered "shift" higher than the record says Every brake that goes on or
 * comes off is a line in the log. */
#include <stdlib.h>

#include "control/fabric/fleet/fleet_private.h"
#include "control/fabric/rest_submit.h"
#include "server/base/clock.h"
#include "server/base/log.h"

enum { WHY_MAX = 200 };

static void stand_free(struct standing_brake *brake)
{
	free(brake->why);
	free(brake->at);
	*brake = (struct standing_brake){.revision = 0};
}

static struct standing_brake *standing_of(struct fleet *fleet, struct text id)
{
	return text_equals(id, TEXT(BRAKE_FREEZE_ID))   ? &fleet->freeze
		   : text_equals(id, TEXT(BRAKE_BEHIND_ID)) ? &fleet->behind
													: NULL;
}

static void take_adoption(struct fleet *fleet, const struct record *record, const struct json *root)
{
	int64_t term = 0, shift = 0;
	json_integer(json_member(root, "term"), &term);
	json_integer(json_member(root, "shift"), &shift);
	fleet->shift = shift;
	lease_raise(fleet->lease, term);
	fleet->uses.adopted(fleet->uses.orders_context, record->revision, shift);
}

static void on_record(void *context, const struct record *record)
{
	struct fleet *fleet = context;
	struct standing_brake *brake = standing_of(fleet, record->id);
	struct json *root = NULL;
	if (record->body.bytes != NULL && json_parse(record->body, NULL, &root) != STATUS_OK)
		LOG(ERROR, "brake.unreadable", log_text("id", record->id));
	if (brake != NULL) {
		stand_free(brake);
		if (root != NULL) {
			struct text why = json_member_text(root, "why"), at = json_member_text(root, "at");
			*brake = (struct standing_brake){record->revision, text_copy(why), text_copy(at)};
		}
		monitor_brake_set(fleet->monitor, BRAKE_FREEZE, fleet->freeze.revision != 0);
		monitor_brake_set(fleet->monitor, BRAKE_BEHIND, fleet->behind.revision != 0);
		fleet->uses.held(fleet->uses.orders_context, fleet->behind.revision != 0);
	} else if (root != NULL && text_equals(record->id, TEXT(BRAKE_ADOPTED_ID))) {
		take_adoption(fleet, record, root);
	}
	json_free(root);
}

void brakes_open(struct fleet *fleet)
{
	state_watch(fleet->uses.state, RECORD_BRAKE, on_record, NULL, fleet);
}

void brakes_close(struct fleet *fleet)
{
	stand_free(&fleet->freeze);
	stand_free(&fleet->behind);
}

bool brake_put(struct transaction *transaction, const char *id, struct text why, int64_t expected)
{
	struct buffer body = {0};
	char stamp[25];
	clock_format(clock_wall_ms(), stamp);
	buffer_printf(&body, "{\"at\":\"%s\",\"why\":", stamp);
	buffer_append_json(&body, why);
	buffer_append_byte(&body, '}');
	bool is_put = !body.failed && state_put(transaction, RECORD_BRAKE, text_of(id), buffer_text(&body), expected);
	buffer_free(&body);
	return is_put;
}

const char *brakes_refusal(const struct fleet *fleet)
{
	return fleet->behind.revision == 0
			   ? NULL
			   : "the database is older than what the cells know, or another one; an operator must say whether it "
				 "holds: cellctl fabric adopt";
}

/* --- who is told */

static void tell(struct fleet *fleet, enum monitor_brake brake, bool is_on, uint64_t now_ms)
{
	/* a follower, or who has just begun, is not news for anybody to act upon */
	bool is_usual = brake == BRAKE_FOLLOWER || brake == BRAKE_GRACE;
	struct text name = text_of(monitor_brake_name(brake)), why = text_of(monitor_brake_text(brake));
	int64_t on_ms = is_on ? 0 : (int64_t)(now_ms - fleet->brake_since_ms[brake]);
	if (is_usual || !is_on)
		LOG(INFO, "fabric.brake", log_text("brake", name), log_bool("on", is_on), log_number("was_on_ms", on_ms),
			log_text("why", why));
	else
		LOG(ERROR, "fabric.brake", log_text("brake", name), log_bool("on", is_on), log_text("why", why));
}

unsigned brakes_on(const struct fleet *fleet, uint64_t now_ms)
{
	unsigned brakes = monitor_brakes(fleet->monitor, now_ms);
	for (int i = BRAKE_AGREEMENT; i < BRAKE_COUNT; i++)
		brakes |= (unsigned)(monitor_held(fleet->monitor, (enum monitor_brake)i) > 0) << i;
	return brakes;
}

void brakes_tick(struct fleet *fleet, uint64_t now_ms)
{
	unsigned brakes = brakes_on(fleet, now_ms), changed = brakes ^ fleet->brakes_told;
	for (unsigned i = 0; i < BRAKE_COUNT && changed != 0; i++) {
		if ((changed >> i & 1) == 0)
			continue;
		tell(fleet, (enum monitor_brake)i, (brakes >> i & 1) != 0, now_ms);
		fleet->brake_since_ms[i] = now_ms;
	}
	fleet->brakes_told = brakes;
}

/* NULL: it is no record. */
static const struct standing_brake *record_of(const struct fleet *fleet, enum monitor_brake brake)
{
	return brake == BRAKE_FREEZE ? &fleet->freeze : brake == BRAKE_BEHIND ? &fleet->behind : NULL;
}

/* Of a brake that is on, why it is: of an operator's, his own words. */
static struct text words_of(const struct fleet *fleet, enum monitor_brake brake)
{
	const struct standing_brake *record = record_of(fleet, brake);
	return record == NULL || record->why == NULL ? TEXT("") : text_of(record->why);
}

struct held_print {
	const struct fleet *fleet;
	enum monitor_brake brake;
	uint64_t now_ms;
	struct buffer *into;
	bool is_first;
};

static bool print_held(void *context, const struct cell_record *cell)
{
	struct held_print *print = context;
	if ((monitor_cell_brakes(print->fleet->monitor, cell->slot, print->now_ms) >> print->brake & 1) == 0)
		return true;
	if (!print->is_first)
		buffer_append_byte(print->into, ',');
	print->is_first = false;
	buffer_append_json(print->into, text_of(cell->external_id));
	return true;
}

static void print_details(const struct fleet *fleet, enum monitor_brake brake, uint64_t now_ms, struct buffer *into)
{
	const struct standing_brake *record = record_of(fleet, brake);
	bool is_told = (fleet->brakes_told >> brake & 1) != 0;
	buffer_printf(into, "{\"brake\":\"%s\",\"onMs\":%llu,\"why\":", monitor_brake_name(brake),
		(unsigned long long)(is_told ? now_ms - fleet->brake_since_ms[brake] : 0));
	buffer_append_json(into, words_of(fleet, brake));
	if (record != NULL && record->at != NULL) {
		buffer_append(into, TEXT(",\"since\":"));
		buffer_append_json(into, text_of(record->at));
	}
	if ((MONITOR_OWN_BRAKES >> brake & 1) != 0) {
		buffer_append(into, TEXT(",\"cells\":["));
		cells_each(fleet->uses.cells, print_held, &(struct held_print){fleet, brake, now_ms, into, true});
		buffer_append_byte(into, ']');
	}
	buffer_append_byte(into, '}');
}

void brakes_print(const struct fleet *fleet, unsigned brakes, uint64_t now_ms, struct buffer *into)
{
	const char *between = "";
	buffer_append(into, TEXT(",\"brakes\":["));
	for (int i = 0; i < BRAKE_COUNT; i++) {
		if ((brakes >> i & 1) == 0)
			continue;
		buffer_append(into, text_of(between));
		buffer_append_json(into, text_of(monitor_brake_text((enum monitor_brake)i)));
		between = ",";
	}
	between = "";
	buffer_append(into, TEXT("],\"brakeDetails\":["));
	for (int i = 0; i < BRAKE_COUNT; i++) {
		if ((brakes >> i & 1) == 0)
			continue;
		buffer_append(into, text_of(between));
		print_details(fleet, (enum monitor_brake)i, now_ms, into);
		between = ",";
	}
	buffer_append_byte(into, ']');
}

void brakes_lines(const struct fleet *fleet, uint64_t now_ms, struct buffer *into)
{
	unsigned brakes = brakes_on(fleet, now_ms);
	for (int i = 0; i < BRAKE_COUNT; i++) {
		if (i == BRAKE_FOLLOWER || (brakes >> i & 1) == 0)
			continue;
		struct text words = words_of(fleet, (enum monitor_brake)i);
		bool has_words = words.length > 0 && text_is_line(words);
		buffer_append(into, TEXT("! no fail-over"));
		if (monitor_held(fleet->monitor, (enum monitor_brake)i) > 0)
			buffer_printf(into, " of %u cells", monitor_held(fleet->monitor, (enum monitor_brake)i));
		buffer_printf(into, ": %s%s%.*s\n", monitor_brake_text((enum monitor_brake)i), has_words ? ": " : "",
			has_words ? (int)words.length : 0, has_words ? words.bytes : "");
	}
}

/* --- the operator's hand */

static void freeze(struct rest_call *call)
{
	struct fleet *fleet = call->context;
	struct text why = json_member_text(call->body, "why");
	struct buffer answer = {0};
	struct transaction *transaction = NULL;
	if (why.length == 0 || why.length > WHY_MAX || !text_is_line(why)) {
		rest_refuse(call, STATUS_INVALID, "why: must be one line of 1 to 200 bytes");
		return;
	}
	char *detail = text_copy(why);
	if (detail != NULL)
		transaction = transaction_new();
	if (transaction != NULL && (!brake_put(transaction, BRAKE_FREEZE_ID, why, REVISION_ANY) ||
								   !fleet_audit_call(transaction, call, "fabric.frozen", TEXT(""), detail))) {
		transaction_free(transaction);
		transaction = NULL;
	}
	free(detail);
	rest_submit(call, fleet->uses.state, transaction, 204, &answer);
}

static void unfreeze(struct rest_call *call)
{
	struct fleet *fleet = call->context;
	struct buffer answer = {0};
	if (fleet->freeze.revision == 0) {
		rest_refuse_with(call, 409, "nothing is frozen");
		return;
	}
	struct transaction *transaction = transaction_new();
	if (transaction != NULL &&
		(!state_delete(transaction, RECORD_BRAKE, TEXT(BRAKE_FREEZE_ID), fleet->freeze.revision) ||
			!fleet_audit_call(transaction, call, "fabric.unfrozen", TEXT(""), NULL))) {
		transaction_free(transaction);
		transaction = NULL;
	}
	rest_submit(call, fleet->uses.state, transaction, 204, &answer);
}

const struct rest_endpoint brake_endpoints[] = {
	{"POST", "/fabric/freeze", FLEET_WRITE, true, freeze},
	{"POST", "/fabric/unfreeze", FLEET_WRITE, false, unfreeze},
	{"POST", "/fabric/adopt", FLEET_WRITE, false, behind_adopt},
};
const size_t brake_endpoint_count = sizeof(brake_endpoints) / sizeof(brake_endpoints[0]);
