/* The route table: which gate a context or a host name leads to, as participants come, change and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "router/route_table.h"
#include "server/base/log.h"

#define A "0123456789abcdef0123456789abcdef"
#define B "fedcba9876543210fedcba9876543210"

/* The registry of this test: it keeps who observes. */
static void (*on_change)(
	void *context, const char *ctx, const struct participant *participant, const struct participant *previous);
static void (*on_batch)(void *context);
static void *observer;

void registry_observe(struct registry *registry,
	void (*change)(
		void *context, const char *ctx, const struct participant *participant, const struct participant *previous),
	void (*batch)(void *context), void *context)
{
	(void)registry;
	on_change = change;
	on_batch = batch;
	observer = context;
}

static struct route_table *table;

static int open_table(void **state)
{
	(void)state;
	log_threshold = LOG_ERROR;
	/* no pool: what is retired goes at once */
	return route_table_open(NULL, NULL, "cell.example", &table) == STATUS_OK ? 0 : -1;
}

static int close_table(void **state)
{
	(void)state;
	route_table_free(table);
	route_table_free(NULL);
	return 0;
}

static const struct participant *found(const char *authority)
{
	const struct gate *gate = route_table_find_host(table, text_of(authority));
	return gate == NULL ? NULL : atomic_load(&gate->participant);
}

static char *a_hosts[] = {(char *)(uintptr_t) "one.example", (char *)(uintptr_t) "two.example"};
static char *b_hosts[] = {(char *)(uintptr_t) "two.example", (char *)(uintptr_t) "three.example"};
static const struct participant first_a = {.ctx = A, .hosts = a_hosts, .host_count = 2},
								second_a = {.ctx = A, .hosts = a_hosts, .host_count = 1},
								first_b = {.ctx = B, .hosts = b_hosts, .host_count = 2};

static void contexts_lead_to_their_participant(void **state)
{
	(void)state;
	assert_null(route_table_find(table, TEXT(A)));
	on_change(observer, A, &first_a, NULL);
	on_batch(observer);
	struct gate *gate = route_table_find(table, TEXT(A));
	assert_ptr_equal(atomic_load(&gate->participant), &first_a);
	on_change(observer, A, &second_a, &first_a);
	assert_ptr_equal(route_table_find(table, TEXT(A)), gate); /* its counters live on */
	assert_ptr_equal(atomic_load(&gate->participant), &second_a);
	on_change(observer, B, &first_b, NULL);
	assert_int_equal(route_table_count(table), 2);
	gate_ref(gate); /* as a worker that still counts with it */
	on_change(observer, A, NULL, &second_a);
	assert_null(route_table_find(table, TEXT(A)));
	assert_null(atomic_load(&gate->participant));
	gate_unref(gate);
	on_change(observer, A, NULL, NULL); /* gone is gone */
	assert_int_equal(route_table_count(table), 1);
	assert_non_null(route_table_find(table, TEXT(B)));
}

/* What a worker remembers goes with the version in which it was found. */
static void what_is_recalled_is_what_is_found(void **state)
{
	static struct route_memos memos;
	(void)state;
	on_batch(observer);
	assert_null(route_table_recall(table, TEXT(A), &memos));
	on_change(observer, A, &first_a, NULL);
	const struct gate *gate = route_table_find(table, TEXT(A));
	assert_non_null(gate);
	for (int i = 0; i < 3; i++)
		assert_ptr_equal(route_table_recall(table, TEXT(A), &memos), gate);
	assert_null(route_table_recall(table, TEXT(B), &memos));
	assert_null(route_table_recall(table, text_slice(TEXT(A), 0, 31), &memos));
	on_change(observer, B, &first_b, NULL);
	assert_ptr_equal(route_table_recall(table, TEXT(A), &memos), gate);
	assert_ptr_equal(route_table_recall(table, TEXT(B), &memos), route_table_find(table, TEXT(B)));
	on_change(observer, A, NULL, &first_a);
	assert_null(route_table_recall(table, TEXT(A), &memos));
	on_change(observer, A, &second_a, NULL);
	assert_ptr_equal(route_table_recall(table, TEXT(A), &memos), route_table_find(table, TEXT(A)));
}

static void hosts_lead_to_their_participant(void **state)
{
	(void)state;
	static const struct {
		const char *authority;
		const struct participant *participant;
	} cases[] = {
		{"one.example", &first_a},
		{"one.example:8443", &first_a},
		{"two.example", &first_a}, /* had it first */
		{"three.example", &first_b},
		{"four.example", NULL},
		{"", NULL},
		{A ".cell.example", &first_a},
		{B ".cell.example:443", &first_b},
		{A "xcell.example", NULL},
		{A ".cell.example.org", NULL},
		{A ".other.example", NULL},
		{"00000000000000000000000000000000.cell.example", NULL},
		{".cell.example", NULL},
		{"cell.example", NULL},
	};
	on_change(observer, A, &first_a, NULL);
	on_change(observer, B, &first_b, NULL);
	on_batch(observer);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (found(cases[i].authority) != cases[i].participant)
			fail_msg("%s", cases[i].authority);
}

static void hosts_change_hands_when_given_up(void **state)
{
	(void)state;
	on_batch(observer);
	on_change(observer, A, &first_a, NULL);
	on_change(observer, B, &first_b, NULL);
	on_change(observer, A, &second_a, &first_a);
	assert_null(found("two.example"));
	on_change(observer, B, &first_b, &first_b); /* told again: now it is free */
	assert_ptr_equal(found("two.example"), &first_b);
	on_change(observer, A, NULL, &second_a);
	assert_null(found("one.example"));
	assert_ptr_equal(found("two.example"), &first_b);
	on_change(observer, B, NULL, &first_b);
	assert_null(found("two.example"));
	assert_int_equal(route_table_count(table), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(contexts_lead_to_their_participant, open_table, close_table),
		cmocka_unit_test_setup_teardown(what_is_recalled_is_what_is_found, open_table, close_table),
		cmocka_unit_test_setup_teardown(hosts_lead_to_their_participant, open_table, close_table),
		cmocka_unit_test_setup_teardown(hosts_change_hands_when_given_up, open_table, close_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
