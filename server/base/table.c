/* Rows of links, doubled when as many objects as rows are in it. */
#include "server/base/table.h"

#include <stdlib.h>

enum { ROWS_MIN = 16 };

static bool grow(struct table *table)
{
	size_t count = table->row_count == 0 ? ROWS_MIN : table->row_count * 2;
	struct table_link **rows = calloc(count, sizeof(struct table_link *));
	if (rows == NULL)
		return false;
	for (size_t i = 0; i < table->row_count; i++) {
		for (struct table_link *link = table->rows[i]; link != NULL;) {
			struct table_link *next = link->next;
			link->next = rows[link->hash & (count - 1)];
			rows[link->hash & (count - 1)] = link;
			link = next;
		}
	}
	free(table->rows);
	table->rows = rows;
	table->row_count = count;
	return true;
}

struct table_link *table_find(
	const struct table *table, struct text key, bool (*is)(const struct table_link *link, struct text key))
{
	uint64_t hash = table->count == 0 ? 0 : text_hash(key);
	struct table_link *link = table->count == 0 ? NULL : table->rows[hash & (table->row_count - 1)];
	while (link != NULL && !(link->hash == hash && is(link, key)))
		link = link->next;
	return link;
}

bool table_add(struct table *table, struct text key, struct table_link *link)
{
	if (table->count >= table->row_count && !grow(table) && table->row_count == 0)
		return false;
	link->hash = text_hash(key);
	struct table_link **row = &table->rows[link->hash & (table->row_count - 1)];
	link->next = *row;
	*row = link;
	table->count++;
	return true;
}

void table_remove(struct table *table, struct table_link *link)
{
	struct table_link **at = &table->rows[link->hash & (table->row_count - 1)];
	while (*at != link)
		at = &(*at)->next;
	*at = link->next;
	table->count--;
}

void table_free(struct table *table)
{
	free(table->rows);
	*table = (struct table){0};
}
