/* UTF-8 and JSON escapes, shared by the buffer, the log and the JSON scan. Private to this folder. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ESCAPE_LONGEST 6

/* Length of the well-formed sequence of two to four bytes at `at`, or 0 (overlong, surrogate, too high, cut off). */
static inline size_t utf8_sequence(const unsigned char *at, size_t left)
{
	unsigned char lead = at[0];
	size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
	if (lead < 0xc2 || lead > 0xf4 || left < length)
		return 0;
	unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
	unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
	if (at[1] < low || at[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	return length;
}

/* How many bytes from `at` are printable ASCII without quote and backslash; eight at a time. */
static inline size_t plain_run(const unsigned char *at, size_t left)
{
	const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
	size_t run = 0;
	for (; left - run >= 8; run += 8) {
		uint64_t word;
		memcpy(&word, at + run, 8);
		uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\'), deleted = word ^ (ones * 0x7f);
		uint64_t bad = (word - ones * 0x20) | (quote - ones) | (slash - ones) | (deleted - ones) | word;
		if (bad & tops)
			break;
	}
	while (run < left && at[run] >= 0x20 && at[run] < 0x7f && at[run] != '"' && at[run] != '\\')
		run++;
	return run;
}

/* How many bytes from `at` can stand in a JSON string as they are. */
static inline size_t escape_free_run(const unsigned char *at, size_t left)
{
	size_t run = 0;
	for (;;) {
		run += plain_run(at + run, left - run);
		size_t sequence = run < left && at[run] >= 0x80 ? utf8_sequence(at + run, left - run) : 0;
		if (sequence == 0)
			return run;
		run += sequence;
	}
}

/* Writes the escape of one byte, at most ESCAPE_LONGEST; returns its length. */
size_t escape_byte(unsigned char byte, char *into);
/* Writes the decimal digits, at most 20 bytes; returns their number. */
size_t format_integer(int64_t number, char *into);
