/* The penalty budget over time, and limits whose presets are what their help and header promise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "server/limits.h"

static const struct limits budget = {.penalty_burst = 100, .penalty_rate = 20};

/* One budget, charged in this order. */
static const struct {
	uint64_t at_ms;
	unsigned points;
	enum penalty_verdict verdict;
} charges[] = {
	{1000, 0, PENALTY_FINE},
	{1000, 74, PENALTY_FINE},
	{1000, 1, PENALTY_WARN},
	{1000, 0, PENALTY_WARN},
	{1050, 0, PENALTY_FINE}, /* 74: one point in 50 ms */
	{1000, 0, PENALTY_FINE}, /* a clock that goes back gives and takes nothing */
	{1050, 25, PENALTY_WARN},
	{1100, 1, PENALTY_WARN}, /* 98 + 1 */
	{1100, 1, PENALTY_OUT},
	{1100, 0, PENALTY_OUT},
	{2100, 0, PENALTY_WARN},
	{3600, 0, PENALTY_FINE},
	{60000, 74, PENALTY_FINE},
	{60000 + 86400001, 74, PENALTY_FINE},
	{UINT64_MAX, 74, PENALTY_FINE},
	{UINT64_MAX, UINT32_MAX, PENALTY_OUT},
};

static void misdeeds_are_charged_and_forgiven(void **state)
{
	(void)state;
	struct penalty penalty = {0};
	for (size_t i = 0; i < sizeof(charges) / sizeof(charges[0]); i++)
		if (penalty_charge(&penalty, &budget, charges[i].at_ms, charges[i].points) != charges[i].verdict)
			fail_msg("charge %zu: %lld spent", i, (long long)penalty.spent_milli);
}

static void small_gains_add_up(void **state)
{
	(void)state;
	struct penalty penalty = {0};
	const struct limits slow = {.penalty_burst = 10, .penalty_rate = 1};
	assert_int_equal(penalty_charge(&penalty, &slow, 1, 9), PENALTY_WARN);
	for (uint64_t ms = 2; ms <= 9001; ms++) /* asked each millisecond, a thousandth of a point each time */
		(void)penalty_charge(&penalty, &slow, ms, 0);
	assert_int_equal(penalty.spent_milli, 0);
}

static void extremes_do_not_overflow(void **state)
{
	(void)state;
	const struct limits largest = {.penalty_burst = 1000000, .penalty_rate = 1000000};
	struct penalty penalty = {0};
	assert_int_equal(penalty_charge(&penalty, &largest, 1, 999999), PENALTY_WARN);
	assert_int_equal(penalty_charge(&penalty, &largest, 86400001, 749999), PENALTY_FINE);
	assert_int_equal(penalty_charge(&penalty, &largest, UINT64_MAX, 1), PENALTY_FINE);
	assert_int_equal(penalty_charge(&penalty, &largest, UINT64_MAX, UINT32_MAX), PENALTY_OUT);
}

static void presets_are_within_their_bounds(void **state)
{
	(void)state;
	struct limits limits;
	struct setting_section section = {"limits", limits_settings, limits_setting_count, &limits};
	struct buffer error = {0};
	memset(&limits, 0xff, sizeof(limits));
	assert_int_equal(config_load(NULL, &section, 1, &error), STATUS_OK);
	assert_int_equal(limits_setting_count * sizeof(int64_t), sizeof(limits)); /* none is forgotten in the table */
	for (size_t i = 0; i < limits_setting_count; i++) {
		int64_t value;
		memcpy(&value, (const char *)&limits + limits_settings[i].offset, sizeof(value));
		if (value < limits_settings[i].minimum || value > limits_settings[i].maximum)
			fail_msg("%s: %lld", limits_settings[i].key, (long long)value);
	}
	static const struct {
		size_t offset;
		int64_t value;
	} promised[] = {
		{offsetof(struct limits, streams_per_connection), 100},
		{offsetof(struct limits, header_bytes), 32 * 1024},
		{offsetof(struct limits, penalty_burst), 500},
		{offsetof(struct limits, idle_ms), 300000},
		{offsetof(struct limits, request_body), (int64_t)64 << 30},
		{offsetof(struct limits, drain_ms), 20000},
	};
	for (size_t i = 0; i < sizeof(promised) / sizeof(promised[0]); i++) {
		int64_t value;
		memcpy(&value, (const char *)&limits + promised[i].offset, sizeof(value));
		assert_int_equal(value, promised[i].value);
	}
	config_free(&section, 1);
	buffer_free(&error);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(misdeeds_are_charged_and_forgiven),
		cmocka_unit_test(small_gains_add_up),
		cmocka_unit_test(extremes_do_not_overflow),
		cmocka_unit_test(presets_are_within_their_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
