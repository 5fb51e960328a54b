/* Configurations that wait for their participants. */
#include "tenants/cp/early_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"

enum { AGE_MAX_MS = 24 * 3600 * 1000, ALIAS_ROOM = 256 };

#define TAIL ".config"
enum { RECORD_ID_ROOM = ID_LENGTH + sizeof(TAIL) };

static struct text record_id(struct text ctx, char room[RECORD_ID_ROOM])
{
	int length = snprintf(room, RECORD_ID_ROOM, "%.*s" TAIL, TEXT_ARGUMENTS(ctx));
	return (struct text){room, (size_t)length};
}

struct text early_config_vault(struct text ctx, char room[EARLY_NAME_ROOM])
{
	int length = snprintf(room, EARLY_NAME_ROOM, "early.%.*s", TEXT_ARGUMENTS(ctx));
	return (struct text){room, (size_t)length};
}

void early_config_free(struct early_config *early)
{
	if (early == NULL)
		return;
	json_free(early->config);
	free(early);
}

/* --- reading */

struct reading {
	struct store *store;
	struct vault *vault; /* NULL: its private values stay where they are */
	struct worker *worker;
	early_done *done;
	void *context;
	struct early_config *early;
	const struct json *name; /* whose value is on its way */
	char ctx[ID_LENGTH + 1], alias[ALIAS_ROOM];
};

static void finish(struct reading *reading, enum status status)
{
	if (status != STATUS_OK) {
		early_config_free(reading->early);
		reading->early = NULL;
	}
	reading->done(reading->context, status, reading->early);
	free(reading);
}

static void copy_next(struct reading *reading);

static void on_copied(void *context, enum status status, struct text result)
{
	struct reading *reading = context;
	(void)result;
	if (status != STATUS_OK) {
		finish(reading, status);
		return;
	}
	reading->name = json_next(reading->name);
	copy_next(reading);
}

/* A name without a value: its PATCH has put the value and not come to its commit, or the other way round. */
static void on_value(void *context, enum status status, struct text value)
{
	struct reading *reading = context;
	if (status == STATUS_OK)
		vault_secret_put(
			reading->vault, text_of(reading->ctx), text_of(reading->alias), value, reading->worker, on_copied, reading);
	else
		on_copied(reading, status == STATUS_NOT_FOUND ? STATUS_OK : status, TEXT_NONE);
}

static void copy_next(struct reading *reading)
{
	char room[EARLY_NAME_ROOM];
	if (reading->vault == NULL || reading->name == NULL) {
		finish(reading, STATUS_OK);
		return;
	}
	snprintf(reading->alias, sizeof(reading->alias), "config.%.*s", TEXT_ARGUMENTS(json_text(reading->name)));
	vault_secret_get(reading->vault, early_config_vault(text_of(reading->ctx), room), text_of(reading->alias),
		reading->worker, on_value, reading);
}

/* Another's that nobody came for? Ids are random: each look at those behind one's own meets them all in time. */
static void note_old(struct early_config *early, const struct record *record)
{
	struct json *config = NULL;
	int64_t at_ms = 0;
	if (record->id.length != ID_LENGTH + strlen(TAIL) || json_parse(record->body, NULL, &config) != STATUS_OK)
		return;
	if (json_integer(json_member(config, "at"), &at_ms) && clock_wall_ms() - at_ms > AGE_MAX_MS)
		memcpy(early->old[early->old_count++], record->id.bytes, ID_LENGTH);
	json_free(config);
}

static void on_listed(void *context, enum status status, const struct record *records, size_t count)
{
	struct reading *reading = context;
	char room[RECORD_ID_ROOM];
	struct text id = record_id(text_of(reading->ctx), room);
	struct early_config *early = status == STATUS_OK ? calloc(1, sizeof(*early)) : NULL;
	if (early == NULL) {
		finish(reading, status == STATUS_OK ? STATUS_NO_MEMORY : status);
		return;
	}
	reading->early = early;
	for (size_t i = 0; i < count && status == STATUS_OK; i++) {
		if (!text_equals(records[i].id, id)) {
			note_old(early, &records[i]);
			continue;
		}
		status = json_parse(records[i].body, NULL, &early->config);
		early->revision = records[i].revision;
	}
	if (status != STATUS_OK) {
		finish(reading, status);
		return;
	}
	reading->name = json_first(json_member(early->config, "privateEntries"));
	copy_next(reading);
}

void early_config_take(
	struct store *store, struct vault *vault, struct text ctx, struct worker *worker, early_done *done, void *context)
{
	struct reading *reading = malloc(sizeof(*reading));
	if (reading == NULL)
		abort(); /* whoever waits would wait for ever */
	*reading = (struct reading){.store = store, .vault = vault, .worker = worker, .done = done, .context = context};
	snprintf(reading->ctx, sizeof(reading->ctx), "%.*s", TEXT_ARGUMENTS(ctx));
	store_list(
		store, TEXT(""), RECORD_EARLY_CONFIG, text_of(reading->ctx), EARLY_LOOKED_AT, worker, on_listed, reading);
}

void early_config_read(struct store *store, struct text ctx, struct worker *worker, early_done *done, void *context)
{
	early_config_take(store, NULL, ctx, worker, done, context);
}

/* --- changes */

bool early_config_drop(struct transaction *transaction, struct text ctx)
{
	char room[RECORD_ID_ROOM];
	return transaction_delete(transaction, TEXT(""), RECORD_EARLY_CONFIG, record_id(ctx, room), REVISION_ANY);
}

bool early_config_put(
	struct transaction *transaction, struct text ctx, const struct early_config *early, const struct json *config)
{
	char room[RECORD_ID_ROOM];
	struct buffer body = {0};
	buffer_printf(&body, "{\"at\":%lld,\"entries\":", (long long)clock_wall_ms());
	json_print(json_member(config, "entries"), &body);
	buffer_append(&body, TEXT(",\"privateEntries\":"));
	json_print(json_member(config, "privateEntries"), &body);
	buffer_append_byte(&body, '}');
	bool is_put = !body.failed &&
				  transaction_expect(transaction, ctx, RECORD_PARTICIPANT, TEXT("participant"), REVISION_ABSENT) &&
				  transaction_put(transaction, TEXT(""), RECORD_EARLY_CONFIG, record_id(ctx, room), buffer_text(&body),
					  early->revision);
	for (size_t i = 0; i < early->old_count && is_put; i++)
		is_put = early_config_drop(transaction, text_of(early->old[i]));
	buffer_free(&body);
	return is_put;
}

static bool set_entries(struct json *into, const struct json *from)
{
	bool is_set = true;
	for (const struct json *entry = json_first(from); entry != NULL && is_set; entry = json_next(entry)) {
		struct json *copy = json_copy(entry);
		is_set = json_set(into, json_name(entry), copy);
		if (!is_set)
			json_free(copy);
	}
	return is_set;
}

bool early_config_adopt(
	struct transaction *transaction, struct text ctx, const struct early_config *early, const struct json *entries)
{
	char room[RECORD_ID_ROOM];
	struct text id = record_id(ctx, room);
	bool has_early = early != NULL && early->config != NULL;
	bool is_added = transaction_expect(
		transaction, TEXT(""), RECORD_EARLY_CONFIG, id, has_early ? early->revision : REVISION_ABSENT);
	if (!has_early && entries == NULL)
		return is_added;
	const struct json *names = has_early ? json_member(early->config, "privateEntries") : NULL;
	struct json *merged = entries == NULL ? json_object_new() : json_copy(entries);
	struct buffer body = {0};
	is_added = is_added && merged != NULL && (!has_early || set_entries(merged, json_member(early->config, "entries")));
	buffer_append(&body, TEXT("{\"entries\":"));
	json_print(merged, &body);
	buffer_append(&body, TEXT(",\"privateEntries\":"));
	if (names == NULL)
		buffer_append(&body, TEXT("[]"));
	else
		json_print(names, &body);
	buffer_append_byte(&body, '}');
	is_added = is_added && !body.failed &&
			   transaction_put(
				   transaction, ctx, RECORD_PARTICIPANT_CONFIG, TEXT("config"), buffer_text(&body), REVISION_ABSENT) &&
			   (!has_early || early_config_drop(transaction, ctx));
	json_free(merged);
	buffer_free(&body);
	return is_added;
}

static void on_forgotten(void *context, enum status status, struct text result)
{
	(void)context, (void)status, (void)result; /* what stays is forgotten before the name is used again */
}

void early_config_forget(struct vault *vault, struct text ctx)
{
	char room[EARLY_NAME_ROOM];
	vault_forget(vault, early_config_vault(ctx, room), NULL, on_forgotten, NULL);
}

void early_config_forget_old(struct vault *vault, const struct early_config *early)
{
	for (size_t i = 0; i < early->old_count; i++)
		early_config_forget(vault, text_of(early->old[i]));
}
