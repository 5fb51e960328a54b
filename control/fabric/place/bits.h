/* Sets of cells as bits: `words` words of 64 cells. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool bits_has(const uint64_t *bits, uint32_t at)
{
	return (bits[at / 64] >> (at % 64) & 1) != 0;
}

static inline void bits_put(uint64_t *bits, uint32_t at, bool value)
{
	uint64_t bit = (uint64_t)1 << (at % 64);
	bits[at / 64] = value ? bits[at / 64] | bit : bits[at / 64] & ~bit;
}

static inline void bits_and(uint64_t *into, const uint64_t *with, uint32_t words)
{
	for (uint32_t i = 0; i < words; i++)
		into[i] &= with[i];
}

static inline void bits_and_not(uint64_t *into, const uint64_t *without, uint32_t words)
{
	for (uint32_t i = 0; i < words; i++)
		into[i] &= ~without[i];
}

static inline void bits_or(uint64_t *into, const uint64_t *with, uint32_t words)
{
	for (uint32_t i = 0; i < words; i++)
		into[i] |= with[i];
}

static inline uint32_t bits_count_word(uint64_t word)
{
	word -= word >> 1 & 0x5555555555555555U;
	word = (word & 0x3333333333333333U) + (word >> 2 & 0x3333333333333333U);
	word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fU;
	return (uint32_t)(word * 0x0101010101010101U >> 56);
}

static inline uint32_t bits_count(const uint64_t *bits, uint32_t words)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < words; i++)
		count += bits_count_word(bits[i]);
	return count;
}

/* The first member at or after `from`; words * 64: none. */
static inline uint32_t bits_next(const uint64_t *bits, uint32_t words, uint32_t from)
{
	for (uint32_t i = from / 64; i < words; i++) {
		uint64_t word = i == from / 64 ? bits[i] & ~(uint64_t)0 << (from % 64) : bits[i];
		if (word != 0)
			return i * 64 + (uint32_t)__builtin_ctzll(word);
	}
	return words * 64;
}
