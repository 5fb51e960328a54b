/* Sockets of this process that no call to an upstream may reach, whatever networks a tenant was allowed: its admin
 * listeners. Pure but for own_sockets_add of a wildcard, which asks for the addresses of this machine. */
#pragma once

#include "server/url.h"

struct own_socket {
	struct network network;
	uint16_t port;
};
struct own_sockets {
	size_t count;
	struct own_socket *items;
};
/* address: an IP address as it was bound; a wildcard stands for every address this machine has now, a loopback address
 * also for the unspecified one, which leads there. INVALID: no address. */
enum status own_sockets_add(struct own_sockets *sockets, struct text address, uint16_t port) MUST_CHECK;
bool own_sockets_contain(const struct own_sockets *sockets, const struct sockaddr *address, uint16_t port);
void own_sockets_free(struct own_sockets *sockets);
