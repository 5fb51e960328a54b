/* Digest fields: a reader of dictionaries (RFC 8941 section 4.2.2) that takes members of integers and byte sequences.
 */
#include "tenants/dp/source/digest_field.h"

#include <string.h>

enum { INTEGER_DIGITS = 15, WANT_MAX = 10 };

/* What is left of a field; `failed` sticks. */
struct scan {
	struct text rest;
	bool failed;
};

enum item_kind { ITEM_INTEGER, ITEM_BYTES, ITEM_OTHER };
struct item {
	enum item_kind kind;
	int64_t number;
	struct text bytes; /* base64, between the colons */
};

static bool is_lower(char byte)
{
	return byte >= 'a' && byte <= 'z';
}

static bool is_digit(char byte)
{
	return byte >= '0' && byte <= '9';
}

static bool is_letter(char byte)
{
	return is_lower(byte) || (byte >= 'A' && byte <= 'Z');
}

static bool is_key_byte(char byte)
{
	return is_lower(byte) || is_digit(byte) || (byte != 0 && strchr("_-.*", byte) != NULL);
}

/* tchar, ":" and "/" (RFC 8941 section 3.3.4) */
static bool is_token_byte(char byte)
{
	return is_letter(byte) || is_digit(byte) || (byte != 0 && strchr("!#$%&'*+-.^_`|~:/", byte) != NULL);
}

static bool is_base64_byte(char byte)
{
	return is_letter(byte) || is_digit(byte) || byte == '+' || byte == '/' || byte == '=';
}

static char next(const struct scan *scan)
{
	if (scan->rest.length == 0)
		return 0;
	return scan->rest.bytes[0];
}

static bool take(struct scan *scan, char byte)
{
	if (scan->rest.length == 0 || scan->rest.bytes[0] != byte)
		return false;
	scan->rest = text_slice(scan->rest, 1, scan->rest.length);
	return true;
}

static struct text take_while(struct scan *scan, bool (*matches)(char byte))
{
	size_t length = 0;
	while (length < scan->rest.length && matches(scan->rest.bytes[length]))
		length++;
	struct text taken = text_slice(scan->rest, 0, length);
	scan->rest = text_slice(scan->rest, length, scan->rest.length);
	return taken;
}

static bool is_space(char byte)
{
	return byte == ' ';
}

static bool is_blank(char byte)
{
	return byte == ' ' || byte == '\t';
}

static struct text take_key(struct scan *scan)
{
	if (!is_lower(next(scan)) && next(scan) != '*')
		scan->failed = true;
	return take_while(scan, is_key_byte);
}

/* An integer, or a decimal, which nobody here wants. */
static void take_number(struct scan *scan, struct item *item)
{
	bool is_negative = take(scan, '-');
	struct text digits = take_while(scan, is_digit);
	uint64_t number = 0;
	item->kind = ITEM_INTEGER;
	if (take(scan, '.')) {
		struct text fraction = take_while(scan, is_digit);
		item->kind = ITEM_OTHER;
		scan->failed |= fraction.length == 0 || fraction.length > 3 || digits.length > 12;
	}
	scan->failed |= digits.length == 0 || digits.length > INTEGER_DIGITS ||
					text_to_unsigned(digits, INT64_MAX, &number) != STATUS_OK;
	item->number = is_negative ? -(int64_t)number : (int64_t)number;
}

static void take_string(struct scan *scan)
{
	for (take(scan, '"'); !take(scan, '"');) {
		unsigned char byte = (unsigned char)next(scan);
		if (byte < 0x20 || byte > 0x7e) { /* also the end */
			scan->failed = true;
			return;
		}
		if (take(scan, '\\') && next(scan) != '"' && next(scan) != '\\') {
			scan->failed = true;
			return;
		}
		scan->rest = text_slice(scan->rest, 1, scan->rest.length);
	}
}

static void take_item(struct scan *scan, struct item *item)
{
	*item = (struct item){.kind = ITEM_OTHER};
	char byte = next(scan);
	if (is_digit(byte) || byte == '-') {
		take_number(scan, item);
	} else if (byte == '"') {
		take_string(scan);
	} else if (take(scan, ':')) {
		item->kind = ITEM_BYTES;
		item->bytes = take_while(scan, is_base64_byte);
		scan->failed |= !take(scan, ':');
	} else if (take(scan, '?')) {
		scan->failed |= !take(scan, '0') && !take(scan, '1');
	} else if (is_letter(byte) || byte == '*') {
		take_while(scan, is_token_byte);
	} else { /* an inner list too: no digest is one */
		scan->failed = true;
	}
}

/* Read over: none is defined for these fields. */
static void take_parameters(struct scan *scan)
{
	struct item item;
	while (!scan->failed && take(scan, ';')) {
		take_while(scan, is_space);
		take_key(scan);
		if (!scan->failed && take(scan, '='))
			take_item(scan, &item);
	}
}

/* False at the end of the field, or when it has failed. */
static bool take_member(struct scan *scan, bool is_first, struct text *key, struct item *item)
{
	if (is_first) {
		scan->rest = text_trim(scan->rest);
	} else {
		take_while(scan, is_blank);
		if (scan->rest.length == 0)
			return false;
		scan->failed |= !take(scan, ',');
		take_while(scan, is_blank);
		scan->failed |= scan->rest.length == 0; /* a comma at the end */
	}
	if (scan->failed || scan->rest.length == 0)
		return false;
	*item = (struct item){.kind = ITEM_OTHER}; /* no "=": true */
	*key = take_key(scan);
	if (!scan->failed && take(scan, '='))
		take_item(scan, item);
	take_parameters(scan);
	return !scan->failed;
}

bool digest_is_wanted(struct text want, enum hash_kind *kind)
{
	struct scan scan = {.rest = want};
	int64_t weights[HASH_COUNT] = {0};
	struct text key;
	struct item item;
	for (bool is_first = true; take_member(&scan, is_first, &key, &item); is_first = false) {
		if (item.kind != ITEM_INTEGER || item.number < 0 || item.number > WANT_MAX)
			return false;
		for (int i = 0; i < HASH_COUNT; i++) {
			if (text_equals(key, hash_name((enum hash_kind)i)))
				weights[i] = item.number; /* of a key that stands twice, the last counts */
		}
	}
	int best = 0;
	for (int i = 1; i < HASH_COUNT; i++) {
		if (weights[i] > weights[best])
			best = i;
	}
	*kind = (enum hash_kind)best;
	return !scan.failed && weights[best] > 0;
}

/* --- base64 (RFC 4648 section 4) */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void digest_print(enum hash_kind kind, const uint8_t *bytes, struct buffer *into)
{
	size_t length = hash_bytes(kind);
	buffer_append(into, hash_name(kind));
	buffer_append(into, TEXT("=:"));
	for (size_t i = 0; i < length; i += 3) {
		uint32_t group = (uint32_t)bytes[i] << 16;
		group |= i + 1 < length ? (uint32_t)bytes[i + 1] << 8 : 0;
		group |= i + 2 < length ? bytes[i + 2] : 0;
		for (size_t k = 0; k < 4; k++) {
			char digit = digits[group >> (18 - 6 * k) & 63];
			if (i + k > length)
				digit = '=';
			buffer_append_byte(into, digit);
		}
	}
	buffer_append_byte(into, ':');
}

/* Exactly `length` bytes, in their one spelling. */
static bool decode(struct text encoded, uint8_t *into, size_t length)
{
	if (encoded.length != (length + 2) / 3 * 4)
		return false;
	for (size_t i = 0; i < encoded.length; i += 4) {
		size_t at = i / 4 * 3, count = length - at < 3 ? length - at : 3;
		uint32_t group = 0;
		for (size_t k = 0; k < 4; k++) {
			const char *digit = memchr(digits, encoded.bytes[i + k], sizeof(digits) - 1);
			if ((k <= count) != (digit != NULL) || (k > count && encoded.bytes[i + k] != '='))
				return false;
			group = group << 6 | (digit == NULL ? 0 : (uint32_t)(digit - digits));
		}
		if ((group & ((1U << (24 - 8 * count)) - 1)) != 0)
			return false;
		for (size_t k = 0; k < count; k++)
			into[at + k] = (uint8_t)(group >> (16 - 8 * k));
	}
	return true;
}

bool digest_find(struct text field, enum hash_kind kind, uint8_t into[HASH_BYTES_MAX])
{
	struct scan scan = {.rest = field};
	struct text key;
	struct item item;
	bool is_found = false;
	for (bool is_first = true; take_member(&scan, is_first, &key, &item); is_first = false) {
		if (text_equals(key, hash_name(kind)))
			is_found = item.kind == ITEM_BYTES && decode(item.bytes, into, hash_bytes(kind));
	}
	return is_found && !scan.failed;
}
