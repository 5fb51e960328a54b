/* What a participant's VPAs ask of their cells: constraints of several places, one request each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/fabric/manager/vpa_plan.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PLACEMENT(text) "{\"celld.placement\":" text "}"
#define BOUND                                                                                                          \
	"\"affinity\":[{\"to\":\"participant:self\",\"topologyKey\":\"cell\",\"hard\":true,\"types\":[\"cfm.connector\"]}" \
	"]"

/* The whole request as it is sent to the placer. */
static const struct {
	const char *layers[3]; /* properties of a dataspace profile, of the tenant, of the request */
	const char *vpa_properties, *cell;
	const char *requests[6]; /* without vpaId, participant, tenant */
	const char *properties[6];
} cases[] = {
	/* nothing said: all in one cell */
	{{NULL}, NULL, NULL,
		{"{\"type\":\"cfm.connector\",\"require\":{\"profiles\":[\"p\"]}}",
			"{" BOUND ",\"type\":\"cfm.credentialservice\",\"require\":{\"profiles\":[\"p\"]}}",
			"{" BOUND ",\"type\":\"cfm.dataplane\",\"require\":{\"profiles\":[\"p\"]}}",
			"{" BOUND ",\"type\":\"cfm.issuer\",\"require\":{\"profiles\":[\"p\"]}}"},
		{NULL}},
	/* the stronger over the weaker, objects merged, null removes; types over all; own names are not taken */
	{{PLACEMENT("{\"require\":{\"region\":[\"eu\"],\"labels\":{\"a\":\"1\",\"b\":\"2\"}},\"strategy\":\"pack\"}"),
		 PLACEMENT("{\"require\":{\"labels\":{\"b\":\"3\"}},\"cfm.issuer\":{\"require\":{\"region\":[\"de\"]}}}"),
		 PLACEMENT("{\"require\":{\"labels\":{\"a\":null}},\"strategy\":null,\"vpaId\":\"x\",\"type\":\"cfm.issuer\","
				   "\"cfm.connector\":{\"strategy\":\"spread\",\"affinity\":[]}}")},
		"{\"cfm.issuer\":{\"k\":\"v\"}}", "cell-1",
		{"{\"strategy\":\"spread\",\"affinity\":[],\"type\":\"cfm.connector\",\"require\":{\"region\":[\"eu\"],"
		 "\"labels\":{\"b\":\"3\"},\"cell\":\"cell-1\",\"profiles\":[\"p\"]}}",
			"{" BOUND ",\"type\":\"cfm.credentialservice\",\"require\":{\"region\":[\"eu\"],\"labels\":{\"b\":\"3\"},"
			"\"cell\":\"cell-1\",\"profiles\":[\"p\"]}}",
			"{" BOUND ",\"type\":\"cfm.dataplane\",\"require\":{\"region\":[\"eu\"],\"labels\":{\"b\":\"3\"},"
			"\"cell\":\"cell-1\",\"profiles\":[\"p\"]}}",
			"{" BOUND ",\"type\":\"cfm.issuer\",\"require\":{\"region\":[\"de\"],\"labels\":{\"b\":\"3\"},"
			"\"cell\":\"cell-1\",\"profiles\":[\"p\"]}}"},
		{NULL, NULL, NULL, "{\"k\":\"v\"}"}},
	/* data planes in edge cells: neither bound nor pinned, each with its own; the strongest list counts */
	{{PLACEMENT("{\"dataplanes\":[{}]}"), NULL,
		 PLACEMENT("{\"require\":{\"jurisdictions\":[\"EU\"]},\"cfm.dataplane\":{\"tolerations\":[{\"key\":\"edge\"}]},"
				   "\"dataplanes\":[{\"require\":{\"cell\":\"edge-1\"},\"properties\":{\"n\":1,\"m\":2}},"
				   "{\"require\":{\"site\":[\"munich\"]}}]}")},
		"{\"cfm.dataplane\":{\"n\":0}}", "cell-1",
		{"{\"type\":\"cfm.connector\",\"require\":{\"jurisdictions\":[\"EU\"],\"cell\":\"cell-1\",\"profiles\":[\"p\"]}"
		 "}",
			"{" BOUND ",\"type\":\"cfm.credentialservice\",\"require\":{\"jurisdictions\":[\"EU\"],\"cell\":\"cell-1\","
			"\"profiles\":[\"p\"]}}",
			"{\"tolerations\":[{\"key\":\"edge\"}],\"type\":\"cfm.dataplane\",\"require\":{\"jurisdictions\":[\"EU\"],"
			"\"cell\":\"edge-1\",\"profiles\":[\"p\"]}}",
			"{\"tolerations\":[{\"key\":\"edge\"}],\"type\":\"cfm.dataplane\",\"require\":{\"jurisdictions\":[\"EU\"],"
			"\"site\":[\"munich\"],\"profiles\":[\"p\"]}}",
			"{" BOUND ",\"type\":\"cfm.issuer\",\"require\":{\"jurisdictions\":[\"EU\"],\"cell\":\"cell-1\","
			"\"profiles\":[\"p\"]}}"},
		{NULL, NULL, "{\"n\":1,\"m\":2}", "{\"n\":0}", NULL}},
};

static const struct {
	const char *placement, *error;
} refused[] = {
	{"1", "celld.placement: must be an object"},
	{"[]", "celld.placement: must be an object"},
	{"{\"cfm.connector\":1}", "celld.placement.cfm.connector: must be an object"},
	{"{\"dataplanes\":{}}",
		"celld.placement.dataplanes: must be an array of 1 to 32 objects, their properties objects too"},
	{"{\"dataplanes\":[]}",
		"celld.placement.dataplanes: must be an array of 1 to 32 objects, their properties objects too"},
	{"{\"dataplanes\":[1]}",
		"celld.placement.dataplanes: must be an array of 1 to 32 objects, their properties objects too"},
	{"{\"dataplanes\":[{\"properties\":1}]}",
		"celld.placement.dataplanes: must be an array of 1 to 32 objects, their properties objects too"},
	{"{\"reqiure\":{}}", "celld.placement (cfm.connector): reqiure"},
	{"{\"require\":{\"regoin\":[\"eu\"]}}", "celld.placement (cfm.connector): require.regoin"},
	{"{\"cfm.issuer\":{\"require\":1}}", "celld.placement (cfm.issuer): require"},
	{"{\"dataplanes\":[{\"require\":{\"cell\":1}}]}", "celld.placement (cfm.dataplane): require.cell"},
};

static struct json *parse(const char *text)
{
	struct json *root = NULL;
	if (text != NULL && json_parse(text_of(text), NULL, &root) != STATUS_OK)
		fail_msg("%s", text);
	return root;
}

/* The request's text without what differs with every run. */
static char *printed(const struct planned_vpa *vpa)
{
	struct json *root = NULL;
	struct buffer text = {0};
	assert_int_equal(json_parse(place_request_text(vpa->request), NULL, &root), STATUS_OK);
	assert_true(text_equals(json_member_text(root, "vpaId"), text_of(vpa->id)));
	assert_true(text_equals(json_member_text(root, "participant"), TEXT("profile-1")));
	assert_true(text_equals(json_member_text(root, "tenant"), TEXT("tenant-1")));
	assert_true(text_equals(json_member_text(root, "type"), text_of(vpa_type_name(vpa->type))));
	json_remove(root, "vpaId");
	json_remove(root, "participant");
	json_remove(root, "tenant");
	/* the order of members is not what is tested */
	json_print(root, &text);
	json_free(root);
	return buffer_take(&text);
}

static bool same(const struct json *a, const struct json *b)
{
	struct buffer first = {0}, second = {0};
	if (json_kind(a) != json_kind(b) || json_count(a) != json_count(b))
		return false;
	if (json_kind(a) == JSON_OBJECT) {
		for (const struct json *member = json_first(a); member != NULL; member = json_next(member)) {
			if (json_member(b, json_name(member)) == NULL || !same(member, json_member(b, json_name(member))))
				return false;
		}
		return true;
	}
	if (json_kind(a) == JSON_ARRAY) {
		const struct json *other = json_first(b);
		for (const struct json *one = json_first(a); one != NULL; one = json_next(one), other = json_next(other)) {
			if (!same(one, other))
				return false;
		}
		return true;
	}
	json_print(a, &first);
	json_print(b, &second);
	bool is_same = text_equals(buffer_text(&first), buffer_text(&second));
	buffer_free(&first);
	buffer_free(&second);
	return is_same;
}

static void must_be(size_t number, const char *actual, const char *expected)
{
	struct json *a = parse(actual), *b = parse(expected);
	if ((a == NULL) != (b == NULL) || !same(a, b))
		fail_msg("case %zu:\n%s\n%s", number, actual, expected);
	json_free(a);
	json_free(b);
}

static const struct text profiles[] = {{"p", 1}};

static struct vpa_plan_sources sources_of(struct json *const *layers, size_t count)
{
	struct vpa_plan_sources sources = {
		.participant = TEXT("profile-1"), .tenant = TEXT("tenant-1"), .profiles = profiles, .profile_count = 1};
	for (size_t i = 0; i < count; i++)
		sources.layers[sources.layer_count++] = layers[i];
	return sources;
}

static void constraints_become_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct json *layers[] = {parse(cases[i].layers[0]), parse(cases[i].layers[1]), parse(cases[i].layers[2])};
		struct json *vpa_properties = parse(cases[i].vpa_properties);
		struct vpa_plan_sources sources = sources_of(layers, 3);
		struct vpa_plan plan = {0};
		struct buffer error = {0};
		sources.vpa_properties = vpa_properties;
		sources.cell = cases[i].cell == NULL ? TEXT_NONE : text_of(cases[i].cell);
		if (vpa_plan_make(&sources, &plan, &error) != STATUS_OK)
			fail_msg("case %zu: %s", i, error.bytes);
		size_t expected = 0;
		while (expected < COUNT(cases[i].requests) && cases[i].requests[expected] != NULL)
			expected++;
		assert_int_equal(plan.count, expected);
		for (size_t j = 0; j < plan.count; j++) {
			struct buffer properties = {0};
			char *request = printed(&plan.vpas[j]);
			must_be(i, request, cases[i].requests[j]);
			free(request);
			if (plan.vpas[j].properties != NULL)
				json_print(plan.vpas[j].properties, &properties);
			must_be(i, properties.bytes, cases[i].properties[j]);
			buffer_free(&properties);
		}
		vpa_plan_free(&plan);
		json_free(vpa_properties);
		for (size_t j = 0; j < 3; j++)
			json_free(layers[j]);
	}
}

static void what_is_wrong_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(refused); i++) {
		char text[256];
		struct vpa_plan plan = {0};
		struct buffer error = {0};
		snprintf(text, sizeof(text), PLACEMENT("%s"), refused[i].placement);
		struct json *layer = parse(text);
		struct vpa_plan_sources sources = sources_of(&layer, 1);
		assert_int_equal(vpa_plan_make(&sources, &plan, &error), STATUS_INVALID);
		if (strncmp(error.bytes, refused[i].error, strlen(refused[i].error)) != 0)
			fail_msg("%s: %s", refused[i].placement, error.bytes);
		assert_int_equal(plan.count, 0);
		json_free(layer);
		buffer_free(&error);
	}
}

static void there_is_a_most_of_data_planes(void **state)
{
	(void)state;
	for (size_t count = PLAN_DATAPLANES_MAX; count <= PLAN_DATAPLANES_MAX + 1; count++) {
		struct buffer text = {0}, error = {0};
		struct vpa_plan plan = {0};
		buffer_append(&text, TEXT("{\"celld.placement\":{\"dataplanes\":["));
		for (size_t i = 0; i < count; i++)
			buffer_append(&text, i == 0 ? TEXT("{}") : TEXT(",{}"));
		buffer_append(&text, TEXT("]}}"));
		struct json *layer = parse(text.bytes);
		struct vpa_plan_sources sources = sources_of(&layer, 1);
		enum status status = vpa_plan_make(&sources, &plan, &error);
		assert_int_equal(status, count == PLAN_DATAPLANES_MAX ? STATUS_OK : STATUS_INVALID);
		assert_int_equal(plan.count, status == STATUS_OK ? PLAN_VPAS_MAX : 0);
		vpa_plan_free(&plan);
		json_free(layer);
		buffer_free(&text);
		buffer_free(&error);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(constraints_become_requests),
		cmocka_unit_test(what_is_wrong_is_named), cmocka_unit_test(there_is_a_most_of_data_planes)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
