/* Known fields: one piece of memory with the fields, their texts in the lines of HTTP/1.1, and the block of HTTP/2. */
#include "server/known_fields.h"

#include <stdlib.h>

#include "server/answer_head.h"

struct known {
	struct known_fields shown; /* first */
	struct header fields[];
};

static const struct text between = {": ", 2}, end = {"\r\n", 2};

/* 0: one of them is no field. */
static size_t lines_room(const struct header *fields, unsigned count)
{
	size_t room = 0;
	for (unsigned i = 0; i < count; i++) {
		if (fields[i].name.length == 0 || !text_is_line(fields[i].value))
			return 0;
		room += fields[i].name.length + between.length + fields[i].value.length + end.length;
	}
	return room;
}

static struct text place(char **at, struct text text)
{
	struct text placed = {*at, text.length};
	if (text.length > 0)
		memcpy(*at, text.bytes, text.length);
	*at += text.length;
	return placed;
}

struct known_fields *known_fields_new(const struct header *fields, unsigned count)
{
	size_t lines = lines_room(fields, count), block = answer_head_room(fields, count);
	struct known *known = lines == 0 ? NULL : malloc(sizeof(*known) + count * sizeof(known->fields[0]) + lines + block);
	if (known == NULL)
		return NULL;
	char *start = (char *)&known->fields[count], *at = start;
	for (unsigned i = 0; i < count; i++) {
		known->fields[i].name = place(&at, fields[i].name);
		place(&at, between);
		known->fields[i].value = place(&at, fields[i].value);
		place(&at, end);
	}
	known->shown = (struct known_fields){known->fields, count, .lines = {start, lines}};
	known->shown.block = (struct text){at, answer_trailers_write((uint8_t *)at, known->fields, count)};
	return &known->shown;
}

void known_fields_free(struct known_fields *known)
{
	free(known);
}
