/* Plans: levels as the existing manager has them, copies for cells; and what a definition may not ask for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "control/fabric/orchestration/schema_check.h"
#include "control/fabric/orchestration/steps.h"
#include "control/orchestration/orchestration.h"

static struct json *object(const char *text)
{
	struct json *made = NULL;
	if (json_parse(text_of(text), NULL, &made) != STATUS_OK)
		fail_msg("%s", text);
	return made;
}

static struct text cell_name(void *context, struct text cell_id, struct text external_id)
{
	(void)context;
	return text_starts_with(cell_id, TEXT("own-")) ? external_id : TEXT_NONE;
}

static struct steps_service services[] = {
	{(char *)(uintptr_t) "edcv-activity", (char *)(uintptr_t) "cfm.connector"},
	{(char *)(uintptr_t) "siglet-activity", (char *)(uintptr_t) "cfm.dataplane"},
};
static const struct steps_settings settings = {services, 2, cell_name, NULL};

/* The deployment as the existing installations seed it (cfm.md 4.2). */
#define DEPLOY                                                                                                         \
	"{\"type\":\"cfm.orchestration.vpa.deploy\",\"activities\":["                                                      \
	"{\"id\":\"jwtlet\",\"type\":\"jwtlet-activity\",\"discriminator\":\"D\",\"dependsOn\":null},"                     \
	"{\"id\":\"registration\",\"type\":\"registration-activity\",\"discriminator\":\"D\",\"dependsOn\":[\"jwtlet\"]}," \
	"{\"id\":\"connector\",\"type\":\"edcv-activity\",\"discriminator\":\"D\",\"dependsOn\":[\"jwtlet\"]},"            \
	"{\"id\":\"hub\",\"type\":\"identityhub-activity\",\"discriminator\":\"D\",\"dependsOn\":[\"jwtlet\"]},"           \
	"{\"id\":\"siglet\",\"type\":\"siglet-activity\",\"discriminator\":\"D\",\"dependsOn\":[\"connector\"]},"          \
	"{\"id\":\"onboarding\",\"type\":\"onboarding-activity\",\"discriminator\":\"D\","                                 \
	"\"dependsOn\":[\"connector\",\"hub\",\"registration\"]}]}"

/* "a,b;c;": the ids of each step. */
static void describe(const struct orchestration *orchestration, char *into, size_t room)
{
	size_t length = 0;
	for (size_t i = 0; i < orchestration_steps(orchestration); i++) {
		const struct json *first = json_first(orchestration_step(orchestration, i));
		for (const struct json *activity = first; activity != NULL; activity = json_next(activity))
			length += (size_t)snprintf(into + length, room - length, "%s%.*s", activity == first ? "" : ",",
				TEXT_ARGUMENTS(json_member_text(activity, "id")));
		length += (size_t)snprintf(into + length, room - length, ";");
	}
}

static struct orchestration planned(const char *definition, const char *data)
{
	struct json *definition_tree = object(definition), *data_tree = object(data);
	struct buffer value = {0}, error = {0};
	struct orchestration made;
	struct manifest manifest = {
		.id = TEXT("o"), .correlation_id = TEXT("p"), .type = TEXT("cfm.orchestration.vpa.deploy")};
	if (steps_make(&settings, &manifest, definition_tree, data_tree, 1000, &value, &error) != STATUS_OK)
		fail_msg("%s", error.bytes);
	assert_int_equal(orchestration_parse(buffer_text(&value), &made, &error), STATUS_OK);
	json_free(definition_tree);
	json_free(data_tree);
	buffer_free(&value);
	return made;
}

#define VPA(type, cell, external)                                                                                      \
	"{\"id\":\"v\",\"vpaType\":\"" type "\",\"cellId\":\"" cell "\",\"externalCellId\":\"" external "\"}"

static void steps(void **state)
{
	static const struct {
		const char *data, *steps;
	} cases[] = {
		{"{}", "jwtlet;registration,connector,hub;siglet,onboarding;"},
		/* cells without an executor of their own: one activity for all */
		{"{\"cfm.vpa.data\":[" VPA("cfm.connector", "c", "") "," VPA("cfm.dataplane", "c", "") "]}",
			"jwtlet;registration,connector,hub;siglet,onboarding;"},
		/* two edge cells with data planes, one of them twice */
		{"{\"cfm.vpa.data\":[" VPA("cfm.connector", "own-1", "cell-1") "," VPA("cfm.dataplane", "own-2",
			 "edge.a") "," VPA("cfm.dataplane", "own-3", "edge-b") "," VPA("cfm.dataplane", "own-2", "edge.a") "]}",
			"jwtlet;registration,connector--cell-1,hub;siglet--edge.a,siglet--edge-b,onboarding;"},
		/* one with and one without */
		{"{\"cfm.vpa.data\":[" VPA("cfm.dataplane", "own-2", "edge") "," VPA("cfm.dataplane", "other", "") "]}",
			"jwtlet;registration,connector,hub;siglet--edge,siglet,onboarding;"},
		{"{\"celld.compensation\":{\"of\":\"x\",\"skip\":[\"registration-activity\",\"jwtlet-activity\"]}}",
			"connector,hub;siglet,onboarding;"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512];
		struct orchestration made = planned(DEPLOY, cases[i].data);
		describe(&made, text, sizeof(text));
		assert_string_equal(text, cases[i].steps);
		assert_int_equal(made.state, ORCHESTRATION_INITIALIZED);
		orchestration_free(&made);
	}
}

static void a_copy_has_its_own_type_and_waits_for_all_copies(void **state)
{
	struct orchestration made = planned(
		DEPLOY, "{\"cfm.vpa.data\":[" VPA("cfm.connector", "own-1", "a") "," VPA("cfm.connector", "own-2", "b") "]}");
	struct buffer out = {0};
	(void)state;
	json_print(orchestration_step(&made, 2), &out);
	assert_string_equal(out.bytes,
		"[{\"id\":\"siglet\",\"type\":\"siglet-activity\",\"discriminator\":\"D\",\"dependsOn\":[\"connector--a\","
		"\"connector--b\"]},{\"id\":\"onboarding\",\"type\":\"onboarding-activity\",\"discriminator\":\"D\","
		"\"dependsOn\":[\"connector--a\",\"connector--b\",\"hub\",\"registration\"]}]");
	buffer_free(&out);
	orchestration_free(&made);
}

static void nothing_to_do_is_done(void **state)
{
	struct orchestration made = planned("{\"type\":\"t\",\"activities\":[]}", "{\"a\":1}");
	(void)state;
	assert_int_equal(made.state, ORCHESTRATION_COMPLETED);
	orchestration_free(&made);
}

static void graphs_that_are_none(void **state)
{
	static const struct {
		const char *activities, *error;
	} cases[] = {
		{"[{\"id\":\"a\",\"dependsOn\":[\"b\"]}]", "dependency not found: b"},
		{"[{\"id\":\"a\",\"dependsOn\":[\"a\"]}]", "cycle detected"},
		{"[{\"id\":\"a\",\"dependsOn\":[\"b\"]},{\"id\":\"b\",\"dependsOn\":[\"c\"]},{\"id\":\"c\",\"dependsOn\":["
		 "\"a\"]}]",
			"cycle detected"},
		{"[{\"id\":\"a\"},{\"id\":\"a\"}]", "not unique: a"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t levels[STEPS_ACTIVITIES_MAX], count;
		struct buffer error = {0};
		struct json *activities = object(cases[i].activities);
		assert_int_equal(steps_levels(activities, levels, &count, &error), STATUS_INVALID);
		if (strstr(error.bytes, cases[i].error) == NULL)
			fail_msg("%s", error.bytes);
		json_free(activities);
		buffer_free(&error);
	}
}

static const struct json *definition_of(void *context, struct text type)
{
	return json_member(context, type.bytes);
}

static void schemas(void **state)
{
	static const struct {
		const char *activities, *error;
	} cases[] = {
		{"[{\"id\":\"a\",\"type\":\"gives\"},{\"id\":\"b\",\"type\":\"wants\",\"dependsOn\":[\"a\"]}]", NULL},
		{"[{\"id\":\"b\",\"type\":\"always\"}]", NULL},
		{"[{\"id\":\"b\",\"type\":\"wants\"}]", "activity 'b': input 'ctx' is not offered by any dependency"},
		{"[{\"id\":\"a\",\"type\":\"gives\"},{\"id\":\"m\",\"type\":\"none\",\"dependsOn\":[\"a\"]},"
		 "{\"id\":\"b\",\"type\":\"wants\",\"dependsOn\":[\"m\"]}]",
			"is not offered by any dependency"}, /* direct ones alone */
		{"[{\"id\":\"a\",\"type\":\"gives\"},{\"id\":\"c\",\"type\":\"gives\"},"
		 "{\"id\":\"b\",\"type\":\"wants\",\"dependsOn\":[\"a\",\"c\"]}]",
			"more than one dependency"},
		{"[{\"id\":\"a\",\"type\":\"gives number\"},{\"id\":\"b\",\"type\":\"wants\",\"dependsOn\":[\"a\"]}]",
			"another type"},
		{"[{\"id\":\"b\",\"type\":\"always wrong\"}]", "another type"},
	};
	struct json *definitions =
		object("{\"gives\":{\"outputSchema\":{\"properties\":{\"ctx\":{\"type\":\"string\"}}}},"
			   "\"gives number\":{\"outputSchema\":{\"properties\":{\"ctx\":{\"type\":\"number\"}}}},"
			   "\"none\":{},\"wants\":{\"inputSchema\":{\"required\":[\"ctx\"],\"properties\":{\"ctx\":"
			   "{\"type\":\"string\"}}}},\"always\":{\"inputSchema\":{\"required\":[\"cfm.vpa.data\","
			   "\"cfm.participant.id\",\"cfm.vpa.credentials\"]}},\"always wrong\":{\"inputSchema\":"
			   "{\"required\":[\"cfm.vpa.data\"],\"properties\":{\"cfm.vpa.data\":{\"type\":\"object\"}}}}}");
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct buffer error = {0};
		struct json *activities = object(cases[i].activities);
		enum status status = schema_check(activities, definition_of, definitions, &error);
		assert_int_equal(status, cases[i].error == NULL ? STATUS_OK : STATUS_INVALID);
		if (cases[i].error != NULL && strstr(error.bytes, cases[i].error) == NULL)
			fail_msg("%s", error.bytes);
		json_free(activities);
		buffer_free(&error);
	}
	json_free(definitions);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps),
		cmocka_unit_test(a_copy_has_its_own_type_and_waits_for_all_copies),
		cmocka_unit_test(nothing_to_do_is_done),
		cmocka_unit_test(graphs_that_are_none),
		cmocka_unit_test(schemas),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
