/* Stream ids that were skipped, ended or cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/stream_ids.h"

static void the_past_is_told(void **state)
{
	(void)state;
	struct stream_ids ids = {0};
	stream_ids_add(&ids, 1);
	stream_ids_add(&ids, 7);
	stream_ids_cut(&ids, 7);
	assert_int_equal(stream_ids_past(&ids, 7), STREAM_CUT);
	assert_int_equal(stream_ids_past(&ids, 3), STREAM_SKIPPED);
	assert_int_equal(stream_ids_past(&ids, 5), STREAM_SKIPPED);
	assert_int_equal(stream_ids_past(&ids, 1), STREAM_ENDED);
	assert_int_equal(ids.last, 7);
	for (int32_t id = 101; id < 101 + 2 * RECENT_STREAMS; id += 2)
		stream_ids_add(&ids, id);
	assert_int_equal(stream_ids_past(&ids, 3), STREAM_CUT); /* too long ago to say */
	assert_int_equal(stream_ids_past(&ids, 102), STREAM_SKIPPED);
	assert_int_equal(stream_ids_past(&ids, 101), STREAM_ENDED); /* in the place of one that was cut */
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_past_is_told)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
