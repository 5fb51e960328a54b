/* A participant's VPAs move from state to state by one table; what clients are shown, and what agents are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "control/fabric/manager/profile.h"

/* rows: the state before; columns: deployed, deploy failed, dispose asked, disposed, dispose failed */
static const char *const transitions[VPA_STATE_COUNT][VPA_EVENT_COUNT + 1] = {
	{"pending", "active", "error", "pending", "disposed", "pending"},
	{"active", "active", "active", "disposing", "disposed", "active"},
	{"disposing", "disposing", "disposing", "disposing", "disposed", "error"},
	{"disposed", "disposed", "disposed", "disposed", "disposed", "disposed"},
	{"locked", "locked", "locked", "locked", "disposed", "locked"},
	{"offline", "offline", "offline", "offline", "disposed", "offline"},
	{"error", "error", "error", "disposing", "disposed", "error"},
};

static void the_table_of_transitions_is_kept(void **state)
{
	(void)state;
	for (int before = 0; before < VPA_STATE_COUNT; before++) {
		assert_string_equal(vpa_state_name((enum vpa_state)before), transitions[before][0]);
		for (int event = 0; event < VPA_EVENT_COUNT; event++)
			assert_string_equal(vpa_state_name(vpa_next_state((enum vpa_state)before, (enum vpa_event)event)),
				transitions[before][event + 1]);
	}
	assert_int_equal(vpa_next_state(VPA_STATE_COUNT, VPA_DISPOSED), VPA_STATE_COUNT);
}

static const char profile_text[] =
	"{\"id\":\"p\",\"version\":0,\"identifier\":\"did:web:a\",\"tenantId\":\"t\",\"participantRoles\":{},"
	"\"dataspaceProfileIds\":[\"d\"],\"vpas\":["
	"{\"id\":\"1\",\"version\":0,\"state\":\"pending\",\"stateTimestamp\":\"x\",\"type\":\"cfm.connector\",\"cellId\":"
	"\"c\","
	"\"externalCellId\":\"e\",\"properties\":{\"k\":1},\"celld\":{\"epoch\":1}},"
	"{\"id\":\"2\",\"version\":0,\"state\":\"disposed\",\"stateTimestamp\":\"x\",\"type\":\"cfm.issuer\",\"cellId\":"
	"\"c\","
	"\"externalCellId\":\"\",\"properties\":{},\"celld\":{\"epoch\":1}}],"
	"\"properties\":{\"q\":[]},\"error\":true,\"errorDetail\":\"why\",\"celld\":{\"manifest\":\"m\"}}";

static struct json *profile_new(void)
{
	struct json *profile = NULL;
	assert_int_equal(json_parse(text_of(profile_text), NULL, &profile), STATUS_OK);
	return profile;
}

static bool note(void *context, const struct json *vpa)
{
	buffer_append(context, json_member_text(vpa, "id"));
	return true;
}

static bool refuse(void *context, const struct json *vpa)
{
	(void)context, (void)vpa;
	return false;
}

static void moved_vpas_have_a_new_time_and_are_told(void **state)
{
	struct json *profile = profile_new();
	struct buffer told = {0};
	(void)state;
	assert_false(profile_move(profile, VPA_DEPLOYED, 0, refuse, NULL));
	json_free(profile);
	profile = profile_new();
	assert_true(profile_move(profile, VPA_DEPLOYED, 1784888430123, note, &told));
	assert_string_equal(told.bytes, "1");
	const struct json *first = json_first(json_member(profile, "vpas"));
	assert_true(text_equals(json_member_text(first, "state"), TEXT("active")));
	assert_true(text_equals(json_member_text(first, "stateTimestamp"), TEXT("2026-07-24T10:20:30.123Z")));
	assert_true(text_equals(json_member_text(json_next(first), "stateTimestamp"), TEXT("x")));
	buffer_clear(&told);
	assert_true(profile_move(profile, VPA_DEPLOYED, 0, note, &told));
	assert_int_equal(told.length, 0);
	buffer_free(&told);
	json_free(profile);
}

static void clients_see_only_what_the_existing_manager_shows(void **state)
{
	struct json *profile = profile_new();
	struct buffer shown = {0};
	(void)state;
	profile_print_shown(&shown, profile);
	assert_string_equal(shown.bytes,
		"{\"id\":\"p\",\"version\":0,\"identifier\":\"did:web:a\",\"tenantId\":\"t\",\"participantRoles\":{},\"vpas\":["
		"{\"id\":\"1\",\"version\":0,\"state\":\"pending\",\"stateTimestamp\":\"x\",\"type\":\"cfm.connector\","
		"\"cellId\":\"c\",\"properties\":{\"k\":1}},"
		"{\"id\":\"2\",\"version\":0,\"state\":\"disposed\",\"stateTimestamp\":\"x\",\"type\":\"cfm.issuer\","
		"\"cellId\":\"c\"}],\"properties\":{\"q\":[]},\"error\":true,\"errorDetail\":\"why\"}");
	buffer_free(&shown);
	json_free(profile);
}

static void a_manifest_names_the_vpas(void **state)
{
	struct json *profile = profile_new();
	struct buffer manifest = {0}, extra = {0};
	(void)state;
	buffer_append(&extra, TEXT(",\"cfm.vpa.credentials\":[]"));
	profile_print_manifest(&manifest, profile, TEXT("m\"1"), TEXT("cfm.orchestration.vpa.deploy"), &extra);
	assert_string_equal(manifest.bytes,
		"{\"id\":\"m\\\"1\",\"correlationId\":\"p\",\"orchestrationType\":\"cfm.orchestration.vpa.deploy\",\"payload\":"
		"{"
		"\"cfm.participant.id\":\"did:web:a\",\"cfm.vpa.data\":["
		"{\"id\":\"1\",\"vpaType\":\"cfm.connector\",\"cellId\":\"c\",\"externalCellId\":\"e\",\"properties\":{\"k\":1}"
		"},"
		"{\"id\":\"2\",\"vpaType\":\"cfm.issuer\",\"cellId\":\"c\",\"externalCellId\":\"\"}],"
		"\"cfm.vpa.credentials\":[]}}");
	buffer_free(&manifest);
	buffer_free(&extra);
	json_free(profile);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_table_of_transitions_is_kept),
		cmocka_unit_test(moved_vpas_have_a_new_time_and_are_told),
		cmocka_unit_test(clients_see_only_what_the_existing_manager_shows),
		cmocka_unit_test(a_manifest_names_the_vpas)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
