/* Unpacked header blocks say to a decoder what the packed ones said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "server/base/text.h"
#include "server/header_block.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

enum { ROOM = 16384 };

static void strings_become_plain(void **state)
{
	(void)state;
	static const struct {
		struct text packed, plain;
	} cases[] = {
		/* RFC 7541, C.4.1: three indexed fields and a Huffman value that enters the table */
		{TEXT("\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
			TEXT("\x82\x86\x84\x41\x0fwww.example.com")},
		/* C.4.3: name and value */
		{TEXT("\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"),
			TEXT("\x40\x0a"
				 "custom-key\x0c"
				 "custom-value")},
		/* plain strings, an empty one, a new size of the table, an index of several bytes */
		{TEXT("\x3f\xe1\x1f\x00\x01n\x80\xff\x80\x01\x10\x01n\x01v"),
			TEXT("\x3f\xe1\x1f\x00\x01n\x00\xff\x80\x01\x10\x01n\x01v")},
		{TEXT(""), TEXT("")},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t into[64];
		size_t written;
		assert_true(header_block_unpack(
			(const uint8_t *)cases[i].packed.bytes, cases[i].packed.length, into, sizeof(into), &written, NULL));
		assert_int_equal(written, cases[i].plain.length);
		assert_memory_equal(into, cases[i].plain.bytes, written);
		for (size_t room = 0; room < written; room++) /* any room less is refused */
			assert_false(header_block_unpack(
				(const uint8_t *)cases[i].packed.bytes, cases[i].packed.length, into, room, &written, NULL));
	}
}

static void broken_blocks_are_left_alone(void **state)
{
	(void)state;
	static const struct text cases[] = {
		TEXT("\x41"),                          /* no value */
		TEXT("\x41\x8c\xf1"),                  /* a string beyond the end */
		TEXT("\x41\x81\x00"),                  /* '0' and three bits of padding that are zeros */
		TEXT("\x41\x82\x07\xff"),              /* eleven bits of padding */
		TEXT("\x41\x84\xff\xff\xff\xff"),      /* the end of the string as a symbol */
		TEXT("\x7f\xff\xff\xff\xff\xff\x01a"), /* an index beyond all use */
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint8_t into[64];
		size_t written;
		assert_false(
			header_block_unpack((const uint8_t *)cases[i].bytes, cases[i].length, into, sizeof(into), &written, NULL));
	}
}

/* Every byte, in strings of every length around the ones at which the length takes another byte; each comes three
 * times: unknown, to be kept, and known. */
static void a_decoder_sees_the_same(void **state)
{
	struct known_strings *known = known_strings_new();
	(void)state;
	assert_non_null(known);
	static const size_t lengths[] = {1, 7, 8, 126, 127, 128, 129, 254, 255, 256, 800, 4000};
	for (size_t i = 0; i < COUNT(lengths); i++) {
		for (unsigned step = 0; step < 257; step += step < 8 ? 1 : 31) {
			static uint8_t value[4000], packed[ROOM], plain[ROOM];
			for (size_t at = 0; at < lengths[i]; at++)
				value[at] = (uint8_t)(step < 3 ? 'a' + at % 26 : at * step + i);
			nghttp2_nv field = {(uint8_t *)(uintptr_t) "authorization", value, 13, lengths[i], NGHTTP2_NV_FLAG_NONE};
			nghttp2_hd_deflater *deflater;
			nghttp2_hd_inflater *inflater;
			assert_int_equal(nghttp2_hd_deflate_new(&deflater, 4096), 0);
			assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
			ssize_t length = nghttp2_hd_deflate_hd(deflater, packed, sizeof(packed), &field, 1);
			assert_true(length > 0);
			size_t written, again;
			static uint8_t recalled[ROOM];
			assert_true(header_block_unpack(packed, (size_t)length, plain, sizeof(plain), &written, known));
			for (int time = 0; time < 2; time++) {
				assert_true(header_block_unpack(packed, (size_t)length, recalled, sizeof(recalled), &again, known));
				assert_int_equal(again, written);
				assert_memory_equal(recalled, plain, written);
			}
			assert_false(header_block_unpack(packed, (size_t)length, recalled, written - 1, &again, known));
			assert_true(written >= lengths[i]);
			nghttp2_nv seen;
			int flags = 0;
			assert_int_equal(nghttp2_hd_inflate_hd2(inflater, &seen, &flags, plain, written, 1), (int)written);
			assert_int_equal(flags & NGHTTP2_HD_INFLATE_EMIT, NGHTTP2_HD_INFLATE_EMIT);
			assert_int_equal(seen.valuelen, lengths[i]);
			assert_memory_equal(seen.value, value, lengths[i]);
			nghttp2_hd_deflate_del(deflater);
			nghttp2_hd_inflate_del(inflater);
		}
	}
	known_strings_free(known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_become_plain),
		cmocka_unit_test(broken_blocks_are_left_alone),
		cmocka_unit_test(a_decoder_sees_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
