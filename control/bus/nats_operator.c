/* Makes an operator, its accounts, and what a server needs of them. */
#include "control/bus/nats_operator.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tenants/vault/safe_file.h"

enum part { PART_OPERATOR, PART_ACCOUNT, PART_SYSTEM, PART_SIGNING, PART_COUNT };
static const struct {
	const char *file;
	enum nkey_kind kind;
} parts[PART_COUNT] = {
	[PART_OPERATOR] = {"operator.nk", NKEY_OPERATOR},
	[PART_ACCOUNT] = {"account.nk", NKEY_ACCOUNT},
	[PART_SYSTEM] = {"system.nk", NKEY_ACCOUNT},
	[PART_SIGNING] = {"signing.nk", NKEY_ACCOUNT},
};

struct making {
	const struct nats_operator_settings *settings;
	struct nkey *keys[PART_COUNT];
	struct buffer operator, account, system; /* JWTs */
};

static char *path_of(const struct making *making, const char *name)
{
	struct buffer path = {0};
	buffer_printf(&path, "%s/%s", making->settings->folder, name);
	return buffer_take(&path);
}

static enum status make_key(struct making *making, enum part part, struct buffer *error)
{
	char *path = path_of(making, parts[part].file);
	struct stat found;
	enum status status = path == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	if (path != NULL && lstat(path, &found) == 0) {
		buffer_printf(error, "%s is there already", path);
		status = STATUS_CONFLICT;
	}
	if (status == STATUS_OK)
		status = nkey_open(path, parts[part].kind, true, &making->keys[part], error);
	free(path);
	return status;
}

static enum status sign(struct making *making, int64_t wall_ms)
{
	const struct nkey *operator= making->keys[PART_OPERATOR];
	const char *account = nkey_public(making->keys[PART_ACCOUNT]), *system = nkey_public(making->keys[PART_SYSTEM]);
	enum status status = nats_jwt_operator(operator, making->settings->name, system, wall_ms / 1000, &making->operator);
	if (status == STATUS_OK)
		status = nats_jwt_account(operator, account, TEXT("fabric"), nkey_public(making->keys[PART_SIGNING]), true,
			wall_ms / 1000, &making->account);
	if (status == STATUS_OK)
		status = nats_jwt_account(operator, system, TEXT("SYS"), NULL, false, wall_ms / 1000, &making->system);
	return status;
}

static enum status write_file(
	const struct making *making, const char *name, const struct buffer *content, struct buffer *error)
{
	char *path = path_of(making, name);
	const char *base;
	int folder;
	enum status status = path == NULL || content->failed ? STATUS_NO_MEMORY : safe_file_split(path, &folder, &base);
	if (status == STATUS_OK) {
		status = safe_file_create(folder, base, 0644, buffer_text(content));
		close(folder);
	}
	if (status != STATUS_OK)
		buffer_printf(error, "%s: %s", path == NULL ? name : path, status_text(status));
	free(path);
	return status;
}

static enum status write_configuration(const struct making *making, struct buffer *error)
{
	struct buffer text = {0};
	const char *account = nkey_public(making->keys[PART_ACCOUNT]), *system = nkey_public(making->keys[PART_SYSTEM]);
	buffer_printf(&text, "listen: \"0.0.0.0:%u\"\njetstream { store_dir: \"%s/jetstream\" }\n", making->settings->port,
		making->settings->folder);
	buffer_printf(&text, "operator: \"%s\"\nsystem_account: \"%s\"\nresolver: MEMORY\nresolver_preload: {\n",
		making->operator.bytes, system);
	buffer_printf(
		&text, "\t%s: \"%s\"\n\t%s: \"%s\"\n}\n", account, making->account.bytes, system, making->system.bytes);
	enum status status = write_file(making, "nats.conf", &text, error);
	buffer_free(&text);
	return status;
}

enum status nats_operator_make(const struct nats_operator_settings *settings, int64_t wall_ms, struct buffer *error)
{
	struct making making = {.settings = settings};
	enum status status = STATUS_OK;
	for (int part = 0; part < PART_COUNT && status == STATUS_OK; part++)
		status = make_key(&making, (enum part)part, error);
	if (status == STATUS_OK)
		status = sign(&making, wall_ms);
	buffer_append_byte(&making.account, '\n');
	if (status == STATUS_OK)
		status = write_file(&making, "account.jwt", &making.account, error);
	if (status == STATUS_OK && making.account.length > 0)
		making.account.bytes[--making.account.length] = 0;
	if (status == STATUS_OK)
		status = write_configuration(&making, error);
	if (status != STATUS_OK && error->length == 0)
		buffer_printf(error, "%s: %s", settings->folder, status_text(status));
	for (int part = 0; part < PART_COUNT; part++)
		nkey_free(making.keys[part]);
	buffer_free(&making.operator);
	buffer_free(&making.account);
	buffer_free(&making.system);
	return status;
}
