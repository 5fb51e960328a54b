/* Rows in chunks of a page of memory, split when full and joined when empty enough; tenants by numbers. */
#include "control/fabric/manager/profile_index.h"

#include <stdlib.h>

#include "control/fabric/place/seats.h"
#include "server/base/log.h"
#include "server/base/map.h"

enum { CHUNK_ROWS = 127 }; /* 4 KiB */

struct chunk {
	size_t count;
	struct profile_row rows[CHUNK_ROWS];
};

/* Known as long as the process runs. */
struct tenant {
	uint32_t number;
	size_t count; /* of its profiles */
	char id[];
};

struct profile_index {
	struct chunk **chunks; /* in order, none of them empty */
	size_t chunk_count, chunk_room, count;
	struct map *by_name; /* of struct tenant */
	struct tenant **tenants;
	size_t tenant_count, tenant_room;
};

/* An index that has missed a change would be a wrong answer for ever. */
static void *must(void *memory)
{
	if (memory == NULL)
		abort();
	return memory;
}

static void *widen(void *items, size_t count, size_t *room)
{
	if (count < *room)
		return items;
	*room = *room == 0 ? 64 : *room * 2;
	return must(realloc(items, *room * sizeof(void *)));
}

/* --- ids */

static int digit_of(char byte)
{
	return byte >= '0' && byte <= '9' ? byte - '0' : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static bool is_dash(size_t at)
{
	return at == 8 || at == 13 || at == 18 || at == 23;
}

/* As uuid_random writes it. */
static bool parse_id(struct text text, unsigned char id[PROFILE_ID_BYTES])
{
	size_t digits = 0;
	if (text.length != UUID_LENGTH)
		return false;
	memset(id, 0, PROFILE_ID_BYTES);
	for (size_t at = 0; at < UUID_LENGTH; at++) {
		int digit = digit_of(text.bytes[at]);
		if (is_dash(at) ? text.bytes[at] != '-' : digit < 0)
			return false;
		if (is_dash(at))
			continue;
		id[digits / 2] = (unsigned char)(id[digits / 2] << 4 | digit);
		digits++;
	}
	return true;
}

void profile_row_print(const struct profile_index *index, const struct profile_row *row, struct buffer *into)
{
	static const char digits[] = "0123456789abcdef";
	char id[UUID_LENGTH];
	size_t at = 0;
	for (size_t i = 0; i < PROFILE_ID_BYTES; i++) {
		if (is_dash(at))
			id[at++] = '-';
		id[at++] = digits[row->id[i] >> 4];
		id[at++] = digits[row->id[i] & 15];
	}
	buffer_append(into, profile_row_tenant(index, row));
	buffer_append_byte(into, '/');
	buffer_append(into, (struct text){id, UUID_LENGTH});
}

struct text profile_row_tenant(const struct profile_index *index, const struct profile_row *row)
{
	return text_of(index->tenants[row->tenant]->id);
}

/* --- tenants */

static struct tenant *tenant_of(struct profile_index *index, struct text id)
{
	struct tenant *tenant = map_find(index->by_name, id);
	if (tenant != NULL)
		return tenant;
	tenant = must(calloc(1, sizeof(*tenant) + id.length + 1));
	tenant->number = (uint32_t)index->tenant_count;
	memcpy(tenant->id, id.bytes, id.length);
	if (map_load(index->by_name, id, tenant) != STATUS_OK)
		abort();
	index->tenants = widen(index->tenants, index->tenant_count, &index->tenant_room);
	index->tenants[index->tenant_count++] = tenant;
	return tenant;
}

/* --- rows */

/* Where a row is, or would be. */
struct place {
	size_t chunk, row;
	bool is_there;
};

static size_t row_position(const struct chunk *chunk, const unsigned char *id)
{
	size_t low = 0, high = chunk->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (memcmp(chunk->rows[middle].id, id, PROFILE_ID_BYTES) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct place find(const struct profile_index *index, const unsigned char *id)
{
	size_t low = 0, high = index->chunk_count;
	while (low < high) { /* the first chunk whose last row is not before it */
		size_t middle = low + (high - low) / 2;
		const struct chunk *chunk = index->chunks[middle];
		if (memcmp(chunk->rows[chunk->count - 1].id, id, PROFILE_ID_BYTES) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == index->chunk_count)
		return (struct place){low, 0, false};
	const struct chunk *chunk = index->chunks[low];
	size_t row = row_position(chunk, id);
	return (struct place){low, row, memcmp(chunk->rows[row].id, id, PROFILE_ID_BYTES) == 0};
}

static void chunk_insert(struct profile_index *index, size_t at, struct chunk *chunk)
{
	index->chunks = widen(index->chunks, index->chunk_count, &index->chunk_room);
	memmove(index->chunks + at + 1, index->chunks + at, (index->chunk_count - at) * sizeof(struct chunk *));
	index->chunks[at] = chunk;
	index->chunk_count++;
}

static void chunk_remove(struct profile_index *index, size_t at)
{
	free(index->chunks[at]);
	index->chunk_count--;
	memmove(index->chunks + at, index->chunks + at + 1, (index->chunk_count - at) * sizeof(struct chunk *));
}

/* The half that comes later gets a chunk of its own. */
static void split(struct profile_index *index, size_t at)
{
	struct chunk *chunk = index->chunks[at], *later = must(malloc(sizeof(*later)));
	size_t kept = chunk->count / 2;
	later->count = chunk->count - kept;
	memcpy(later->rows, chunk->rows + kept, later->count * sizeof(struct profile_row));
	chunk->count = kept;
	chunk_insert(index, at + 1, later);
}

static void insert(struct profile_index *index, const struct profile_row *row)
{
	struct place place = find(index, row->id);
	if (index->chunk_count == 0)
		chunk_insert(index, 0, must(calloc(1, sizeof(struct chunk))));
	if (place.chunk == index->chunk_count) { /* behind all */
		place.chunk--;
		place.row = index->chunks[place.chunk]->count;
	}
	if (index->chunks[place.chunk]->count == CHUNK_ROWS) {
		split(index, place.chunk);
		if (place.row > index->chunks[place.chunk]->count) {
			place.row -= index->chunks[place.chunk]->count;
			place.chunk++;
		}
	}
	struct chunk *chunk = index->chunks[place.chunk];
	memmove(&chunk->rows[place.row + 1], &chunk->rows[place.row], (chunk->count - place.row) * sizeof(*row));
	chunk->rows[place.row] = *row;
	chunk->count++;
	index->count++;
}

/* Neighbours that are half empty together become one. */
static void join(struct profile_index *index, size_t at)
{
	if (at + 1 >= index->chunk_count)
		return;
	struct chunk *chunk = index->chunks[at], *next = index->chunks[at + 1];
	if (chunk->count + next->count > CHUNK_ROWS / 2)
		return;
	memcpy(chunk->rows + chunk->count, next->rows, next->count * sizeof(struct profile_row));
	chunk->count += next->count;
	chunk_remove(index, at + 1);
}

static void take_out(struct profile_index *index, struct place place)
{
	struct chunk *chunk = index->chunks[place.chunk];
	chunk->count--;
	memmove(
		&chunk->rows[place.row], &chunk->rows[place.row + 1], (chunk->count - place.row) * sizeof(struct profile_row));
	index->count--;
	if (chunk->count == 0) {
		chunk_remove(index, place.chunk);
		return;
	}
	join(index, place.chunk);
	if (place.chunk > 0)
		join(index, place.chunk - 1);
}

/* --- what the state tells */

static unsigned char states_of(struct text body)
{
	struct text words[SEATS_MAX];
	unsigned states = 0;
	for (size_t count = seats_states(body, words); count > 0; count--) {
		enum vpa_state state = vpa_state_parse(words[count - 1]);
		states |= state == VPA_STATE_COUNT ? 0 : 1U << state;
	}
	return (unsigned char)states;
}

static void on_record(void *context, const struct record *record)
{
	struct profile_index *index = context;
	const char *slash = memrchr(record->id.bytes, '/', record->id.length);
	size_t from = slash == NULL ? 0 : (size_t)(slash + 1 - record->id.bytes);
	struct profile_row row = {.revision = record->revision};
	if (from < 2 || !parse_id(text_slice(record->id, from, record->id.length), row.id)) {
		LOG(ERROR, "profile.unreadable", log_text("profile", record->id));
		return;
	}
	struct tenant *tenant = tenant_of(index, text_slice(record->id, 0, from - 1));
	struct place place = find(index, row.id);
	row.tenant = tenant->number;
	if (record->body.bytes == NULL) {
		if (place.is_there)
			take_out(index, place);
		tenant->count -= place.is_there;
		return;
	}
	row.states = states_of(record->body);
	if (place.is_there)
		index->chunks[place.chunk]->rows[place.row] = row;
	else
		insert(index, &row);
	tenant->count += !place.is_there;
}

enum status profile_index_open(struct state *state, struct profile_index **index)
{
	struct profile_index *made = calloc(1, sizeof(*made));
	if (made == NULL || (made->by_name = map_new()) == NULL) {
		free(made);
		return STATUS_NO_MEMORY;
	}
	state_watch(state, RECORD_PARTICIPANT_PROFILE, on_record, NULL, made);
	*index = made;
	return STATUS_OK;
}

void profile_index_free(struct profile_index *index)
{
	if (index == NULL)
		return;
	for (size_t i = 0; i < index->chunk_count; i++)
		free(index->chunks[i]);
	for (size_t i = 0; i < index->tenant_count; i++)
		free(index->tenants[i]);
	free(index->chunks);
	free(index->tenants);
	map_free(index->by_name);
	free(index);
}

/* --- looking up */

const struct profile_row *profile_index_find(const struct profile_index *index, struct text text)
{
	unsigned char id[PROFILE_ID_BYTES];
	if (!parse_id(text, id))
		return NULL;
	struct place place = find(index, id);
	return place.is_there ? &index->chunks[place.chunk]->rows[place.row] : NULL;
}

size_t profile_index_count(const struct profile_index *index)
{
	return index->count;
}

size_t profile_index_count_of(const struct profile_index *index, struct text tenant)
{
	const struct tenant *found = map_find(index->by_name, tenant);
	return found == NULL ? 0 : found->count;
}

static size_t copy_from(
	const struct profile_index *index, size_t chunk, size_t row, struct profile_row *rows, size_t room)
{
	size_t copied = 0;
	for (; copied < room && chunk < index->chunk_count; chunk++, row = 0) {
		const struct chunk *from = index->chunks[chunk];
		for (; copied < room && row < from->count; row++)
			rows[copied++] = from->rows[row];
	}
	return copied;
}

size_t profile_index_copy(const struct profile_index *index, size_t position, struct profile_row *rows, size_t room)
{
	size_t chunk = 0;
	while (chunk < index->chunk_count && position >= index->chunks[chunk]->count)
		position -= index->chunks[chunk++]->count;
	return copy_from(index, chunk, position, rows, room);
}

size_t profile_index_copy_after(
	const struct profile_index *index, const unsigned char *id, struct profile_row *rows, size_t room)
{
	struct place place = {0, 0, false};
	if (id != NULL)
		place = find(index, id);
	return copy_from(index, place.chunk, place.row + place.is_there, rows, room);
}

size_t profile_index_bytes(const struct profile_index *index)
{
	size_t bytes = sizeof(*index) + index->chunk_count * sizeof(struct chunk) +
				   index->chunk_room * sizeof(struct chunk *) + index->tenant_room * sizeof(struct tenant *);
	for (size_t i = 0; i < index->tenant_count; i++)
		bytes += sizeof(struct tenant) + strlen(index->tenants[i]->id) + 1;
	return bytes;
}
