/* Known heads: compared as bytes; learnt when strangers come again and again, more rarely the less that helps. */
#include "server/known_head.h"

#include <stdlib.h>
#include <string.h>

#include "server/known_fields.h"

enum { BYTES_MAX = 1024, PATIENCE_MAX = 63 };

struct known_head *known_head_find(struct known_heads *heads, const char *bytes, size_t length)
{
	struct known_head *known = heads->present;
	if (known == NULL || length < known->bytes.length || memcmp(bytes, known->bytes.bytes, known->bytes.length) != 0)
		return NULL;
	heads->strangers = heads->patience = 0;
	known->users++;
	return known;
}

char *known_head_begin(struct known_heads *heads, const char *bytes, size_t length)
{
	if (heads->strangers++ <= heads->patience)
		return NULL;
	heads->strangers = 0;
	heads->patience = heads->patience >= PATIENCE_MAX ? PATIENCE_MAX : heads->patience * 2 + 1;
	size_t kept = length < BYTES_MAX ? length : BYTES_MAX;
	char *copy = malloc(kept);
	if (copy != NULL)
		memcpy(copy, bytes, kept);
	return copy;
}

/* The texts of `head` lie in `bytes`. NULL: out of memory. */
static struct known_head *learn(const char *copy, const struct h1_head *head, const char *bytes, size_t used)
{
	unsigned count = head->header_count;
	struct known_head *known = malloc(sizeof(*known) + count * sizeof(known->headers[0]) + 2 * used);
	if (known == NULL)
		return NULL;
	char *raw = (char *)&known->headers[count], *parsed = raw + used;
	memcpy(raw, copy, used);
	memcpy(parsed, bytes, used);
	*known = (struct known_head){.users = 1, .head = *head, .bytes = {raw, used}};
	known->head.headers = known->headers;
	for (unsigned i = 0; i < count; i++) {
		struct text name = head->headers[i].name, value = head->headers[i].value;
		known->headers[i].name = (struct text){parsed + (name.bytes - bytes), name.length};
		known->headers[i].value =
			(struct text){value.length == 0 ? parsed : parsed + (value.bytes - bytes), value.length};
	}
	return known;
}

void known_head_end(struct known_heads *heads, char *copy, const struct h1_head *head, const char *bytes, size_t used)
{
	bool may_be_known = used > 0 && used <= BYTES_MAX && head->header_count <= ANSWER_MEMO_FIELDS;
	struct known_head *known = may_be_known ? learn(copy, head, bytes, used) : NULL;
	free(copy);
	if (known == NULL)
		return;
	known_head_release(heads->present);
	heads->present = known;
}

void known_head_release(struct known_head *known)
{
	if (known == NULL || --known->users > 0)
		return;
	known_fields_free(known->memo.fields);
	free(known);
}

void known_heads_forget(struct known_heads *heads)
{
	known_head_release(heads->present);
	*heads = (struct known_heads){0};
}
