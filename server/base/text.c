/* Borrowed bytes with a length. */
#include "server/base/text.h"

#include <stdlib.h>
#include <string.h>

struct text text_of(const char *terminated)
{
	return terminated ? (struct text){terminated, strlen(terminated)} : TEXT_NONE;
}

bool text_equals(struct text a, struct text b)
{
	return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

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

bool text_starts_with(struct text whole, struct text start)
{
	return whole.length >= start.length && text_equals(text_slice(whole, 0, start.length), start);
}

bool text_ends_with(struct text whole, struct text end)
{
	return whole.length >= end.length && text_equals(text_slice(whole, whole.length - end.length, whole.length), end);
}

size_t text_find(struct text whole, char byte)
{
	const char *found = whole.length > 0 ? memchr(whole.bytes, byte, whole.length) : NULL;
	return found ? (size_t)(found - whole.bytes) : whole.length;
}

struct text text_slice(struct text whole, size_t from, size_t to)
{
	if (to > whole.length)
		to = whole.length;
	if (from > to)
		from = to;
	return whole.bytes ? (struct text){whole.bytes + from, to - from} : TEXT_NONE;
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
	volatile unsigned char difference = 0;
	for (size_t i = 0; i < a.length; i++)
		difference = (unsigned char)(difference | (a.bytes[i] ^ b.bytes[i]));
	return difference == 0;
}
