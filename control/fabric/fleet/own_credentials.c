/* Credentials of the manager itself. */
#include "control/fabric/fleet/own_credentials.h"

#include <stdlib.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/secret.h"
#include "tenants/vault/safe_file.h"

enum { RETRY_MS = 60000 };

struct own_credentials {
	struct credentials *credentials;
	struct nkey *key;
	struct bus_settings *bus_settings;
	char *file;
	int64_t lifetime_ms, renew_ms; /* wall clock */
};

static enum status write_file(struct own_credentials *own, int64_t wall_ms)
{
	struct buffer jwt = {0}, content = {0};
	int64_t expires_ms = 0;
	int folder;
	const char *name;
	enum status status = credentials_issue(own->credentials, ROLE_MANAGER, TEXT("cfmd"), nkey_public(own->key), wall_ms,
		own->lifetime_ms, &jwt, &expires_ms);
	if (status == STATUS_OK)
		status = nats_credentials_print(buffer_text(&jwt), own->key, &content);
	if (status == STATUS_OK)
		status = safe_file_split(own->file, &folder, &name);
	if (status == STATUS_OK) {
		status = safe_file_replace(folder, name, 0600, buffer_text(&content));
		close(folder);
	}
	if (status == STATUS_OK)
		own->renew_ms = wall_ms + (expires_ms - wall_ms) * 2 / 3;
	buffer_wipe(&content);
	buffer_free(&jwt);
	return status;
}

static enum status open_key(struct own_credentials *own, const char *key_file, struct buffer *error)
{
	struct buffer file = {0};
	buffer_printf(&file, "%s.creds", key_file);
	enum status status = file.failed ? STATUS_NO_MEMORY : nkey_open(key_file, NKEY_USER, true, &own->key, error);
	own->file = buffer_take(&file);
	if (status != STATUS_OK)
		return status;
	status = write_file(own, clock_wall_ms());
	if (status != STATUS_OK)
		buffer_printf(error, "%s: %s", own->file, status_text(status));
	return status;
}

enum status own_credentials_open(const struct fleet_settings *settings, struct bus_settings *bus_settings,
	struct own_credentials **own, struct buffer *error)
{
	*own = NULL;
	if (settings->signing_key_file == NULL || bus_settings->method != BUS_NONE || bus_settings->urls.count == 0)
		return STATUS_OK;
	const struct credentials_settings credentials = {settings->signing_key_file, settings->account_file, {NULL, 0}};
	struct own_credentials *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->lifetime_ms = settings->credentials_ms;
	made->bus_settings = bus_settings;
	enum status status = credentials_open(&credentials, &made->credentials, error);
	if (status == STATUS_OK)
		status = open_key(made, settings->own_key_file, error);
	char *file = status == STATUS_OK ? text_copy(text_of(made->file)) : NULL;
	if (file == NULL) {
		own_credentials_free(made);
		return status == STATUS_OK ? STATUS_NO_MEMORY : status;
	}
	free(bus_settings->credentials_file);
	bus_settings->credentials_file = file;
	bus_settings->method = BUS_CREDENTIALS;
	*own = made;
	return STATUS_OK;
}

void own_credentials_tick(struct own_credentials *own, struct bus *bus, int64_t wall_ms)
{
	if (own == NULL || bus == NULL || wall_ms < own->renew_ms)
		return;
	enum status status = write_file(own, wall_ms);
	if (status == STATUS_OK) {
		bus_renew(bus, own->bus_settings);
		LOG(INFO, "fabric.credentials_renewed", log_text("file", text_of(own->file)));
		return;
	}
	own->renew_ms = wall_ms + RETRY_MS;
	LOG(ERROR, "fabric.credentials_failed", log_text("file", text_of(own->file)),
		log_text("why", text_of(status_text(status))));
}

void own_credentials_free(struct own_credentials *own)
{
	if (own == NULL)
		return;
	credentials_free(own->credentials);
	nkey_free(own->key);
	free(own->file);
	free(own);
}
