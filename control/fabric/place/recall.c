/* Records are read from the one with the last image on, up to those of the decision's time. */
#include "control/fabric/place/recall.h"

#include <stdlib.h>
#include <string.h>

#include "control/fabric/place/journal.h"
#include "control/fabric/place/snapshot.h"
#include "server/base/id.h"
#include "tenants/jose/jws.h"

enum { PAGE = 64, TIME_DIGITS = 12, HEAD_MAX = 256, SEGMENTS_MAX = 65536 };

/* Changes, in the order of their versions. */
struct piece {
	struct piece *next;
	uint64_t from, to;
	struct text bytes; /* behind it */
};

struct recall {
	struct state *state;
	int64_t process;
	struct journal_target target;
	uint64_t image_at;
	char time[TIME_DIGITS + 1]; /* of the decision's record */
	struct piece *image, *changes;
	size_t count;
	enum status status;
	void (*done)(void *context, enum status status, struct place_snapshot *snapshot);
	void *context;
};

static void pieces_free(struct piece *piece)
{
	while (piece != NULL) {
		struct piece *next = piece->next;
		free(piece);
		piece = next;
	}
}

/* NULL: no base64url, or out of memory. */
static struct piece *piece_new(struct text encoded, uint64_t from, uint64_t to)
{
	struct piece *made = encoded.bytes == NULL ? NULL : malloc(sizeof(*made) + encoded.length + 1);
	size_t length = 0;
	if (made == NULL || base64url_decode(encoded, (uint8_t *)(made + 1), encoded.length, &length) != STATUS_OK) {
		free(made);
		return NULL;
	}
	*made = (struct piece){NULL, from, to, {(const char *)(made + 1), length}};
	return made;
}

/* Those that the image makes needless go. */
static void take_image(struct recall *recall, struct text encoded, uint64_t at)
{
	if (at > recall->target.version || (recall->image != NULL && at <= recall->image_at))
		return;
	struct piece *made = piece_new(encoded, at, at);
	if (made == NULL)
		return;
	free(recall->image);
	recall->image = made;
	recall->image_at = at;
	for (struct piece **piece = &recall->changes; *piece != NULL;) {
		struct piece *old = *piece;
		if (old->to >= at) {
			piece = &old->next;
			continue;
		}
		*piece = old->next;
		free(old);
		recall->count--;
	}
}

static void take_changes(struct recall *recall, struct text encoded, uint64_t from, uint64_t to)
{
	if (from > recall->target.version || (recall->image != NULL && to < recall->image_at) ||
		recall->count == SEGMENTS_MAX)
		return;
	struct piece *made = piece_new(encoded, from, to), **at = &recall->changes;
	if (made == NULL)
		return;
	while (*at != NULL && (*at)->from <= from)
		at = &(*at)->next;
	made->next = *at;
	*at = made;
	recall->count++;
}

static bool read_version(const struct json *segment, const char *name, uint64_t *version)
{
	int64_t number;
	bool is_read = json_integer(json_member(segment, name), &number) && number >= 0;
	if (is_read)
		*version = (uint64_t)number;
	return is_read;
}

static void take_segment(struct recall *recall, const struct json *segment)
{
	uint64_t from = 0, to = 0;
	if (read_version(segment, "at", &from))
		take_image(recall, json_member_text(segment, "image"), from);
	else if (read_version(segment, "from", &from) && read_version(segment, "to", &to) && from <= to)
		take_changes(recall, json_member_text(segment, "changes"), from, to);
}

/* Most records have none: they are not made a tree of. */
static void take_record(struct recall *recall, struct text body)
{
	static const struct json_limits limits = {.bytes = (size_t)64 * 1024 * 1024, .depth = 64, .nodes = 4000000};
	static const char word[] = "\"journal\":[";
	struct json *root = NULL;
	int64_t process = 0;
	size_t head = body.length < HEAD_MAX ? body.length : HEAD_MAX;
	if (memmem(body.bytes, head, word, sizeof(word) - 1) == NULL || json_parse(body, &limits, &root) != STATUS_OK)
		return;
	const struct json *journal = json_member(root, "journal");
	if (json_integer(json_member(root, "process"), &process) && process == recall->process) {
		for (const struct json *segment = json_first(journal); segment != NULL; segment = json_next(segment))
			take_segment(recall, segment);
	}
	json_free(root);
}

/* --- the end */

static enum status make(struct recall *recall, struct place_snapshot **snapshot)
{
	struct place_snapshot *made = NULL;
	if (recall->image == NULL)
		return STATUS_NOT_FOUND;
	enum status status = image_parse(recall->image->bytes, &made);
	if (status != STATUS_OK)
		return status == STATUS_INVALID ? STATUS_NOT_FOUND : status;
	made->version = recall->image_at;
	for (const struct piece *piece = recall->changes; piece != NULL && status == STATUS_OK; piece = piece->next)
		status = journal_apply(made, piece->bytes, piece->from, piece->to, &recall->target);
	if (status == STATUS_INVALID || (status == STATUS_OK && !recall->target.is_met))
		status = STATUS_NOT_FOUND;
	if (status == STATUS_OK)
		*snapshot = made;
	else
		place_snapshot_free(made);
	return status;
}

static void end(struct recall *recall, enum status status)
{
	struct place_snapshot *snapshot = NULL;
	if (status == STATUS_OK)
		status = make(recall, &snapshot);
	recall->done(recall->context, status, snapshot);
	pieces_free(recall->image);
	pieces_free(recall->changes);
	free(recall);
}

static void on_page(void *context, enum status status, const struct record *records, size_t count)
{
	struct recall *recall = context;
	bool is_over = count < PAGE;
	for (size_t i = 0; i < count && !is_over; i++)
		is_over = records[i].id.length < TIME_DIGITS || memcmp(records[i].id.bytes, recall->time, TIME_DIGITS) > 0;
	for (size_t i = 0; i < count; i++) {
		if (records[i].id.length >= TIME_DIGITS && memcmp(records[i].id.bytes, recall->time, TIME_DIGITS) <= 0)
			take_record(recall, records[i].body);
	}
	if (status != STATUS_OK || is_over)
		end(recall, status);
	else
		store_list(state_store(recall->state), TEXT(""), RECORD_DECISION, records[count - 1].id, PAGE,
			state_worker(recall->state), on_page, recall);
}

void recall(struct state *state, const struct recall_wish *wish,
	void (*done)(void *context, enum status status, struct place_snapshot *snapshot), void *context)
{
	struct recall *made = calloc(1, sizeof(*made));
	struct text first = wish->base.bytes == NULL ? wish->record : wish->base;
	if (made == NULL || wish->record.length != ID_LENGTH || first.length != ID_LENGTH) {
		done(context, made == NULL ? STATUS_NO_MEMORY : STATUS_NOT_FOUND, NULL);
		free(made);
		return;
	}
	made->state = state;
	made->process = wish->process;
	made->target = (struct journal_target){wish->version, wish->requests, wish->count, false};
	memcpy(made->time, wish->record.bytes, TIME_DIGITS);
	made->done = done;
	made->context = context;
	/* what comes after the time alone is of that time or later: those of one commit are in no order */
	store_list(state_store(state), TEXT(""), RECORD_DECISION, text_slice(first, 0, TIME_DIGITS), PAGE,
		state_worker(state), on_page, made);
}
