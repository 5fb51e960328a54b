/* Columns of numbers, with AVX2 when the machine has it. Both ways give the same bits. */
#include "control/fabric/place/columns.h"

#include <stdbool.h>

#include "control/fabric/place/bits.h"

/* What the compiler makes the best of, with whatever vectors the function it is put into may use. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { LANES = 16 };
typedef int16_t lanes __attribute__((vector_size(LANES * sizeof(int16_t)), may_alias));

enum { QUARTERS = 64 / LANES }; /* of the cells of a word */

/* `value` in the lanes whose bit is set; the larger of each lane. */
#define LANES_WHERE(bits, value) (((((lanes){0} + (int16_t)(bits)) & lane_bits) == lane_bits) & (value))
#define LANES_LARGER(one, two) (((one) & ((one) > (two))) | ((two) & ~((one) > (two))))

ALWAYS_INLINE void add_up(lanes *total, const struct sum *sum, const uint64_t *keep, uint32_t word)
{
	const lanes lane_bits = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, INT16_MIN};
	const lanes all = (lanes){0} - 1;
	for (int at = 0; at < QUARTERS; at++)
		total[at] = (lanes){0} + sum->base;
	for (uint32_t i = 0; i < sum->column_count; i++) {
		const lanes *column = (const lanes *)(const void *)(sum->columns[i].column + (size_t)word * 64);
		const lanes times = (lanes){0} + sum->columns[i].times;
		for (int at = 0; at < QUARTERS; at++)
			total[at] += column[at] * times;
	}
	for (uint32_t i = 0; i < sum->set_count; i++) {
		const lanes value = (lanes){0} + sum->sets[i].value;
		const uint64_t bits = sum->sets[i].bits[word];
		for (int at = 0; at < QUARTERS; at++)
			total[at] += LANES_WHERE(bits >> at * LANES, value);
	}
	for (int at = 0; keep != NULL && at < QUARTERS; at++)
		total[at] |= LANES_WHERE(~keep[word] >> at * LANES, all);
}

ALWAYS_INLINE int16_t sum_of(int16_t *into, const struct sum *sum, const uint64_t *keep, uint32_t words)
{
	lanes total[QUARTERS], largest = (lanes){0} - 1;
	int16_t best = -1;
	for (uint32_t word = 0; word < words; word++) {
		lanes *found = (lanes *)(void *)(into + (size_t)word * 64);
		add_up(total, sum, keep, word);
		for (int at = 0; at < QUARTERS; at++) {
			found[at] = total[at];
			largest = LANES_LARGER(largest, total[at]);
		}
	}
	for (int i = 0; i < LANES; i++)
		best = (int16_t)(largest[i] > best ? largest[i] : best);
	return best;
}

ALWAYS_INLINE void common_of(int16_t *restrict into, const uint32_t *restrict sets, uint32_t with, uint32_t words)
{
	for (uint32_t i = 0; i < words * 64; i++) {
		uint32_t both = sets[i] & with;
		both -= both >> 1 & 0x55555555U;
		both = (both & 0x33333333U) + (both >> 2 & 0x33333333U);
		both = (both + (both >> 4)) & 0x0f0f0f0fU;
		both += both >> 8;
		into[i] = (int16_t)((both + (both >> 16)) & 63U);
	}
}

#if defined(__x86_64__)
#include <immintrin.h>
#define WITH_AVX2 __attribute__((target("avx2")))

static bool has_avx2;

__attribute__((constructor)) static void look(void)
{
	__builtin_cpu_init();
	has_avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
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

WITH_AVX2 static void at_least_avx2(uint64_t *into, const int32_t *column, int32_t least, uint32_t words)
{
	const __m256i below = _mm256_set1_epi32(least - 1);
	for (uint32_t i = 0; i < words; i++, column += 64)
		into[i] = at_least_32(column, below) | (uint64_t)at_least_32(column + 32, below) << 32;
}

WITH_AVX2 static __m256i share_of_eight(const int32_t *left, const uint32_t *share, __m256i need)
{
	__m256i rest = _mm256_sub_epi32(*(const __m256i *)(const void *)left, need);
	return _mm256_srli_epi32(_mm256_mullo_epi32(rest, *(const __m256i *)(const void *)share), 17);
}

WITH_AVX2 static void least_avx2(int16_t *least, const struct columns *columns, uint32_t words)
{
	for (uint32_t at = 0; at < words * 64; at += 16) {
		__m256i smallest = _mm256_set1_epi16(INT16_MAX);
		for (int i = 0; i < columns->count; i++) {
			const int32_t *left = columns->left[i] + at;
			const uint32_t *share = columns->share[i] + at;
			const __m256i need = _mm256_set1_epi32(columns->need[i]);
			__m256i both =
				_mm256_packs_epi32(share_of_eight(left, share, need), share_of_eight(left + 8, share + 8, need));
			smallest = _mm256_min_epi16(smallest, both);
		}
		/* packing works within halves: put the groups of four back into their order */
		*(__m256i *)(void *)(least + at) = _mm256_permute4x64_epi64(smallest, 0xd8);
	}
}

WITH_AVX2 static uint32_t equal_32(const int16_t *column, __m256i value)
{
	const __m256i *sixteen = (const __m256i *)(const void *)column;
	__m256i same = _mm256_packs_epi16(_mm256_cmpeq_epi16(sixteen[0], value), _mm256_cmpeq_epi16(sixteen[1], value));
	return (uint32_t)_mm256_movemask_epi8(_mm256_permute4x64_epi64(same, 0xd8));
}

WITH_AVX2 static void equal_avx2(uint64_t *into, const int16_t *column, int16_t value, uint32_t words)
{
	const __m256i sixteen = _mm256_set1_epi16(value);
	for (uint32_t i = 0; i < words; i++, column += 64)
		into[i] = equal_32(column, sixteen) | (uint64_t)equal_32(column + 32, sixteen) << 32;
}

__attribute__((target("popcnt"))) static uint32_t count_popcnt(
	const uint64_t *bits, const uint64_t *without, uint32_t words)
{
	uint64_t count = 0;
	for (uint32_t i = 0; i < words; i++)
		count += (uint64_t)__builtin_popcountll(bits[i] & ~without[i]);
	return (uint32_t)count;
}

__attribute__((target("popcnt"))) static uint32_t keep_popcnt(uint64_t *bits, const uint64_t *with, uint32_t words)
{
	uint64_t count = 0;
	for (uint32_t i = 0; i < words; i++) {
		count += (uint64_t)__builtin_popcountll(bits[i] & ~with[i]);
		bits[i] &= with[i];
	}
	return (uint32_t)count;
}

WITH_AVX2 static int16_t sum_avx2(int16_t *into, const struct sum *sum, const uint64_t *keep, uint32_t words)
{
	return sum_of(into, sum, keep, words);
}

WITH_AVX2 static void common_avx2(int16_t *into, const uint32_t *sets, uint32_t with, uint32_t words)
{
	common_of(into, sets, with, words);
}
#endif

void columns_at_least(uint64_t *into, const int32_t *column, int32_t least, uint32_t words)
{
#if defined(__x86_64__)
	if (has_avx2) {
		at_least_avx2(into, column, least, words);
		return;
	}
#endif
	for (uint32_t i = 0; i < words; i++, column += 64) {
		uint64_t word = 0;
		for (int at = 0; at < 64; at++)
			word |= (uint64_t)(column[at] >= least) << at;
		into[i] = word;
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

uint32_t columns_keep(uint64_t *bits, const uint64_t *with, uint32_t words)
{
#if defined(__x86_64__)
	if (has_avx2)
		return keep_popcnt(bits, with, words);
#endif
	uint32_t count = columns_count(bits, with, words);
	bits_and(bits, with, words);
	return count;
}

int16_t columns_sum(int16_t *into, const struct sum *sum, const uint64_t *keep, uint32_t words)
{
#if defined(__x86_64__)
	if (has_avx2)
		return sum_avx2(into, sum, keep, words);
#endif
	return sum_of(into, sum, keep, words);
}

void columns_equal(uint64_t *into, const int16_t *column, int16_t value, uint32_t words)
{
#if defined(__x86_64__)
	if (has_avx2) {
		equal_avx2(into, column, value, words);
		return;
	}
#endif
	for (uint32_t i = 0; i < words; i++, column += 64) {
		uint64_t word = 0;
		for (int at = 0; at < 64; at++)
			word |= (uint64_t)(column[at] == value) << at;
		into[i] = word;
	}
}

void columns_common(int16_t *into, const uint32_t *sets, uint32_t with, uint32_t words)
{
#if defined(__x86_64__)
	if (has_avx2) {
		common_avx2(into, sets, with, words);
		return;
	}
#endif
	common_of(into, sets, with, words);
}
