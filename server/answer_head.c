/* Writing of HTTP/2 heads. */
#include "server/answer_head.h"

enum { STATUS_ROOM = 5, FIELD_ROOM = 2 * 6, STATUS_NAME = 8, PREFIX_LITERAL = 15, PREFIX_LENGTH = 127, INDEXED = 0x80 };

/* Names of the static table (RFC 7541, Appendix A) that answers carry, by length. */
static const struct known_name {
	struct text name;
	uint8_t index;
} names[] = {
	{TEXT("age"), 21},
	{TEXT("via"), 60},
	{TEXT("date"), 33},
	{TEXT("etag"), 34},
	{TEXT("link"), 45},
	{TEXT("vary"), 59},
	{TEXT("allow"), 22},
	{TEXT("server"), 54},
	{TEXT("expires"), 36},
	{TEXT("location"), 46},
	{TEXT("set-cookie"), 55},
	{TEXT("retry-after"), 53},
	{TEXT("content-type"), 31},
	{TEXT("accept-ranges"), 18},
	{TEXT("cache-control"), 24},
	{TEXT("content-range"), 30},
	{TEXT("last-modified"), 44},
	{TEXT("content-length"), 28},
	{TEXT("content-encoding"), 26},
	{TEXT("content-language"), 27},
	{TEXT("content-location"), 29},
	{TEXT("www-authenticate"), 61},
	{TEXT("content-disposition"), 25},
	{TEXT("strict-transport-security"), 56},
	{TEXT("access-control-allow-origin"), 20},
};
enum { NAMES = sizeof(names) / sizeof(names[0]), LONGEST = 27 };
/* Where the names of each length begin. */
static const uint8_t first_name[LONGEST + 1] = {NAMES, NAMES, NAMES, 0, 2, 6, 7, 8, 9, NAMES, 10, 11, 12, 13, 17, NAMES,
	18, NAMES, NAMES, 22, NAMES, NAMES, NAMES, NAMES, NAMES, 23, NAMES, 24};

/* 0: not in the table. */
static unsigned find_name(struct text name)
{
	if (name.length > LONGEST)
		return 0;
	for (size_t i = first_name[name.length]; i < NAMES && names[i].name.length == name.length; i++) {
		if (memcmp(names[i].name.bytes, name.bytes, name.length) == 0)
			return names[i].index;
	}
	return 0;
}

/* Section 5.1; `first` is what stands above the prefix. */
static uint8_t *write_integer(uint8_t *into, size_t prefix, uint8_t first, size_t number)
{
	if (number < prefix) {
		*into++ = (uint8_t)(first | number);
		return into;
	}
	*into++ = (uint8_t)(first | prefix);
	for (number -= prefix; number >= 0x80; number >>= 7)
		*into++ = (uint8_t)(number | 0x80);
	*into++ = (uint8_t)number;
	return into;
}

static uint8_t *write_text(uint8_t *into, struct text text)
{
	into = write_integer(into, PREFIX_LENGTH, 0, text.length);
	if (text.length > 0)
		memcpy(into, text.bytes, text.length);
	return into + text.length;
}

static uint8_t *write_status(uint8_t *into, int status)
{
	static const struct {
		int status;
		uint8_t index;
	} known[] = {{200, 8}, {204, 9}, {206, 10}, {304, 11}, {400, 12}, {404, 13}, {500, 14}};
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].status == status) {
			*into = INDEXED | known[i].index;
			return into + 1;
		}
	}
	const uint8_t digits[] = {
		(uint8_t)('0' + status / 100), (uint8_t)('0' + status / 10 % 10), (uint8_t)('0' + status % 10)};
	*into++ = STATUS_NAME;
	*into++ = sizeof(digits);
	memcpy(into, digits, sizeof(digits));
	return into + sizeof(digits);
}

size_t answer_head_room(const struct header *fields, size_t count)
{
	size_t room = STATUS_ROOM;
	for (size_t i = 0; i < count; i++)
		room += FIELD_ROOM + fields[i].name.length + fields[i].value.length;
	return room;
}

static uint8_t *write_fields(uint8_t *at, const struct header *fields, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		unsigned index = find_name(fields[i].name);
		at = write_integer(at, PREFIX_LITERAL, 0, index);
		if (index == 0)
			at = write_text(at, fields[i].name);
		at = write_text(at, fields[i].value);
	}
	return at;
}

size_t answer_head_write(uint8_t *into, int status, const struct header *fields, size_t count)
{
	return (size_t)(write_fields(write_status(into, status), fields, count) - into);
}

size_t answer_trailers_write(uint8_t *into, const struct header *fields, size_t count)
{
	return (size_t)(write_fields(into, fields, count) - into);
}
