/* A fleet in virtual time: cells with the cell's own rhythm of heartbeats, a network that loses messages, and the
 * fabric's own monitor. Deterministic by its seed. For tests of health and bench/fleet.c. */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "control/cell/pulse.h"
#include "control/fabric/health/monitor.h"

enum { FLEET_STEP_MS = 100 };

struct fleet_weather {
	unsigned loss_pct;       /* of messages, each way */
	uint64_t pause_every_ms; /* a cell sleeps once in so long, on average; 0: never */
	uint64_t pause_ms;
	uint64_t fabric_pause_every_ms, fabric_restart_every_ms; /* 0: never */
};

struct fleet_cell {
	struct cell_record record;
	struct cell_definition definition;
	char group[20]; /* of its own: a test may give several the same */
	struct pulse pulse;
	uint64_t paused_until_ms, next_pause_ms;
	bool is_dead, is_cut; /* cut: what it sends is lost; its ingress can be reached */
	uint32_t vpas;
	bool is_far; /* its ingress cannot be reached from the fabric, but from other cells */
};

struct fleet_counts {
	uint64_t beats, falls, suspects, unreachables, isolated, flaps, recoveries;
	uint64_t eligibles, last_suspect_ms, last_unreachable_ms, last_eligible_ms;
};

struct fleet {
	uint32_t count;
	struct fleet_cell *cells;
	uint64_t *wake; /* by cell */
	struct monitor *monitor;
	struct monitor_settings settings;
	struct fleet_weather weather;
	struct fleet_counts counts;
	uint64_t now_ms, fabric_paused_until_ms, random;
	bool is_frozen;            /* the fabric's process does not run */
	unsigned replicas;         /* others, which hear whoever beats, cut or not */
	bool are_cells_mute;       /* no cell answers questions */
	uint64_t questions, asked; /* how many there were, and how many cells they went to */
};

static inline uint64_t fleet_random(struct fleet *fleet)
{
	fleet->random ^= fleet->random << 13;
	fleet->random ^= fleet->random >> 7;
	fleet->random ^= fleet->random << 17;
	return fleet->random;
}

static inline bool fleet_chance(struct fleet *fleet, uint64_t one_in)
{
	return one_in != 0 && fleet_random(fleet) % one_in == 0;
}

static inline bool fleet_loses(struct fleet *fleet)
{
	return fleet_random(fleet) % 100 < fleet->weather.loss_pct;
}

static inline void fleet_changed(
	void *context, uint32_t slot, enum cell_health from, enum cell_health to, const char *why)
{
	struct fleet *fleet = context;
	(void)why;
	fleet->cells[slot].record.health = to;
	if (to == CELL_SUSPECT) {
		fleet->counts.suspects++;
		fleet->counts.last_suspect_ms = fleet->now_ms;
	} else if (to == CELL_UNREACHABLE && from != CELL_FAILOVER_ELIGIBLE) {
		fleet->counts.unreachables++;
		fleet->counts.last_unreachable_ms = fleet->now_ms;
	}
	if (to == CELL_FAILOVER_ELIGIBLE) {
		fleet->counts.eligibles++;
		fleet->counts.last_eligible_ms = fleet->now_ms;
	}
	fleet->counts.isolated += to == CELL_ISOLATED;
	fleet->counts.flaps += to == CELL_FLAPPING;
	fleet->counts.recoveries += to == CELL_HEALTHY;
	monitor_update(fleet->monitor, slot, &fleet->cells[slot].record, fleet->now_ms);
}

static inline bool fleet_lives(const struct fleet *fleet, const struct fleet_cell *cell)
{
	return !cell->is_dead && cell->paused_until_ms <= fleet->now_ms;
}

/* What another cell finds at the silent one's ingress; its answer may be lost, and the question. */
static inline void fleet_ask_cell(
	struct fleet *fleet, uint32_t slot, const struct monitor_question *question, uint32_t by)
{
	const struct fleet_cell *cell = &fleet->cells[slot], *asked = &fleet->cells[by];
	if (fleet->are_cells_mute || asked->is_cut || !fleet_lives(fleet, asked) || fleet_loses(fleet) ||
		fleet_loses(fleet))
		return;
	bool is_alive = fleet_lives(fleet, cell) && !fleet_loses(fleet);
	monitor_told_by_cell(fleet->monitor, slot, question->number, by, is_alive, fleet->now_ms);
}

static inline void fleet_probe(void *context, uint32_t slot, const struct monitor_question *question)
{
	struct fleet *fleet = context;
	const struct fleet_cell *cell = &fleet->cells[slot];
	bool is_reached = fleet_lives(fleet, cell) && !cell->is_far && !fleet_loses(fleet);
	fleet->questions++;
	fleet->asked += question->count;
	monitor_probed(fleet->monitor, slot, is_reached, fleet->now_ms);
	for (unsigned i = 0; i < question->count; i++)
		fleet_ask_cell(fleet, slot, question, question->cells[i]);
	for (unsigned i = 0; i < fleet->replicas; i++) {
		if (!fleet_loses(fleet))
			monitor_told_by_replica(
				fleet->monitor, slot, question->number, i + 1, fleet_lives(fleet, cell), fleet->now_ms);
	}
}

static inline uint64_t fleet_vpas(void *context, uint32_t slot)
{
	return ((const struct fleet *)context)->cells[slot].vpas;
}

/* The fabric's process begins: what it knows are the records. */
static inline bool fleet_start_fabric(struct fleet *fleet)
{
	static const struct monitor_events events = {fleet_changed, fleet_probe, fleet_vpas};
	monitor_free(fleet->monitor);
	fleet->monitor = NULL;
	if (monitor_open(&fleet->settings, &events, fleet, fleet->now_ms, &fleet->monitor) != STATUS_OK)
		return false;
	for (uint32_t i = 0; i < fleet->count; i++)
		monitor_update(fleet->monitor, i, &fleet->cells[i].record, fleet->now_ms);
	monitor_lead(fleet->monitor, true, fleet->now_ms);
	return true;
}

static inline bool fleet_open(struct fleet *fleet, uint32_t count, uint64_t seed, const struct fleet_weather *weather)
{
	static char id[] = "cell", incarnation[] = "0123456789abcdef0123456789abcdef";
	*fleet = (struct fleet){.count = count,
		.weather = *weather,
		.random = seed * 2654435761u + 88172645463325252u,
		.now_ms = 1000000,
		.settings = {.interval_ms = 2000,
			.away_interval_ms = 10000,
			.grace_ms = 60000,
			.margin_ms = 1000,
			.fail_over_ms = 20000,
			.fail_over_rate = 100}};
	fleet->cells = calloc(count, sizeof(*fleet->cells));
	fleet->wake = calloc(count, sizeof(*fleet->wake));
	if (fleet->cells == NULL || fleet->wake == NULL)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		fleet->cells[i].record = (struct cell_record){.id = id,
			.external_id = id,
			.incarnation = incarnation,
			.epoch = 1,
			.mode = CELL_READY,
			.health = CELL_HEALTHY,
			.slot = i,
			.definition = &fleet->cells[i].definition};
		snprintf(fleet->cells[i].group, sizeof(fleet->cells[i].group), "group-%u", i);
		fleet->cells[i].definition.failover_group = fleet->cells[i].group;
		pulse_start(
			&fleet->cells[i].pulse, 2000, 10000, 1000, fleet->now_ms, fleet->now_ms + fleet_random(fleet) % 2000);
		fleet->wake[i] = fleet->cells[i].pulse.next_ms;
		if (weather->pause_every_ms != 0)
			fleet->cells[i].next_pause_ms = fleet->now_ms + fleet_random(fleet) % (2 * weather->pause_every_ms);
	}
	return fleet_start_fabric(fleet);
}

static inline void fleet_close(struct fleet *fleet)
{
	monitor_free(fleet->monitor);
	free(fleet->cells);
	free(fleet->wake);
}

/* One cell's turn at its own time. */
static inline void fleet_turn(struct fleet *fleet, uint32_t i, uint64_t now_ms)
{
	struct fleet_cell *cell = &fleet->cells[i];
	struct beat beat = {.epoch = 1, .incarnation = "0123456789abcdef0123456789abcdef"};
	if (fleet->weather.pause_every_ms != 0 && now_ms >= cell->next_pause_ms) {
		cell->paused_until_ms = now_ms + fleet->weather.pause_ms;
		cell->next_pause_ms = now_ms + 1 + fleet_random(fleet) % (2 * fleet->weather.pause_every_ms);
		fleet->wake[i] = cell->paused_until_ms;
		return;
	}
	bool beats = pulse_beats(&cell->pulse, now_ms, (uint32_t)fleet_random(fleet));
	fleet->wake[i] = pulse_due_ms(&cell->pulse);
	if (!beats || cell->is_cut || fleet->is_frozen || fleet_loses(fleet))
		return;
	beat.number = cell->pulse.number;
	beat.figures.state = pulse_has_lapsed(&cell->pulse, now_ms) ? BEAT_STATE_FENCED : BEAT_STATE_OK;
	fleet->counts.beats++;
	enum monitor_verdict verdict = monitor_beat(fleet->monitor, &cell->record, &beat, now_ms);
	if ((verdict == BEAT_GRANTED || verdict == BEAT_REPEATED) && !fleet_loses(fleet))
		pulse_answered(&cell->pulse, beat.number, monitor_ttl_ms(fleet->monitor, &cell->record));
	fleet->wake[i] = pulse_due_ms(&cell->pulse);
}

static inline bool fleet_run(struct fleet *fleet, uint64_t duration_ms)
{
	for (uint64_t end = fleet->now_ms + duration_ms; fleet->now_ms < end;) {
		uint64_t step = fleet->now_ms += FLEET_STEP_MS;
		if (fleet_chance(fleet, fleet->weather.fabric_pause_every_ms / FLEET_STEP_MS))
			fleet->fabric_paused_until_ms = step + fleet->weather.pause_ms;
		fleet->is_frozen = step < fleet->fabric_paused_until_ms;
		if (fleet_chance(fleet, fleet->weather.fabric_restart_every_ms / FLEET_STEP_MS) && !fleet_start_fabric(fleet))
			return false;
		for (uint32_t i = 0; i < fleet->count; i++) {
			if (fleet->wake[i] <= step && !fleet->cells[i].is_dead)
				fleet_turn(fleet, i, fleet->wake[i] > step - FLEET_STEP_MS ? fleet->wake[i] : step);
		}
		if (!fleet->is_frozen)
			monitor_tick(fleet->monitor, step);
	}
	return true;
}

static inline void fleet_kill(struct fleet *fleet, uint32_t i)
{
	fleet->cells[i].is_dead = true;
}

static inline void fleet_revive(struct fleet *fleet, uint32_t i)
{
	fleet->cells[i].is_dead = false;
	fleet->wake[i] = fleet->now_ms;
}
