/* Answers of sinks. */
#include "tenants/dp/sink/teller.h"

static void end(struct teller *teller)
{
	buffer_free(&teller->bytes);
	teller->free(teller);
}

static void run(struct task *task)
{
	struct teller *teller = (struct teller *)(void *)((char *)task - offsetof(struct teller, task));
	struct intake *intake = teller->intake;
	teller->is_queued = false;
	if (intake == NULL) {
		end(teller);
	} else if (teller->is_opening) {
		teller->is_opening = false;
		intake->events->opened(intake, teller->failed, teller->offset);
	} else if (teller->is_writing) {
		size_t length = teller->bytes.length;
		teller->is_writing = false;
		buffer_free(&teller->bytes);
		intake->events->written(intake, teller->failed, length);
	} else if (teller->is_finishing) {
		teller->is_finishing = false;
		teller->is_finished = teller->failed == STATUS_OK;
		intake->events->finished(intake, teller->failed);
	}
}

void teller_open(struct teller *teller, struct intake *intake, void (*free)(struct teller *teller))
{
	teller->intake = intake;
	teller->task.run = run;
	teller->free = free;
	teller->is_opening = true;
}

void teller_tell(struct teller *teller)
{
	if (teller->is_queued || !(teller->is_opening || teller->is_writing || teller->is_finishing))
		return;
	teller->is_queued = true;
	worker_later(teller->intake->pull->home->worker, &teller->task);
}

void teller_fail(struct teller *teller, enum status why)
{
	if (teller->failed == STATUS_OK)
		teller->failed = why == STATUS_PROTOCOL ? STATUS_UNAVAILABLE : why;
	teller_tell(teller);
}

void teller_take(struct teller *teller, struct buffer *bytes)
{
	buffer_free(&teller->bytes);
	teller->bytes = *bytes;
	*bytes = (struct buffer){0};
	teller->is_writing = true;
}

void teller_close(struct teller *teller)
{
	teller->intake = NULL;
	if (!teller->is_queued)
		end(teller);
}
