/* The placer: what is asked of it, and its life. */
#include "control/fabric/place/placer.h"

#include <stdlib.h>

#include "control/fabric/place/placer_private.h"
#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/worker_pool.h"

/* --- calls */

void placer_place(struct placer *placer, const struct placement *placement)
{
	struct job *job = placement->count == 0 || placement->count > PLACE_GROUP_MAX ? NULL : job_new(placement);
	if (job == NULL) {
		bool is_bad = placement->count == 0 || placement->count > PLACE_GROUP_MAX;
		placement->done(
			placement->context, is_bad ? STATUS_INVALID : STATUS_NO_MEMORY, TEXT_NONE, TEXT_NONE, TEXT_NONE);
		return;
	}
	if (placement->patience_ms > 0)
		job->give_up_ms = clock_monotonic_ms() + (uint64_t)placement->patience_ms;
	job_queue_add(placer, job);
	batch_plan(placer);
}

/* What was booked for a look only. */
static void look_up_and_undo(struct placer *placer, const struct place_request *const *requests, size_t count,
	const uint32_t *slots, struct text *chosen)
{
	for (size_t i = 0; i < count; i++)
		chosen[i] = text_of(place_snapshot_cell(placer->snapshot, slots[i]));
	place_group_undo(placer->snapshot, requests, count, slots);
}

enum status placer_try(struct placer *placer, const struct place_request *const *requests, size_t count,
	struct text *chosen, struct buffer *explain, struct buffer *line)
{
	uint32_t slots[PLACE_GROUP_MAX];
	struct buffer decisions = {0};
	if (count == 0 || count > PLACE_GROUP_MAX)
		return STATUS_INVALID;
	place_snapshot_advance(placer->snapshot, clock_wall_ms());
	struct place_telling telling = {&decisions, line, false, TOLD_CELLS};
	uint64_t begun = clock_monotonic_ns(), version = place_snapshot_version(placer->snapshot);
	enum status status = place_group(placer->snapshot, requests, count, slots, &telling);
	struct job job = {.placement = {.requests = requests, .count = count}, .line = *line};
	job.micros = (int64_t)((clock_monotonic_ns() - begun) / 1000);
	job_explain(placer, &job, version, &decisions);
	buffer_append(explain, buffer_text(&job.explain));
	explain->failed = explain->failed || job.explain.failed;
	buffer_free(&job.explain);
	buffer_free(&decisions);
	if (status == STATUS_OK)
		look_up_and_undo(placer, requests, count, slots, chosen);
	return status;
}

enum status placer_replay(struct placer *placer, int64_t process, uint64_t version,
	const struct place_request *const *requests, size_t count, struct text *chosen)
{
	uint32_t slots[PLACE_GROUP_MAX];
	struct place_telling telling = {.is_brief = true};
	if (count == 0 || count > PLACE_GROUP_MAX || process != placer->process ||
		!place_snapshot_rewind(placer->snapshot, version))
		return STATUS_UNAVAILABLE;
	enum status status = place_group(placer->snapshot, requests, count, slots, &telling);
	if (status == STATUS_OK)
		look_up_and_undo(placer, requests, count, slots, chosen);
	place_snapshot_return(placer->snapshot);
	return status;
}

/* --- life */

static void tick(void *context)
{
	struct placer *placer = context;
	batch_plan(placer);
	pruning_tick(placer);
	timer_set(placer->timer, TICK_MS);
}

static enum status on_start(void *context, struct worker *worker)
{
	struct placer *placer = context;
	placer->timer = timer_new(worker, tick, placer);
	if (placer->timer == NULL)
		return STATUS_NO_MEMORY;
	placer->is_running = true;
	timer_set(placer->timer, TICK_MS);
	batch_plan(placer);
	return STATUS_OK;
}

static void on_stop(void *context, struct worker *worker)
{
	struct placer *placer = context;
	(void)worker;
	placer->is_running = false;
	timer_free(placer->timer);
	placer->timer = NULL;
}

enum status placer_open(struct state *state, struct cells *cells, struct placer **placer)
{
	struct placer *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->state = state;
	made->cells = cells;
	made->queue_end = &made->queue;
	random_bytes(&made->process, sizeof(made->process));
	made->process &= 0xffffffffffff;
	enum status status = rooms_open(made);
	if (status == STATUS_OK)
		status = (made->journal = journal_new()) == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	if (status == STATUS_OK)
		place_snapshot_tell(made->snapshot, made->journal);
	if (status == STATUS_OK)
		status = pruning_open(made);
	if (status != STATUS_OK) {
		placer_free(made);
		return status;
	}
	worker_pool_on_start(worker_pool_of(state_worker(state)), on_start, made);
	worker_pool_on_stop(worker_pool_of(state_worker(state)), on_stop, made);
	*placer = made;
	return STATUS_OK;
}

static void batch_free(struct batch *batch)
{
	if (batch != NULL)
		jobs_free(batch->jobs);
	free(batch);
}

void placer_free(struct placer *placer)
{
	if (placer == NULL)
		return;
	jobs_free(placer->queue);
	jobs_free(placer->waiting);
	batch_free(placer->batch);
	batch_free(placer->next);
	pruning_free(placer);
	rooms_free(placer);
	journal_free(placer->journal);
	free(placer);
}
