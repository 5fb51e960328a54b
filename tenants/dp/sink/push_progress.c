/* The progress of a push, and its record. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/sink/push_private.h"

static bool take(struct text text, char *into, size_t limit)
{
	if (text.length > limit)
		return false;
	memcpy(into, text.bytes == NULL ? "" : text.bytes, text.length);
	into[text.length] = 0;
	return true;
}

bool push_progress_read(const struct json *body, struct push_progress *progress)
{
	struct push_progress read = {.is_begun = true};
	json_bool(json_member(body, "done"), &read.is_done);
	bool is_good = take(json_member_text(body, "part"), read.part, PUSH_PART_MAX) &&
				   take(json_member_text(body, "validator"), read.validator, PUSH_VALIDATOR_MAX) &&
				   json_integer(json_member(body, "offset"), &read.offset) && read.offset >= 0 &&
				   json_integer(json_member(body, "length"), &read.length);
	if (is_good)
		*progress = read;
	return is_good;
}

static void on_saved(void *context, enum status status, int64_t revision)
{
	struct push *push = context;
	(void)revision;
	push->is_saving = false;
	if (status != STATUS_OK) /* once more with the next acknowledgement */
		push->is_dirty = true;
	if (push->attempt != NULL)
		push_attempt_saved(push->attempt);
	push_unref(push);
}

static void print(const struct push *push, struct buffer *into)
{
	const struct push_progress *progress = &push->progress;
	buffer_append(into, TEXT("{\"part\":"));
	buffer_append_json(into, text_of(progress->part));
	buffer_append(into, TEXT(",\"offset\":"));
	buffer_append_number(into, progress->offset);
	buffer_append(into, TEXT(",\"length\":"));
	buffer_append_number(into, progress->length);
	buffer_append(into, TEXT(",\"validator\":"));
	buffer_append_json(into, text_of(progress->validator));
	buffer_append(into, progress->is_done ? TEXT(",\"done\":true}") : TEXT(",\"done\":false}"));
}

void push_progress_save(struct push *push)
{
	if (push->is_saving || push->home == NULL)
		return;
	struct buffer body = {0};
	print(push, &body);
	struct transaction *transaction = body.failed ? NULL : transaction_new();
	if (transaction != NULL && !transaction_put(transaction, text_of(push->ctx), RECORD_PUSH, text_of(push->id),
								   buffer_text(&body), REVISION_ANY)) {
		transaction_free(transaction);
		transaction = NULL;
	}
	buffer_free(&body);
	if (transaction == NULL)
		return;
	push->is_dirty = false;
	push->is_saving = push->has_record = true;
	push->saved_ms = worker_now_ms(push->home->worker);
	push_ref(push);
	store_submit(push->dp->store, transaction, push->home->worker, on_saved, push);
}

static void on_forgotten(void *context, enum status status, int64_t revision)
{
	(void)context, (void)status, (void)revision; /* gone with its participant already, or now */
}

void push_progress_forget(struct push *push)
{
	push->progress = (struct push_progress){0};
	push->is_dirty = push->has_used = false;
	if (!push->has_record)
		return;
	push->has_record = false;
	struct transaction *transaction = transaction_new();
	if (transaction == NULL ||
		!transaction_delete(transaction, text_of(push->ctx), RECORD_PUSH, text_of(push->id), REVISION_ANY)) {
		transaction_free(transaction);
		return;
	}
	store_submit(push->dp->store, transaction, NULL, on_forgotten, NULL);
}
