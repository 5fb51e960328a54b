/* The static table, and the dynamic one: a ring of entries, the newest last. */
#include "server/header_table.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRY_COST = 32, FIRST_ROOM = 8 };

/* --- the static table (Appendix A) */

static struct known_field {
	struct text name, value;
	struct h2_sense sense;
} known[HEADER_FIELDS_KNOWN] = {
#define FIELD(name, value)                                                                                             \
	{                                                                                                                  \
		TEXT(name), TEXT(value),                                                                                       \
		{                                                                                                              \
			0                                                                                                          \
		}                                                                                                              \
	}
	FIELD(":authority", ""),
	FIELD(":method", "GET"),
	FIELD(":method", "POST"),
	FIELD(":path", "/"),
	FIELD(":path", "/index.html"),
	FIELD(":scheme", "http"),
	FIELD(":scheme", "https"),
	FIELD(":status", "200"),
	FIELD(":status", "204"),
	FIELD(":status", "206"),
	FIELD(":status", "304"),
	FIELD(":status", "400"),
	FIELD(":status", "404"),
	FIELD(":status", "500"),
	FIELD("accept-charset", ""),
	FIELD("accept-encoding", "gzip, deflate"),
	FIELD("accept-language", ""),
	FIELD("accept-ranges", ""),
	FIELD("accept", ""),
	FIELD("access-control-allow-origin", ""),
	FIELD("age", ""),
	FIELD("allow", ""),
	FIELD("authorization", ""),
	FIELD("cache-control", ""),
	FIELD("content-disposition", ""),
	FIELD("content-encoding", ""),
	FIELD("content-language", ""),
	FIELD("content-length", ""),
	FIELD("content-location", ""),
	FIELD("content-range", ""),
	FIELD("content-type", ""),
	FIELD("cookie", ""),
	FIELD("date", ""),
	FIELD("etag", ""),
	FIELD("expect", ""),
	FIELD("expires", ""),
	FIELD("from", ""),
	FIELD("host", ""),
	FIELD("if-match", ""),
	FIELD("if-modified-since", ""),
	FIELD("if-none-match", ""),
	FIELD("if-range", ""),
	FIELD("if-unmodified-since", ""),
	FIELD("last-modified", ""),
	FIELD("link", ""),
	FIELD("location", ""),
	FIELD("max-forwards", ""),
	FIELD("proxy-authenticate", ""),
	FIELD("proxy-authorization", ""),
	FIELD("range", ""),
	FIELD("referer", ""),
	FIELD("refresh", ""),
	FIELD("retry-after", ""),
	FIELD("server", ""),
	FIELD("set-cookie", ""),
	FIELD("strict-transport-security", ""),
	FIELD("transfer-encoding", ""),
	FIELD("user-agent", ""),
	FIELD("vary", ""),
	FIELD("via", ""),
	FIELD("www-authenticate", ""),
#undef FIELD
};

__attribute__((constructor)) static void judge_known(void)
{
	for (size_t i = 0; i < HEADER_FIELDS_KNOWN; i++)
		known[i].sense = h2_sense_of(h2_kind_of(known[i].name), known[i].value);
}

/* --- entries */

struct header_entry *header_entry_new(struct text name, struct text value, struct h2_sense sense)
{
	struct header_entry *entry = malloc(sizeof(*entry) + name.length + value.length);
	if (entry == NULL)
		return NULL;
	entry->references = 1;
	entry->name_length = (uint32_t)name.length;
	entry->value_length = (uint32_t)value.length;
	entry->sense = sense;
	if (name.length > 0)
		memcpy(entry->bytes, name.bytes, name.length);
	if (value.length > 0)
		memcpy(entry->bytes + name.length, value.bytes, value.length);
	return entry;
}

void header_entry_unref(struct header_entry *entry)
{
	if (--entry->references == 0)
		free(entry);
}

static size_t cost_of(const struct header_entry *entry)
{
	return (size_t)entry->name_length + entry->value_length + ENTRY_COST;
}

/* --- the dynamic table */

void header_table_open(struct header_table *table)
{
	*table = (struct header_table){.limit = HEADER_TABLE_SIZE};
}

/* The oldest go until it is no larger than this. */
static void shrink(struct header_table *table, size_t size)
{
	while (table->count > 0 && table->size > size) {
		struct header_entry *oldest = table->ring[(table->newest - --table->count) & (table->room - 1)];
		table->size -= cost_of(oldest);
		header_entry_unref(oldest);
	}
}

void header_table_close(struct header_table *table)
{
	shrink(table, 0);
	free(table->ring);
	table->ring = NULL;
	table->room = 0;
}

void header_table_resize(struct header_table *table, size_t limit)
{
	table->limit = limit;
	shrink(table, limit);
}

static bool grow(struct header_table *table)
{
	uint32_t room = table->room == 0 ? FIRST_ROOM : table->room * 2;
	struct header_entry **ring = malloc(room * sizeof(struct header_entry *));
	if (ring == NULL)
		return false;
	for (uint32_t i = 0; i < table->count; i++)
		ring[i] = table->ring[(table->newest - (table->count - 1 - i)) & (table->room - 1)];
	free(table->ring);
	table->ring = ring;
	table->room = room;
	table->newest = table->count - 1;
	return true;
}

bool header_table_add(struct header_table *table, struct header_entry *entry)
{
	size_t cost = cost_of(entry);
	if (cost > table->limit) {
		shrink(table, 0);
		return true;
	}
	shrink(table, table->limit - cost);
	if (table->count == table->room && !grow(table))
		return false;
	entry->references++;
	table->ring[++table->newest & (table->room - 1)] = entry;
	table->count++;
	table->size += cost;
	return true;
}

bool header_table_find(const struct header_table *table, size_t index, struct header_field *field)
{
	if (index - 1 < HEADER_FIELDS_KNOWN) {
		const struct known_field *found = &known[index - 1];
		*field = (struct header_field){found->name, found->value, found->sense, NULL, true, true};
		return true;
	}
	size_t back = index - 1 - HEADER_FIELDS_KNOWN;
	if (index == 0 || back >= table->count)
		return false;
	struct header_entry *entry = table->ring[(table->newest - (uint32_t)back) & (table->room - 1)];
	*field = (struct header_field){{entry->bytes, entry->name_length},
		{entry->bytes + entry->name_length, entry->value_length}, entry->sense, entry, false, false};
	return true;
}
