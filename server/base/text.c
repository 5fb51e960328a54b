/* Borrowed bytes with a length. */
#include "server/base/text.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

static unsigned char lower(char c)
{
	return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool text_equals_ignoring_case(struct text a, struct text b)
{
	if (a.length != b.length)
		return false;
	for (size_t i = 0; i < a.length; i++)
		if (lower(a.bytes[i]) != lower(b.bytes[i]))
			return false;
	return true;
}

int text_find_word(struct text text, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (text_equals(text, text_of(words[i])))
			return (int)i;
	}
	return -1;
}

bool text_ends_with(struct text whole, struct text end)
{
	return whole.length >= end.length && text_equals(text_slice(whole, whole.length - end.length, whole.length), end);
}

/* Eight bytes at a time; the top bit of each byte says that it is not wanted. */
static uint64_t unwanted_bytes(uint64_t word, uint64_t but, uint64_t nor)
{
	const uint64_t ones = UINT64_MAX / 255, tops = ones << 7;
	uint64_t a = word ^ but, b = word ^ nor;
	/* below 0x20; 0x7f and above; equal to one of the two: exact whether there is any */
	return ((word - ones * 0x20) | (word + ones) | word | ((a - ones) & ~a) | ((b - ones) & ~b)) & tops;
}

/* The same, sixteen at a time: all bits of each byte that is not wanted. */
typedef uint8_t bytes16 __attribute__((vector_size(16)));

static bytes16 load16(const char *bytes)
{
	bytes16 loaded;
	memcpy(&loaded, bytes, sizeof(loaded));
	return loaded;
}

static inline bytes16 unwanted_bytes16(bytes16 bytes, bytes16 but, bytes16 nor)
{
	return (bytes16)(bytes - ' ' > '~' - ' ') | (bytes16)(bytes == but) | (bytes16)(bytes == nor);
}

static inline bool is_long_printable(struct text text, uint8_t but, uint8_t nor)
{
	const bytes16 buts = (bytes16){0} + but, nors = (bytes16){0} + nor;
	/* the last sixteen, some of them again */
	bytes16 seen = unwanted_bytes16(load16(text.bytes + text.length - 16), buts, nors);
	for (size_t at = 0; at + 16 < text.length; at += 16)
		seen |= unwanted_bytes16(load16(text.bytes + at), buts, nors);
	uint64_t halves[2];
	memcpy(halves, &seen, sizeof(halves));
	return (halves[0] | halves[1]) == 0;
}

/* In line, so that for no bytes but control bytes the compiler leaves out the rest. */
static inline bool is_printable(struct text text, char but, char nor)
{
	if (text.length >= 16)
		return is_long_printable(text, (uint8_t)but, (uint8_t)nor);
	const uint64_t ones = UINT64_MAX / 255, buts = ones * (uint8_t)but, nors = ones * (uint8_t)nor;
	uint64_t word = ones * ' ', seen = 0;
	uint32_t half[2];
	if (text.length >= 8) { /* the last eight, some of them again */
		memcpy(&word, text.bytes, 8);
		seen = unwanted_bytes(word, buts, nors);
		memcpy(&word, text.bytes + text.length - 8, 8);
	} else if (text.length >= 4) {
		memcpy(&half[0], text.bytes, 4);
		memcpy(&half[1], text.bytes + text.length - 4, 4);
		word = (uint64_t)half[1] << 32 | half[0];
	} else {
		for (size_t at = 0; at < text.length; at++)
			word = word << 8 | (uint8_t)text.bytes[at];
	}
	return (seen | unwanted_bytes(word, buts, nors)) == 0;
}

bool text_is_printable(struct text text, char but, char nor)
{
	return is_printable(text, but, nor);
}

bool text_is_line(struct text text)
{
	if (is_printable(text, 0, 0))
		return true;
	for (size_t i = 0; i < text.length; i++) {
		unsigned char byte = (unsigned char)text.bytes[i];
		if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
			return false;
	}
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

struct text text_trim(struct text whole)
{
	size_t from = 0, to = whole.length;
	while (from < to && is_blank(whole.bytes[from]))
		from++;
	while (to > from && is_blank(whole.bytes[to - 1]))
		to--;
	return text_slice(whole, from, to);
}

bool text_next_part(struct text *rest, char separator, struct text *part, bool *done)
{
	if (*done)
		return false;
	size_t end = text_find(*rest, separator);
	*part = text_slice(*rest, 0, end);
	*done = end == rest->length;
	*rest = text_slice(*rest, *done ? end : end + 1, rest->length);
	return true;
}

/* All sixteen digits at once, each nibble in a byte of its own, the first lowest. */
bool text_take_byte(struct text *rest, char byte)
{
	if (rest->length == 0 || rest->bytes[0] != byte)
		return false;
	*rest = text_slice(*rest, 1, rest->length);
	return true;
}

bool text_take_digits(struct text *rest, size_t count, int64_t *value)
{
	int64_t number = 0;
	if (rest->length < count)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (rest->bytes[i] < '0' || rest->bytes[i] > '9')
			return false;
		number = number * 10 + (rest->bytes[i] - '0');
	}
	*rest = text_slice(*rest, count, rest->length);
	*value = number;
	return true;
}

void text_write_hex(char *into, uint64_t number)
{
	typedef uint64_t words __attribute__((vector_size(16)));
	const uint64_t low = UINT64_MAX / 255 * 15, word = htobe64(number);
	const bytes16 halves = (bytes16)(words){word >> 4 & low, word & low};
	const bytes16 nibbles =
		__builtin_shufflevector(halves, halves, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
	const bytes16 digits = nibbles + '0' + ((bytes16)(nibbles > 9) & ('a' - '0' - 10));
	memcpy(into, &digits, sizeof(digits));
}

enum status text_to_unsigned(struct text digits, uint64_t maximum, uint64_t *value)
{
	uint64_t sum = 0;
	if (digits.length == 0)
		return STATUS_INVALID;
	bool large = false;
	for (size_t i = 0; i < digits.length; i++) {
		unsigned digit = (unsigned)(unsigned char)digits.bytes[i] - '0';
		if (digit > 9)
			return STATUS_INVALID;
		large |= __builtin_mul_overflow(sum, (uint64_t)10, &sum) || __builtin_add_overflow(sum, digit, &sum);
	}
	if (large || sum > maximum)
		return STATUS_TOO_LARGE;
	*value = sum;
	return STATUS_OK;
}

char *text_copy(struct text text)
{
	if (text.length == SIZE_MAX)
		return NULL;
	char *copy = malloc(text.length + 1);
	if (!copy)
		return NULL;
	if (text.length > 0)
		memcpy(copy, text.bytes, text.length);
	copy[text.length] = 0;
	return copy;
}

bool text_equals_secretly(struct text a, struct text b)
{
	if (a.length != b.length)
		return false;
	uint64_t difference = 0, one, other;
	size_t at = 0;
	for (; a.length - at >= sizeof(one); at += sizeof(one)) {
		memcpy(&one, a.bytes + at, sizeof(one));
		memcpy(&other, b.bytes + at, sizeof(other));
		difference |= one ^ other;
	}
	for (; at < a.length; at++)
		difference |= (uint8_t)(a.bytes[at] ^ b.bytes[at]);
	__asm__("" : "+r"(difference)); /* so that nobody sees before the end what it is good for */
	return difference == 0;
}
