/* The rules of an HTTP/2 request. */
#include "server/h2_message.h"

#include <nghttp2/nghttp2.h>

#include "server/head_check.h"

enum {
	SEEN_METHOD = 1 << 0,
	SEEN_PATH = 1 << 1,
	SEEN_SCHEME = 1 << 2,
	SEEN_AUTHORITY = 1 << 3,
	SEEN_HOST = 1 << 4,
	SEEN_REGULAR = 1 << 5, /* no pseudo field may follow */
	IS_CONNECT = 1 << 6,
	IS_OPTIONS = 1 << 7,
	IS_WEB = 1 << 8,         /* scheme http or https */
	IS_ORIGIN_FORM = 1 << 9, /* the path begins with '/' */
	IS_ASTERISK = 1 << 10,
	IS_BROKEN = 1 << 11,    /* its body was longer than said */
	CLEAN_METHOD = 1 << 12, /* server/head_check.h */
	CLEAN_PATH = 1 << 13,
	CLEAN_SCHEME = 1 << 14,
	CLEAN_AUTHORITY = 1 << 15
};

void h2_message_begin(struct h2_message *message)
{
	*message = (struct h2_message){.length = -1};
}

/* --- bytes */

#define BYTES(text) (const uint8_t *)(text).bytes, (text).length

static const bool name_bytes[256] = {
	['a' ... 'z'] = true,
	['0' ... '9'] = true,
	['!'] = true,
	['#'] = true,
	['$'] = true,
	['%'] = true,
	['&'] = true,
	['\''] = true,
	['*'] = true,
	['+'] = true,
	['-'] = true,
	['.'] = true,
	['^'] = true,
	['_'] = true,
	['`'] = true,
	['|'] = true,
	['~'] = true,
};

static bool is_name(struct text name)
{
	size_t from = name.length > 0 && name.bytes[0] == ':' ? 1 : 0;
	for (size_t i = from; i < name.length; i++) {
		if (!name_bytes[(uint8_t)name.bytes[i]])
			return false;
	}
	return name.length > from;
}

static bool is_blank(char byte)
{
	return byte == ' ' || byte == '\t';
}

/* Bytes above ASCII are allowed (RFC 9110 section 5.5: obs-text). */
static bool is_value(struct text value)
{
	if (value.length == 0)
		return true;
	if (is_blank(value.bytes[0]) || is_blank(value.bytes[value.length - 1]))
		return false;
	return text_is_line(value);
}

static bool is_path(struct text value)
{
	return (text_is_printable(value, '#', '\\') && text_find(value, ' ') == value.length) ||
		   nghttp2_check_path(BYTES(value)) != 0;
}

static bool is_letter(char byte)
{
	return ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'z');
}

static bool is_scheme(struct text value)
{
	for (size_t i = 1; i < value.length; i++) {
		char byte = value.bytes[i];
		if (!is_letter(byte) && !(byte >= '0' && byte <= '9') && byte != '+' && byte != '-' && byte != '.')
			return false;
	}
	return value.length > 0 && is_letter(value.bytes[0]);
}

/* --- values with a meaning: what they add to `seen`; not fine: 0 */

static unsigned judge_method(struct text value)
{
	unsigned what = text_equals(value, TEXT("CONNECT"))   ? IS_CONNECT
					: text_equals(value, TEXT("OPTIONS")) ? IS_OPTIONS
														  : 0;
	if (nghttp2_check_method(BYTES(value)) == 0)
		return 0;
	return SEEN_METHOD | what | (head_method_is_clean(value) ? CLEAN_METHOD : 0);
}

static unsigned judge_path(struct text value)
{
	if (head_target_is_clean(value))
		return SEEN_PATH | IS_ORIGIN_FORM | CLEAN_PATH;
	if (value.length == 0 || !is_path(value))
		return 0;
	return SEEN_PATH | (value.bytes[0] == '/' ? IS_ORIGIN_FORM : text_equals(value, TEXT("*")) ? IS_ASTERISK : 0);
}

static unsigned judge_scheme(struct text value)
{
	if (head_scheme_is_clean(value))
		return SEEN_SCHEME | IS_WEB | CLEAN_SCHEME;
	bool is_web = text_equals_ignoring_case(value, TEXT("https")) || text_equals_ignoring_case(value, TEXT("http"));
	return is_web ? SEEN_SCHEME | IS_WEB : is_scheme(value) ? SEEN_SCHEME : 0;
}

static unsigned judge_authority(struct text value)
{
	if (value.length == 0 || nghttp2_check_authority(BYTES(value)) == 0)
		return 0;
	return SEEN_AUTHORITY | (head_authority_is_clean(value) ? CLEAN_AUTHORITY : 0);
}

static unsigned judge_host(struct text value)
{
	return judge_authority(value) != 0 ? SEEN_HOST | SEEN_REGULAR : 0;
}

static unsigned judge_te(struct text value)
{
	return text_equals_ignoring_case(value, TEXT("trailers")) ? SEEN_REGULAR : 0;
}

static unsigned judge_length(struct text value)
{
	uint64_t length;
	return text_to_unsigned(value, INT64_MAX, &length) == STATUS_OK ? SEEN_REGULAR : 0;
}

static unsigned judge_plain(struct text value)
{
	return is_value(value) ? SEEN_REGULAR : 0;
}

static unsigned judge_none(struct text value)
{
	(void)value;
	return 0;
}

static unsigned (*const judges[])(struct text value) = {
	[H2_PLAIN] = judge_plain,
	[H2_METHOD] = judge_method,
	[H2_SCHEME] = judge_scheme,
	[H2_PATH] = judge_path,
	[H2_AUTHORITY] = judge_authority,
	[H2_HOST] = judge_host,
	[H2_TE] = judge_te,
	[H2_LENGTH] = judge_length,
	[H2_FORBIDDEN] = judge_none,
};

/* By length, so that most names are told by it alone. */
static const struct special {
	struct text name;
	enum h2_kind kind;
} specials[] = {
	{TEXT("te"), H2_TE},
	{TEXT("host"), H2_HOST},
	{TEXT(":path"), H2_PATH},
	{TEXT(":method"), H2_METHOD},
	{TEXT(":scheme"), H2_SCHEME},
	{TEXT("upgrade"), H2_FORBIDDEN}, /* of HTTP/1.1's connections (section 8.2.2), as are the others */
	{TEXT(":authority"), H2_AUTHORITY},
	{TEXT("connection"), H2_FORBIDDEN},
	{TEXT("keep-alive"), H2_FORBIDDEN},
	{TEXT("content-length"), H2_LENGTH},
	{TEXT("proxy-connection"), H2_FORBIDDEN},
	{TEXT("transfer-encoding"), H2_FORBIDDEN},
};
enum { SPECIALS = sizeof(specials) / sizeof(specials[0]), LONGEST = 17 };
/* Where names of this length begin in the table; SPECIALS: there are none. */
static const uint8_t first_special[LONGEST + 1] = {SPECIALS, SPECIALS, 0, SPECIALS, 1, 2, SPECIALS, 3, SPECIALS,
	SPECIALS, 6, SPECIALS, SPECIALS, SPECIALS, 9, SPECIALS, 10, 11};

enum h2_kind h2_kind_of(struct text name)
{
	if (!is_name(name))
		return H2_FORBIDDEN;
	for (size_t i = name.length > LONGEST ? SPECIALS : first_special[name.length];
		 i < SPECIALS && specials[i].name.length == name.length; i++) {
		if (memcmp(specials[i].name.bytes, name.bytes, name.length) == 0)
			return specials[i].kind;
	}
	return name.bytes[0] == ':' ? H2_FORBIDDEN : H2_PLAIN;
}

struct h2_sense h2_sense_of(enum h2_kind kind, struct text value)
{
	return (struct h2_sense){.kind = (uint8_t)kind, .facts = (uint16_t)judges[kind](value)};
}

bool h2_message_field(struct h2_message *message, struct h2_sense sense, struct text value, bool is_trailer)
{
	const unsigned once = SEEN_METHOD | SEEN_PATH | SEEN_SCHEME | SEEN_AUTHORITY | SEEN_HOST;
	bool is_pseudo = (sense.facts & SEEN_REGULAR) == 0;
	if (sense.facts == 0 || (message->seen & sense.facts & once) != 0 ||
		(is_pseudo && (is_trailer || (message->seen & SEEN_REGULAR) != 0)))
		return false;
	message->seen |= sense.facts;
	if (sense.kind != H2_LENGTH)
		return true;
	uint64_t length;
	if (message->length >= 0 || text_to_unsigned(value, INT64_MAX, &length) != STATUS_OK)
		return false;
	message->length = (int64_t)length;
	return true;
}

bool h2_message_head(struct h2_message *message)
{
	const unsigned needed = SEEN_METHOD | SEEN_PATH | SEEN_SCHEME, seen = message->seen;
	if ((seen & IS_CONNECT) != 0) { /* a tunnel has no length */
		message->length = -1;
		return (seen & (SEEN_SCHEME | SEEN_PATH)) == 0 && (seen & SEEN_AUTHORITY) != 0;
	}
	bool has_path = (seen & IS_ORIGIN_FORM) != 0 || (seen & (IS_OPTIONS | IS_ASTERISK)) == (IS_OPTIONS | IS_ASTERISK);
	return (seen & needed) == needed && (seen & (SEEN_AUTHORITY | SEEN_HOST)) != 0 &&
		   (has_path || (seen & IS_WEB) == 0);
}

bool h2_message_is_clean(const struct h2_message *message)
{
	const unsigned clean = CLEAN_METHOD | CLEAN_PATH | CLEAN_SCHEME | CLEAN_AUTHORITY;
	return (message->seen & (clean | SEEN_HOST)) == clean;
}

bool h2_message_body(struct h2_message *message, size_t length)
{
	message->received += (int64_t)length;
	if (message->length >= 0 && message->received > message->length)
		message->seen |= IS_BROKEN;
	return (message->seen & IS_BROKEN) == 0;
}

bool h2_message_end(const struct h2_message *message)
{
	return message->length < 0 || message->received == message->length;
}
