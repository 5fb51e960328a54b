/* Unpacking of Huffman strings: several symbols a step. */
#include "server/huffman.h"

#include <endian.h>
#include <string.h>

enum { SYMBOLS = 257, END_OF_STRING = 256, CODE_MAX = 30, SHORT = 8, STEP = 7, BITS_AT = 16 };
#define LONG_CODE (0x80U << BITS_AT) /* more than STEP codes together have */

/* The lengths say it all: the code is canonical (RFC 7541, Appendix B). */
static const uint8_t code_bits[SYMBOLS] = {13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28,
	28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5,
	6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
	8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15,
	11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23,
	21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22,
	23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26,
	27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
	26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30};

/* What the next 8 bits mean: the symbol and, from BITS_AT on, how many of them are its code; or LONG_CODE. */
static uint32_t short_codes[1 << SHORT];
/* Longer codes: those of each length lie side by side, and so do their symbols. */
static uint16_t ordered[SYMBOLS];
static struct {
	uint32_t first, count;
	uint16_t at; /* in ordered */
} by_bits[CODE_MAX + 1];

__attribute__((constructor)) static void make_codes(void)
{
	uint32_t code = 0;
	uint16_t at = 0;
	for (unsigned bits = 1; bits <= CODE_MAX; bits++, code <<= 1) {
		by_bits[bits].first = code;
		by_bits[bits].at = at;
		for (unsigned symbol = 0; symbol < SYMBOLS; symbol++) {
			if (code_bits[symbol] != bits)
				continue;
			for (uint32_t i = 0; bits <= SHORT && i < 1U << (SHORT - bits); i++)
				short_codes[(code << (SHORT - bits)) + i] = bits << BITS_AT | symbol;
			ordered[at++] = (uint16_t)symbol;
			by_bits[bits].count++;
			code++;
		}
	}
	for (unsigned i = 0; i < 1U << SHORT; i++) {
		if (short_codes[i] == 0)
			short_codes[i] = LONG_CODE;
	}
}

/* --- strings */

struct bits {
	const uint8_t *bytes;
	size_t at, end; /* in bits */
};

/* At least the next 57 bits, at the upper end; beyond the end there are ones, as in the padding. */
static uint64_t peek(const struct bits *bits)
{
	uint64_t word = UINT64_MAX;
	size_t byte = bits->at / 8, left = bits->end / 8 - byte;
	memcpy(&word, bits->bytes + byte, left < sizeof(word) ? left : sizeof(word));
	return be64toh(word) << bits->at % 8;
}

/* STEP symbols at a time, until one of them is long or the end is near. Returns how many. */
static size_t next_symbols(struct bits *bits, uint8_t *into, size_t room)
{
	size_t at = bits->at;
	uint8_t *out = into;
	while (at + 64 <= bits->end && room - (size_t)(out - into) >= STEP) {
		uint64_t word;
		uint32_t sum = 0;
		memcpy(&word, bits->bytes + at / 8, sizeof(word));
		word = be64toh(word) << at % 8;
#pragma GCC unroll 7
		for (int i = 0; i < STEP; i++) {
			uint32_t code = short_codes[word >> (64 - SHORT)];
			out[i] = (uint8_t)code;
			__asm__("" ::: "memory"); /* merging the stores would cost more than they do */
			word <<= code >> BITS_AT & 63;
			sum += code;
		}
		if (sum >= LONG_CODE)
			break;
		at += sum >> BITS_AT;
		out += STEP;
	}
	bits->at = at;
	return (size_t)(out - into);
}

/* One symbol of any length; END_OF_STRING: broken, or the padding. */
static unsigned next_symbol(struct bits *bits)
{
	uint64_t word = peek(bits);
	uint32_t known = short_codes[word >> (64 - SHORT)];
	if (known < LONG_CODE && known >> BITS_AT <= bits->end - bits->at) {
		bits->at += known >> BITS_AT;
		return known & 0xff;
	}
	for (unsigned length = SHORT + 1; length <= CODE_MAX; length++) {
		uint32_t code = (uint32_t)(word >> (64 - length)), place = code - by_bits[length].first;
		if (code < by_bits[length].first || place >= by_bits[length].count)
			continue;
		if (length > bits->end - bits->at)
			return END_OF_STRING;
		bits->at += length;
		return ordered[by_bits[length].at + place];
	}
	return END_OF_STRING;
}

bool huffman_unpack(const uint8_t *packed, size_t length, uint8_t *into, size_t room, size_t *written)
{
	struct bits bits = {packed, 0, length * 8};
	size_t count = 0;
	while (bits.at < bits.end) {
		count += next_symbols(&bits, into + count, room - count);
		size_t left = bits.end - bits.at;
		unsigned symbol = next_symbol(&bits);
		if (symbol == END_OF_STRING) { /* fewer than 8 bits, all ones */
			if (left >= 8 || peek(&bits) != UINT64_MAX << bits.at % 8)
				return false;
			break;
		}
		if (count == room)
			return false;
		into[count++] = (uint8_t)symbol;
	}
	*written = count;
	return true;
}
