/* What becomes of a batch: signed receipt by receipt, stored, and then over or tried again. */
#include <stdlib.h>

#include "server/base/log.h"
#include "server/worker_pool.h"
#include "tenants/dp/contract/books_private.h"
#include "tenants/dp/signer.h"

/* --- signing: on a worker, one after the other */

struct signing {
	struct task task; /* first */
	struct books *books;
	struct batch *batch; /* held */
	struct worker *worker;
};

static void sign_next(struct signing *signing);

static void end_signing(struct signing *signing)
{
	struct batch *batch = signing->batch;
	batch->signing = (struct message){.kind = MESSAGE_SIGNED};
	books_push(signing->books, &batch->signing); /* the hold goes with it */
	free(signing);
}

static void on_signed(void *context, enum status status, struct text token)
{
	struct signing *signing = context;
	struct paper *paper = &signing->batch->papers[signing->batch->signed_count];
	if (status == STATUS_OK)
		buffer_append(&paper->token, token);
	if (status == STATUS_OK && !paper->token.failed) {
		signing->batch->signed_count++;
		sign_next(signing);
	} else { /* those that follow stay unsigned, a later one covers them */
		end_signing(signing);
	}
}

static void sign_next(struct signing *signing)
{
	const struct batch *batch = signing->batch;
	if (batch->signed_count == batch->paper_count)
		end_signing(signing);
	else
		signer_sign(signing->books->dp, signing->worker, text_of(batch->ctx),
			buffer_text(&batch->papers[batch->signed_count].receipt), on_signed, signing);
}

static void run_signing(struct task *task)
{
	sign_next((struct signing *)task);
}

void batch_sign(struct books *books, struct batch *batch)
{
	struct signing *signing = malloc(sizeof(*signing));
	if (signing == NULL) {
		batch->state = BATCH_READY; /* unsigned */
		return;
	}
	unsigned index = (unsigned)(text_hash(text_of(batch->ctx)) % books->dp->workers);
	*signing = (struct signing){
		.task = {.run = run_signing}, .books = books, .batch = batch, .worker = worker_pool_at(books->dp->pool, index)};
	atomic_fetch_add_explicit(&batch->holders, 1, memory_order_relaxed);
	worker_post(signing->worker, &signing->task);
}

/* --- storing */

struct storing {
	struct books *books;
	struct batch *batch;
};

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct storing *storing = context;
	(void)revision;
	storing->batch->stored = status;
	storing->batch->storing = (struct message){.kind = MESSAGE_STORED};
	books_push(storing->books, &storing->batch->storing);
	free(storing);
}

void batch_store(struct books *books, struct batch *batch)
{
	struct storing *storing = malloc(sizeof(*storing));
	struct transaction *transaction = storing == NULL ? NULL : batch_transaction(batch, text_of(books->cell));
	if (transaction == NULL) {
		free(storing); /* in the next interval */
		return;
	}
	*storing = (struct storing){books, batch};
	batch->state = BATCH_STORING;
	atomic_fetch_add_explicit(&batch->holders, 1, memory_order_relaxed);
	store_submit(books->dp->store, transaction, NULL, on_stored, storing);
}

void batch_on_signed(struct books *books, struct batch *batch)
{
	if (batch->ledger != NULL && batch->state == BATCH_SIGNING) {
		batch->is_signed = true;
		batch->state = BATCH_READY;
		batch_store(books, batch);
	}
	batch_drop(batch);
}

void batch_on_stored(struct books *books, struct batch *batch)
{
	struct ledger *ledger = batch->ledger;
	bool is_over = batch->stored == STATUS_OK;
	if (ledger != NULL && batch->stored == STATUS_NOT_FOUND) {
		books_forget_ledger(books, text_of(batch->ctx)); /* the participant is gone */
	} else if (ledger != NULL) {
		bool is_verdict = batch->stored == STATUS_INVALID || batch->stored == STATUS_CONFLICT;
		if (!is_over)
			LOG(ERROR, "dp.books", log_text("tenant", text_of(batch->ctx)),
				log_text("error", text_of(status_text(batch->stored))), log_bool("is_lost", is_verdict));
		batch->state = BATCH_READY;
		if (is_over || is_verdict) {
			ledger->batch = NULL;
			batch_drop(batch);
		}
	}
	batch_drop(batch);
}
