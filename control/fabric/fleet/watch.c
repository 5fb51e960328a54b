/* Heartbeats from the bus into the monitor, its judgements into records. */
#include <stdlib.h>

#include "control/fabric/fleet/fleet_private.h"
#include "server/base/clock.h"
#include "server/base/log.h"

#define SUBJECT "celld.hb."
enum { SLOW_BUS_US = 1000000, SLOW_COMMIT_MS = 1000, CATCH_UP_MS = 1000 };

struct watched *watched_of(struct fleet *fleet, uint32_t slot)
{
	if (slot >= fleet->watched_count) {
		uint32_t count = slot + 64;
		struct watched *grown = realloc(fleet->watched, count * sizeof(*grown));
		if (grown == NULL)
			abort(); /* a cell that is not watched would be lost in silence */
		memset(grown + fleet->watched_count, 0, (count - fleet->watched_count) * sizeof(*grown));
		fleet->watched = grown;
		fleet->watched_count = count;
	}
	return &fleet->watched[slot];
}

/* --- heartbeats */

static void tell_refused(struct fleet *fleet, const struct cell_record *cell, enum monitor_verdict verdict)
{
	struct watched *watched = watched_of(fleet, cell->slot);
	if (verdict == BEAT_GRANTED || verdict == BEAT_OLD || verdict == BEAT_REPEATED || watched->is_told)
		return;
	watched->is_told = true; /* until its record changes */
	LOG(ERROR, "cell.heartbeat_refused", log_text("cell", text_of(cell->external_id)),
		log_text("why", text_of(monitor_verdict_name(verdict))), log_number("epoch", cell->epoch));
}

static void answer(struct fleet *fleet, const struct bus_message *message, const struct cell_record *cell,
	const struct beat *beat, enum monitor_verdict verdict)
{
	struct buffer text = {0};
	if (!lease_is_held(fleet->lease) || message->reply.length == 0)
		return;
	monitor_answer(fleet->monitor, cell, beat, verdict, lease_term(fleet->lease), &text);
	if (text.length > 0 && !text.failed)
		bus_respond(fleet->bus, message, buffer_text(&text));
	buffer_free(&text);
}

/* Every replica hears and places, so each tells its own placer. */
static void measure(struct fleet *fleet, const struct cell_record *cell, const struct beat *beat, uint64_t now_ms)
{
	struct gauge *gauge = &watched_of(fleet, cell->slot)->gauge;
	if (gauge_hear(gauge, &beat->figures, cell->definition, now_ms))
		fleet->uses.measured(fleet->uses.placer_context, cell->slot, gauge->ready, gauge->load);
}

static void on_beat(void *context, const struct bus_message *message)
{
	struct fleet *fleet = context;
	struct text cell_id = text_slice(message->subject, sizeof(SUBJECT) - 1, message->subject.length);
	const struct cell_record *cell = cells_find_external(fleet->uses.cells, cell_id);
	uint64_t now_ms = clock_boot_ms();
	struct beat beat;
	if (cell == NULL) {
		static const struct cell_record unknown;
		fleet->verdicts[BEAT_FOREIGN]++;
		answer(fleet, message, &unknown, &(struct beat){.epoch = 0}, BEAT_FOREIGN);
		return;
	}
	if (!monitor_admit(fleet->monitor, cell->slot, now_ms)) {
		fleet->limited++;
		return;
	}
	if (message->body.length > BEAT_BYTES_MAX || beat_parse(message->body, &beat) != STATUS_OK ||
		!text_equals(text_of(beat.cell), cell_id)) {
		fleet->malformed++;
		return;
	}
	enum monitor_verdict verdict = monitor_beat(fleet->monitor, cell, &beat, now_ms);
	behind_hear(fleet, watched_of(fleet, cell->slot), cell, &beat, now_ms);
	fleet->verdicts[verdict]++;
	tell_refused(fleet, cell, verdict);
	if (verdict == BEAT_GRANTED)
		measure(fleet, cell, &beat, now_ms);
	answer(fleet, message, cell, &beat, verdict);
}

/* --- health into the record */

struct writing {
	struct fleet *fleet;
	uint32_t slot;
};

/* Whatever came of it: if the record says something else than the monitor, it is tried again by the tick. */
static void on_written(void *context, enum status status, int64_t revision)
{
	struct writing *writing = context;
	(void)revision;
	watched_of(writing->fleet, writing->slot)->is_writing = false;
	if (status != STATUS_OK && status != STATUS_CONFLICT)
		LOG(ERROR, "cell.health_unwritten", log_number("slot", writing->slot),
			log_text("why", text_of(status_text(status))));
	free(writing);
}

static void write_health(struct fleet *fleet, const struct cell_record *cell, const char *why)
{
	const struct health *health = monitor_health(fleet->monitor, cell->slot);
	struct json *set = json_object_new();
	struct transaction *transaction = transaction_new();
	struct writing *writing = malloc(sizeof(*writing));
	int64_t wall_ms = clock_wall_ms();
	/* who is gone stays gone since then, eligible for fail-over or not: its VPAs' "offline since" */
	bool is_still_gone = cell_health_is_gone(cell->health) && cell_health_is_gone((enum cell_health)health->state);
	bool is_made = (is_still_gone || json_add_integer(set, "healthSince", wall_ms)) &&
				   json_add_text(set, "healthWhy", text_of(why)) && transaction != NULL && writing != NULL;
	char *body = is_made ? cells_body_with(cell, set, cell->mode, (enum cell_health)health->state, wall_ms) : NULL;
	json_free(set);
	if (body == NULL || !state_put(transaction, RECORD_CELL, text_of(cell->id), text_of(body), cell->revision)) {
		free(body);
		free(writing);
		transaction_free(transaction);
		return; /* the tick tries again */
	}
	free(body);
	*writing = (struct writing){fleet, cell->slot};
	watched_of(fleet, cell->slot)->is_writing = true;
	state_submit(fleet->uses.state, transaction, on_written, writing);
}

static void on_changed(void *context, uint32_t slot, enum cell_health from, enum cell_health to, const char *why)
{
	struct fleet *fleet = context;
	const struct cell_record *cell = cells_at(fleet->uses.cells, slot);
	if (cell == NULL)
		return;
	bool is_bad = cell_health_is_gone(to) || to == CELL_ISOLATED || to == CELL_FLAPPING;
	if (is_bad)
		LOG(ERROR, "cell.health", log_text("cell", text_of(cell->external_id)),
			log_text("from", text_of(cell_health_name(from))), log_text("to", text_of(cell_health_name(to))),
			log_text("why", text_of(why)));
	else
		LOG(INFO, "cell.health", log_text("cell", text_of(cell->external_id)),
			log_text("from", text_of(cell_health_name(from))), log_text("to", text_of(cell_health_name(to))),
			log_text("why", text_of(why)));
	if (!watched_of(fleet, slot)->is_writing)
		write_health(fleet, cell, why);
}

/* What a write has missed, by a conflict or because another was under way. */
static bool catch_up(void *context, const struct cell_record *cell)
{
	struct fleet *fleet = context;
	const struct health *health = monitor_health(fleet->monitor, cell->slot);
	if (health != NULL && health->state != cell->health && !watched_of(fleet, cell->slot)->is_writing)
		write_health(fleet, cell, "written late");
	return true;
}

static uint64_t count_vpas(void *context, uint32_t slot)
{
	struct fleet *fleet = context;
	const struct cell_record *cell = cells_at(fleet->uses.cells, slot);
	int64_t used = cell == NULL ? 0 : fleet->uses.used(fleet->uses.placer_context, cell);
	return used > 0 ? (uint64_t)used : 0;
}

const struct monitor_events watch_events = {on_changed, doubts_ask, count_vpas};

/* --- life */

void watch_cell_changed(void *context, uint32_t slot, const struct cell_record *cell)
{
	struct fleet *fleet = context;
	watched_of(fleet, slot)->is_told = false;
	keepers_follow(fleet, watched_of(fleet, slot), cell);
	monitor_update(fleet->monitor, slot, cell, clock_boot_ms());
}

/* Can this process hear its cells at all? */
static bool can_hear(const struct fleet *fleet)
{
	return fleet->bus != NULL && bus_is_up(fleet->bus) && bus_round_trip_us(fleet->bus) < SLOW_BUS_US &&
		   store_is_healthy(state_store(fleet->uses.state)) && lease_commit_ms(fleet->lease) < SLOW_COMMIT_MS;
}

static bool keep_queues(void *context, const struct cell_record *cell)
{
	struct fleet *fleet = context;
	keepers_follow(fleet, watched_of(fleet, cell->slot), cell);
	return true;
}

void watch_start(struct fleet *fleet)
{
	if (fleet->bus == NULL)
		return;
	fleet->beats = bus_subscribe(fleet->bus, TEXT(SUBJECT "*"), on_beat, fleet);
	doubts_start(fleet);
	cells_each(fleet->uses.cells, keep_queues, fleet);
}

void watch_stop(struct fleet *fleet)
{
	if (fleet->beats != NULL)
		bus_unsubscribe(fleet->beats);
	fleet->beats = NULL;
	doubts_stop(fleet);
	for (uint32_t i = 0; i < fleet->watched_count; i++)
		keepers_close(&fleet->watched[i]);
}

void watch_tick(struct fleet *fleet, uint64_t now_ms)
{
	monitor_trust(fleet->monitor, can_hear(fleet), now_ms);
	monitor_tick(fleet->monitor, now_ms);
	if (!lease_is_held(fleet->lease) || now_ms - fleet->caught_up_ms < CATCH_UP_MS)
		return;
	fleet->caught_up_ms = now_ms;
	cells_each(fleet->uses.cells, catch_up, fleet);
}
