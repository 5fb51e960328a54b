/* HTTP/2 input cut at any place: the frames are the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/frame_reader.h"

static const char input[] = "\0\0\6\4\0\0\0\0\0settin"               /* SETTINGS */
							"\0\0\3\1\4\0\0\0\1abc"                  /* HEADERS */
							"\0\0\0\1\4\0\0\0\3"                     /* HEADERS without a byte */
							"\0\0\2\0\0\0\0\0\1da\0\0\0\0\1\0\0\0\1" /* DATA, and DATA without a byte */
							"\0\0\1\x9\4\0\0\0\3x"                   /* CONTINUATION */
							"\0\0\2\x10\0\0\0\0\0ex"                 /* an extension */
							"\0\x40\1\1\4\0\0\0\5too long";          /* HEADERS above all size */
/* [whole], head of what comes in pieces {length: payload ... } and ! for what is too large. */
static const char expected[] = "[\0\0\6\4\0\0\0\0\0settin]"
							   "[\0\0\3\1\4\0\0\0\1abc]"
							   "[\0\0\0\1\4\0\0\0\3]"
							   "{2:da}{0:}"
							   "[\0\0\1\x9\4\0\0\0\3x]"
							   "{2:ex}!";

/* False: there is no going on. */
static bool take(struct frame_reader *reader, struct text part, struct buffer *seen)
{
	struct text piece;
	for (;;) {
		switch (frame_reader_next(reader, &part, &piece)) {
		case PIECE_NONE:
			return true;
		case PIECE_FRAME:
			buffer_append_byte(seen, '[');
			buffer_append(seen, piece);
			buffer_append_byte(seen, ']');
			assert_true(frame_reader_is_between(reader));
			break;
		case PIECE_BEGIN:
			assert_int_equal(piece.length, FRAME_HEAD);
			buffer_printf(seen, "{%u:%s", reader->head.length, reader->head.length == 0 ? "}" : "");
			break;
		case PIECE_PAYLOAD:
			buffer_append(seen, piece);
			buffer_append(seen, reader->left == 0 ? TEXT("}") : TEXT(""));
			break;
		case PIECE_LARGE:
			buffer_append_byte(seen, '!');
			return false;
		case PIECE_FAILED:
			fail();
		}
	}
}

static void frames_do_not_depend_on_the_cuts(void **state)
{
	(void)state;
	const size_t length = sizeof(input) - 1;
	for (size_t step = 1; step <= length; step++) {
		struct frame_reader reader = {0};
		struct buffer seen = {0};
		bool goes_on = true;
		for (size_t at = 0; at < length && goes_on; at += step)
			goes_on = take(&reader, text_slice((struct text){input, length}, at, at + step), &seen);
		assert_false(goes_on);
		assert_true(text_equals(buffer_text(&seen), (struct text){expected, sizeof(expected) - 1}));
		buffer_free(&seen);
		frame_reader_close(&reader);
	}
}

/* Only for the end of a frame that is read whole, not for that of a head or of DATA. */
static void waiting_is_seen(void **state)
{
	(void)state;
	struct frame_reader reader = {0};
	struct buffer seen = {0};
	assert_true(frame_reader_is_between(&reader));
	take(&reader, TEXT("\0\0\3\1\4\0\0\0"), &seen);
	assert_false(frame_reader_is_between(&reader));
	assert_false(frame_reader_is_waiting(&reader));
	take(&reader, TEXT("\1a"), &seen);
	assert_true(frame_reader_is_waiting(&reader));
	take(&reader, TEXT("bc"), &seen);
	assert_false(frame_reader_is_waiting(&reader));
	take(&reader, TEXT("\0\0\3\0\0\0\0\0\1a"), &seen);
	assert_false(frame_reader_is_waiting(&reader));
	assert_false(frame_reader_is_between(&reader));
	buffer_free(&seen);
	frame_reader_close(&reader);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_do_not_depend_on_the_cuts),
		cmocka_unit_test(waiting_is_seen),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
