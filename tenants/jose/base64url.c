/* base64url without padding (RFC 7515 section 2), in its one canonical spelling: unused bits must be zero. */
#include "tenants/jose/jws.h"

size_t base64url_encode(struct text bytes, char *into)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *at = (const uint8_t *)bytes.bytes;
	size_t left = bytes.length, written = 0;
	for (; left >= 3; left -= 3, at += 3) {
		uint32_t group = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
		for (int shift = 18; shift >= 0; shift -= 6)
			into[written++] = digits[group >> shift & 63];
	}
	if (left == 0)
		return written;
	uint32_t group = (uint32_t)at[0] << 16 | (left == 2 ? (uint32_t)at[1] << 8 : 0);
	into[written++] = digits[group >> 18 & 63];
	into[written++] = digits[group >> 12 & 63];
	if (left == 2)
		into[written++] = digits[group >> 6 & 63];
	return written;
}

static int digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '-')
		return 62;
	return c == '_' ? 63 : -1;
}

enum status base64url_decode(struct text encoded, uint8_t *into, size_t room, size_t *length)
{
	if (encoded.length % 4 == 1)
		return STATUS_INVALID;
	size_t decoded = encoded.length / 4 * 3 + (encoded.length % 4 * 3) / 4;
	if (decoded > room)
		return STATUS_TOO_LARGE;
	uint32_t held = 0;
	unsigned bits = 0;
	size_t written = 0;
	for (size_t i = 0; i < encoded.length; i++) {
		int value = digit_value(encoded.bytes[i]);
		if (value < 0)
			return STATUS_INVALID;
		held = held << 6 | (uint32_t)value;
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			into[written++] = (uint8_t)(held >> bits);
			held &= (1u << bits) - 1;
		}
	}
	if (held != 0)
		return STATUS_INVALID;
	*length = written;
	return STATUS_OK;
}
