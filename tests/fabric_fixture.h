/* The fabric's worker with a store in a folder of its own; the test's thread asks the worker and waits. */
#pragma once

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/state/state.h"
#include "server/base/clock.h"
#include "server/worker_pool.h"

struct fabric {
	char folder[32], file[64];
	struct worker_pool *pool;
	struct store *store;
	struct state *state;
};

/* Everything that watches is opened between fabric_open and fabric_start. */
static inline void fabric_open(struct fabric *fabric)
{
	struct buffer error = {0};
	/* in memory where there is such a folder: nothing of this is about disks, which others keep busy */
	snprintf(fabric->folder, sizeof(fabric->folder), "/dev/shm/fabric-XXXXXX");
	if (mkdtemp(fabric->folder) == NULL) {
		snprintf(fabric->folder, sizeof(fabric->folder), "/tmp/fabric-XXXXXX");
		assert_non_null(mkdtemp(fabric->folder));
	}
	snprintf(fabric->file, sizeof(fabric->file), "%s/cell.db", fabric->folder);
	struct store_settings settings = {.backend = STORE_SQLITE,
		.file = fabric->file,
		.queued_transactions = 100000,
		.poll_ms = 200,
		.statement_ms = 5000};
	fabric->pool = worker_pool_new(1);
	assert_non_null(fabric->pool);
	assert_int_equal(store_open(&settings, fabric->pool, &fabric->store, &error), STATUS_OK);
	assert_int_equal(state_open(fabric->store, fabric->pool, &fabric->state), STATUS_OK);
}

static inline void fabric_start(struct fabric *fabric)
{
	struct buffer error = {0};
	assert_int_equal(store_load(fabric->store, &error), STATUS_OK);
	assert_int_equal(worker_pool_start(fabric->pool), STATUS_OK);
}

struct fabric_turn {
	struct task task;
	void (*run)(void *context);
	void *context;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_done;
};

static inline void fabric_turn_end(struct fabric_turn *turn)
{
	pthread_mutex_lock(&turn->lock);
	turn->is_done = true;
	pthread_cond_signal(&turn->changed);
	pthread_mutex_unlock(&turn->lock);
}

static inline void fabric_turn_wait(struct fabric_turn *turn)
{
	pthread_mutex_lock(&turn->lock);
	while (!turn->is_done)
		pthread_cond_wait(&turn->changed, &turn->lock);
	pthread_mutex_unlock(&turn->lock);
	pthread_mutex_destroy(&turn->lock);
	pthread_cond_destroy(&turn->changed);
}

static inline void fabric_on_settled(void *context, enum status status, int64_t revision)
{
	(void)status, (void)revision;
	fabric_turn_end(context);
}

/* What was submitted, and what follows from it, is committed and told; nobody may begin anything new meanwhile. */
static inline void fabric_settle(struct fabric *fabric)
{
	for (int i = 0; i < 40; i++) { /* conflicts are tried again, and again */
		struct fabric_turn turn = {.is_done = false};
		pthread_mutex_init(&turn.lock, NULL);
		pthread_cond_init(&turn.changed, NULL);
		store_submit(fabric->store, transaction_new(), worker_pool_at(fabric->pool, 0), fabric_on_settled, &turn);
		fabric_turn_wait(&turn);
	}
}

/* Then whoever watches is freed, then fabric_free. */
static inline void fabric_stop(struct fabric *fabric)
{
	worker_pool_stop(fabric->pool);
	store_close(fabric->store);
}

static inline void fabric_free(struct fabric *fabric)
{
	static const char *const names[] = {"cell.db", "cell.db-wal", "cell.db-shm"};
	state_free(fabric->state);
	worker_pool_free(fabric->pool);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[96];
		snprintf(path, sizeof(path), "%s/%s", fabric->folder, names[i]);
		unlink(path);
	}
	rmdir(fabric->folder);
}

static inline void fabric_turn_run(struct task *task)
{
	struct fabric_turn *turn = (struct fabric_turn *)task;
	turn->run(turn->context);
	fabric_turn_end(turn);
}

/* Runs it on the worker and returns when it has. */
static inline void fabric_run(struct fabric *fabric, void (*run)(void *context), void *context)
{
	struct fabric_turn turn = {.task = {.run = fabric_turn_run}, .run = run, .context = context};
	pthread_mutex_init(&turn.lock, NULL);
	pthread_cond_init(&turn.changed, NULL);
	worker_post(worker_pool_at(fabric->pool, 0), &turn.task);
	fabric_turn_wait(&turn);
}

struct fabric_question {
	bool (*is_so)(void *context);
	void *context;
	bool answer;
};

static inline void fabric_ask(void *context)
{
	struct fabric_question *question = context;
	question->answer = question->is_so(question->context);
}

/* Until it is so, as the worker sees it. */
static inline bool fabric_wait(struct fabric *fabric, bool (*is_so)(void *context), void *context)
{
	struct fabric_question question = {is_so, context, false};
	for (uint64_t end = clock_monotonic_ms() + 60000; !question.answer && clock_monotonic_ms() < end;) {
		fabric_run(fabric, fabric_ask, &question);
		if (!question.answer)
			usleep(1000);
	}
	return question.answer;
}
