/* The settings of section "client". */
#include <stddef.h>

#include "server/base/config.h"
#include "server/client.h"

#define AT(member) offsetof(struct client_settings, member)

const struct setting client_settings_table[] = {
	{.key = "connect_ms", .kind = SETTING_MILLISECONDS, .offset = AT(connect_ms), .preset = "5 s", .minimum = 10,
		.maximum = 600000, .help = "time for name, connection and TLS handshake together"},
	{.key = "read_ms", .kind = SETTING_MILLISECONDS, .offset = AT(read_ms), .preset = "30 s", .minimum = 10,
		.maximum = 3600000, .help = "longest silence of an upstream while its bytes are wanted"},
	{.key = "idle_ms", .kind = SETTING_MILLISECONDS, .offset = AT(idle_ms), .preset = "60 s", .minimum = 10,
		.maximum = 3600000, .help = "how long an unused connection is kept"},
	{.key = "connections_per_origin", .kind = SETTING_INTEGER, .offset = AT(connections_per_origin), .preset = "64",
		.minimum = 1, .maximum = 10000, .help = "connections to one origin, per tenant and worker; further calls wait"},
	{.key = "waiting_calls", .kind = SETTING_INTEGER, .offset = AT(waiting_calls), .preset = "1024", .minimum = 0,
		.maximum = 1000000, .help = "calls that may wait for a connection of one origin; further calls are refused"},
	{.key = "idle_connections", .kind = SETTING_INTEGER, .offset = AT(idle_connections), .preset = "32", .minimum = 0,
		.maximum = 10000, .help = "unused connections kept per origin"},
	{.key = "ca_file", .kind = SETTING_TEXT, .offset = AT(ca_file), .preset = NULL,
		.help = "PEM file of the authorities trusted for upstreams; without it the system's"},
	{.key = "dns_threads", .kind = SETTING_INTEGER, .offset = AT(dns_threads), .preset = "2", .minimum = 1,
		.maximum = 16, .help = "threads that look names up"},
	{.key = "dns_ttl_ms", .kind = SETTING_MILLISECONDS, .offset = AT(dns_ttl_ms), .preset = "30 s", .minimum = 0,
		.maximum = 3600000, .help = "how long a name's addresses are kept"},
	{.key = "dns_negative_ttl_ms", .kind = SETTING_MILLISECONDS, .offset = AT(dns_negative_ttl_ms), .preset = "2 s",
		.minimum = 0, .maximum = 3600000, .help = "how long a failed look-up is kept"},
};
const size_t client_settings_count = sizeof(client_settings_table) / sizeof(client_settings_table[0]);
