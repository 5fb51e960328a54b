/* Names of cells as records, and what is known of them. */
#include "control/fabric/cell_names.h"

#include <stdlib.h>

#include "server/base/json.h"
#include "server/base/log.h"
#include "server/base/table.h"
#include "tenants/jose/digest.h"

struct cell_name {
	struct table_link link; /* first */
	char key[DIGEST_HEX + 1];
	int64_t revision;
	char cell[];
};

struct cell_names {
	struct table table;
};

static bool is_name(const struct table_link *link, struct text key)
{
	return text_equals(text_of(((const struct cell_name *)link)->key), key);
}

static struct cell_name *find(const struct cell_names *names, struct text key)
{
	return (struct cell_name *)table_find(&names->table, key, is_name);
}

static void on_record(void *context, const struct record *record)
{
	struct cell_names *names = context;
	struct cell_name *before = find(names, record->id);
	struct json *root = NULL;
	if (before != NULL) {
		table_remove(&names->table, &before->link);
		free(before);
	}
	if (record->body.bytes == NULL)
		return;
	if (record->id.length != DIGEST_HEX || json_parse(record->body, NULL, &root) != STATUS_OK) {
		LOG(ERROR, "cell_name.unreadable", log_text("id", record->id));
		return;
	}
	struct text cell = json_member_text(root, "cell");
	struct cell_name *made = calloc(1, sizeof(*made) + cell.length + 1);
	if (made == NULL)
		abort(); /* a name would be given twice */
	memcpy(made->key, record->id.bytes, record->id.length);
	if (cell.length > 0)
		memcpy(made->cell, cell.bytes, cell.length);
	made->revision = record->revision;
	if (!table_add(&names->table, record->id, &made->link))
		abort();
	json_free(root);
}

enum status cell_names_open(struct state *state, struct cell_names **names)
{
	struct cell_names *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	state_watch(state, RECORD_CELL_NAME, on_record, NULL, made);
	*names = made;
	return STATUS_OK;
}

void cell_names_free(struct cell_names *names)
{
	if (names == NULL)
		return;
	for (size_t row = 0; row < names->table.row_count; row++) {
		struct table_link *link = names->table.rows[row];
		while (link != NULL) {
			struct table_link *next = link->next;
			free(link);
			link = next;
		}
	}
	table_free(&names->table);
	free(names);
}

bool cell_name_take(struct cell_names *names, struct transaction *transaction, struct text name, struct text id,
	bool (*is_gone)(const void *context, struct text id), const void *context)
{
	char key[DIGEST_HEX + 1];
	struct buffer body = {0};
	if (name.length == 0)
		return true;
	if (digest_hex_of(name, key) != STATUS_OK)
		return false;
	const struct cell_name *known = find(names, text_of(key));
	bool is_left = known != NULL && is_gone(context, text_of(known->cell));
	buffer_append(&body, TEXT("{\"name\":"));
	buffer_append_json(&body, name);
	buffer_append(&body, TEXT(",\"cell\":"));
	buffer_append_json(&body, id);
	buffer_append_byte(&body, '}');
	bool is_taken = !body.failed && state_put(transaction, RECORD_CELL_NAME, text_of(key), buffer_text(&body),
										is_left ? known->revision : REVISION_ABSENT);
	buffer_free(&body);
	return is_taken;
}

bool cell_name_give(struct cell_names *names, struct transaction *transaction, struct text name, struct text id)
{
	char key[DIGEST_HEX + 1];
	if (name.length == 0)
		return true;
	if (digest_hex_of(name, key) != STATUS_OK)
		return false;
	const struct cell_name *known = find(names, text_of(key));
	if (known == NULL || !text_equals(text_of(known->cell), id))
		return true;
	return state_delete(transaction, RECORD_CELL_NAME, text_of(key), known->revision);
}
