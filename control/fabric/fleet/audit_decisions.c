/* Stored decisions against the audit. */
#include "control/fabric/fleet/audit_decisions.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/json.h"

enum { WAITS = -1 };

void decision_check_begin(struct decision_check *check, int64_t sealed)
{
	*check = (struct decision_check){.sealed = sealed};
}

void decision_check_free(struct decision_check *check)
{
	free(check->batches);
	buffer_free(&check->seal.lines);
	*check = (struct decision_check){0};
}

/* Ids longer than ours are nobody's, and cut. */
static void put_id(char *into, size_t room, struct text id)
{
	size_t length = id.length < room ? id.length : room;
	memcpy(into, id.length == 0 ? "" : id.bytes, length);
	into[length] = 0;
}

/* --- records */

static void close_batch(struct decision_check *check)
{
	struct decision_batch made = {.records = check->seal.records};
	if (check->open[0] == 0 || check->has_failed)
		return;
	memcpy(made.first, check->open, sizeof(made.first));
	check->open[0] = 0;
	if (check->count == check->room) {
		size_t room = check->room == 0 ? 64 : check->room * 2;
		struct decision_batch *more = realloc(check->batches, room * sizeof(*more));
		check->has_failed = more == NULL;
		check->batches = more == NULL ? check->batches : more;
		check->room = more == NULL ? check->room : room;
	}
	if (check->has_failed || decision_seal_end(&check->seal, made.digest) != STATUS_OK)
		check->has_failed = true;
	else
		check->batches[check->count++] = made;
}

void decision_check_record(struct decision_check *check, struct text id, struct text body)
{
	if (!decision_seal_is_same(text_of(check->open), id))
		close_batch(check);
	if (check->open[0] == 0)
		put_id(check->open, ID_LENGTH, id);
	decision_seal_add(&check->seal, id, body);
}

static int by_first(const void *key, const void *batch)
{
	return memcmp(key, ((const struct decision_batch *)batch)->first, DECISION_BATCH);
}

static struct decision_batch *find_batch(const struct decision_check *check, struct text id)
{
	if (check->count == 0)
		return NULL;
	return bsearch(id.bytes, check->batches, check->count, sizeof(*check->batches), by_first);
}

/* --- entries */

struct entry {
	struct text first, last, digest;
	int64_t records;
};

static const char *judge(const struct decision_batch *batch, const struct entry *entry)
{
	if (batch->records < entry->records)
		return "lack a record";
	if (batch->records > entry->records)
		return "have a record that was not decided";
	return text_equals(text_of(batch->digest), entry->digest) ? NULL : "have been changed";
}

static void take_decided(struct decision_check *check, int64_t sequence, const struct entry *entry)
{
	if (entry->first.length < ID_LENGTH || check->has_failed)
		return;
	if (check->oldest[0] == 0 || memcmp(entry->first.bytes, check->oldest, ID_LENGTH) < 0)
		put_id(check->oldest, ID_LENGTH, text_slice(entry->first, 0, ID_LENGTH));
	struct decision_batch *batch = find_batch(check, entry->first);
	if (batch != NULL) {
		batch->entry = sequence == 0 ? WAITS : sequence;
		batch->why = judge(batch, entry);
		return;
	}
	if (sequence == 0 || sequence > check->sealed)
		return; /* it may have come after the records were read */
	check->dropped++;
	if (check->missing.why != NULL && memcmp(entry->first.bytes, check->missing.first, ID_LENGTH) <= 0)
		return;
	check->missing.entry = sequence;
	check->missing.why = "are missing";
	put_id(check->missing.first, DECISION_ID_MAX, entry->first);
	put_id(check->missing.last, DECISION_ID_MAX, entry->last);
}

static void take_dropped(struct decision_check *check, struct text up_to)
{
	if (up_to.length == ID_LENGTH && memcmp(up_to.bytes, check->horizon, ID_LENGTH) > 0)
		put_id(check->horizon, ID_LENGTH, up_to);
}

void decision_check_entry(struct decision_check *check, int64_t sequence, struct text body)
{
	static const char hint[] = "\"what\":\"placement.";
	struct json *root = NULL;
	struct entry entry = {.records = 0};
	close_batch(check);
	if (memmem(body.bytes, body.length, hint, sizeof(hint) - 1) == NULL)
		return;
	if (json_parse(body, NULL, &root) != STATUS_OK)
		return; /* the chain says what is wrong with it */
	entry.first = json_member_text(root, "first");
	entry.last = json_member_text(root, "last");
	entry.digest = json_member_text(root, "digest");
	if (text_equals(json_member_text(root, "what"), TEXT(DECISION_ENTRY)) &&
		json_integer(json_member(root, "records"), &entry.records))
		take_decided(check, sequence, &entry);
	if (text_equals(json_member_text(root, "what"), TEXT(DECISION_ENTRY_DROPPED)))
		take_dropped(check, json_member_text(root, "upTo"));
	json_free(root);
}

/* --- the end */

static bool is_dropped(const struct decision_check *check, const char *first)
{
	return check->horizon[0] != 0 && memcmp(first, check->horizon, DECISION_BATCH) <= 0;
}

/* What earlier versions wrote is older than all that the audit tells of, and goes before it. */
static bool is_outside(const struct decision_check *check, const struct decision_batch *batch)
{
	return !is_dropped(check, batch->first) &&
		   (check->oldest[0] == 0 || memcmp(batch->first, check->oldest, DECISION_BATCH) < 0);
}

static void end_batch(struct decision_check *check, struct decision_batch *batch)
{
	if (batch->entry == 0 && is_outside(check, batch)) {
		check->outside++;
		return;
	}
	if (batch->entry != 0 && batch->why != NULL && is_dropped(check, batch->first)) {
		check->dropped++; /* let go while it was read */
		return;
	}
	if (batch->entry == 0)
		batch->why = "are in no entry of the audit";
	check->whole += batch->why == NULL;
	if (batch->why == NULL || check->fault.why != NULL)
		return;
	check->fault.entry = batch->entry > 0 ? batch->entry : 0;
	check->fault.why = batch->why;
	put_id(check->fault.first, ID_LENGTH, text_of(batch->first));
}

void decision_check_end(struct decision_check *check)
{
	close_batch(check);
	for (size_t i = 0; i < check->count; i++)
		end_batch(check, &check->batches[i]);
	if (check->missing.why == NULL || is_dropped(check, check->missing.first))
		return;
	check->dropped--;
	if (check->fault.why == NULL || memcmp(check->missing.first, check->fault.first, DECISION_BATCH) < 0)
		check->fault = check->missing;
}
