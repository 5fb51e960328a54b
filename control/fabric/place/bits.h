/* Sets of cells as bits, and columns of small numbers, eight lanes at a time. A set has `words` words of 64 cells; a
 * column as many cells. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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

/* column[c] = column[c] + value for the members. */
static inline void column_add_where(int16_t *column, const uint64_t *bits, int16_t value, uint32_t words)
{
	for (uint32_t i = 0; i < words; i++, column += 64) {
		if (bits[i] == 0)
			continue;
#ifdef __SSE2__
		const __m128i lanes = _mm_set_epi16(128, 64, 32, 16, 8, 4, 2, 1), sum = _mm_set1_epi16(value);
		for (int at = 0; at < 64; at += 8) {
			__m128i *eight = (__m128i *)(void *)(column + at);
			__m128i chosen = _mm_and_si128(_mm_set1_epi16((short)(bits[i] >> at & 255)), lanes);
			*eight = _mm_add_epi16(*eight, _mm_and_si128(_mm_cmpeq_epi16(chosen, lanes), sum));
		}
#else
		for (int at = 0; at < 64; at++)
			column[at] = (int16_t)(column[at] + ((bits[i] >> at & 1) != 0 ? value : 0));
#endif
	}
}

/* column[c] = -1 for those that are no members. */
static inline void column_keep_where(int16_t *column, const uint64_t *bits, uint32_t words)
{
	for (uint32_t i = 0; i < words; i++, column += 64) {
#ifdef __SSE2__
		const __m128i lanes = _mm_set_epi16(128, 64, 32, 16, 8, 4, 2, 1), none = _mm_set1_epi16(-1);
		for (int at = 0; at < 64; at += 8) {
			__m128i *eight = (__m128i *)(void *)(column + at);
			__m128i chosen = _mm_and_si128(_mm_set1_epi16((short)(bits[i] >> at & 255)), lanes);
			*eight = _mm_or_si128(*eight, _mm_xor_si128(_mm_cmpeq_epi16(chosen, lanes), none));
		}
#else
		for (int at = 0; at < 64; at++)
			column[at] = (bits[i] >> at & 1) != 0 ? column[at] : -1;
#endif
	}
}

static inline void column_add_all(int16_t *column, int16_t value, uint32_t words)
{
	for (uint32_t i = 0; i < words * 64; i += 8) {
#ifdef __SSE2__
		__m128i *eight = (__m128i *)(void *)(column + i);
		*eight = _mm_add_epi16(*eight, _mm_set1_epi16(value));
#else
		for (uint32_t at = i; at < i + 8; at++)
			column[at] = (int16_t)(column[at] + value);
#endif
	}
}

/* column[c] = column[c] + base + times * (least[c] * part >> 15); least and part below 2^15. */
static inline void column_add_part(
	int16_t *column, const int16_t *least, int16_t part, int16_t times, int16_t base, uint32_t words)
{
	for (uint32_t i = 0; i < words * 64; i += 8) {
#ifdef __SSE2__
		__m128i *eight = (__m128i *)(void *)(column + i);
		__m128i twice = _mm_slli_epi16(*(const __m128i *)(const void *)(least + i), 1);
		__m128i its = _mm_mulhi_epu16(twice, _mm_set1_epi16(part));
		*eight =
			_mm_add_epi16(*eight, _mm_add_epi16(_mm_mullo_epi16(its, _mm_set1_epi16(times)), _mm_set1_epi16(base)));
#else
		for (uint32_t at = i; at < i + 8; at++)
			column[at] = (int16_t)(column[at] + base + times * (least[at] * part >> 15));
#endif
	}
}

static inline int16_t column_largest(const int16_t *column, uint32_t words)
{
	int16_t lanes[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
#ifdef __SSE2__
	__m128i largest = _mm_set1_epi16(-1);
	for (uint32_t i = 0; i < words * 64; i += 8)
		largest = _mm_max_epi16(largest, *(const __m128i *)(const void *)(column + i));
	memcpy(lanes, &largest, sizeof(lanes));
#else
	for (uint32_t i = 0; i < words * 64; i++)
		lanes[i % 8] = column[i] > lanes[i % 8] ? column[i] : lanes[i % 8];
#endif
	for (int i = 1; i < 8; i++)
		lanes[0] = lanes[lanes[i] > lanes[0] ? i : 0];
	return lanes[0];
}

/* The first at or after `from` that has the value; words * 64: none. */
static inline uint32_t column_find(const int16_t *column, int16_t value, uint32_t words, uint32_t from)
{
	for (uint32_t at = from / 8 * 8; at < words * 64; at += 8) {
		unsigned mask = 0;
#ifdef __SSE2__
		__m128i same = _mm_cmpeq_epi16(*(const __m128i *)(const void *)(column + at), _mm_set1_epi16(value));
		mask = (unsigned)_mm_movemask_epi8(same);
#else
		for (uint32_t lane = 0; lane < 8; lane++)
			mask |= column[at + lane] == value ? 3U << lane * 2 : 0;
#endif
		mask = at < from ? mask >> (from - at) * 2 << (from - at) * 2 : mask;
		if (mask != 0)
			return at + (uint32_t)__builtin_ctz(mask) / 2;
	}
	return words * 64;
}
