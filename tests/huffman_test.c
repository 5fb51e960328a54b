/* Huffman strings: what nghttp2 packs is unpacked, what is broken is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "server/base/text.h"
#include "server/huffman.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void broken_strings_are_refused(void **state)
{
	(void)state;
	static const struct text cases[] = {
		TEXT("\x00"),             /* '0' and three bits of padding that are zeros */
		TEXT("\x07\xff"),         /* eleven bits of padding */
		TEXT("\xff\xff\xff\xff"), /* the end of the string as a symbol */
		TEXT("\xff"),             /* eight bits of padding */
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t into[64];
		size_t written;
		assert_false(huffman_unpack((const uint8_t *)cases[i].bytes, cases[i].length, into, sizeof(into), &written));
	}
}

/* Every byte, in strings of lengths around those at which a step or a table ends. */
static void strings_become_plain(void **state)
{
	(void)state;
	static const size_t lengths[] = {0, 1, 7, 8, 126, 127, 128, 129, 254, 255, 256, 800, 4000};
	for (size_t i = 0; i < COUNT(lengths); i++) {
		for (unsigned step = 0; step < 257; step += step < 8 ? 1 : 31) {
			static uint8_t value[4000], block[16384], plain[26000];
			for (size_t at = 0; at < lengths[i]; at++)
				value[at] = (uint8_t)(step < 3 ? 'a' + at % 26 : at * step + i);
			/* a literal with a name of the table: three bytes and the string's length before it */
			nghttp2_nv field = {(uint8_t *)(uintptr_t) "authorization", value, 13, lengths[i], NGHTTP2_NV_FLAG_NONE};
			nghttp2_hd_deflater *deflater;
			assert_int_equal(nghttp2_hd_deflate_new(&deflater, 4096), 0);
			ssize_t length = nghttp2_hd_deflate_hd(deflater, block, sizeof(block), &field, 1);
			nghttp2_hd_deflate_del(deflater);
			assert_true(length > 2);
			size_t from = 2, packed;
			bool is_packed = (block[from] & 0x80) != 0;
			packed = block[from++] & 0x7f;
			for (unsigned shift = 0; packed >= 0x7f && shift < 32; shift += 7) {
				packed += (size_t)(block[from] & 0x7f) << shift;
				if ((block[from++] & 0x80) == 0)
					break;
			}
			assert_int_equal(from + packed, length);
			size_t written, room = huffman_room(packed);
			if (!is_packed)
				continue;
			assert_true(room <= sizeof(plain) && lengths[i] <= room);
			assert_true(huffman_unpack(block + from, packed, plain, room, &written));
			assert_int_equal(written, lengths[i]);
			assert_memory_equal(plain, value, written);
			if (written > 0) /* any room less is refused */
				assert_false(huffman_unpack(block + from, packed, plain, written - 1, &written));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(broken_strings_are_refused),
		cmocka_unit_test(strings_become_plain),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
