/* One suite for every database of the store. The program that includes it says how to make an empty database and how
 * to reach into it beside the store; include cmocka.h before. */
#pragma once

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "tenants/store/store.h"

/* --- what the program gives */
static struct store_settings suite_settings; /* of the database of this case */
static int suite_setup(void **state);
static int suite_teardown(void **state);
/* Runs SQL on another connection. */
static void suite_sql(const char *sql);
/* The number that a query gives. */
static long suite_count(const char *sql);
/* Another process takes the write lock, and lets it go. */
static void suite_lock(bool is_held);

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
enum { TOLD_MAX = 4096 };

/* A store that is open, and what its listener was told. */
struct seen {
	struct store *store;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t told, batches;
	int64_t last, revisions[TOLD_MAX];
	bool is_ordered, is_loaded;
	char line[TOLD_MAX * 16]; /* "kind ctx[0] id body;" of each record; deleted: "-" for the body */
	size_t length;
};

struct outcome {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool is_done;
	enum status status;
	int64_t revision;
};

static void suite_on_record(void *context, const struct record *record)
{
	struct seen *seen = context;
	pthread_mutex_lock(&seen->lock);
	/* a load goes kind by kind, what follows by revision */
	seen->is_ordered = seen->is_ordered && (!seen->is_loaded || record->revision > seen->last);
	seen->last = record->revision > seen->last ? record->revision : seen->last;
	if (seen->told < TOLD_MAX)
		seen->revisions[seen->told] = record->revision;
	seen->told++;
	int added = snprintf(seen->line + seen->length, sizeof(seen->line) - seen->length, "%s %.1s %.*s %.*s;",
		record_kind_name(record->kind), record->ctx.length == 0 ? "." : record->ctx.bytes, TEXT_ARGUMENTS(record->id),
		TEXT_ARGUMENTS(record->body.bytes == NULL ? TEXT("-") : text_slice(record->body, 0, 20)));
	if ((size_t)added < sizeof(seen->line) - seen->length)
		seen->length += (size_t)added;
	pthread_cond_broadcast(&seen->changed);
	pthread_mutex_unlock(&seen->lock);
}

static void suite_on_batch(void *context)
{
	struct seen *seen = context;
	pthread_mutex_lock(&seen->lock);
	seen->batches++;
	seen->is_loaded = true;
	pthread_cond_broadcast(&seen->changed);
	pthread_mutex_unlock(&seen->lock);
}

/* Opened, not loaded. */
static struct seen *suite_open(void)
{
	struct seen *seen = calloc(1, sizeof(*seen));
	struct buffer error = {0};
	log_threshold = LOG_ERROR + 1;
	pthread_mutex_init(&seen->lock, NULL);
	pthread_cond_init(&seen->changed, NULL);
	seen->is_ordered = true;
	if (store_open(&suite_settings, NULL, &seen->store, &error) != STATUS_OK)
		fail_msg("%s", error.bytes);
	buffer_free(&error);
	const struct store_listener listener = {suite_on_record, suite_on_batch, seen};
	store_listen(seen->store, &listener);
	return seen;
}

static void suite_load(struct seen *seen)
{
	struct buffer error = {0};
	assert_int_equal(store_load(seen->store, &error), STATUS_OK);
	buffer_free(&error);
}

static struct seen *suite_start(void)
{
	struct seen *seen = suite_open();
	suite_load(seen);
	return seen;
}

static void suite_stop(struct seen *seen)
{
	store_close(seen->store);
	assert_true(seen->is_ordered);
	pthread_cond_destroy(&seen->changed);
	pthread_mutex_destroy(&seen->lock);
	free(seen);
}

/* --- changes */

static void suite_on_done(void *context, enum status status, int64_t revision)
{
	struct outcome *outcome = context;
	pthread_mutex_lock(&outcome->lock);
	assert_false(outcome->is_done);
	outcome->is_done = true;
	outcome->status = status;
	outcome->revision = revision;
	pthread_cond_signal(&outcome->changed);
	pthread_mutex_unlock(&outcome->lock);
}

static struct outcome *suite_submit(struct seen *seen, struct transaction *transaction)
{
	struct outcome *outcome = calloc(1, sizeof(*outcome));
	pthread_mutex_init(&outcome->lock, NULL);
	pthread_cond_init(&outcome->changed, NULL);
	store_submit(seen->store, transaction, NULL, suite_on_done, outcome);
	return outcome;
}

static enum status suite_wait(struct outcome *outcome, int64_t *revision)
{
	pthread_mutex_lock(&outcome->lock);
	while (!outcome->is_done)
		pthread_cond_wait(&outcome->changed, &outcome->lock);
	pthread_mutex_unlock(&outcome->lock);
	enum status status = outcome->status;
	if (revision != NULL)
		*revision = outcome->revision;
	pthread_cond_destroy(&outcome->changed);
	pthread_mutex_destroy(&outcome->lock);
	free(outcome);
	return status;
}

static struct transaction *suite_put(
	const char *ctx, enum record_kind kind, const char *id, const char *body, int64_t expected)
{
	struct transaction *transaction = transaction_new();
	assert_true(transaction_put(transaction, text_of(ctx), kind, text_of(id), text_of(body), expected));
	return transaction;
}

static enum status put(struct seen *seen, const char *ctx, enum record_kind kind, const char *id, const char *body)
{
	return suite_wait(suite_submit(seen, suite_put(ctx, kind, id, body, REVISION_ANY)), NULL);
}

static enum status participant(struct seen *seen, const char *ctx)
{
	return put(seen, ctx, RECORD_PARTICIPANT, "participant", "{}");
}

/* Until the listener knows this revision. */
static void wait_told(struct seen *seen, int64_t revision)
{
	pthread_mutex_lock(&seen->lock);
	while (seen->last < revision)
		pthread_cond_wait(&seen->changed, &seen->lock);
	pthread_mutex_unlock(&seen->lock);
}

static void assert_told(struct seen *seen, const char *line)
{
	pthread_mutex_lock(&seen->lock);
	assert_string_equal(seen->line, line);
	pthread_mutex_unlock(&seen->lock);
}

/* What a store that starts now is told. */
static void assert_stored(const char *line)
{
	struct seen *seen = suite_start();
	assert_told(seen, line);
	suite_stop(seen);
}

#include "tests/store_cases.h"
#include "tests/store_known_cases.h"
