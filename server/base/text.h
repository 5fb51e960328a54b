/* Bytes with a length: what every peer's input is, and a growable buffer to build output in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/base/status.h"

/* Borrowed bytes, not NUL-terminated; {NULL, 0} means absent. Passed by value. */
struct text {
	const char *bytes;
	size_t length;
};

#define TEXT(literal) ((struct text){"" literal, sizeof(literal) - 1})
#define TEXT_NONE ((struct text){NULL, 0})
/* For printf-like "%.*s". */
#define TEXT_ARGUMENTS(text) (int)(text).length, (text).bytes != NULL ? (text).bytes : ""

/* The small ones are in the header: a request calls them some hundred times. */
static inline struct text text_of(const char *terminated)
{
	return terminated ? (struct text){terminated, strlen(terminated)} : TEXT_NONE;
}

static inline bool text_equals(struct text a, struct text b)
{
	return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

static inline struct text text_slice(struct text whole, size_t from, size_t to)
{
	if (to > whole.length)
		to = whole.length;
	if (from > to)
		from = to;
	return whole.bytes ? (struct text){whole.bytes + from, to - from} : TEXT_NONE;
}

static inline bool text_starts_with(struct text whole, struct text start)
{
	return whole.length >= start.length && text_equals(text_slice(whole, 0, start.length), start);
}

/* Index of the first such byte, or whole.length. */
static inline size_t text_find(struct text whole, char byte)
{
	const char *found = whole.length > 0 ? (const char *)memchr(whole.bytes, byte, whole.length) : NULL;
	return found ? (size_t)(found - whole.bytes) : whole.length;
}

/* ASCII only. */
bool text_equals_ignoring_case(struct text a, struct text b);
/* The index of the word that it is, or -1. */
int text_find_word(struct text text, const char *const *words, size_t count);
bool text_ends_with(struct text whole, struct text end);
/* Are all bytes printable ASCII (0x20 to 0x7e), none of them one of these two (which are no spaces)? */
bool text_is_printable(struct text text, char but, char nor);
/* Can it stand in a line: no control bytes but the tab? */
bool text_is_line(struct text text);
/* Without leading and trailing spaces and tabs. */
struct text text_trim(struct text whole);
/* Splits off the part before the first `separator`; false when `rest` is exhausted. An empty text yields one empty
 * part: start with *done = false. */
bool text_next_part(struct text *rest, char separator, struct text *part, bool *done);
/* Takes what it names from the front of `rest`; false: it does not begin so. Exactly that byte; exactly `count` decimal
 * digits, at most 18. */
bool text_take_byte(struct text *rest, char byte);
bool text_take_digits(struct text *rest, size_t count, int64_t *value);
/* Sixteen lower-case digits. */
void text_write_hex(char *into, uint64_t number);
/* Strict decimal: digits only, no sign, no spaces, at most `maximum`. */
enum status text_to_unsigned(struct text digits, uint64_t maximum, uint64_t *value) MUST_CHECK;
/* Owned NUL-terminated copy, or NULL when out of memory. */
char *text_copy(struct text text);
/* In time that depends on the length alone. */
bool text_equals_secretly(struct text a, struct text b);
/* 64-bit keyed hash (SipHash-1-3 or stronger), keyed once per process at random, so that peers cannot build collisions.
 */
uint64_t text_hash(struct text text);

/* A growable byte buffer. All-zero is a valid empty one. A failed append sets `failed` and later appends do nothing:
 * check once, at the end. Always NUL-terminated after the last byte when bytes != NULL. */
struct buffer {
	char *bytes;
	size_t length, room;
	bool failed;
};

/* Room for so many bytes more, so that they are appended without growing. */
bool buffer_reserve(struct buffer *buffer, size_t more);
void buffer_append(struct buffer *buffer, struct text text);
void buffer_append_byte(struct buffer *buffer, char byte);
void buffer_append_number(struct buffer *buffer, int64_t number);
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "name: what", what is wrong with a setting or a member. INVALID. */
enum status buffer_invalid(struct buffer *buffer, const char *name, const char *what);
/* A quoted JSON string; every byte that is not valid UTF-8 or is a control becomes an escape. */
void buffer_append_json(struct buffer *buffer, struct text text);
/* ,"name":"text", the empty text when it is absent. */
void buffer_append_member(struct buffer *buffer, const char *name, struct text text);
struct text buffer_text(const struct buffer *buffer);
/* Hands the bytes over to the caller (free()), leaving the buffer empty. */
char *buffer_take(struct buffer *buffer);
void buffer_clear(struct buffer *buffer);
void buffer_free(struct buffer *buffer);
