/* Columns of 32-bit numbers, with AVX2 when the machine has it. Both ways give the same bits. */
#include "control/fabric/place/columns.h"

#include <stdbool.h>

#include "control/fabric/place/bits.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define WITH_AVX2 __attribute__((target("avx2")))

static bool has_avx2;

__attribute__((constructor)) static void look(void)
{
	__builtin_cpu_init();
	has_avx2 = __builtin_cpu_supports("avx2");
}

WITH_AVX2 static uint32_t at_least_32(const int32_t *column, __m256i below)
{
	const __m256i *eight = (const __m256i *)(const void *)column;
	__m256i low = _mm256_packs_epi32(_mm256_cmpgt_epi32(eight[0], below), _mm256_cmpgt_epi32(eight[1], below));
	__m256i high = _mm256_packs_epi32(_mm256_cmpgt_epi32(eight[2], below), _mm256_cmpgt_epi32(eight[3], below));
	/* packing works within halves: put the groups of four back into their order */
	__m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
	return (uint32_t)_mm256_movemask_epi8(_mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order));
}

WITH_AVX2 static void keep_at_least_avx2(uint64_t *into, const int32_t *column, int32_t least, uint32_t words)
{
	const __m256i below = _mm256_set1_epi32(least - 1);
	for (uint32_t i = 0; i < words; i++, column += 64)
		into[i] &= at_least_32(column, below) | (uint64_t)at_least_32(column + 32, below) << 32;
}

WITH_AVX2 static __m256i share_of_eight(const int32_t *left, const uint32_t *share, __m256i need)
{
	__m256i rest = _mm256_sub_epi32(*(const __m256i *)(const void *)left, need);
	return _mm256_srli_epi32(_mm256_mullo_epi32(rest, *(const __m256i *)(const void *)share), 17);
}

/* Packing works within halves: the columns are gathered in that order, and put right by the last. */
WITH_AVX2 static void least_avx2(int16_t *least, const struct columns *columns, uint32_t words)
{
	for (int i = 0; i < columns->count; i++) {
		const int32_t *left = columns->left[i];
		const uint32_t *share = columns->share[i];
		const __m256i need = _mm256_set1_epi32(columns->need[i]);
		for (uint32_t at = 0; at < words * 64; at += 16) {
			__m256i *into = (__m256i *)(void *)(least + at);
			__m256i both = _mm256_packs_epi32(
				share_of_eight(left + at, share + at, need), share_of_eight(left + at + 8, share + at + 8, need));
			*into = i == 0 ? both : _mm256_min_epi16(*into, both);
		}
	}
	for (uint32_t at = 0; at < words * 64; at += 16) {
		__m256i *into = (__m256i *)(void *)(least + at);
		*into = _mm256_permute4x64_epi64(*into, 0xd8);
	}
}

__attribute__((target("popcnt"))) static uint32_t count_popcnt(
	const uint64_t *bits, const uint64_t *without, uint32_t words)
{
	uint64_t count = 0;
	for (uint32_t i = 0; i < words; i++)
		count += (uint64_t)__builtin_popcountll(bits[i] & ~without[i]);
	return (uint32_t)count;
}
#endif

void columns_keep_at_least(uint64_t *into, const int32_t *column, int32_t least, uint32_t words)
{
#if defined(__x86_64__)
	if (has_avx2) {
		keep_at_least_avx2(into, column, least, words);
		return;
	}
#endif
	for (uint32_t i = 0; i < words; i++, column += 64) {
		uint64_t word = 0;
		for (int at = 0; at < 64; at++)
			word |= (uint64_t)(column[at] >= least) << at;
		into[i] &= word;
	}
}

void columns_least(int16_t *least, const struct columns *columns, uint32_t words)
{
#if defined(__x86_64__)
	if (has_avx2) {
		least_avx2(least, columns, words);
		return;
	}
#endif
	for (uint32_t at = 0; at < words * 64; at++) {
		uint32_t smallest = INT16_MAX;
		for (int i = 0; i < columns->count; i++) {
			uint32_t rest = (uint32_t)columns->left[i][at] - (uint32_t)columns->need[i];
			uint32_t value = rest * columns->share[i][at] >> 17;
			smallest = value < smallest ? value : smallest;
		}
		least[at] = (int16_t)smallest;
	}
}

uint32_t columns_count(const uint64_t *bits, const uint64_t *without, uint32_t words)
{
#if defined(__x86_64__)
	if (has_avx2)
		return count_popcnt(bits, without, words);
#endif
	uint32_t count = 0;
	for (uint32_t i = 0; i < words; i++)
		count += bits_count_word(bits[i] & ~without[i]);
	return count;
}
