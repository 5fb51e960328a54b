/* A line of the log as it grows, in place in its thread's ring. Here for the one line that every request costs, whose
 * names are then constants; everybody else says LOG (log.h). */
#pragma once

#include "server/base/log.h"

enum { LOG_LINE_MOST = 8192, LOG_VALUE_MOST = 1024, LOG_NUMBER_MOST = 20 };

struct lane;

struct log_line {
	char *at, *end;    /* where the next byte goes, and where none may: behind it is room for what ends every line */
	struct lane *lane; /* whose ring it grows in; NULL: in `room` */
	char room[LOG_LINE_MOST];
};

/* Begins with time, level and event. What does not fit from now on is left out, field by field. */
void log_line_begin(struct log_line *line, enum log_level level, struct text event);
/* Puts it out. */
void log_line_end(struct log_line *line);
/* A value in which something may need an escape. */
void log_line_escaped(struct log_line *line, struct text name, struct text value);

/* Fields. Names with their quotes, comma and colon; absent values leave their field out. */

typedef uint8_t log_bytes16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t log_bytes8 __attribute__((aligned(1), may_alias));
typedef uint32_t log_bytes4 __attribute__((aligned(1), may_alias));

/* Returns the end. Most pieces of a line are short: two or four words that overlap. */
static inline char *log_copy(char *to, const char *from, size_t length)
{
	if (length > 64) {
		memcpy(to, from, length);
	} else if (length >= 16) {
		log_bytes16 first = *(const log_bytes16 *)from, last = *(const log_bytes16 *)(from + length - 16);
		if (length > 32) {
			log_bytes16 second = *(const log_bytes16 *)(from + 16), third = *(const log_bytes16 *)(from + length - 32);
			*(log_bytes16 *)(to + 16) = second;
			*(log_bytes16 *)(to + length - 32) = third;
		}
		*(log_bytes16 *)to = first;
		*(log_bytes16 *)(to + length - 16) = last;
	} else if (length >= 8) {
		log_bytes8 last = *(const log_bytes8 *)(from + length - 8);
		*(log_bytes8 *)to = *(const log_bytes8 *)from;
		*(log_bytes8 *)(to + length - 8) = last;
	} else if (length >= 4) {
		log_bytes4 last = *(const log_bytes4 *)(from + length - 4);
		*(log_bytes4 *)to = *(const log_bytes4 *)from;
		*(log_bytes4 *)(to + length - 4) = last;
	} else {
		for (size_t i = 0; i < length; i++)
			to[i] = from[i];
	}
	return to + length;
}

static inline bool log_line_fits(const struct log_line *line, size_t length)
{
	return length <= (size_t)(line->end - line->at);
}

/* A text in which nothing needs an escape. */
static inline __attribute__((always_inline)) void log_line_plain(
	struct log_line *line, struct text name, struct text value)
{
	const size_t rest = name.length + 2;
	if (value.bytes == NULL || !log_line_fits(line, rest) || value.length > (size_t)(line->end - line->at) - rest)
		return;
	char *at = line->at;
	memcpy(at, name.bytes, name.length);
	at += name.length;
	*at++ = '"';
	at = log_copy(at, value.bytes, value.length);
	*at++ = '"';
	line->at = at;
}

static inline __attribute__((always_inline)) void log_line_text(
	struct log_line *line, struct text name, struct text value)
{
	if (value.bytes == NULL)
		return;
	if (value.length > LOG_VALUE_MOST)
		value.length = LOG_VALUE_MOST;
	if (text_is_printable(value, '"', '\\'))
		log_line_plain(line, name, value);
	else
		log_line_escaped(line, name, value);
}

static inline __attribute__((always_inline)) void log_line_number(
	struct log_line *line, struct text name, int64_t number)
{
	if (!log_line_fits(line, name.length + LOG_NUMBER_MOST))
		return;
	char *at = line->at, digits[2 * LOG_NUMBER_MOST], *first = digits + LOG_NUMBER_MOST;
	memcpy(at, name.bytes, name.length);
	at += name.length;
	if (number >= 0 && number < 10) {
		*at = (char)('0' + number);
		line->at = at + 1;
		return;
	}
	uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
	do {
		*--first = (char)('0' + left % 10);
		left /= 10;
	} while (left > 0);
	if (number < 0)
		*--first = '-';
	memcpy(at, first, LOG_NUMBER_MOST); /* and what follows them, which is written over */
	line->at = at + (digits + LOG_NUMBER_MOST - first);
}
