/* The strict JSON scan: one pass, no recursion; memory only for the keys seen. What it lets through, the tree builder
 * behind it (json.c) can take without surprise. */
#include <math.h>
#include <stdlib.h>

#include "server/base/escape.h"
#include "server/base/json.h"

#define DEPTH_MOST 256
/* The tree builder copies a number into 64 bytes and ignores the rest. */
#define NUMBER_LONGEST 63
#define EXACT_INTEGER 9007199254740992u /* 2^53 */
#define FIRST_SLOTS 256

static const struct json_limits default_limits = {.bytes = (size_t)1 << 20, .depth = 32, .nodes = 50000};

/* The keys of all objects seen, as keyed 64-bit hashes of (object, decoded key): two different keys meet with a chance
 * below 2^-32 in the largest document, and then the document is refused; a peer cannot aim for it. 0 is an empty slot.
 */
struct key_set {
	uint64_t first[FIRST_SLOTS], *slots;
	size_t room, count;
};

struct scan {
	const unsigned char *start, *at, *end;
	const struct json_limits *limits;
	size_t depth, nodes, objects;
	/* Per open container: its number when it is an object, 0 for an array. */
	size_t open[DEPTH_MOST];
	struct key_set keys;
};

static bool set_insert(uint64_t *slots, size_t room, uint64_t hash)
{
	size_t at = (size_t)hash & (room - 1);
	while (slots[at] != 0) {
		if (slots[at] == hash)
			return false;
		at = (at + 1) & (room - 1);
	}
	slots[at] = hash;
	return true;
}

static enum status set_grow(struct key_set *set)
{
	size_t room = set->room * 4;
	uint64_t *slots = calloc(room, sizeof(*slots));
	if (!slots)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < set->room; i++)
		if (set->slots[i] != 0)
			set_insert(slots, room, set->slots[i]);
	if (set->slots != set->first)
		free(set->slots);
	set->slots = slots;
	set->room = room;
	return STATUS_OK;
}

static enum status set_add(struct key_set *set, size_t object, struct text key)
{
	uint64_t hash = text_hash(key) + (uint64_t)object * 0x9e3779b97f4a7c15u;
	if (set->count * 2 >= set->room && set_grow(set) != STATUS_OK)
		return STATUS_NO_MEMORY;
	if (!set_insert(set->slots, set->room, hash == 0 ? 1 : hash))
		return STATUS_INVALID;
	set->count++;
	return STATUS_OK;
}

static void skip_space(struct scan *scan)
{
	while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
		scan->at++;
}

static bool take(struct scan *scan, char byte)
{
	if (scan->at == scan->end || *scan->at != (unsigned char)byte)
		return false;
	scan->at++;
	return true;
}

static int hex_value(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits after \u; -1 when they are none. */
static int take_unit(struct scan *scan)
{
	int unit = 0;
	if (scan->end - scan->at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int digit = hex_value(scan->at[i]);
		if (digit < 0)
			return -1;
		unit = unit * 16 + digit;
	}
	scan->at += 4;
	return unit;
}

/* After the backslash. The decoded code point, or -1. */
static int take_escape(struct scan *scan)
{
	static const char decoded[128] = {
		['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
	if (scan->at == scan->end || *scan->at >= 128)
		return -1;
	unsigned char letter = *scan->at++;
	if (letter != 'u')
		return decoded[letter] ? decoded[letter] : -1;
	int high = take_unit(scan);
	if (high <= 0 || (high >= 0xdc00 && high <= 0xdfff))
		return -1;
	if (high < 0xd800 || high > 0xdbff)
		return high;
	if (!take(scan, '\\') || !take(scan, 'u'))
		return -1;
	int low = take_unit(scan);
	if (low < 0xdc00 || low > 0xdfff)
		return -1;
	return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* After the opening quote, up to and with the closing one; *escaped tells that the raw bytes are not the value. */
static bool take_string(struct scan *scan, struct text *raw, bool *escaped)
{
	const unsigned char *start = scan->at;
	*escaped = false;
	for (;;) {
		/* DEL ends a plain run, as it is escaped on output; on input the grammar allows it. */
		scan->at += escape_free_run(scan->at, (size_t)(scan->end - scan->at));
		if (scan->at == scan->end)
			return false;
		if (*scan->at == '"')
			break;
		if (*scan->at == 0x7f) {
			scan->at++;
			continue;
		}
		if (*scan->at != '\\')
			return false;
		*escaped = true;
		scan->at++;
		if (take_escape(scan) < 0)
			return false;
	}
	*raw = (struct text){(const char *)start, (size_t)(scan->at - start)};
	scan->at++;
	return true;
}

static size_t encode_point(int point, char *into)
{
	if (point < 0x80) {
		into[0] = (char)point;
		return 1;
	}
	size_t length = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
	static const int leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (size_t i = length - 1; i > 0; i--) {
		into[i] = (char)(0x80 | (point & 0x3f));
		point >>= 6;
	}
	into[0] = (char)(leads[length] | point);
	return length;
}

/* "role" and "\u0072ole" are one key: escaped ones are compared decoded. */
static enum status add_escaped_key(struct scan *scan, size_t object, struct text raw)
{
	char *decoded = malloc(raw.length);
	if (!decoded)
		return STATUS_NO_MEMORY;
	struct scan inner = {.at = (const unsigned char *)raw.bytes};
	inner.end = inner.at + raw.length;
	size_t length = 0;
	while (inner.at < inner.end) {
		if (*inner.at == '\\') {
			inner.at++;
			length += encode_point(take_escape(&inner), decoded + length);
		} else {
			decoded[length++] = (char)*inner.at++;
		}
	}
	enum status status = set_add(&scan->keys, object, (struct text){decoded, length});
	free(decoded);
	return status;
}

/* The key and the colon after it. */
static enum status take_key(struct scan *scan)
{
	struct text raw;
	bool escaped;
	skip_space(scan);
	const unsigned char *key = scan->at;
	if (!take(scan, '"') || !take_string(scan, &raw, &escaped))
		return STATUS_INVALID;
	size_t object = scan->open[scan->depth - 1];
	enum status status = escaped ? add_escaped_key(scan, object, raw) : set_add(&scan->keys, object, raw);
	if (status != STATUS_OK) {
		scan->at = key;
		return status;
	}
	skip_space(scan);
	return take(scan, ':') ? STATUS_OK : STATUS_INVALID;
}

static bool take_digits(struct scan *scan)
{
	const unsigned char *start = scan->at;
	while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
		scan->at++;
	return scan->at > start;
}

static bool number_fits(const unsigned char *start, size_t length, bool integer)
{
	if (length > NUMBER_LONGEST)
		return false;
	if (integer) {
		size_t sign = *start == '-';
		uint64_t value;
		return text_to_unsigned((struct text){(const char *)start + sign, length - sign}, EXACT_INTEGER, &value) ==
			   STATUS_OK;
	}
	char digits[NUMBER_LONGEST + 1];
	memcpy(digits, start, length);
	digits[length] = 0;
	return isfinite(strtod(digits, NULL));
}

static bool take_number(struct scan *scan)
{
	const unsigned char *start = scan->at;
	bool integer = true;
	(void)take(scan, '-');
	if (!take(scan, '0') && !take_digits(scan))
		return false;
	if (take(scan, '.')) {
		integer = false;
		if (!take_digits(scan))
			return false;
	}
	if (scan->at < scan->end && (*scan->at | 0x20) == 'e') {
		integer = false;
		scan->at++;
		if (!take(scan, '-'))
			(void)take(scan, '+');
		if (!take_digits(scan))
			return false;
	}
	if (number_fits(start, (size_t)(scan->at - start), integer))
		return true;
	scan->at = start;
	return false;
}

static bool take_word(struct scan *scan, struct text word)
{
	if ((size_t)(scan->end - scan->at) < word.length || memcmp(scan->at, word.bytes, word.length) != 0)
		return false;
	scan->at += word.length;
	return true;
}

static bool take_scalar(struct scan *scan)
{
	struct text raw;
	bool escaped;
	switch (*scan->at) {
	case '"':
		scan->at++;
		return take_string(scan, &raw, &escaped);
	case 't':
		return take_word(scan, TEXT("true"));
	case 'f':
		return take_word(scan, TEXT("false"));
	case 'n':
		return take_word(scan, TEXT("null"));
	default:
		return take_number(scan);
	}
}

/* A scalar, or the opening of a container; *opened tells that a first member has to follow. */
static enum status take_value(struct scan *scan, bool *opened)
{
	*opened = false;
	skip_space(scan);
	if (scan->at == scan->end)
		return STATUS_INVALID;
	if (scan->nodes == scan->limits->nodes)
		return STATUS_TOO_LARGE;
	scan->nodes++;
	if (*scan->at != '{' && *scan->at != '[')
		return take_scalar(scan) ? STATUS_OK : STATUS_INVALID;
	if (scan->depth == DEPTH_MOST || scan->depth >= scan->limits->depth)
		return STATUS_TOO_LARGE;
	bool object = *scan->at++ == '{';
	skip_space(scan);
	if (take(scan, object ? '}' : ']'))
		return STATUS_OK;
	scan->open[scan->depth++] = object ? ++scan->objects : 0;
	*opened = true;
	return object ? take_key(scan) : STATUS_OK;
}

/* After a value: closes what ends here, and stops before the next value of what goes on. */
static enum status take_separator(struct scan *scan)
{
	while (scan->depth > 0) {
		bool object = scan->open[scan->depth - 1] != 0;
		skip_space(scan);
		if (take(scan, ','))
			return object ? take_key(scan) : STATUS_OK;
		if (!take(scan, object ? '}' : ']'))
			return STATUS_INVALID;
		scan->depth--;
	}
	return STATUS_OK;
}

static enum status take_document(struct scan *scan)
{
	enum status status;
	bool opened;
	do {
		status = take_value(scan, &opened);
		if (status == STATUS_OK && !opened)
			status = take_separator(scan);
	} while (status == STATUS_OK && scan->depth > 0);
	if (status != STATUS_OK)
		return status;
	skip_space(scan);
	return scan->at == scan->end ? STATUS_OK : STATUS_INVALID;
}

enum status json_check(struct text text, const struct json_limits *limits, size_t *offset)
{
	struct scan scan;
	scan.start = scan.at = (const unsigned char *)(text.bytes ? text.bytes : "");
	scan.end = scan.start + text.length;
	scan.limits = limits ? limits : &default_limits;
	scan.depth = scan.nodes = scan.objects = 0;
	memset(scan.keys.first, 0, sizeof(scan.keys.first));
	scan.keys.slots = scan.keys.first;
	scan.keys.room = FIRST_SLOTS;
	scan.keys.count = 0;
	enum status status = text.length > scan.limits->bytes ? STATUS_TOO_LARGE : take_document(&scan);
	if (scan.keys.slots != scan.keys.first)
		free(scan.keys.slots);
	if (status != STATUS_OK && offset)
		*offset = (size_t)(scan.at - scan.start);
	return status;
}
