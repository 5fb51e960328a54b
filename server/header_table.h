/* HPACK's tables of header fields (RFC 7541, section 2.3), for what a peer sends. What a field says by itself
 * (server/h2_message.h) is found out when it enters the table, not each time it is referred to. */
#pragma once

#include "server/h2_message.h"

/* A field of a dynamic table: shared by the table and all requests that refer to it, so that a one-byte reference costs
 * no more than its place in a list. Of one worker. */
struct header_entry {
	uint32_t references;
	uint32_t name_length, value_length;
	struct h2_sense sense;
	char bytes[]; /* name and value */
};

/* With one reference, the caller's; NULL when out of memory. */
struct header_entry *header_entry_new(struct text name, struct text value, struct h2_sense sense);
void header_entry_unref(struct header_entry *entry);

/* One field, wherever it stands. */
struct header_field {
	struct text name, value;
	struct h2_sense sense;
	struct header_entry *entry;   /* they are this entry's, and last as long as it does; NULL: none */
	bool name_stays, value_stays; /* for ever; else, without an entry, they are gone after the call */
};

/* Its room grows with what is in it. */
struct header_table {
	struct header_entry **ring;
	uint32_t room, newest, count; /* room: a power of two */
	size_t size, limit;           /* section 4.1 */
};

enum { HEADER_TABLE_SIZE = 4096, HEADER_FIELDS_KNOWN = 61 };

void header_table_open(struct header_table *table);
void header_table_close(struct header_table *table);
void header_table_resize(struct header_table *table, size_t limit);
/* Takes a reference of its own, unless it is too large: then the table is empty afterwards. False: out of memory. */
bool header_table_add(struct header_table *table, struct header_entry *entry) MUST_CHECK;
/* False: there is no such index. */
bool header_table_find(const struct header_table *table, size_t index, struct header_field *field) MUST_CHECK;
