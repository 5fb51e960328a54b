/* The fleet: one hot record a cell, a list of when each is due, and the brakes. */
#include "control/fabric/health/monitor.h"

#include <stdlib.h>

enum {
	BEATS_MS = 100,  /* one beat in so long, ... */
	BURST_MS = 2000, /* ... and so much of it at once */
	LATE_MS = 1000,
	LOCAL_MS = 10000, /* the brake after we were late or deaf */
	MASS_PCT = 30,
	ZONE_PCT = 55,
	MASS_LEAST = 2, /* one cell is no mass */
	PROBE_MS = 2000,
	PROBE_LONG_MS = 10000,
	CELLS_PER_SECOND = 5000,
	INTERVALS_PER_LEASE = 5,
	ZONES_MAX = 1024,
};

struct watch {
	struct health health;
	struct beat_figures figures;
	int64_t epoch, number; /* of the last heartbeat; number -1: none of this epoch */
	int64_t ahead;         /* the epoch it has and we never gave; 0: it has ours */
	uint64_t allowed_ms, probe_ms;
	uint16_t zone;
	bool is_watched, is_heard, is_away; /* away: its connectivity is intermittent */
	bool is_counted, is_down;           /* in the figures of the brakes */
};

struct zone {
	char *name;
	uint32_t cells, down;
};

struct monitor {
	struct monitor_settings settings;
	struct monitor_events events;
	void *context;
	struct watch *watches;
	uint64_t *due; /* by slot; UINT64_MAX: never */
	uint32_t count, room;
	struct zone zones[ZONES_MAX]; /* the first: of cells that name none, which no brake watches */
	uint32_t zone_count, zones_braked;
	uint32_t cells, down;
	uint64_t ticked_ms, trusted_ms, grace_until_ms, local_until_ms;
	unsigned set; /* brakes, as bits */
	bool leads, is_deaf;
};

const char *monitor_brake_text(enum monitor_brake brake)
{
	static const char *const texts[] = {
#define BRAKE_TEXT(name, word, text) text,
		MONITOR_BRAKE_LIST(BRAKE_TEXT)
#undef BRAKE_TEXT
	};
	return texts[brake];
}

const char *monitor_brake_name(enum monitor_brake brake)
{
	static const char *const names[] = {
#define BRAKE_NAME(name, word, text) word,
		MONITOR_BRAKE_LIST(BRAKE_NAME)
#undef BRAKE_NAME
	};
	return names[brake];
}

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
	made->zone_count = 1;
	*monitor = made;
	return STATUS_OK;
}

void monitor_free(struct monitor *monitor)
{
	if (monitor == NULL)
		return;
	for (uint32_t i = 0; i < monitor->zone_count; i++)
		free(monitor->zones[i].name);
	free(monitor->watches);
	free(monitor->due);
	free(monitor);
}

/* --- the rules of a cell */

static uint64_t interval_of(const struct monitor *monitor, bool is_away)
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
	return interval_of(monitor, is_away(cell));
}

uint64_t monitor_ttl_ms(const struct monitor *monitor, const struct cell_record *cell)
{
	return INTERVALS_PER_LEASE * monitor_interval_ms(monitor, cell);
}

static bool is_grace(const struct monitor *monitor, uint64_t now_ms)
{
	return now_ms < monitor->grace_until_ms;
}

/* `rules` is room for what the view points to. */
static struct health_view view_of(
	const struct monitor *monitor, const struct watch *watch, struct health_rules *rules, uint64_t now_ms)
{
	*rules = health_usual_rules;
	rules->interval_ms = interval_of(monitor, watch->is_away);
	return (struct health_view){.rules = rules,
		.now_ms = now_ms,
		.trusted_ms = monitor->is_deaf ? now_ms : monitor->trusted_ms,
		.is_grace = is_grace(monitor, now_ms)};
}

/* --- the brakes' figures */

static bool is_zone_braked(const struct zone *zone)
{
	return zone->name != NULL && zone->down >= MASS_LEAST && zone->down * 100 >= zone->cells * ZONE_PCT;
}

/* Adds or takes away what this cell is in the figures. */
static void figure(struct monitor *monitor, struct watch *watch, bool is_counted)
{
	struct zone *zone = &monitor->zones[watch->zone];
	bool was_braked = is_zone_braked(zone);
	bool is_down = is_counted && (watch->health.state == CELL_SUSPECT || watch->health.state == CELL_UNREACHABLE ||
									 watch->health.state == CELL_ISOLATED);
	monitor->cells += (uint32_t)is_counted - (uint32_t)watch->is_counted;
	zone->cells += (uint32_t)is_counted - (uint32_t)watch->is_counted;
	monitor->down += (uint32_t)is_down - (uint32_t)watch->is_down;
	zone->down += (uint32_t)is_down - (uint32_t)watch->is_down;
	watch->is_counted = is_counted;
	watch->is_down = is_down;
	monitor->zones_braked += (uint32_t)is_zone_braked(zone) - (uint32_t)was_braked;
}

/* 0: none, or more zones than we tell apart. */
static uint16_t zone_of(struct monitor *monitor, const struct cell_record *cell)
{
	const char *name = cell->definition == NULL ? NULL : cell->definition->zone;
	if (name == NULL)
		return 0;
	for (uint32_t i = 1; i < monitor->zone_count; i++) {
		if (strcmp(monitor->zones[i].name, name) == 0)
			return (uint16_t)i;
	}
	char *copy = monitor->zone_count == ZONES_MAX ? NULL : text_copy(text_of(name));
	if (copy == NULL)
		return 0;
	monitor->zones[monitor->zone_count].name = copy;
	return (uint16_t)monitor->zone_count++;
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
	figure(monitor, watch, false);
	if (cell != NULL) {
		watch->zone = zone_of(monitor, cell);
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
	figure(monitor, watch, is_watched && !watch->is_away);
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

static void move(struct monitor *monitor, uint32_t slot, uint64_t now_ms)
{
	struct watch *watch = &monitor->watches[slot];
	struct health_rules rules;
	const struct health_view view = view_of(monitor, watch, &rules, now_ms);
	const char *why;
	enum cell_health from = (enum cell_health)watch->health.state;
	/* a follower keeps the books, and leaves the judgement to the leader */
	while (monitor->leads && health_step(&watch->health, &view, &why)) {
		enum cell_health to = (enum cell_health)watch->health.state;
		figure(monitor, watch, watch->is_counted);
		monitor->events.changed(monitor->context, slot, from, to, why);
		from = to;
	}
	if (monitor->leads && health_wants_probe(&watch->health, &view) && now_ms >= watch->probe_ms) {
		bool is_known = watch->health.state != CELL_SUSPECT;
		watch->probe_ms = now_ms + (is_known ? PROBE_LONG_MS : PROBE_MS);
		monitor->events.probe(monitor->context, slot);
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
		buffer_printf(into, "{\"ep\":%lld,\"term\":%lld,\"ttl\":%llu,\"interval\":%llu,\"n\":%lld,\"mode\":\"%s\"}",
			(long long)cell->epoch, (long long)term, (unsigned long long)monitor_ttl_ms(monitor, cell),
			(unsigned long long)monitor_interval_ms(monitor, cell), (long long)beat->number,
			cell_mode_name(cell->mode));
}

void monitor_probed(struct monitor *monitor, uint32_t slot, bool is_reached, uint64_t now_ms)
{
	struct health_rules rules;
	if (slot >= monitor->count || !monitor->watches[slot].is_watched)
		return;
	struct watch *watch = &monitor->watches[slot];
	const struct health_view view = view_of(monitor, watch, &rules, now_ms);
	if (!health_wants_probe(&watch->health, &view))
		return; /* heard in the meantime */
	watch->health.reach = is_reached ? REACH_YES : REACH_NO;
	monitor->due[slot] = now_ms;
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

unsigned monitor_brakes(const struct monitor *monitor, uint64_t now_ms)
{
	bool is_mass = monitor->down >= MASS_LEAST && monitor->down * 100 >= monitor->cells * MASS_PCT;
	return monitor->set | (unsigned)!monitor->leads << BRAKE_FOLLOWER |
		   (unsigned)is_grace(monitor, now_ms) << BRAKE_GRACE |
		   (unsigned)(monitor->is_deaf || now_ms < monitor->local_until_ms) << BRAKE_LOCAL |
		   (unsigned)is_mass << BRAKE_MASS | (unsigned)(monitor->zones_braked > 0) << BRAKE_ZONE;
}

bool monitor_may_fail_over(const struct monitor *monitor, uint32_t slot, uint64_t now_ms)
{
	if (monitor_brakes(monitor, now_ms) != 0 || slot >= monitor->count)
		return false;
	const struct watch *watch = &monitor->watches[slot];
	uint64_t lease = INTERVALS_PER_LEASE * interval_of(monitor, watch->is_away) + (uint64_t)monitor->settings.margin_ms;
	uint64_t heard = watch->health.heard_ms > monitor->trusted_ms ? watch->health.heard_ms : monitor->trusted_ms;
	return watch->is_watched && !watch->is_away && watch->ahead == 0 && watch->health.state == CELL_UNREACHABLE &&
		   now_ms > heard + lease && now_ms - watch->health.since_ms >= (uint64_t)monitor->settings.fail_over_ms;
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
