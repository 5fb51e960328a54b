/* Health: its table, with one cell by hand (control.md 2.5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/fabric/health/health.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_beats_make_a_new_cell_healthy),
		cmocka_unit_test(each_fault_degrades_and_is_left_with_hysteresis),
		cmocka_unit_test(above_half_of_a_limit_is_not_well_again),
		cmocka_unit_test(a_long_absence_needs_ten_beats_over_twenty_seconds),
		cmocka_unit_test(a_gap_begins_the_row_anew),
		cmocka_unit_test(a_cell_whose_lease_has_ended_does_not_serve),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
