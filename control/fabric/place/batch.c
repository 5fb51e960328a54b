/* Placements become transactions, one under way at a time: what comes meanwhile shares the next. */
#include <stdlib.h>

#include "control/fabric/place/placer_private.h"
#include "control/fabric/place/request.h"
#include "server/base/clock.h"
#include "server/base/log.h"

/* --- jobs */

static void job_free(struct job *job)
{
	for (size_t i = 0; job->requests != NULL && i < job->placement.count; i++)
		place_request_free(job->requests[i]);
	free(job->requests);
	free(job->slots);
	buffer_free(&job->explain);
	buffer_free(&job->line);
	free(job);
}

static struct job *job_new(const struct placement *placement)
{
	struct job *job = calloc(1, sizeof(*job));
	if (job == NULL)
		return NULL;
	job->placement = *placement;
	job->requests = calloc(placement->count, sizeof(struct place_request *));
	job->slots = calloc(placement->count, sizeof(*job->slots));
	if (job->requests == NULL || job->slots == NULL) {
		job_free(job);
		return NULL;
	}
	for (size_t i = 0; i < placement->count; i++)
		job->requests[i] = place_request_ref((struct place_request *)(uintptr_t)placement->requests[i]);
	return job;
}

void job_end(struct placer *placer, struct job *job, enum status status)
{
	(void)placer;
	bool is_told = status == STATUS_OK || status == STATUS_NOT_FOUND;
	job->placement.done(job->placement.context, status, text_of(job->decision),
		is_told ? buffer_text(&job->explain) : TEXT_NONE, is_told ? buffer_text(&job->line) : TEXT_NONE);
	job_free(job);
}

static void enqueue(struct placer *placer, struct job *job)
{
	job->next = NULL;
	*placer->queue_end = job;
	placer->queue_end = &job->next;
}

static void enqueue_first(struct placer *placer, struct job *job)
{
	job->next = placer->queue;
	placer->queue = job;
	if (job->next == NULL)
		placer->queue_end = &job->next;
}

static struct job *dequeue(struct placer *placer)
{
	struct job *job = placer->queue;
	placer->queue = job->next;
	if (placer->queue == NULL)
		placer->queue_end = &placer->queue;
	job->next = NULL;
	return job;
}

/* --- deciding */

/* "explain" of one VPA is its decision's; of a group, what is common and every decision. */
static void finish_explain(
	const struct placer *placer, struct job *job, uint64_t version, const struct buffer *decisions)
{
	struct buffer *into = &job->explain;
	struct text inner = buffer_text(decisions);
	buffer_clear(into);
	buffer_printf(into, "{\"process\":%lld,\"conflicts\":%u,\"micros\":%lld,", (long long)placer->process,
		job->conflicts, (long long)job->micros);
	if (job->placement.count == 1) {
		buffer_append(into, text_slice(inner, 2, inner.length - 1)); /* without "[{" and "]" */
	} else {
		buffer_printf(into, "\"snapshot\":%llu,\"reason\":", (unsigned long long)version);
		buffer_append_json(into, buffer_text(&job->line));
		buffer_append(into, TEXT(",\"decisions\":"));
		buffer_append(into, inner);
		buffer_append_byte(into, '}');
	}
	into->failed = into->failed || decisions->failed || job->line.failed;
}

static void decide(struct placer *placer, struct job *job, bool is_brief)
{
	struct buffer decisions = {0};
	uint64_t begun = clock_monotonic_ns(), version = place_snapshot_version(placer->snapshot);
	struct place_telling telling = {&decisions, is_brief ? NULL : &job->line, is_brief, STORED_CELLS};
	buffer_clear(&job->line);
	job->verdict = place_group(placer->snapshot, (const struct place_request *const *)job->requests,
		job->placement.count, job->slots, &telling);
	if (is_brief && job->verdict == STATUS_NOT_FOUND) { /* who gets none is told why, however many there are */
		buffer_clear(&decisions);
		telling = (struct place_telling){&decisions, &job->line, false, STORED_CELLS};
		job->verdict = place_group(placer->snapshot, (const struct place_request *const *)job->requests,
			job->placement.count, job->slots, &telling);
	}
	job->micros = (int64_t)((clock_monotonic_ns() - begun) / 1000);
	job->tried_at = place_snapshot_version(placer->snapshot);
	finish_explain(placer, job, version, &decisions);
	buffer_free(&decisions);
	if (job->verdict == STATUS_OK) {
		rooms_pend(placer, job, 1);
		job->is_booked = true;
	}
}

/* Its room is free again. */
static void unbook(struct placer *placer, struct job *job)
{
	if (!job->is_booked)
		return;
	job->is_booked = false;
	rooms_pend(placer, job, -1);
	for (size_t i = 0; i < job->placement.count; i++)
		room_show(placer, job->slots[i]);
}

/* --- writing */

static bool build(struct placer *placer, const struct job *job, struct transaction *transaction)
{
	const struct cell_record *choices[PLACE_GROUP_MAX];
	if (job->placement.build == NULL)
		return true;
	for (size_t i = 0; i < job->placement.count; i++)
		choices[i] = cells_at(placer->cells, job->slots[i]);
	return job->placement.build(job->placement.context, choices, transaction);
}

static bool fold(struct room *room, int64_t used[PLACE_DIMENSION_COUNT], struct transaction *transaction)
{
	for (struct release *release = room->releases; release != NULL; release = release->next) {
		if (!state_delete(transaction, RECORD_CELL_CAPACITY, text_of(release->id), release->revision))
			return false;
		for (int i = 0; i < PLACE_DIMENSION_COUNT; i++)
			used[i] -= release->amount[i];
	}
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++)
		used[i] = used[i] < 0 ? 0 : used[i];
	return true;
}

/* The cell's new capacity, on the condition that nobody changed it or the cell. */
static bool write_room(struct placer *placer, uint32_t slot, struct transaction *transaction)
{
	struct room *room = &placer->rooms[slot];
	const struct cell_record *cell = cells_at(placer->cells, slot);
	int64_t used[PLACE_DIMENSION_COUNT];
	struct buffer body = {0};
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++)
		used[i] = room->used[i] + room->pending[i];
	bool is_written = fold(room, used, transaction);
	amounts_print(&body, "used", used);
	is_written = is_written && !body.failed &&
				 transaction_expect(transaction, TEXT(""), RECORD_CELL, text_of(cell->id), cell->revision) &&
				 state_put(transaction, RECORD_CELL_CAPACITY, text_of(cell->id), buffer_text(&body), room->revision);
	buffer_free(&body);
	room->seen_revision = room->revision;
	room->seen_cell = cell->revision;
	return is_written;
}

/* In the order of their slots, each once. */
static bool write_rooms(struct batch *batch, struct transaction *transaction)
{
	struct placer *placer = batch->placer;
	bool is_written = true;
	for (const struct job *job = batch->jobs; job != NULL; job = job->next) {
		for (size_t i = 0; job->is_booked && i < job->placement.count; i++)
			placer->rooms[job->slots[i]].is_touched = true;
	}
	for (uint32_t slot = 0; slot < placer->room_count && is_written; slot++) {
		if (placer->rooms[slot].releases != NULL && cells_at(placer->cells, slot) != NULL)
			placer->rooms[slot].is_touched = true;
		if (placer->rooms[slot].is_touched) {
			is_written = write_room(placer, slot, transaction);
			batch->has_changes = true;
		}
	}
	return is_written;
}

/* Did another process change what the batch was decided on? */
static bool was_overtaken(const struct placer *placer)
{
	for (uint32_t slot = 0; slot < placer->room_count; slot++) {
		const struct room *room = &placer->rooms[slot];
		const struct cell_record *cell = cells_at(placer->cells, slot);
		if (room->is_touched &&
			(cell == NULL || room->revision != room->seen_revision || cell->revision != room->seen_cell))
			return true;
	}
	return false;
}

static void untouch(struct placer *placer)
{
	for (uint32_t slot = 0; slot < placer->room_count; slot++) {
		if (placer->rooms[slot].is_touched) {
			placer->rooms[slot].is_touched = false;
			room_show(placer, slot);
		}
	}
}

/* --- the end of a batch */

static void wait_for_room(struct placer *placer, struct job *job)
{
	job->next = placer->waiting;
	placer->waiting = job;
}

static void end_one(struct placer *placer, struct job *job, enum status status)
{
	if (status != STATUS_OK)
		job->decision[0] = 0;
	if (job->verdict != STATUS_OK) /* decided without the store; its explanation may or may not be stored */
		status = job->verdict;
	job_end(placer, job, status);
}

/* Refused by what others have written: once more with what is known now, or the whole batch one by one, to see whose
 * records are to blame. */
static void retry(struct placer *placer, struct job *job, bool is_overtaken, bool was_alone, enum status status)
{
	if (is_overtaken && ++job->conflicts < TRIES) {
		enqueue_first(placer, job);
	} else if (!is_overtaken && !was_alone) {
		job->is_alone = true;
		enqueue_first(placer, job);
	} else {
		end_one(placer, job, is_overtaken ? STATUS_REFUSED : status);
	}
}

static bool is_refusal(enum status status)
{
	return status == STATUS_CONFLICT || status == STATUS_NOT_FOUND || status == STATUS_INVALID;
}

static struct job *reversed(struct job *jobs)
{
	struct job *back = NULL;
	while (jobs != NULL) {
		struct job *next = jobs->next;
		jobs->next = back;
		back = jobs;
		jobs = next;
	}
	return back;
}

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct batch *batch = context;
	struct placer *placer = batch->placer;
	struct job *jobs = batch->jobs;
	bool is_overtaken = is_refusal(status) && was_overtaken(placer), was_alone = batch->count == 1;
	(void)revision;
	placer->batch = NULL;
	for (struct job *job = jobs; job != NULL; job = job->next)
		unbook(placer, job);
	untouch(placer);
	jobs = is_refusal(status) ? reversed(jobs) : jobs; /* each goes before the others again */
	while (jobs != NULL) {
		struct job *job = jobs;
		jobs = job->next;
		if (is_refusal(status) && job->verdict == STATUS_OK)
			retry(placer, job, is_overtaken, was_alone, status);
		else
			end_one(placer, job, status);
	}
	free(batch);
	batch_plan(placer);
}

/* --- the batch */

static void submit(struct batch *batch)
{
	struct placer *placer = batch->placer;
	struct transaction *transaction = transaction_new();
	bool is_built = transaction != NULL && decisions_add(batch, transaction);
	for (struct job **at = &batch->jobs; is_built && *at != NULL;) {
		struct job *job = *at;
		if (!job->is_booked || build(placer, job, transaction)) {
			at = &job->next;
			continue;
		}
		/* its records may be half there: the others begin anew without it */
		*at = job->next;
		batch->count--;
		unbook(placer, job);
		job_end(placer, job, STATUS_INTERNAL);
		for (struct job *other = batch->jobs; other != NULL; other = other->next)
			other->decision[0] = 0;
		transaction_free(transaction);
		submit(batch);
		return;
	}
	is_built = is_built && write_rooms(batch, transaction);
	placer->batch = batch;
	if (is_built && batch->jobs == NULL && !batch->has_changes) {
		transaction_free(transaction);
		on_stored(batch, STATUS_OK, 0);
	} else if (is_built) {
		state_submit(placer->state, transaction, on_stored, batch);
	} else {
		transaction_free(transaction);
		on_stored(batch, STATUS_NO_MEMORY, 0);
	}
}

static void collect(struct placer *placer, struct batch *batch)
{
	uint64_t now_ms = clock_monotonic_ms();
	size_t queued = 0;
	for (const struct job *job = placer->queue; job != NULL && queued < BRIEF_FROM; job = job->next)
		queued++;
	while (placer->queue != NULL && batch->count < BATCH_JOBS && batch->vpas < BATCH_VPAS) {
		if (batch->count > 0 && (batch->is_alone || placer->queue->is_alone))
			return;
		struct job *job = dequeue(placer);
		batch->is_alone = job->is_alone;
		decide(placer, job, queued >= BRIEF_FROM);
		if (job->verdict == STATUS_NOT_FOUND && now_ms < job->give_up_ms) {
			wait_for_room(placer, job);
			continue;
		}
		if (job->verdict != STATUS_OK && job->verdict != STATUS_NOT_FOUND) {
			job_end(placer, job, job->verdict);
			continue;
		}
		*batch->end = job;
		batch->end = &job->next;
		batch->count++;
		batch->vpas += job->placement.count;
	}
}

static void wake(struct placer *placer)
{
	uint64_t now_ms = clock_monotonic_ms(), version = place_snapshot_version(placer->snapshot);
	struct job *waiting = placer->waiting;
	placer->waiting = NULL;
	while (waiting != NULL) {
		struct job *job = waiting;
		waiting = job->next;
		if (job->tried_at != version || now_ms >= job->give_up_ms)
			enqueue(placer, job);
		else
			wait_for_room(placer, job);
	}
}

static void run(struct task *task)
{
	struct placer *placer = (struct placer *)(void *)((char *)task - offsetof(struct placer, later));
	placer->is_planned = false;
	if (placer->batch != NULL)
		return;
	place_snapshot_advance(placer->snapshot, clock_wall_ms());
	wake(placer);
	struct batch *batch = calloc(1, sizeof(*batch));
	if (batch == NULL)
		return; /* the next tick tries again */
	*batch = (struct batch){.placer = placer, .end = &batch->jobs};
	collect(placer, batch);
	if (batch->count == 0 && placer->unfolded == 0)
		free(batch);
	else
		submit(batch);
}

void batch_plan(struct placer *placer)
{
	bool has_work = placer->queue != NULL || placer->waiting != NULL || placer->unfolded > 0;
	if (placer->is_planned || placer->batch != NULL || !placer->is_running || !has_work)
		return;
	placer->is_planned = true;
	placer->later.run = run;
	worker_post(state_worker(placer->state), &placer->later);
}

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
	enqueue(placer, job);
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
	finish_explain(placer, &job, version, &decisions);
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

static void drop_jobs(struct job *jobs)
{
	while (jobs != NULL) {
		struct job *next = jobs->next;
		job_free(jobs);
		jobs = next;
	}
}

void placer_free(struct placer *placer)
{
	if (placer == NULL)
		return;
	drop_jobs(placer->queue);
	drop_jobs(placer->waiting);
	if (placer->batch != NULL)
		drop_jobs(placer->batch->jobs);
	free(placer->batch);
	pruning_free(placer);
	rooms_free(placer);
	free(placer);
}
