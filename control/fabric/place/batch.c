/* Placements become transactions: while one is written, the next is decided. */
#include <stdlib.h>

#include "control/fabric/place/placer_private.h"
#include "control/fabric/place/request.h"
#include "server/base/clock.h"
#include "server/base/log.h"

/* --- deciding */

/* "explain" of one VPA is its decision's; of a group, what is common and every decision. */
void job_explain(const struct placer *placer, struct job *job, uint64_t version, const struct buffer *decisions)
{
	struct buffer *into = &job->explain;
	struct text inner = buffer_text(decisions);
	buffer_clear(into);
	buffer_append(into, TEXT("{\"process\":"));
	buffer_append_number(into, placer->process);
	buffer_append(into, TEXT(",\"conflicts\":"));
	buffer_append_number(into, job->conflicts);
	buffer_append(into, TEXT(",\"micros\":"));
	buffer_append_number(into, job->micros);
	buffer_append_byte(into, ',');
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
	journal_decide(
		placer->journal, placer->snapshot, (const struct place_request *const *)job->requests, job->placement.count);
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
	job_explain(placer, job, version, &decisions);
	buffer_free(&decisions);
	if (job->verdict != STATUS_OK)
		return;
	rooms_pend(placer, job, 1);
	job->is_booked = true;
	for (size_t i = 0; i < job->placement.count; i++)
		placer->rooms[job->slots[i]].is_chosen = true;
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

static void end_one(struct job *job, enum status status)
{
	if (status != STATUS_OK)
		job->decision[0] = 0;
	if (job->verdict != STATUS_OK) /* decided without the store; its explanation may or may not be stored */
		status = job->verdict;
	job_end(job, status);
}

/* Refused by what others have written: once more with what is known now, or the whole batch one by one, to see whose
 * records are to blame. */
static void retry(struct placer *placer, struct job *job, bool is_overtaken, bool was_alone, enum status status)
{
	if (is_overtaken && ++job->conflicts < TRIES) {
		job_queue_add_first(placer, job);
	} else if (!is_overtaken && !was_alone) {
		job->is_alone = true;
		job_queue_add_first(placer, job);
	} else {
		end_one(job, is_overtaken ? STATUS_REFUSED : status);
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

/* After this batch came another process, where the next one has been decided already. */
static bool is_followed(const struct placer *placer, int64_t revision)
{
	for (uint32_t slot = 0; slot < placer->room_count; slot++) {
		const struct room *room = &placer->rooms[slot];
		if (room->is_touched && room->is_chosen && room->revision > revision)
			return true;
	}
	return false;
}

static bool is_full(const struct batch *batch)
{
	return batch->count >= BATCH_JOBS || batch->vpas >= BATCH_VPAS;
}

static void forget_choices(struct placer *placer)
{
	for (uint32_t slot = 0; slot < placer->room_count; slot++)
		placer->rooms[slot].is_chosen = false;
	placer->is_stale = false;
}

static void submit(struct batch *batch);

static void submit_next(struct placer *placer)
{
	struct batch *batch = placer->next;
	placer->next = NULL;
	forget_choices(placer);
	submit(batch);
}

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct batch *batch = context;
	struct placer *placer = batch->placer;
	struct job *jobs = batch->jobs;
	bool is_overtaken = is_refusal(status) && was_overtaken(placer), was_alone = batch->count == 1;
	placer->batch = NULL;
	journal_end(placer->journal, status == STATUS_OK);
	placer->is_stale = placer->is_stale || status != STATUS_OK || is_followed(placer, revision);
	for (struct job *job = jobs; job != NULL; job = job->next)
		unbook(placer, job);
	untouch(placer);
	/* a full one is written while those of this one are told, and ask for more */
	if (placer->next != NULL && !placer->is_stale && is_full(placer->next))
		submit_next(placer);
	jobs = is_refusal(status) ? reversed(jobs) : jobs; /* each goes before the others again */
	while (jobs != NULL) {
		struct job *job = jobs;
		jobs = job->next;
		if (is_refusal(status) && job->verdict == STATUS_OK)
			retry(placer, job, is_overtaken, was_alone, status);
		else
			end_one(job, status);
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
		job_end(job, STATUS_INTERNAL);
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

/* Only what does not fit with the others goes alone. */
static bool goes_on(const struct batch *batch, const struct job *job)
{
	return !is_full(batch) && (batch->count == 0 || (!batch->is_alone && !job->is_alone));
}

static void collect(struct placer *placer, struct batch *batch)
{
	uint64_t now_ms = clock_monotonic_ms();
	bool is_brief = batch->count + placer->queued >= BRIEF_FROM;
	while (placer->queue != NULL && goes_on(batch, placer->queue)) {
		struct job *job = job_queue_take(placer);
		batch->is_alone = job->is_alone;
		decide(placer, job, is_brief);
		if (job->verdict == STATUS_NOT_FOUND && now_ms < job->give_up_ms) {
			wait_for_room(placer, job);
			continue;
		}
		if (job->verdict != STATUS_OK && job->verdict != STATUS_NOT_FOUND) {
			job_end(job, job->verdict);
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
			job_queue_add(placer, job);
		else
			wait_for_room(placer, job);
	}
}

/* What was decided ahead on what is no longer so is decided again. */
static void undecide(struct placer *placer)
{
	struct batch *next = placer->next;
	if (next != NULL && placer->is_stale) {
		for (struct job *job = next->jobs; job != NULL; job = job->next)
			unbook(placer, job);
		job_queue_put_back(placer, next->jobs);
		free(next);
		placer->next = NULL;
		forget_choices(placer);
	}
	placer->is_stale = false;
}

/* While a batch is written, the next one is decided, when many wait: fewer than that are better told in full, and
 * together. */
static bool may_decide_ahead(const struct placer *placer)
{
	return placer->queued >= BRIEF_FROM && (placer->next == NULL || goes_on(placer->next, placer->queue));
}

static void run(struct task *task)
{
	struct placer *placer = (struct placer *)(void *)((char *)task - offsetof(struct placer, later));
	placer->is_planned = false;
	if (placer->batch != NULL && !may_decide_ahead(placer))
		return;
	place_snapshot_advance(placer->snapshot, clock_wall_ms());
	if (placer->batch == NULL) {
		undecide(placer);
		wake(placer);
	}
	if (placer->next == NULL && (placer->next = calloc(1, sizeof(*placer->next))) == NULL)
		return; /* the next tick tries again */
	struct batch *batch = placer->next;
	if (batch->end == NULL)
		*batch = (struct batch){.placer = placer, .end = &batch->jobs};
	collect(placer, batch);
	if (placer->batch != NULL)
		return; /* it goes when that has ended */
	if (batch->count > 0 || placer->unfolded > 0) {
		submit_next(placer);
		return;
	}
	placer->next = NULL;
	forget_choices(placer);
	free(batch);
}

void batch_plan(struct placer *placer)
{
	bool has_work = placer->batch != NULL ? may_decide_ahead(placer)
										  : placer->queue != NULL || placer->next != NULL || placer->waiting != NULL ||
												placer->unfolded > 0;
	if (placer->is_planned || !placer->is_running || !has_work)
		return;
	placer->is_planned = true;
	placer->later.run = run;
	worker_post(state_worker(placer->state), &placer->later);
}
