/* The file vault: safes loaded on first use, the last used ones kept (sealed) in memory, written whole on every change.
 */
#include "tenants/vault/file_vault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/id.h"
#include "server/base/log.h"
#include "server/base/secret.h"
#include "tenants/vault/master_key.h"
#include "tenants/vault/safe.h"
#include "tenants/vault/safe_file.h"

enum { BUCKETS = 16384, SAFES_MAX = 10000, FILE_NAME_ROOM = SAFE_CTX_MAX + 16 };

TAILQ_HEAD(safe_list, safe);

struct file_vault {
	int directory; /* also holds the lock */
	struct secret *master;
	struct safe *buckets[BUCKETS];
	struct safe_list usage;
	size_t count;
};

static const uint8_t *master_of(const struct file_vault *vault)
{
	return (const uint8_t *)secret_expose(vault->master).bytes;
}

static struct text file_name(char into[FILE_NAME_ROOM], struct text ctx, const char *tail)
{
	int length = snprintf(into, FILE_NAME_ROOM, "%.*s.%s", TEXT_ARGUMENTS(ctx), tail);
	return (struct text){into, (size_t)length};
}

static enum status check_names(struct text ctx, struct text alias)
{
	if (!name_is_valid(ctx, SAFE_CTX_MAX) || alias.length == 0 || alias.length > SAFE_ALIAS_MAX)
		return STATUS_INVALID;
	for (size_t i = 0; i < alias.length; i++) {
		if (alias.bytes[i] <= ' ' || alias.bytes[i] > '~')
			return STATUS_INVALID;
	}
	return STATUS_OK;
}

/* --- the safes in memory */

static struct safe **bucket_of(struct file_vault *vault, struct text ctx)
{
	return &vault->buckets[text_hash(ctx) % BUCKETS];
}

static void evict(struct file_vault *vault, struct safe *safe)
{
	struct safe **link = bucket_of(vault, text_of(safe->ctx));
	while (*link != safe)
		link = &(*link)->next;
	*link = safe->next;
	TAILQ_REMOVE(&vault->usage, safe, usage);
	vault->count--;
	safe_free(safe);
}

static void remember(struct file_vault *vault, struct safe *safe)
{
	if (vault->count >= SAFES_MAX)
		evict(vault, TAILQ_FIRST(&vault->usage));
	struct safe **bucket = bucket_of(vault, text_of(safe->ctx));
	safe->next = *bucket;
	*bucket = safe;
	TAILQ_INSERT_TAIL(&vault->usage, safe, usage);
	vault->count++;
}

static struct safe *remembered(struct file_vault *vault, struct text ctx)
{
	for (struct safe *safe = *bucket_of(vault, ctx); safe != NULL; safe = safe->next) {
		if (!text_equals(text_of(safe->ctx), ctx))
			continue;
		TAILQ_REMOVE(&vault->usage, safe, usage);
		TAILQ_INSERT_TAIL(&vault->usage, safe, usage);
		return safe;
	}
	return NULL;
}

static enum status load(struct file_vault *vault, struct text ctx, struct safe **safe)
{
	char name[FILE_NAME_ROOM];
	struct buffer file = {.bytes = NULL};
	*safe = remembered(vault, ctx);
	if (*safe != NULL)
		return STATUS_OK;
	file_name(name, ctx, "vault");
	enum status status = safe_file_read(vault->directory, name, SAFE_FILE_MAX, true, &file);
	if (status == STATUS_OK)
		status = safe_parse(buffer_text(&file), ctx, master_of(vault), safe);
	buffer_free(&file);
	if (status == STATUS_OK)
		remember(vault, *safe);
	else if (status != STATUS_NOT_FOUND) {
		LOG(ERROR, "vault.unreadable", log_text("ctx", ctx), log_text("reason", text_of(status_text(status))));
		status = STATUS_IO;
	}
	return status;
}

static enum status load_or_new(struct file_vault *vault, struct text ctx, struct safe **safe)
{
	enum status status = load(vault, ctx, safe);
	if (status != STATUS_NOT_FOUND)
		return status;
	status = safe_new(ctx, master_of(vault), safe);
	if (status == STATUS_OK)
		remember(vault, *safe);
	return status;
}

/* After a failure memory and disk may differ: the safe is forgotten, and the next use reads what is there. */
static enum status save(struct file_vault *vault, struct safe *safe, enum status status)
{
	char name[FILE_NAME_ROOM];
	struct buffer file = {.bytes = NULL};
	if (status == STATUS_OK)
		status = safe_print(safe, master_of(vault), &file);
	if (status == STATUS_OK) {
		file_name(name, text_of(safe->ctx), "vault");
		status = safe_file_replace(vault->directory, name, 0600, buffer_text(&file));
	}
	buffer_free(&file);
	if (status != STATUS_OK)
		evict(vault, safe);
	return status;
}

/* --- what callers ask for */

static void append_key_id(struct buffer *into, struct text ctx, struct text alias)
{
	char random[ID_LENGTH + 1];
	id_random(random);
	buffer_printf(into, "%.*s#%.*s-%.8s", TEXT_ARGUMENTS(ctx), TEXT_ARGUMENTS(alias), random);
}

/* The kid a key gets; what it is called when its public half is shown. */
static enum status name_key(
	struct file_vault *vault, struct text ctx, struct text alias, struct safe **safe, struct buffer *kid)
{
	enum status status = check_names(ctx, alias);
	if (status == STATUS_OK)
		status = load_or_new(vault, ctx, safe);
	if (status != STATUS_OK)
		return status;
	if (safe_find(*safe, alias) != NULL)
		return STATUS_CONFLICT;
	append_key_id(kid, ctx, alias);
	return kid->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

/* Also when there is no key to keep (status): a safe made for it goes. */
static enum status keep_key(struct file_vault *vault, struct safe *safe, struct text alias, enum status status,
	const struct key *key, struct buffer *result)
{
	struct buffer der = {.bytes = NULL};
	if (status == STATUS_OK)
		status = key_to_private_der(key, &der);
	if (status == STATUS_OK)
		status = key_to_public_jwk(key, result);
	if (status == STATUS_OK)
		status = safe_put(
			safe, master_of(vault), alias, key_kind(key) == KEY_ES256 ? ENTRY_ES256 : ENTRY_EDDSA, buffer_text(&der));
	buffer_wipe(&der);
	return save(vault, safe, status);
}

enum status file_vault_key_create(
	struct file_vault *vault, struct text ctx, struct text alias, enum key_kind kind, struct buffer *result)
{
	struct safe *safe;
	struct key *key = NULL;
	struct buffer kid = {.bytes = NULL};
	enum status status = name_key(vault, ctx, alias, &safe, &kid);
	if (status == STATUS_OK) {
		status = key_generate(kind, buffer_text(&kid), &key);
		status = keep_key(vault, safe, alias, status, key, result);
	}
	key_free(key);
	buffer_free(&kid);
	return status;
}

enum status file_vault_key_import(
	struct file_vault *vault, struct text ctx, struct text alias, struct text private, struct buffer *result)
{
	struct safe *safe;
	struct key *key = NULL;
	struct buffer kid = {.bytes = NULL};
	bool is_pem = text_starts_with(text_trim(private), TEXT("-----BEGIN"));
	enum status status = name_key(vault, ctx, alias, &safe, &kid);
	if (status == STATUS_OK) {
		status = is_pem ? key_from_private_pem(private, buffer_text(&kid), &key)
						: key_from_private_der(private, buffer_text(&kid), &key);
		status = keep_key(vault, safe, alias, status, key, result);
	}
	key_free(key);
	buffer_free(&kid);
	return status;
}

/* An entry of a kind the caller may have; what is of another kind is not there for it. */
static enum status open_entry(
	struct file_vault *vault, struct text ctx, struct text alias, bool secret, struct buffer *value)
{
	struct safe *safe;
	enum status status = check_names(ctx, alias);
	if (status == STATUS_OK)
		status = load(vault, ctx, &safe);
	if (status != STATUS_OK)
		return status;
	const struct entry *entry = safe_find(safe, alias);
	if (entry == NULL || (entry->kind == ENTRY_SECRET) != secret)
		return STATUS_NOT_FOUND;
	return safe_open(safe, master_of(vault), entry, value);
}

enum status file_vault_key_public(struct file_vault *vault, struct text ctx, struct text alias, struct buffer *result)
{
	struct buffer der = {.bytes = NULL};
	struct key *key = NULL;
	enum status status = open_entry(vault, ctx, alias, false, &der);
	if (status == STATUS_OK)
		status = key_from_private_der(buffer_text(&der), TEXT_NONE, &key);
	buffer_wipe(&der);
	if (status == STATUS_OK)
		status = key_to_public_jwk(key, result);
	key_free(key);
	return status;
}

enum status file_vault_sign(
	struct file_vault *vault, struct text ctx, struct text alias, struct text bytes, struct buffer *result)
{
	struct buffer der = {.bytes = NULL};
	struct key *key = NULL;
	uint8_t signature[64];
	enum status status = open_entry(vault, ctx, alias, false, &der);
	if (status == STATUS_OK)
		status = key_from_private_der(buffer_text(&der), TEXT_NONE, &key);
	buffer_wipe(&der);
	if (status == STATUS_OK)
		status = key_sign(key, bytes, signature);
	key_free(key);
	if (status != STATUS_OK)
		return status;
	buffer_append(result, (struct text){(const char *)signature, sizeof(signature)});
	return result->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status file_vault_put(struct file_vault *vault, struct text ctx, struct text alias, struct text value)
{
	struct safe *safe;
	enum status status = check_names(ctx, alias);
	if (status == STATUS_OK && value.length > SAFE_VALUE_MAX)
		status = STATUS_TOO_LARGE;
	if (status == STATUS_OK)
		status = load_or_new(vault, ctx, &safe);
	if (status != STATUS_OK)
		return status;
	const struct entry *old = safe_find(safe, alias);
	if (old != NULL && old->kind != ENTRY_SECRET)
		return STATUS_CONFLICT;
	return save(vault, safe, safe_put(safe, master_of(vault), alias, ENTRY_SECRET, value));
}

enum status file_vault_get(struct file_vault *vault, struct text ctx, struct text alias, struct buffer *result)
{
	return open_entry(vault, ctx, alias, true, result);
}

enum status file_vault_delete(struct file_vault *vault, struct text ctx, struct text alias)
{
	struct safe *safe;
	enum status status = check_names(ctx, alias);
	if (status == STATUS_OK)
		status = load(vault, ctx, &safe);
	if (status != STATUS_OK)
		return status;
	struct entry *entry = safe_find(safe, alias);
	if (entry == NULL)
		return STATUS_NOT_FOUND;
	safe_remove(safe, entry);
	return save(vault, safe, STATUS_OK);
}

/* Overwrites the head, data key included, before the name goes. */
static enum status erase(int directory, const char *name)
{
	static const char zeros[4096];
	int file = openat(directory, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (file < 0)
		return errno == ENOENT ? STATUS_OK : STATUS_IO;
	bool good = pwrite(file, zeros, sizeof(zeros), 0) == (ssize_t)sizeof(zeros) && fsync(file) == 0;
	close(file);
	good = unlinkat(directory, name, 0) == 0 && good;
	return good && fsync(directory) == 0 ? STATUS_OK : STATUS_IO;
}

/* Renamed first: a half-erased safe must never stand under the name of the ctx. */
enum status file_vault_forget(struct file_vault *vault, struct text ctx)
{
	char name[FILE_NAME_ROOM], gone[FILE_NAME_ROOM];
	if (!name_is_valid(ctx, SAFE_CTX_MAX))
		return STATUS_INVALID;
	struct safe *safe = remembered(vault, ctx);
	if (safe != NULL)
		evict(vault, safe);
	file_name(name, ctx, "vault");
	file_name(gone, ctx, "gone");
	if (renameat(vault->directory, name, vault->directory, gone) != 0 && errno != ENOENT)
		return STATUS_IO;
	return erase(vault->directory, gone);
}

/* --- opening */

/* What a killed process left: unfinished files, and safes half forgotten. */
static enum status sweep(int directory)
{
	int again = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = again < 0 ? NULL : fdopendir(again);
	if (list == NULL) {
		if (again >= 0)
			close(again);
		return STATUS_IO;
	}
	enum status status = STATUS_OK;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has this stream */
	for (const struct dirent *item; (item = readdir(list)) != NULL;) {
		struct text name = text_of(item->d_name);
		if ((text_ends_with(name, TEXT(".gone")) || text_ends_with(name, TEXT(".vault.new"))) &&
			erase(directory, item->d_name) != STATUS_OK)
			status = STATUS_IO;
	}
	closedir(list);
	return status;
}

static enum status open_directory(const char *path, int *directory, struct buffer *error)
{
	struct stat info;
	if (mkdir(path, 0700) != 0 && errno != EEXIST) {
		buffer_printf(error, "vault.directory: %s cannot be created", path);
		return STATUS_IO;
	}
	int opened = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum status status = STATUS_OK;
	if (opened < 0 || fstat(opened, &info) != 0) {
		buffer_printf(error, "vault.directory: %s cannot be opened", path);
		status = STATUS_IO;
	} else if ((info.st_mode & 022) != 0) {
		buffer_printf(error, "vault.directory: %s must not be writable by others", path);
		status = STATUS_FORBIDDEN;
	} else if (flock(opened, LOCK_EX | LOCK_NB) != 0) {
		buffer_printf(error, "vault.directory: %s is in use by another process", path);
		status = STATUS_CONFLICT;
	} else if (sweep(opened) != STATUS_OK) {
		buffer_printf(error, "vault.directory: %s cannot be written", path);
		status = STATUS_IO;
	}
	if (status == STATUS_OK)
		*directory = opened;
	else if (opened >= 0)
		close(opened);
	return status;
}

enum status file_vault_open(
	const char *directory, const char *master_key_file, struct file_vault **vault, struct buffer *error)
{
	struct file_vault *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	TAILQ_INIT(&made->usage);
	made->directory = -1;
	enum status status = open_directory(directory, &made->directory, error);
	if (status == STATUS_OK)
		status = master_key_load(made->directory, master_key_file, &made->master, error);
	if (status == STATUS_OK)
		*vault = made;
	else
		file_vault_close(made);
	return status;
}

void file_vault_close(struct file_vault *vault)
{
	if (vault == NULL)
		return;
	while (!TAILQ_EMPTY(&vault->usage))
		evict(vault, TAILQ_FIRST(&vault->usage));
	secret_free(vault->master);
	if (vault->directory >= 0)
		close(vault->directory);
	free(vault);
}
