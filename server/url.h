/* Absolute http(s) URLs and addresses: strict parser, classifier, allow rules. Pure functions. */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "server/base/text.h"

struct url {
	bool tls;
	struct text host; /* lower-case is the caller's; IPv6 without brackets */
	uint16_t port;
	struct text path;  /* "/..." or "/" */
	struct text query; /* without '?'; TEXT_NONE if there is none */
};
/* http and https only; no userinfo, no fragment, no control or non-ASCII bytes, no zone ids, port 1..65535; a host that
 * looks like a number must be a plain dotted quad. Texts point into `text` (path "/" may be static). */
enum status url_parse(struct text text, struct url *url) MUST_CHECK;

enum address_class {
	ADDRESS_PUBLIC,
	ADDRESS_LOOPBACK,
	ADDRESS_PRIVATE,
	ADDRESS_LINK_LOCAL,
	ADDRESS_MULTICAST,
	ADDRESS_METADATA, /* 169.254.169.254, fd00:ec2::254, 100.100.100.200 and the like */
	ADDRESS_RESERVED, /* 0/8, 240/4, documentation, benchmarking, CGNAT, NAT64, 6to4, Teredo, v4-mapped/compatible, ...
					   */
};

/* A network in CIDR form. */
struct network {
	uint8_t bytes[16]; /* IPv4 as v4-mapped */
	uint8_t bits;      /* of 128 */
};
enum status network_parse(struct text cidr, struct network *network) MUST_CHECK;
bool network_contains(const struct network *network, const struct sockaddr *address);

/* What a tenant may connect to: public addresses, plus these. */
struct address_rules {
	const struct network *allowed;
	size_t allowed_count;
};
bool address_is_allowed(const struct address_rules *rules, const struct sockaddr *address);
