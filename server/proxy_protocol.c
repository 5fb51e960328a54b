/* The PROXY v2 parser: 16 fixed bytes, addresses by family, TLVs skipped. */
#include "server/proxy_protocol.h"

#include <string.h>

enum { PREFIX_LENGTH = 16, SIGNATURE_LENGTH = 12, TCP4_LENGTH = 12, TCP6_LENGTH = 36 };
enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { FAMILY_UNKNOWN = 0x00, FAMILY_TCP4 = 0x11, FAMILY_TCP6 = 0x21 };

static const uint8_t signature[SIGNATURE_LENGTH] = {
	0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

static void address_read(struct sockaddr_storage *into, const uint8_t *address, const uint8_t *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	memcpy(&in.sin_addr, address, sizeof in.sin_addr);
	memcpy(&in.sin_port, port, sizeof in.sin_port);
	memset(into, 0, sizeof *into);
	memcpy(into, &in, sizeof in);
}

static void address_read_6(struct sockaddr_storage *into, const uint8_t *address, const uint8_t *port)
{
	struct sockaddr_in6 in = {.sin6_family = AF_INET6};
	memcpy(&in.sin6_addr, address, sizeof in.sin6_addr);
	memcpy(&in.sin6_port, port, sizeof in.sin6_port);
	memset(into, 0, sizeof *into);
	memcpy(into, &in, sizeof in);
}

static enum status proxy_addresses(uint8_t family, const uint8_t *bytes, size_t length, struct proxy_header *header)
{
	header->local = false;
	if (family == FAMILY_TCP4 && length >= TCP4_LENGTH) {
		address_read(&header->source, bytes, bytes + 8);
		address_read(&header->destination, bytes + 4, bytes + 10);
		return STATUS_OK;
	}
	if (family == FAMILY_TCP6 && length >= TCP6_LENGTH) {
		address_read_6(&header->source, bytes, bytes + 32);
		address_read_6(&header->destination, bytes + 16, bytes + 34);
		return STATUS_OK;
	}
	header->local = true;
	return family == FAMILY_UNKNOWN ? STATUS_OK : STATUS_INVALID;
}

enum status proxy_parse(const uint8_t *bytes, size_t length, struct proxy_header *header, size_t *used)
{
	*used = 0;
	/* A wrong first byte is told at once: nobody shall wait for sixteen. */
	if (length > 0 && memcmp(bytes, signature, length < SIGNATURE_LENGTH ? length : SIGNATURE_LENGTH) != 0)
		return STATUS_INVALID;
	if (length > SIGNATURE_LENGTH && bytes[12] != COMMAND_LOCAL && bytes[12] != COMMAND_PROXY)
		return STATUS_INVALID;
	if (length < PREFIX_LENGTH)
		return STATUS_OK;
	size_t rest = (size_t)bytes[14] << 8 | bytes[15];
	if (PREFIX_LENGTH + rest > PROXY_HEADER_LIMIT)
		return STATUS_TOO_LARGE;
	if (length - PREFIX_LENGTH < rest)
		return STATUS_OK;
	struct proxy_header parsed = {.local = true};
	if (bytes[12] == COMMAND_PROXY) {
		enum status status = proxy_addresses(bytes[13], bytes + PREFIX_LENGTH, rest, &parsed);
		if (status != STATUS_OK)
			return status;
	}
	*header = parsed;
	*used = PREFIX_LENGTH + rest;
	return STATUS_OK;
}
