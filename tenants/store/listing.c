/* Records read on demand. */
#include "tenants/store/listing.h"

#include <stdlib.h>

static void listing_free(struct listing *listing)
{
	newspaper_drop(&listing->paper);
	free(listing->ctx);
	free(listing->after);
	free(listing);
}

struct listing *listing_new(struct text ctx, struct text after, const struct listing *asked)
{
	struct listing *listing = calloc(1, sizeof(*listing));
	if (listing == NULL)
		return NULL;
	*listing = *asked;
	newspaper_begin(&listing->paper);
	listing->ctx = text_copy(ctx);
	listing->after = after.bytes == NULL ? NULL : text_copy(after);
	if (listing->ctx != NULL && (after.bytes == NULL || listing->after != NULL))
		return listing;
	listing_free(listing);
	return NULL;
}

static void tell(struct task *task)
{
	struct listing *listing = (struct listing *)task;
	struct record *records = NULL;
	size_t count = 0;
	for (const struct news *news = listing->paper.first; news != NULL; news = news->next)
		count++;
	if (count > 0 && (records = calloc(count, sizeof(*records))) == NULL)
		listing->status = STATUS_NO_MEMORY;
	count = 0;
	for (const struct news *news = listing->paper.first; records != NULL && news != NULL; news = news->next)
		records[count++] = news->record;
	listing->done(listing->context, listing->status, records, listing->status == STATUS_OK ? count : 0);
	free(records);
	listing_free(listing);
}

void listing_finish(struct listing *listing, enum status status)
{
	listing->status = status;
	listing->task.run = tell;
	if (listing->worker == NULL)
		tell(&listing->task);
	else
		worker_post(listing->worker, &listing->task);
}

void listing_run(struct listing *listing, const struct backend *backend, void *database)
{
	enum status status = backend->list(database, text_of(listing->ctx), listing->kind,
		listing->after == NULL ? TEXT_NONE : text_of(listing->after), listing->limit, newspaper_add, &listing->paper);
	listing_finish(listing, status);
}
