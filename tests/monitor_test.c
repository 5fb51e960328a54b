/* Health of a fleet in virtual time: alarms, brakes, verdicts and limits (control.md 2.5, F10, F11, F12, F49). */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_killed_cell_is_suspect_within_5_s_and_unreachable_within_12),
		cmocka_unit_test(a_short_pause_is_no_alarm),
		cmocka_unit_test(a_long_pause_is_seen),
		cmocka_unit_test(half_of_the_cells_at_once_is_a_brake),
		cmocka_unit_test(most_of_a_zone_is_a_brake),
		cmocka_unit_test(what_others_know_is_a_brake),
		cmocka_unit_test(what_a_replica_can_say),
		cmocka_unit_test(up_and_down_each_8_s_is_flapping),
		cmocka_unit_test(a_fabric_that_slept_blames_itself),
		cmocka_unit_test(a_fabric_that_cannot_hear_blames_itself),
		cmocka_unit_test(a_cell_cut_from_the_broker_is_isolated),
		cmocka_unit_test(a_new_leader_has_grace),
		cmocka_unit_test(a_follower_keeps_the_books_and_moves_nothing),
		cmocka_unit_test(an_edge_cell_may_be_silent_for_days),
		cmocka_unit_test(who_may_beat),
		cmocka_unit_test(a_flood_is_cut_for_its_cell_alone),
		cmocka_unit_test(the_memory_of_a_cell),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
