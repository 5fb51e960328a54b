/* The operator's records are told as they were committed: all of a commit in one turn of the worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/fabric_fixture.h"

enum { RECORDS = 3000, COMMITS = 8 };

static struct fabric fabric;

struct watch {
	struct task task;
	unsigned heard, ends, halves;
	bool is_asked;
	int64_t told, done;
};

static void look(struct task *task)
{
	struct watch *watch = (struct watch *)task;
	watch->halves += watch->heard % RECORDS != 0;
	watch->is_asked = false;
}

static void on_record(void *context, const struct record *record)
{
	struct watch *watch = context;
	watch->heard++;
	watch->told = record->revision;
	if (watch->is_asked)
		return;
	watch->is_asked = true; /* whoever runs next must not see half of it */
	worker_post(state_worker(fabric.state), &watch->task);
}

static void on_batch(void *context)
{
	((struct watch *)context)->ends++;
}

static void on_done(void *context, enum status status, int64_t revision)
{
	struct watch *watch = context;
	assert_int_equal(status, STATUS_OK);
	assert_true(watch->told >= revision);
	watch->done++;
}

static void submit(void *context)
{
	static int number;
	struct transaction *transaction = transaction_new();
	char id[32];
	for (int i = 0; i < RECORDS; i++) {
		snprintf(id, sizeof(id), "%d-%d", number, i);
		assert_true(state_put(transaction, RECORD_TENANT, text_of(id), TEXT("{}"), REVISION_ABSENT));
	}
	number++;
	state_submit(fabric.state, transaction, on_done, context);
}

static void submit_another_kind(void *context)
{
	struct transaction *transaction = transaction_new();
	((struct watch *)context)->told = INT64_MAX;
	assert_true(state_put(transaction, RECORD_CELL_NAME, TEXT("x"), TEXT("{}"), REVISION_ABSENT));
	state_submit(fabric.state, transaction, on_done, context);
}

static bool is_all(void *context)
{
	const struct watch *watch = context;
	return watch->done == COMMITS && !watch->is_asked;
}

static void a_commit_is_told_in_one_turn(void **unused)
{
	struct watch watch = {.task = {.run = look}};
	(void)unused;
	fabric_open(&fabric);
	state_watch(fabric.state, RECORD_TENANT, on_record, on_batch, &watch);
	fabric_start(&fabric);
	unsigned at_load = watch.ends;
	for (int i = 0; i < COMMITS; i++)
		fabric_run(&fabric, submit, &watch);
	assert_true(fabric_wait(&fabric, is_all, &watch));
	assert_int_equal(watch.heard, COMMITS * RECORDS);
	assert_int_equal(watch.halves, 0);
	unsigned ends = watch.ends - at_load;
	assert_in_range(ends, 1, COMMITS);
	fabric_run(&fabric, submit_another_kind, &watch);
	fabric_settle(&fabric);
	fabric_run(&fabric, submit, &watch);
	fabric_settle(&fabric);
	assert_int_equal(watch.ends - at_load, ends + 1); /* of what nobody watches nobody hears */
	fabric_stop(&fabric);
	fabric_free(&fabric);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_commit_is_told_in_one_turn)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
