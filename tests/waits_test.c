/* Who waits for an answer: each ends once, by its answer, its time or the end; a late answer is nobody's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "control/bus/waits.h"

enum { ASKERS = 200 }; /* more than there are places at first */

struct asker {
	struct waits *waits;
	unsigned times;
	enum status status;
	bool asks_again;
};

static void on_done(void *context, enum status status, const struct bus_message *message)
{
	struct asker *asker = context;
	asker->times++;
	asker->status = status;
	assert_int_equal(message != NULL, status == STATUS_OK);
	if (asker->asks_again)
		assert_int_not_equal(waits_add(asker->waits, 1000, on_done, asker), NO_PLACE);
	asker->asks_again = false;
}

static void answer(struct waits *waits, struct text subject, int status)
{
	const struct bus_message message = {.subject = subject, .status = status};
	waits_answer(waits, "in.box", &message);
}

static void test_answer(void **state)
{
	struct waits waits;
	struct asker asker = {0};
	char room[REPLY_MAX], second[REPLY_MAX];
	(void)state;
	waits_init(&waits);
	uint32_t place = waits_add(&waits, 100, on_done, &asker);
	struct text reply = waits_reply(&waits, place, "in.box", room);
	assert_true(text_starts_with(reply, TEXT("in.box.r.")));
	answer(&waits, reply, 0);
	assert_int_equal(asker.times, 1);
	assert_int_equal(asker.status, STATUS_OK);
	answer(&waits, reply, 0); /* twice */
	assert_int_equal(asker.times, 1);
	assert_int_equal(waits_add(&waits, 100, on_done, &asker), place);
	answer(&waits, reply, 0); /* of the one before, at the same place */
	assert_int_equal(asker.times, 1);
	answer(&waits, waits_reply(&waits, place, "in.box", second), 503);
	assert_int_equal(asker.times, 2);
	assert_int_equal(asker.status, STATUS_UNAVAILABLE);
	waits_free(&waits);
}

static void test_nobodys(void **state)
{
	static const char *const subjects[] = {
		"in.box.r.4000000000.0", "in.box.r.1", "in.box.r.1.", "in.box.r.x.0", "in.box.r.1.0.0", "in.box.r.", "in.box"};
	struct waits waits;
	struct asker askers[ASKERS] = {{0}};
	(void)state;
	waits_init(&waits);
	for (unsigned i = 0; i < ASKERS; i++)
		assert_int_not_equal(waits_add(&waits, 100, on_done, &askers[i]), NO_PLACE);
	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++)
		answer(&waits, text_of(subjects[i]), 0);
	for (unsigned i = 0; i < ASKERS; i++)
		assert_int_equal(askers[i].times, 0);
	waits_end(&waits, STATUS_CLOSED);
	for (unsigned i = 0; i < ASKERS; i++) {
		assert_int_equal(askers[i].times, 1);
		assert_int_equal(askers[i].status, STATUS_CLOSED);
	}
	waits_free(&waits);
}

static void test_time(void **state)
{
	struct waits waits;
	struct asker early = {.waits = &waits, .asks_again = true}, late = {0}, unsent = {0};
	(void)state;
	waits_init(&waits);
	waits_add(&waits, 100, on_done, &early);
	waits_add(&waits, 300, on_done, &late);
	waits_give_up(&waits, waits_add(&waits, 300, on_done, &unsent));
	waits_tick(&waits, 99);
	assert_int_equal(early.times, 0);
	assert_int_equal(unsent.times, 1);
	assert_int_equal(unsent.status, STATUS_UNAVAILABLE);
	waits_tick(&waits, 100);
	assert_int_equal(early.times, 1);
	assert_int_equal(early.status, STATUS_TIMEOUT);
	assert_int_equal(late.times, 0);
	waits_tick(&waits, 1000);
	assert_int_equal(early.times, 2);
	assert_int_equal(late.times, 1);
	waits_free(&waits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer), cmocka_unit_test(test_nobodys), cmocka_unit_test(test_time)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
