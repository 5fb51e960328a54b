/* The definition of a cell: what is taken, what is refused with the member's name, what is stored. */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "control/command/cell_definition.h"

/* every member there is */
static const char full[] =
	"{\"cellId\":\"cell-eu-west-1\",\"name\":\"EU West Production\",\"type\":\"kubernetes\",\"region\":\"eu-west-1\","
	"\"provider\":\"aws\",\"capacity\":{\"maxVPAs\":100,\"currentVPAs\":42,\"perType\":{\"cfm.connector\":100,"
	"\"cfm.dataplane\":200},\"resources\":{\"cpuMilli\":64000,\"memMiB\":262144,\"requestsPerSec\":50000,"
	"\"transferMbps\":8000,\"connections\":200000},\"overcommitPct\":{\"cpuMilli\":150,\"memMiB\":100},"
	"\"failoverReservePct\":20},\"infrastructure\":{\"kubernetes\":{\"cluster\":\"arn:aws:eks:eu-west-1:1:cluster/c\","
	"\"namespace\":\"dataspace\",\"apiServer\":\"https://k8s:6443\",\"gatewayClass\":\"traefik\"},\"vault\":{"
	"\"address\":\"https://vault:8200\",\"path\":\"dataspace/eu-west-1\",\"namespace\":\"\",\"kind\":\"openbao\"},"
	"\"database\":{\"host\":\"db.eu\",\"database\":\"dataspace_eu_west_1\"},\"dns\":{\"zone\":\"eu1.example.org\","
	"\"servers\":[\"192.0.2.1\"],\"tsigKey\":\"ref\"},\"nats\":{\"mode\":\"leaf\",\"domain\":\"edge1\"}},\"labels\":{"
	"\"environment\":\"production\",\"gdpr-compliant\":\"true\",\"tier\":\"standard\"},\"topology\":{\"zone\":"
	"\"eu-west-1a\",\"powerDomain\":\"p7\",\"site\":null,\"geo\":[53.3,-6.2]},\"jurisdictions\":[\"EU\",\"IE\"],"
	"\"compliance\":[{\"id\":\"gdpr\",\"attestedBy\":\"ops@example.org\",\"validUntil\":\"2027-06-30\",\"evidence\":"
	"\"report 7\"},{\"id\":\"iso27001\"}],\"taints\":[{\"key\":\"dedicated\",\"value\":\"acme\",\"effect\":\"NoPlace\"}"
	"],\"components\":[\"cfm.connector\",\"cfm.dataplane\"],\"endpoints\":{\"ingress\":\"https://eu1.example.org\","
	"\"peer\":\"https://eu1.int:9443\",\"health\":\"https://eu1.example.org/healthz\"},\"connectivity\":"
	"\"intermittent\",\"failoverGroup\":\"eu-prod\",\"versions\":{\"cell\":\"1.4.0\",\"protocol\":3},\"scores\":{"
	"\"cost\":250,\"external.gpu\":1000}}";

static enum status parse(
	const char *body, struct cell_definition **definition, struct buffer *error, struct buffer *warning)
{
	struct json *root = NULL;
	assert_int_equal(json_parse(text_of(body), NULL, &root), STATUS_OK);
	enum status status = cell_definition_parse(root, definition, error, warning);
	json_free(root);
	return status;
}

static void test_full(void **state)
{
	struct cell_definition *cell = NULL;
	struct buffer error = {0}, warning = {0};
	(void)state;
	assert_int_equal(parse(full, &cell, &error, &warning), STATUS_OK);
	assert_string_equal(cell->cell_id, "cell-eu-west-1");
	assert_string_equal(cell->region, "eu-west-1");
	assert_int_equal(cell->max_vpas, 100);
	assert_int_equal(cell->max_per_type[VPA_DATAPLANE], 200);
	assert_int_equal(cell->max_per_type[VPA_ISSUER], -1);
	assert_int_equal(cell->resources[CELL_RESOURCE_CONNECTIONS], 200000);
	assert_int_equal(cell->overcommit[CELL_RESOURCE_CPU_MILLI], 150);
	assert_int_equal(cell->overcommit[CELL_RESOURCE_CONNECTIONS], 100);
	assert_int_equal(cell->failover_reserve_pct, 20);
	assert_int_equal(cell->label_count, 3);
	assert_string_equal(cell->labels[1].key, "gdpr-compliant");
	assert_string_equal(cell->zone, "eu-west-1a");
	assert_null(cell->site);
	assert_int_equal(cell->jurisdiction_count, 2);
	assert_string_equal(cell->jurisdictions[1], "IE");
	/* the whole day counts: until 2027-07-01T00:00:00Z */
	assert_int_equal(cell->compliance[0].valid_until_ms, 1814400000000);
	assert_true(cell->compliance[1].valid_until_ms == INT64_MAX);
	assert_string_equal(cell->taints[0].value, "acme");
	assert_int_equal(cell->score_count, 2);
	assert_string_equal(cell->scores[0].name, "cost");
	assert_int_equal(cell->scores[0].value, 250);
	assert_string_equal(cell->scores[1].name, "external.gpu");
	assert_int_equal(cell->components, 1U << VPA_CONNECTOR | 1U << VPA_DATAPLANE);
	assert_string_equal(cell->ingress, "https://eu1.example.org");
	assert_true(cell->is_intermittent);
	assert_string_equal(cell->failover_group, "eu-prod");
	assert_non_null(strstr(warning.bytes, "capacity.currentVPAs"));
	assert_null(strstr(cell->text, "currentVPAs"));
	struct cell_definition *again = NULL;
	buffer_clear(&warning);
	assert_int_equal(parse(cell->text, &again, &error, &warning), STATUS_OK);
	assert_int_equal(warning.length, 0);
	assert_string_equal(again->text, cell->text);
	cell_definition_free(again);
	cell_definition_free(cell);
	buffer_free(&error);
	buffer_free(&warning);
}

#define SEED "\"cellId\":\"c\",\"name\":\"n\",\"type\":\"edge\",\"region\":\"r\",\"provider\":\"p\""
#define ROOM "\"capacity\":{\"maxVPAs\":1}"

static void test_least(void **state)
{
	struct cell_definition *cell = NULL;
	struct buffer error = {0}, warning = {0};
	(void)state;
	assert_int_equal(parse("{" SEED "," ROOM "}", &cell, &error, &warning), STATUS_OK);
	assert_int_equal(cell->components, (1U << VPA_TYPE_COUNT) - 1);
	assert_int_equal(cell->resources[CELL_RESOURCE_MEM_MIB], -1);
	assert_false(cell->is_intermittent);
	assert_int_equal(warning.length, 0);
	cell_definition_free(cell);
	buffer_free(&error);
	buffer_free(&warning);
}

static void test_refused(void **state)
{
	static const struct {
		const char *body, *wrong;
	} cases[] = {
		{"[]", "body:"},
		{"{}", "cellId:"},
		{"{" SEED "}", "capacity: is missing"},
		{"{" SEED ",\"capacity\":{}}", "capacity.maxVPAs: is missing"},
		{"{" SEED ",\"capacity\":{\"maxVPAs\":-1}}", "capacity.maxVPAs:"},
		{"{" SEED ",\"capacity\":{\"maxVPAs\":1.5}}", "capacity.maxVPAs:"},
		{"{" SEED ",\"capacity\":{\"maxVPAs\":1,\"maxVpas\":1}}", "capacity.maxVpas: unknown member"},
		{"{" SEED ",\"capacity\":{\"maxVPAs\":1,\"perType\":{\"cfm.other\":1}}}",
			"capacity.perType.cfm.other: unknown member"},
		{"{" SEED ",\"capacity\":{\"maxVPAs\":1,\"overcommitPct\":{\"memMiB\":0}}}", "capacity.overcommitPct.memMiB:"},
		{"{" SEED ",\"capacity\":{\"maxVPAs\":1,\"failoverReservePct\":91}}", "capacity.failoverReservePct:"},
		{"{" SEED "," ROOM ",\"lables\":{}}", "lables: unknown member"},
		{"{" SEED "," ROOM ",\"labels\":{\"a\":true}}", "labels.a:"},
		{"{" SEED "," ROOM ",\"labels\":[]}", "labels:"},
		{"{" SEED "," ROOM ",\"infrastructure\":{\"vault\":{\"token\":\"t\"}}}", "infrastructure.vault.token: unknown"},
		{"{" SEED "," ROOM ",\"topology\":{\"geo\":[1]}}", "topology.geo:"},
		{"{" SEED "," ROOM ",\"topology\":{\"zone\":\"a b\"}}", "topology.zone:"},
		{"{" SEED "," ROOM ",\"jurisdictions\":\"EU\"}", "jurisdictions:"},
		{"{" SEED "," ROOM ",\"jurisdictions\":[\"EU\",\"\"]}", "jurisdictions:"},
		{"{" SEED "," ROOM ",\"compliance\":[{\"attestedBy\":\"x\"}]}", "compliance.id: is missing"},
		{"{" SEED "," ROOM ",\"compliance\":[{\"id\":\"gdpr\",\"validUntil\":\"30.6.2027\"}]}",
			"compliance.validUntil:"},
		{"{" SEED "," ROOM ",\"compliance\":{}}", "compliance:"},
		{"{" SEED "," ROOM ",\"taints\":[{\"key\":\"k\",\"effect\":\"NoExecute\"}]}", "taints.effect:"},
		{"{" SEED "," ROOM ",\"scores\":[]}", "scores:"},
		{"{" SEED "," ROOM ",\"scores\":{\"price\":1}}", "scores:"},
		{"{" SEED "," ROOM ",\"scores\":{\"external.\":1}}", "scores:"},
		{"{" SEED "," ROOM ",\"scores\":{\"cost\":1001}}", "scores.cost:"},
		{"{" SEED "," ROOM ",\"scores\":{\"external.gpu\":-1}}", "scores.external.gpu:"},
		{"{" SEED "," ROOM ",\"components\":[]}", "components:"},
		{"{" SEED "," ROOM ",\"components\":[\"cfm.proxy\"]}", "components:"},
		{"{" SEED "," ROOM ",\"endpoints\":{\"ingress\":\"eu1.example.org\"}}", "endpoints.ingress:"},
		{"{" SEED "," ROOM ",\"connectivity\":\"sometimes\"}", "connectivity:"},
		{"{" SEED "," ROOM ",\"versions\":{\"protocol\":\"3\"}}", "versions.protocol:"},
		{"{\"cellId\":\"a.b\",\"name\":\"n\",\"type\":\"t\",\"region\":\"r\",\"provider\":\"p\"," ROOM "}", "cellId:"},
		{"{\"cellId\":\"c\",\"name\":\"a\\nb\",\"type\":\"t\",\"region\":\"r\",\"provider\":\"p\"," ROOM "}", "name:"},
		{"{\"cellId\":\"c\",\"name\":\"n\",\"type\":\"t\",\"region\":null,\"provider\":\"p\"," ROOM "}",
			"region: is missing"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cell_definition *cell = NULL;
		struct buffer error = {0}, warning = {0};
		assert_int_equal(parse(cases[i].body, &cell, &error, &warning), STATUS_INVALID);
		if (!text_starts_with(buffer_text(&error), text_of(cases[i].wrong)))
			fail_msg("%s: %s", cases[i].wrong, error.bytes);
		buffer_free(&error);
		buffer_free(&warning);
	}
}

/* What a cell with every member costs stays under 4 KiB, the text included. */
static void test_memory(void **state)
{
	enum { COUNT = 100 };
	static struct cell_definition *cells[COUNT];
	struct buffer error = {0}, warning = {0};
	struct json *root = NULL;
	(void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip(); /* another allocator */
#endif
	assert_int_equal(json_parse(text_of(full), NULL, &root), STATUS_OK);
	size_t before = mallinfo2().uordblks;
	for (int i = 0; i < COUNT; i++) {
		buffer_clear(&warning);
		assert_int_equal(cell_definition_parse(root, &cells[i], &error, &warning), STATUS_OK);
	}
	size_t each = (mallinfo2().uordblks - before) / COUNT;
	if (each > 4096)
		fail_msg("%zu bytes a definition", each);
	for (int i = 0; i < COUNT; i++)
		cell_definition_free(cells[i]);
	json_free(root);
	buffer_free(&error);
	buffer_free(&warning);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_least),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_memory),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
