/* The index of records: found by id, in order, shared with who keeps them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "control/fabric/record_index.h"
#include "state_fixture.h"

static void put(const char *id, const char *body)
{
	fixture_put(RECORD_PARTICIPANT_PROFILE, id, body);
}

static void delete_record(const char *id)
{
	fixture_tell(&(struct record){.kind = RECORD_PARTICIPANT_PROFILE, .id = text_of(id), .ctx = TEXT("")});
	fixture_tell_batch();
}

/* The ids in order, joined. */
static const char *all(const struct record_index *index)
{
	static char joined[512];
	size_t length = 0;
	joined[0] = 0;
	for (size_t i = 0; i < record_index_count(index); i++)
		length += (size_t)snprintf(joined + length, sizeof(joined) - length, "%s%.*s", i == 0 ? "" : " ",
			TEXT_ARGUMENTS(record_index_at(index, i)->id));
	return joined;
}

struct visited {
	char ids[512];
	size_t count, most;
};

static bool visit(void *context, const struct record_item *item)
{
	struct visited *visited = context;
	size_t length = strlen(visited->ids);
	snprintf(visited->ids + length, sizeof(visited->ids) - length, "%s%.*s", length == 0 ? "" : " ",
		TEXT_ARGUMENTS(item->id));
	return ++visited->count < visited->most;
}

static const char *ids(const struct record_index *index, const char *prefix, size_t most)
{
	static struct visited visited;
	visited = (struct visited){.most = most};
	record_index_each(index, text_of(prefix), visit, &visited);
	return visited.ids;
}

static void records_are_found_and_in_order(void **unused)
{
	struct record_index *index;
	(void)unused;
	assert_int_equal(record_index_open(fixture_state(), RECORD_PARTICIPANT_PROFILE, &index), STATUS_OK);
	/* what is loaded comes in the order of its revisions, before the first batch ends */
	static const char *const loaded[] = {"t2/c", "t1/d", "t1/a"};
	for (size_t i = 0; i < 3; i++)
		fixture_tell(&(struct record){.kind = RECORD_PARTICIPANT_PROFILE,
			.id = text_of(loaded[i]),
			.ctx = TEXT(""),
			.revision = (int64_t)i + 1,
			.body = TEXT("{}")});
	fixture_tell_batch();
	assert_string_equal(all(index), "t1/a t1/d t2/c");
	put("t2/b", "{\"n\":1}");
	put("t1/e", "{}");
	put("t2/b", "{\"n\":2}");
	assert_string_equal(all(index), "t1/a t1/d t1/e t2/b t2/c");
	assert_string_equal(ids(index, "t1/", 9), "t1/a t1/d t1/e");
	assert_string_equal(ids(index, "t1/", 2), "t1/a t1/d");
	assert_string_equal(ids(index, "t", 9), "t1/a t1/d t1/e t2/b t2/c");
	assert_string_equal(ids(index, "t3/", 9), "");
	const struct record_item *item = record_index_find(index, TEXT("t2/b"));
	assert_non_null(item);
	assert_string_equal(item->body.bytes, "{\"n\":2}");
	assert_true(text_equals(item->id, TEXT("t2/b")));
	assert_null(record_index_find(index, TEXT("b")));
	assert_null(record_index_find(index, TEXT("")));
	assert_int_equal(record_index_position(index, TEXT("t1/d"), false), 1);
	assert_int_equal(record_index_position(index, TEXT("t1/d"), true), 2);
	assert_int_equal(record_index_position(index, TEXT("t1/dd"), false), 2);
	assert_int_equal(record_index_position(index, TEXT("z"), true), 5);

	/* who keeps an item has it as it was */
	record_item_ref(item);
	put("t2/b", "{\"n\":3}");
	delete_record("t2/b");
	delete_record("t2/b");
	delete_record("none");
	assert_string_equal(all(index), "t1/a t1/d t1/e t2/c");
	assert_string_equal(ids(index, "t2/", 9), "t2/c");
	assert_string_equal(item->body.bytes, "{\"n\":2}");
	struct json *tree = record_item_json(item);
	int64_t number;
	assert_true(json_integer(json_member(tree, "n"), &number));
	assert_int_equal(number, 2);
	json_free(tree);
	record_item_unref(item);
	record_index_free(index);
	fixture_clear();
}

static void many_records_stay_in_order(void **unused)
{
	enum { COUNT = 400, STEP = 149 /* prime to COUNT */ };
	struct record_index *index;
	(void)unused;
	assert_int_equal(record_index_open(fixture_state(), RECORD_PARTICIPANT_PROFILE, &index), STATUS_OK);
	fixture_tell_batch();
	for (size_t i = 0, at = 0; i < COUNT; i++, at = (at + STEP) % COUNT) {
		char id[8];
		snprintf(id, sizeof(id), "%05zu", at);
		put(id, "{}");
	}
	assert_int_equal(record_index_count(index), COUNT);
	for (size_t i = 0; i < COUNT; i += 2) {
		char id[8];
		snprintf(id, sizeof(id), "%05zu", i);
		delete_record(id);
	}
	assert_int_equal(record_index_count(index), COUNT / 2);
	for (size_t i = 0; i < COUNT / 2; i++) {
		char id[8];
		snprintf(id, sizeof(id), "%05zu", 2 * i + 1);
		assert_true(text_equals(record_index_at(index, i)->id, text_of(id)));
	}
	assert_string_equal(ids(index, "0039", 9), "00391 00393 00395 00397 00399");
	record_index_free(index);
	fixture_clear();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_are_found_and_in_order), cmocka_unit_test(many_records_stay_in_order)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
