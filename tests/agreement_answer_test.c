/* Answers of control planes that are asked for an agreement: which one it is, and whose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tenants/dp/signaling/agreement_answer.h"

#define OWN "did:web:own.example"
#define OTHER "did:web:other.example"
#define AGREEMENT "\"@type\":\"Agreement\",\"@id\":\"urn:a\""
#define PARTIES(assigner, assignee) ",\"assigner\":\"" assigner "\",\"assignee\":\"" assignee "\""

static struct participant participant = {
	.identity = (char *)(uintptr_t)OWN, .signaling = {.participants = (char *)(uintptr_t) "BPN1,BPN2"}};

static enum status read_answer(struct text answer, bool is_provider, struct buffer *record)
{
	const struct agreement_expected expected = {
		.id = TEXT("urn:a"), .counter_party = TEXT(OTHER), .participant = &participant, .is_provider = is_provider};
	struct buffer error = {0};
	enum status status = agreement_answer_read(answer, &expected, record, &error);
	assert_int_equal(error.length > 0, status != STATUS_OK);
	buffer_free(&error);
	return status;
}

static void test_answers(void **state)
{
	static const struct {
		const char *answer;
		bool provided, consumed; /* taken where the participant is the provider, the consumer */
	} cases[] = {
		{"{" AGREEMENT "}", true, true},
		{"{" AGREEMENT PARTIES(OWN, OTHER) "}", true, false},
		{"{" AGREEMENT PARTIES(OTHER, OWN) "}", false, true},
		{"{" AGREEMENT PARTIES("BPN2", OTHER) "}", true, false},
		{"{" AGREEMENT PARTIES("BPN", OTHER) "}", false, false},
		{"{" AGREEMENT PARTIES(OWN, OWN) "}", false, false},
		{"{" AGREEMENT PARTIES("", "") "}", false, false},
		{"{" AGREEMENT ",\"odrl:assigner\":{\"@id\":\"" OWN "\"}}", true, false},
		{"{" AGREEMENT ",\"assignee\":[\"" OTHER "\"]}", true, false},
		{"{" AGREEMENT ",\"assignee\":[\"" OTHER "\",\"" OTHER "\"]}", false, false},
		{"{" AGREEMENT ",\"assignee\":null}", false, false},
		{"{\"@type\":\"odrl:Agreement\",\"@id\":\"urn:a\"}", true, true},
		{"{\"@type\":\"http://www.w3.org/ns/odrl/2/Agreement\",\"@id\":\"urn:a\"}", true, true},
		{"{\"@type\":\"Offer\",\"@id\":\"urn:a\"}", false, false},
		{"{\"@type\":[\"Agreement\",\"Offer\"],\"@id\":\"urn:a\"}", false, false},
		{"{\"@id\":\"urn:a\"}", false, false},
		{"{\"@type\":\"Agreement\"}", false, false},
		{"{\"@type\":\"Agreement\",\"@id\":\"urn:A\"}", false, false},
		{"{\"@type\":\"Agreement\",\"@id\":[\"urn:a\"]}", false, false},
		{"[{" AGREEMENT "}]", false, false},
		{"{" AGREEMENT, false, false},
		{"null", false, false},
		{"", false, false},
	};
	(void)state;
	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
		bool is_provider = i % 2 == 0, is_taken = is_provider ? cases[i / 2].provided : cases[i / 2].consumed;
		struct buffer record = {0};
		enum status status = read_answer(text_of(cases[i / 2].answer), is_provider, &record);
		if (status != (is_taken ? STATUS_OK : STATUS_INVALID))
			fail_msg("%s as %s: %s", cases[i / 2].answer, is_provider ? "provider" : "consumer", status_name(status));
		assert_int_equal(record.length > 0, is_taken);
		buffer_free(&record);
	}
}

static void test_record(void **state)
{
	struct buffer record = {0};
	(void)state;
	assert_int_equal(
		read_answer(TEXT(" { " AGREEMENT " , \"permission\" : [ ] , \"more\":1 } "), true, &record), STATUS_OK);
	assert_string_equal(record.bytes, "{\"policy\":{" AGREEMENT ",\"permission\":[],\"more\":1}}");
	buffer_free(&record);
}

static void test_size(void **state)
{
	struct buffer answer = {0}, record = {0};
	(void)state;
	buffer_append(&answer, TEXT("{" AGREEMENT "}"));
	while (answer.length < AGREEMENT_ANSWER_MAX)
		buffer_append_byte(&answer, ' ');
	assert_int_equal(read_answer(buffer_text(&answer), true, &record), STATUS_OK);
	buffer_clear(&record);
	buffer_append_byte(&answer, ' ');
	assert_int_equal(read_answer(buffer_text(&answer), true, &record), STATUS_TOO_LARGE);
	assert_int_equal(record.length, 0);
	buffer_free(&answer);
	buffer_free(&record);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers), cmocka_unit_test(test_record), cmocka_unit_test(test_size)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
