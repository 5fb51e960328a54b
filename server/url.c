/* The strict URL parser and the address tables behind the guard against requests to inner networks. */
#include "server/url.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

static bool is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

static bool is_hex(char byte)
{
	return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

static bool is_letter(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

/* RFC 3986 path and query bytes, and brackets, which the field puts into queries. */
static bool target_is_valid(struct text target)
{
	for (size_t at = 0; at < target.length; at++) {
		char byte = target.bytes[at];
		if (is_letter(byte) || is_digit(byte))
			continue;
		if (byte == '%') {
			if (target.length - at < 3 || !is_hex(target.bytes[at + 1]) || !is_hex(target.bytes[at + 2]))
				return false;
			continue;
		}
		if (byte == '\0' || strchr("-._~!$&'()*+,;=:@/?[]", byte) == NULL)
			return false;
	}
	return true;
}

static bool is_dotted_quad(struct text host)
{
	unsigned parts = 0;
	bool done = false;
	struct text part;
	while (text_next_part(&host, '.', &part, &done)) {
		uint64_t value;
		if (part.length == 0 || part.length > 3 || (part.length > 1 && part.bytes[0] == '0'))
			return false;
		if (text_to_unsigned(part, 255, &value) != STATUS_OK)
			return false;
		parts++;
	}
	return parts == 4;
}

/* What inet_aton, and so many a resolver, would take for a number: the last label is digits, or 0x and hex digits. */
static bool label_is_number(struct text label)
{
	size_t at = 0;
	bool hex = label.length >= 2 && label.bytes[0] == '0' && (label.bytes[1] == 'x' || label.bytes[1] == 'X');
	if (hex)
		at = 2;
	for (; at < label.length; at++)
		if (!(hex ? is_hex(label.bytes[at]) : is_digit(label.bytes[at])))
			return false;
	return label.length > 0;
}

static bool label_is_valid(struct text label)
{
	if (label.length == 0 || label.length > 63 || label.bytes[0] == '-' || label.bytes[label.length - 1] == '-')
		return false;
	for (size_t at = 0; at < label.length; at++) {
		char byte = label.bytes[at];
		if (!is_letter(byte) && !is_digit(byte) && byte != '-' && byte != '_')
			return false;
	}
	return true;
}

static bool name_is_host(struct text host)
{
	if (host.length == 0 || host.length > 253)
		return false;
	struct text rest = host, label = TEXT_NONE;
	bool done = false;
	while (text_next_part(&rest, '.', &label, &done))
		if (!label_is_valid(label))
			return false;
	return !label_is_number(label) || is_dotted_quad(host);
}

/* inet_pton wants a terminated string; no zone id gets through it. */
static bool address_read(int family, struct text text, void *into)
{
	char terminated[64];
	if (text.length == 0 || text.length >= sizeof(terminated) || memchr(text.bytes, '\0', text.length) != NULL)
		return false;
	memcpy(terminated, text.bytes, text.length);
	terminated[text.length] = '\0';
	return inet_pton(family, terminated, into) == 1;
}

static enum status parse_authority(struct text authority, struct url *url)
{
	struct text port = TEXT_NONE;
	if (authority.length > 0 && authority.bytes[0] == '[') {
		size_t end = text_find(authority, ']');
		if (end == authority.length)
			return STATUS_INVALID;
		uint8_t address[16];
		url->host = text_slice(authority, 1, end);
		if (!address_read(AF_INET6, url->host, address))
			return STATUS_INVALID;
		if (end + 1 < authority.length) {
			if (authority.bytes[end + 1] != ':')
				return STATUS_INVALID;
			port = text_slice(authority, end + 2, authority.length);
		}
	} else {
		size_t end = text_find(authority, ':');
		url->host = text_slice(authority, 0, end);
		if (!name_is_host(url->host))
			return STATUS_INVALID;
		if (end < authority.length)
			port = text_slice(authority, end + 1, authority.length);
	}
	url->port = url->tls ? 443 : 80;
	if (port.bytes == NULL)
		return STATUS_OK;
	uint64_t number;
	if (port.length == 0 || port.length > 5 || text_to_unsigned(port, 65535, &number) != STATUS_OK || number == 0)
		return STATUS_INVALID;
	url->port = (uint16_t)number;
	return STATUS_OK;
}

enum status url_parse(struct text text, struct url *url)
{
	enum { LONGEST = 8192 };
	struct url parsed = {.path = TEXT("/"), .query = TEXT_NONE};
	if (text.length > LONGEST)
		return STATUS_TOO_LARGE;
	size_t scheme = text_find(text, ':');
	if (text_equals_ignoring_case(text_slice(text, 0, scheme), TEXT("https")))
		parsed.tls = true;
	else if (!text_equals_ignoring_case(text_slice(text, 0, scheme), TEXT("http")))
		return STATUS_INVALID;
	struct text rest = text_slice(text, scheme, text.length);
	if (!text_starts_with(rest, TEXT("://")))
		return STATUS_INVALID;
	rest = text_slice(rest, 3, rest.length);

	size_t end = 0;
	while (end < rest.length && rest.bytes[end] != '/' && rest.bytes[end] != '?')
		end++;
	if (parse_authority(text_slice(rest, 0, end), &parsed) != STATUS_OK)
		return STATUS_INVALID;
	struct text target = text_slice(rest, end, rest.length);
	if (!target_is_valid(target))
		return STATUS_INVALID;
	size_t question = text_find(target, '?');
	if (question > 0)
		parsed.path = text_slice(target, 0, question);
	if (question < target.length)
		parsed.query = text_slice(target, question + 1, target.length);
	*url = parsed;
	return STATUS_OK;
}

struct range {
	uint8_t bytes[16];
	uint8_t bits;
	enum address_class class;
};

/* IANA's special-purpose registries and the metadata services of the clouds; the first match counts. */
static const struct range ranges_v4[] = {
	{{169, 254, 169, 254}, 32, ADDRESS_METADATA},
	{{169, 254, 169, 253}, 32, ADDRESS_METADATA},
	{{169, 254, 169, 123}, 32, ADDRESS_METADATA},
	{{169, 254, 170, 2}, 32, ADDRESS_METADATA},
	{{169, 254, 170, 23}, 32, ADDRESS_METADATA},
	{{169, 254, 42, 42}, 32, ADDRESS_METADATA},
	{{100, 100, 100, 200}, 32, ADDRESS_METADATA},
	{{192, 0, 0, 192}, 32, ADDRESS_METADATA},
	{{168, 63, 129, 16}, 32, ADDRESS_METADATA},
	{{0}, 8, ADDRESS_RESERVED},
	{{10}, 8, ADDRESS_PRIVATE},
	{{100, 64}, 10, ADDRESS_RESERVED},
	{{127}, 8, ADDRESS_LOOPBACK},
	{{169, 254}, 16, ADDRESS_LINK_LOCAL},
	{{172, 16}, 12, ADDRESS_PRIVATE},
	{{192, 0, 0}, 24, ADDRESS_RESERVED},
	{{192, 0, 2}, 24, ADDRESS_RESERVED},
	{{192, 31, 196}, 24, ADDRESS_RESERVED},
	{{192, 52, 193}, 24, ADDRESS_RESERVED},
	{{192, 88, 99}, 24, ADDRESS_RESERVED},
	{{192, 168}, 16, ADDRESS_PRIVATE},
	{{192, 175, 48}, 24, ADDRESS_RESERVED},
	{{198, 18}, 15, ADDRESS_RESERVED},
	{{198, 51, 100}, 24, ADDRESS_RESERVED},
	{{203, 0, 113}, 24, ADDRESS_RESERVED},
	{{224}, 4, ADDRESS_MULTICAST},
	{{240}, 4, ADDRESS_RESERVED},
	{{0}, 0, ADDRESS_PUBLIC},
};

/* Only 2000::/3 is given out; all else is reserved unless it has a name here. */
static const struct range ranges_v6[] = {
	{{0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54}, 128, ADDRESS_METADATA},
	{{0xfd, 0x00, 0x0e, 0xc2, [15] = 0x23}, 128, ADDRESS_METADATA},
	{{0xfd, 0x20, 0x00, 0xce, [14] = 0x02, [15] = 0x54}, 128, ADDRESS_METADATA},
	{{0xfd, 0x00, 0x00, 0x42, [15] = 0x42}, 128, ADDRESS_METADATA},
	{{[15] = 1}, 128, ADDRESS_LOOPBACK},
	{{0xfc}, 7, ADDRESS_PRIVATE},
	{{0xfe, 0x80}, 10, ADDRESS_LINK_LOCAL},
	{{0xfe, 0xc0}, 10, ADDRESS_PRIVATE},
	{{0xff}, 8, ADDRESS_MULTICAST},
	{{0x20, 0x01, 0x00}, 23, ADDRESS_RESERVED},
	{{0x20, 0x01, 0x0d, 0xb8}, 32, ADDRESS_RESERVED},
	{{0x20, 0x02}, 16, ADDRESS_RESERVED},
	{{0x26, 0x20, 0x00, 0x4f, 0x80, 0x00}, 48, ADDRESS_RESERVED},
	{{0x3f, 0xff}, 20, ADDRESS_RESERVED},
	{{0x3f, 0xfe}, 16, ADDRESS_RESERVED},
	{{0x20}, 3, ADDRESS_PUBLIC},
	{{0}, 0, ADDRESS_RESERVED},
};

/* The first so many bits of two addresses of 16 bytes. */
static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	uint64_t left[2], right[2];
	memcpy(left, a, sizeof(left));
	memcpy(right, b, sizeof(right));
	uint64_t differ = be64toh(left[0] ^ right[0]);
	if (bits < 64)
		return bits == 0 || differ >> (64 - bits) == 0;
	return differ == 0 && (bits == 64 || be64toh(left[1] ^ right[1]) >> (128 - bits) == 0);
}

static enum address_class classify(const struct sockaddr *address)
{
	const struct range *range = NULL;
	const uint8_t *bytes = NULL;
	uint8_t widened[16] = {0};
	if (address->sa_family == AF_INET) {
		range = ranges_v4;
		memcpy(widened, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
		bytes = widened;
	} else if (address->sa_family == AF_INET6) {
		range = ranges_v6;
		bytes = ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr;
	} else {
		return ADDRESS_RESERVED;
	}
	while (!bits_equal(range->bytes, bytes, range->bits))
		range++;
	return range->class;
}

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

enum status network_parse(struct text cidr, struct network *network)
{
	size_t slash = text_find(cidr, '/');
	struct text address = text_slice(cidr, 0, slash);
	struct network parsed = {0};
	unsigned offset = 0;
	if (address_read(AF_INET, address, parsed.bytes + 12)) {
		memcpy(parsed.bytes, mapped_prefix, sizeof(mapped_prefix));
		offset = 96;
	} else if (!address_read(AF_INET6, address, parsed.bytes)) {
		return STATUS_INVALID;
	}
	uint64_t bits = 128 - offset;
	if (slash < cidr.length) {
		struct text digits = text_slice(cidr, slash + 1, cidr.length);
		if (digits.length == 0 || digits.length > 3 || text_to_unsigned(digits, 128 - offset, &bits) != STATUS_OK)
			return STATUS_INVALID;
	}
	parsed.bits = (uint8_t)(bits + offset);
	for (unsigned bit = parsed.bits; bit < 128; bit++)
		if (parsed.bytes[bit / 8] & (0x80 >> (bit % 8)))
			return STATUS_INVALID;
	*network = parsed;
	return STATUS_OK;
}

bool network_contains(const struct network *network, const struct sockaddr *address)
{
	if (address->sa_family == AF_INET6)
		return bits_equal(
			network->bytes, ((const struct sockaddr_in6 *)(const void *)address)->sin6_addr.s6_addr, network->bits);
	/* ::/0 speaks of IPv6 alone: an IPv4 address is only in a network that was written as IPv4. */
	if (address->sa_family != AF_INET || network->bits < 96)
		return false;
	uint8_t bytes[16];
	memcpy(bytes, mapped_prefix, sizeof(mapped_prefix));
	memcpy(bytes + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
	return bits_equal(network->bytes, bytes, network->bits);
}

bool address_is_allowed(const struct address_rules *rules, const struct sockaddr *address)
{
	enum address_class class = classify(address);
	if (class == ADDRESS_PUBLIC)
		return true;
	if (rules == NULL)
		return false;
	for (size_t at = 0; at < rules->allowed_count; at++) {
		const struct network *network = &rules->allowed[at];
		/* A wide network that happens to hold a metadata service does not open it: it must be named alone. */
		if ((class != ADDRESS_METADATA || network->bits == 128) && network_contains(network, address))
			return true;
	}
	return false;
}
