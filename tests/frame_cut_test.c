/* HTTP/2 input cut at any place: the runs joined and the frames of fields are the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/frame_cut.h"

static const char input[] = "PRI "                                   /* the preface: four bytes of it */
							"\0\0\6\4\0\0\0\0\0settin"               /* SETTINGS */
							"\0\0\3\1\4\0\0\0\1abc"                  /* HEADERS */
							"\0\0\0\1\4\0\0\0\3"                     /* HEADERS without a byte */
							"\0\0\2\0\0\0\0\0\1da\0\0\0\0\1\0\0\0\1" /* DATA */
							"\0\0\1\x9\4\0\0\0\3x"                   /* CONTINUATION */
							"\0\x40\1\1\4\0\0\0\5too long";          /* HEADERS above all size */
static const char expected[] = "PRI \0\0\6\4\0\0\0\0\0settin"
							   "[\0\0\3\1\4\0\0\0\1abc]"
							   "[\0\0\0\1\4\0\0\0\3]"
							   "\0\0\2\0\0\0\0\0\1da\0\0\0\0\1\0\0\0\1"
							   "[\0\0\1\x9\4\0\0\0\3x]"
							   "\0\x40\1\1\4\0\0\0\5too long";

static void take(struct frame_cut *cut, struct text part, struct buffer *seen)
{
	struct text piece;
	enum frame_piece kind;
	while ((kind = frame_cut_next(cut, &part, &piece)) != PIECE_NONE) {
		assert_int_not_equal(kind, PIECE_FAILED);
		assert_true(piece.length > 0);
		buffer_append(seen, kind == PIECE_FIELDS ? TEXT("[") : TEXT(""));
		buffer_append(seen, piece);
		buffer_append(seen, kind == PIECE_FIELDS ? TEXT("]") : TEXT(""));
	}
}

static void pieces_do_not_depend_on_the_cuts(void **state)
{
	(void)state;
	const size_t length = sizeof(input) - 1;
	for (size_t step = 1; step <= length; step++) {
		struct frame_cut cut = {.pass = 4};
		struct buffer seen = {0};
		for (size_t at = 0; at < length; at += step)
			take(&cut, text_slice((struct text){input, length}, at, at + step), &seen);
		assert_true(text_equals(buffer_text(&seen), (struct text){expected, sizeof(expected) - 1}));
		buffer_free(&seen);
		frame_cut_close(&cut);
	}
}

/* Only for the end of fields, not for that of a head. */
static void waiting_is_seen(void **state)
{
	(void)state;
	struct frame_cut cut = {.pass = 0};
	struct buffer seen = {0};
	take(&cut, TEXT("\0\0\3\1\4\0\0\0"), &seen);
	assert_false(frame_cut_is_waiting(&cut));
	take(&cut, TEXT("\1a"), &seen);
	assert_true(frame_cut_is_waiting(&cut));
	take(&cut, TEXT("bc"), &seen);
	assert_false(frame_cut_is_waiting(&cut));
	take(&cut, TEXT("\0\0\3\0\0\0\0\0\1a"), &seen);
	assert_false(frame_cut_is_waiting(&cut));
	buffer_free(&seen);
	frame_cut_close(&cut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pieces_do_not_depend_on_the_cuts),
		cmocka_unit_test(waiting_is_seen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
