/* A cell's rhythm: when it beats, and when its lease ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/cell/pulse.h"

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
		cmocka_unit_test(a_lease_ends_during_sleep),
		cmocka_unit_test(an_unanswered_beat_is_repeated_with_its_number),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
