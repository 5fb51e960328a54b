/* Watches, one for each cell; a list of when each is due; what is done with a heartbeat. */
#include <stdlib.h>

#include "control/fabric/health/monitor_private.h"

enum {
	BEATS_MS = 100,  /* one beat in so long, ... */
	BURST_MS = 2000, /* ... and so much of it at once */
	LATE_MS = 1000,
	LOCAL_MS = 10000, /* the brake after we were late or deaf */
	PROBE_MS = 2000,
	PROBE_LONG_MS = 10000,
	CELLS_PER_SECOND = 5000,
};

const char *monitor_verdict_name(enum monitor_verdict verdict)
{
	static const char *const names[] = {[BEAT_GRANTED] = "granted",
		[BEAT_REPEATED] = "repeated",
		[BEAT_OLD] = "old",
		[BEAT_STALE] = "stale",
		[BEAT_AHEAD] = "ahead",
		[BEAT_FOREIGN] = "foreign"};
	return names[verdict];
}

enum status monitor_open(const struct monitor_settings *settings, const struct monitor_events *events, void *context,
	uint64_t now_ms, struct monitor **monitor)
{
	struct monitor *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->settings = *settings;
	made->events = *events;
	made->context = context;
	made->ticked_ms = made->trusted_ms = now_ms;
	made->zone_names.count = made->group_names.count = 1;
	*monitor = made;
	return STATUS_OK;
}

void monitor_free(struct monitor *monitor)
{
	if (monitor == NULL)
		return;
	brakes_free(monitor);
	free(monitor->watches);
	free(monitor->due);
	free(monitor);
}

/* --- the rules of a cell */

uint64_t monitor_interval_of(const struct monitor *monitor, bool is_away)
{
	uint64_t least = (uint64_t)(is_away ? monitor->settings.away_interval_ms : monitor->settings.interval_ms);
	uint64_t shared = (uint64_t)monitor->cells * 1000 / CELLS_PER_SECOND;
	return shared > least ? shared : least;
}

static bool is_away(const struct cell_record *cell)
{
	return cell->definition != NULL && cell->definition->is_intermittent;
}

uint64_t monitor_interval_ms(const struct monitor *monitor, const struct cell_record *cell)
{
	return monitor_interval_of(monitor, is_away(cell));
}

uint64_t monitor_ttl_ms(const struct monitor *monitor, const struct cell_record *cell)
{
	return MONITOR_INTERVALS_PER_LEASE * monitor_interval_ms(monitor, cell);
}

bool monitor_is_grace(const struct monitor *monitor, uint64_t now_ms)
{
	return now_ms < monitor->grace_until_ms;
}

/* `rules` is room for what the view points to. */
static struct health_view view_of(
	const struct monitor *monitor, const struct watch *watch, struct health_rules *rules, uint64_t now_ms)
{
	*rules = health_usual_rules;
	rules->interval_ms = monitor_interval_of(monitor, watch->is_away);
	return (struct health_view){.rules = rules,
		.now_ms = now_ms,
		.trusted_ms = monitor->is_deaf ? now_ms : monitor->trusted_ms,
		.is_grace = monitor_is_grace(monitor, now_ms)};
}

/* --- records */

static void make_room(struct monitor *monitor, uint32_t slot)
{
	if (slot < monitor->count)
		return;
	if (slot >= monitor->room) {
		uint32_t room = monitor->room == 0 ? 64 : monitor->room;
		while (room <= slot)
			room *= 2;
		struct watch *watches = realloc(monitor->watches, room * sizeof(*watches));
		uint64_t *due = watches == NULL ? NULL : realloc(monitor->due, room * sizeof(*due));
		if (due == NULL)
			abort(); /* a cell that is not watched would be lost in silence */
		monitor->watches = watches;
		monitor->due = due;
		monitor->room = room;
	}
	for (uint32_t i = monitor->count; i <= slot; i++) {
		monitor->watches[i] = (struct watch){.number = -1};
		monitor->due[i] = UINT64_MAX;
	}
	monitor->count = slot + 1;
}

static bool may_beat(const struct cell_record *cell)
{
	return cell->epoch > 0 && cell->incarnation != NULL &&
		   (cell->mode == CELL_READY || cell->mode == CELL_CORDONED || cell->mode == CELL_DRAINING);
}

void monitor_update(struct monitor *monitor, uint32_t slot, const struct cell_record *cell, uint64_t now_ms)
{
	make_room(monitor, slot);
	struct watch *watch = &monitor->watches[slot];
	bool is_watched = cell != NULL && may_beat(cell), is_new = is_watched && !watch->is_watched;
	brakes_count(monitor, watch, false);
	if (cell != NULL) {
		brakes_place(monitor, watch, cell);
		watch->is_away = is_away(cell);
	}
	if (is_new || (is_watched && !monitor->leads && watch->health.state != cell->health)) {
		watch->health.state = (uint8_t)cell->health;
		watch->health.since_ms = now_ms;
	}
	if (is_watched && watch->epoch != cell->epoch) { /* another process counts from the start */
		watch->epoch = cell->epoch;
		watch->number = -1;
	}
	if (cell == NULL || cell->epoch >= watch->ahead)
		watch->ahead = 0;
	watch->is_watched = is_watched;
	if (!is_watched)
		brakes_forget(monitor, watch);
	brakes_count(monitor, watch, is_watched && !watch->is_away);
	monitor->due[slot] = is_watched ? now_ms : UINT64_MAX;
}

void monitor_lead(struct monitor *monitor, bool leads, uint64_t now_ms)
{
	if (leads && !monitor->leads) {
		monitor->grace_until_ms = now_ms + (uint64_t)monitor->settings.grace_ms;
		monitor->trusted_ms = now_ms;
	}
	monitor->leads = leads;
}

void monitor_brake_set(struct monitor *monitor, enum monitor_brake brake, bool is_on)
{
	monitor->set = is_on ? monitor->set | 1U << brake : monitor->set & ~(1U << brake);
}

void monitor_trust(struct monitor *monitor, bool can_hear, uint64_t now_ms)
{
	if (can_hear && monitor->is_deaf)
		monitor->trusted_ms = now_ms;
	monitor->is_deaf = !can_hear;
	if (!can_hear)
		monitor->local_until_ms = now_ms + LOCAL_MS;
}

/* --- moving */

static bool is_fit(const void *context, uint32_t slot)
{
	const struct watch *watch = &((const struct monitor *)context)->watches[slot];
	return watch->is_watched && watch->is_heard && !watch->is_away &&
		   (watch->health.state == CELL_HEALTHY || watch->health.state == CELL_DEGRADED);
}

static void ask(struct monitor *monitor, uint32_t slot)
{
	struct monitor_question question = {.number = ++monitor->question};
	struct doubt *doubt = brakes_doubt_open(monitor, slot);
	if (doubt != NULL)
		question.count = doubt_ask(doubt, question.number, monitor->count, is_fit, monitor, question.cells);
	monitor->events.probe(monitor->context, slot, &question);
}

static void move(struct monitor *monitor, uint32_t slot, uint64_t now_ms)
{
	struct watch *watch = &monitor->watches[slot];
	struct health_rules rules;
	struct health_view view = view_of(monitor, watch, &rules, now_ms);
	const char *why;
	enum cell_health from = (enum cell_health)watch->health.state;
	view.may_fail_over = brakes_judge(monitor, watch, now_ms);
	/* a follower keeps the books, and leaves the judgement to the leader */
	while (monitor->leads && health_step(&watch->health, &view, &why)) {
		enum cell_health to = (enum cell_health)watch->health.state;
		brakes_count(monitor, watch, watch->is_counted);
		if (to == CELL_FAILOVER_ELIGIBLE)
			brakes_claim(monitor, watch, now_ms);
		monitor->events.changed(monitor->context, slot, from, to, why);
		from = to;
	}
	if (monitor->leads && health_wants_probe(&watch->health, &view) && now_ms >= watch->probe_ms) {
		bool is_known = watch->health.state != CELL_SUSPECT;
		watch->probe_ms = now_ms + (is_known ? PROBE_LONG_MS : PROBE_MS);
		ask(monitor, slot);
	}
	monitor->due[slot] = health_due_ms(&watch->health, &view);
}

bool monitor_admit(struct monitor *monitor, uint32_t slot, uint64_t now_ms)
{
	if (slot >= monitor->count)
		return false;
	struct watch *watch = &monitor->watches[slot];
	uint64_t from = watch->allowed_ms > now_ms ? watch->allowed_ms : now_ms;
	if (from - now_ms >= BURST_MS)
		return false;
	watch->allowed_ms = from + BEATS_MS;
	return true;
}

enum monitor_verdict monitor_beat(
	struct monitor *monitor, const struct cell_record *cell, const struct beat *beat, uint64_t now_ms)
{
	struct watch *watch = cell->slot < monitor->count ? &monitor->watches[cell->slot] : NULL;
	struct health_rules rules;
	if (beat->epoch > cell->epoch) {
		if (watch != NULL && beat->epoch > watch->ahead)
			watch->ahead = beat->epoch;
		return BEAT_AHEAD;
	}
	if (cell->epoch > 0 && (beat->epoch < cell->epoch || strcmp(beat->incarnation, cell->incarnation) != 0))
		return BEAT_STALE;
	if (watch == NULL || !watch->is_watched)
		return BEAT_FOREIGN;
	if (beat->number < watch->number)
		return BEAT_OLD;
	bool is_repeated = beat->number == watch->number;
	const struct health_view view = view_of(monitor, watch, &rules, now_ms);
	watch->number = beat->number;
	watch->ahead = 0;
	watch->is_heard = true;
	watch->figures = beat->figures;
	health_hear(&watch->health, &view, &watch->figures);
	brakes_doubt_close(monitor, watch);
	watch->probe_ms = 0;
	if (monitor->due[cell->slot] > now_ms)
		monitor->due[cell->slot] = health_due_ms(&watch->health, &view);
	move(monitor, cell->slot, now_ms);
	return is_repeated ? BEAT_REPEATED : BEAT_GRANTED;
}

void monitor_answer(const struct monitor *monitor, const struct cell_record *cell, const struct beat *beat,
	enum monitor_verdict verdict, int64_t term, struct buffer *into)
{
	static const char *const errors[BEAT_VERDICTS] = {
		[BEAT_STALE] = "STALE_EPOCH", [BEAT_AHEAD] = "EPOCH_AHEAD", [BEAT_FOREIGN] = "NOT_A_MEMBER"};
	if (errors[verdict] != NULL)
		buffer_printf(into, "{\"err\":\"%s\",\"ep\":%lld}", errors[verdict], (long long)cell->epoch);
	else if (verdict != BEAT_OLD)
		buffer_printf(into, "{\"ep\":%lld,\"term\":%lld,\"ttl\":%llu,\"interval\":%llu,\"n\":%lld,\"mode\":\"%s\"%s}",
			(long long)cell->epoch, (long long)term, (unsigned long long)monitor_ttl_ms(monitor, cell),
			(unsigned long long)monitor_interval_ms(monitor, cell), (long long)beat->number, cell_mode_name(cell->mode),
			(monitor->set >> BRAKE_BEHIND & 1) != 0 ? ",\"hold\":true" : "");
}

/* NULL: it was heard in the meantime, or nothing is known of it. */
static struct watch *silent_at(struct monitor *monitor, uint32_t slot, uint64_t now_ms)
{
	struct health_rules rules;
	if (slot >= monitor->count || !monitor->watches[slot].is_watched)
		return NULL;
	struct watch *watch = &monitor->watches[slot];
	const struct health_view view = view_of(monitor, watch, &rules, now_ms);
	return health_wants_probe(&watch->health, &view) ? watch : NULL;
}

static void take_word(struct monitor *monitor, struct watch *watch, uint32_t slot, uint64_t now_ms)
{
	watch->health.reach = (uint8_t)doubt_reach(brakes_doubt(monitor, watch), now_ms);
	monitor->due[slot] = now_ms;
}

void monitor_probed(struct monitor *monitor, uint32_t slot, bool is_reached, uint64_t now_ms)
{
	struct watch *watch = silent_at(monitor, slot, now_ms);
	struct doubt *doubt = watch == NULL ? NULL : brakes_doubt(monitor, watch);
	if (doubt != NULL) {
		doubt_probed(doubt, is_reached, now_ms);
		take_word(monitor, watch, slot, now_ms);
	} else if (watch != NULL) {
		watch->health.reach = is_reached ? REACH_YES : REACH_NO;
		monitor->due[slot] = now_ms;
	}
}

void monitor_told_by_cell(
	struct monitor *monitor, uint32_t slot, uint32_t question, uint32_t by, bool is_alive, uint64_t now_ms)
{
	struct watch *watch = silent_at(monitor, slot, now_ms);
	struct doubt *doubt = watch == NULL ? NULL : brakes_doubt(monitor, watch);
	if (doubt != NULL && doubt_hear_cell(doubt, question, by, is_alive, now_ms))
		take_word(monitor, watch, slot, now_ms);
}

void monitor_told_by_replica(
	struct monitor *monitor, uint32_t slot, uint32_t question, uint64_t by, bool is_alive, uint64_t now_ms)
{
	struct watch *watch = silent_at(monitor, slot, now_ms);
	struct doubt *doubt = watch == NULL ? NULL : brakes_doubt(monitor, watch);
	if (doubt != NULL && doubt_hear_replica(doubt, question, by, is_alive, now_ms))
		take_word(monitor, watch, slot, now_ms);
}

enum health_reach monitor_view(const struct monitor *monitor, uint32_t slot, uint64_t now_ms)
{
	struct health_rules rules;
	if (slot >= monitor->count || !monitor->watches[slot].is_watched)
		return REACH_UNKNOWN;
	const struct watch *watch = &monitor->watches[slot];
	const struct health_view view = view_of(monitor, watch, &rules, now_ms);
	uint64_t bound_ms = rules.interval_ms * rules.suspect_pct / 100;
	if (watch->is_heard && now_ms - watch->health.heard_ms < bound_ms)
		return REACH_YES;
	bool is_blind = monitor->is_deaf || now_ms < monitor->local_until_ms;
	return is_blind || health_silence_ms(&watch->health, &view) < bound_ms ? REACH_UNKNOWN : REACH_NO;
}

void monitor_tick(struct monitor *monitor, uint64_t now_ms)
{
	if (now_ms - monitor->ticked_ms >= LATE_MS) { /* we were asleep: nobody else was silent in that time */
		monitor->trusted_ms = now_ms;
		monitor->local_until_ms = now_ms + LOCAL_MS;
	}
	monitor->ticked_ms = now_ms;
	for (uint32_t slot = 0; slot < monitor->count; slot++) {
		if (monitor->due[slot] <= now_ms)
			move(monitor, slot, now_ms);
	}
}

/* --- what it knows */

const struct health *monitor_health(const struct monitor *monitor, uint32_t slot)
{
	return slot < monitor->count && monitor->watches[slot].is_watched ? &monitor->watches[slot].health : NULL;
}

const struct beat_figures *monitor_figures(const struct monitor *monitor, uint32_t slot)
{
	return slot < monitor->count && monitor->watches[slot].is_heard ? &monitor->watches[slot].figures : NULL;
}

int64_t monitor_ahead(const struct monitor *monitor, uint32_t slot)
{
	return slot < monitor->count ? monitor->watches[slot].ahead : 0;
}

uint64_t monitor_age_ms(const struct monitor *monitor, uint32_t slot, uint64_t now_ms)
{
	if (slot >= monitor->count || !monitor->watches[slot].is_heard)
		return UINT64_MAX;
	return now_ms - monitor->watches[slot].health.heard_ms;
}

uint32_t monitor_census(const struct monitor *monitor, uint32_t by_health[CELL_FLAPPING + 1])
{
	uint32_t watched = 0;
	memset(by_health, 0, sizeof(by_health[0]) * (CELL_FLAPPING + 1));
	for (uint32_t i = 0; i < monitor->count; i++) {
		if (monitor->watches[i].is_watched) {
			by_health[monitor->watches[i].health.state]++;
			watched++;
		}
	}
	return watched;
}

size_t monitor_bytes_per_cell(void)
{
	return sizeof(struct watch) + sizeof(uint64_t);
}
