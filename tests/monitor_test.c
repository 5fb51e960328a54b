/* Health: its table, the brakes, and a fleet in virtual time (control.md 2.5, F10, F11, F12, F49). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fleet_simulator.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MINUTE 60000u
static const struct fleet_weather calm = {0};

static enum cell_health health_of(const struct fleet *fleet, uint32_t slot)
{
	return (enum cell_health)monitor_health(fleet->monitor, slot)->state;
}

/* --- the table, one cell by hand */

static struct health_view view_at(uint64_t now_ms)
{
	return (struct health_view){.rules = &health_usual_rules, .now_ms = now_ms};
}

static void settle(struct health *health, uint64_t now_ms)
{
	const struct health_view view = view_at(now_ms);
	const char *why;
	while (health_step(health, &view, &why))
		;
}

static void hear(struct health *health, uint64_t now_ms, const struct beat_figures *figures)
{
	const struct health_view view = view_at(now_ms);
	health_hear(health, &view, figures);
	settle(health, now_ms);
}

static uint64_t hear_many(struct health *health, uint64_t now_ms, unsigned count, const struct beat_figures *figures)
{
	for (unsigned i = 0; i < count; i++, now_ms += 2000)
		hear(health, now_ms, figures);
	return now_ms - 2000;
}

static const struct beat_figures fine = {.ready = {1, 1}, .desired = {1, 1}};

static void three_beats_make_a_new_cell_healthy(void **state)
{
	struct health health = {.state = CELL_UNKNOWN};
	(void)state;
	hear_many(&health, 1000, 2, &fine);
	assert_int_equal(health.state, CELL_UNKNOWN);
	hear(&health, 5100, &fine); /* not counted twice within half an interval */
	hear(&health, 5150, &fine);
	assert_int_equal(health.state, CELL_HEALTHY);
}

static void each_fault_degrades_and_is_left_with_hysteresis(void **state)
{
	static const struct {
		struct beat_figures figures;
		unsigned beats;
		enum health_fault fault;
	} cases[] = {
		{{.ready = {1, 0}, .desired = {1, 1}}, 1, FAULT_COMPONENT},
		{{.ready = {4, 49}, .desired = {4, 100}}, 1, FAULT_COMPONENT},
		{{.ready = {1}, .desired = {1}, .errors_ppm = {0, 20001}}, 1, FAULT_ERRORS},
		{{.store_state = {[BEAT_DATABASE] = BEAT_STORE_DOWN}}, 1, FAULT_DATABASE},
		{{.store_us = {[BEAT_DATABASE] = 50001}}, 3, FAULT_DATABASE},
		{{.store_state = {[BEAT_VAULT] = BEAT_STORE_SEALED}}, 1, FAULT_VAULT},
		{{.store_state = {[BEAT_VAULT] = BEAT_STORE_STANDBY}}, 1, FAULT_VAULT},
		{{.cpu = 91}, 31, FAULT_LOAD},
		{{.state = BEAT_STATE_DEGRADED}, 1, FAULT_SAID},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct health health = {.state = CELL_UNKNOWN};
		uint64_t now = hear_many(&health, 1000, 5, &fine) + 2000;
		assert_int_equal(health.state, CELL_HEALTHY);
		if (cases[i].beats > 1)
			now = hear_many(&health, now, cases[i].beats - 1, &cases[i].figures) + 2000;
		assert_int_equal(health.state, CELL_HEALTHY);
		hear(&health, now, &cases[i].figures);
		assert_int_equal(health.state, CELL_DEGRADED);
		assert_int_equal(health.faults, 1u << cases[i].fault);
		hear_many(&health, now + 2000, 59, &fine);
		assert_int_equal(health.state, CELL_DEGRADED); /* 118 s */
		hear(&health, now + 120000, &fine);
		assert_int_equal(health.state, CELL_HEALTHY);
	}
}

static void above_half_of_a_limit_is_not_well_again(void **state)
{
	static const struct beat_figures failing = {.errors_ppm = {30000}}, half = {.errors_ppm = {10001}};
	struct health health = {.state = CELL_UNKNOWN};
	(void)state;
	uint64_t now = hear_many(&health, 1000, 5, &fine) + 2000;
	hear(&health, now, &failing);
	now = hear_many(&health, now + 2000, 100, &half);
	assert_int_equal(health.state, CELL_DEGRADED);
	now = hear_many(&health, now + 2000, 60, &fine);
	assert_int_equal(health.state, CELL_HEALTHY);
}

static void a_long_absence_needs_ten_beats_over_twenty_seconds(void **state)
{
	struct health health = {.state = CELL_UNREACHABLE};
	(void)state;
	uint64_t now = hear_many(&health, 100000, 10, &fine);
	assert_int_equal(health.state, CELL_UNREACHABLE); /* 18 s */
	hear(&health, now + 2000, &fine);
	assert_int_equal(health.state, CELL_HEALTHY);
}

static void a_gap_begins_the_row_anew(void **state)
{
	struct health health = {.state = CELL_SUSPECT};
	(void)state;
	uint64_t now = hear_many(&health, 100000, 2, &fine);
	hear(&health, now + 4800, &fine);
	assert_int_equal(health.state, CELL_SUSPECT);
	hear_many(&health, now + 6800, 2, &fine);
	assert_int_equal(health.state, CELL_HEALTHY);
}

/* --- the fleet */

/* F1: from the last heartbeat. */
static void a_killed_cell_is_suspect_within_5_s_and_unreachable_within_12(void **state)
{
	uint64_t worst_suspect = 0, worst_unreachable = 0;
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 200, 7, &(struct fleet_weather){.loss_pct = 5}));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	for (uint32_t i = 0; i < 200; i++) {
		fleet_run(&fleet, fleet_random(&fleet) % 2000);
		fleet_kill(&fleet, i);
		uint64_t killed = fleet.now_ms;
		fleet_run(&fleet, 13000);
		assert_int_equal(health_of(&fleet, i), CELL_UNREACHABLE);
		uint64_t suspect = fleet.counts.last_suspect_ms - killed;
		uint64_t unreachable = fleet.counts.last_unreachable_ms - killed;
		worst_suspect = suspect > worst_suspect ? suspect : worst_suspect;
		worst_unreachable = unreachable > worst_unreachable ? unreachable : worst_unreachable;
		fleet_revive(&fleet, i);
	}
	assert_in_range(worst_suspect, 2500, 5000);
	assert_in_range(worst_unreachable, 7500, 12000);
	fleet_close(&fleet);
}

static void a_short_pause_is_no_alarm(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 50, 3,
		&(struct fleet_weather){.loss_pct = 5,
			.pause_every_ms = 5 * MINUTE,
			.pause_ms = 2000,
			.fabric_pause_every_ms = 10 * MINUTE,
			.fabric_restart_every_ms = 120 * MINUTE}));
	assert_true(fleet_run(&fleet, 20 * 60 * MINUTE)); /* 1,000 cell-hours */
	assert_in_range(fleet.counts.beats, 1700000, 2300000);
	assert_int_equal(fleet.counts.unreachables + fleet.counts.isolated + fleet.counts.flaps, 0);
	fleet_close(&fleet);
}

/* The test above must be able to fail: a pause that is too long is seen. */
static void a_long_pause_is_seen(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 50, 3, &(struct fleet_weather){.pause_every_ms = 30 * MINUTE, .pause_ms = 15000}));
	assert_true(fleet_run(&fleet, 120 * MINUTE));
	assert_true(fleet.counts.unreachables > 50);
	fleet_close(&fleet);
}

/* F10 */
static void half_of_the_cells_at_once_is_a_brake(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 1000, 11, &calm));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	assert_int_equal(monitor_brakes(fleet.monitor, fleet.now_ms), 0);
	for (uint32_t i = 0; i < 500; i++)
		fleet_kill(&fleet, i);
	for (int second = 0; second < 120; second++) {
		assert_true(fleet_run(&fleet, 1000));
		for (uint32_t i = 0; i < 1000; i++)
			assert_false(monitor_may_fail_over(fleet.monitor, i, fleet.now_ms));
	}
	assert_int_equal(monitor_brakes(fleet.monitor, fleet.now_ms), 1u << BRAKE_MASS);
	uint32_t by_health[CELL_FLAPPING + 1];
	assert_int_equal(monitor_census(fleet.monitor, by_health), 1000);
	assert_int_equal(by_health[CELL_UNREACHABLE], 500);
	assert_int_equal(by_health[CELL_FAILOVER_ELIGIBLE], 0);
	assert_int_equal(by_health[CELL_HEALTHY], 500);
	for (uint32_t i = 0; i < 480; i++)
		fleet_revive(&fleet, i);
	assert_true(fleet_run(&fleet, MINUTE));
	assert_int_equal(monitor_brakes(fleet.monitor, fleet.now_ms), 0);
	assert_true(monitor_may_fail_over(fleet.monitor, 499, fleet.now_ms));
	fleet_close(&fleet);
}

/* control.md 2.5 f, F24: fail-over waits for the operator, and states are said as they are. */
static void what_others_know_is_a_brake(void **state)
{
	static const enum monitor_brake brakes[] = {BRAKE_FREEZE, BRAKE_BEHIND};
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 100, 11, &calm));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	fleet_kill(&fleet, 0);
	assert_true(fleet_run(&fleet, MINUTE));
	assert_true(monitor_may_fail_over(fleet.monitor, 0, fleet.now_ms));
	for (size_t i = 0; i < COUNT(brakes); i++) {
		monitor_brake_set(fleet.monitor, brakes[i], true);
		assert_int_equal(monitor_brakes(fleet.monitor, fleet.now_ms), 1u << brakes[i]);
		assert_false(monitor_may_fail_over(fleet.monitor, 0, fleet.now_ms));
		uint32_t other = (uint32_t)i + 1;
		fleet_kill(&fleet, other);
		assert_true(fleet_run(&fleet, 13000));
		assert_int_equal(health_of(&fleet, other), CELL_UNREACHABLE);
		assert_int_equal(health_of(&fleet, 0), CELL_UNREACHABLE); /* what was eligible is no more */
		fleet_revive(&fleet, other);
		monitor_brake_set(fleet.monitor, brakes[i], false);
		assert_int_equal(monitor_brakes(fleet.monitor, fleet.now_ms), 0);
		assert_false(monitor_may_fail_over(fleet.monitor, 0, fleet.now_ms)); /* its time begins anew */
		assert_true(fleet_run(&fleet, MINUTE));
		assert_true(monitor_may_fail_over(fleet.monitor, 0, fleet.now_ms));
	}
	fleet_close(&fleet);
}

static void most_of_a_zone_is_a_brake(void **state)
{
	static char zones[][3] = {"a", "b"};
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 40, 11, &calm));
	for (uint32_t i = 0; i < 40; i++)
		fleet.cells[i].definition.zone = zones[i < 10];
	assert_true(fleet_start_fabric(&fleet));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	for (uint32_t i = 0; i < 5; i++)
		fleet_kill(&fleet, i);
	assert_true(fleet_run(&fleet, MINUTE));
	assert_int_equal(monitor_brakes(fleet.monitor, fleet.now_ms), 0);
	assert_true(monitor_may_fail_over(fleet.monitor, 0, fleet.now_ms));
	fleet_kill(&fleet, 5);
	assert_true(fleet_run(&fleet, MINUTE));
	assert_int_equal(monitor_brakes(fleet.monitor, fleet.now_ms), 1u << BRAKE_ZONE);
	assert_false(monitor_may_fail_over(fleet.monitor, 0, fleet.now_ms));
	fleet_close(&fleet);
}

/* --- brakes of one cell (control.md 2.5 c, e) */

static void it_is_eligible_when_somebody_else_agrees(void **state)
{
	static const struct {
		const char *what;
		unsigned replicas;
		bool are_cells_mute, is_eligible;
	} cases[] = {
		{"one replica alone", 0, true, false},
		{"another cell", 0, false, true},
		{"another replica", 1, true, true},
		{"both", 2, false, true},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct fleet fleet;
		struct doubt_tally tally;
		assert_true(fleet_open(&fleet, 20, 3, &calm));
		fleet.replicas = cases[i].replicas;
		fleet.are_cells_mute = cases[i].are_cells_mute;
		assert_true(fleet_run(&fleet, 2 * MINUTE));
		assert_false(monitor_tally(fleet.monitor, 7, fleet.now_ms, &tally));
		fleet_kill(&fleet, 7);
		uint64_t killed_ms = fleet.now_ms;
		assert_true(fleet_run(&fleet, 2 * MINUTE));
		assert_int_equal(health_of(&fleet, 7), cases[i].is_eligible ? CELL_FAILOVER_ELIGIBLE : CELL_UNREACHABLE);
		assert_int_equal(monitor_may_fail_over(fleet.monitor, 7, fleet.now_ms), cases[i].is_eligible);
		assert_int_equal(
			monitor_cell_brakes(fleet.monitor, 7, fleet.now_ms), cases[i].is_eligible ? 0 : 1u << BRAKE_AGREEMENT);
		assert_int_equal(monitor_held(fleet.monitor, BRAKE_AGREEMENT), !cases[i].is_eligible);
		assert_int_equal(monitor_brakes(fleet.monitor, fleet.now_ms), 0); /* it holds this cell alone */
		assert_true(monitor_tally(fleet.monitor, 7, fleet.now_ms, &tally));
		assert_int_equal(tally.cells_asked, DOUBT_CELLS);
		assert_int_equal(tally.cells_silent, cases[i].are_cells_mute ? 0 : DOUBT_CELLS);
		assert_int_equal(tally.replicas_silent, cases[i].replicas);
		if (cases[i].is_eligible)
			assert_in_range(fleet.counts.last_eligible_ms - killed_ms, 28000, 34000);
		fleet.are_cells_mute = false;
		assert_true(fleet_run(&fleet, 15000));
		assert_int_equal(health_of(&fleet, 7), CELL_FAILOVER_ELIGIBLE);
		assert_int_equal(fleet.counts.eligibles, 1);
		fleet_close(&fleet);
	}
}

/* Neither heartbeats nor its ingress come through to us, and others reach it. */
static void who_is_reached_by_others_is_isolated(void **state)
{
	(void)state;
	for (unsigned replicas = 0; replicas < 2; replicas++) {
		struct fleet fleet;
		assert_true(fleet_open(&fleet, 20, 3, &calm));
		fleet.replicas = replicas;
		fleet.are_cells_mute = replicas > 0;
		assert_true(fleet_run(&fleet, 2 * MINUTE));
		fleet.cells[7].is_cut = fleet.cells[7].is_far = true;
		assert_true(fleet_run(&fleet, 10 * MINUTE));
		assert_int_equal(health_of(&fleet, 7), CELL_ISOLATED);
		assert_int_equal(fleet.counts.unreachables, 0);
		fleet_kill(&fleet, 7);
		assert_true(fleet_run(&fleet, 2 * MINUTE));
		assert_int_equal(health_of(&fleet, 7), CELL_FAILOVER_ELIGIBLE);
		fleet_close(&fleet);
	}
}

static void questions_are_few(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 1000, 3, &calm));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	assert_int_equal(fleet.questions, 0);
	fleet_kill(&fleet, 7);
	assert_true(fleet_run(&fleet, 10 * MINUTE));
	assert_in_range(fleet.questions, 60, 66); /* three while suspect, then one each 10 s */
	assert_int_equal(fleet.asked, DOUBT_CELLS * fleet.questions);
	fleet_revive(&fleet, 7);
	uint64_t before = fleet.questions;
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	assert_true(fleet.questions <= before + 1);
	assert_int_equal(health_of(&fleet, 7), CELL_HEALTHY);
	fleet_close(&fleet);
}

static void one_cell_of_a_group_at_a_time(void **state)
{
	static char shared[] = "eu-prod";
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 20, 3, &calm));
	for (uint32_t i = 0; i < 3; i++)
		fleet.cells[i].definition.failover_group = shared;
	assert_true(fleet_start_fabric(&fleet));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	for (uint32_t i = 0; i < 4; i++)
		fleet_kill(&fleet, i);
	for (uint32_t left = 3; left > 0; left--) {
		uint32_t eligible = UINT32_MAX, count = 0;
		assert_true(fleet_run(&fleet, 2 * MINUTE));
		for (uint32_t i = 0; i < 3; i++) {
			if (monitor_may_fail_over(fleet.monitor, i, fleet.now_ms)) {
				eligible = i;
				count++;
			} else if (fleet.cells[i].record.mode == CELL_READY) {
				assert_int_equal(health_of(&fleet, i), CELL_UNREACHABLE);
				assert_int_equal(monitor_cell_brakes(fleet.monitor, i, fleet.now_ms), 1u << BRAKE_GROUP);
			}
		}
		assert_int_equal(count, 1);
		assert_int_equal(monitor_held(fleet.monitor, BRAKE_GROUP), left - 1);
		assert_true(monitor_may_fail_over(fleet.monitor, 3, fleet.now_ms)); /* of another group */
		fleet.cells[eligible].record.mode = CELL_FENCED;                    /* it has been failed over */
		monitor_update(fleet.monitor, eligible, &fleet.cells[eligible].record, fleet.now_ms);
	}
	assert_int_equal(monitor_held(fleet.monitor, BRAKE_GROUP), 0);
	fleet_close(&fleet);
}

static void no_more_vpas_than_the_rate_allows(void **state)
{
	struct fleet fleet;
	uint64_t last_ms = 0;
	(void)state;
	assert_true(fleet_open(&fleet, 20, 3, &calm));
	for (uint32_t i = 0; i < 5; i++)
		fleet.cells[i].vpas = 1500; /* 15 s at 100 a second */
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	for (uint32_t i = 0; i < 5; i++)
		fleet_kill(&fleet, i);
	for (unsigned seen = 0; seen < 5;) {
		assert_true(fleet_run(&fleet, 100));
		assert_true(fleet.now_ms < 1000000 + 10 * MINUTE);
		if (fleet.counts.eligibles == seen)
			continue;
		assert_int_equal(fleet.counts.eligibles, ++seen);
		if (last_ms != 0)
			assert_in_range(fleet.now_ms - last_ms, 15000, 15500);
		last_ms = fleet.now_ms;
		assert_true(fleet_run(&fleet, 1000)); /* until all are due */
		if (seen < 5)
			assert_true(monitor_held(fleet.monitor, BRAKE_RATE) >= 1);
	}
	fleet_close(&fleet);
}

static void who_beats_again_is_not_eligible(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 20, 3, &calm));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	fleet_kill(&fleet, 7);
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	assert_true(monitor_may_fail_over(fleet.monitor, 7, fleet.now_ms));
	fleet_revive(&fleet, 7);
	assert_true(fleet_run(&fleet, 300));
	assert_false(monitor_may_fail_over(fleet.monitor, 7, fleet.now_ms));
	assert_int_equal(health_of(&fleet, 7), CELL_UNREACHABLE);
	assert_true(fleet_run(&fleet, MINUTE));
	assert_int_equal(health_of(&fleet, 7), CELL_HEALTHY);
	assert_true(fleet_start_fabric(&fleet)); /* the next leader takes nobody's word for it */
	fleet.cells[7].record.health = CELL_FAILOVER_ELIGIBLE;
	monitor_update(fleet.monitor, 7, &fleet.cells[7].record, fleet.now_ms);
	assert_false(monitor_may_fail_over(fleet.monitor, 7, fleet.now_ms));
	fleet_close(&fleet);
}

/* What a follower says when it is asked. */
static void what_a_replica_can_say(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 20, 3, &calm));
	monitor_lead(fleet.monitor, false, fleet.now_ms);
	assert_int_equal(monitor_view(fleet.monitor, 7, fleet.now_ms), REACH_UNKNOWN); /* it has only begun */
	assert_int_equal(monitor_view(fleet.monitor, 99, fleet.now_ms), REACH_UNKNOWN);
	assert_true(fleet_run(&fleet, MINUTE));
	assert_int_equal(monitor_view(fleet.monitor, 7, fleet.now_ms), REACH_YES);
	fleet_kill(&fleet, 7);
	assert_true(fleet_run(&fleet, 7000));
	assert_int_equal(monitor_view(fleet.monitor, 7, fleet.now_ms), REACH_NO);
	monitor_trust(fleet.monitor, false, fleet.now_ms);
	assert_int_equal(monitor_view(fleet.monitor, 7, fleet.now_ms), REACH_UNKNOWN); /* it hears nobody */
	fleet_close(&fleet);
}

/* F11 */
static void up_and_down_each_8_s_is_flapping(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 10, 5, &calm));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	for (int i = 0; i < 60; i++) {
		fleet_kill(&fleet, 4);
		assert_true(fleet_run(&fleet, 8000));
		fleet_revive(&fleet, 4);
		assert_true(fleet_run(&fleet, 8000));
	}
	assert_int_equal(health_of(&fleet, 4), CELL_FLAPPING);
	assert_int_equal(fleet.counts.flaps, 1);        /* no ping-pong: it went there once, */
	assert_in_range(fleet.counts.recoveries, 2, 2); /* after it had been back twice */
	assert_true(fleet_run(&fleet, 9 * MINUTE));
	assert_int_equal(health_of(&fleet, 4), CELL_FLAPPING);
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	assert_int_equal(health_of(&fleet, 4), CELL_HEALTHY);
	fleet_close(&fleet);
}

/* F12 */
static void a_fabric_that_slept_blames_itself(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 1000, 5, &calm));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	fleet.fabric_paused_until_ms = fleet.now_ms + 6000;
	assert_true(fleet_run(&fleet, 6500));
	assert_int_equal(monitor_brakes(fleet.monitor, fleet.now_ms), 1u << BRAKE_LOCAL);
	assert_true(fleet_run(&fleet, MINUTE));
	assert_int_equal(fleet.counts.suspects, 0);
	assert_int_equal(monitor_brakes(fleet.monitor, fleet.now_ms), 0);
	fleet_close(&fleet);
}

static void a_fabric_that_cannot_hear_blames_itself(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 20, 5, &calm));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	for (uint32_t i = 0; i < 20; i++)
		fleet.cells[i].is_cut = true;
	monitor_trust(fleet.monitor, false, fleet.now_ms);
	assert_true(fleet_run(&fleet, MINUTE));
	assert_int_equal(fleet.counts.suspects, 0);
	for (uint32_t i = 0; i < 20; i++)
		fleet.cells[i].is_cut = false;
	monitor_trust(fleet.monitor, true, fleet.now_ms);
	assert_true(fleet_run(&fleet, MINUTE));
	assert_int_equal(fleet.counts.suspects, 0);
	fleet_close(&fleet);
}

/* F3 */
static void a_cell_cut_from_the_broker_is_isolated(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 20, 5, &calm));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	fleet.cells[3].is_cut = true;
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	assert_int_equal(health_of(&fleet, 3), CELL_ISOLATED);
	assert_false(monitor_may_fail_over(fleet.monitor, 3, fleet.now_ms));
	fleet_kill(&fleet, 3);
	assert_true(fleet_run(&fleet, 15000));
	assert_int_equal(health_of(&fleet, 3), CELL_UNREACHABLE);
	fleet.cells[3].is_cut = false;
	fleet_revive(&fleet, 3);
	assert_true(fleet_run(&fleet, MINUTE));
	assert_int_equal(health_of(&fleet, 3), CELL_HEALTHY);
	fleet_close(&fleet);
}

/* F5: heartbeats arrive, answers do not. */
static void a_cell_whose_lease_has_ended_does_not_serve(void **state)
{
	static const struct beat_figures fenced = {.state = BEAT_STATE_FENCED};
	struct health health = {.state = CELL_UNKNOWN};
	(void)state;
	uint64_t now = hear_many(&health, 1000, 5, &fine);
	now = hear_many(&health, now + 2000, 30, &fenced);
	assert_int_equal(health.state, CELL_ISOLATED);
	now = hear_many(&health, now + 2000, 10, &fine);
	assert_int_equal(health.state, CELL_ISOLATED);
	hear(&health, now + 2000, &fine);
	assert_int_equal(health.state, CELL_HEALTHY);
}

/* F6: the next leader takes everybody as just heard. */
static void a_new_leader_has_grace(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 20, 5, &calm));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	fleet_kill(&fleet, 7);
	assert_true(fleet_start_fabric(&fleet));
	assert_true(fleet_run(&fleet, 59000));
	assert_int_equal(fleet.counts.suspects, 0);
	assert_int_equal(monitor_brakes(fleet.monitor, fleet.now_ms), 1u << BRAKE_GRACE);
	assert_true(fleet_run(&fleet, 10000));
	assert_int_equal(health_of(&fleet, 7), CELL_UNREACHABLE);
	fleet_close(&fleet);
}

static void a_follower_keeps_the_books_and_moves_nothing(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 20, 5, &calm));
	monitor_lead(fleet.monitor, false, fleet.now_ms);
	fleet_kill(&fleet, 7);
	assert_true(fleet_run(&fleet, 5 * MINUTE));
	assert_int_equal(fleet.counts.suspects, 0);
	assert_true(monitor_age_ms(fleet.monitor, 6, fleet.now_ms) < 3000);
	assert_true(monitor_brakes(fleet.monitor, fleet.now_ms) & 1u << BRAKE_FOLLOWER);
	fleet_close(&fleet);
}

/* F49 */
static void an_edge_cell_may_be_silent_for_days(void **state)
{
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 3, 5, &calm));
	fleet.cells[1].definition.is_intermittent = true;
	assert_true(fleet_start_fabric(&fleet));
	assert_true(fleet_run(&fleet, 2 * MINUTE));
	fleet_kill(&fleet, 1);
	assert_true(fleet_run(&fleet, 3 * 24 * 60 * MINUTE));
	assert_int_equal(health_of(&fleet, 1), CELL_UNREACHABLE);
	assert_false(monitor_may_fail_over(fleet.monitor, 1, fleet.now_ms));
	assert_int_equal(monitor_brakes(fleet.monitor, fleet.now_ms), 0);
	assert_int_equal(monitor_interval_ms(fleet.monitor, &fleet.cells[1].record), 10000);
	fleet_close(&fleet);
}

/* --- verdicts and limits */

static void who_may_beat(void **state)
{
	static const struct {
		int64_t epoch, number;
		const char *incarnation;
		enum monitor_verdict verdict;
	} cases[] = {
		{7, 5, "0123456789abcdef0123456789abcdef", BEAT_GRANTED},
		{7, 5, "0123456789abcdef0123456789abcdef", BEAT_REPEATED},
		{7, 4, "0123456789abcdef0123456789abcdef", BEAT_OLD},
		{7, 9, "0123456789abcdef0123456789abcdef", BEAT_GRANTED},
		{6, 10, "0123456789abcdef0123456789abcdef", BEAT_STALE},
		{7, 10, "f123456789abcdef0123456789abcdef", BEAT_STALE},
		{8, 10, "0123456789abcdef0123456789abcdef", BEAT_AHEAD},
	};
	struct fleet fleet;
	(void)state;
	assert_true(fleet_open(&fleet, 2, 5, &calm));
	fleet.cells[0].record.epoch = 7;
	assert_true(fleet_start_fabric(&fleet));
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct beat beat = {.epoch = cases[i].epoch, .number = cases[i].number};
		memcpy(beat.incarnation, cases[i].incarnation, ID_LENGTH);
		assert_int_equal(
			monitor_beat(fleet.monitor, &fleet.cells[0].record, &beat, fleet.now_ms + i), cases[i].verdict);
	}
	assert_int_equal(monitor_ahead(fleet.monitor, 0), 8); /* F24 */
	fleet.cells[0].record.epoch = 8;
	monitor_update(fleet.monitor, 0, &fleet.cells[0].record, fleet.now_ms);
	assert_int_equal(monitor_ahead(fleet.monitor, 0), 0);
	struct beat beat = {.epoch = 8, .number = 1, .incarnation = "0123456789abcdef0123456789abcdef"};
	assert_int_equal(monitor_beat(fleet.monitor, &fleet.cells[0].record, &beat, fleet.now_ms + 100), BEAT_GRANTED);
	fleet.cells[0].record.mode = CELL_FENCED;
	monitor_update(fleet.monitor, 0, &fleet.cells[0].record, fleet.now_ms);
	beat.number++;
	assert_int_equal(monitor_beat(fleet.monitor, &fleet.cells[0].record, &beat, fleet.now_ms + 200), BEAT_FOREIGN);
	fleet_close(&fleet);
}

/* F51 */
static void a_flood_is_cut_for_its_cell_alone(void **state)
{
	struct fleet fleet;
	unsigned admitted = 0;
	(void)state;
	assert_true(fleet_open(&fleet, 2, 5, &calm));
	for (uint64_t i = 0; i < 100000; i++) /* 100,000 in a second */
		admitted += monitor_admit(fleet.monitor, 0, fleet.now_ms + i / 100);
	assert_in_range(admitted, 20, 31);
	assert_true(monitor_admit(fleet.monitor, 1, fleet.now_ms + 1000));
	assert_false(monitor_admit(fleet.monitor, 9, fleet.now_ms));
	fleet_close(&fleet);
}

static void the_memory_of_a_cell(void **state)
{
	(void)state;
	assert_in_range(monitor_bytes_per_cell(), 1, 256);
}

/* --- the cell's rhythm */

/* F52: boot time went on while the machine slept. */
static void a_lease_ends_during_sleep(void **state)
{
	struct pulse pulse;
	(void)state;
	pulse_start(&pulse, 2000, 10000, 1000, 50000, 50100);
	assert_true(pulse_beats(&pulse, 50100, 0));
	assert_true(pulse_answered(&pulse, 1, 10000));
	assert_false(pulse_has_lapsed(&pulse, 50100 + 8994));
	assert_true(pulse_has_lapsed(&pulse, 50100 + 8995)); /* 10 s less 500 ppm, less the margin */
	assert_true(pulse_beats(&pulse, 950100, 0));
	assert_true(pulse_has_lapsed(&pulse, 950100));
	assert_false(pulse_answered(&pulse, 1, 10000)); /* of before */
	assert_true(pulse_answered(&pulse, 2, 10000));
	assert_false(pulse_has_lapsed(&pulse, 950200));
}

static void an_unanswered_beat_is_repeated_with_its_number(void **state)
{
	struct pulse pulse;
	unsigned sent = 0;
	(void)state;
	pulse_start(&pulse, 2000, 10000, 1000, 0, 0);
	for (uint64_t now = 0; now < 1800; now++) {
		if (pulse_beats(&pulse, now, 0)) {
			assert_int_equal(pulse.number, 1);
			sent++;
		}
	}
	assert_int_equal(sent, 6); /* 0, 300, ... 1,500 */
	assert_int_equal(pulse_due_ms(&pulse), 1800);
	assert_true(pulse_beats(&pulse, 1800, 400));
	assert_int_equal(pulse.number, 2);
	assert_true(pulse_answered(&pulse, 2, 10000));
	assert_int_equal(pulse_due_ms(&pulse), 1800 + 2200);
	assert_false(pulse_beats(&pulse, 2200, 0));
	/* a repeated answer moves no lease: it counts from the first sending */
	assert_int_equal(pulse.lease_ms, 1800 + 8995);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_beats_make_a_new_cell_healthy),
		cmocka_unit_test(each_fault_degrades_and_is_left_with_hysteresis),
		cmocka_unit_test(above_half_of_a_limit_is_not_well_again),
		cmocka_unit_test(a_long_absence_needs_ten_beats_over_twenty_seconds),
		cmocka_unit_test(a_gap_begins_the_row_anew),
		cmocka_unit_test(a_killed_cell_is_suspect_within_5_s_and_unreachable_within_12),
		cmocka_unit_test(a_short_pause_is_no_alarm),
		cmocka_unit_test(a_long_pause_is_seen),
		cmocka_unit_test(half_of_the_cells_at_once_is_a_brake),
		cmocka_unit_test(most_of_a_zone_is_a_brake),
		cmocka_unit_test(what_others_know_is_a_brake),
		cmocka_unit_test(it_is_eligible_when_somebody_else_agrees),
		cmocka_unit_test(who_is_reached_by_others_is_isolated),
		cmocka_unit_test(questions_are_few),
		cmocka_unit_test(one_cell_of_a_group_at_a_time),
		cmocka_unit_test(no_more_vpas_than_the_rate_allows),
		cmocka_unit_test(who_beats_again_is_not_eligible),
		cmocka_unit_test(what_a_replica_can_say),
		cmocka_unit_test(up_and_down_each_8_s_is_flapping),
		cmocka_unit_test(a_fabric_that_slept_blames_itself),
		cmocka_unit_test(a_fabric_that_cannot_hear_blames_itself),
		cmocka_unit_test(a_cell_cut_from_the_broker_is_isolated),
		cmocka_unit_test(a_cell_whose_lease_has_ended_does_not_serve),
		cmocka_unit_test(a_new_leader_has_grace),
		cmocka_unit_test(a_follower_keeps_the_books_and_moves_nothing),
		cmocka_unit_test(an_edge_cell_may_be_silent_for_days),
		cmocka_unit_test(who_may_beat),
		cmocka_unit_test(a_flood_is_cut_for_its_cell_alone),
		cmocka_unit_test(the_memory_of_a_cell),
		cmocka_unit_test(a_lease_ends_during_sleep),
		cmocka_unit_test(an_unanswered_beat_is_repeated_with_its_number),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
