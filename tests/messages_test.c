/* Each message of the existing managers and agents, byte for byte, and what is no message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/orchestration/messages.h"

#define MANIFEST                                                                                                       \
	"{\"id\":\"0d4aa6ee-3ec5-4a1f-a2b2-11c5e2a2b9ba\",\"correlationId\":\"7b1c\","                                     \
	"\"orchestrationType\":\"cfm.orchestration.vpa.deploy\",\"payload\":{\"cfm.participant.id\":\"did:web:a\","        \
	"\"cfm.vpa.credentials\":[{\"id\":\"membership\",\"type\":\"MembershipCredential\",\"issuer\":\"did:web:i\","      \
	"\"format\":\"VC1_0_JWT\",\"role\":\"\"}],\"cfm.vpa.data\":[{\"id\":\"v1\",\"vpaType\":\"cfm.connector\","         \
	"\"cellId\":\"c1\",\"externalCellId\":\"cell-1\",\"properties\":{\"k\":\"v\"}}]}}"
#define ACTIVITY                                                                                                       \
	"{\"orchestrationID\":\"o-1\",\"activity\":{\"id\":\"connector\",\"type\":\"edcv-activity\","                      \
	"\"discriminator\":\"cfm.orchestration.vpa.deploy\",\"dependsOn\":[\"jwtlet\"]}}"
#define ACTIVITY_ALONE                                                                                                 \
	"{\"orchestrationID\":\"o-1\",\"activity\":{\"id\":\"a\",\"type\":\"test.activity\",\"discriminator\":\"\","       \
	"\"dependsOn\":null}}"
#define RESPONSE                                                                                                       \
	"{\"id\":\"r-1\",\"manifestId\":\"o-1\",\"correlationId\":\"7b1c\","                                               \
	"\"orchestrationType\":\"cfm.orchestration.vpa.deploy\",\"success\":true,"                                         \
	"\"properties\":{\"participantContextId\":\"0123456789abcdef0123456789abcdef\"}}"
#define RESPONSE_FAILED                                                                                                \
	"{\"id\":\"r-1\",\"manifestId\":\"o-1\",\"correlationId\":\"7b1c\","                                               \
	"\"orchestrationType\":\"cfm.orchestration.vpa.deploy\",\"success\":false,\"errorDetail\":\"no\",\"properties\":{" \
	"}}"

static void golden(void **state)
{
	struct manifest manifest;
	struct activity_message activity;
	struct response response;
	struct buffer out = {0}, error = {0};
	static const char *const activities[] = {ACTIVITY, ACTIVITY_ALONE};
	static const char *const responses[] = {RESPONSE, RESPONSE_FAILED};
	(void)state;
	assert_int_equal(manifest_parse(TEXT(MANIFEST), &manifest, &error), STATUS_OK);
	manifest_print(&manifest, &out);
	assert_string_equal(out.bytes, MANIFEST);
	json_free(manifest.root);
	for (size_t i = 0; i < 2; i++) {
		buffer_clear(&out);
		assert_int_equal(activity_message_parse(text_of(activities[i]), &activity, &error), STATUS_OK);
		activity_message_print(activity.orchestration_id, activity.activity, &out);
		assert_string_equal(out.bytes, activities[i]);
		json_free(activity.root);
		buffer_clear(&out);
		assert_int_equal(response_parse(text_of(responses[i]), &response, &error), STATUS_OK);
		assert_int_equal(response.is_success, i == 0);
		response_print(&response, &out);
		assert_string_equal(out.bytes, responses[i]);
		json_free(response.root);
	}
	assert_int_equal(error.length, 0);
	buffer_free(&out);
	buffer_free(&error);
}

/* As the existing programs take them: members nobody knows, null for absent. */
static void lenient(void **state)
{
	struct manifest manifest;
	struct buffer error = {0};
	(void)state;
	assert_int_equal(
		manifest_parse(
			TEXT("{\"id\":\"a\",\"x\":[1],\"correlationId\":\"b\",\"orchestrationType\":\"c\",\"payload\":null}"),
			&manifest, &error),
		STATUS_OK);
	assert_null(manifest.payload);
	json_free(manifest.root);
	buffer_free(&error);
}

static void refused(void **state)
{
	static const struct {
		const char *body, *error;
	} manifests[] =
		{
			{"", "no JSON object"},
			{"[]", "no JSON object"},
			{"{\"id\":\"a\",\"id\":\"b\"}", "no JSON object"},
			{"{}", "id: is required"},
			{"{\"id\":\"\",\"correlationId\":\"b\",\"orchestrationType\":\"c\"}", "id: is required"},
			{"{\"id\":1,\"correlationId\":\"b\",\"orchestrationType\":\"c\"}", "id: must be a text"},
			{"{\"id\":\"a b\",\"correlationId\":\"b\",\"orchestrationType\":\"c\"}", "id: is no name"},
			{"{\"id\":\"a.>\",\"correlationId\":\"b\",\"orchestrationType\":\"c\"}", "id: is no name"},
			{"{\"id\":\".a\",\"correlationId\":\"b\",\"orchestrationType\":\"c\"}", "id: is no name"},
			{"{\"id\":\"a\",\"orchestrationType\":\"c\"}", "correlationId: is required"},
			{"{\"id\":\"a\",\"correlationId\":\"b\"}", "orchestrationType: is required"},
			{"{\"id\":\"a\",\"correlationId\":\"b\\n\",\"orchestrationType\":\"c\"}", "correlationId: is no name"},
			{"{\"id\":\"a\",\"correlationId\":\"b\",\"orchestrationType\":\"c\",\"payload\":[]}",
				"payload: must be an object"},
		},
	  activities[] =
		  {
			  {"{}", "orchestrationID"},
			  {"{\"orchestrationID\":\"o\"}", "activity: is required"},
			  {"{\"orchestrationID\":\"o\",\"activity\":[]}", "activity: must be an object"},
			  {"{\"orchestrationID\":\"o\",\"activity\":{\"id\":\"a\"}}", "type: is required"},
			  {"{\"orchestrationID\":\"o\",\"activity\":{\"id\":\"a\",\"type\":\"a b\"}}", "type: is no name"},
		  },
	  responses[] = {
		  {"{}", "id: is required"},
		  {"{\"id\":\"a\",\"manifestId\":\"b\",\"correlationId\":\"c\",\"orchestrationType\":\"d\",\"success\":1}",
			  "success"},
		  {"{\"id\":\"a\",\"manifestId\":\"b\",\"correlationId\":\"c\",\"orchestrationType\":\"d\",\"properties\":3}",
			  "properties"},
	  };
	(void)state;
#define REFUSE(cases, parse, type)                                                                                     \
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {                                                    \
		type into;                                                                                                     \
		struct buffer error = {0};                                                                                     \
		assert_int_equal(parse(text_of(cases[i].body), &into, &error), STATUS_INVALID);                                \
		if (strstr(error.bytes, cases[i].error) == NULL)                                                               \
			fail_msg("%s: %s", cases[i].body, error.bytes);                                                            \
		buffer_free(&error);                                                                                           \
	}
	REFUSE(manifests, manifest_parse, struct manifest)
	REFUSE(activities, activity_message_parse, struct activity_message)
	REFUSE(responses, response_parse, struct response)
}

static void names(void **state)
{
	static const struct {
		const char *type, *cell, *queue, *of_cell;
	} cases[] = {
		{"test.activity", "cell-eu-1", "test-activity", "test.activity--cell-eu-1"},
		{"edcv-activity", "a:b/c d", "edcv-activity", "edcv-activity--a-b-c-d"},
	};
	char id[UUID_LENGTH + 1];
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buffer queue = {0}, type = {0};
		activity_queue(text_of(cases[i].type), &queue);
		activity_type_of_cell(text_of(cases[i].type), text_of(cases[i].cell), &type);
		assert_string_equal(queue.bytes, cases[i].queue);
		assert_string_equal(type.bytes, cases[i].of_cell);
		assert_true(message_type_is_valid(buffer_text(&type)));
		buffer_free(&queue);
		buffer_free(&type);
	}
	uuid_random(id);
	assert_int_equal(strlen(id), UUID_LENGTH);
	assert_int_equal(id[14], '4');
	assert_true(strchr("89ab", id[19]) != NULL);
	assert_true(message_id_is_valid(text_of(id)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden),
		cmocka_unit_test(lenient),
		cmocka_unit_test(refused),
		cmocka_unit_test(names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
