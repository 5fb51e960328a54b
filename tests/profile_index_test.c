/* The index of participant profiles against a plain list, and what it costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "control/fabric/manager/profile_index.h"
#include "server/base/log.h"
#include "state_fixture.h"

enum { PROFILES = 20000, VPAS = 4 };

static struct profile_index *profiles;
static bool is_there[PROFILES];
static size_t there;

/* Ids in no order of their numbers. */
static void print_id(char id[64], size_t number)
{
	uint32_t mixed = (uint32_t)number * 0x9e3779b1U;
	snprintf(id, 64, "tenant-%zu/%08x-%04zx-4000-8000-0123456789ab", number % 7, mixed, number & 0xffffU);
}

static void tell(size_t number, const char *state)
{
	char id[64], body[256];
	print_id(id, number);
	snprintf(body, sizeof(body),
		"{\"id\":\"x\",\"vpas\":[{\"id\":\"1\",\"state\":\"%s\",\"type\":\"t\"},{\"type\":\"t\",\"state\":\"disposed\"}"
		"]}",
		state == NULL ? "" : state);
	fixture_tell(&(struct record){.kind = RECORD_PARTICIPANT_PROFILE,
		.ctx = TEXT(""),
		.id = text_of(id),
		.revision = (int64_t)number + 1,
		.body = state == NULL ? TEXT_NONE : text_of(body)});
	there = there + (state != NULL) - is_there[number];
	is_there[number] = state != NULL;
}

static const struct profile_row *find(size_t number)
{
	char id[64];
	print_id(id, number);
	return profile_index_find(profiles, text_of(strchr(id, '/') + 1));
}

static int open_index(void **state)
{
	(void)state;
	memset(is_there, 0, sizeof(is_there));
	there = 0;
	assert_int_equal(profile_index_open(fixture_state(), &profiles), STATUS_OK);
	return 0;
}

static int close_index(void **state)
{
	(void)state;
	profile_index_free(profiles);
	fixture_clear();
	return 0;
}

static void must_be_right(void)
{
	struct profile_row rows[100], last = {.revision = 0};
	size_t seen = 0, of_tenants = 0, count;
	for (size_t number = 0; number < PROFILES; number++) {
		const struct profile_row *row = find(number);
		assert_true((row != NULL) == is_there[number]);
		assert_true(row == NULL || row->revision == (int64_t)number + 1);
	}
	while ((count = profile_index_copy_after(profiles, seen == 0 ? NULL : last.id, rows, 100)) > 0) {
		struct profile_row one;
		assert_int_equal(profile_index_copy(profiles, seen, &one, 1), 1);
		assert_memory_equal(one.id, rows[0].id, PROFILE_ID_BYTES);
		for (size_t i = 0; i < count; i++, seen++) {
			assert_true(seen == 0 || memcmp(last.id, rows[i].id, PROFILE_ID_BYTES) < 0);
			last = rows[i];
		}
	}
	assert_int_equal(seen, there);
	assert_int_equal(profile_index_count(profiles), there);
	assert_int_equal(profile_index_copy(profiles, there, rows, 100), 0);
	for (size_t tenant = 0; tenant < 8; tenant++) {
		char id[16];
		snprintf(id, sizeof(id), "tenant-%zu", tenant);
		of_tenants += profile_index_count_of(profiles, text_of(id));
	}
	assert_int_equal(of_tenants, there);
}

static void what_comes_and_goes_is_found(void **state)
{
	uint32_t random = 12345;
	(void)state;
	must_be_right();
	for (size_t number = 0; number < PROFILES; number++)
		tell(number, "active");
	must_be_right();
	for (size_t i = 0; i < PROFILES; i++) {
		random = random * 1664525 + 1013904223;
		tell((random >> 8) % PROFILES, random >> 30 == 0 ? "error" : NULL);
	}
	must_be_right();
	for (size_t number = 0; number < PROFILES; number++)
		tell(number, number % 100 == 0 ? "error" : NULL);
	must_be_right();
	/* what was given back is not kept */
	assert_true(profile_index_bytes(profiles) < (size_t)PROFILES / 100 * sizeof(struct profile_row) * 4 + 8192);
}

static void a_row_says_whose_it_is_and_how_it_fares(void **state)
{
	struct buffer id = {0};
	char expected[64];
	(void)state;
	print_id(expected, 5);
	tell(5, "pending");
	profile_row_print(profiles, find(5), &id);
	assert_string_equal(id.bytes, expected);
	buffer_free(&id);
	assert_true(text_equals(profile_row_tenant(profiles, find(5)), TEXT("tenant-5")));
	assert_int_equal(find(5)->states, 1U << VPA_STATE_PENDING | 1U << VPA_STATE_DISPOSED);
	tell(5, "active");
	assert_int_equal(find(5)->states, 1U << VPA_STATE_ACTIVE | 1U << VPA_STATE_DISPOSED);
	tell(5, "nonsense");
	assert_int_equal(find(5)->states, 1U << VPA_STATE_DISPOSED);
	assert_null(profile_index_find(profiles, TEXT("")));
	assert_null(profile_index_find(profiles, TEXT("6e3779b1-0000-4000-8000-0123456789aB")));
}

/* A VPA costs the fabric 64 bytes at most, of which placement takes 31 (place_test.c). */
static void a_profile_of_four_vpas_costs_little(void **state)
{
	(void)state;
	for (size_t number = 0; number < PROFILES; number++)
		tell(number, "active");
	assert_true(profile_index_bytes(profiles) / ((size_t)PROFILES * VPAS) <= 16);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_index, close_index)

int main(void)
{
	const struct CMUnitTest tests[] = {CASE(what_comes_and_goes_is_found),
		CASE(a_row_says_whose_it_is_and_how_it_fares), CASE(a_profile_of_four_vpas_costs_little)};
	log_threshold = LOG_ERROR;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
