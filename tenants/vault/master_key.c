/* The master key: 32 random bytes in a file only its owner may read. */
#include "tenants/vault/master_key.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/base/id.h"
#include "server/base/secret.h"
#include "tenants/vault/safe_file.h"
#include "tenants/vault/seal.h"

/* A sealed word: a wrong master key is found at start, not at the first signature. */
static const char mark_name[] = "master.mark";
static const struct text mark = {"celld vault", 11};
enum { MARK_LENGTH = 11, MARK_BYTES = MARK_LENGTH + SEAL_EXTRA };

static bool has_safes(int directory)
{
	int again = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = again < 0 ? NULL : fdopendir(again);
	if (list == NULL) {
		if (again >= 0)
			close(again);
		return true; /* not known: nothing may be made anew */
	}
	bool found = false;
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else has this stream */
	for (const struct dirent *item; !found && (item = readdir(list)) != NULL;)
		found = text_ends_with(text_of(item->d_name), TEXT(".vault"));
	closedir(list);
	return found;
}

static enum status create(int folder, const char *name)
{
	uint8_t bytes[SEAL_KEY];
	random_bytes(bytes, sizeof(bytes));
	enum status status = safe_file_create(folder, name, 0400, (struct text){(const char *)bytes, sizeof(bytes)});
	wipe(bytes, sizeof(bytes));
	return status == STATUS_CONFLICT ? STATUS_OK : status;
}

static enum status read_or_create(int directory, const char *file, struct buffer *bytes, struct buffer *error)
{
	int folder;
	const char *name;
	enum status status = safe_file_split(file, &folder, &name);
	if (status != STATUS_OK) {
		buffer_printf(error, "vault.master_key_file: %s: the folder is not there", file);
		return status;
	}
	status = safe_file_read(folder, name, SEAL_KEY, true, bytes);
	if (status == STATUS_NOT_FOUND && has_safes(directory)) {
		buffer_printf(error, "vault.master_key_file: %s is missing, and the vault has safes that need it", file);
	} else if (status == STATUS_NOT_FOUND) {
		status = create(folder, name);
		if (status == STATUS_OK)
			status = safe_file_read(folder, name, SEAL_KEY, true, bytes);
	}
	close(folder);
	if (status == STATUS_FORBIDDEN)
		buffer_printf(error, "vault.master_key_file: %s must be readable by its owner alone (mode 0400)", file);
	else if (status == STATUS_OK && bytes->length != SEAL_KEY)
		status = STATUS_TOO_LARGE;
	if (status == STATUS_TOO_LARGE)
		buffer_printf(error, "vault.master_key_file: %s must hold %d bytes", file, SEAL_KEY);
	else if (status != STATUS_OK && error->length == 0)
		buffer_printf(error, "vault.master_key_file: %s: %s", file, status_text(status));
	return status;
}

static enum status check_mark(int directory, const uint8_t key[SEAL_KEY])
{
	struct buffer found = {.bytes = NULL};
	uint8_t bytes[MARK_BYTES], word[MARK_LENGTH];
	enum status status = safe_file_read(directory, mark_name, MARK_BYTES, true, &found);
	if (status == STATUS_NOT_FOUND) {
		status = seal(key, mark, mark, bytes);
		return status != STATUS_OK
				   ? status
				   : safe_file_replace(directory, mark_name, 0600, (struct text){(const char *)bytes, sizeof(bytes)});
	}
	if (status == STATUS_OK)
		status = found.length == MARK_BYTES ? unseal(key, mark, buffer_text(&found), word) : STATUS_UNAUTHORIZED;
	buffer_free(&found);
	return status;
}

enum status master_key_load(int directory, const char *file, struct secret **key, struct buffer *error)
{
	struct buffer bytes = {.bytes = NULL};
	enum status status = read_or_create(directory, file, &bytes, error);
	if (status == STATUS_OK) {
		status = check_mark(directory, (const uint8_t *)bytes.bytes);
		if (status == STATUS_UNAUTHORIZED)
			buffer_printf(error, "vault.master_key_file: %s is not the key this vault was made with", file);
		else if (status != STATUS_OK)
			buffer_printf(error, "vault.directory: %s: %s", mark_name, status_text(status));
	}
	struct secret *made = status == STATUS_OK ? secret_new(buffer_text(&bytes)) : NULL;
	buffer_wipe(&bytes);
	if (status == STATUS_OK && made == NULL)
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		*key = made;
	return status;
}
