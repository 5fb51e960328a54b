/* The fabric's state without a database: one table in memory for several "processes", each a struct state. What is
 * submitted is decided at fixture_run, in order, as the store does: all or nothing by revisions, watchers first, then
 * `done`. Stands in for control/fabric/state.c and the store. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "control/state/state.h"

enum {
	FIXTURE_RECORDS = 1024,
	FIXTURE_WATCHERS = 16,
	FIXTURE_STATES = 4,
	FIXTURE_CHANGES = 640,
	FIXTURE_PENDING = 64,
	FIXTURE_READ = 64
};

struct fixture_record {
	enum record_kind kind;
	char *id, *body;
	int64_t revision;
};
struct fixture_watcher {
	enum record_kind kind;
	void (*on_record)(void *context, const struct record *record);
	void (*on_batch)(void *context);
	void *context;
};
struct state {
	struct fixture_watcher watchers[FIXTURE_WATCHERS];
	size_t count;
	bool is_dead; /* the process is no more */
};
struct fixture_change {
	enum record_kind kind;
	char *id, *body; /* body NULL: delete */
	int64_t expected;
	bool is_condition; /* nothing is changed */
};
struct transaction {
	struct fixture_change changes[FIXTURE_CHANGES];
	size_t count;
};
struct fixture_reading {
	enum record_kind kind;
	char *ids[FIXTURE_READ], *after; /* ids[0] NULL: those after `after` */
	size_t count, limit;
	void (*done)(void *context, enum status status, const struct record *records, size_t count);
};
struct fixture_pending {
	struct state *state;
	struct transaction *transaction; /* NULL: it reads */
	struct fixture_reading *reading;
	void (*done)(void *context, enum status status, int64_t revision);
	void *context;
};

static struct {
	struct fixture_record records[FIXTURE_RECORDS];
	size_t record_count;
	struct state states[FIXTURE_STATES];
	size_t state_count;
	struct fixture_pending pending[FIXTURE_PENDING];
	size_t pending_count;
	int64_t revision;
	bool is_down;
} fixture;

static inline struct state *fixture_state(void)
{
	return &fixture.states[fixture.state_count++];
}

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
	free(transaction);
}

static inline bool fixture_change(
	struct transaction *transaction, enum record_kind kind, struct text id, char *body, int64_t expected)
{
	transaction->changes[transaction->count++] = (struct fixture_change){kind, text_copy(id), body, expected, false};
	return true;
}

bool transaction_expect(
	struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id, int64_t expected)
{
	(void)ctx;
	transaction->changes[transaction->count++] = (struct fixture_change){kind, text_copy(id), NULL, expected, true};
	return true;
}

bool state_put(
	struct transaction *transaction, enum record_kind kind, struct text id, struct text body, int64_t expected)
{
	return fixture_change(transaction, kind, id, text_copy(body), expected);
}

bool state_delete(struct transaction *transaction, enum record_kind kind, struct text id, int64_t expected)
{
	return fixture_change(transaction, kind, id, NULL, expected);
}

void state_submit(struct state *state, struct transaction *transaction,
	void (*done)(void *context, enum status status, int64_t revision), void *context)
{
	fixture.pending[fixture.pending_count++] =
		(struct fixture_pending){.state = state, .transaction = transaction, .done = done, .context = context};
}

void state_watch(struct state *state, enum record_kind kind,
	void (*on_record)(void *context, const struct record *record), void (*on_batch)(void *context), void *context)
{
	state->watchers[state->count++] = (struct fixture_watcher){kind, on_record, on_batch, context};
}

struct worker *state_worker(struct state *state)
{
	(void)state;
	return NULL;
}

static inline struct fixture_record *fixture_find(enum record_kind kind, const char *id)
{
	for (size_t i = 0; i < fixture.record_count; i++) {
		if (fixture.records[i].kind == kind && fixture.records[i].id != NULL && strcmp(fixture.records[i].id, id) == 0)
			return &fixture.records[i];
	}
	return NULL;
}

/* NULL: there is none. */
static inline const char *fixture_body(enum record_kind kind, const char *id)
{
	const struct fixture_record *record = fixture_find(kind, id);
	return record == NULL ? NULL : record->body;
}

static inline size_t fixture_count(enum record_kind kind)
{
	size_t count = 0;
	for (size_t i = 0; i < fixture.record_count; i++)
		count += fixture.records[i].kind == kind && fixture.records[i].id != NULL;
	return count;
}

static inline void fixture_tell(const struct record *record)
{
	for (size_t i = 0; i < fixture.state_count; i++) {
		struct state *state = &fixture.states[i];
		for (size_t j = 0; j < state->count && !state->is_dead; j++) {
			if (state->watchers[j].kind == record->kind)
				state->watchers[j].on_record(state->watchers[j].context, record);
		}
	}
}

static inline void fixture_tell_batch(void)
{
	for (size_t i = 0; i < fixture.state_count; i++) {
		struct state *state = &fixture.states[i];
		for (size_t j = 0; j < state->count && !state->is_dead; j++) {
			if (state->watchers[j].on_batch != NULL)
				state->watchers[j].on_batch(state->watchers[j].context);
		}
	}
}

static inline enum status fixture_judge(const struct transaction *transaction)
{
	for (size_t i = 0; i < transaction->count; i++) {
		const struct fixture_change *change = &transaction->changes[i];
		const struct fixture_record *record = fixture_find(change->kind, change->id);
		if (change->expected == REVISION_ANY && (change->body != NULL || record != NULL))
			continue;
		if (record == NULL && change->is_condition && change->expected == REVISION_ABSENT)
			continue;
		if (record == NULL && (change->body == NULL || change->expected > 0))
			return STATUS_NOT_FOUND;
		if (record != NULL && change->expected != record->revision)
			return STATUS_CONFLICT;
	}
	return STATUS_OK;
}

static inline void fixture_apply(const struct fixture_change *change, int64_t revision)
{
	struct fixture_record *record = fixture_find(change->kind, change->id);
	const struct record told = {.kind = change->kind,
		.id = text_of(change->id),
		.ctx = TEXT(""),
		.revision = revision,
		.body = change->body == NULL ? TEXT_NONE : text_of(change->body)};
	if (record != NULL) {
		free(record->id);
		free(record->body);
		record->id = record->body = NULL;
	}
	if (change->body != NULL) {
		if (record == NULL)
			record = &fixture.records[fixture.record_count++];
		*record = (struct fixture_record){change->kind, text_copy(told.id), text_copy(told.body), revision};
	}
	fixture_tell(&told);
}

/* --- reading: in its turn, as the store does */

struct store *state_store(struct state *state)
{
	return (struct store *)state;
}

static inline struct fixture_reading *fixture_read(struct store *store, enum record_kind kind,
	void (*done)(void *context, enum status status, const struct record *records, size_t count), void *context)
{
	struct fixture_reading *reading = calloc(1, sizeof(*reading));
	*reading = (struct fixture_reading){.kind = kind, .done = done};
	fixture.pending[fixture.pending_count++] =
		(struct fixture_pending){.state = (struct state *)store, .reading = reading, .context = context};
	return reading;
}

void store_read(struct store *store, struct text ctx, enum record_kind kind, const struct text *ids, size_t count,
	struct worker *worker, void (*done)(void *context, enum status status, const struct record *records, size_t count),
	void *context)
{
	struct fixture_reading *reading = fixture_read(store, kind, done, context);
	(void)ctx, (void)worker;
	for (reading->count = 0; reading->count < count; reading->count++)
		reading->ids[reading->count] = text_copy(ids[reading->count]);
}

void store_list(struct store *store, struct text ctx, enum record_kind kind, struct text after, size_t limit,
	struct worker *worker, void (*done)(void *context, enum status status, const struct record *records, size_t count),
	void *context)
{
	struct fixture_reading *reading = fixture_read(store, kind, done, context);
	(void)ctx, (void)worker;
	reading->after = text_copy(after);
	reading->limit = limit;
}

static inline int fixture_by_id(const void *a, const void *b)
{
	return strcmp(((const struct record *)a)->id.bytes, ((const struct record *)b)->id.bytes);
}

static inline bool fixture_is_asked(const struct fixture_reading *reading, const char *id)
{
	if (reading->after != NULL)
		return strcmp(id, reading->after) > 0;
	for (size_t i = 0; i < reading->count; i++) {
		if (strcmp(id, reading->ids[i]) == 0)
			return true;
	}
	return false;
}

static inline void fixture_run_reading(struct fixture_pending *pending)
{
	struct fixture_reading *reading = pending->reading;
	struct record *records = calloc(FIXTURE_RECORDS, sizeof(*records));
	size_t count = 0;
	for (size_t i = 0; i < fixture.record_count; i++) {
		const struct fixture_record *record = &fixture.records[i];
		if (record->id != NULL && record->kind == reading->kind && fixture_is_asked(reading, record->id))
			records[count++] = (struct record){.ctx = TEXT(""),
				.kind = record->kind,
				.id = text_of(record->id),
				.revision = record->revision,
				.body = text_of(record->body)};
	}
	qsort(records, count, sizeof(*records), fixture_by_id);
	if (reading->after != NULL && count > reading->limit)
		count = reading->limit;
	if (!pending->state->is_dead)
		reading->done(
			pending->context, fixture.is_down ? STATUS_UNAVAILABLE : STATUS_OK, records, fixture.is_down ? 0 : count);
	for (size_t i = 0; i < reading->count; i++)
		free(reading->ids[i]);
	free(reading->after);
	free(reading);
	free(records);
}

/* Until nothing waits. */
static inline void fixture_run(void)
{
	while (fixture.pending_count > 0) {
		struct fixture_pending next = fixture.pending[0];
		memmove(fixture.pending, fixture.pending + 1, --fixture.pending_count * sizeof(next));
		if (next.reading != NULL) {
			fixture_run_reading(&next);
			continue;
		}
		enum status status = fixture.is_down ? STATUS_UNAVAILABLE : fixture_judge(next.transaction);
		if (status == STATUS_OK) {
			fixture.revision++;
			for (size_t i = 0; i < next.transaction->count; i++) {
				if (next.transaction->changes[i].is_condition)
					continue;
				fixture_apply(&next.transaction->changes[i], fixture.revision);
			}
			fixture_tell_batch();
		}
		if (!next.state->is_dead)
			next.done(next.context, status, status == STATUS_OK ? fixture.revision : 0);
		transaction_free(next.transaction);
	}
}

/* As somebody else writes it. */
static inline void fixture_put(enum record_kind kind, const char *id, const char *body)
{
	const struct fixture_change change = {kind, text_copy(text_of(id)), text_copy(text_of(body)), REVISION_ANY, false};
	fixture_apply(&change, ++fixture.revision);
	fixture_tell_batch();
	free(change.id);
	free(change.body);
}

static inline void fixture_clear(void)
{
	for (size_t i = 0; i < fixture.pending_count; i++)
		transaction_free(fixture.pending[i].transaction);
	for (size_t i = 0; i < fixture.record_count; i++) {
		free(fixture.records[i].id);
		free(fixture.records[i].body);
	}
	memset(&fixture, 0, sizeof(fixture));
}
