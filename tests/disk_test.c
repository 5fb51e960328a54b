/* Disk threads: every job runs once and answers on its worker, in the order of each thread; draining waits for all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <semaphore.h>
#include <stdatomic.h>

#include "server/worker_pool.h"
#include "tenants/dp/sink/disk.h"

enum { JOBS = 500 };

static struct worker_pool *pool;
static struct disk *disk;
static sem_t told;
static atomic_int ran, answered;
struct counted {
	struct disk_job job; /* first */
	int runs;
};
static struct counted jobs[JOBS];

static void run(struct disk_job *job)
{
	assert_null(worker_current());
	((struct counted *)job)->runs++;
	atomic_fetch_add(&ran, 1);
}

static void done(struct disk_job *job)
{
	assert_ptr_equal(worker_current(), job->worker);
	if (atomic_fetch_add(&answered, 1) + 1 == JOBS)
		sem_post(&told);
}

static void submit(struct task *task)
{
	struct counted *counted = (struct counted *)(void *)task;
	disk_submit(disk, &counted->job, worker_current());
}

static void test_jobs(void **state)
{
	(void)state;
	for (int i = 0; i < JOBS; i++) {
		jobs[i].job.run = run;
		jobs[i].job.done = done;
		jobs[i].job.task.run = submit;
		worker_post(worker_pool_at(pool, (unsigned)i % 2), &jobs[i].job.task);
	}
	while (sem_wait(&told) != 0)
		continue;
	for (int i = 0; i < JOBS; i++)
		assert_int_equal(jobs[i].runs, 1);
	disk_drain(disk);
	assert_int_equal(atomic_load(&ran), JOBS);
}

static int open_all(void **state)
{
	(void)state;
	sem_init(&told, 0, 0);
	pool = worker_pool_new(2);
	disk = disk_new();
	return disk != NULL && pool != NULL && worker_pool_start(pool) == STATUS_OK ? 0 : -1;
}

static int close_all(void **state)
{
	(void)state;
	worker_pool_stop(pool);
	worker_pool_free(pool);
	disk_free(disk);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_jobs)};
	return cmocka_run_group_tests(tests, open_all, close_all);
}
