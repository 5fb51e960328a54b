/* Several processes on one store in virtual time, all on one thread: each has its own view of the records (struct
 * state) and its own turns (struct worker), the store decides by revisions as tenants/store does. What happens next is
 * rolled: commits of several processes interleave, wait, fail, or happen and are told as failed; what others have
 * committed is heard late, but in its order and before the answer to what came after it; a process may end at any
 * moment, with what it has submitted committed or not, and begins anew with what is stored. The same seed is the same
 * history.
 *
 * Stands in for control/state/state.c, the store and the worker. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/state/state.h"
#include "server/worker_pool.h"

enum { SIMULATED_WATCHERS = 8, SIMULATED_PROCESSES = 6, SIMULATED_BUCKETS = 1 << 14, SIMULATED_BATCH = 64 };

struct timer {
	void (*fire)(void *context);
	void *context;
	uint64_t due_ms; /* UINT64_MAX: not set */
};

struct worker_pool {
	enum status (*on_start)(void *context, struct worker *worker);
	void (*on_stop)(void *context, struct worker *worker);
	void *context;
};

struct worker {
	struct worker_pool *pool;
	struct task *turns, **turns_end;
	struct timer timer; /* the placer has one */
};

struct simulated_change {
	enum { SIMULATED_PUT, SIMULATED_DELETE, SIMULATED_EXPECT } what;
	enum record_kind kind;
	char *id, *body;
	int64_t expected;
};

struct transaction {
	struct transaction *next;
	struct simulated_change *changes;
	size_t count, room;
	void (*done)(void *context, enum status status, int64_t revision);
	void *context;
	enum status status;
	int64_t revision;
};

struct simulated_watcher {
	enum record_kind kind;
	void (*on_record)(void *context, const struct record *record);
	void (*on_batch)(void *context);
	void *context;
};

/* One process. */
struct state {
	struct worker worker; /* first */
	struct worker_pool pool;
	struct simulated_watcher watchers[SIMULATED_WATCHERS];
	size_t watcher_count;
	struct transaction *submitted, **submitted_end; /* not yet decided, in order */
	size_t submitted_count;
	struct transaction *decided, **decided_end; /* answered when all up to `until` is told */
	uint64_t told, until;                       /* entries of the log */
	int64_t known;                              /* the revision that the watchers have heard of */
	bool is_alive;
};

/* What the store tells: a record, or (kind RECORD_KIND_COUNT) the end of a commit. */
struct simulated_news {
	enum record_kind kind;
	char *id, *body;
	int64_t revision;
};

struct simulated_record {
	struct simulated_record *next;
	enum record_kind kind;
	char *id, *body;
	int64_t revision;
};

struct simulated_store {
	uint64_t random, now_ms;
	struct simulated_record *buckets[SIMULATED_BUCKETS];
	size_t record_count;
	int64_t revision;
	struct simulated_news *log; /* from log_first on: what not every process was told */
	uint64_t log_first, log_end;
	size_t log_room;
	struct state *processes[SIMULATED_PROCESSES];
	size_t process_count;
	unsigned fault_sides;                 /* one commit of so many fails; 0: none */
	bool forgets_capacity, forgets_cells; /* the store is broken: it does not look at these expectations */
	uint64_t commits, conflicts, failures, lost_answers;
	void (*on_change)(void *context, enum record_kind kind, const char *id, const char *before, const char *after,
		int64_t revision); /* each record of a commit; absent: NULL */
	void (*on_commit)(void *context);
	void *context;
};

static struct simulated_store simulated;

/* 0 ... sides - 1 */
static inline uint64_t simulated_roll(uint64_t sides)
{
	uint64_t *x = &simulated.random;
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x % sides;
}

/* --- the worker */

void worker_post(struct worker *worker, struct task *task)
{
	task->next = NULL;
	*worker->turns_end = task;
	worker->turns_end = &task->next;
}

struct worker_pool *worker_pool_of(const struct worker *worker)
{
	return worker->pool;
}

void worker_pool_on_start(
	struct worker_pool *pool, enum status (*hook)(void *context, struct worker *worker), void *context)
{
	pool->on_start = hook;
	pool->context = context;
}

void worker_pool_on_stop(struct worker_pool *pool, void (*hook)(void *context, struct worker *worker), void *context)
{
	pool->on_stop = hook;
	pool->context = context;
}

void worker_pool_retire(struct worker_pool *pool, void (*release)(void *object), void *object)
{
	(void)pool;
	release(object);
}

struct timer *timer_new(struct worker *worker, void (*fire)(void *context), void *context)
{
	worker->timer = (struct timer){fire, context, UINT64_MAX};
	return &worker->timer;
}

void timer_set(struct timer *timer, uint64_t after_ms)
{
	timer->due_ms = simulated.now_ms + after_ms;
}

void timer_free(struct timer *timer)
{
	if (timer != NULL)
		timer->due_ms = UINT64_MAX;
}

/* The linker puts it in place of clock_monotonic_ms (tests/CMakeLists.txt). */
uint64_t __wrap_clock_monotonic_ms(void); /* NOLINT */
uint64_t __wrap_clock_monotonic_ms(void)  /* NOLINT */
{
	return simulated.now_ms;
}

/* --- transactions */

struct transaction *transaction_new(void)
{
	return calloc(1, sizeof(struct transaction));
}

void transaction_free(struct transaction *transaction)
{
	for (size_t i = 0; transaction != NULL && i < transaction->count; i++) {
		free(transaction->changes[i].id);
		free(transaction->changes[i].body);
	}
	if (transaction != NULL)
		free(transaction->changes);
	free(transaction);
}

static inline bool simulated_add(struct transaction *transaction, struct simulated_change change)
{
	if (transaction->count == transaction->room) {
		transaction->room = transaction->room == 0 ? 8 : transaction->room * 2;
		transaction->changes = realloc(transaction->changes, transaction->room * sizeof(change));
		if (transaction->changes == NULL)
			abort();
	}
	transaction->changes[transaction->count++] = change;
	return true;
}

bool state_put(
	struct transaction *transaction, enum record_kind kind, struct text id, struct text body, int64_t expected)
{
	return simulated_add(
		transaction, (struct simulated_change){SIMULATED_PUT, kind, text_copy(id), text_copy(body), expected});
}

bool state_delete(struct transaction *transaction, enum record_kind kind, struct text id, int64_t expected)
{
	return simulated_add(transaction, (struct simulated_change){SIMULATED_DELETE, kind, text_copy(id), NULL, expected});
}

bool transaction_expect(
	struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id, int64_t expected)
{
	(void)ctx;
	return simulated_add(transaction, (struct simulated_change){SIMULATED_EXPECT, kind, text_copy(id), NULL, expected});
}

/* --- records */

static inline struct simulated_record **simulated_slot(enum record_kind kind, const char *id)
{
	uint64_t hash = 1469598103934665603U + (unsigned)kind;
	for (const char *at = id; *at != 0; at++)
		hash = (hash ^ (unsigned char)*at) * 1099511628211U;
	struct simulated_record **slot = &simulated.buckets[(hash ^ hash >> 31) % SIMULATED_BUCKETS];
	while (*slot != NULL && ((*slot)->kind != kind || strcmp((*slot)->id, id) != 0))
		slot = &(*slot)->next;
	return slot;
}

static inline const struct simulated_record *simulated_find(enum record_kind kind, const char *id)
{
	return *simulated_slot(kind, id);
}

static inline void simulated_note(enum record_kind kind, const char *id, const char *body)
{
	if (simulated.log_end - simulated.log_first == simulated.log_room) {
		simulated.log_room = simulated.log_room == 0 ? 1024 : simulated.log_room * 2;
		simulated.log = realloc(simulated.log, simulated.log_room * sizeof(*simulated.log));
		if (simulated.log == NULL)
			abort();
	}
	simulated.log[simulated.log_end++ - simulated.log_first] = (struct simulated_news){
		kind, id == NULL ? NULL : strdup(id), body == NULL ? NULL : strdup(body), simulated.revision};
}

/* What every process was told is forgotten. */
static inline void simulated_trim(void)
{
	uint64_t first = simulated.log_end;
	for (size_t i = 0; i < simulated.process_count; i++) {
		if (simulated.processes[i]->told < first)
			first = simulated.processes[i]->told;
	}
	size_t gone = (size_t)(first - simulated.log_first);
	if (gone == 0 || (gone < 4096 && first != simulated.log_end))
		return;
	for (size_t i = 0; i < gone; i++) {
		free(simulated.log[i].id);
		free(simulated.log[i].body);
	}
	memmove(simulated.log, simulated.log + gone, (size_t)(simulated.log_end - first) * sizeof(*simulated.log));
	simulated.log_first = first;
}

static inline void simulated_write(const struct simulated_change *change)
{
	struct simulated_record **slot = simulated_slot(change->kind, change->id), *record = *slot;
	char *before = record == NULL ? NULL : record->body;
	simulated.revision++;
	simulated.on_change(simulated.context, change->kind, change->id, before, change->body, simulated.revision);
	if (change->kind == RECORD_DECISION || change->kind == RECORD_AUDIT_CHAIN)
		return; /* read on demand: nobody is told, and here nobody asks */
	simulated_note(change->kind, change->id, change->body);
	if (change->body == NULL && record != NULL) {
		*slot = record->next;
		free(record->id);
		free(record);
		simulated.record_count--;
	} else if (change->body != NULL) {
		if (record == NULL) {
			record = *slot = calloc(1, sizeof(*record));
			*record = (struct simulated_record){.kind = change->kind, .id = strdup(change->id)};
			simulated.record_count++;
		}
		record->body = strdup(change->body);
		record->revision = simulated.revision;
	}
	free(before);
}

/* --- deciding */

static inline enum status simulated_judge_one(const struct simulated_change *change)
{
	const struct simulated_record *record = simulated_find(change->kind, change->id);
	int64_t expected = change->expected;
	if ((simulated.forgets_capacity && change->kind == RECORD_CELL_CAPACITY && change->what == SIMULATED_PUT) ||
		(simulated.forgets_cells && change->kind == RECORD_CELL && change->what == SIMULATED_EXPECT))
		expected = REVISION_ANY;
	if (record == NULL && (change->what == SIMULATED_DELETE || expected > 0))
		return STATUS_NOT_FOUND;
	if (expected == REVISION_ANY)
		return STATUS_OK;
	return expected == (record == NULL ? REVISION_ABSENT : record->revision) ? STATUS_OK : STATUS_CONFLICT;
}

/* All or nothing. No transaction of the placer changes a record twice. */
static inline enum status simulated_apply(struct transaction *transaction)
{
	for (size_t i = 0; i < transaction->count; i++) {
		enum status status = simulated_judge_one(&transaction->changes[i]);
		if (status != STATUS_OK) {
			simulated.conflicts++;
			return status;
		}
	}
	for (size_t i = 0; i < transaction->count; i++) {
		if (transaction->changes[i].what != SIMULATED_EXPECT)
			simulated_write(&transaction->changes[i]);
	}
	simulated.commits++;
	transaction->revision = simulated.revision;
	simulated_note(RECORD_KIND_COUNT, NULL, NULL);
	simulated.on_commit(simulated.context);
	return STATUS_OK;
}

void state_submit(struct state *state, struct transaction *transaction,
	void (*done)(void *context, enum status status, int64_t revision), void *context)
{
	transaction->done = done;
	transaction->context = context;
	transaction->next = NULL;
	*state->submitted_end = transaction;
	state->submitted_end = &transaction->next;
	state->submitted_count++;
}

static inline struct transaction *simulated_take(struct state *state)
{
	struct transaction *transaction = state->submitted;
	state->submitted = transaction->next;
	if (state->submitted == NULL)
		state->submitted_end = &state->submitted;
	transaction->next = NULL;
	state->submitted_count--;
	return transaction;
}

/* A few of what was submitted are one commit: it happens, or fails, or happens and the answer is lost. */
static inline void simulated_decide(struct state *state)
{
	enum { HAPPENS, FAILS, IS_LOST } luck = HAPPENS;
	uint64_t count = 1 + simulated_roll(SIMULATED_BATCH);
	if (simulated.fault_sides > 0 && simulated_roll(simulated.fault_sides) == 0)
		luck = simulated_roll(2) == 0 ? FAILS : IS_LOST;
	simulated.failures += luck == FAILS;
	simulated.lost_answers += luck == IS_LOST;
	if (luck == HAPPENS || simulated_roll(2) == 0)
		state->until = simulated.log_end; /* others' commits before it */
	for (; count > 0 && state->submitted != NULL; count--) {
		struct transaction *transaction = simulated_take(state);
		transaction->status = luck == FAILS ? STATUS_UNAVAILABLE : simulated_apply(transaction);
		if (luck == IS_LOST)
			transaction->status = STATUS_UNAVAILABLE;
		*state->decided_end = transaction;
		state->decided_end = &transaction->next;
	}
	if (luck == HAPPENS)
		state->until = simulated.log_end;
}

/* --- telling: each record and each answer is a turn of its own, whatever came between */

struct simulated_turn {
	struct task task; /* first */
	struct state *state;
	struct simulated_news news;
	struct transaction *answered; /* NULL: it is news */
};

static inline void simulated_turn_free(struct simulated_turn *turn)
{
	free(turn->news.id);
	free(turn->news.body);
	transaction_free(turn->answered);
	free(turn);
}

static inline void simulated_tell(struct state *state, const struct simulated_news *news)
{
	for (size_t i = 0; i < state->watcher_count; i++) {
		const struct simulated_watcher *watcher = &state->watchers[i];
		if (news->kind == RECORD_KIND_COUNT && watcher->on_batch != NULL) {
			watcher->on_batch(watcher->context);
		} else if (watcher->kind == news->kind) {
			watcher->on_record(watcher->context, &(struct record){.ctx = TEXT(""),
													 .kind = news->kind,
													 .id = text_of(news->id),
													 .revision = news->revision,
													 .body = news->body == NULL ? TEXT_NONE : text_of(news->body)});
		}
	}
	state->known = news->revision;
}

static inline void simulated_turn_run(struct task *task)
{
	struct simulated_turn *turn = (struct simulated_turn *)task;
	if (turn->answered != NULL)
		turn->answered->done(turn->answered->context, turn->answered->status, turn->answered->revision);
	else
		simulated_tell(turn->state, &turn->news);
	simulated_turn_free(turn);
}

static inline void simulated_post(struct state *state, const struct simulated_news *news, struct transaction *answered)
{
	struct simulated_turn *turn = calloc(1, sizeof(*turn));
	turn->task.run = simulated_turn_run;
	turn->state = state;
	turn->answered = answered;
	if (news != NULL) {
		turn->news = *news;
		turn->news.id = news->id == NULL ? NULL : strdup(news->id);
		turn->news.body = news->body == NULL ? NULL : strdup(news->body);
	}
	worker_post(&state->worker, &turn->task);
}

/* One step of the process's store: it tells one thing or all there is to tell, answers, or decides, or looks for what
 * others have committed. */
static inline void simulated_store_step(struct state *state)
{
	if (state->told < state->until) {
		uint64_t end = simulated_roll(2) == 0 ? state->told + 1 : state->until;
		while (state->told < end)
			simulated_post(state, &simulated.log[state->told++ - simulated.log_first], NULL);
	} else if (state->decided != NULL) {
		struct transaction *decided = state->decided;
		state->decided = NULL;
		state->decided_end = &state->decided;
		while (decided != NULL) {
			struct transaction *next = decided->next;
			simulated_post(state, NULL, decided);
			decided = next;
		}
	} else if (state->submitted != NULL) {
		simulated_decide(state);
	} else if (simulated_roll(4) == 0) {
		state->until = simulated.log_end;
	}
	simulated_trim();
}

/* Up to so many turns. False: there was none. */
static inline bool simulated_turns(struct state *state, uint64_t most)
{
	struct worker *worker = &state->worker;
	bool has_turns = worker->turns != NULL;
	if (worker->timer.due_ms <= simulated.now_ms) {
		worker->timer.due_ms = UINT64_MAX;
		worker->timer.fire(worker->timer.context);
	}
	while (most-- > 0 && worker->turns != NULL) {
		struct task *task = worker->turns;
		worker->turns = task->next;
		if (worker->turns == NULL)
			worker->turns_end = &worker->turns;
		task->run(task);
	}
	return has_turns;
}

/* --- the life of a process: simulated_open, whoever watches is opened, simulated_load; simulated_kill, whoever watches
 * is freed, simulated_open ... */

static inline void simulated_open(struct state *state)
{
	size_t at = 0;
	memset(state, 0, sizeof(*state));
	state->worker = (struct worker){.pool = &state->pool, .timer = {.due_ms = UINT64_MAX}};
	state->worker.turns_end = &state->worker.turns;
	state->submitted_end = &state->submitted;
	state->decided_end = &state->decided;
	while (at < simulated.process_count && simulated.processes[at] != state)
		at++;
	if (at == simulated.process_count)
		simulated.processes[simulated.process_count++] = state;
	state->told = state->until = simulated.log_end;
	state->is_alive = true;
}

static inline int simulated_order(const void *a, const void *b)
{
	const struct simulated_record *const *first = a, *const *second = b;
	if ((*first)->kind != (*second)->kind)
		return (*first)->kind < (*second)->kind ? -1 : 1;
	return (*first)->revision < (*second)->revision ? -1 : 1;
}

static inline void simulated_load(struct state *state)
{
	const struct simulated_record **all = calloc(simulated.record_count + 1, sizeof(struct simulated_record *));
	size_t count = 0;
	for (size_t i = 0; i < SIMULATED_BUCKETS; i++) {
		for (const struct simulated_record *record = simulated.buckets[i]; record != NULL; record = record->next)
			all[count++] = record;
	}
	qsort(all, count, sizeof(struct simulated_record *), simulated_order);
	for (size_t i = 0; i < count; i++)
		simulated_tell(state, &(struct simulated_news){all[i]->kind, all[i]->id, all[i]->body, all[i]->revision});
	free(all);
	simulated_tell(state, &(struct simulated_news){.kind = RECORD_KIND_COUNT, .revision = simulated.revision});
	if (state->pool.on_start(state->pool.context, &state->worker) != STATUS_OK)
		abort();
}

/* What it has submitted may have happened, the first ones before the others. */
static inline void simulated_kill(struct state *state)
{
	bool happens = true;
	while (state->submitted != NULL) {
		struct transaction *transaction = simulated_take(state);
		happens = happens && simulated_roll(2) == 0;
		if (happens)
			(void)simulated_apply(transaction);
		transaction_free(transaction);
	}
	while (state->decided != NULL) {
		struct transaction *next = state->decided->next;
		transaction_free(state->decided);
		state->decided = next;
	}
	while (state->worker.turns != NULL) {
		struct task *task = state->worker.turns;
		state->worker.turns = task->next;
		if (task->run == simulated_turn_run)
			simulated_turn_free((struct simulated_turn *)task);
	}
	state->pool.on_stop(state->pool.context, &state->worker);
	state->is_alive = false;
}

void state_watch(struct state *state, enum record_kind kind,
	void (*on_record)(void *context, const struct record *record), void (*on_batch)(void *context), void *context)
{
	state->watchers[state->watcher_count++] = (struct simulated_watcher){kind, on_record, on_batch, context};
}

struct worker *state_worker(struct state *state)
{
	return &state->worker;
}

struct store *state_store(struct state *state)
{
	(void)state;
	return NULL;
}

/* Decisions are not kept: there is none. */
void store_list(struct store *store, struct text ctx, enum record_kind kind, struct text after, size_t limit,
	struct worker *worker, void (*done)(void *context, enum status status, const struct record *records, size_t count),
	void *context)
{
	(void)store, (void)ctx, (void)kind, (void)after, (void)limit, (void)worker;
	done(context, STATUS_OK, NULL, 0);
}

static inline bool simulated_is_quiet(const struct state *state)
{
	return state->worker.turns == NULL && state->submitted == NULL && state->decided == NULL &&
		   state->told == simulated.log_end;
}

static inline void simulated_clear(void)
{
	for (size_t i = 0; i < SIMULATED_BUCKETS; i++) {
		while (simulated.buckets[i] != NULL) {
			struct simulated_record *next = simulated.buckets[i]->next;
			free(simulated.buckets[i]->id);
			free(simulated.buckets[i]->body);
			free(simulated.buckets[i]);
			simulated.buckets[i] = next;
		}
	}
	for (uint64_t i = 0; i < simulated.log_end - simulated.log_first; i++) {
		free(simulated.log[i].id);
		free(simulated.log[i].body);
	}
	free(simulated.log);
	memset(&simulated, 0, sizeof(simulated));
}
