/* Skipped stream ids are told from closed ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/stream_ids.h"

static void skipped_ids_are_told(void **state)
{
	(void)state;
	struct stream_ids ids = {0};
	stream_ids_add(&ids, 1);
	stream_ids_add(&ids, 7);
	assert_false(stream_ids_is_skipped(&ids, 7));
	assert_true(stream_ids_is_skipped(&ids, 3));
	assert_true(stream_ids_is_skipped(&ids, 5));
	assert_false(stream_ids_is_skipped(&ids, 1));
	assert_int_equal(ids.last, 7);
	for (int32_t id = 101; id < 101 + 2 * RECENT_STREAMS; id += 2)
		stream_ids_add(&ids, id);
	assert_false(stream_ids_is_skipped(&ids, 3)); /* too long ago to say */
	assert_true(stream_ids_is_skipped(&ids, 102));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(skipped_ids_are_told)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
