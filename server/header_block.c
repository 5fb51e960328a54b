/* Decoding of header blocks. */
#include "server/header_block.h"

#include <stdlib.h>
#include <string.h>

#include "server/huffman.h"

enum { STRING_MOST = 65536, SCRATCH = 4096 };
enum { INDEXED = 0x80, KEPT = 0x40, SIZE = 0x20 };

enum reading { READ, CUT, BROKEN, LOST };

void header_decoder_open(struct header_decoder *decoder)
{
	*decoder = (struct header_decoder){.most = HEADER_TABLE_SIZE};
	header_table_open(&decoder->table);
}

void header_decoder_close(struct header_decoder *decoder)
{
	header_table_close(&decoder->table);
	buffer_free(&decoder->rest);
}

void header_decoder_allow(struct header_decoder *decoder, size_t most)
{
	decoder->most = most;
	decoder->is_size_due = decoder->table.limit > most;
}

/* --- primitives (section 5) */

struct piece {
	const uint8_t *at, *end;
};

static enum reading read_number(struct piece *piece, unsigned bits, size_t most, size_t *number)
{
	const size_t mask = (1U << bits) - 1;
	if (piece->at == piece->end)
		return CUT;
	size_t value = *piece->at++ & mask;
	if (value == mask) {
		uint8_t byte = 0x80;
		for (unsigned shift = 0; (byte & 0x80) != 0; shift += 7) {
			if (piece->at == piece->end)
				return CUT;
			if (shift > 28)
				return BROKEN;
			byte = *piece->at++;
			value += (size_t)(byte & 0x7f) << shift;
		}
	}
	*number = value;
	return value <= most ? READ : BROKEN;
}

struct string {
	const uint8_t *bytes;
	size_t length;
	bool is_packed;
};

static enum reading read_string(struct piece *piece, struct string *string)
{
	string->is_packed = piece->at < piece->end && (*piece->at & 0x80) != 0;
	enum reading reading = read_number(piece, 7, STRING_MOST, &string->length);
	if (reading != READ)
		return reading;
	if (string->length > (size_t)(piece->end - piece->at))
		return CUT;
	string->bytes = piece->at;
	piece->at += string->length;
	return READ;
}

static size_t room_for(const struct string *string)
{
	return string->is_packed ? huffman_room(string->length) : 0;
}

/* `known` NULL: it has not come before. BROKEN or READ. */
static enum reading unpack(
	const struct string *string, struct known_strings *known, uint8_t *into, size_t room, struct text *text)
{
	const struct text packed = {(const char *)string->bytes, string->length};
	if (!string->is_packed) {
		*text = packed;
		return READ;
	}
	bool is_knowable = known != NULL && packed.length >= KNOWN_LEAST && packed.length <= KNOWN_MOST;
	if (is_knowable && (*text = known_strings_find(known, packed)).bytes != NULL)
		return READ;
	size_t written;
	if (!huffman_unpack(string->bytes, string->length, into, room, &written))
		return BROKEN;
	*text = (struct text){(const char *)into, written};
	if (is_knowable)
		known_strings_keep(known, packed, *text);
	return READ;
}

/* --- fields (section 6) */

struct reader {
	struct header_decoder *decoder;
	struct known_strings *known;
	const struct header_sink *sink;
};

static enum reading read_size(struct header_decoder *decoder, struct piece *piece)
{
	size_t size;
	if (decoder->has_fields)
		return BROKEN;
	enum reading reading = read_number(piece, 5, decoder->most, &size);
	if (reading != READ)
		return reading;
	header_table_resize(&decoder->table, size);
	decoder->is_size_due = false;
	return READ;
}

static enum reading take_kept(const struct reader *reader, struct header_field *field)
{
	struct header_entry *entry = header_entry_new(field->name, field->value, field->sense);
	if (entry == NULL || !header_table_add(&reader->decoder->table, entry)) {
		if (entry != NULL)
			header_entry_unref(entry);
		return LOST;
	}
	field->name.bytes = entry->bytes;
	field->value.bytes = entry->bytes + entry->name_length;
	field->entry = entry;
	reader->sink->take(reader->sink->context, field);
	header_entry_unref(entry);
	return READ;
}

static enum reading take_literal(const struct reader *reader, struct header_field *field, const struct string *name,
	const struct string *value, bool is_kept, uint8_t *into, size_t room)
{
	enum h2_kind kind = (enum h2_kind)field->sense.kind;
	size_t used = room_for(name);
	if (name->bytes != NULL) {
		/* names are short; and what is known lasts only to the next look */
		if (unpack(name, NULL, into, used, &field->name) != READ)
			return BROKEN;
		kind = h2_kind_of(field->name);
	}
	if (unpack(value, reader->known, into + used, room - used, &field->value) != READ)
		return BROKEN;
	field->sense = h2_sense_of(kind, field->value);
	field->value_stays = false;
	field->entry = NULL;
	if (is_kept)
		return take_kept(reader, field);
	reader->sink->take(reader->sink->context, field);
	return READ;
}

static enum reading read_literal(const struct reader *reader, struct piece *piece)
{
	uint8_t scratch[SCRATCH], *into = scratch;
	bool is_kept = (*piece->at & KEPT) != 0;
	size_t index;
	struct header_field field = {.name = TEXT_NONE};
	struct string name = {.bytes = NULL}, value;
	enum reading reading = read_number(piece, is_kept ? 6 : 4, SIZE_MAX, &index);
	if (reading == READ && index > 0 && !header_table_find(&reader->decoder->table, index, &field))
		return BROKEN;
	if (reading == READ && index == 0)
		reading = read_string(piece, &name);
	if (reading == READ)
		reading = read_string(piece, &value);
	if (reading != READ)
		return reading;
	size_t room = room_for(&name) + room_for(&value);
	if (room > sizeof(scratch) && (into = malloc(room)) == NULL)
		return LOST;
	reading = take_literal(reader, &field, &name, &value, is_kept, into, room);
	if (into != scratch)
		free(into);
	return reading;
}

static enum reading read_indexed(const struct reader *reader, struct piece *piece)
{
	struct header_field field;
	size_t index;
	enum reading reading = read_number(piece, 7, SIZE_MAX, &index);
	if (reading != READ)
		return reading;
	if (!header_table_find(&reader->decoder->table, index, &field))
		return BROKEN;
	reader->sink->take(reader->sink->context, &field);
	return READ;
}

static enum reading read_field(const struct reader *reader, struct piece *piece)
{
	uint8_t first = *piece->at;
	if ((first & INDEXED) == 0 && (first & (KEPT | SIZE)) == SIZE)
		return read_size(reader->decoder, piece);
	if (reader->decoder->is_size_due)
		return BROKEN;
	enum reading reading = (first & INDEXED) != 0 ? read_indexed(reader, piece) : read_literal(reader, piece);
	reader->decoder->has_fields |= reading == READ;
	return reading;
}

/* What is left of the piece is a field's beginning. */
static enum reading read_fields(const struct reader *reader, struct piece *piece)
{
	while (piece->at < piece->end) {
		struct piece rest = *piece;
		enum reading reading = read_field(reader, &rest);
		if (reading != READ)
			return reading;
		piece->at = rest.at;
	}
	return READ;
}

static enum reading end_block(struct header_decoder *decoder, enum reading reading)
{
	decoder->has_fields = false;
	return reading == CUT || (reading == READ && decoder->is_size_due) ? BROKEN : reading;
}

enum status header_block_read(struct header_decoder *decoder, const uint8_t *bytes, size_t length, bool is_end,
	struct known_strings *known, const struct header_sink *sink)
{
	const struct reader reader = {decoder, known, sink};
	struct buffer joined = decoder->rest;
	struct piece piece = {bytes, bytes + length};
	decoder->rest = (struct buffer){0};
	if (joined.length > 0) {
		buffer_append(&joined, (struct text){(const char *)bytes, length});
		piece = (struct piece){(const uint8_t *)joined.bytes, (const uint8_t *)joined.bytes + joined.length};
	}
	enum reading reading = joined.failed ? LOST : read_fields(&reader, &piece);
	if (is_end)
		reading = end_block(decoder, reading);
	else if (reading == CUT)
		buffer_append(&decoder->rest, (struct text){(const char *)piece.at, (size_t)(piece.end - piece.at)});
	buffer_free(&joined);
	if (reading == LOST || decoder->rest.failed)
		return STATUS_NO_MEMORY;
	return reading == BROKEN ? STATUS_PROTOCOL : STATUS_OK;
}
