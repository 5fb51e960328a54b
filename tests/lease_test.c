/* Leadership among processes on one database (control.md 2.12, F6, F8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/fabric/lease.h"
#include "server/base/log.h"
#include "tests/state_fixture.h"

enum { STEP_MS = 100 };
static uint64_t now_ms;

static uint64_t clock_now(void)
{
	return now_ms;
}

struct process {
	struct lease *lease;
	struct state *state;
	unsigned gains, losses;
};
static struct process processes[3];
static size_t process_count;

static void on_changed(void *context, bool leads)
{
	struct process *process = context;
	process->gains += leads;
	process->losses += !leads;
}

static struct process *start_process(void)
{
	struct process *process = &processes[process_count++];
	process->state = fixture_state();
	assert_int_equal(lease_open(process->state, "fabric", clock_now, &process->lease), STATUS_OK);
	lease_observe(process->lease, on_changed, process);
	return process;
}

static unsigned leaders(void)
{
	unsigned count = 0;
	for (size_t i = 0; i < process_count; i++)
		count += lease_is_held(processes[i].lease);
	return count;
}

/* Lets time pass; there is never more than one leader. */
static void pass(uint64_t duration_ms)
{
	for (uint64_t end = now_ms + duration_ms; now_ms < end;) {
		now_ms += STEP_MS;
		for (size_t i = 0; i < process_count; i++) {
			if (!processes[i].state->is_dead)
				lease_tick(processes[i].lease);
		}
		fixture_run();
		assert_in_range(leaders(), 0, 1);
	}
}

static int setup(void **state)
{
	(void)state;
	now_ms = 1000000;
	process_count = 0;
	memset(processes, 0, sizeof(processes));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < process_count; i++)
		lease_free(processes[i].lease);
	fixture_clear();
	return 0;
}

static void one_of_three_leads(void **state)
{
	(void)state;
	for (int i = 0; i < 3; i++)
		start_process();
	pass(STEP_MS);
	assert_int_equal(leaders(), 1);
	assert_true(lease_is_held(processes[0].lease));
	pass(600000);
	assert_true(lease_is_held(processes[0].lease));
	assert_int_equal(processes[0].gains + processes[1].gains + processes[2].gains, 1);
	assert_int_equal(lease_term(processes[2].lease), 1);
}

/* F6 */
static void another_takes_over_within_6500_ms(void **state)
{
	(void)state;
	start_process();
	struct process *second = start_process();
	pass(10000);
	processes[0].state->is_dead = true;
	uint64_t killed = now_ms;
	while (!lease_is_held(second->lease) && now_ms - killed < 20000)
		pass(STEP_MS);
	assert_in_range(now_ms - killed, 3000, 6500);
	assert_int_equal(lease_term(second->lease), 2);
}

/* F8: its lease ends before anybody else's begins. */
static void who_cannot_reach_the_database_does_not_lead(void **state)
{
	(void)state;
	start_process();
	start_process();
	pass(10000);
	fixture.is_down = true;
	pass(3000);
	assert_int_equal(leaders(), 1);
	pass(2000);
	assert_int_equal(leaders(), 0);
	assert_int_equal(processes[0].losses, 1);
	fixture.is_down = false;
	pass(6500);
	assert_int_equal(leaders(), 1);
	assert_int_equal(lease_term(processes[0].lease), 2);
}

/* It slept: whatever it believed is over. */
static void who_slept_is_followed(void **state)
{
	(void)state;
	start_process();
	struct process *second = start_process();
	pass(2000);
	process_count = 2;
	struct process sleeper = processes[0];
	processes[0] = *second;
	process_count = 1;
	pass(8000);
	assert_true(lease_is_held(processes[0].lease));
	assert_false(lease_is_held(sleeper.lease));
	lease_tick(sleeper.lease);
	fixture_run();
	assert_false(lease_is_held(sleeper.lease));
	pass(20000);
	assert_false(lease_is_held(sleeper.lease));
	lease_free(sleeper.lease);
}

static void who_ends_hands_over_at_once(void **state)
{
	(void)state;
	start_process();
	start_process();
	pass(10000);
	lease_release(processes[0].lease);
	fixture_run();
	pass(STEP_MS);
	assert_true(lease_is_held(processes[1].lease));
	assert_int_equal(lease_term(processes[1].lease), 2);
	pass(20000);
	assert_false(lease_is_held(processes[0].lease));
}

static void a_term_never_goes_back(void **state)
{
	int64_t last = 0;
	(void)state;
	for (int i = 0; i < 3; i++)
		start_process();
	for (int round = 0; round < 50; round++) {
		pass(7000);
		assert_true(lease_term(processes[0].lease) > last);
		last = lease_term(processes[0].lease);
		fixture.is_down = true;
		pass(6000);
		fixture.is_down = false;
	}
}

/* F24: cells have obeyed higher terms than this database knows. */
static void a_term_is_raised_above_what_others_know(void **state)
{
	(void)state;
	start_process();
	struct process *second = start_process();
	pass(10000);
	assert_int_equal(lease_term(processes[0].lease), 1);
	lease_raise(second->lease, 41); /* it does not lead: nothing to end */
	lease_raise(processes[0].lease, 41);
	assert_int_equal(leaders(), 0); /* a term is one holding */
	assert_int_equal(processes[0].losses, 1);
	pass(1000);
	assert_int_equal(leaders(), 1);
	assert_int_equal(lease_term(processes[0].lease), 42);
	assert_int_equal(lease_term(second->lease), 42);
	lease_raise(processes[0].lease, 41); /* said again */
	assert_int_equal(leaders(), 1);
	/* while a renewal of the old term is on its way */
	now_ms += 1500;
	lease_tick(processes[0].lease);
	lease_raise(processes[0].lease, 50);
	fixture_run();
	assert_int_equal(leaders(), 0);
	pass(1000);
	assert_int_equal(lease_term(processes[0].lease), 51);
}

/* Local health (control.md 2.5 b): what a commit takes. */
static void a_slow_commit_is_seen_while_it_waits(void **state)
{
	(void)state;
	struct process *only = start_process();
	assert_int_equal(lease_commit_ms(only->lease), 0);
	pass(5000);
	assert_int_equal(lease_commit_ms(only->lease), 0);
	now_ms += 1500;
	lease_tick(only->lease);
	now_ms += 700;
	assert_int_equal(lease_commit_ms(only->lease), 700);
	fixture_run();
	now_ms += 300;
	assert_int_equal(lease_commit_ms(only->lease), 700); /* until the next is quicker */
}

int main(void)
{
	log_threshold = LOG_ERROR;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(one_of_three_leads, setup, teardown),
		cmocka_unit_test_setup_teardown(another_takes_over_within_6500_ms, setup, teardown),
		cmocka_unit_test_setup_teardown(who_cannot_reach_the_database_does_not_lead, setup, teardown),
		cmocka_unit_test_setup_teardown(who_slept_is_followed, setup, teardown),
		cmocka_unit_test_setup_teardown(who_ends_hands_over_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_term_never_goes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_term_is_raised_above_what_others_know, setup, teardown),
		cmocka_unit_test_setup_teardown(a_slow_commit_is_seen_while_it_waits, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
