/* One canonical form of paths: RFC 3986 §6.2.2, and a refusal for everything two readers could understand differently.
 */
#include "server/path.h"

#include <string.h>

/* unreserved: never needs an escape; PCHAR: may stand unescaped in a segment (RFC 3986 §3.3); PLAIN: in a path. */
enum { UNRESERVED = 1, PCHAR = 2, HEX = 4, PLAIN = 8 };

#define P (PCHAR | PLAIN)
#define U (UNRESERVED | P)
static const uint8_t path_bytes[256] = {
	['0' ... '9'] = U | HEX,
	['A' ... 'F'] = U | HEX,
	['G' ... 'Z'] = U,
	['a' ... 'f'] = U | HEX,
	['g' ... 'z'] = U,
	['-'] = U,
	['.'] = U,
	['/'] = PLAIN,
	['_'] = U,
	['~'] = U,
	['!'] = P,
	['$'] = P,
	['&'] = P,
	['\''] = P,
	['('] = P,
	[')'] = P,
	['*'] = P,
	['+'] = P,
	[','] = P,
	[';'] = P,
	['='] = P,
	[':'] = P,
	['@'] = P,
};
#undef U
#undef P

static bool byte_is(char byte, unsigned kind)
{
	return (path_bytes[(uint8_t)byte] & kind) != 0;
}

static unsigned hex_value(char digit)
{
	return digit <= '9' ? (unsigned)(digit - '0') : (unsigned)((digit | 0x20) - 'a' + 10);
}

/* The byte that "%XY" at `at` stands for. */
static bool escape_read(struct text text, size_t at, uint8_t *byte)
{
	if (text.length - at < 3 || !byte_is(text.bytes[at + 1], HEX) || !byte_is(text.bytes[at + 2], HEX))
		return false;
	*byte = (uint8_t)(hex_value(text.bytes[at + 1]) << 4 | hex_value(text.bytes[at + 2]));
	return true;
}

/* "." and "..", also with a parameter behind: some servers cut at ';' first. */
static bool is_dot_segment(struct text segment)
{
	segment.length = text_find(segment, ';');
	return text_equals(segment, TEXT(".")) || text_equals(segment, TEXT(".."));
}

/* What may follow a lead byte of UTF-8. */
struct following {
	unsigned count;
	uint8_t low, high; /* of the next one */
};

static struct following follow(uint8_t lead)
{
	return (struct following){.count = lead >= 0xf0   ? 3
									   : lead >= 0xe0 ? 2
													  : 1,
		.low = lead == 0xe0   ? 0xa0
			   : lead == 0xf0 ? 0x90
							  : 0x80,
		.high = lead == 0xed   ? 0x9f
				: lead == 0xf4 ? 0x8f
							   : 0xbf};
}

/* Well-formed UTF-8 (RFC 3629) behind escapes: overlong forms are how dots and slashes were hidden. */
static bool is_utf8(struct text escaped)
{
	struct following following = {0};
	for (size_t at = 0; at < escaped.length; at++) {
		uint8_t byte = (uint8_t)escaped.bytes[at];
		if (byte == '%') {
			if (!escape_read(escaped, at, &byte))
				return false;
			at += 2;
		}
		if (following.count > 0) {
			if (byte < following.low || byte > following.high)
				return false;
			following = (struct following){following.count - 1, 0x80, 0xbf};
		} else if (byte >= 0x80) {
			if (byte < 0xc2 || byte > 0xf4)
				return false;
			following = follow(byte);
		}
	}
	return following.count == 0;
}

/* An escape of an escape is fine in itself (a did:web with a port has one), but not of what a second decoding would
 * walk by. */
static bool hides_escape(struct text canonical)
{
	static const struct text hidden[] = {{"2e", 2}, {"2f", 2}, {"5c", 2}, {"00", 2}, {"25", 2}};
	for (size_t at = 0; at + 5 <= canonical.length; at++) {
		if (memcmp(canonical.bytes + at, "%25", 3) != 0)
			continue;
		for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
			if (text_equals_ignoring_case(text_slice(canonical, at + 3, at + 5), hidden[i]))
				return true;
	}
	return false;
}

static const char upper_hex[] = "0123456789ABCDEF";

/* One segment, without slashes, appended to `into`. */
static bool segment_canonical(struct text segment, char *into, size_t *written)
{
	size_t start = *written;
	for (size_t at = 0; at < segment.length; at++) {
		char byte = segment.bytes[at];
		uint8_t decoded;
		if (byte != '%') {
			if (!byte_is(byte, PCHAR))
				return false;
			into[(*written)++] = byte;
			continue;
		}
		if (!escape_read(segment, at, &decoded))
			return false;
		if (decoded < 0x20 || decoded == 0x7f || decoded == '/' || decoded == '\\')
			return false;
		at += 2;
		if (byte_is((char)decoded, UNRESERVED)) {
			into[(*written)++] = (char)decoded;
			continue;
		}
		into[(*written)++] = '%';
		into[(*written)++] = upper_hex[decoded >> 4];
		into[(*written)++] = upper_hex[decoded & 15];
	}
	struct text canonical = {into + start, *written - start};
	return !is_dot_segment(canonical) && is_utf8(canonical) && !hides_escape(canonical);
}

/* Sixteen bytes at a time; all bits of each byte that spoils it. */
typedef uint8_t bytes16 __attribute__((vector_size(16)));

static inline bytes16 spoiled_bytes(const char *at)
{
	bytes16 byte, before;
	memcpy(&byte, at, sizeof(byte));
	memcpy(&before, at - 1, sizeof(before));
	bytes16 plain = (bytes16)(byte - '&' <= ';' - '&') | (bytes16)(byte - '@' <= 'Z' - '@') |
					(bytes16)(byte - 'a' <= 'z' - 'a') | (bytes16)(byte == '_') | (bytes16)(byte == '~') |
					(bytes16)(byte == '!') | (bytes16)(byte == '$') | (bytes16)(byte == '=');
	return ~plain | ((bytes16)(before == '/') & ((bytes16)(byte == '/') | (bytes16)(byte == '.')));
}

/* Of a path that begins with '/', and is longer than sixteen bytes. */
static bool is_long_canonical(struct text path)
{
	bytes16 spoiled = spoiled_bytes(path.bytes + path.length - 16); /* some of them again */
	for (size_t at = 1; at + 16 < path.length; at += 16)
		spoiled |= spoiled_bytes(path.bytes + at);
	uint64_t halves[2];
	memcpy(halves, &spoiled, sizeof(halves));
	return (halves[0] | halves[1]) == 0;
}

/* Most paths are as they should be: nothing escaped, no segment that is empty or begins with a dot. */
static bool is_canonical(struct text path)
{
	if (path.length > 16)
		return is_long_canonical(path);
	unsigned all = PLAIN;
	for (size_t at = 0; at < path.length; at++)
		all &= path_bytes[(uint8_t)path.bytes[at]];
	if ((all & PLAIN) == 0)
		return false;
	for (size_t at = 0; at + 1 < path.length; at += 1 + text_find(text_slice(path, at + 1, path.length), '/')) {
		if (path.bytes[at + 1] == '/' || path.bytes[at + 1] == '.')
			return false;
	}
	return true;
}

enum status path_canonical(struct text path, char *into, size_t room, struct text *canonical)
{
	if (path.length == 0 || path.bytes[0] != '/')
		return STATUS_INVALID;
	if (room < path.length)
		return STATUS_TOO_LARGE;
	if (is_canonical(path)) {
		memcpy(into, path.bytes, path.length);
		*canonical = (struct text){into, path.length};
		return STATUS_OK;
	}
	size_t written = 0;
	struct text rest = text_slice(path, 1, path.length), segment;
	for (bool done = false; text_next_part(&rest, '/', &segment, &done);) {
		into[written++] = '/';
		/* An empty segment may only be the last: "/a/" is a path of its own. */
		if ((segment.length == 0 && !done) || !segment_canonical(segment, into, &written))
			return STATUS_INVALID;
	}
	*canonical = (struct text){into, written};
	return STATUS_OK;
}

bool path_next(struct text *rest, struct text *segment)
{
	if (rest->length == 0 || rest->bytes[0] != '/')
		return false;
	struct text after = text_slice(*rest, 1, rest->length);
	size_t end = text_find(after, '/');
	*segment = text_slice(after, 0, end);
	*rest = text_slice(after, end, after.length);
	return true;
}

enum status percent_decode(struct text encoded, char *into, size_t room, struct text *decoded)
{
	size_t written = 0;
	for (size_t at = 0; at < encoded.length; at++) {
		uint8_t byte = (uint8_t)encoded.bytes[at];
		if (byte == '%') {
			if (!escape_read(encoded, at, &byte))
				return STATUS_INVALID;
			at += 2;
		}
		if (byte == 0)
			return STATUS_INVALID;
		if (written == room)
			return STATUS_TOO_LARGE;
		into[written++] = (char)byte;
	}
	*decoded = (struct text){into, written};
	return STATUS_OK;
}
