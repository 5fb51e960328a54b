/* The engine's settings. */
#include "server/server.h"
#include "server/worker_pool.h"

#include <stddef.h>

static const char *const protocols[] = {"tls", "clear", NULL};
static const char *const roles[] = {"public", "admin", NULL};
static const char *const certificates[] = {"none", "optional", "required", NULL};

#define MEMBER(name, kind_, ...)                                                                                       \
	{                                                                                                                  \
		.key = #name, .kind = kind_, .offset = offsetof(struct listener_settings, name), __VA_ARGS__                   \
	}
static const struct setting listener_members[] = {
	MEMBER(address, SETTING_TEXT, .preset = "127.0.0.1", .minimum = 1, .maximum = 107,
		.help = "IP address, or unix:/path for the admin role"),
	MEMBER(port, SETTING_INTEGER, .preset = "0", .minimum = 0, .maximum = 65535, .help = "0: any free one"),
	MEMBER(protocol, SETTING_CHOICE, .preset = "tls", .choices = protocols,
		.help = "tls (h2, http/1.1), or clear (h2 with prior knowledge, or HTTP/1.1)"),
	MEMBER(role, SETTING_CHOICE, .preset = "public", .choices = roles, .help = "what is served here"),
	MEMBER(proxy_protocol, SETTING_BOOL, .preset = "false",
		.help = "every connection starts with a PROXY protocol v2 header"),
	MEMBER(trusted_ingress, SETTING_BOOL, .preset = "false", .help = "tenant headers set by the peer are believed"),
	MEMBER(client_certificates, SETTING_CHOICE, .preset = "none", .choices = certificates,
		.help = "whether clients show a certificate of client_ca_file"),
};

#define SERVER(name, kind_, ...)                                                                                       \
	{                                                                                                                  \
		.key = #name, .kind = kind_, .offset = offsetof(struct server_settings, name), __VA_ARGS__                     \
	}
const struct setting server_settings_table[] = {
	SERVER(listeners, SETTING_OBJECTS, .members = listener_members,
		.member_count = sizeof(listener_members) / sizeof(listener_members[0]),
		.object_size = sizeof(struct listener_settings), .help = "sockets to listen on"),
	SERVER(workers, SETTING_INTEGER, .preset = "0", .minimum = 0, .maximum = WORKERS_MAX,
		.help = "threads; 0: one for each core this process may use"),
	SERVER(certificate_file, SETTING_TEXT, .help = "PEM: the certificate, then its chain"),
	SERVER(key_file, SETTING_TEXT, .help = "PEM: the certificate's private key"),
	SERVER(client_ca_file, SETTING_TEXT, .help = "PEM: authorities of client certificates"),
	SERVER(trusted_ingress, SETTING_TEXTS, .help = "networks (CIDR) of ingresses whose tenant headers are believed"),
	SERVER(ticket_lifetime_ms, SETTING_MILLISECONDS, .preset = "12 h", .minimum = 60000, .maximum = 604800000,
		.help = "how long a TLS ticket opens; a new key is made at half of it"),
};
const size_t server_settings_count = sizeof(server_settings_table) / sizeof(server_settings_table[0]);
