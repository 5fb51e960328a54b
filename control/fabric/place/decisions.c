/* Decisions as records, and their end. */
#include <stdio.h>
#include <stdlib.h>

#include "control/fabric/place/placer_private.h"
#include "control/fabric/place/request.h"
#include "server/base/clock.h"
#include "server/base/log.h"

enum { KEEP_RECORDS = 100000, MILESTONE = 1000, PRUNE_PAGE = 256, PRUNE_TICKS = 60, TIME_DIGITS = 12 };
#define KEEP_MS (30LL * 24 * 3600 * 1000)

/* --- writing */

/* Ids grow with time, so that the oldest come first. */
static void make_id(int64_t now_ms, char into[ID_LENGTH + 1])
{
	char time[TIME_DIGITS + 1];
	id_random(into);
	snprintf(time, sizeof(time), "%012llx", (unsigned long long)now_ms & 0xffffffffffffU);
	memcpy(into, time, TIME_DIGITS);
}

static void print_job(const struct placer *placer, const struct job *job, struct buffer *into)
{
	buffer_append(into, TEXT("{\"requests\":["));
	for (size_t i = 0; i < job->placement.count; i++) {
		buffer_append(into, i == 0 ? TEXT("") : TEXT(","));
		buffer_append(into, place_request_text(job->requests[i]));
	}
	buffer_append(into, TEXT("],\"chosen\":["));
	for (size_t i = 0; job->verdict == STATUS_OK && i < job->placement.count; i++) {
		buffer_append(into, i == 0 ? TEXT("") : TEXT(","));
		buffer_append_json(into, text_of(place_snapshot_cell(placer->snapshot, job->slots[i])));
	}
	buffer_append(into, TEXT("],\"explain\":"));
	buffer_append(into, buffer_text(&job->explain));
	if (job->line.length > 0) {
		buffer_append(into, TEXT(",\"line\":"));
		buffer_append_json(into, buffer_text(&job->line));
	}
	buffer_append_byte(into, '}');
}

/* "<record>-<index>" */
static void name_decision(struct job *job, const char *id, unsigned index)
{
	memcpy(job->decision, id, ID_LENGTH);
	snprintf(job->decision + ID_LENGTH, sizeof(job->decision) - ID_LENGTH, "-%u", index);
}

bool decisions_add(struct batch *batch, struct transaction *transaction)
{
	struct buffer body = {0};
	char id[ID_LENGTH + 1];
	int64_t now_ms = clock_wall_ms();
	bool is_added = true;
	unsigned index = 0;
	for (struct job *job = batch->jobs; job != NULL && is_added; job = job->next) {
		if (index == 0) {
			make_id(now_ms, id);
			buffer_clear(&body);
			buffer_printf(&body, "{\"at\":%lld,", (long long)now_ms);
			journal_print(batch->placer->journal, batch->placer->process, id, job == batch->jobs, &body);
			buffer_append(&body, TEXT("\"decisions\":["));
		}
		buffer_append(&body, index == 0 ? TEXT("") : TEXT(","));
		print_job(batch->placer, job, &body);
		name_decision(job, id, index++);
		if (index < DECISION_JOBS && job->next != NULL)
			continue;
		buffer_append(&body, TEXT("]}"));
		is_added =
			!body.failed && state_put(transaction, RECORD_DECISION, text_of(id), buffer_text(&body), REVISION_ABSENT);
		pruning_count(batch->placer, id);
		index = 0;
	}
	buffer_free(&body);
	return is_added;
}

/* --- pruning: after a time, and what lies behind so many newer ones of this process */

struct pruning {
	char milestones[KEEP_RECORDS / MILESTONE][ID_LENGTH + 1]; /* the id of every thousandth record: a ring */
	uint64_t written;
	unsigned ticks;
	bool is_busy;
	struct placer *placer;
};

enum status pruning_open(struct placer *placer)
{
	placer->pruning = calloc(1, sizeof(*placer->pruning));
	if (placer->pruning == NULL)
		return STATUS_NO_MEMORY;
	placer->pruning->placer = placer;
	return STATUS_OK;
}

void pruning_free(struct placer *placer)
{
	free(placer->pruning);
}

void pruning_count(struct placer *placer, const char *record)
{
	struct pruning *pruning = placer->pruning;
	uint64_t ring = sizeof(pruning->milestones) / sizeof(pruning->milestones[0]);
	if (pruning->written % MILESTONE == 0)
		memcpy(pruning->milestones[pruning->written / MILESTONE % ring], record, ID_LENGTH + 1);
	pruning->written++;
}

/* Records before this id may go. */
static void find_horizon(const struct pruning *pruning, char horizon[ID_LENGTH + 1])
{
	uint64_t ring = sizeof(pruning->milestones) / sizeof(pruning->milestones[0]);
	make_id(clock_wall_ms() - KEEP_MS, horizon);
	if (pruning->written <= KEEP_RECORDS)
		return;
	/* the next to be overwritten is the oldest there is */
	const char *oldest = pruning->milestones[((pruning->written - 1) / MILESTONE + 1) % ring];
	if (strcmp(oldest, horizon) > 0)
		memcpy(horizon, oldest, ID_LENGTH + 1);
}

static void on_pruned(void *context, enum status status, int64_t revision)
{
	struct pruning *pruning = context;
	(void)revision;
	pruning->is_busy = false;
	if (status == STATUS_OK)
		pruning->ticks = PRUNE_TICKS; /* there may be more */
}

static void on_listed(void *context, enum status status, const struct record *records, size_t count)
{
	struct pruning *pruning = context;
	struct placer *placer = pruning->placer;
	char horizon[ID_LENGTH + 1];
	size_t old = 0;
	struct transaction *transaction = transaction_new();
	find_horizon(pruning, horizon);
	for (; status == STATUS_OK && transaction != NULL && old < count; old++) {
		struct text id = records[old].id;
		if (id.length != ID_LENGTH || memcmp(id.bytes, horizon, ID_LENGTH) >= 0 ||
			!state_delete(transaction, RECORD_DECISION, id, REVISION_ANY))
			break;
	}
	if (old > 0) {
		state_submit(placer->state, transaction, on_pruned, pruning);
		return;
	}
	transaction_free(transaction);
	pruning->is_busy = false;
}

void pruning_tick(struct placer *placer)
{
	struct pruning *pruning = placer->pruning;
	if (pruning->is_busy || ++pruning->ticks < PRUNE_TICKS)
		return;
	pruning->ticks = 0;
	pruning->is_busy = true;
	store_list(state_store(placer->state), TEXT(""), RECORD_DECISION, TEXT_NONE, PRUNE_PAGE,
		state_worker(placer->state), on_listed, pruning);
}
