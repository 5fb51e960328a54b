/* JSON: what the strict scan refuses and where, what the tree says, and that printing is exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "server/base/json.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define BYTES(literal)                                                                                                 \
	{                                                                                                                  \
		literal, sizeof(literal) - 1                                                                                   \
	}

static const struct {
	struct text text;
	const char *printed; /* NULL: INVALID */
} cases[] = {
	{BYTES("{}"), "{}"},
	{BYTES(" \t\r\n[ ] \n"), "[]"},
	{BYTES("null"), "null"},
	{BYTES("true"), "true"},
	{BYTES("\"\""), "\"\""},
	{BYTES("[1,-1,0,-0]"), "[1,-1,0,0]"},
	{BYTES("[0.5,1e2,1E+2,1e-2,-2.5e3]"), "[0.5,100,100,0.01,-2500]"},
	{BYTES("[0.1,1e308,123456789.123456789]"), "[0.1,1e+308,123456789.12345679]"},
	{BYTES("[9007199254740992,-9007199254740992]"), "[9007199254740992,-9007199254740992]"},
	{BYTES("24444444444444444.44"), "24444444444444444.0"},
	{BYTES("{\"b\":1,\"a\":{\"b\":2}}"), "{\"b\":1,\"a\":{\"b\":2}}"},
	{BYTES("{\"a\":[{\"a\":1},{\"a\":1}]}"), "{\"a\":[{\"a\":1},{\"a\":1}]}"},
	{BYTES("{\"a\":1,\"A\":2}"), "{\"a\":1,\"A\":2}"},
	{BYTES("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
	{BYTES("\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\""), "\"A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
	{BYTES("\"\xc3\xa9\xf4\x8f\xbf\xbf\""), "\"\xc3\xa9\xf4\x8f\xbf\xbf\""},
	{BYTES("\"\x7f\""), "\"\\u007f\""},
	/* grammar */
	{BYTES(""), NULL},
	{BYTES(" "), NULL},
	{BYTES("{"), NULL},
	{BYTES("[1,]"), NULL},
	{BYTES("[,1]"), NULL},
	{BYTES("[1 2]"), NULL},
	{BYTES("{\"a\":1,}"), NULL},
	{BYTES("{\"a\"}"), NULL},
	{BYTES("{\"a\" 1}"), NULL},
	{BYTES("{a:1}"), NULL},
	{BYTES("{'a':1}"), NULL},
	{BYTES("{1:1}"), NULL},
	{BYTES("[}"), NULL},
	{BYTES("{]"), NULL},
	{BYTES("1 1"), NULL},
	{BYTES("{}x"), NULL},
	{BYTES("// a\n1"), NULL},
	{BYTES("[1/**/]"), NULL},
	{BYTES("\xef\xbb\xbf{}"), NULL},
	{BYTES("{}\0"), NULL},
	{BYTES("tru"), NULL},
	{BYTES("True"), NULL},
	{BYTES("nullx"), NULL},
	{BYTES("NaN"), NULL},
	{BYTES("Infinity"), NULL},
	{BYTES("[1\v]"), NULL},
	/* numbers */
	{BYTES("01"), NULL},
	{BYTES("+1"), NULL},
	{BYTES(".5"), NULL},
	{BYTES("1."), NULL},
	{BYTES("1e"), NULL},
	{BYTES("1e+"), NULL},
	{BYTES("-"), NULL},
	{BYTES("0x10"), NULL},
	{BYTES("9007199254740993"), NULL},
	{BYTES("-9007199254740993"), NULL},
	{BYTES("1e309"), NULL},
	{BYTES("0.0000000000000000000000000000000000000000000000000000000000001"), "1e-61"},
	{BYTES("0.00000000000000000000000000000000000000000000000000000000000001"), NULL},
	/* texts */
	{BYTES("\"a"), NULL},
	{BYTES("\"\\"), NULL},
	{BYTES("\"\\x41\""), NULL},
	{BYTES("\"\\u12\""), NULL},
	{BYTES("\"\\u12g4\""), NULL},
	{BYTES("\"\\u0000\""), NULL},
	{BYTES("{\"\\u0000\":1}"), NULL},
	{BYTES("\"\\ud83d\""), NULL},
	{BYTES("\"\\ud83dx\""), NULL},
	{BYTES("\"\\ud83d\\u0041\""), NULL},
	{BYTES("\"\\ude00\""), NULL},
	{BYTES("\"a\nb\""), NULL},
	{BYTES("\"\x1f\""), NULL},
	{BYTES("\"\0\""), NULL},
	{BYTES("\"\x80\""), NULL},
	{BYTES("\"\xc0\xaf\""), NULL},
	{BYTES("\"\xed\xa0\x80\""), NULL},
	{BYTES("\"\xf4\x90\x80\x80\""), NULL},
	{BYTES("\"\xe2\x82\""), NULL},
	/* keys twice, however they are written */
	{BYTES("{\"a\":1,\"a\":2}"), NULL},
	{BYTES("{\"role\":1,\"\\u0072ole\":2}"), NULL},
	{BYTES("{\"\":1,\"\":2}"), NULL},
	{BYTES("{\"x\":{\"a\":1},\"b\":{\"a\":1,\"c\":[{}],\"a\":1}}"), NULL},
	{BYTES("{\"\\u20ac\":1,\"\xe2\x82\xac\":2}"), NULL},
};

static void documents_are_judged_and_printed(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct json *root = NULL;
		struct buffer printed = {0};
		char *exact = malloc(cases[i].text.length + 1); /* at its end, so that a read past it is seen */
		memcpy(exact + 1, cases[i].text.bytes, cases[i].text.length);
		const struct text text = {exact + 1, cases[i].text.length};
		enum status expected = cases[i].printed == NULL ? STATUS_INVALID : STATUS_OK;
		if (json_check(text, NULL, NULL) != expected || json_parse(text, NULL, &root) != expected)
			fail_msg("case %zu: %.*s", i, TEXT_ARGUMENTS(text));
		json_print(root, &printed);
		assert_string_equal(printed.bytes, cases[i].printed == NULL ? "null" : cases[i].printed);
		buffer_free(&printed);
		json_free(root);
		free(exact);
	}
}

static void refusals_say_where(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		size_t offset;
	} places[] = {{"{\"a\":1,\"a\":2}", 7}, {"[1,x]", 3}, {"[1,2", 4}, {"{}x", 2}, {"[90071992547409930]", 1}};
	for (size_t i = 0; i < COUNT(places); i++) {
		size_t offset = 999;
		assert_int_equal(json_check(text_of(places[i].text), NULL, &offset), STATUS_INVALID);
		if (offset != places[i].offset)
			fail_msg("%s: %zu", places[i].text, offset);
	}
}

static void limits_hold(void **state)
{
	(void)state;
	static const struct json_limits small = {.bytes = 20, .depth = 3, .nodes = 5};
	static const struct {
		const char *text;
		enum status status;
	} limited[] = {
		{"[[[1]]]", STATUS_OK},
		{"[[[[]]]]", STATUS_TOO_LARGE},
		{"[1,2,3,4]", STATUS_OK},
		{"[1,2,3,4,5]", STATUS_TOO_LARGE},
		{"\"123456789012345678\"", STATUS_OK},
		{"\"1234567890123456789\"", STATUS_TOO_LARGE},
	};
	for (size_t i = 0; i < COUNT(limited); i++) {
		struct json *root = (struct json *)&root;
		enum status status = json_parse(text_of(limited[i].text), &small, &root);
		if (status != limited[i].status || (root != NULL) != (status == STATUS_OK))
			fail_msg("%s: %s", limited[i].text, status_name(status));
		json_free(root);
	}
	struct buffer deep = {0};
	for (int i = 0; i < 100000; i++)
		buffer_append_byte(&deep, '[');
	static const struct json_limits loose = {.bytes = SIZE_MAX, .depth = SIZE_MAX, .nodes = SIZE_MAX};
	assert_int_equal(json_check(buffer_text(&deep), &loose, NULL), STATUS_TOO_LARGE);
	buffer_free(&deep);
}

/* More keys than the scan's first set has room for, among them the one that comes twice. */
static void many_keys_are_told_apart(void **state)
{
	(void)state;
	struct buffer document = {0};
	struct json *root = NULL;
	buffer_append_byte(&document, '{');
	for (int i = 0; i < 5000; i++)
		buffer_printf(&document, "%s\"k%d\":{\"k\":%d}", i == 0 ? "" : ",", i, i);
	size_t length = document.length;
	buffer_append_byte(&document, '}');
	assert_int_equal(json_parse(buffer_text(&document), NULL, &root), STATUS_OK);
	assert_int_equal(json_count(root), 5000);
	json_free(root);
	document.length = length;
	buffer_append(&document, TEXT(",\"k4321\":1}"));
	assert_int_equal(json_check(buffer_text(&document), NULL, NULL), STATUS_INVALID);
	buffer_free(&document);
}

static void trees_are_read(void **state)
{
	(void)state;
	static const char document[] =
		"{\"text\":\"t\",\"Text\":\"T\",\"yes\":true,\"no\":false,\"n\":-5,\"half\":0.5,\"list\":[1,2]}";
	struct json *root = NULL;
	int64_t number = 7;
	bool flag = false;
	assert_int_equal(json_parse(text_of(document), NULL, &root), STATUS_OK);
	assert_int_equal(json_kind(root), JSON_OBJECT);
	assert_true(text_equals(json_member_text(root, "Text"), TEXT("T")));
	assert_null(json_member(root, "TEXT"));
	assert_true(json_bool(json_member(root, "yes"), &flag) && flag);
	assert_true(json_bool(json_member(root, "no"), &flag) && !flag);
	assert_false(json_bool(json_member(root, "n"), &flag));
	assert_true(json_integer(json_member(root, "n"), &number) && number == -5);
	assert_false(json_integer(json_member(root, "half"), &number));
	assert_false(json_integer(json_member(root, "text"), &number));
	assert_null(json_member_text(root, "n").bytes);
	const struct json *list = json_member(root, "list");
	assert_int_equal(json_count(list), 2);
	assert_null(json_member(list, "1"));
	assert_null(json_next(json_next(json_first(list))));
	assert_string_equal(json_name(list), "list");
	/* chains end softly */
	assert_null(json_member(json_member(json_member(root, "text"), "a"), "b"));
	assert_null(json_first(json_member(root, "text")));
	assert_null(json_name(NULL));
	assert_int_equal(json_kind(NULL), JSON_NULL);
	assert_int_equal(json_count(NULL), 0);
	json_free(root);
	json_free(NULL);
}

static void trees_are_built(void **state)
{
	(void)state;
	struct json *root = json_object_new(), *list = json_array_new();
	assert_true(json_add_text(root, "text", TEXT("a\"\xc3\xa9")));
	assert_true(json_add_integer(root, "most", (int64_t)1 << 53));
	assert_false(json_add_integer(root, "more", ((int64_t)1 << 53) + 1));
	assert_false(json_add_integer(root, "less", INT64_MIN));
	assert_false(json_add_text(root, "nul", (struct text){"a\0b", 3}));
	assert_true(json_add_bool(root, "yes", true));
	assert_true(json_add_null(root, "nothing"));
	assert_true(json_add_integer(list, NULL, 1));
	assert_false(json_add_integer(list, "named", 1));
	assert_false(json_add_integer(root, NULL, 1));
	assert_false(json_add_integer(NULL, "a", 1));
	assert_false(json_add(root, "self", root));
	assert_true(json_add(root, "list", list));
	assert_false(json_add(root, "none", NULL));
	json_remove(root, "yes");
	json_remove(root, "absent");
	struct json *copy = json_copy(root);
	assert_true(json_set(root, "nothing", json_array_new()));
	assert_true(json_set(root, "new", json_object_new()));
	struct buffer printed = {0};
	json_print(root, &printed);
	assert_string_equal(
		printed.bytes, "{\"text\":\"a\\\"\xc3\xa9\",\"most\":9007199254740992,\"nothing\":[],\"list\":[1],\"new\":{}}");
	buffer_clear(&printed);
	json_free(root);
	json_print(copy, &printed);
	assert_string_equal(
		printed.bytes, "{\"text\":\"a\\\"\xc3\xa9\",\"most\":9007199254740992,\"nothing\":null,\"list\":[1]}");
	json_free(copy);
	buffer_free(&printed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_are_judged_and_printed),
		cmocka_unit_test(refusals_say_where),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(many_keys_are_told_apart),
		cmocka_unit_test(trees_are_read),
		cmocka_unit_test(trees_are_built),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
