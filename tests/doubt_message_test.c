/* Questions and answers about silent cells, on the wire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/command/doubt_message.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define FROM "0123456789abcdef0123456789abcdef"

static void what_is_printed_is_read(void **state)
{
	char longest[DOUBT_URL_MAX + 1]; /* all of it escaped */
	const char *const urls[] = {"https://eu1.example.org:8443/a?b=\"c\"", longest, ""};
	(void)state;
	memset(longest, '"', DOUBT_URL_MAX);
	longest[DOUBT_URL_MAX] = 0;
	for (size_t i = 0; i < COUNT(urls); i++) {
		const struct doubt_question question = {FROM, 4294967295u, "cell-1", text_of(urls[i]), NULL};
		struct doubt_question read;
		struct buffer text = {0};
		doubt_question_print(&question, &text);
		assert_int_equal(doubt_question_parse(buffer_text(&text), &read), STATUS_OK);
		assert_string_equal(read.from, FROM);
		assert_string_equal(read.cell, "cell-1");
		assert_int_equal(read.number, 4294967295u);
		assert_true(text_equals(read.url, question.url) || (read.url.length == 0 && question.url.length == 0));
		doubt_question_free(&read);
		buffer_free(&text);
	}
	for (int is_alive = 0; is_alive < 2; is_alive++) {
		const struct doubt_answer answer = {7, "cell-1", is_alive};
		struct doubt_answer read;
		struct buffer text = {0};
		doubt_answer_print(&answer, &text);
		assert_int_equal(doubt_answer_parse(buffer_text(&text), &read), STATUS_OK);
		assert_int_equal(read.number, 7);
		assert_int_equal(read.is_alive, is_alive);
		assert_string_equal(read.cell, "cell-1");
		buffer_free(&text);
	}
}

static void what_is_none(void **state)
{
	static const char *const questions[] = {"", "{}", "[]", "null", "{\"v\":1,\"from\":\"" FROM "\",\"q\":1}",
		"{\"v\":2,\"from\":\"" FROM "\",\"q\":1,\"cell\":\"a\"}", "{\"v\":1,\"from\":\"x\",\"q\":1,\"cell\":\"a\"}",
		"{\"v\":1,\"from\":\"" FROM "\",\"q\":0,\"cell\":\"a\"}",
		"{\"v\":1,\"from\":\"" FROM "\",\"q\":\"1\",\"cell\":\"a\"}",
		"{\"v\":1,\"from\":\"" FROM "\",\"q\":4294967296,\"cell\":\"a\"}",
		"{\"v\":1,\"from\":\"" FROM "\",\"q\":1,\"cell\":\"a.b\"}",
		"{\"v\":1,\"from\":\"" FROM "\",\"q\":1,\"cell\":\"\"}",
		"{\"v\":1,\"from\":\"" FROM "\",\"q\":1,\"cell\":\"a\",\"url\":7}",
		"{\"v\":1,\"from\":\"" FROM "\",\"q\":1,\"cell\":\"a\",\"url\":\"\"}",
		"{\"v\":1,\"from\":\"" FROM "\",\"q\":1,\"cell\":\"a\",\"url\":\"http://a/\x7f\"}",
		"{\"v\":1,\"from\":\"" FROM "\",\"q\":1,\"cell\":\"a\",\"url\":\"http://a/\\n\"}",
		"{\"v\":1,\"from\":\"" FROM "\",\"q\":1,\"cell\":\"a\",\"url\":\"http://\\u00e4/\"}"};
	static const char *const answers[] = {"", "{}", "[]", "{\"v\":1,\"q\":1,\"cell\":\"a\"}",
		"{\"v\":1,\"q\":1,\"cell\":\"a\",\"alive\":1}", "{\"v\":1,\"q\":-1,\"cell\":\"a\",\"alive\":true}",
		"{\"v\":1,\"q\":1,\"cell\":\"*\",\"alive\":true}", "{\"v\":2,\"q\":1,\"cell\":\"a\",\"alive\":true}"};
	struct doubt_question question;
	struct doubt_answer answer;
	(void)state;
	for (size_t i = 0; i < COUNT(questions); i++)
		assert_int_not_equal(doubt_question_parse(text_of(questions[i]), &question), STATUS_OK);
	for (size_t i = 0; i < COUNT(answers); i++)
		assert_int_not_equal(doubt_answer_parse(text_of(answers[i]), &answer), STATUS_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_printed_is_read),
		cmocka_unit_test(what_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
