/* Copies of records in one list. */
#include "tenants/store/news.h"

#include <stdlib.h>
#include <string.h>

static struct text place(char **at, struct text text)
{
	if (text.bytes == NULL)
		return TEXT_NONE;
	char *start = *at;
	memcpy(start, text.bytes, text.length);
	*at += text.length;
	return (struct text){start, text.length};
}

bool newspaper_add(void *newspaper, const struct record *record)
{
	struct newspaper *paper = newspaper;
	struct news *news = malloc(sizeof(*news) + record->ctx.length + record->id.length + record->body.length + 1);
	if (news == NULL)
		return false;
	char *at = news->bytes;
	news->record = *record;
	news->record.ctx = place(&at, record->ctx);
	news->record.id = place(&at, record->id);
	news->record.body = place(&at, record->body);
	news->next = NULL;
	*paper->end = news;
	paper->end = &news->next;
	return true;
}

bool newspaper_add_loaded(void *newspaper, const struct record *record)
{
	return !record_kind_is_loaded(record->kind) || newspaper_add(newspaper, record);
}

void newspaper_append(struct newspaper *paper, struct newspaper *page)
{
	if (page->first == NULL)
		return;
	*paper->end = page->first;
	paper->end = page->end;
	newspaper_begin(page);
}

void newspaper_drop(struct newspaper *paper)
{
	while (paper->first != NULL) {
		struct news *next = paper->first->next;
		free(paper->first);
		paper->first = next;
	}
	newspaper_begin(paper);
}
