/* Histograms: percentiles within a step of the truth, whatever the magnitude. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bench/cellbench/histogram.h"

static void test_percentiles(void **state)
{
	static const uint64_t scales[] = {1, 1000, 123457, UINT64_C(1000000000)};
	(void)state;
	for (size_t i = 0; i < sizeof(scales) / sizeof(scales[0]); i++) {
		struct histogram *histogram = calloc(1, sizeof(*histogram));
		assert_non_null(histogram);
		for (uint64_t value = 1; value <= 10000; value++)
			histogram_add(histogram, value * scales[i]);
		static const double shares[] = {0.0001, 0.5, 0.9, 0.99, 0.999, 1};
		for (size_t k = 0; k < sizeof(shares) / sizeof(shares[0]); k++) {
			double truth = shares[k] * 10000 * (double)scales[i];
			double found = (double)histogram_at(histogram, shares[k]);
			assert_true(found >= truth * 0.9999 && found <= truth * 1.008 + 1);
		}
		assert_int_equal(histogram_at(histogram, 1), 10000 * scales[i]);
		assert_true(histogram_mean(histogram) == 5000.5 * (double)scales[i]);
		free(histogram);
	}
}

static void test_edges(void **state)
{
	struct histogram *histogram = calloc(1, sizeof(*histogram)), *other = calloc(1, sizeof(*other));
	(void)state;
	assert_true(histogram != NULL && other != NULL);
	assert_int_equal(histogram_at(histogram, 0.99), 0);
	histogram_add(histogram, 0);
	assert_int_equal(histogram_at(histogram, 0.99), 0);
	histogram_add(other, UINT64_MAX); /* beyond the last bucket: still counted, the maximum is exact */
	histogram_merge(histogram, other);
	assert_int_equal(histogram->count, 2);
	assert_int_equal(histogram->maximum, UINT64_MAX);
	assert_int_equal(histogram_at(histogram, 0.5), 0);
	free(histogram);
	free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_percentiles), cmocka_unit_test(test_edges)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
