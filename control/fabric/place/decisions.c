/* Decisions as records, and their end. */
#include <stdio.h>
#include <stdlib.h>

#include "control/fabric/audit_entry.h"
#include "control/fabric/place/decision_seal.h"
#include "control/fabric/place/placer_private.h"
#include "control/fabric/place/request.h"
#include "server/base/clock.h"
#include "server/base/log.h"

enum {
	KEEP_RECORDS = 100000,
	MILESTONE = 1000,
	PRUNE_PAGE = 256,
	PRUNE_TICKS = 60,
	TIME_DIGITS = 12,
	NUMBER_DIGITS = 4
};
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

/* Of one commit all begin alike, and follow each other. */
static void number_id(char id[ID_LENGTH + 1], unsigned number)
{
	char digits[NUMBER_DIGITS + 1];
	snprintf(digits, sizeof(digits), "%04x", number & 0xffffU);
	memcpy(id + DECISION_BATCH, digits, NUMBER_DIGITS);
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

/* The records of a batch, as they are written. */
struct writing {
	struct batch *batch;
	struct transaction *transaction;
	struct decision_seal seal;
	char id[ID_LENGTH + 1]; /* of the record that is open */
	struct buffer body;     /* its beginning */
	unsigned index;         /* of the next decision in it */
	size_t count;           /* of all decisions */
};

static void begin_record(struct writing *writing, int64_t now_ms)
{
	number_id(writing->id, writing->seal.records);
	buffer_clear(&writing->body);
	buffer_printf(&writing->body, "{\"at\":%lld,", (long long)now_ms);
	journal_print(writing->batch->placer->journal, writing->batch->placer->process, writing->id,
		writing->seal.records == 0, &writing->body);
	buffer_append(&writing->body, TEXT("\"decisions\":["));
}

static bool end_record(struct writing *writing)
{
	buffer_append(&writing->body, TEXT("]}"));
	bool is_put = !writing->body.failed && state_put(writing->transaction, RECORD_DECISION, text_of(writing->id),
											   buffer_text(&writing->body), REVISION_ABSENT);
	decision_seal_add(&writing->seal, text_of(writing->id), buffer_text(&writing->body));
	pruning_count(writing->batch->placer, writing->id);
	writing->index = 0;
	return is_put;
}

/* In the audit, of the same commit. */
static bool put_seal(struct writing *writing, const char *last)
{
	struct buffer members = {0};
	char digest[DIGEST_HEX + 1];
	unsigned records = writing->seal.records;
	bool is_put = decision_seal_end(&writing->seal, digest) == STATUS_OK;
	buffer_printf(&members,
		"\"cell\":\"\",\"first\":\"%s\",\"last\":\"%s\",\"decisions\":%zu,\"records\":%u,\"digest\":\"%s\"",
		writing->batch->jobs->decision, last, writing->count, records, digest);
	is_put =
		is_put && !members.failed && audit_add_members(writing->transaction, DECISION_ENTRY, buffer_text(&members));
	buffer_free(&members);
	return is_put;
}

bool decisions_add(struct batch *batch, struct transaction *transaction)
{
	struct writing writing = {.batch = batch, .transaction = transaction};
	int64_t now_ms = clock_wall_ms();
	const char *last = NULL;
	bool is_added = true;
	make_id(now_ms, writing.id);
	for (struct job *job = batch->jobs; job != NULL && is_added; job = job->next) {
		if (writing.index == 0)
			begin_record(&writing, now_ms);
		buffer_append(&writing.body, writing.index == 0 ? TEXT("") : TEXT(","));
		print_job(batch->placer, job, &writing.body);
		name_decision(job, writing.id, writing.index++);
		last = job->decision;
		writing.count++;
		if (writing.index == DECISION_JOBS || job->next == NULL)
			is_added = end_record(&writing);
	}
	is_added = is_added && (last == NULL || put_seal(&writing, last));
	buffer_free(&writing.body);
	buffer_free(&writing.seal.lines);
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

/* How many of these may go: whole commits, so that what is kept can still be held against the audit. */
static size_t count_old(const struct pruning *pruning, const struct record *records, size_t count)
{
	char horizon[ID_LENGTH + 1];
	size_t old = 0;
	find_horizon(pruning, horizon);
	while (old < count && records[old].id.length == ID_LENGTH && memcmp(records[old].id.bytes, horizon, ID_LENGTH) < 0)
		old++;
	/* a full page may end within a commit, as the horizon may */
	struct text next = old < count ? records[old].id : count == PRUNE_PAGE ? records[count - 1].id : TEXT_NONE;
	while (old > 0 && decision_seal_is_same(records[old - 1].id, next))
		old--;
	return old;
}

/* NULL: out of memory. */
static struct transaction *drop(const struct record *records, size_t count)
{
	struct transaction *transaction = transaction_new();
	struct buffer members = {0};
	buffer_printf(&members, "\"cell\":\"\",\"upTo\":\"%.*s\"", TEXT_ARGUMENTS(records[count - 1].id));
	bool is_made = transaction != NULL && !members.failed &&
				   audit_add_members(transaction, DECISION_ENTRY_DROPPED, buffer_text(&members));
	for (size_t i = 0; i < count && is_made; i++)
		is_made = state_delete(transaction, RECORD_DECISION, records[i].id, REVISION_ANY);
	buffer_free(&members);
	if (is_made)
		return transaction;
	transaction_free(transaction);
	return NULL;
}

static void on_listed(void *context, enum status status, const struct record *records, size_t count)
{
	struct pruning *pruning = context;
	size_t old = status == STATUS_OK ? count_old(pruning, records, count) : 0;
	struct transaction *transaction = old == 0 ? NULL : drop(records, old);
	if (transaction != NULL)
		state_submit(pruning->placer->state, transaction, on_pruned, pruning);
	else
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
