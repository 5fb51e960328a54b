/* Shares: bytes are divided by weight whoever asks most, caps hold and slow ones move on, leavers leave nothing behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <semaphore.h>
#include <stdlib.h>

#include "server/share.h"
#include "server/worker_pool.h"

enum { FRAME = 16384, QUANTUM = 64 * 1024, QUANTUM_MOST = QUANTUM + FRAME, ALONE = 8 * QUANTUM, STREAMS_MOST = 16 };
enum { CALM = 1024 }; /* rounds after which who is alone has larger ones */

/* A stream that always has bytes: asks again whenever it may. */
struct greedy {
	struct share_waiter waiter; /* first */
	struct share *share;
	size_t frame;
	uint64_t sent, limit;
	bool is_ready;
};

static struct worker_pool *pool;
static struct worker *worker;

/* A pool whose threads never start: the test is its only worker, and its clock stands still. */
static int open_pool(void **state)
{
	(void)state;
	pool = worker_pool_new(1);
	worker = worker_pool_at(pool, 0);
	return 0;
}

/* The turn ends, and the round: with this turn or, among others, with the next. */
static void end_round(void)
{
	worker_run_later(worker);
	worker_run_later(worker);
}

static int close_pool(void **state)
{
	(void)state;
	worker_run_later(worker);
	share_close_worker(worker);
	worker_pool_free(pool);
	return 0;
}

static void on_go(struct share_waiter *waiter)
{
	((struct greedy *)waiter)->is_ready = true;
}

static void greedy_open(struct greedy *greedy, struct share *share, size_t frame)
{
	*greedy =
		(struct greedy){.waiter.go = on_go, .share = share, .frame = frame, .limit = UINT64_MAX, .is_ready = true};
}

/* As a flush does: until the share says stop. */
static void greedy_run(struct greedy *greedy)
{
	while (greedy->is_ready && greedy->sent < greedy->limit) {
		size_t taken = share_take(greedy->share, greedy->frame, &greedy->waiter);
		greedy->is_ready = taken > 0;
		greedy->sent += taken;
	}
}

static void turn(struct greedy *streams, size_t count)
{
	for (size_t i = 0; i < count; i++)
		greedy_run(&streams[i]);
	end_round();
}

static struct share *share_of_weight(uint32_t weight)
{
	struct share *share = share_new(worker, &(struct share_limits){.weight = weight});
	assert_non_null(share);
	return share;
}

/* Woken streams in the order they were woken in, as connections are flushed. */
static struct greedy *woken[STREAMS_MOST];
static size_t woken_count;

static void on_go_in_order(struct share_waiter *waiter)
{
	woken[woken_count++] = (struct greedy *)waiter;
	on_go(waiter);
}

static void who_was_served_goes_last(void **state)
{
	(void)state;
	struct greedy streams[STREAMS_MOST];
	struct share *share = share_of_weight(1);
	for (size_t i = 0; i < STREAMS_MOST; i++) {
		greedy_open(&streams[i], share, FRAME);
		streams[i].waiter.go = on_go_in_order;
		greedy_run(&streams[i]);
	}
	enum { ROUNDS = 10 };
	for (int round = 0; round < ROUNDS * STREAMS_MOST; round++) {
		woken_count = 0;
		end_round();
		assert_int_equal(woken_count, STREAMS_MOST);
		for (size_t i = 0; i < STREAMS_MOST; i++)
			greedy_run(woken[i]);
	}
	for (size_t i = 0; i < STREAMS_MOST; i++) {
		assert_in_range(streams[i].sent, (ROUNDS - 1) * ALONE - ROUNDS * FRAME, (ROUNDS + 1) * ALONE);
		share_leave(&streams[i].waiter);
	}
	end_round();
	share_unref(share);
}

static const struct {
	const char *what;
	uint32_t weights[2];
	unsigned streams[2]; /* how many each has */
	size_t frames[2];
} fair_cases[] = {
	{"equals", {1, 1}, {1, 1}, {FRAME, FRAME}},
	{"one with many streams", {1, 1}, {1, 15}, {FRAME, FRAME}},
	{"one with large frames", {1, 1}, {1, 1}, {FRAME, 128 * 1024}},
	{"one with small frames", {1, 1}, {1, 1}, {100, FRAME}},
	{"three to one", {3, 1}, {1, 1}, {FRAME, FRAME}},
	{"five to one against many", {5, 1}, {1, 10}, {FRAME, FRAME}},
	{"weight zero is one", {0, 1}, {2, 2}, {FRAME, FRAME}},
};

static void bytes_are_divided_by_weight(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(fair_cases) / sizeof(fair_cases[0]); i++) {
		struct greedy streams[STREAMS_MOST];
		struct share *shares[2];
		size_t count = 0;
		for (int side = 0; side < 2; side++) {
			shares[side] = share_of_weight(fair_cases[i].weights[side]);
			for (unsigned at = 0; at < fair_cases[i].streams[side]; at++)
				greedy_open(&streams[count++], shares[side], fair_cases[i].frames[side]);
		}
		enum { TURNS = 200 };
		for (int at = 0; at < TURNS; at++)
			turn(streams, count);
		for (int side = 0; side < 2; side++) {
			uint32_t weight = fair_cases[i].weights[side] == 0 ? 1 : fair_cases[i].weights[side];
			double rounds = (double)share_bytes_sent(shares[side]) / ((double)QUANTUM * weight);
			if (rounds < TURNS * 0.98 || rounds > TURNS * 1.02 + 1)
				fail_msg("%s: side %d had %.1f rounds of %d", fair_cases[i].what, side, rounds, TURNS);
		}
		for (size_t at = 0; at < count; at++)
			share_leave(&streams[at].waiter);
		end_round();
		share_unref(shares[0]);
		share_unref(shares[1]);
	}
}

/* Ten on one connection, which carries so much in a turn, frame by frame in turns of its streams: one has many streams.
 */
static void a_connection_in_common_is_divided_too(void **state)
{
	enum {
		TENANTS = 10,
		HEAVY = 40,
		LIGHT = 5,
		STREAMS = HEAVY + (TENANTS - 1) * LIGHT,
		TURN = 512 * 1024,
		TURNS = 400
	};
	(void)state;
	static struct greedy streams[STREAMS];
	struct share *shares[TENANTS];
	size_t count = 0, at = 0;
	for (int i = 0; i < TENANTS; i++) {
		shares[i] = share_of_weight(1);
		for (int k = 0; k < (i == 0 ? HEAVY : LIGHT); k++)
			greedy_open(&streams[count++], shares[i], FRAME);
	}
	for (int round = 0; round < TURNS; round++) {
		size_t sent = 0;
		for (size_t idle = 0; idle < STREAMS && sent < TURN; at = (at + 1) % STREAMS) {
			struct greedy *stream = &streams[at];
			size_t taken = stream->is_ready ? share_take(stream->share, FRAME, &stream->waiter) : 0;
			stream->is_ready = stream->is_ready && taken > 0;
			sent += taken;
			idle = taken > 0 ? 0 : idle + 1;
		}
		end_round();
	}
	double sum = 0, squares = 0;
	for (int i = 0; i < TENANTS; i++) {
		double bytes = (double)share_bytes_sent(shares[i]);
		sum += bytes;
		squares += bytes * bytes;
	}
	if (sum * sum / (TENANTS * squares) < 0.99)
		fail_msg("Jain's index is %.4f", sum * sum / (TENANTS * squares));
	for (size_t i = 0; i < STREAMS; i++)
		share_leave(&streams[i].waiter);
	end_round();
	for (int i = 0; i < TENANTS; i++)
		share_unref(shares[i]);
}

static void streams_of_one_share_take_turns(void **state)
{
	(void)state;
	struct share *share = share_of_weight(1);
	struct greedy streams[4];
	for (int i = 0; i < 4; i++) {
		greedy_open(&streams[i], share, FRAME);
		streams[i].limit = 1 << 20;
	}
	for (int at = 0; at < 40; at++)
		turn(streams, 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(streams[i].sent, 1 << 20);
	share_unref(share);
}

static void unused_bytes_come_back(void **state)
{
	(void)state;
	struct share *share = share_of_weight(1);
	struct greedy one;
	greedy_open(&one, share, FRAME);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(share_take(share, FRAME, &one.waiter), FRAME);
		share_return(share, FRAME);
	}
	assert_int_equal(share_bytes_sent(share), 0);
	greedy_run(&one);
	assert_true(one.sent >= QUANTUM && one.sent <= QUANTUM_MOST);
	share_leave(&one.waiter);
	end_round();
	share_unref(share);
}

static void who_is_alone_has_larger_rounds(void **state)
{
	(void)state;
	struct share *shares[2] = {share_of_weight(1), share_of_weight(1)};
	struct greedy one, other;
	greedy_open(&one, shares[0], FRAME);
	greedy_open(&other, shares[1], FRAME);
	for (int round = 0; round < CALM + 5; round++) {
		uint64_t before = one.sent;
		greedy_run(&one);
		assert_int_equal(one.sent - before, round == 0 || (round > 2 && round < CALM + 3) ? QUANTUM : ALONE);
		if (round == 2) { /* one small answer is enough, for long */
			assert_int_equal(share_take(shares[1], 100, &other.waiter), 100);
		}
		end_round();
	}
	for (int i = 0; i < 2; i++)
		share_unref(shares[i]);
}

/* What has come is read between two rounds. */
static void a_turn_has_one_round(void **state)
{
	(void)state;
	struct share *shares[2] = {share_of_weight(1), share_of_weight(1)};
	struct greedy one, other;
	greedy_open(&one, shares[0], FRAME);
	greedy_open(&other, shares[1], FRAME);
	greedy_run(&one);
	end_round();
	for (int alone = 1; alone >= 0; alone--) {
		greedy_run(&one);
		worker_run_later(worker);
		assert_false(one.is_ready);
		worker_run_later(worker);
		assert_true(one.is_ready);
		if (alone == 1) {
			greedy_run(&one);
			greedy_run(&other);
			end_round();
		}
	}
	end_round();
	for (int i = 0; i < 2; i++)
		share_unref(shares[i]);
}

/* However large a frame may be, a round ends with little more than it has. */
static void large_takes_are_cut_to_what_is_left(void **state)
{
	(void)state;
	struct share *share = share_of_weight(1), *capped = share_new(worker, &(struct share_limits){1, 64 * 1024});
	struct greedy one;
	greedy_open(&one, share, 256 * 1024);
	assert_int_equal(share_take(share, QUANTUM - 100, &one.waiter), QUANTUM - 100);
	assert_int_equal(share_take(share, 256 * 1024, &one.waiter), FRAME);
	assert_int_equal(share_take(share, 1, &one.waiter), 0);
	share_leave(&one.waiter);
	assert_int_equal(share_take(capped, 256 * 1024, &one.waiter), 64 * 1024);
	assert_int_equal(share_take(capped, 256 * 1024, &one.waiter), 0);
	share_leave(&one.waiter);
	end_round();
	share_unref(share);
	share_unref(capped);
}

/* A round that has begun stays as it is; what was not used is there again. */
static void only_who_is_alone_has_wider_rounds(void **state)
{
	(void)state;
	enum { WIDE = 2 * ALONE };
	struct share *shares[2] = {share_of_weight(1), share_of_weight(1)};
	struct greedy one, other;
	greedy_open(&one, shares[0], FRAME);
	greedy_open(&other, shares[1], FRAME);
	for (int alone = 1; alone >= 0; alone--) {
		greedy_run(&one);
		if (alone == 0)
			greedy_run(&other);
		end_round();
		share_widen(shares[0], WIDE);
		assert_int_equal(share_take(shares[0], WIDE, &one.waiter), alone == 1 ? WIDE : QUANTUM);
		share_return(shares[0], 100);
		share_widen(shares[0], WIDE);
		one.frame = 100;
		one.is_ready = true;
		uint64_t before = one.sent;
		greedy_run(&one);
		assert_int_equal(one.sent - before, 100);
		one.frame = FRAME;
		end_round();
	}
	for (int i = 0; i < 2; i++)
		share_unref(shares[i]);
}

static void only_who_is_alone_rests(void **state)
{
	(void)state;
	struct share *shares[2] = {share_of_weight(1), share_of_weight(1)};
	struct greedy one, other;
	greedy_open(&one, shares[0], FRAME);
	greedy_open(&other, shares[1], FRAME);
	for (int alone = 1; alone >= 0; alone--) {
		greedy_run(&one);
		if (alone == 0)
			greedy_run(&other);
		end_round();
		one.is_ready = other.is_ready = true;
		assert_false(share_rest(shares[0], QUANTUM, &one.waiter)); /* it fits */
		assert_int_equal(share_take(shares[0], FRAME, &one.waiter), FRAME);
		one.is_ready = false;
		assert_int_equal(share_rest(shares[0], ALONE, &one.waiter), alone);
		end_round();
		assert_int_equal(one.is_ready, alone);
		one.is_ready = true;
	}
	share_leave(&other.waiter);
	end_round();
	for (int i = 0; i < 2; i++)
		share_unref(shares[i]);
}

/* Who leaves from the front, the middle or the end of the queue takes nobody with him. */
static void leavers_leave_nothing_behind(void **state)
{
	(void)state;
	for (unsigned leavers = 0; leavers < 1u << 4; leavers++) {
		struct share *share = share_of_weight(1);
		struct greedy *streams[5], spender;
		greedy_open(&spender, share, 256 * 1024);
		greedy_run(&spender);
		for (int i = 0; i < 4; i++) {
			streams[i] = malloc(sizeof(**streams));
			greedy_open(streams[i], share, FRAME);
			greedy_run(streams[i]);
			assert_false(streams[i]->is_ready);
		}
		for (int i = 0; i < 4; i++) {
			if ((leavers & 1u << i) == 0)
				continue;
			share_leave(&streams[i]->waiter);
			share_leave(&streams[i]->waiter);
			free(streams[i]);
			streams[i] = NULL;
		}
		streams[4] = malloc(sizeof(**streams));
		greedy_open(streams[4], share, FRAME);
		greedy_run(streams[4]);
		end_round();
		for (int i = 0; i < 5; i++) {
			if (streams[i] != NULL && !streams[i]->is_ready)
				fail_msg("leavers %x: stream %d is forgotten", leavers, i);
			free(streams[i]);
		}
		share_unref(share);
	}
}

static struct greedy *victim;

static void on_go_cut(struct share_waiter *waiter)
{
	on_go(waiter);
	share_leave(&victim->waiter);
}

/* A stream that runs may end its neighbour, who waits behind it. */
static void a_woken_one_ends_the_next(void **state)
{
	(void)state;
	struct share *share = share_of_weight(1);
	struct greedy streams[4];
	for (int i = 0; i < 4; i++) {
		greedy_open(&streams[i], share, 200 * 1024);
		greedy_run(&streams[i]);
	}
	victim = &streams[2];
	streams[1].waiter.go = on_go_cut;
	end_round();
	assert_true(streams[0].is_ready && streams[1].is_ready && streams[3].is_ready);
	assert_false(streams[2].is_ready);
	share_unref(share);
}

static void a_share_outlives_its_last_reference_while_queued(void **state)
{
	(void)state;
	struct share *share = share_of_weight(1);
	struct greedy one;
	greedy_open(&one, share, 200 * 1024);
	greedy_run(&one);
	share_unref(share);
	end_round();
	assert_true(one.is_ready);
}

/* The clock of a pool that does not run stands still, so a cap lets its burst through and no more. */
static void a_cap_stops_at_its_burst(void **state)
{
	(void)state;
	static const struct {
		uint64_t rate, burst;
	} cases[] = {{1, 64 * 1024}, {64 * 1024, 64 * 1024}, {1 << 20, 1 << 20}, {UINT64_MAX, 0}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct share *share = share_new(worker, &(struct share_limits){1, cases[i].rate});
		struct greedy one;
		greedy_open(&one, share, 1000);
		for (int at = 0; at < 20; at++)
			turn(&one, 1);
		if (cases[i].burst == 0)
			assert_true(one.sent >= 19 * QUANTUM);
		else
			assert_in_range(one.sent, cases[i].burst, cases[i].burst + 1000);
		share_leave(&one.waiter);
		end_round();
		share_unref(share);
	}
}

/* --- with a clock that goes: on a worker's own thread */

enum { CAPPED_MS = 150 };

struct capped {
	struct task task; /* first */
	struct greedy stream;
	uint64_t rate, burst, begun_ms, taken_ms;
	sem_t is_over;
};
static struct capped *running;

static void on_go_at_once(struct share_waiter *waiter)
{
	struct capped *capped = running;
	on_go(waiter);
	greedy_run(&capped->stream);
	capped->taken_ms = worker_now_ms(worker_current()) - capped->begun_ms;
	if (capped->taken_ms < CAPPED_MS)
		return;
	share_leave(&capped->stream.waiter);
	share_unref(capped->stream.share);
	sem_post(&capped->is_over);
}

static void on_capped(struct task *task)
{
	struct capped *capped = (struct capped *)task;
	struct worker *here = worker_current();
	struct share *share = share_new(here, &(struct share_limits){1, capped->rate});
	running = capped;
	greedy_open(&capped->stream, share, 10);
	capped->stream.waiter.go = on_go_at_once;
	capped->begun_ms = worker_now_ms(here);
	greedy_run(&capped->stream);
}

static void close_shares(void *context, struct worker *stopping)
{
	(void)context;
	share_close_worker(stopping);
}

/* Also when the share is looked at each millisecond, and gets less than a byte each time. */
static void a_cap_lets_its_rate_through(void **state)
{
	(void)state;
	static const uint64_t rates[] = {100, 1500, 60000, 1 << 20};
	struct worker_pool *live = worker_pool_new(1);
	worker_pool_on_stop(live, close_shares, NULL);
	assert_int_equal(worker_pool_start(live), STATUS_OK);
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct capped capped = {.task.run = on_capped, .rate = rates[i]};
		sem_init(&capped.is_over, 0, 0);
		worker_post(worker_pool_at(live, 0), &capped.task);
		while (sem_wait(&capped.is_over) != 0)
			continue;
		sem_destroy(&capped.is_over);
		uint64_t burst = rates[i] < 64 * 1024 ? 64 * 1024 : rates[i];
		double due = (double)(rates[i] * capped.taken_ms) / 1000, sent = (double)(capped.stream.sent - burst);
		if (sent < due - 1 || sent > due + 20)
			fail_msg("rate %llu: %.0f bytes beyond the burst, %.0f due", (unsigned long long)rates[i], sent, due);
	}
	worker_pool_stop(live);
	worker_pool_free(live);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bytes_are_divided_by_weight, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(a_connection_in_common_is_divided_too, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(streams_of_one_share_take_turns, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(unused_bytes_come_back, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(who_is_alone_has_larger_rounds, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(a_turn_has_one_round, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(large_takes_are_cut_to_what_is_left, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(only_who_is_alone_has_wider_rounds, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(only_who_is_alone_rests, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(leavers_leave_nothing_behind, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(a_woken_one_ends_the_next, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(a_share_outlives_its_last_reference_while_queued, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(a_cap_stops_at_its_burst, open_pool, close_pool),
		cmocka_unit_test_setup_teardown(who_was_served_goes_last, open_pool, close_pool),
		cmocka_unit_test(a_cap_lets_its_rate_through),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
