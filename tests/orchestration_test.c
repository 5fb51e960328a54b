/* The value of an orchestration: read and printed alike, moved from step to step, merged whoever was first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/orchestration/orchestration.h"

/* As an existing manager writes it, after the first step. */
#define VALUE                                                                                                          \
	"{\"id\":\"o-1\",\"correlationId\":\"p-1\",\"definitionId\":\"cfm.orchestration.vpa.deploy\",\"state\":0,"         \
	"\"stateTimestamp\":\"2026-07-24T10:00:00.123456789Z\",\"createdTimestamp\":\"2026-07-24T10:00:00.123456789Z\","   \
	"\"orchestrationType\":\"cfm.orchestration.vpa.deploy\",\"steps\":[{\"activities\":[{\"id\":\"first\","            \
	"\"type\":\"jwtlet-activity\",\"discriminator\":\"cfm.orchestration.vpa.deploy\",\"dependsOn\":null}]},"           \
	"{\"activities\":[{\"id\":\"a\",\"type\":\"edcv-activity\",\"discriminator\":\"cfm.orchestration.vpa.deploy\","    \
	"\"dependsOn\":[\"first\"]},{\"id\":\"b\",\"type\":\"siglet-activity\","                                           \
	"\"discriminator\":\"cfm.orchestration.vpa.deploy\",\"dependsOn\":[\"first\"]}]}],"                                \
	"\"processingData\":{\"activity.first.attempt\":2,\"cfm.vpa.data\":[{\"id\":\"v\",\"vpaType\":\"cfm.dataplane\","  \
	"\"cellId\":\"c\",\"externalCellId\":\"\",\"properties\":{\"transferTypeMappings\":{}}}]},"                        \
	"\"outputData\":{},\"completed\":{\"first\":{}},\"originTraceContext\":{\"traceparent\":\"00-1-2-01\"}}"

static struct orchestration parsed(const char *value)
{
	struct orchestration made;
	struct buffer error = {0};
	if (orchestration_parse(text_of(value), &made, &error) != STATUS_OK)
		fail_msg("%s: %s", value, error.bytes);
	buffer_free(&error);
	return made;
}

static void golden(void **state)
{
	struct orchestration one = parsed(VALUE);
	struct buffer out = {0};
	(void)state;
	orchestration_print(&one, &out);
	assert_string_equal(out.bytes, VALUE);
	assert_true(text_equals(one.id, TEXT("o-1")) && text_equals(one.correlation_id, TEXT("p-1")));
	assert_int_equal(one.state, ORCHESTRATION_INITIALIZED);
	assert_int_equal(orchestration_steps(&one), 2);
	assert_int_equal(orchestration_step_now(&one), 1);
	assert_int_equal(orchestration_step_of(&one, TEXT("b")), 1);
	assert_int_equal(orchestration_step_of(&one, TEXT("c")), SIZE_MAX);
	assert_int_equal(orchestration_attempt(&one, TEXT("first")), 2);
	buffer_free(&out);
	orchestration_free(&one);
}

static void maps_that_are_null_are_empty(void **state)
{
	struct orchestration one =
		parsed("{\"id\":\"o\",\"state\":3,\"steps\":null,\"processingData\":null,\"outputData\":null}");
	(void)state;
	assert_true(orchestration_is_finished(&one));
	assert_int_equal(json_kind(orchestration_output(&one)), JSON_OBJECT);
	assert_int_equal(orchestration_step_now(&one), 0);
	orchestration_free(&one);
}

static void refused(void **state)
{
	static const char *const cases[] = {"", "[]", "{}", "{\"id\":\"o\"}", "{\"id\":\"o\",\"state\":4}",
		"{\"id\":\"o\",\"state\":\"0\"}", "{\"id\":\"o\",\"state\":0,\"steps\":{}}",
		"{\"id\":\"o\",\"state\":0,\"steps\":[1]}", "{\"id\":\"o\",\"state\":0,\"steps\":[{\"activities\":[{}]}]}",
		"{\"id\":\"o\",\"state\":0,\"steps\":[{\"activities\":[{\"id\":\"a\",\"type\":\"*\"}]}]}",
		"{\"id\":\"o\",\"state\":0,\"completed\":[]}", "{\"id\":\"*\",\"state\":0}"};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct orchestration one;
		struct buffer error = {0};
		assert_int_equal(orchestration_parse(text_of(cases[i]), &one, &error), STATUS_INVALID);
		assert_true(error.length > 0);
		buffer_free(&error);
	}
}

static struct json *object(const char *text)
{
	struct json *made = NULL;
	assert_int_equal(json_parse(text_of(text), NULL, &made), STATUS_OK);
	return made;
}

/* Two activities of a step write the same value: the later in the step has it, whichever ended first (T5). */
static void siblings_merge_the_same_way_in_any_order(void **state)
{
	struct json *of_a = object("{\"x\":\"a\",\"only a\":1}"), *of_b = object("{\"x\":\"b\"}");
	struct activity_result a = {.values = of_a, .outputs = of_a}, b = {.values = of_b, .outputs = of_b};
	(void)state;
	for (int order = 0; order < 2; order++) {
		struct orchestration one = parsed(VALUE);
		assert_true(order == 0 ? orchestration_merge(&one, TEXT("a"), &a) : orchestration_merge(&one, TEXT("b"), &b));
		assert_true(order == 1 ? orchestration_merge(&one, TEXT("a"), &a) : orchestration_merge(&one, TEXT("b"), &b));
		assert_true(text_equals(json_text(orchestration_value(&one, "x")), TEXT("b")));
		assert_true(text_equals(json_member_text(orchestration_output(&one), "x"), TEXT("b")));
		assert_non_null(orchestration_value(&one, "only a"));
		orchestration_free(&one);
	}
	json_free(of_a);
	json_free(of_b);
}

static void the_last_activity_ends_it(void **state)
{
	struct orchestration one = parsed(VALUE);
	(void)state;
	assert_true(orchestration_complete(&one, TEXT("b"), 1000));
	assert_int_equal(one.state, ORCHESTRATION_INITIALIZED);
	assert_true(orchestration_complete(&one, TEXT("a"), 1000));
	assert_int_equal(one.state, ORCHESTRATION_COMPLETED);
	assert_true(text_equals(json_member_text(one.root, "stateTimestamp"), TEXT("1970-01-01T00:00:01.000Z")));
	orchestration_free(&one);
	one = parsed(VALUE);
	assert_true(orchestration_fail(&one, TEXT("no"), 2000));
	assert_true(orchestration_complete(&one, TEXT("a"), 3000));
	assert_true(orchestration_complete(&one, TEXT("b"), 3000));
	assert_int_equal(one.state, ORCHESTRATION_ERRORED);
	assert_true(text_equals(json_text(orchestration_value(&one, "error")), TEXT("no")));
	orchestration_free(&one);
}

static void a_step_is_settled_when_nothing_can_be_under_way(void **state)
{
	struct orchestration one = parsed(VALUE);
	(void)state;
	assert_false(orchestration_step_is_settled(&one, 1)); /* two are open: one of them may be the failed one */
	assert_true(orchestration_complete(&one, TEXT("a"), 1));
	assert_true(orchestration_step_is_settled(&one, 1)); /* b has failed, as an agent of others does: unsaid */
	orchestration_free(&one);
	one = parsed(VALUE);
	assert_true(json_add_bool(orchestration_note_write(&one, TEXT("a")), "failed", true));
	assert_false(orchestration_step_is_settled(&one, 1));
	assert_true(json_add_bool(orchestration_note_write(&one, TEXT("b")), "skipped", true));
	assert_true(orchestration_step_is_settled(&one, 1));
	orchestration_free(&one);
}

static void what_is_handed_on_has_no_notes(void **state)
{
	struct json *data =
		object("{\"activity.a.attempt\":1,\"celld.activity.a\":{},\"error\":\"e\",\"trace_context\":\"t\","
			   "\"participantContextId\":\"p\"}");
	struct buffer out = {0};
	(void)state;
	orchestration_strip_notes(data);
	json_print(data, &out);
	assert_string_equal(out.bytes, "{\"participantContextId\":\"p\"}");
	json_free(data);
	buffer_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden),
		cmocka_unit_test(maps_that_are_null_are_empty),
		cmocka_unit_test(refused),
		cmocka_unit_test(siblings_merge_the_same_way_in_any_order),
		cmocka_unit_test(the_last_activity_ends_it),
		cmocka_unit_test(a_step_is_settled_when_nothing_can_be_under_way),
		cmocka_unit_test(what_is_handed_on_has_no_notes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
