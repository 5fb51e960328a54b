/* The index of cells, and the bodies of their records. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/fabric/cells.h"
#include "server/base/json.h"
#include "server/base/log.h"
#include "tests/state_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DEFINITION(id, more)                                                                                           \
	"{\"cellId\":\"" id "\",\"name\":\"n\",\"type\":\"edge\",\"region\":\"r\",\"provider\":\"p\",\"capacity\":{"       \
	"\"maxVPAs\":5},\"infrastructure\":{\"kubernetes\":{\"cluster\":\"c\",\"namespace\":\"n\"},\"vault\":{"            \
	"\"address\":"                                                                                                     \
	"\"https://v\",\"path\":\"p\"},\"database\":{\"host\":\"h\",\"database\":\"d\"}},\"labels\":{}" more "}"
#define BODY(external, state, properties, own)                                                                         \
	"{\"version\":0,\"externalId\":\"" external "\",\"state\":\"" state                                                \
	"\",\"stateTimestamp\":\"2026-01-01T00:00:00Z\","                                                                  \
	"\"properties\":" properties own "}"
#define DEFINED(id, more) "{\"celld.definition\":" DEFINITION(id, more) "}"

static struct cells *cells;
static char seen[512];

static void on_change(void *context, uint32_t slot, const struct cell_record *cell)
{
	size_t length = strlen(seen);
	(void)context;
	snprintf(seen + length, sizeof(seen) - length, "%u:%s;", slot, cell == NULL ? "-" : cell->id);
}

static int setup(void **state)
{
	(void)state;
	seen[0] = 0;
	if (cells_open(fixture_state(), &cells) != STATUS_OK)
		return -1;
	cells_observe(cells, on_change, NULL);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cells_free(cells);
	fixture_clear();
	return 0;
}

static bool append_id(void *context, const struct cell_record *cell)
{
	strcat(context, cell->id); /* NOLINT: a test's room */
	return true;
}

static void assert_order(const char *expected)
{
	char order[128] = "";
	cells_each(cells, append_id, order);
	assert_string_equal(order, expected);
}

static void delete_cell(const char *id)
{
	const struct fixture_change change = {.kind = RECORD_CELL, .id = text_copy(text_of(id))};
	fixture_apply(&change, ++fixture.revision);
	fixture_tell_batch();
	free(change.id);
}

static void cells_are_found_in_order_and_keep_their_slots(void **state)
{
	(void)state;
	fixture_put(RECORD_CELL, "c", BODY("", "active", "{}", ""));
	fixture_put(RECORD_CELL, "a", BODY("x", "pending", "{}", ""));
	fixture_put(RECORD_CELL, "b", BODY("ignored", "active", DEFINED("y", ""), ""));
	assert_order("abc");
	assert_int_equal(cells_slots(cells), 3);
	assert_int_equal(cells_find(cells, TEXT("b"))->slot, 2);
	assert_ptr_equal(cells_at(cells, 2), cells_find_external(cells, TEXT("y")));
	assert_null(cells_find_external(cells, TEXT("")));
	assert_null(cells_find_external(cells, TEXT("ignored")));
	fixture_put(RECORD_CELL, "c", BODY("z", "locked", "{}", ""));
	assert_int_equal(cells_find_external(cells, TEXT("z"))->slot, 0);
	delete_cell("a");
	assert_order("bc");
	assert_null(cells_at(cells, 1));
	assert_null(cells_find_external(cells, TEXT("x")));
	fixture_put(RECORD_CELL, "a", BODY("x", "active", "{}", ""));
	assert_int_equal(cells_find(cells, TEXT("a"))->slot, 3);
	assert_string_equal(seen, "0:c;1:a;2:b;0:c;1:-;3:a;");
}

static void one_external_id_means_the_defined_cell(void **state)
{
	(void)state;
	fixture_put(RECORD_CELL, "a", BODY("x", "active", "{}", ""));
	fixture_put(RECORD_CELL, "b", BODY("x", "active", DEFINED("x", ""), ""));
	assert_string_equal(cells_find_external(cells, TEXT("x"))->id, "b");
	delete_cell("b");
	assert_string_equal(cells_find_external(cells, TEXT("x"))->id, "a");
	fixture_put(RECORD_CELL, "a", BODY("y", "active", "{}", ""));
	assert_null(cells_find_external(cells, TEXT("x")));
}

static void what_a_body_says(void **state)
{
	static const struct {
		const char *body;
		enum cell_mode mode;
		enum cell_health health;
		bool is_legacy, is_active;
		int64_t epoch;
	} cases[] = {
		{BODY("x", "active", "{}", ""), CELL_READY, CELL_UNKNOWN, true, true, 0},
		{BODY("x", "initial", "{}", ""), CELL_REGISTERING, CELL_UNKNOWN, true, false, 0},
		{BODY("x", "disposed", "{}", ""), CELL_GONE, CELL_UNKNOWN, true, false, 0},
		{BODY("x", "error", "{}", ""), CELL_ERROR, CELL_UNKNOWN, true, false, 0},
		{BODY("x", "offline", DEFINED("x", ""), ",\"celld\":{\"mode\":\"ready\",\"health\":\"suspect\",\"epoch\":7}"),
			CELL_READY, CELL_SUSPECT, false, false, 7},
		{BODY(
			 "x", "active", DEFINED("x", ""), ",\"celld\":{\"mode\":\"draining\",\"incarnation\":\"i\",\"key\":\"k\"}"),
			CELL_DRAINING, CELL_UNKNOWN, false, true, 0},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		fixture_put(RECORD_CELL, "a", cases[i].body);
		const struct cell_record *cell = cells_find(cells, TEXT("a"));
		assert_non_null(cell);
		assert_int_equal(cell->mode, cases[i].mode);
		assert_int_equal(cell->health, cases[i].health);
		assert_int_equal(cell->is_legacy, cases[i].is_legacy);
		assert_int_equal(cell->is_active, cases[i].is_active);
		assert_int_equal(cell->epoch, cases[i].epoch);
		assert_string_equal(cell->body, cases[i].body);
	}
}

/* Of an intermittent cell silence is no news (F49). */
static void who_serves_nobody_is_offline(void **state)
{
#define OWN(mode, health, more) ",\"celld\":{\"mode\":\"" mode "\",\"health\":\"" health "\"" more "}"
	static const struct {
		const char *body, *since;
	} cases[] = {
		{BODY("x", "active", "{}", ""), NULL},
		{BODY("x", "active", DEFINED("x", ""), OWN("ready", "healthy", ",\"healthSince\":1000")), NULL},
		{BODY("x", "offline", DEFINED("x", ""), OWN("ready", "suspect", ",\"healthSince\":1000")), NULL},
		{BODY("x", "offline", DEFINED("x", ""), OWN("ready", "isolated", "")), NULL},
		{BODY("x", "offline", DEFINED("x", ""), OWN("ready", "unreachable", ",\"healthSince\":1000")),
			"1970-01-01T00:00:01.000Z"},
		{BODY("x", "offline", DEFINED("x", ""), OWN("draining", "unreachable", "")), "2026-01-01T00:00:00Z"},
		{BODY("x", "offline", DEFINED("x", ",\"connectivity\":\"intermittent\""),
			 OWN("ready", "unreachable", ",\"healthSince\":1000")),
			NULL},
		{BODY("x", "offline", DEFINED("x", ",\"connectivity\":\"intermittent\""), OWN("fenced", "healthy", "")),
			"2026-01-01T00:00:00Z"},
		{BODY("x", "offline", DEFINED("x", ""), OWN("fenced", "healthy", "")), "2026-01-01T00:00:00Z"},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		fixture_put(RECORD_CELL, "a", cases[i].body);
		const char *since = cells_find(cells, TEXT("a"))->offline_since;
		if (cases[i].since == NULL)
			assert_null(since);
		else
			assert_string_equal(since, cases[i].since);
	}
#undef OWN
}

static void what_cannot_be_read_is_no_cell(void **state)
{
	static const char *const bodies[] = {"", "[", BODY("x", "active", "{}", ",\"celld\":{\"mode\":\"sideways\"}"),
		BODY("x", "active", "{}", ",\"celld\":{\"health\":\"well\"}"),
		BODY("x", "active", "{}", ",\"celld\":{\"epoch\":-1}"),
		BODY("x", "active", "{\"celld.definition\":{\"cellId\":\"x\"}}", "")};
	(void)state;
	for (size_t i = 0; i < COUNT(bodies); i++) {
		fixture_put(RECORD_CELL, "a", BODY("x", "active", "{}", ""));
		fixture_put(RECORD_CELL, "a", bodies[i]);
		assert_null(cells_find(cells, TEXT("a")));
	}
}

/* control.md 2.2.2 */
static void the_managers_state_follows_mode_and_health(void **state)
{
	static const struct {
		enum cell_mode mode;
		enum cell_health health;
		const char *always, *intermittent;
	} cases[] = {
		{CELL_REGISTERING, CELL_UNKNOWN, "pending", "pending"},
		{CELL_PROVISIONING, CELL_HEALTHY, "pending", "pending"},
		{CELL_READY, CELL_UNKNOWN, "pending", "pending"},
		{CELL_READY, CELL_HEALTHY, "active", "active"},
		{CELL_READY, CELL_DEGRADED, "active", "active"},
		{CELL_READY, CELL_SUSPECT, "offline", "active"},
		{CELL_READY, CELL_UNREACHABLE, "offline", "active"},
		{CELL_READY, CELL_FAILOVER_ELIGIBLE, "offline", "active"},
		{CELL_READY, CELL_ISOLATED, "offline", "active"},
		{CELL_READY, CELL_FLAPPING, "offline", "offline"},
		{CELL_CORDONED, CELL_HEALTHY, "locked", "locked"},
		{CELL_DRAINING, CELL_SUSPECT, "locked", "locked"},
		{CELL_FENCED, CELL_HEALTHY, "offline", "offline"},
		{CELL_DECOMMISSIONING, CELL_HEALTHY, "disposing", "disposing"},
		{CELL_GONE, CELL_HEALTHY, "disposed", "disposed"},
		{CELL_ERROR, CELL_HEALTHY, "error", "error"},
	};
	(void)state;
	fixture_put(RECORD_CELL, "a", BODY("x", "initial", DEFINED("x", ""), ""));
	fixture_put(RECORD_CELL, "b", BODY("y", "initial", DEFINED("y", ",\"connectivity\":\"intermittent\""), ""));
	for (size_t i = 0; i < 2 * COUNT(cases); i++) {
		const struct cell_record *cell = cells_find(cells, i % 2 == 0 ? TEXT("a") : TEXT("b"));
		struct json *root;
		char *body = cells_body_with(cell, NULL, cases[i / 2].mode, cases[i / 2].health, 1000);
		assert_non_null(body);
		assert_int_equal(json_parse(text_of(body), NULL, &root), STATUS_OK);
		assert_true(text_equals(
			json_member_text(root, "state"), text_of(i % 2 == 0 ? cases[i / 2].always : cases[i / 2].intermittent)));
		assert_true(text_equals(json_member_text(root, "stateTimestamp"), TEXT("1970-01-01T00:00:01.000Z")));
		assert_true(text_equals(
			json_member_text(json_member(root, "celld"), "mode"), text_of(cell_mode_name(cases[i / 2].mode))));
		json_free(root);
		free(body);
	}
}

static void values_of_ours_are_merged_and_removed(void **state)
{
	struct json *set;
	(void)state;
	fixture_put(RECORD_CELL, "a",
		BODY("x", "active", "{}", ",\"celld\":{\"mode\":\"ready\",\"health\":\"healthy\",\"epoch\":7,\"key\":\"k\"}"));
	assert_int_equal(json_parse(TEXT("{\"epoch\":8,\"key\":null,\"joinedAt\":5}"), NULL, &set), STATUS_OK);
	char *body = cells_body_with(cells_find(cells, TEXT("a")), set, CELL_READY, CELL_HEALTHY, 1000);
	assert_string_equal(body,
		BODY("x", "active", "{}", ",\"celld\":{\"mode\":\"ready\",\"health\":\"healthy\",\"epoch\":8,\"joinedAt\":5}"));
	json_free(set);
	free(body);
}

int main(void)
{
	log_threshold = LOG_ERROR + 1;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(cells_are_found_in_order_and_keep_their_slots, setup, teardown),
		cmocka_unit_test_setup_teardown(one_external_id_means_the_defined_cell, setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_body_says, setup, teardown),
		cmocka_unit_test_setup_teardown(who_serves_nobody_is_offline, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_read_is_no_cell, setup, teardown),
		cmocka_unit_test_setup_teardown(the_managers_state_follows_mode_and_health, setup, teardown),
		cmocka_unit_test_setup_teardown(values_of_ours_are_merged_and_removed, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
