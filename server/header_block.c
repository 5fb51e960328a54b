/* Unpacking of header blocks: no table of fields is needed for it, only the shape of the representations. */
#include "server/header_block.h"

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

/* False: a broken code, or no room. */
static bool unpack_string(struct bits bits, uint8_t *into, size_t room, size_t *written)
{
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

/* --- the block */

struct block {
	const uint8_t *at, *end;
	uint8_t *out, *out_end;
	struct known_strings *known;
};

static bool copy_bytes(struct block *block, size_t count)
{
	if (count > (size_t)(block->end - block->at) || count > (size_t)(block->out_end - block->out))
		return false;
	memcpy(block->out, block->at, count);
	block->at += count;
	block->out += count;
	return true;
}

/* An integer behind a prefix of `bits` bits (section 5.1): its length in bytes, 0: broken, or beyond all use. */
static size_t read_integer(const struct block *block, unsigned bits, size_t *value)
{
	size_t mask = (1U << bits) - 1, room = (size_t)(block->end - block->at);
	if (room == 0)
		return 0;
	*value = block->at[0] & mask;
	if (*value < mask)
		return 1;
	for (size_t i = 1; i < room && i < 5; i++) {
		*value += (size_t)(block->at[i] & 0x7f) << 7 * (i - 1);
		if ((block->at[i] & 0x80) == 0)
			return i + 1;
	}
	return 0;
}

static size_t write_length(uint8_t *into, size_t length)
{
	size_t count = 0;
	if (length < 0x7f) {
		into[count++] = (uint8_t)length;
		return count;
	}
	into[count++] = 0x7f;
	for (length -= 0x7f; length >= 0x80; length >>= 7)
		into[count++] = (uint8_t)(length | 0x80);
	into[count++] = (uint8_t)length;
	return count;
}

/* As unpack_string, for strings that may have come before. */
static bool recall_string(
	struct known_strings *known, const uint8_t *bytes, size_t length, uint8_t *into, size_t room, size_t *written)
{
	const struct bits bits = {bytes, 0, length * 8};
	if (known == NULL || length < KNOWN_LEAST || length > KNOWN_MOST)
		return unpack_string(bits, into, room, written);
	const struct text packed = {(const char *)bytes, length};
	struct text plain = known_strings_find(known, packed);
	if (plain.bytes == NULL) {
		if (!unpack_string(bits, into, room, written))
			return false;
		known_strings_keep(known, packed, (struct text){(const char *)into, *written});
		return true;
	}
	if (plain.length > room)
		return false;
	memcpy(into, plain.bytes, plain.length);
	*written = plain.length;
	return true;
}

static bool copy_string(struct block *block)
{
	enum { HEAD_MAX = 5 };
	size_t length, head = read_integer(block, 7, &length), written;
	if (head == 0 || length > (size_t)(block->end - block->at) - head)
		return false;
	if ((block->at[0] & 0x80) == 0)
		return copy_bytes(block, head + length);
	block->at += head;
	size_t room = (size_t)(block->out_end - block->out);
	/* most strings are short, or long: then their length takes as many bytes as was thought */
	size_t guess = length < 0x50 ? 1 : 3;
	uint8_t lead[HEAD_MAX];
	if (room < guess || !recall_string(block->known, block->at, length, block->out + guess, room - guess, &written))
		return false;
	size_t needed = write_length(lead, written);
	if (needed + written > room)
		return false;
	if (needed != guess)
		memmove(block->out + needed, block->out + guess, written);
	memcpy(block->out, lead, needed);
	block->at += length;
	block->out += needed + written;
	return true;
}

/* One representation (section 6). */
static bool copy_field(struct block *block)
{
	uint8_t first = block->at[0];
	bool is_indexed = (first & 0x80) != 0, is_update = (first & 0xe0) == 0x20;
	unsigned bits = is_indexed ? 7 : (first & 0x40) != 0 ? 6 : is_update ? 5 : 4;
	size_t index, length = read_integer(block, bits, &index);
	if (length == 0 || !copy_bytes(block, length))
		return false;
	if (is_indexed || is_update)
		return true;
	return (index > 0 || copy_string(block)) && copy_string(block);
}

bool header_block_unpack(
	const uint8_t *bytes, size_t length, uint8_t *into, size_t room, size_t *written, struct known_strings *known)
{
	struct block block = {bytes, bytes + length, into, into + room, known};
	while (block.at < block.end) {
		if (!copy_field(&block))
			return false;
	}
	*written = (size_t)(block.out - into);
	return true;
}
