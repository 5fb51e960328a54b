/* Random identifiers, and what counts as one. */
#include "server/base/id.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void random_bytes(void *into, size_t length)
{
	unsigned char *at = into;
	while (length > 0) {
		ssize_t got = getrandom(at, length, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			abort(); /* an identifier that can be guessed is worse than none */
		at += got;
		length -= (size_t)got;
	}
}

static void write_hex(const unsigned char *bytes, size_t count, char *into)
{
	static const char digits[] = "0123456789abcdef";
	for (size_t i = 0; i < count; i++) {
		into[2 * i] = digits[bytes[i] >> 4];
		into[2 * i + 1] = digits[bytes[i] & 15];
	}
}

void id_random(char into[ID_LENGTH + 1])
{
	unsigned char bytes[ID_LENGTH / 2];
	random_bytes(bytes, sizeof(bytes));
	write_hex(bytes, sizeof(bytes), into);
	into[ID_LENGTH] = 0;
}

void uuid_random(char into[UUID_LENGTH + 1])
{
	static const unsigned char groups[] = {4, 2, 2, 2, 6}; /* bytes */
	unsigned char bytes[16], *at = bytes;
	random_bytes(bytes, sizeof(bytes));
	bytes[6] = (unsigned char)((bytes[6] & 0x0f) | 0x40);
	bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(groups); i++) {
		if (i > 0)
			*into++ = '-';
		write_hex(at, groups[i], into);
		at += groups[i];
		into += (size_t)2 * groups[i];
	}
	*into = 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool id_is_valid(struct text text)
{
	if (text.length != ID_LENGTH)
		return false;
	typedef uint8_t bytes __attribute__((vector_size(16))); /* a request's path has one: half an id at a time */
	bytes odd = {0};
	for (size_t i = 0; i < ID_LENGTH; i += sizeof(bytes)) {
		bytes part;
		memcpy(&part, text.bytes + i, sizeof(part));
		odd |= (bytes)(part - '0' > 9) & (bytes)(part - 'a' > 'f' - 'a');
	}
	uint64_t halves[2];
	memcpy(halves, &odd, sizeof(halves));
	return (halves[0] | halves[1]) == 0;
}

static bool is_name_byte(char c)
{
	char lower = (char)(c | 0x20);
	return is_digit(c) || (lower >= 'a' && lower <= 'z') || c == '-' || c == '_' || c == '.' || c == ':';
}

bool name_is_valid(struct text text, size_t limit)
{
	if (text.length == 0 || text.length > limit)
		return false;
	for (size_t i = 0; i < text.length; i++)
		if (!is_name_byte(text.bytes[i]))
			return false;
	return true;
}
