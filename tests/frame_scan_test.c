/* Frame heads are found however the bytes are cut, and skipped stream ids are told from closed ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/frame_scan.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void heads_are_found_in_pieces(void **state)
{
	(void)state;
	/* 3 bytes of preface, a frame of 2 bytes, one of none, one of 65,536 that goes on */
	static const uint8_t bytes[] = "PRI\0\0\2\1\5\0\0\0\3ab\0\0\0\4\0\x80\0\0\0\1\0\0\0\1\0\1\2\4x";
	static const struct frame_head expected[] = {{2, 1, 5, 3}, {0, 4, 0, 0}, {65536, 0, 1, 0x10204}};
	for (size_t piece = 1; piece < sizeof(bytes); piece++) {
		struct frame_scan scan = {.skip = 3};
		size_t heads = 0, end = sizeof(bytes) - 1;
		for (size_t at = 0; at < end;) {
			struct frame_head head;
			bool is_head;
			size_t length = end - at < piece ? end - at : piece;
			size_t passed = frame_scan_pass(&scan, bytes + at, length, &head, &is_head);
			assert_true(passed > 0 && passed <= length);
			at += passed;
			if (!is_head)
				continue;
			assert_true(heads < COUNT(expected));
			assert_int_equal(head.length, expected[heads].length);
			assert_int_equal(head.type, expected[heads].type);
			assert_int_equal(head.flags, expected[heads].flags);
			assert_int_equal(head.id, expected[heads].id);
			assert_int_equal(frame_scan_is_between(&scan), head.length == 0);
			heads++;
		}
		assert_int_equal(heads, COUNT(expected));
		assert_false(frame_scan_is_between(&scan));
	}
}

static void skipped_ids_are_told(void **state)
{
	(void)state;
	static const struct {
		int32_t id;
		bool is_skipped;
	} steps[] = {{1, false}, {7, false}, {7, false}, {3, true}, {5, true}, {1, false}, {9, false}};
	struct frame_scan scan = {0};
	for (size_t i = 0; i < COUNT(steps); i++)
		assert_int_equal(frame_scan_is_skipped(&scan, steps[i].id), steps[i].is_skipped);
	for (int32_t id = 101; id < 101 + 2 * RECENT_STREAMS; id += 2)
		assert_false(frame_scan_is_skipped(&scan, id));
	assert_false(frame_scan_is_skipped(&scan, 3)); /* too long ago to say */
	assert_true(frame_scan_is_skipped(&scan, 102));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(heads_are_found_in_pieces),
		cmocka_unit_test(skipped_ids_are_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
