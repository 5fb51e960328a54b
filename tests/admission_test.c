/* Admission: a tenant's limits hold for the process, whichever workers it comes in on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "router/gate.h"
#include "server/worker_pool.h"

enum { WORKERS = 2, EXCHANGES = 4096 };

static struct worker_pool *pool; /* never started: both workers are played by this thread */
static struct accounts *accounts[WORKERS];
static struct participant participant;
static struct gate *gate;
static struct exchange exchanges[EXCHANGES];
static size_t used;
static const struct tenant_settings defaults = {
	.requests_per_second = 1000000, .streams = 200, .connections = 200, .weight = 1};

static int set_up(void **state)
{
	(void)state;
	memset(&participant, 0, sizeof(participant));
	memset(participant.ctx, 'a', ID_LENGTH);
	pool = worker_pool_new(WORKERS);
	gate = gate_new(&participant);
	for (unsigned i = 0; i < WORKERS; i++)
		accounts[i] = accounts_new(worker_pool_at(pool, i), &defaults);
	used = 0;
	return pool != NULL && gate != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	for (unsigned i = 0; i < WORKERS; i++) {
		accounts_free(accounts[i]);
		share_close_worker(worker_pool_at(pool, i));
	}
	assert_int_equal(atomic_load(&gate->streams), 0);
	assert_int_equal(atomic_load(&gate->connections), 0);
	gate_unref(gate);
	worker_pool_free(pool);
	return 0;
}

static enum admission enter(unsigned worker, uintptr_t connection, struct exchange **exchange)
{
	assert_true(used < EXCHANGES);
	*exchange = &exchanges[used++];
	**exchange =
		(struct exchange){.worker = worker_pool_at(pool, worker), .connection = (const void *)(connection << 6)};
	return accounts_admit(accounts[worker], gate, &participant, *exchange);
}

static void leave(struct exchange *exchange)
{
	exchange->on_leave(exchange);
}

/* How many get in, one connection each. */
static size_t fill(unsigned worker, size_t tries, struct exchange **in)
{
	size_t count = 0;
	for (size_t i = 0; i < tries; i++)
		count += enter(worker, used + 1, &in[count]) == ADMITTED;
	return count;
}

static void test_streams_are_used_up_from_one_worker(void **state)
{
	static const int64_t limits[] = {1, 2, 3, 10, 15, 31, 64, 200};
	struct exchange *in[256];
	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		participant.limits.streams = limits[i];
		participant.config_revision++;
		size_t count = fill(0, 220, in);
		assert_int_equal(count, limits[i]);
		while (count > 0)
			leave(in[--count]);
	}
}

/* What one worker no longer uses, the other gets: nothing is stranded but an eighth of large limits. */
static void test_streams_move_to_another_worker(void **state)
{
	static const int64_t limits[] = {1, 2, 3, 10, 15, 31, 64, 200};
	struct exchange *in[256];
	(void)state;
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		participant.limits.streams = limits[i];
		participant.config_revision++;
		for (unsigned worker = 0; worker < WORKERS; worker++) {
			size_t count = fill(worker, 220, in);
			assert_in_range(count, limits[i] < 32 ? limits[i] : limits[i] - limits[i] / 8, limits[i]);
			while (count > 0)
				leave(in[--count]);
		}
	}
}

static void test_streams_never_exceed_the_limit(void **state)
{
	struct exchange *in[WORKERS][256];
	(void)state;
	participant.limits.streams = 50;
	size_t first = fill(0, 30, in[0]), second = fill(1, 200, in[1]);
	assert_in_range(first + second, 44, 50);
	while (first > 0)
		leave(in[0][--first]);
	while (second > 0)
		leave(in[1][--second]);
}

static void test_connections_are_counted_when_theirs_is_the_lower_limit(void **state)
{
	struct exchange *exchange, *in[3];
	(void)state;
	participant.limits.connections = 2;
	assert_int_equal(enter(0, 1, &in[0]), ADMITTED);
	assert_int_equal(enter(1, 2, &in[1]), ADMITTED);
	assert_int_equal(enter(0, 3, &exchange), REFUSED_CONNECTIONS);
	assert_int_equal(enter(0, 1, &in[2]), ADMITTED); /* another stream on one that is in */
	leave(in[0]);
	assert_int_equal(enter(0, 3, &exchange), REFUSED_CONNECTIONS);
	leave(in[2]);
	assert_int_equal(enter(0, 3, &in[0]), ADMITTED);
	leave(in[0]);
	leave(in[1]);
}

/* Far from every limit a request leaves the counters that workers share alone. */
static void test_shared_counters_rest_while_no_limit_is_near(void **state)
{
	struct exchange *exchange;
	(void)state;
	assert_int_equal(enter(0, 1, &exchange), ADMITTED);
	leave(exchange);
	int64_t streams = atomic_load(&gate->streams), requests = atomic_load(&gate->requests);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(enter(0, 1, &exchange), ADMITTED);
		assert_int_equal(atomic_load(&gate->connections), 0);
		leave(exchange);
	}
	assert_int_equal(atomic_load(&gate->streams), streams);
	assert_int_equal(atomic_load(&gate->requests), requests);
}

static void test_requests_have_a_burst_of_one_second(void **state)
{
	struct exchange *exchange;
	size_t counts[WORKERS] = {0};
	(void)state;
	participant.limits.requests_per_second = 100;
	for (int i = 0; i < 300; i++) {
		for (unsigned worker = 0; worker < WORKERS; worker++) {
			if (enter(worker, 1, &exchange) != ADMITTED)
				continue;
			counts[worker]++;
			leave(exchange);
		}
	}
	assert_in_range(counts[0] + counts[1], 100, 130); /* and what a slow machine earns meanwhile */
}

static size_t taken(struct exchange *exchange)
{
	static struct share_waiter waiter;
	size_t total = 0, got;
	while ((got = share_take(exchange->share, 1024, &waiter)) > 0 && total < 100 * 1024)
		total += got;
	share_leave(&waiter);
	return total;
}

/* The cap is not cut by workers on which the tenant has nothing. */
static void test_bytes_are_whole_on_one_worker(void **state)
{
	struct exchange *one;
	(void)state;
	participant.limits.bytes_per_second = 100 * 1024;
	participant.limits.weight = 2; /* one round holds more than the cap */
	assert_int_equal(enter(0, 1, &one), ADMITTED);
	assert_in_range(taken(one), 99 * 1024, 101 * 1024);
	leave(one);
}

/* What workers share stays untouched while each has one request after the other: a write there would be paid by all. */
static void test_requests_in_turn_leave_the_gate_alone(void **state)
{
	enum { REQUESTS = 100 };
	struct exchange *in;
	int64_t before[3] = {0};
	(void)state;
	participant.limits.connections = 50;
	participant.limits.bytes_per_second = 1000000000;
	for (unsigned i = 0; i < REQUESTS; i++) {
		assert_int_equal(enter(i % WORKERS, 1 + i % WORKERS, &in), ADMITTED);
		const int64_t during[3] = {
			atomic_load(&gate->streams), atomic_load(&gate->connections), atomic_load(&gate->senders)};
		leave(in);
		if (i >= WORKERS)
			assert_memory_equal(during, before, sizeof(before));
		memcpy(before, during, sizeof(before));
		assert_int_equal(atomic_load(&gate->streams), during[0]);
		assert_int_equal(atomic_load(&gate->connections), during[1]);
		assert_int_equal(atomic_load(&gate->senders), during[2]);
	}
	assert_int_equal(before[2], WORKERS);
	/* and the loans are no more than the limit leaves */
	struct exchange *many[64];
	assert_in_range(fill(0, 64, many), 50 - 8, 50);
	while (used > REQUESTS)
		if (exchanges[--used].on_leave != NULL)
			leave(&exchanges[used]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_streams_are_used_up_from_one_worker, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_streams_move_to_another_worker, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_streams_never_exceed_the_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_requests_in_turn_leave_the_gate_alone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_connections_are_counted_when_theirs_is_the_lower_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_shared_counters_rest_while_no_limit_is_near, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_requests_have_a_burst_of_one_second, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bytes_are_whole_on_one_worker, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
