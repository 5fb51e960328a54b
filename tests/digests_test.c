/* The digest thread with real workers: what it says, what it does not say, and how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/worker_pool.h"
#include "tenants/dp/source/digests.h"

enum { WORKERS = 2, LARGE = 40 * 1024 * 1024 };
#define CTX TEXT("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")

static struct fixture {
	char folder[64];
	int root, slot;
	struct digests *digests;
	struct worker_pool *pool;
} fixture;

static void write_file(const char *name, size_t size, char fill)
{
	char path[160];
	snprintf(path, sizeof(path), "%s/%.*s/%s", fixture.folder, TEXT_ARGUMENTS(CTX), name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	for (size_t i = 0; i < size; i++)
		fputc(fill, file);
	assert_int_equal(fclose(file), 0);
}

static enum status open_lane(void *context, struct worker *worker)
{
	struct fixture *here = context;
	worker_slot_set(worker, here->slot, digest_lane_open(here->digests, worker));
	return STATUS_OK;
}

static void close_lane(void *context, struct worker *worker)
{
	const struct fixture *here = context;
	digest_lane_close(worker_slot(worker, here->slot));
}

static int set_up(void **state)
{
	(void)state;
	snprintf(fixture.folder, sizeof(fixture.folder), "/tmp/digests_test.XXXXXX");
	if (mkdtemp(fixture.folder) == NULL)
		return -1;
	char path[160];
	snprintf(path, sizeof(path), "%s/%.*s", fixture.folder, TEXT_ARGUMENTS(CTX));
	if (mkdir(path, 0700) != 0)
		return -1;
	fixture.root = open(fixture.folder, O_PATH | O_DIRECTORY);
	fixture.digests = digests_new(fixture.root);
	fixture.pool = worker_pool_new(WORKERS);
	fixture.slot = worker_slot_new();
	worker_pool_on_start(fixture.pool, open_lane, &fixture);
	worker_pool_on_stop(fixture.pool, close_lane, &fixture);
	return worker_pool_start(fixture.pool) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	worker_pool_stop(fixture.pool);
	worker_pool_free(fixture.pool);
	digests_free(fixture.digests);
	close(fixture.root);
	char command[128];
	snprintf(command, sizeof(command), "rm -rf %s", fixture.folder);
	return system(command); /* NOLINT: a test's own folder */
}

/* One question, asked on a worker and answered there. */
struct question {
	struct task task;            /* first */
	struct digest_waiter waiter; /* second */
	unsigned worker;
	const char *name;
	enum hash_kind kind;
	int64_t size_claimed; /* 0: as it is */
	bool leaves;
	/* the answer */
	bool was_known, is_given;
	enum status status;
	uint8_t digest[HASH_BYTES_MAX];
	sem_t done;
};

static void on_ready(struct digest_waiter *waiter, const uint8_t *digest)
{
	struct question *question = (struct question *)((char *)waiter - offsetof(struct question, waiter));
	question->is_given = digest != NULL;
	if (digest != NULL)
		memcpy(question->digest, digest, hash_bytes(question->kind));
	sem_post(&question->done);
}

static void on_ask(struct task *task)
{
	struct question *question = (struct question *)task;
	struct digest_lane *lane = worker_slot(worker_current(), fixture.slot);
	struct open_files *files = open_files_new(fixture.root, 4);
	const struct open_file *file = NULL;
	question->status = open_file_get(files, CTX, text_of(question->name), worker_now_ms(worker_current()), &file);
	if (question->status == STATUS_OK) {
		struct open_file claimed = *file;
		if (question->size_claimed != 0)
			claimed.size = question->size_claimed;
		const struct digest_key key = {
			.ctx = CTX, .path = text_of(question->name), .file = &claimed, .kind = question->kind};
		question->was_known = digest_lane_find(lane, &key, question->digest);
		question->waiter.ready = on_ready;
		if (!question->was_known)
			question->status = digest_lane_wait(lane, &key, &question->waiter);
		open_file_release(files, file);
	}
	open_files_free(files);
	if (question->leaves)
		digest_waiter_leave(&question->waiter);
	if (question->was_known || question->status != STATUS_OK || question->leaves)
		sem_post(&question->done);
}

static void ask(struct question *question)
{
	question->task.run = on_ask;
	sem_init(&question->done, 0, 0);
	worker_post(worker_pool_at(fixture.pool, question->worker), &question->task);
}

static void wait_for(struct question *question)
{
	while (sem_wait(&question->done) != 0)
		continue;
	sem_destroy(&question->done);
}

static void digest_of_fill(enum hash_kind kind, size_t size, char fill, uint8_t into[HASH_BYTES_MAX])
{
	struct running_digest *running;
	char *bytes = malloc(size);
	memset(bytes, fill, size);
	assert_int_equal(running_digest_new(kind, &running), STATUS_OK);
	assert_int_equal(running_digest_add(running, (const uint8_t *)bytes, size), STATUS_OK);
	assert_int_equal(running_digest_end(running, into), STATUS_OK);
	running_digest_free(running);
	free(bytes);
}

static void digests_are_right_and_remembered(void **state)
{
	static const size_t sizes[] = {1, 1000, 256 * 1024, LARGE};
	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int kind = 0; kind < HASH_COUNT; kind++) {
			uint8_t expected[HASH_BYTES_MAX];
			write_file("file", sizes[i], 'x');
			digest_of_fill((enum hash_kind)kind, sizes[i], 'x', expected);
			for (unsigned round = 0; round < 4; round++) { /* the second of each worker is from its memory */
				struct question question = {.name = "file", .kind = (enum hash_kind)kind, .worker = round % 2};
				ask(&question);
				wait_for(&question);
				assert_int_equal(question.status, STATUS_OK);
				assert_int_equal(question.was_known, round >= 2);
				assert_true(question.was_known || question.is_given);
				assert_memory_equal(question.digest, expected, hash_bytes((enum hash_kind)kind));
			}
		}
	}
}

static void many_wait_for_one(void **state)
{
	struct question questions[16] = {0};
	uint8_t expected[HASH_BYTES_MAX];
	(void)state;
	write_file("shared", LARGE, 'y');
	digest_of_fill(HASH_SHA256, LARGE, 'y', expected);
	for (unsigned i = 0; i < 16; i++) {
		questions[i] = (struct question){.name = "shared", .worker = i % 2, .leaves = i % 5 == 4};
		ask(&questions[i]);
	}
	for (unsigned i = 0; i < 16; i++) {
		wait_for(&questions[i]);
		if (!questions[i].leaves) {
			assert_true(questions[i].is_given || questions[i].was_known);
			assert_memory_equal(questions[i].digest, expected, hash_bytes(HASH_SHA256));
		}
	}
}

static void a_small_file_does_not_wait_for_a_large_one(void **state)
{
	struct question large = {.name = "sparse"}, small = {.name = "small", .worker = 1};
	char path[160];
	(void)state;
	write_file("small", 10, 'z');
	write_file("sparse", 1, 'z');
	snprintf(path, sizeof(path), "%s/%.*s/sparse", fixture.folder, TEXT_ARGUMENTS(CTX));
	assert_int_equal(truncate(path, INT64_C(1) << 40), 0); /* would take minutes */
	large.leaves = true;
	ask(&large);
	wait_for(&large);
	ask(&small);
	wait_for(&small);
	assert_true(small.is_given);
	assert_int_equal(truncate(path, 1), 0); /* the large one ends: it has changed */
}

enum { ASKED = 12, LIMIT = 8 };
struct batch {
	struct task task; /* first */
	struct question questions[ASKED];
};

static void on_batch(struct task *task)
{
	struct batch *batch = (struct batch *)task;
	for (unsigned i = 0; i < ASKED; i++)
		on_ask(&batch->questions[i].task);
}

static void a_tenant_cannot_fill_the_queue(void **state)
{
	static struct batch batch = {.task.run = on_batch};
	char names[ASKED][16];
	(void)state;
	for (unsigned i = 0; i < ASKED; i++) {
		snprintf(names[i], sizeof(names[i]), "queue%u", i);
		write_file(names[i], 100, 'q');
		batch.questions[i].name = names[i];
		sem_init(&batch.questions[i].done, 0, 0);
	}
	worker_post(worker_pool_at(fixture.pool, 0), &batch.task); /* in one turn: no answer comes in between */
	for (unsigned i = 0; i < ASKED; i++) {
		wait_for(&batch.questions[i]);
		assert_int_equal(batch.questions[i].status, i < LIMIT ? STATUS_OK : STATUS_REFUSED);
		assert_int_equal(batch.questions[i].is_given, i < LIMIT);
	}
}

static void nothing_is_said_of_another_file(void **state)
{
	struct question gone = {.name = "missing"}, other = {.name = "small", .size_claimed = 11};
	(void)state;
	write_file("small", 10, 'z');
	ask(&gone);
	wait_for(&gone);
	assert_int_equal(gone.status, STATUS_NOT_FOUND);
	ask(&other);
	wait_for(&other);
	assert_int_equal(other.status, STATUS_OK);
	assert_false(other.is_given || other.was_known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(digests_are_right_and_remembered),
		cmocka_unit_test(many_wait_for_one), cmocka_unit_test(a_tenant_cannot_fill_the_queue),
		cmocka_unit_test(a_small_file_does_not_wait_for_a_large_one),
		cmocka_unit_test(nothing_is_said_of_another_file)};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
