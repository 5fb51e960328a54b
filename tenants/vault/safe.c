/* Safes in memory and as bytes. */
#include "tenants/vault/safe.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/id.h"
#include "server/base/secret.h"

enum {
	FILE_VERSION = 1,
	HEAD_BYTES = 8 + 4 + SEAL_KEY + SEAL_EXTRA + 4,
	ENTRY_BYTES = 1 + 4 + 2 + 4,
	BOUND_ROOM = 16 + SAFE_CTX_MAX + SAFE_ALIAS_MAX + 64,
};
static const struct text magic = {"celldvlt", 8};

static struct text entry_alias(const struct entry *entry)
{
	return (struct text){entry->bytes, entry->alias_length};
}

static struct text entry_sealed(const struct entry *entry)
{
	return (struct text){entry->bytes + entry->alias_length, entry->sealed_length};
}

static size_t entry_size(const struct entry *entry)
{
	return ENTRY_BYTES + entry->alias_length + entry->sealed_length;
}

static void bind(char room[BOUND_ROOM], size_t *at, struct text part)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		room[(*at)++] = (char)(part.length >> shift);
	memcpy(room + *at, part.bytes, part.length);
	*at += part.length;
}

/* What an entry, or the data key itself, is bound to: a length-prefixed tuple, part of the file format. */
static struct text bound_to(char room[BOUND_ROOM], const struct safe *safe, const struct entry *entry)
{
	size_t at = 0;
	bind(room, &at, entry == NULL ? TEXT("data-key") : TEXT("entry"));
	bind(room, &at, text_of(safe->ctx));
	if (entry == NULL)
		return (struct text){room, at};
	char marks[5] = {(char)entry->kind};
	for (int i = 0; i < 4; i++)
		marks[1 + i] = (char)(entry->version >> (24 - 8 * i));
	bind(room, &at, entry_alias(entry));
	bind(room, &at, (struct text){marks, sizeof(marks)});
	return (struct text){room, at};
}

static enum status open_data_key(const struct safe *safe, const uint8_t master[SEAL_KEY], uint8_t key[SEAL_KEY])
{
	char room[BOUND_ROOM];
	return unseal(
		master, bound_to(room, safe, NULL), (struct text){(const char *)safe->data_key, sizeof(safe->data_key)}, key);
}

static struct safe *safe_empty(struct text ctx)
{
	struct safe *safe = ctx.length <= SAFE_CTX_MAX ? calloc(1, sizeof(*safe)) : NULL;
	if (safe == NULL)
		return NULL;
	memcpy(safe->ctx, ctx.bytes, ctx.length);
	safe->file_bytes = HEAD_BYTES + SEAL_EXTRA;
	return safe;
}

enum status safe_new(struct text ctx, const uint8_t master[SEAL_KEY], struct safe **safe)
{
	char room[BOUND_ROOM];
	uint8_t key[SEAL_KEY];
	struct safe *made = safe_empty(ctx);
	if (made == NULL)
		return STATUS_NO_MEMORY;
	random_bytes(key, sizeof(key));
	enum status status =
		seal(master, bound_to(room, made, NULL), (struct text){(const char *)key, sizeof(key)}, made->data_key);
	wipe(key, sizeof(key));
	if (status == STATUS_OK)
		*safe = made;
	else
		safe_free(made);
	return status;
}

static enum status append_entry(struct safe *safe, struct entry *entry)
{
	if (safe->count >= SAFE_ENTRIES_MAX || safe->file_bytes + entry_size(entry) > SAFE_FILE_MAX)
		return STATUS_REFUSED;
	if (safe->count == safe->room) {
		size_t room = safe->room == 0 ? 4 : safe->room * 2;
		struct entry **entries = reallocarray(safe->entries, room, sizeof(struct entry *));
		if (entries == NULL)
			return STATUS_NO_MEMORY;
		safe->entries = entries;
		safe->room = room;
	}
	safe->entries[safe->count++] = entry;
	safe->file_bytes += entry_size(entry);
	return STATUS_OK;
}

/* Big endian; false when the bytes run out. */
static bool take_number(struct text *rest, size_t bytes, uint32_t *number)
{
	if (rest->length < bytes)
		return false;
	*number = 0;
	for (size_t i = 0; i < bytes; i++)
		*number = *number << 8 | (uint8_t)rest->bytes[i];
	*rest = text_slice(*rest, bytes, rest->length);
	return true;
}

static bool take_bytes(struct text *rest, size_t bytes, void *into)
{
	if (rest->length < bytes)
		return false;
	memcpy(into, rest->bytes, bytes);
	*rest = text_slice(*rest, bytes, rest->length);
	return true;
}

static struct entry *entry_new(size_t alias_length, size_t sealed_length)
{
	struct entry *entry = calloc(1, sizeof(*entry) + alias_length + sealed_length);
	if (entry == NULL)
		return NULL;
	entry->alias_length = alias_length;
	entry->sealed_length = sealed_length;
	return entry;
}

static enum status parse_entry(struct safe *safe, struct text *rest)
{
	uint32_t kind, version, alias_length, sealed_length;
	if (!take_number(rest, 1, &kind) || !take_number(rest, 4, &version) || !take_number(rest, 2, &alias_length) ||
		kind < ENTRY_ES256 || kind > ENTRY_SECRET || alias_length > SAFE_ALIAS_MAX || rest->length < alias_length)
		return STATUS_IO;
	struct text alias = text_slice(*rest, 0, alias_length);
	*rest = text_slice(*rest, alias_length, rest->length);
	if (!take_number(rest, 4, &sealed_length) || rest->length < sealed_length)
		return STATUS_IO;
	struct entry *entry = entry_new(alias_length, sealed_length);
	if (entry == NULL)
		return STATUS_NO_MEMORY;
	entry->kind = (enum entry_kind)kind;
	entry->version = version;
	if (alias_length > 0)
		memcpy(entry->bytes, alias.bytes, alias_length);
	enum status status =
		take_bytes(rest, sealed_length, entry->bytes + alias_length) ? append_entry(safe, entry) : STATUS_IO;
	if (status != STATUS_OK)
		free(entry);
	return status;
}

static enum status parse_body(struct safe *safe, struct text file)
{
	struct text rest = text_slice(file, 0, file.length - SEAL_EXTRA);
	uint32_t version, count;
	if (!text_starts_with(rest, magic))
		return STATUS_IO;
	rest = text_slice(rest, magic.length, rest.length);
	if (!take_number(&rest, 4, &version) || version != FILE_VERSION ||
		!take_bytes(&rest, sizeof(safe->data_key), safe->data_key) || !take_number(&rest, 4, &count))
		return STATUS_IO;
	enum status status = STATUS_OK;
	for (; status == STATUS_OK && count > 0; count--)
		status = parse_entry(safe, &rest);
	return status == STATUS_OK && rest.length > 0 ? STATUS_IO : status;
}

static enum status check_whole(const struct safe *safe, struct text file, const uint8_t master[SEAL_KEY])
{
	uint8_t key[SEAL_KEY], nothing[1];
	size_t end = file.length - SEAL_EXTRA;
	enum status status = open_data_key(safe, master, key);
	if (status == STATUS_OK)
		status = unseal(key, text_slice(file, 0, end), text_slice(file, end, file.length), nothing);
	wipe(key, sizeof(key));
	return status == STATUS_OK ? STATUS_OK : STATUS_IO;
}

enum status safe_parse(struct text file, struct text ctx, const uint8_t master[SEAL_KEY], struct safe **safe)
{
	if (file.length < HEAD_BYTES + SEAL_EXTRA || file.length > SAFE_FILE_MAX)
		return STATUS_IO;
	struct safe *made = safe_empty(ctx);
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = parse_body(made, file);
	if (status == STATUS_OK)
		status = check_whole(made, file, master);
	if (status == STATUS_OK)
		*safe = made;
	else
		safe_free(made);
	return status;
}

static void append_number(struct buffer *into, size_t bytes, size_t number)
{
	while (bytes > 0)
		buffer_append_byte(into, (char)(number >> (8 * --bytes)));
}

enum status safe_print(const struct safe *safe, const uint8_t master[SEAL_KEY], struct buffer *into)
{
	uint8_t key[SEAL_KEY], seal_of_all[SEAL_EXTRA];
	buffer_append(into, magic);
	append_number(into, 4, FILE_VERSION);
	buffer_append(into, (struct text){(const char *)safe->data_key, sizeof(safe->data_key)});
	append_number(into, 4, safe->count);
	for (size_t i = 0; i < safe->count; i++) {
		const struct entry *entry = safe->entries[i];
		append_number(into, 1, entry->kind);
		append_number(into, 4, entry->version);
		append_number(into, 2, entry->alias_length);
		buffer_append(into, entry_alias(entry));
		append_number(into, 4, entry->sealed_length);
		buffer_append(into, entry_sealed(entry));
	}
	enum status status = into->failed ? STATUS_NO_MEMORY : open_data_key(safe, master, key);
	if (status == STATUS_OK)
		status = seal(key, buffer_text(into), TEXT_NONE, seal_of_all);
	wipe(key, sizeof(key));
	if (status != STATUS_OK)
		return status;
	buffer_append(into, (struct text){(const char *)seal_of_all, sizeof(seal_of_all)});
	return into->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

void safe_free(struct safe *safe)
{
	if (safe == NULL)
		return;
	for (size_t i = 0; i < safe->count; i++)
		free(safe->entries[i]);
	free(safe->entries);
	wipe(safe->data_key, sizeof(safe->data_key));
	free(safe);
}

struct entry *safe_find(const struct safe *safe, struct text alias)
{
	for (size_t i = 0; i < safe->count; i++) {
		if (text_equals(entry_alias(safe->entries[i]), alias))
			return safe->entries[i];
	}
	return NULL;
}

enum status safe_put(
	struct safe *safe, const uint8_t master[SEAL_KEY], struct text alias, enum entry_kind kind, struct text value)
{
	char room[BOUND_ROOM];
	uint8_t key[SEAL_KEY];
	if (value.length > SAFE_VALUE_MAX || alias.length > SAFE_ALIAS_MAX)
		return STATUS_TOO_LARGE;
	struct entry *old = safe_find(safe, alias), *entry = entry_new(alias.length, value.length + SEAL_EXTRA);
	if (entry == NULL)
		return STATUS_NO_MEMORY;
	entry->kind = kind;
	entry->version = old == NULL ? 1 : old->version + 1;
	memcpy(entry->bytes, alias.bytes, alias.length);
	enum status status = open_data_key(safe, master, key);
	if (status == STATUS_OK)
		status = seal(key, bound_to(room, safe, entry), value, (uint8_t *)entry->bytes + alias.length);
	wipe(key, sizeof(key));
	if (status == STATUS_OK)
		status = append_entry(safe, entry);
	if (status != STATUS_OK) {
		free(entry);
		return status;
	}
	if (old != NULL)
		safe_remove(safe, old);
	return STATUS_OK;
}

enum status safe_open(
	const struct safe *safe, const uint8_t master[SEAL_KEY], const struct entry *entry, struct buffer *value)
{
	char room[BOUND_ROOM];
	uint8_t key[SEAL_KEY];
	if (entry->sealed_length < SEAL_EXTRA)
		return STATUS_IO;
	size_t length = entry->sealed_length - SEAL_EXTRA;
	char *plain = malloc(length + 1);
	if (plain == NULL)
		return STATUS_NO_MEMORY;
	enum status status = open_data_key(safe, master, key);
	if (status == STATUS_OK)
		status = unseal(key, bound_to(room, safe, entry), entry_sealed(entry), (uint8_t *)plain);
	wipe(key, sizeof(key));
	if (status != STATUS_OK) {
		free(plain);
		return STATUS_IO;
	}
	plain[length] = 0;
	*value = (struct buffer){.bytes = plain, .length = length, .room = length + 1};
	return STATUS_OK;
}

void safe_remove(struct safe *safe, struct entry *entry)
{
	for (size_t i = 0; i < safe->count; i++) {
		if (safe->entries[i] != entry)
			continue;
		safe->entries[i] = safe->entries[--safe->count];
		safe->file_bytes -= entry_size(entry);
		free(entry);
		return;
	}
}
