/* Spans, tallies and receipts: what is counted once, and whether a chain holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tenants/dp/contract/receipt.h"
#include "tenants/jose/jws.h"

/* --- spans */

static void test_spans(void **state)
{
	static const struct {
		uint32_t entity;
		uint64_t first, end, known;
		const char *after; /* "entity:first-end " of each; * before it: no room */
	} steps[] = {
		{0, 10, 20, 0, "0:10-20 "},
		{0, 30, 40, 0, "0:10-20 0:30-40 "},
		{0, 20, 25, 0, "0:10-25 0:30-40 "},
		{0, 12, 18, 6, "0:10-25 0:30-40 "},
		{0, 24, 31, 2, "0:10-40 "},
		{1, 10, 40, 0, "0:10-40 1:10-40 "},
		{0, 0, 100, 30, "0:0-100 1:10-40 "},
		{2, 5, 6, 0, "0:0-100 1:10-40 2:5-6 "},
		{2, 8, 9, 0, "*0:0-100 1:10-40 2:5-6 "},
		{2, 6, 8, 0, "0:0-100 1:10-40 2:5-8 "},
		{0, UINT64_MAX - 1, UINT64_MAX, 0, "*0:0-100 1:10-40 2:5-8 "},
		{1, 0, 100, 30, "0:0-100 1:0-100 2:5-8 "},
	};
	struct span spans[3];
	struct span_set set = {.spans = spans, .room = 3};
	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		char text[256];
		bool is_kept;
		uint64_t known = span_set_add(&set, steps[i].entity, steps[i].first, steps[i].end, &is_kept);
		int length = snprintf(text, sizeof(text), "%s", is_kept ? "" : "*");
		for (size_t j = 0; j < set.count; j++)
			length += snprintf(text + length, sizeof(text) - (size_t)length, "%u:%llu-%llu ", spans[j].entity,
				(unsigned long long)spans[j].first, (unsigned long long)spans[j].end);
		assert_string_equal(text, steps[i].after);
		assert_int_equal(known, steps[i].known);
	}
	span_set_drop(&set, 1);
	assert_int_equal(set.count, 2);
}

/* Against a field of bits. */
static void test_spans_against_bits(void **state)
{
	enum { ROOM = 64, PLACES = 200, STEPS = 20000 };
	struct span spans[ROOM];
	struct span_set set = {.spans = spans, .room = ROOM};
	bool bits[2][PLACES] = {{false}};
	unsigned random = 1;
	(void)state;
	for (int i = 0; i < STEPS; i++) {
		random = random * 1103515245U + 12345U;
		uint32_t entity = random >> 8 & 1U;
		uint64_t first = (random >> 10) % PLACES, end = first + 1 + (random >> 20) % 9, known = 0;
		end = end > PLACES ? PLACES : end;
		for (uint64_t at = first; at < end; at++)
			known += bits[entity][at];
		bool is_kept;
		assert_int_equal(span_set_add(&set, entity, first, end, &is_kept), known);
		for (uint64_t at = first; at < end && is_kept; at++)
			bits[entity][at] = true;
		for (size_t j = 0; j + 1 < set.count; j++)
			assert_true(spans[j].entity < spans[j + 1].entity || spans[j].end < spans[j + 1].first);
		if (i % 500 == 499) {
			span_set_drop(&set, entity);
			memset(bits[entity], 0, sizeof(bits[entity]));
		}
	}
}

/* --- tallies */

static const struct tally_names names = {
	{"cccccccccccccccccccccccccccccccc", sizeof("cccccccccccccccccccccccccccccccc") - 1}, {"flow", sizeof("flow") - 1},
	{"agreement", sizeof("agreement") - 1}, {"dataset", sizeof("dataset") - 1}, {"did:web:c", sizeof("did:web:c") - 1},
	{"did:web:p", sizeof("did:web:p") - 1}, {"EU", sizeof("EU") - 1},
	{"[\"leftOperand x\"]", sizeof("[\"leftOperand x\"]") - 1}};

static struct tally *make_tally(uint64_t bytes)
{
	struct tally *tally = tally_new(&names, 1000);
	assert_non_null(tally);
	tally_add(tally, TEXT("\"v1\""), TEXT_NONE, 0, bytes);
	tally->totals.of[BOOK_BYTES] += bytes;
	tally->totals.of[BOOK_REQUESTS]++;
	tally->totals.of[BOOK_OK]++;
	return tally;
}

static void test_tallies(void **state)
{
	char tag[8];
	struct tally *tally = make_tally(100), *other = make_tally(150);
	(void)state;
	tally_add(tally, TEXT("\"v2\""), TEXT("sha-256=:x:"), 0, 100);
	tally_add(tally, TEXT_NONE, TEXT_NONE, 0, 7);
	assert_int_equal(tally->totals.of[BOOK_REPEATED], 0);
	assert_int_equal(tally->unlisted, 7);
	other->last_ms = 5000;
	tally_merge(tally, other);
	assert_int_equal(tally->totals.of[BOOK_REPEATED], 100);
	assert_int_equal(tally->totals.of[BOOK_BYTES], 250);
	assert_int_equal(tally->totals.of[BOOK_OK], 2);
	assert_int_equal(tally->last_ms, 5000);
	/* more versions, and more ranges, than are told apart */
	for (int i = 0; i < 6; i++) {
		snprintf(tag, sizeof(tag), "w%d", i);
		tally_add(tally, text_of(tag), TEXT_NONE, 0, 1);
	}
	assert_int_equal(tally->unlisted, 7 + 4);
	for (uint64_t i = 0; i < 40; i++)
		tally_add(tally, TEXT("\"v1\""), TEXT_NONE, 1000 + 2 * i, 1);
	assert_int_equal(tally->unlisted, 7 + 4 + 40 - (TALLY_RANGES_MAX - 4));
	tally_free(tally);
	tally_free(other);
}

/* --- receipts */

struct lines {
	struct buffer text[8];
	size_t count;
};

static struct key *keys[2];

static void sign(struct text receipt, const struct key *key, struct buffer *token)
{
	struct buffer header = {0};
	uint8_t signature[64];
	buffer_printf(&header, "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"%.*s\"}", TEXT_ARGUMENTS(key_id(key)));
	assert_int_equal(jws_input(buffer_text(&header), receipt, token), STATUS_OK);
	assert_int_equal(key_sign(key, buffer_text(token), signature), STATUS_OK);
	assert_int_equal(jws_append_signature(token, (struct text){(const char *)signature, 64}), STATUS_OK);
	buffer_free(&header);
}

/* unsigned_bits: which of the receipts are not signed */
static void make_lines(struct lines *lines, const char *cell, size_t count, unsigned unsigned_bits)
{
	struct receipt_link link = receipt_link_first;
	for (size_t i = 0; i < count; i++) {
		struct tally *tally = make_tally(10 + i);
		struct buffer receipt = {0}, token = {0};
		receipt_print(tally, text_of(cell), &link, &receipt);
		assert_true(receipt_advance(&link, buffer_text(&receipt)));
		if ((unsigned_bits >> i & 1U) == 0)
			sign(buffer_text(&receipt), keys[0], &token);
		receipt_line_print(&link, buffer_text(&receipt), buffer_text(&token), &lines->text[lines->count++]);
		tally_free(tally);
		buffer_free(&receipt);
		buffer_free(&token);
	}
}

static void free_lines(struct lines *lines)
{
	for (size_t i = 0; i < lines->count; i++)
		buffer_free(&lines->text[i]);
	lines->count = 0;
}

/* NULL: it holds. Static memory. */
static const char *check(const struct lines *lines, const char *order, struct key *trusted, const char *first_line)
{
	static char problem_text[256];
	struct receipt_check *made = receipt_check_new(trusted);
	struct buffer problem = {0}, summary = {0}, jwk = {0}, line = {0};
	enum status status = STATUS_OK;
	if (first_line != NULL)
		status = receipt_check_line(made, text_of(first_line), &problem);
	assert_int_equal(key_to_public_jwk(keys[0], &jwk), STATUS_OK);
	buffer_printf(&line, "{\"jwk\":%s}", jwk.bytes);
	if (status == STATUS_OK)
		status = receipt_check_line(made, buffer_text(&line), &problem);
	for (; *order != 0 && status == STATUS_OK; order++)
		status = receipt_check_line(made, buffer_text(&lines->text[*order - '0']), &problem);
	if (status == STATUS_OK)
		status = receipt_check_end(made, &problem, &summary);
	assert_true(status == STATUS_OK || status == STATUS_INVALID);
	snprintf(problem_text, sizeof(problem_text), "%s", status == STATUS_OK ? "" : problem.bytes);
	receipt_check_free(made);
	buffer_free(&problem);
	buffer_free(&summary);
	buffer_free(&jwk);
	buffer_free(&line);
	return status == STATUS_OK ? NULL : problem_text;
}

static void test_chains(void **state)
{
	static const struct {
		const char *order;
		unsigned unsigned_bits;
		int trusted; /* 0, 1: that key; -1: none */
		const char *first_line, *problem;
	} cases[] = {
		{"01234", 0, -1, NULL, NULL},
		{"01234", 0, 0, NULL, NULL},
		{"01234", 0, 1, NULL, "given key"},
		{"234", 0, -1, NULL, NULL},
		{"0134", 0, -1, NULL, "missing"},
		{"01324", 0, -1, NULL, "missing"},
		{"10234", 0, -1, NULL, "order"},
		{"011234", 0, -1, NULL, "twice"},
		{"01234", 6, -1, NULL, NULL}, /* covered by the next */
		{"01234", 24, -1, NULL, "last 2 receipts"},
		{"", 0, -1, NULL, "no receipts"},
		{"024", 0, -1, "{\"export\":{\"ctx\":\"c\",\"flow\":\"flow\"}}", NULL},
		{"024", 4, -1, "{\"export\":{\"ctx\":\"c\",\"flow\":\"flow\"}}", "not signed"},
		{"024", 0, -1, "{\"export\":{\"ctx\":\"c\",\"flow\":\"other\"}}", "another flow"},
		{"01234", 0, -1, "{\"export\":{\"ctx\":\"c\"}}", NULL},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct lines lines = {.count = 0};
		make_lines(&lines, "cell", 5, cases[i].unsigned_bits);
		const char *problem =
			check(&lines, cases[i].order, cases[i].trusted < 0 ? NULL : keys[cases[i].trusted], cases[i].first_line);
		if ((problem == NULL) != (cases[i].problem == NULL) ||
			(problem != NULL && strstr(problem, cases[i].problem) == NULL))
			fail_msg("case %zu: %s", i, problem == NULL ? "holds" : problem);
		free_lines(&lines);
	}
}

/* Two cells that serve one participant have a chain each, in any mixture. */
static void test_two_cells(void **state)
{
	struct lines lines = {.count = 0};
	(void)state;
	make_lines(&lines, "one", 3, 0);
	make_lines(&lines, "other", 3, 0);
	assert_null(check(&lines, "012345", NULL, NULL));
	assert_null(check(&lines, "031425", NULL, NULL));
	assert_non_null(check(&lines, "031524", NULL, NULL));
	free_lines(&lines);
}

/* Each byte of a line: changed, it is found, whichever it is. */
static void test_every_byte_counts(void **state)
{
	struct lines lines = {.count = 0};
	(void)state;
	make_lines(&lines, "cell", 3, 0);
	for (size_t i = 0; i < lines.text[1].length; i++) {
		char *byte = &lines.text[1].bytes[i], before = *byte;
		*byte = before == '1' ? '2' : before == 'a' ? 'b' : 'a';
		if (check(&lines, "012", NULL, NULL) == NULL)
			fail_msg("byte %zu: %.40s", i, lines.text[1].bytes + (i < 20 ? 0 : i - 20));
		*byte = before;
	}
	assert_null(check(&lines, "012", NULL, NULL));
	free_lines(&lines);
}

static int setup(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		if (key_generate(KEY_ES256, i == 0 ? TEXT("c#dataplane-1") : TEXT("d#dataplane-2"), &keys[i]) != STATUS_OK)
			return 1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	key_free(keys[0]);
	key_free(keys[1]);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_spans), cmocka_unit_test(test_spans_against_bits),
		cmocka_unit_test(test_tallies), cmocka_unit_test(test_chains), cmocka_unit_test(test_two_cells),
		cmocka_unit_test(test_every_byte_counts)};
	return cmocka_run_group_tests(tests, setup, teardown);
}
