/* Before fail-over: the brakes of one cell (control.md 2.5 c, e), in a fleet in virtual time. */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_is_eligible_when_somebody_else_agrees),
		cmocka_unit_test(who_is_reached_by_others_is_isolated),
		cmocka_unit_test(questions_are_few),
		cmocka_unit_test(one_cell_of_a_group_at_a_time),
		cmocka_unit_test(no_more_vpas_than_the_rate_allows),
		cmocka_unit_test(who_beats_again_is_not_eligible),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
