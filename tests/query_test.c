/* The predicate language: what is parsed, what is refused and where, what matches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "control/fabric/query.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct query_field fields[] = {{"id", "id"}, {"identifier", "identifier"}, {"vpas", "vpas"},
	{"properties", "properties"}, {"error", "error"}, {"state", "state"}, {"DefinitionID", "definitionId"},
	{"dataspaceProfileIds", "dataspaceProfileIds"}, {"true", "true"}, {"NULLable", "nullable"}, {NULL, NULL}};

static const char record_text[] =
	"{\"id\":\"7\",\"identifier\":\"did:web:provider.example\",\"error\":false,\"state\":2,\"definitionId\":\"d\","
	"\"dataspaceProfileIds\":[\"p1\",\"p2\"],\"nullable\":null,\"true\":\"yes\","
	"\"properties\":{\"group\":\"suppliers\",\"size\":12.5,\"count\":\"9\",\"quote\":\"it's\",\"a.b-c\":{\"d\":1},"
	"\"empty\":\"\",\"nothing\":null,\"percent\":\"50%\"},"
	"\"vpas\":[{\"type\":\"cfm.connector\",\"state\":\"active\",\"properties\":{\"k\":\"v\"}},"
	"{\"type\":\"cfm.dataplane\",\"state\":\"pending\"}]}";

static const struct {
	const char *predicate;
	bool matches;
} cases[] = {
	/* all */
	{"", true},
	{" \t\n", true},
	{"true", true},
	{" TRUE ", true},
	/* comparisons */
	{"id = '7'", true},
	{"id='7'", true},
	{"id != '7'", false},
	{"id != '8'", true},
	{"id = 7", true},
	{"state = 2", true},
	{"state = '2'", true},
	{"state = 2.0", true},
	{"state >= 2 AND state <= 2", true},
	{"state > 2", false},
	{"state < 2.5", true},
	{"state > -1", true},
	{"state != 3", true},
	{"properties.size = 12.5", true},
	{"properties.size > 9", true},
	{"properties.count > 10", false},
	{"properties.count = 9", true},
	{"identifier > 'did:a'", true},
	{"identifier < 'did:a'", false},
	{"identifier < 5", false},
	{"error = false", true},
	{"error = TRUE", false},
	{"error = 'false'", true},
	{"error != true", true},
	{"id = true", false},
	{"id != true", true},
	{"DefinitionID = 'd'", true},
	{"true = 'yes'", true},
	{"true = 'yes' AND id = '7'", true},
	{"NULLable IS NULL", true},
	/* text */
	{"identifier like '%provider%'", true},
	{"identifier LIKE 'did:web:_rovider.exampl_'", true},
	{"identifier LIKE 'provider'", false},
	{"identifier LIKE '%'", true},
	{"identifier LIKE '%example%example'", false},
	{"identifier NOT LIKE '%consumer%'", true},
	{"identifier not like '%provider%'", false},
	{"properties.percent LIKE '50\\%'", true},
	{"properties.percent LIKE '5_\\%'", true},
	{"properties.group LIKE 'suppl\\%'", false},
	{"properties.empty LIKE ''", true},
	{"identifier CONTAINS 'provider'", true},
	{"identifier contains 'consumer'", false},
	{"identifier STARTS_WITH 'did:web:'", true},
	{"identifier starts_with 'web'", false},
	{"identifier ENDS_WITH '.example'", true},
	{"identifier ends_with '.exampl'", false},
	{"properties.quote = 'it''s'", true},
	/* null */
	{"properties.nothing IS NULL", true},
	{"properties.nothing IS NOT NULL", false},
	{"properties.missing is null", true},
	{"properties.missing is not null", false},
	{"properties.missing = null", true},
	{"properties.group != null", true},
	{"properties.missing != 'x'", false},
	{"properties.missing NOT IN ('x')", false},
	{"properties.missing NOT LIKE 'x'", false},
	{"properties.group LIKE null", false},
	{"properties.group CONTAINS null", false},
	{"properties.group > null", false},
	{"properties.group.deeper IS NULL", true},
	/* lists of values */
	{"properties.group IN ('customers', 'suppliers')", true},
	{"properties.group in ('customers')", false},
	{"properties.group NOT IN ('customers')", true},
	{"state IN (1,2,3)", true},
	{"state NOT IN (1, 2)", false},
	/* arrays */
	{"vpas.type='cfm.connector' AND vpas.properties.k='v'", true},
	{"vpas.type = 'cfm.dataplane' AND vpas.state = 'active'", true},
	{"vpas.state != 'active'", true},
	{"vpas.type = 'cfm.issuer'", false},
	{"vpas.properties.k IS NOT NULL", true},
	{"vpas.missing IS NULL", true},
	{"dataspaceProfileIds = 'p2'", true},
	{"dataspaceProfileIds CONTAINS 'p1'", true},
	{"dataspaceProfileIds CONTAINS 'p'", false},
	{"properties CONTAINS 'group'", true},
	{"properties CONTAINS 'groups'", false},
	/* quoted names */
	{"properties.\"a.b-c\".d = 1", true},
	{"\"properties\".\"group\" = 'suppliers'", true},
	{"properties.\"a\"\"b\" IS NULL", true},
	/* lists: AND, OR, and the mix that the existing grammar takes as AND */
	{"id = '7' AND state = 3", false},
	{"id = '8' OR state = 2", true},
	{"id = '8' or state = 3 or error = false", true},
	{"(id = '8' OR state = 2)", true},
	{"((id = '8' OR state = 2))", true},
	{"id = '8' AND state = 3 OR error = false", false},
	{"error = false OR id = '7' AND state = 2", true},
	{"(id = '8' AND state = 3 OR error = false)", false},
	/* groups */
	{"(id = '7')", true},
	{"(id = '7' OR id = '8') AND state = 2", true},
	{"(id = '7' OR id = '8') AND state = 3", false},
	{"state = 2 AND (id = '8' OR id = '9')", false},
	{"(id = '8' AND state = 3) OR error = false", true},
	{"error = false OR (id = '8') AND state = 3", true},
	{"(id = '8') AND state = 3 OR error = false", true},
	{"id = '8' AND (state = 3) OR error = true OR id = '7'", true},
	{"((id = '8' OR id = '7') AND (state = 1 OR (state = 2 AND error = false)))", true},
};

static void predicates_match(void **state)
{
	struct json *record = NULL;
	(void)state;
	assert_int_equal(json_parse(text_of(record_text), NULL, &record), STATUS_OK);
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct query *query = NULL;
		struct buffer error = {0};
		if (query_parse(text_of(cases[i].predicate), fields, &query, &error) != STATUS_OK)
			fail_msg("%s: %s", cases[i].predicate, error.bytes);
		if (query_matches(query, record) != cases[i].matches)
			fail_msg("%s: must%s match", cases[i].predicate, cases[i].matches ? "" : " not");
		assert_int_equal(query_is_all(query), i < 4);
		query_free(query);
		buffer_free(&error);
	}
	json_free(record);
}

static const struct {
	const char *predicate, *error;
} refused[] = {
	{"id", "line 1:2 an operator is expected"},
	{"id =", "line 1:4 a value is expected: 'text', a number, true, false or null"},
	{"= '7'", "line 1:0 a field is expected"},
	{"id = '7' AND", "line 1:12 a field is expected"},
	{"id = '7", "line 1:5 a quote that does not end"},
	{"id = '7' id = '8'", "line 1:9 AND, OR or the end is expected"},
	{"(id = '7'", "line 1:9 ) is expected"},
	{"id = '7')", "line 1:8 AND, OR or the end is expected"},
	{"id IN '7'", "line 1:6 ( is expected"},
	{"id IN ('7'", "line 1:10 ) is expected"},
	{"id IN ()", "line 1:7 a value is expected: 'text', a number, true, false or null"},
	{"id NOT '7'", "line 1:7 IN or LIKE is expected"},
	{"id IS '7'", "line 1:6 NULL is expected"},
	{"id Like '7'", "line 1:3 an operator is expected"},
	{"id == '7'", "line 1:4 a value is expected: 'text', a number, true, false or null"},
	{"id = 7.", "line 1:5 a value is expected: 'text', a number, true, false or null"},
	{"id = .7", "line 1:5 a value is expected: 'text', a number, true, false or null"},
	{"id = +7", "line 1:5 a value is expected: 'text', a number, true, false or null"},
	{"id = 1e3", "line 1:6 AND, OR or the end is expected"},
	{"id = \"7\"", "line 1:5 a value is expected: 'text', a number, true, false or null"},
	{"unknown = 1", "line 1:0 no such field"},
	{"id = '7' AND ID = '7'", "line 1:13 no such field"},
	{"id. = 1", "line 1:4 a field is expected"},
	{"properties.a-b = 1", "line 1:12 an operator is expected"},
	{"true true", "line 1:5 an operator is expected"},
	{"false", "line 1:0 no such field"},
	{"()", "line 1:1 a field is expected"},
	{"id = '7'; drop table tenants", "line 1:8 AND, OR or the end is expected"},
	{"id\x01= '7'", "line 1:2 an operator is expected"},
};

static void wrong_predicates_are_refused_with_their_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(refused); i++) {
		struct query *query = NULL;
		struct buffer error = {0};
		assert_int_equal(query_parse(text_of(refused[i].predicate), fields, &query, &error), STATUS_INVALID);
		assert_string_equal(error.bytes, refused[i].error);
		buffer_free(&error);
	}
}

/* `count` times `part`, with `join` between. */
static char *repeated(const char *begin, const char *part, const char *join, size_t count, const char *end)
{
	struct buffer text = {0};
	buffer_append(&text, text_of(begin));
	for (size_t i = 0; i < count; i++) {
		buffer_append(&text, text_of(i == 0 ? "" : join));
		buffer_append(&text, text_of(part));
	}
	buffer_append(&text, text_of(end));
	assert_false(text.failed);
	return buffer_take(&text);
}

static void limits_hold(void **state)
{
	static const struct {
		const char *begin, *part, *join, *end, *error;
		size_t count;
	} limits[] = {
		{"", "id=1", " OR ", "", NULL, QUERY_CONDITIONS_MAX},
		{"", "id=1", " OR ", "", "too many conditions", QUERY_CONDITIONS_MAX + 1},
		{"id IN (", "1", ",", ")", NULL, QUERY_VALUES_MAX},
		{"id IN (", "1", ",", ")", "too many values", QUERY_VALUES_MAX + 1},
		{"", "properties", ".", " = 1", NULL, QUERY_SEGMENTS_MAX},
		{"", "properties", ".", " = 1", "a field of too many names", QUERY_SEGMENTS_MAX + 1},
		{"", "(", "", "id=1", ") is expected", QUERY_DEPTH_MAX},
		{"", "(", "", "id=1", "too many parentheses within each other", QUERY_DEPTH_MAX + 1},
		{"id LIKE '", "x", "", "'", NULL, QUERY_PATTERN_MAX},
		{"id LIKE '", "x", "", "'", "the pattern is too long", QUERY_PATTERN_MAX + 1},
		{"id = '", "x", "", "'", NULL, QUERY_BYTES_MAX - 7},
		{"id = '", "x", "", "'", "the predicate is too long", QUERY_BYTES_MAX - 6},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(limits); i++) {
		struct query *query = NULL;
		struct buffer error = {0};
		char *text = repeated(limits[i].begin, limits[i].part, limits[i].join, limits[i].count, limits[i].end);
		enum status status = query_parse(text_of(text), fields, &query, &error);
		if (status != (limits[i].error == NULL ? STATUS_OK : STATUS_INVALID))
			fail_msg("case %zu: %s", i, error.bytes);
		if (limits[i].error != NULL)
			assert_non_null(strstr(error.bytes, limits[i].error));
		else
			query_free(query);
		free(text);
		buffer_free(&error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(predicates_match),
		cmocka_unit_test(wrong_predicates_are_refused_with_their_place), cmocka_unit_test(limits_hold)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
