/* The PROXY protocol header, version 2 (haproxy.org, proxy-protocol.txt §2.2): what an ingress says about the client
 * behind it. Pure. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "server/base/text.h"

/* Longest header taken, addresses and TLVs included; a longer one is TOO_LARGE. */
enum { PROXY_HEADER_LIMIT = 2048 };

struct proxy_header {
	bool local; /* the ingress speaks for itself (health check), or does not know: the socket's own addresses hold */
	/* When not local: AF_INET or AF_INET6. */
	struct sockaddr_storage source, destination;
};

/* OK with *used = 0: more bytes are needed. OK with *used > 0: `header` is set and that many bytes belong to it.
 * INVALID: not version 2 (version 1 included), not TCP over IPv4 or IPv6, or too short for its addresses. `header` is
 * set only at the end. */
enum status proxy_parse(const uint8_t *bytes, size_t length, struct proxy_header *header, size_t *used) MUST_CHECK;
