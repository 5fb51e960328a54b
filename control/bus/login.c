/* Logins: what the settings say, checked once, and given to the library for each connection. */
#include "control/bus/login.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/secret.h"
#include "tenants/vault/safe_file.h"

enum { SECRET_MAX = 64 * 1024 };

void login_free(struct login *login)
{
	if (login == NULL)
		return;
	for (size_t i = 0; i < login->url_count; i++)
		free(login->urls[i]);
	free(login->username);
	free(login->secret_file);
	free(login->ca_file);
	free(login);
}

static bool copy_of(const char *from, char **to)
{
	*to = from == NULL ? NULL : strdup(from);
	return from == NULL || *to != NULL;
}

static bool is_complete(const struct bus_settings *settings, const char **secret, struct buffer *error)
{
	const struct {
		const char *name, *file;
	} files[] = {[BUS_NONE] = {NULL, NULL},
		[BUS_USERINFO] = {"password_file", settings->password_file},
		[BUS_TOKEN] = {"token_file", settings->token_file},
		[BUS_NKEY] = {"nkey_seed_file", settings->nkey_seed_file},
		[BUS_CREDENTIALS] = {"credentials_file", settings->credentials_file}};
	const char *missing =
		files[settings->method].name != NULL && files[settings->method].file == NULL ? files[settings->method].name
		: (settings->method == BUS_USERINFO || settings->method == BUS_NKEY) && settings->username == NULL ? "username"
																										   : NULL;
	*secret = files[settings->method].file;
	if (missing != NULL)
		buffer_printf(error, "nats.%s: needed by this nats.method", missing);
	return missing == NULL;
}

static bool is_url(struct text url)
{
	return (text_starts_with(url, TEXT("nats://")) || text_starts_with(url, TEXT("tls://"))) && url.length < 512 &&
		   text_is_printable(url, ' ', '"');
}

enum status login_make(const struct bus_settings *settings, struct login **login, struct buffer *error)
{
	const char *secret = NULL;
	if (settings->urls.count == 0 || settings->urls.count > LOGIN_URLS_MAX) {
		buffer_printf(error, "nats.urls: 1 to %d are needed", LOGIN_URLS_MAX);
		return STATUS_INVALID;
	}
	if (!is_complete(settings, &secret, error))
		return STATUS_INVALID;
	struct login *made = calloc(1, sizeof(*made));
	bool is_made = made != NULL && copy_of(settings->username, &made->username) &&
				   copy_of(secret, &made->secret_file) && copy_of(settings->ca_file, &made->ca_file);
	for (size_t i = 0; is_made && i < settings->urls.count; i++) {
		if (!is_url(text_of(settings->urls.items[i]))) {
			buffer_printf(
				error, "nats.urls: \"%s\": must be nats://host:port or tls://host:port", settings->urls.items[i]);
			login_free(made);
			return STATUS_INVALID;
		}
		is_made = copy_of(settings->urls.items[i], &made->urls[made->url_count++]);
	}
	if (!is_made) {
		login_free(made);
		return STATUS_NO_MEMORY;
	}
	made->method = (enum bus_method)settings->method;
	made->reconnect_ms = settings->reconnect_ms;
	*login = made;
	return STATUS_OK;
}

static bool read_secret(const char *path, struct buffer *content, struct buffer *error)
{
	enum status status = safe_file_load(path, SECRET_MAX, true, content);
	if (status != STATUS_OK)
		buffer_printf(error, "%s: %s", path, status_text(status));
	while (content->length > 0 && strchr("\r\n", content->bytes[content->length - 1]) != NULL)
		content->bytes[--content->length] = 0;
	return status == STATUS_OK;
}

static bool set_method(const struct login *login, natsOptions *options, struct buffer *error)
{
	struct buffer secret = {0};
	natsStatus status = NATS_OK;
	bool is_read = true;
	switch (login->method) {
	case BUS_NONE:
		break;
	case BUS_USERINFO:
		if ((is_read = read_secret(login->secret_file, &secret, error)))
			status = natsOptions_SetUserInfo(options, login->username, secret.bytes);
		break;
	case BUS_TOKEN:
		if ((is_read = read_secret(login->secret_file, &secret, error)))
			status = natsOptions_SetToken(options, secret.bytes);
		break;
	case BUS_NKEY:
	case BUS_CREDENTIALS:
		/* the library reads the file; this says what is wrong with it */
		if ((is_read = read_secret(login->secret_file, &secret, error)))
			status = login->method == BUS_CREDENTIALS
						 ? natsOptions_SetUserCredentialsFromFiles(options, login->secret_file, NULL)
						 : natsOptions_SetNKeyFromSeed(options, login->username, login->secret_file);
		break;
	}
	buffer_wipe(&secret);
	if (is_read && status != NATS_OK)
		buffer_printf(error, "credentials: %s", natsStatus_GetText(status));
	return is_read && status == NATS_OK;
}

bool login_apply(const struct login *login, natsOptions *options, struct buffer *error)
{
	natsStatus status = natsOptions_SetServers(options, (const char **)(uintptr_t)login->urls, (int)login->url_count);
	if (status == NATS_OK && login->ca_file != NULL)
		status = natsOptions_LoadCATrustedCertificates(options, login->ca_file);
	if (status != NATS_OK)
		buffer_printf(error, "options: %s", natsStatus_GetText(status));
	return status == NATS_OK && set_method(login, options, error);
}
