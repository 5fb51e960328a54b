/* One commit's reads and writes in memory. */
#include "tenants/store/postgres_batch.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

bool batch_takes(const struct change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (changes[i].kind == CHANGE_DELETE_CTX ||
			(changes[i].kind == CHANGE_DELETE && changes[i].record == RECORD_PARTICIPANT))
			return false;
	}
	return true;
}

/* --- what is known */

static uint64_t hash_of(struct text ctx, enum record_kind kind, struct text id)
{
	return text_hash(id) ^ (uint64_t)(kind + (id.bytes == NULL ? 64 : 0)) * 0x9e3779b97f4a7c15U ^
		   text_hash(ctx) * 0xbf58476d1ce4e5b9U;
}

static bool is_same(const struct batch_known *known, struct text ctx, enum record_kind kind, struct text id)
{
	return known->kind == kind && (known->id.bytes == NULL) == (id.bytes == NULL) && text_equals(known->id, id) &&
		   text_equals(known->ctx, ctx);
}

struct batch_known *batch_find(struct batch *batch, struct text ctx, enum record_kind kind, struct text id)
{
	if (batch->table_room == 0)
		return NULL;
	uint32_t mask = batch->table_room - 1, at = (uint32_t)hash_of(ctx, kind, id) & mask;
	for (; batch->table[at] != 0; at = (at + 1) & mask) {
		struct batch_known *known = &batch->known[batch->table[at] - 1];
		if (is_same(known, ctx, kind, id))
			return known;
	}
	return NULL;
}

static void enter(struct batch *batch, uint32_t index)
{
	const struct batch_known *known = &batch->known[index];
	uint32_t mask = batch->table_room - 1, at = (uint32_t)hash_of(known->ctx, known->kind, known->id) & mask;
	while (batch->table[at] != 0)
		at = (at + 1) & mask;
	batch->table[at] = index + 1;
}

/* Room for one more of `size` bytes. */
static bool grow(void **items, uint32_t count, uint32_t *room, size_t size)
{
	if (count < *room)
		return true;
	uint32_t wider = *room == 0 ? 256 : *room * 2;
	void *more = realloc(*items, wider * size);
	if (more == NULL)
		return false;
	*items = more;
	*room = wider;
	return true;
}

static bool grow_table(struct batch *batch)
{
	if (batch->known_count * 2 < batch->table_room)
		return true;
	uint32_t room = batch->table_room == 0 ? 512 : batch->table_room * 2;
	uint32_t *table = calloc(room, sizeof(*table));
	if (table == NULL)
		return false;
	free(batch->table);
	batch->table = table;
	batch->table_room = room;
	for (uint32_t i = 0; i < batch->known_count; i++)
		enter(batch, i);
	return true;
}

static bool want(struct batch *batch, struct text ctx, enum record_kind kind, struct text id)
{
	if (batch_find(batch, ctx, kind, id) != NULL)
		return true;
	if (!grow((void **)&batch->known, batch->known_count, &batch->known_room, sizeof(*batch->known)) ||
		!grow_table(batch))
		return false;
	batch->known[batch->known_count] = (struct batch_known){.ctx = ctx, .id = id, .kind = kind};
	enter(batch, batch->known_count++);
	return true;
}

bool batch_gather(struct batch *batch, const struct change *changes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct change *change = &changes[i];
		if (!want(batch, change->ctx, change->record, change->id) ||
			(change->ctx.length > 0 && !want(batch, change->ctx, RECORD_PARTICIPANT, TEXT_NONE)))
			return false;
	}
	return true;
}

/* --- applying */

static bool set(struct batch *batch, struct batch_known *known, int64_t revision, uint32_t write)
{
	if (!grow((void **)&batch->undo, batch->undo_count, &batch->undo_room, sizeof(*batch->undo)))
		return false;
	batch->undo[batch->undo_count++] =
		(struct batch_undo){(uint32_t)(known - batch->known), known->write, known->revision};
	known->revision = revision;
	known->write = write;
	return true;
}

static bool write(
	struct batch *batch, struct batch_known *known, const struct change *change, int64_t revision, bool is_drop)
{
	if (!grow((void **)&batch->writes, batch->write_count, &batch->write_room, sizeof(*batch->writes)))
		return false;
	batch->writes[batch->write_count++] =
		(struct batch_write){change, (uint32_t)(known - batch->known), revision, is_drop};
	return set(batch, known, change->kind == CHANGE_PUT ? revision : 0, batch->write_count);
}

/* What is told of, and written. */
static enum status write_told(struct batch *batch, struct batch_known *known, const struct change *change,
	int64_t *written, record_visit *visit, void *context, int64_t *revision)
{
	struct record record = {.ctx = change->ctx,
		.kind = change->record,
		.id = change->id,
		.revision = ++*written,
		.body = change->kind == CHANGE_PUT ? change->body : TEXT_NONE};
	bool is_drop = change->kind == CHANGE_DELETE && record_kind_passes(change->record);
	*revision = record.revision;
	return write(batch, known, change, record.revision, is_drop) && visit(context, &record) ? STATUS_OK
																							: STATUS_NO_MEMORY;
}

static enum status apply_one(struct batch *batch, const struct change *change, int64_t *written, record_visit *visit,
	void *context, int64_t *revision)
{
	struct batch_known *known = batch_find(batch, change->ctx, change->record, change->id);
	struct batch_known *owner =
		change->ctx.length == 0 ? NULL : batch_find(batch, change->ctx, RECORD_PARTICIPANT, TEXT_NONE);
	bool has_owner = owner != NULL && owner->revision != 0;
	if (change->kind == CHANGE_DELETE && !record_kind_is_loaded(change->record))
		return write(batch, known, change, 0, true) ? STATUS_OK : STATUS_NO_MEMORY;
	if (change->kind == CHANGE_DELETE && record_kind_passes(change->record))
		return write_told(batch, known, change, written, visit, context, revision);
	enum status status = change_judge(change, known->revision != 0, known->revision, has_owner);
	if (status != STATUS_OK || change->kind == CHANGE_EXPECT)
		return status;
	if (change->record == RECORD_PARTICIPANT && owner != NULL && !set(batch, owner, 1, owner->write))
		return STATUS_NO_MEMORY;
	return write_told(batch, known, change, written, visit, context, revision);
}

enum status batch_apply(struct batch *batch, const struct change *changes, size_t count, int64_t *written,
	record_visit *visit, void *context, int64_t *revision)
{
	int64_t before = *written;
	uint32_t writes = batch->write_count;
	enum status status = STATUS_OK;
	batch->undo_count = 0;
	for (size_t i = 0; i < count && status == STATUS_OK; i++)
		status = apply_one(batch, &changes[i], written, visit, context, revision);
	if (status == STATUS_OK)
		return status;
	while (batch->undo_count > 0) {
		const struct batch_undo *undo = &batch->undo[--batch->undo_count];
		batch->known[undo->known].revision = undo->revision;
		batch->known[undo->known].write = undo->write;
	}
	batch->write_count = writes;
	*written = before;
	return status;
}

void batch_clear(struct batch *batch)
{
	batch->is_gathered = false;
	batch->known_count = batch->write_count = batch->undo_count = 0;
	if (batch->table != NULL)
		memset(batch->table, 0, batch->table_room * sizeof(*batch->table));
}

void batch_free(struct batch *batch)
{
	free(batch->known);
	free(batch->table);
	free(batch->writes);
	free(batch->undo);
	*batch = (struct batch){0};
}

/* --- arrays */

static void put_32(struct buffer *into, uint32_t number)
{
	uint32_t wire = htonl(number);
	buffer_append(into, (struct text){(const char *)&wire, sizeof(wire)});
}

void array_begin(struct buffer *into, uint32_t element_type, uint32_t count)
{
	put_32(into, 1); /* dimensions */
	put_32(into, 1); /* there may be NULLs */
	put_32(into, element_type);
	put_32(into, count);
	put_32(into, 1); /* indexes begin with 1 */
}

void array_text(struct buffer *into, struct text text)
{
	put_32(into, text.bytes == NULL ? UINT32_MAX : (uint32_t)text.length);
	buffer_append(into, text);
}

void array_number(struct buffer *into, int64_t number)
{
	put_32(into, sizeof(number));
	put_32(into, (uint32_t)((uint64_t)number >> 32));
	put_32(into, (uint32_t)number);
}
