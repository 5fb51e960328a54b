/* Signaling messages: what each verb needs, takes and ignores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tenants/dp/signaling/signaling_message.h"

#define BASE                                                                                                           \
	"\"messageId\":\"m\",\"participantId\":\"p\",\"counterPartyId\":\"c\",\"dataspaceContext\":\"d\","                 \
	"\"agreementId\":\"a\",\"datasetId\":\"s\""
#define REST "\"processId\":\"f\",\"profile\":\"http-pull\",\"claims\":{}"

static void test_verbs(void **state)
{
	static const struct {
		const char *segment;
		bool has_flow, is_there;
		enum signaling_verb verb;
	} cases[] = {{"prepare", false, true, SIGNALING_PREPARE}, {"start", false, true, SIGNALING_START},
		{"started", true, true, SIGNALING_STARTED}, {"completed", true, true, SIGNALING_COMPLETED},
		{"prepare", true, false, 0}, {"suspend", false, false, 0}, {"Start", false, false, 0}, {"", true, false, 0}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum signaling_verb verb = SIGNALING_VERB_COUNT;
		assert_int_equal(signaling_verb_parse(text_of(cases[i].segment), cases[i].has_flow, &verb), cases[i].is_there);
		if (cases[i].is_there)
			assert_int_equal(verb, cases[i].verb);
	}
}

static void test_read(void **state)
{
	static const struct {
		enum signaling_verb verb;
		const char *body, *wrong; /* NULL: good */
	} cases[] = {
		{SIGNALING_PREPARE, "{" BASE "," REST "}", NULL},
		{SIGNALING_START, "{" BASE "," REST ",\"labels\":[\"x\"],\"metadata\":{},\"callbackAddress\":\"http://x\"}",
			NULL},
		{SIGNALING_START, "{" BASE ",\"dataFlowId\":\"f\",\"transferType\":\"HttpData-PULL\",\"claims\":{}}", NULL},
		{SIGNALING_START, "{" BASE "," REST ",\"labels\":null,\"dataAddress\":null,\"metadata\":null}", NULL},
		{SIGNALING_PREPARE, "{" BASE "," REST ",\"dataAddress\":7,\"reason\":7}", NULL}, /* not its members */
		{SIGNALING_PREPARE, "", "the body"},
		{SIGNALING_PREPARE, "[]", "the body"},
		{SIGNALING_PREPARE, "{" BASE ",\"processId\":\"f\",\"profile\":\"x\"}", "claims"},
		{SIGNALING_PREPARE, "{" BASE ",\"processId\":\"f\",\"profile\":\"x\",\"claims\":null}", "claims"},
		{SIGNALING_PREPARE, "{" BASE ",\"processId\":\"a/b\",\"profile\":\"x\",\"claims\":{}}", "processId"},
		{SIGNALING_PREPARE, "{" BASE ",\"processId\":\"\",\"profile\":\"x\",\"claims\":{}}", "processId"},
		{SIGNALING_PREPARE, "{" BASE ",\"processId\":\"f\",\"profile\":\"x y\",\"claims\":{}}", "profile"},
		{SIGNALING_PREPARE, "{" BASE "," REST ",\"labels\":[7]}", "labels"},
		{SIGNALING_PREPARE, "{" BASE "," REST ",\"labels\":{}}", "labels"},
		{SIGNALING_PREPARE, "{" BASE "," REST ",\"metadata\":[]}", "metadata"},
		{SIGNALING_START, "{" BASE "," REST ",\"dataAddress\":\"x\"}", "dataAddress"},
		{SIGNALING_SUSPEND, "", NULL},
		{SIGNALING_SUSPEND, "{}", NULL},
		{SIGNALING_SUSPEND, "{\"messageId\":\"m\",\"reason\":\"because it is\"}", NULL},
		{SIGNALING_SUSPEND, "{\"messageId\":\"m\",\"reason\":7}", "reason"},
		{SIGNALING_SUSPEND, "{\"messageId\":7}", "messageId"},
		{SIGNALING_SUSPEND, "{", "the body"},
		{SIGNALING_COMPLETED, "{\"reason\":7}", NULL},
		{SIGNALING_STARTED, "{\"dataAddress\":{}}", NULL},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct signaling_message message;
		struct buffer error = {0};
		enum status status = signaling_message_parse(cases[i].verb, text_of(cases[i].body), &message, &error);
		if (status != (cases[i].wrong == NULL ? STATUS_OK : STATUS_INVALID))
			print_error("%s\n", cases[i].body);
		assert_int_equal(status, cases[i].wrong == NULL ? STATUS_OK : STATUS_INVALID);
		if (cases[i].wrong != NULL)
			assert_true(text_starts_with(buffer_text(&error), text_of(cases[i].wrong)));
		signaling_message_free(&message);
		buffer_free(&error);
	}
}

static void test_aliases(void **state)
{
	struct signaling_message message;
	struct buffer error = {0};
	(void)state;
	assert_int_equal(
		signaling_message_parse(SIGNALING_START,
			TEXT("{" BASE
				 ",\"processId\":\"f\",\"dataFlowId\":\"g\",\"profile\":\"p\",\"transferType\":\"q\",\"claims\":{}}"),
			&message, &error),
		STATUS_OK);
	assert_true(text_equals(message_text(&message, MESSAGE_FIELD_PROCESS), TEXT("f"))); /* the name of today counts */
	assert_true(text_equals(message_text(&message, MESSAGE_FIELD_PROFILE), TEXT("p")));
	assert_null(message_text(&message, MESSAGE_FIELD_REASON).bytes);
	signaling_message_free(&message);
	buffer_free(&error);
}

static void test_limits(void **state)
{
	struct buffer body = {0}, error = {0};
	struct signaling_message message;
	(void)state;
	buffer_append(&body, TEXT("{" BASE "," REST ",\"metadata\":{\"x\":\""));
	for (int i = 0; i < 33 * 1024; i++)
		buffer_append_byte(&body, 'x');
	buffer_append(&body, TEXT("\"}}"));
	assert_int_equal(signaling_message_parse(SIGNALING_START, buffer_text(&body), &message, &error), STATUS_INVALID);
	assert_true(text_starts_with(buffer_text(&error), TEXT("metadata")));
	buffer_free(&body);
	buffer_free(&error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_verbs), cmocka_unit_test(test_read),
		cmocka_unit_test(test_aliases), cmocka_unit_test(test_limits)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
