/* What of the bus is set: one table. */
#include "control/bus/bus.h"

static const char *const methods[] = {"none", "userinfo", "token", "nkey", "credentials", NULL};
#define BUS(name, kind_, ...)                                                                                          \
	{                                                                                                                  \
		.key = #name, .kind = kind_, .offset = offsetof(struct bus_settings, name), __VA_ARGS__                        \
	}
const struct setting bus_settings_table[] = {
	BUS(urls, SETTING_TEXTS, .help = "nats://host:port or tls://host:port of each server; empty: no messages at all"),
	BUS(method, SETTING_CHOICE, .preset = "none", .choices = methods, .help = "how to log in"),
	BUS(username, SETTING_TEXT, .maximum = 256, .help = "userinfo: the name; nkey: the public key U..."),
	BUS(password_file, SETTING_TEXT, .maximum = 4096, .help = "userinfo: a file only its owner may read"),
	BUS(token_file, SETTING_TEXT, .maximum = 4096, .help = "token: a file only its owner may read"),
	BUS(nkey_seed_file, SETTING_TEXT, .maximum = 4096,
		.help = "nkey: a file only its owner may read, holding the seed SU..."),
	BUS(credentials_file, SETTING_TEXT, .maximum = 4096,
		.help = "credentials: a file only its owner may read, with user JWT and seed; read at each connection"),
	BUS(ca_file, SETTING_TEXT, .maximum = 4096,
		.help = "who signs the servers' certificates (tls://); null: the system's"),
	BUS(inbox, SETTING_TEXT, .preset = "_INBOX", .minimum = 1, .maximum = 64, .help = "first tokens of reply subjects"),
	BUS(pending_max, SETTING_INTEGER, .preset = "65536", .minimum = 16, .maximum = 1000000,
		.help = "messages that may wait to be sent; further ones are refused"),
	BUS(reconnect_ms, SETTING_MILLISECONDS, .preset = "500 ms", .minimum = 10, .maximum = 60000,
		.help = "pause before the next connection is tried"),
};
const size_t bus_settings_count = sizeof(bus_settings_table) / sizeof(bus_settings_table[0]);
