/* Columns: what the machine's wide way counts and what the plain way counts are the same, and what they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "control/fabric/place/columns.c" /* NOLINT(bugprone-suspicious-include): its two ways, has_avx2 */

enum { WORDS = 3, ROWS = WORDS * 64, ROUNDS = 200 };

static uint64_t seed = 11;

static uint64_t dice(void)
{
	seed = seed * 6364136223846793005U + 1442695040888963407U;
	return seed ^ seed >> 29;
}

static struct table {
	_Alignas(64) int32_t left[3][ROWS];
	_Alignas(64) uint32_t share[3][ROWS], sketches[ROWS];
	_Alignas(64) int16_t small[2][ROWS];
	_Alignas(64) uint64_t sets[3][WORDS];
} table;

static void fill_table(void)
{
	for (int row = 0; row < ROWS; row++) {
		for (int i = 0; i < 3; i++) {
			int32_t allowed = (int32_t)(dice() % 5000);
			table.left[i][row] = dice() % 9 == 0 ? INT32_MAX : (int32_t)(dice() % 6000) - 1000;
			table.share[i][row] = UINT32_MAX / (uint32_t)(allowed > 0 ? allowed : 1);
		}
		table.sketches[row] = (uint32_t)dice();
		table.small[0][row] = (int16_t)(dice() % 1001);
		table.small[1][row] = (int16_t)(dice() % 5);
	}
	for (int i = 0; i < 3; i++) {
		for (int word = 0; word < WORDS; word++)
			table.sets[i][word] = dice() & dice();
	}
}

/* All that columns do, of the table. */
struct outcome {
	_Alignas(64) int16_t least[ROWS], sum[ROWS], all[ROWS], common[ROWS];
	_Alignas(64) uint64_t at_least[WORDS], equal[WORDS], kept[WORDS];
	uint32_t missing, gone;
	int16_t best, best_of_all;
};

static const struct columns wanted = {
	{table.left[0], table.left[1], table.left[2]}, {table.share[0], table.share[1], table.share[2]}, {1, 70, 300}, 3};
static const struct sum sum = {.base = 2000,
	.column_count = 2,
	.set_count = 2,
	.columns = {{table.small[0], 4}, {table.small[1], -31}},
	.sets = {{table.sets[0], 800}, {table.sets[1], -1400}}};

static void work(struct outcome *outcome)
{
	memset(outcome, 0, sizeof(*outcome));
	columns_least(outcome->least, &wanted, WORDS);
	columns_at_least(outcome->at_least, table.left[0], 70, WORDS);
	columns_equal(outcome->equal, table.small[1], 3, WORDS);
	columns_common(outcome->common, table.sketches, 0xf00ff0f0U, WORDS);
	outcome->missing = columns_count(table.sets[0], table.sets[1], WORDS);
	memcpy(outcome->kept, table.sets[0], sizeof(outcome->kept));
	outcome->gone = columns_keep(outcome->kept, table.sets[1], WORDS);
	outcome->best = columns_sum(outcome->sum, &sum, table.sets[2], WORDS);
	memcpy(outcome->all, table.small[0], sizeof(outcome->all));
	/* into one of its own columns */
	struct sum again = sum;
	again.columns[0].column = outcome->all;
	outcome->best_of_all = columns_sum(outcome->all, &again, NULL, WORDS);
}

static bool is_in(const uint64_t *bits, int row)
{
	return (bits[row / 64] >> (row % 64) & 1) != 0;
}

static void check_row(const struct outcome *outcome, int row)
{
	uint32_t least = INT16_MAX;
	for (int i = 0; i < 3; i++) {
		uint32_t share = ((uint32_t)table.left[i][row] - (uint32_t)wanted.need[i]) * table.share[i][row] >> 17;
		least = share < least ? share : least;
	}
	int total = 2000 + 4 * table.small[0][row] - 31 * table.small[1][row] + (is_in(table.sets[0], row) ? 800 : 0) -
				(is_in(table.sets[1], row) ? 1400 : 0);
	assert_int_equal(outcome->least[row], least);
	assert_int_equal(outcome->all[row], total);
	assert_int_equal(outcome->sum[row], is_in(table.sets[2], row) ? total : -1);
	assert_int_equal(outcome->common[row], __builtin_popcount(table.sketches[row] & 0xf00ff0f0U));
	assert_int_equal(is_in(outcome->at_least, row), table.left[0][row] >= 70);
	assert_int_equal(is_in(outcome->equal, row), table.small[1][row] == 3);
	assert_int_equal(is_in(outcome->kept, row), is_in(table.sets[0], row) && is_in(table.sets[1], row));
}

static void check(const struct outcome *outcome)
{
	int best = -1, best_of_all = -1;
	uint32_t missing = 0;
	for (int row = 0; row < ROWS; row++) {
		check_row(outcome, row);
		best = outcome->sum[row] > best ? outcome->sum[row] : best;
		best_of_all = outcome->all[row] > best_of_all ? outcome->all[row] : best_of_all;
		missing += is_in(table.sets[0], row) && !is_in(table.sets[1], row);
	}
	assert_int_equal(outcome->best, best);
	assert_int_equal(outcome->best_of_all, best_of_all);
	assert_int_equal(outcome->missing, missing);
	assert_int_equal(outcome->gone, missing);
}

static void both_ways_count_the_same(void **state)
{
	static struct outcome outcome;
	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		fill_table();
		work(&outcome);
		check(&outcome);
#if defined(__x86_64__)
		bool was = has_avx2;
		has_avx2 = false;
		work(&outcome);
		has_avx2 = was;
		check(&outcome);
#endif
	}
}

static void none_is_kept(void **state)
{
	static const uint64_t nobody[WORDS];
	_Alignas(64) int16_t into[ROWS];
	(void)state;
	fill_table();
	assert_int_equal(columns_sum(into, &sum, nobody, WORDS), -1);
	for (int row = 0; row < ROWS; row++)
		assert_int_equal(into[row], -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(both_ways_count_the_same), cmocka_unit_test(none_is_kept)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
