/* Workers: tasks in order, barriers after everything before them, retirement, the end of a turn, timers, hooks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "server/base/clock.h"
#include "server/worker_pool.h"

enum { WORKERS = 3, POSTERS = 3, TASKS = 3000, BARRIERS = 200 };

static struct worker_pool *pool;
static sem_t done;

static void wait_done(void)
{
	while (sem_wait(&done) != 0)
		continue;
}

static void say_done(void *context)
{
	(void)context;
	sem_post(&done);
}

static int start(void **state)
{
	(void)state;
	sem_init(&done, 0, 0);
	pool = worker_pool_new(WORKERS);
	return pool != NULL && worker_pool_start(pool) == STATUS_OK ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	worker_pool_stop(pool);
	worker_pool_free(pool);
	sem_destroy(&done);
	return 0;
}

/* --- tasks */

struct numbered {
	struct task task; /* first */
	struct worker *worker;
	unsigned poster, number;
	bool is_good;
};
/* Of each poster on each worker: written by the worker alone. */
static unsigned expected[WORKERS][POSTERS];

static void on_numbered(struct task *task)
{
	struct numbered *numbered = (struct numbered *)task;
	unsigned *next = &expected[worker_index(numbered->worker)][numbered->poster];
	numbered->is_good = worker_current() == numbered->worker && *next == numbered->number;
	*next += 1;
}

struct poster {
	pthread_t thread;
	unsigned index;
	struct numbered tasks[TASKS];
};

static void *post_all(void *context)
{
	struct poster *poster = context;
	for (unsigned i = 0; i < TASKS; i++) {
		struct worker *worker = worker_pool_at(pool, i % WORKERS);
		poster->tasks[i] = (struct numbered){
			.task.run = on_numbered, .worker = worker, .poster = poster->index, .number = i / WORKERS};
		worker_post(worker, &poster->tasks[i].task);
	}
	return NULL;
}

static void tasks_run_on_their_worker_in_order(void **state)
{
	(void)state;
	struct poster *posters = calloc(POSTERS, sizeof(*posters));
	for (unsigned i = 0; i < POSTERS; i++) {
		posters[i].index = i;
		assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
	}
	for (unsigned i = 0; i < POSTERS; i++)
		pthread_join(posters[i].thread, NULL);
	worker_pool_barrier(pool, say_done, NULL);
	wait_done();
	for (unsigned i = 0; i < POSTERS; i++)
		for (unsigned at = 0; at < TASKS; at++)
			if (!posters[i].tasks[at].is_good)
				fail_msg("task %u of poster %u", at, i);
	free(posters);
	assert_null(worker_current());
}

/* --- barriers: readers look at what is published, the writer retires what was */

struct version {
	unsigned number;
	unsigned magic;
};
enum { MAGIC = 0x5afe };
static _Atomic(struct version *) published;
static atomic_uint bad_reads, released;
static unsigned last_released;

static void on_read(struct task *task)
{
	const struct version *version = atomic_load_explicit(&published, memory_order_acquire);
	if (version->magic != MAGIC)
		atomic_fetch_add(&bad_reads, 1);
	free(task);
}

static void release(void *object)
{
	struct version *version = object;
	if (version->number != last_released + 1) /* in the order of their retirement */
		atomic_fetch_add(&bad_reads, 1);
	last_released = version->number;
	version->magic = 0;
	free(version);
	atomic_fetch_add(&released, 1);
}

static struct version *version_new(unsigned number)
{
	struct version *version = malloc(sizeof(*version));
	*version = (struct version){number, MAGIC};
	return version;
}

static void retired_objects_outlive_their_readers(void **state)
{
	(void)state;
	last_released = 0;
	atomic_store(&released, 0);
	atomic_store(&published, version_new(1));
	for (unsigned i = 0; i < BARRIERS; i++) {
		for (unsigned at = 0; at < WORKERS; at++) {
			struct task *task = calloc(1, sizeof(*task));
			task->run = on_read;
			worker_post(worker_pool_at(pool, at), task);
		}
		struct version *old = atomic_exchange(&published, version_new(i + 2));
		worker_pool_retire(pool, release, old);
	}
	worker_pool_barrier(pool, say_done, NULL);
	wait_done();
	assert_int_equal(atomic_load(&released), BARRIERS);
	assert_int_equal(atomic_load(&bad_reads), 0);
	free(atomic_load(&published));
}

static void barriers_of_a_resting_pool_are_at_once(void **state)
{
	(void)state;
	struct worker_pool *resting = worker_pool_new(2);
	int value = 0;
	sem_init(&done, 0, 0);
	worker_pool_barrier(resting, say_done, NULL);
	worker_pool_barrier(NULL, say_done, NULL);
	assert_int_equal(sem_getvalue(&done, &value), 0);
	assert_int_equal(value, 2);
	assert_int_equal(worker_pool_start(resting), STATUS_OK);
	worker_pool_barrier(resting, say_done, NULL); /* still under way when the pool stops */
	worker_pool_stop(resting);
	worker_pool_barrier(resting, say_done, NULL);
	sem_getvalue(&done, &value);
	assert_int_equal(value, 4);
	worker_pool_free(resting);
	sem_destroy(&done);
}

/* --- the end of a turn */

static char order[64];
static unsigned order_length;

struct letter {
	struct task task; /* first */
	char letter;
	struct letter *later[2], *posted, *next;
};

static void on_letter(struct task *task)
{
	const struct letter *letter = (const struct letter *)task;
	order[order_length++] = letter->letter;
	for (int i = 0; i < 2 && letter->later[i] != NULL; i++)
		worker_later(worker_current(), &letter->later[i]->task);
	if (letter->posted != NULL)
		worker_post(worker_current(), &letter->posted->task);
	if (letter->next != NULL)
		worker_next(worker_current(), &letter->next->task);
	if (letter->letter == '.')
		sem_post(&done);
}

static void what_is_put_off_ends_the_turn(void **state)
{
	(void)state;
	struct letter c = {.task.run = on_letter, .letter = 'c'}, b = {.task.run = on_letter, .letter = 'b'},
				  a = {.task.run = on_letter, .letter = 'a', .later = {&c}},
				  next_turn = {.task.run = on_letter, .letter = '.'},
				  first = {.task.run = on_letter, .letter = '<', .later = {&a, &b}, .posted = &next_turn};
	order_length = 0;
	worker_post(worker_pool_at(pool, 0), &first.task);
	wait_done();
	order[order_length] = 0;
	assert_string_equal(order, "<abc.");
}

/* What is ready is heard between: the posted one, whose turn it begins. */
static void what_is_for_the_next_turn_waits_for_it(void **state)
{
	(void)state;
	struct letter last = {.task.run = on_letter, .letter = '.'},
				  b = {.task.run = on_letter, .letter = 'b', .later = {&last}},
				  posted = {.task.run = on_letter, .letter = 'p', .later = {&b}},
				  n = {.task.run = on_letter, .letter = 'n'}, a = {.task.run = on_letter, .letter = 'a'},
				  first = {.task.run = on_letter, .letter = '<', .later = {&a}, .posted = &posted, .next = &n};
	order_length = 0;
	worker_post(worker_pool_at(pool, 0), &first.task);
	wait_done();
	order[order_length] = 0;
	assert_string_equal(order, "<apnb.");
}

/* --- timers */

struct timed {
	struct task task; /* first */
	struct timer *first, *second, *cancelled;
	uint64_t begun_ms, after_ms[2];
	unsigned fired;
	bool is_wrong;
};

static void on_first(void *context)
{
	struct timed *timed = context;
	timed->after_ms[timed->fired++ % 2] = worker_now_ms(worker_current()) - timed->begun_ms;
	if (timed->fired < 2) {
		timer_set(timed->first, 5); /* again */
		timer_set(timed->second, 1);
		return;
	}
	timer_free(timed->first); /* inside itself */
	timer_cancel(timed->second);
	timer_free(timed->second);
	timer_free(timed->cancelled);
	timer_free(NULL);
	sem_post(&done);
}

static void on_second(void *context)
{
	struct timed *timed = context;
	timer_set(timed->second, 60000); /* put off: its end is on_first's */
}

static void on_wrong(void *context)
{
	((struct timed *)context)->is_wrong = true;
}

static void on_timed(struct task *task)
{
	struct timed *timed = (struct timed *)task;
	struct worker *worker = worker_current();
	timed->begun_ms = worker_now_ms(worker);
	timed->first = timer_new(worker, on_first, timed);
	timed->second = timer_new(worker, on_second, timed);
	timed->cancelled = timer_new(worker, on_wrong, timed);
	timer_set(timed->first, 60000);
	timer_set(timed->first, 10); /* the last word counts */
	timer_set(timed->cancelled, 1);
	timer_cancel(timed->cancelled);
	timer_cancel(timed->cancelled);
}

static void timers_fire_once_when_due(void **state)
{
	(void)state;
	struct timed timed = {.task.run = on_timed};
	worker_post(worker_pool_at(pool, 1), &timed.task);
	wait_done();
	assert_int_equal(timed.fired, 2);
	assert_false(timed.is_wrong);
	assert_in_range(timed.after_ms[0], 9, 2000);
	assert_in_range(timed.after_ms[1], timed.after_ms[0] + 4, 4000);
}

/* --- the end */

struct ending {
	struct task task;
	unsigned index, left; /* where it runs, how often more */
};

static void on_ending(struct task *task)
{
	struct ending *ending = (struct ending *)task;
	if (ending->left-- > 1)
		worker_post(worker_pool_at(pool, ++ending->index % worker_pool_count(pool)), task);
}

static void post_ending(void *context, struct worker *worker)
{
	struct ending *ending = context;
	if (worker_index(worker) == 0)
		worker_post(worker, &ending->task);
}

/* Posted by a worker's last hook: its thread takes nothing any more. */
static void what_is_posted_at_the_end_runs_with_what_it_posts(void **state)
{
	(void)state;
	struct ending ending = {.task.run = on_ending, .left = 7};
	pool = worker_pool_new(2);
	worker_pool_on_stop(pool, post_ending, &ending);
	assert_int_equal(worker_pool_start(pool), STATUS_OK);
	worker_pool_stop(pool);
	assert_int_equal(ending.left, 0);
	worker_pool_free(pool);
}

/* --- hooks and slots */

static char hooks[64];
static atomic_uint hook_count;
static int slots[2];

static enum status on_start_a(void *context, struct worker *worker)
{
	hooks[atomic_fetch_add(&hook_count, 1)] = 'a';
	worker_slot_set(worker, slots[0], context);
	return worker_current() == worker ? STATUS_OK : STATUS_INTERNAL;
}

static enum status on_start_b(void *context, struct worker *worker)
{
	hooks[atomic_fetch_add(&hook_count, 1)] = 'b';
	return worker_slot(worker, slots[0]) == context && worker_slot(worker, slots[1]) == NULL ? STATUS_OK
																							 : STATUS_INTERNAL;
}

static enum status on_start_failing(void *context, struct worker *worker)
{
	(void)context, (void)worker;
	return STATUS_UNAVAILABLE;
}

static void on_stop_x(void *context, struct worker *worker)
{
	(void)context, (void)worker;
	hooks[atomic_fetch_add(&hook_count, 1)] = 'x';
}

static void on_stop_y(void *context, struct worker *worker)
{
	(void)context, (void)worker;
	hooks[atomic_fetch_add(&hook_count, 1)] = 'y';
}

static void hooks_run_in_order(void **state)
{
	(void)state;
	static const struct {
		bool fails;
		const char *hooks;
	} cases[] = {{false, "abyx"}, {true, "abyx"}};
	slots[0] = worker_slot_new();
	slots[1] = worker_slot_new();
	for (size_t i = 0; i < 2; i++) {
		struct worker_pool *hooked = worker_pool_new(1);
		atomic_store(&hook_count, 0);
		worker_pool_on_start(hooked, on_start_a, &slots[0]);
		worker_pool_on_stop(hooked, on_stop_x, NULL);
		worker_pool_on_start(hooked, on_start_b, &slots[0]);
		worker_pool_on_stop(hooked, on_stop_y, NULL);
		if (cases[i].fails)
			worker_pool_on_start(hooked, on_start_failing, NULL);
		assert_int_equal(worker_pool_start(hooked), cases[i].fails ? STATUS_UNAVAILABLE : STATUS_OK);
		worker_pool_stop(hooked);
		worker_pool_stop(hooked); /* twice is once */
		hooks[atomic_load(&hook_count)] = 0;
		assert_string_equal(hooks, cases[i].hooks);
		worker_pool_free(hooked);
	}
	assert_null(worker_pool_new(0));
	assert_null(worker_pool_new(WORKERS_MAX + 1));
	worker_pool_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(tasks_run_on_their_worker_in_order, start, stop),
		cmocka_unit_test_setup_teardown(retired_objects_outlive_their_readers, start, stop),
		cmocka_unit_test(barriers_of_a_resting_pool_are_at_once),
		cmocka_unit_test_setup_teardown(what_is_put_off_ends_the_turn, start, stop),
		cmocka_unit_test_setup_teardown(what_is_for_the_next_turn_waits_for_it, start, stop),
		cmocka_unit_test_setup_teardown(timers_fire_once_when_due, start, stop),
		cmocka_unit_test(what_is_posted_at_the_end_runs_with_what_it_posts),
		cmocka_unit_test(hooks_run_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
