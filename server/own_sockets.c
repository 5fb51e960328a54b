/* What leads to a wildcard: 127/8 as a whole, ::1, and what the interfaces have. */
#include "server/own_sockets.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <stdlib.h>
#include <string.h>

static enum status add(struct own_sockets *sockets, struct text cidr, uint16_t port)
{
	struct own_socket *items = realloc(sockets->items, (sockets->count + 1) * sizeof(*items));
	if (items == NULL)
		return STATUS_NO_MEMORY;
	sockets->items = items;
	enum status status = network_parse(cidr, &items[sockets->count].network);
	if (status != STATUS_OK)
		return status;
	items[sockets->count++].port = port;
	return STATUS_OK;
}

static enum status add_all(struct own_sockets *sockets, const char *const *networks, uint16_t port)
{
	enum status status = STATUS_OK;
	for (; *networks != NULL && status == STATUS_OK; networks++)
		status = add(sockets, text_of(*networks), port);
	return status;
}

static enum status add_interfaces(struct own_sockets *sockets, uint16_t port)
{
	struct ifaddrs *interfaces = NULL;
	enum status status = STATUS_OK;
	if (getifaddrs(&interfaces) != 0)
		return STATUS_IO;
	for (const struct ifaddrs *at = interfaces; at != NULL && status == STATUS_OK; at = at->ifa_next) {
		char text[INET6_ADDRSTRLEN];
		const void *bytes = NULL;
		if (at->ifa_addr != NULL && at->ifa_addr->sa_family == AF_INET)
			bytes = &((const struct sockaddr_in *)(const void *)at->ifa_addr)->sin_addr;
		else if (at->ifa_addr != NULL && at->ifa_addr->sa_family == AF_INET6)
			bytes = &((const struct sockaddr_in6 *)(const void *)at->ifa_addr)->sin6_addr;
		if (bytes != NULL && inet_ntop(at->ifa_addr->sa_family, bytes, text, sizeof(text)) != NULL)
			status = add(sockets, text_of(text), port);
	}
	freeifaddrs(interfaces);
	return status;
}

enum status own_sockets_add(struct own_sockets *sockets, struct text address, uint16_t port)
{
	static const char *const unspecified[] = {"0.0.0.0", "::", NULL};
	static const char *const loopback[] = {"127.0.0.0/8", "::1", NULL};
	static const struct network any_v4 = {.bytes = {[10] = 0xff, [11] = 0xff}, .bits = 128}, any_v6 = {.bits = 128};
	struct network network;
	enum status status = network_parse(address, &network);
	if (status == STATUS_OK)
		status = add(sockets, address, port);
	if (status == STATUS_OK)
		status = add_all(sockets, unspecified, port);
	if (status == STATUS_OK &&
		(memcmp(&network, &any_v4, sizeof(network)) == 0 || memcmp(&network, &any_v6, sizeof(network)) == 0)) {
		status = add_all(sockets, loopback, port);
		if (status == STATUS_OK)
			status = add_interfaces(sockets, port);
	}
	return status;
}

bool own_sockets_contain(const struct own_sockets *sockets, const struct sockaddr *address, uint16_t port)
{
	for (size_t i = 0; i < sockets->count; i++) {
		if (sockets->items[i].port == port && network_contains(&sockets->items[i].network, address))
			return true;
	}
	return false;
}

void own_sockets_free(struct own_sockets *sockets)
{
	free(sockets->items);
	*sockets = (struct own_sockets){0};
}
