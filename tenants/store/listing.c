/* Records read on demand. */
#include "tenants/store/listing.h"

#include <stdlib.h>

static void listing_free(struct listing *listing)
{
	newspaper_drop(&listing->paper);
	free(listing->ctx);
	free(listing->after);
	free(listing->ids);
	free(listing);
}

struct listing *listing_new(struct text ctx, const struct listing *asked)
{
	struct listing *listing = calloc(1, sizeof(*listing));
	if (listing == NULL)
		return NULL;
	*listing = *asked;
	newspaper_begin(&listing->paper);
	listing->ctx = text_copy(ctx);
	if (listing->ctx != NULL)
		return listing;
	listing_free(listing);
	return NULL;
}

bool listing_after(struct listing *listing, struct text after)
{
	listing->after = after.bytes == NULL ? NULL : text_copy(after);
	return after.bytes == NULL || listing->after != NULL;
}

bool listing_ids(struct listing *listing, const struct text *ids, size_t count)
{
	struct buffer array = {0};
	buffer_append_byte(&array, '[');
	for (size_t i = 0; i < count; i++) {
		buffer_append(&array, i == 0 ? TEXT("") : TEXT(","));
		buffer_append_json(&array, ids[i]);
	}
	buffer_append_byte(&array, ']');
	bool is_printed = !array.failed;
	listing->ids = buffer_take(&array);
	return is_printed && listing->ids != NULL;
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

static enum status read_it(struct listing *listing, const struct backend *backend, void *database)
{
	struct text ctx = text_of(listing->ctx), after = listing->after == NULL ? TEXT_NONE : text_of(listing->after);
	if (listing->ids != NULL)
		return backend->read(database, ctx, listing->kind, text_of(listing->ids), newspaper_add, &listing->paper);
	return backend->list(database, ctx, listing->kind, after, listing->limit, newspaper_add, &listing->paper);
}

void listing_run(struct listing *listing, const struct backend *backend, void *database)
{
	listing_finish(listing, read_it(listing, backend, database));
}
