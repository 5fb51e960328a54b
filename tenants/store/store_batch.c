/* A batch of the store: transactions that are committed together, told, and completed when every worker has seen them.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/worker_pool.h"
#include "tenants/store/store_private.h"

struct completion {
	struct transaction *transactions;
};

/* Every worker has seen the changes: the askers may be told. */
static void complete(void *context)
{
	struct completion *completion = context;
	struct transaction *transaction = completion->transactions;
	while (transaction != NULL) {
		struct transaction *next = transaction->next;
		if (transaction->worker == NULL)
			transaction_complete(&transaction->task);
		else {
			transaction->task.run = transaction_complete;
			worker_post(transaction->worker, &transaction->task);
		}
		transaction = next;
	}
	free(completion);
}

static void complete_behind_barrier(struct store *store, struct transaction *batch)
{
	struct completion *completion = malloc(sizeof(*completion));
	if (completion == NULL)
		abort(); /* committed and nobody to tell: better restarted */
	completion->transactions = batch;
	worker_pool_barrier(store->pool, complete, completion);
}

static void fail_all(struct transaction *batch, enum status status)
{
	for (struct transaction *transaction = batch; transaction != NULL; transaction = transaction->next)
		transaction->status = status;
}

/* May the other transactions of the batch go on? Only when the database has judged this one, not failed at it. */
static bool is_verdict(enum status status)
{
	return status == STATUS_OK || status == STATUS_CONFLICT || status == STATUS_NOT_FOUND || status == STATUS_INVALID;
}

static enum status apply_all(struct store *store, struct transaction *batch, struct newspaper *paper)
{
	for (struct transaction *transaction = batch; transaction != NULL; transaction = transaction->next) {
		struct newspaper page;
		int64_t revision = 0;
		newspaper_begin(&page);
		transaction->status = STATUS_INVALID;
		if (transaction->is_text)
			transaction->status = transaction_apply(store->backend, store->database,
				&(struct changes){transaction->changes, transaction->count}, newspaper_add_loaded, &page, &revision);
		/* what a refused one would have written counts for nothing: others will have these revisions */
		transaction->revision = transaction->status == STATUS_OK ? revision : 0;
		if (transaction->status == STATUS_OK)
			newspaper_append(paper, &page);
		newspaper_drop(&page);
		if (!is_verdict(transaction->status))
			return transaction->status;
	}
	return STATUS_OK;
}

/* What was deleted meanwhile cannot be learnt any more, so what is in memory is not what is stored. A restart reads
 * what there is. */
static void left_behind(struct store *store)
{
	if (!atomic_exchange(&store->is_left_behind, true)) {
		LOG(ERROR, "store.left_behind", log_number("revision", store->revision));
		kill(getpid(), SIGTERM);
	}
}

enum status store_look(struct store *store)
{
	struct newspaper paper;
	int64_t revision = store->revision;
	newspaper_begin(&paper);
	enum status status =
		store->backend->poll(store->database, store->revision, newspaper_add_loaded, &paper, &revision);
	if (status == STATUS_OK) {
		for (struct news *news = paper.first; news != NULL; news = news->next) {
			revision = news->record.revision > revision ? news->record.revision : revision;
			store_tell(store, &news->record);
		}
		if (revision > store->revision)
			store->revision = revision;
		if (paper.first != NULL)
			store_tell_end(store);
	}
	newspaper_drop(&paper);
	if (status == STATUS_STOPPED)
		left_behind(store);
	return status;
}

static enum status gather(struct store *store, const struct transaction *batch)
{
	struct changes all[BATCH_MAX];
	size_t count = 0;
	if (store->backend->gather == NULL)
		return STATUS_OK;
	for (const struct transaction *transaction = batch; transaction != NULL; transaction = transaction->next) {
		if (transaction->is_text)
			all[count++] = (struct changes){transaction->changes, transaction->count};
	}
	return store->backend->gather(store->database, all, count);
}

static enum status write_batch(struct store *store, struct transaction *batch, struct newspaper *paper)
{
	enum status status = store->backend->begin(store->database);
	if (status != STATUS_OK)
		return status;
	/* under the write lock: what others committed is told first, so that revisions come in their order */
	status = store_look(store);
	if (status == STATUS_OK)
		status = gather(store, batch);
	if (status == STATUS_OK)
		status = apply_all(store, batch, paper);
	if (status == STATUS_OK)
		status = store->backend->prune(store->database, store->settings.tombstones);
	if (status == STATUS_OK)
		return store->backend->commit(store->database);
	store->backend->rollback(store->database);
	return status;
}

/* Somebody's bytes were refused: each alone. */
static void run_singly(struct store *store, struct transaction *batch)
{
	while (batch != NULL) {
		struct transaction *transaction = batch;
		batch = transaction->next;
		transaction->next = NULL;
		store_run_batch(store, transaction);
	}
}

void store_run_batch(struct store *store, struct transaction *batch)
{
	struct newspaper paper;
	newspaper_begin(&paper);
	for (struct transaction *transaction = batch; transaction != NULL; transaction = transaction->next)
		transaction->is_text = transaction_is_text(transaction);
	enum status status = atomic_load(&store->is_left_behind) ? STATUS_UNAVAILABLE : write_batch(store, batch, &paper);
	if (status == STATUS_CONFLICT) { /* once more, with a look */
		newspaper_drop(&paper);
		status = write_batch(store, batch, &paper);
	}
	atomic_store(&store->is_healthy, store->backend->is_healthy(store->database));
	if (status == STATUS_INVALID && batch->next != NULL) {
		newspaper_drop(&paper);
		run_singly(store, batch);
		return;
	}
	if (status == STATUS_INVALID) {
		fail_all(batch, STATUS_INVALID);
	} else if (status != STATUS_OK) {
		LOG(ERROR, "store.commit", log_text("error", text_of(status_text(status))));
		fail_all(batch, status == STATUS_NO_MEMORY ? status : STATUS_UNAVAILABLE);
	} else {
		for (struct news *news = paper.first; news != NULL; news = news->next)
			store_tell(store, &news->record);
		for (const struct transaction *transaction = batch; transaction != NULL; transaction = transaction->next)
			store->revision = transaction->revision > store->revision ? transaction->revision : store->revision;
		if (paper.first != NULL)
			store_tell_end(store);
	}
	newspaper_drop(&paper);
	complete_behind_barrier(store, batch);
}
