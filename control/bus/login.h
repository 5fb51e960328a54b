/* Where the broker is and how to log in there: settings made ready for the client library; secrets are read at each
 * connection, for their files may have changed. Private to this folder. */
#pragma once

#include <nats/nats.h>

#include "control/bus/bus.h"

enum { LOGIN_URLS_MAX = 16 };
struct login {
	enum bus_method method;
	char *urls[LOGIN_URLS_MAX], *username, *secret_file, *ca_file;
	size_t url_count;
	int64_t reconnect_ms;
};

/* INVALID: a setting is wrong or missing, in one line. */
enum status login_make(const struct bus_settings *settings, struct login **login, struct buffer *error) MUST_CHECK;
void login_free(struct login *login); /* NULL is fine */
/* Servers, certificates and secrets of one connection. False: `error` says in one line what is wrong. */
bool login_apply(const struct login *login, natsOptions *options, struct buffer *error);
