/* Blocks of header fields: the examples of RFC 7541, what is broken, blocks in pieces, sizes of the table, and entries
 * that outlive it. tests/fuzz_header_block.c holds any bytes against nghttp2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/header_block.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void take(void *context, const struct header_field *field)
{
	struct buffer *into = context;
	buffer_append(into, field->name);
	buffer_append(into, TEXT("="));
	buffer_append(into, field->value);
	buffer_append(into, field->entry != NULL ? TEXT("*\n") : TEXT("\n"));
}

static enum status read_pieces(struct header_decoder *decoder, struct text block, size_t piece, struct buffer *into)
{
	const struct header_sink sink = {take, into};
	enum status status = STATUS_OK;
	size_t at = 0;
	do {
		size_t part = block.length - at < piece ? block.length - at : piece;
		status =
			header_block_read(decoder, (const uint8_t *)block.bytes + at, part, at + part == block.length, NULL, &sink);
		at += part;
	} while (at < block.length && status == STATUS_OK);
	return status;
}

static const struct {
	struct text block, fields;
} requests[] = {
	/* C.4.1 to C.4.3, one after the other */
	{TEXT("\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
		TEXT(":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com*\n")},
	{TEXT("\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf"),
		TEXT(":method=GET\n:scheme=http\n:path=/\n:authority=www.example.com*\ncache-control=no-cache*\n")},
	{TEXT("\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"),
		TEXT(":method=GET\n:scheme=https\n:path=/index.html\n:authority=www.example.com*\n"
			 "custom-key=custom-value*\n")},
	/* plain strings, an empty one, a new size of the table, which empties it; an index of several bytes */
	{TEXT("\x20\x3f\xe1\x1f\x00\x01n\x80\x0f\x2e\x01v\x10\x01n\x01v"), TEXT("n=\nwww-authenticate=v\nn=v\n")},
	{TEXT(""), TEXT("")},
};

static void fields_are_read_however_they_are_cut(void **state)
{
	(void)state;
	for (size_t piece = 1; piece < 30; piece++) {
		struct header_decoder decoder;
		header_decoder_open(&decoder);
		for (size_t i = 0; i < COUNT(requests); i++) {
			struct buffer seen = {0};
			assert_int_equal(read_pieces(&decoder, requests[i].block, piece, &seen), STATUS_OK);
			assert_true(text_equals(buffer_text(&seen), requests[i].fields));
			assert_int_equal(decoder.rest.length, 0);
			buffer_free(&seen);
		}
		assert_int_equal(decoder.table.count, 0);
		header_decoder_close(&decoder);
	}
}

static void broken_blocks_are_refused(void **state)
{
	(void)state;
	static const struct text cases[] = {
		TEXT("\x41"),                            /* no value */
		TEXT("\x41\x8c\xf1"),                    /* a string beyond the end */
		TEXT("\x41\x81\x00"),                    /* a broken Huffman string */
		TEXT("\x00\x81\x00\x01v"),               /* as a name */
		TEXT("\x7f\xff\xff\xff\xff\xff\x01v"),   /* a number of too many bytes */
		TEXT("\x80"),                            /* index 0 */
		TEXT("\xbe"),                            /* beyond the tables */
		TEXT("\x7f\x00\x01v"), TEXT("\x82\x20"), /* a size behind a field */
		TEXT("\x3f\xe2\x1f"),                    /* larger than allowed */
		TEXT("\x00\x7f\x82\xff\x03"),            /* a string of 65,537 bytes */
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct header_decoder decoder;
		struct buffer seen = {0};
		header_decoder_open(&decoder);
		assert_int_equal(read_pieces(&decoder, cases[i], cases[i].length, &seen), STATUS_PROTOCOL);
		header_decoder_close(&decoder);
		buffer_free(&seen);
	}
}

static void a_smaller_size_must_be_confirmed(void **state)
{
	(void)state;
	static const struct {
		size_t most;
		struct text block;
		enum status status;
	} cases[] = {
		{4096, TEXT("\x82"), STATUS_OK},
		{8192, TEXT("\x82"), STATUS_OK},
		{8192, TEXT("\x3f\xe1\x3f\x82"), STATUS_OK},
		{100, TEXT("\x82"), STATUS_PROTOCOL},
		{100, TEXT(""), STATUS_PROTOCOL},
		{100, TEXT("\x3f\x45\x82"), STATUS_OK},       /* 100 */
		{100, TEXT("\x3f\x46\x82"), STATUS_PROTOCOL}, /* 101 */
		{100, TEXT("\x20\x3f\x45\x82"), STATUS_OK},
	};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct header_decoder decoder;
		struct buffer seen = {0};
		header_decoder_open(&decoder);
		header_decoder_allow(&decoder, cases[i].most);
		assert_int_equal(read_pieces(&decoder, cases[i].block, cases[i].block.length, &seen), cases[i].status);
		header_decoder_close(&decoder);
		buffer_free(&seen);
	}
}

/* Entries are pushed out from the oldest on, and one that is larger than the table empties it. */
static void the_table_holds_what_it_may(void **state)
{
	(void)state;
	struct header_table table;
	struct header_field field;
	char name[] = "a";
	header_table_open(&table);
	for (int i = 0; i < 300; i++) { /* of 64 bytes each */
		name[0] = (char)('a' + i % 26);
		struct header_entry *entry = header_entry_new(
			text_of(name), TEXT("0123456789012345678901234567890"), (struct h2_sense){.kind = H2_PLAIN});
		assert_non_null(entry);
		assert_true(header_table_add(&table, entry));
		header_entry_unref(entry);
	}
	assert_int_equal(table.count, HEADER_TABLE_SIZE / 64);
	assert_int_equal(table.size, HEADER_TABLE_SIZE);
	for (size_t i = 0; i < table.count; i++) {
		assert_true(header_table_find(&table, HEADER_FIELDS_KNOWN + 1 + i, &field));
		assert_int_equal(field.name.bytes[0], 'a' + (299 - (int)i) % 26);
	}
	assert_false(header_table_find(&table, HEADER_FIELDS_KNOWN + 1 + table.count, &field));
	assert_false(header_table_find(&table, 0, &field));
	assert_true(header_table_find(&table, HEADER_FIELDS_KNOWN + 1, &field));
	struct header_entry *held = field.entry; /* by a request */
	held->references++;
	header_table_resize(&table, 60);
	assert_int_equal(table.count, 0);
	assert_int_equal(held->references, 1);
	assert_true(header_table_add(&table, held));
	assert_int_equal(table.count, 0);
	header_entry_unref(held);
	header_table_close(&table);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_read_however_they_are_cut),
		cmocka_unit_test(broken_blocks_are_refused),
		cmocka_unit_test(a_smaller_size_must_be_confirmed),
		cmocka_unit_test(the_table_holds_what_it_may),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
