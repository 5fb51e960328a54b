/* One commit's reads and writes in memory. */
#include "tenants/store/postgres_batch.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

bool batch_takes(const struct changes *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		const struct change *change = &changes->items[i];
		if (change->kind == CHANGE_DELETE_CTX ||
			(change->kind == CHANGE_DELETE && change->record == RECORD_PARTICIPANT))
			return false;
	}
	return true;
}

/* --- what is known */

static bool is_same(const struct batch_known *known, struct text ctx, enum record_kind kind, struct text id)
{
	return known->kind == kind && (known->id.bytes == NULL) == (id.bytes == NULL) && text_equals(known->id, id) &&
		   text_equals(known->ctx, ctx);
}

static struct batch_known *find(struct batch *batch, struct text ctx, enum record_kind kind, struct text id)
{
	if (batch->table_room == 0)
		return NULL;
	uint32_t mask = batch->table_room - 1, at = (uint32_t)record_hash(ctx, kind, id) & mask;
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
	uint32_t mask = batch->table_room - 1, at = (uint32_t)record_hash(known->ctx, known->kind, known->id) & mask;
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

/* NULL: out of memory. Once only. */
static struct batch_known *want(struct batch *batch, struct text ctx, enum record_kind kind, struct text id)
{
	struct batch_known *known = find(batch, ctx, kind, id);
	if (known != NULL)
		return known;
	if (!grow((void **)&batch->known, batch->known_count, &batch->known_room, sizeof(*batch->known)) ||
		!grow_table(batch))
		return NULL;
	batch->known[batch->known_count] = (struct batch_known){.ctx = ctx, .id = id, .kind = kind};
	enter(batch, batch->known_count);
	return &batch->known[batch->known_count++];
}

/* The ids of participants are all the same, as tenants/cp makes them; one of another id is found by asking. */
static bool want_owner(struct batch *batch, struct text ctx, const struct memory *memory)
{
	struct batch_known *owner = want(batch, ctx, RECORD_PARTICIPANT, TEXT_NONE);
	if (owner == NULL)
		return false;
	if (owner->revision != 0 || owner->is_asked)
		return true;
	owner->revision = memory_revision(memory, ctx, RECORD_PARTICIPANT, TEXT("participant"));
	owner->is_asked = owner->revision == 0;
	return true;
}

static bool leaves_no_trace(const struct change *change)
{
	return change->kind == CHANGE_DELETE &&
		   (record_kind_passes(change->record) || !record_kind_is_loaded(change->record));
}

/* Must the server say what there is, before the change can be judged? */
static bool must_ask(const struct change *change, int64_t remembered, bool is_doubtful)
{
	if (leaves_no_trace(change))
		return false;
	if (change->expected > 0)
		return remembered != change->expected; /* refusing is the server's */
	if (change->kind == CHANGE_PUT)
		return change->expected == REVISION_ABSENT && (is_doubtful || remembered != 0);
	return change->kind == CHANGE_EXPECT || remembered == 0;
}

bool batch_gather(struct batch *batch, const struct changes *changes, const struct memory *memory, bool is_doubtful)
{
	for (size_t i = 0; i < changes->count; i++) {
		const struct change *change = &changes->items[i];
		struct batch_known *known = want(batch, change->ctx, change->record, change->id);
		if (known == NULL)
			return false;
		if (known->revision == 0)
			known->revision = memory_revision(memory, change->ctx, change->record, change->id);
		known->is_new = known->is_new || (change->kind == CHANGE_PUT && change->expected == REVISION_ABSENT);
		known->is_dropped = known->is_dropped || leaves_no_trace(change);
		known->is_asked =
			known->is_asked || must_ask(change, known->revision, is_doubtful) || (known->is_new && known->is_dropped);
		if (change->ctx.length > 0 && !want_owner(batch, change->ctx, memory))
			return false;
	}
	return true;
}

/* --- applying */

void batch_save(struct batch *batch)
{
	batch->undo_count = 0;
	batch->undo_writes = batch->write_count;
}

void batch_undo(struct batch *batch)
{
	while (batch->undo_count > 0) {
		const struct batch_undo *undo = &batch->undo[--batch->undo_count];
		batch->known[undo->known].revision = undo->revision;
		batch->known[undo->known].write = undo->write;
	}
	batch->write_count = batch->undo_writes;
}

void batch_judge(struct batch *batch, const struct change *change, struct found *found)
{
	const struct batch_known *known = find(batch, change->ctx, change->record, change->id);
	const struct batch_known *owner =
		change->ctx.length == 0 ? NULL : find(batch, change->ctx, RECORD_PARTICIPANT, TEXT_NONE);
	*found = (struct found){.revision = known->revision, .has_owner = owner != NULL && owner->revision != 0};
}

static bool set(struct batch *batch, struct batch_known *known, int64_t revision, uint32_t last)
{
	if (!grow((void **)&batch->undo, batch->undo_count, &batch->undo_room, sizeof(*batch->undo)))
		return false;
	batch->undo[batch->undo_count++] =
		(struct batch_undo){(uint32_t)(known - batch->known), known->write, known->revision};
	known->revision = revision;
	known->write = last;
	return true;
}

static bool add_write(struct batch *batch, struct batch_known *known, struct batch_write write)
{
	if (!grow((void **)&batch->writes, batch->write_count, &batch->write_room, sizeof(*batch->writes)))
		return false;
	write.known = (uint32_t)(known - batch->known);
	batch->writes[batch->write_count++] = write;
	return set(batch, known, write.body.bytes == NULL ? 0 : write.revision, batch->write_count);
}

bool batch_write(struct batch *batch, const struct record *record)
{
	struct batch_known *owner = record->kind == RECORD_PARTICIPANT && record->ctx.length > 0
									? find(batch, record->ctx, RECORD_PARTICIPANT, TEXT_NONE)
									: NULL;
	return add_write(batch, find(batch, record->ctx, record->kind, record->id),
			   (struct batch_write){.body = record->body, .revision = record->revision}) &&
		   (owner == NULL || set(batch, owner, record->revision, owner->write));
}

bool batch_remove(struct batch *batch, struct text ctx, enum record_kind kind, struct text id)
{
	return add_write(batch, find(batch, ctx, kind, id), (struct batch_write){.is_drop = true});
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

static void put_16(struct buffer *into, uint16_t number)
{
	uint16_t wire = htons(number);
	buffer_append(into, (struct text){(const char *)&wire, sizeof(wire)});
}

void copy_begin(struct buffer *into)
{
	buffer_append(into, TEXT("PGCOPY\n\377\r\n\0"));
	put_32(into, 0); /* flags */
	put_32(into, 0); /* no further header */
}

void copy_row(struct buffer *into, uint16_t columns)
{
	put_16(into, columns);
}

void copy_end(struct buffer *into)
{
	put_16(into, UINT16_MAX);
}
