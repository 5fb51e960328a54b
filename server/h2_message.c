/* The rules of an HTTP/2 request. */
#include "server/h2_message.h"

#include <nghttp2/nghttp2.h>

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
	IS_BROKEN = 1 << 11 /* its body was longer than said */
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

/* --- fields with a meaning */

/* Once, and not empty. */
static bool see(struct h2_message *message, unsigned what, struct text value)
{
	bool is_new = (message->seen & what) == 0;
	message->seen = (uint16_t)(message->seen | what);
	return is_new && value.length > 0;
}

static bool take_method(struct h2_message *message, struct text value)
{
	unsigned what = text_equals(value, TEXT("CONNECT"))   ? IS_CONNECT
					: text_equals(value, TEXT("OPTIONS")) ? IS_OPTIONS
														  : 0;
	if (nghttp2_check_method(BYTES(value)) == 0 || !see(message, SEEN_METHOD, value))
		return false;
	message->seen = (uint16_t)(message->seen | what);
	return true;
}

static bool take_path(struct h2_message *message, struct text value)
{
	if (!is_path(value) || !see(message, SEEN_PATH, value))
		return false;
	unsigned what = value.bytes[0] == '/' ? IS_ORIGIN_FORM : text_equals(value, TEXT("*")) ? IS_ASTERISK : 0;
	message->seen = (uint16_t)(message->seen | what);
	return true;
}

static bool take_scheme(struct h2_message *message, struct text value)
{
	if (!is_scheme(value) || !see(message, SEEN_SCHEME, value))
		return false;
	if (text_equals_ignoring_case(value, TEXT("https")) || text_equals_ignoring_case(value, TEXT("http")))
		message->seen |= IS_WEB;
	return true;
}

static bool take_authority(struct h2_message *message, struct text value)
{
	return nghttp2_check_authority(BYTES(value)) != 0 && see(message, SEEN_AUTHORITY, value);
}

static bool take_host(struct h2_message *message, struct text value)
{
	return nghttp2_check_authority(BYTES(value)) != 0 && see(message, SEEN_HOST, value);
}

static bool take_length(struct h2_message *message, struct text value)
{
	uint64_t length;
	if (message->length >= 0 || text_to_unsigned(value, INT64_MAX, &length) != STATUS_OK)
		return false;
	message->length = (int64_t)length;
	return true;
}

static bool take_te(struct h2_message *message, struct text value)
{
	(void)message;
	return text_equals_ignoring_case(value, TEXT("trailers"));
}

/* Of HTTP/1.1's connections (section 8.2.2). */
static bool take_none(struct h2_message *message, struct text value)
{
	(void)message, (void)value;
	return false;
}

/* By length, so that most names are told by it alone. */
static const struct special {
	struct text name;
	bool (*take)(struct h2_message *message, struct text value);
} specials[] = {
	{TEXT("te"), take_te},
	{TEXT("host"), take_host},
	{TEXT(":path"), take_path},
	{TEXT(":method"), take_method},
	{TEXT(":scheme"), take_scheme},
	{TEXT("upgrade"), take_none},
	{TEXT(":authority"), take_authority},
	{TEXT("connection"), take_none},
	{TEXT("keep-alive"), take_none},
	{TEXT("content-length"), take_length},
	{TEXT("proxy-connection"), take_none},
	{TEXT("transfer-encoding"), take_none},
};
enum { SPECIALS = sizeof(specials) / sizeof(specials[0]), LONGEST = 17 };
/* Where names of this length begin in the table; SPECIALS: there are none. */
static const uint8_t first_special[LONGEST + 1] = {SPECIALS, SPECIALS, 0, SPECIALS, 1, 2, SPECIALS, 3, SPECIALS,
	SPECIALS, 6, SPECIALS, SPECIALS, SPECIALS, 9, SPECIALS, 10, 11};

static const struct special *find_special(struct text name)
{
	if (name.length > LONGEST)
		return NULL;
	for (size_t i = first_special[name.length]; i < SPECIALS && specials[i].name.length == name.length; i++) {
		if (memcmp(specials[i].name.bytes, name.bytes, name.length) == 0)
			return &specials[i];
	}
	return NULL;
}

bool h2_message_field(struct h2_message *message, struct text name, struct text value, bool is_known, bool is_trailer)
{
	if (!is_known && !is_name(name))
		return false;
	const struct special *special = find_special(name);
	if (name.bytes[0] != ':')
		message->seen |= SEEN_REGULAR;
	else if (special == NULL || is_trailer || (message->seen & SEEN_REGULAR) != 0)
		return false;
	return special != NULL ? special->take(message, value) : is_value(value);
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
