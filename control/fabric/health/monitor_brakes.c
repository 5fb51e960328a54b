/* The brakes: what the whole fabric looks like, and what others say of one cell, before anything follows from its
 * silence (control.md 2.5). */
#include <stdlib.h>

#include "control/fabric/health/monitor_private.h"

enum {
	MASS_PCT = 30,
	ZONE_PCT = 55,
	MASS_LEAST = 2, /* one cell is no mass */
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

/* --- zones and groups */

/* 0: none, or more than we tell apart. */
static uint16_t place_of(struct names *names, const char *name)
{
	if (name == NULL)
		return 0;
	for (uint32_t i = 1; i < names->count; i++) {
		if (strcmp(names->items[i], name) == 0)
			return (uint16_t)i;
	}
	char *copy = names->count == NAMES_MAX ? NULL : text_copy(text_of(name));
	if (copy == NULL)
		return 0;
	names->items[names->count] = copy;
	return (uint16_t)names->count++;
}

void brakes_place(struct monitor *monitor, struct watch *watch, const struct cell_record *cell)
{
	const struct cell_definition *definition = cell->definition;
	watch->zone = place_of(&monitor->zone_names, definition == NULL ? NULL : definition->zone);
	watch->group = place_of(&monitor->group_names, definition == NULL ? NULL : definition->failover_group);
}

static bool is_braked(const struct monitor *monitor, uint16_t zone)
{
	const struct zone *figures = &monitor->zones[zone];
	return zone != 0 && figures->down >= MASS_LEAST && figures->down * 100 >= figures->cells * ZONE_PCT;
}

void brakes_count(struct monitor *monitor, struct watch *watch, bool is_counted)
{
	struct zone *zone = &monitor->zones[watch->zone];
	enum cell_health state = (enum cell_health)watch->health.state;
	bool was_braked = is_braked(monitor, watch->zone);
	bool is_down = is_counted && (state == CELL_SUSPECT || state == CELL_ISOLATED || cell_health_is_gone(state));
	bool is_claimed = is_counted && state == CELL_FAILOVER_ELIGIBLE;
	monitor->cells += (uint32_t)is_counted - (uint32_t)watch->is_counted;
	zone->cells += (uint32_t)is_counted - (uint32_t)watch->is_counted;
	monitor->down += (uint32_t)is_down - (uint32_t)watch->is_down;
	zone->down += (uint32_t)is_down - (uint32_t)watch->is_down;
	monitor->eligible[watch->group] += (uint32_t)is_claimed - (uint32_t)watch->is_claimed;
	watch->is_counted = is_counted;
	watch->is_down = is_down;
	watch->is_claimed = is_claimed;
	monitor->zones_braked += (uint32_t)is_braked(monitor, watch->zone) - (uint32_t)was_braked;
}

/* --- doubts */

struct doubt *brakes_doubt(const struct monitor *monitor, const struct watch *watch)
{
	return watch->doubt == 0 ? NULL : monitor->doubts[watch->doubt - 1];
}

/* A free place; false: there is none. */
static bool find_place(struct monitor *monitor, uint32_t *place)
{
	for (*place = 0; *place < monitor->doubt_count; ++*place) {
		if (monitor->doubts[*place] == NULL)
			return true;
	}
	if (monitor->doubt_count == DOUBTS_MAX)
		return false;
	struct doubt **grown = realloc(monitor->doubts, (monitor->doubt_count + 1) * sizeof(struct doubt *));
	if (grown == NULL)
		return false;
	monitor->doubts = grown;
	monitor->doubts[monitor->doubt_count++] = NULL;
	return true;
}

struct doubt *brakes_doubt_open(struct monitor *monitor, uint32_t slot)
{
	struct watch *watch = &monitor->watches[slot];
	uint32_t place;
	if (watch->doubt != 0)
		return brakes_doubt(monitor, watch);
	struct doubt *doubt = calloc(1, sizeof(*doubt));
	if (doubt == NULL || !find_place(monitor, &place)) {
		free(doubt);
		return NULL;
	}
	doubt->slot = slot;
	monitor->doubts[place] = doubt;
	watch->doubt = (uint16_t)(place + 1);
	return doubt;
}

void brakes_doubt_close(struct monitor *monitor, struct watch *watch)
{
	if (watch->doubt == 0)
		return;
	free(monitor->doubts[watch->doubt - 1]);
	monitor->doubts[watch->doubt - 1] = NULL;
	watch->doubt = 0;
}

bool monitor_tally(const struct monitor *monitor, uint32_t slot, uint64_t now_ms, struct doubt_tally *tally)
{
	const struct doubt *doubt = slot < monitor->count ? brakes_doubt(monitor, &monitor->watches[slot]) : NULL;
	if (doubt != NULL)
		*tally = doubt_tally(doubt, now_ms);
	return doubt != NULL;
}

/* --- judgement */

unsigned monitor_brakes(const struct monitor *monitor, uint64_t now_ms)
{
	bool is_mass = monitor->down >= MASS_LEAST && monitor->down * 100 >= monitor->cells * MASS_PCT;
	return monitor->set | (unsigned)!monitor->leads << BRAKE_FOLLOWER |
		   (unsigned)monitor_is_grace(monitor, now_ms) << BRAKE_GRACE |
		   (unsigned)(monitor->is_deaf || now_ms < monitor->local_until_ms) << BRAKE_LOCAL |
		   (unsigned)is_mass << BRAKE_MASS | (unsigned)(monitor->zones_braked > 0) << BRAKE_ZONE;
}

/* Unreachable for long enough, and its lease surely over: only brakes may hold it. */
static bool is_ripe(const struct monitor *monitor, const struct watch *watch, uint64_t now_ms)
{
	const struct health *health = &watch->health;
	uint64_t lease_ms = MONITOR_INTERVALS_PER_LEASE * monitor_interval_of(monitor, watch->is_away) +
						(uint64_t)monitor->settings.margin_ms;
	uint64_t heard_ms = health->heard_ms > monitor->trusted_ms ? health->heard_ms : monitor->trusted_ms;
	bool is_long = health->state == CELL_FAILOVER_ELIGIBLE ||
				   now_ms - health->since_ms >= (uint64_t)monitor->settings.fail_over_ms;
	return monitor->leads && watch->is_watched && !watch->is_away && watch->ahead == 0 &&
		   cell_health_is_gone((enum cell_health)health->state) && now_ms > heard_ms + lease_ms && is_long;
}

/* Of a ripe one: its own brakes, as bits. Who is eligible already has passed GROUP and RATE. */
static unsigned own_brakes(const struct monitor *monitor, const struct watch *watch, uint64_t now_ms)
{
	const struct doubt *doubt = brakes_doubt(monitor, watch);
	bool is_agreed = doubt != NULL && doubt_is_agreed(doubt, now_ms);
	bool is_taken = !watch->is_claimed && monitor->eligible[watch->group] > 0;
	bool is_much = !watch->is_claimed && now_ms < monitor->rate_until_ms;
	return (unsigned)!is_agreed << BRAKE_AGREEMENT | (unsigned)is_taken << BRAKE_GROUP |
		   (unsigned)is_much << BRAKE_RATE;
}

static void note_held(struct monitor *monitor, struct watch *watch, unsigned brakes)
{
	for (unsigned brake = BRAKE_AGREEMENT; brake < BRAKE_COUNT && (brakes != 0 || watch->held != 0); brake++) {
		unsigned was_held = watch->held >> (brake - BRAKE_AGREEMENT) & 1;
		monitor->held[brake] += (brakes >> brake & 1) - was_held;
	}
	watch->held = (uint8_t)(brakes >> BRAKE_AGREEMENT);
}

bool brakes_judge(struct monitor *monitor, struct watch *watch, uint64_t now_ms)
{
	bool is_due = is_ripe(monitor, watch, now_ms);
	unsigned own = is_due ? own_brakes(monitor, watch, now_ms) : 0;
	note_held(monitor, watch, own);
	return is_due && own == 0 && monitor_brakes(monitor, now_ms) == 0;
}

void brakes_claim(struct monitor *monitor, const struct watch *watch, uint64_t now_ms)
{
	uint64_t vpas = monitor->events.vpas(monitor->context, (uint32_t)(watch - monitor->watches));
	monitor->rate_until_ms = now_ms + vpas * 1000 / (uint64_t)monitor->settings.fail_over_rate;
}

unsigned monitor_cell_brakes(const struct monitor *monitor, uint32_t slot, uint64_t now_ms)
{
	unsigned own = slot < monitor->count ? (unsigned)monitor->watches[slot].held << BRAKE_AGREEMENT : 0;
	return monitor_brakes(monitor, now_ms) | own;
}

uint32_t monitor_held(const struct monitor *monitor, enum monitor_brake brake)
{
	return monitor->held[brake];
}

bool monitor_may_fail_over(const struct monitor *monitor, uint32_t slot, uint64_t now_ms)
{
	if (slot >= monitor->count)
		return false;
	const struct watch *watch = &monitor->watches[slot];
	return watch->health.state == CELL_FAILOVER_ELIGIBLE && is_ripe(monitor, watch, now_ms) &&
		   own_brakes(monitor, watch, now_ms) == 0 && monitor_brakes(monitor, now_ms) == 0;
}

/* --- the end */

void brakes_forget(struct monitor *monitor, struct watch *watch)
{
	note_held(monitor, watch, 0);
	brakes_doubt_close(monitor, watch);
}

void brakes_free(struct monitor *monitor)
{
	for (uint32_t i = 0; i < NAMES_MAX; i++) {
		free(monitor->zone_names.items[i]);
		free(monitor->group_names.items[i]);
	}
	for (uint32_t i = 0; i < monitor->doubt_count; i++)
		free(monitor->doubts[i]);
	free(monitor->doubts);
}
