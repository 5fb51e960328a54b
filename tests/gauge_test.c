/* What placement is told of a cell's figures: what, and how seldom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/fabric/health/gauge.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
enum { ALL = (1 << VPA_TYPE_COUNT) - 1, CONNECTOR = 1 << VPA_CONNECTOR, DATAPLANE = 1 << VPA_DATAPLANE };
enum { SERVICES = 1 << VPA_CREDENTIALSERVICE | 1 << VPA_ISSUER };

/* A cell with one of each runtime but credentials, all well. */
static const struct beat_figures well = {.desired = {1, 1, 0}, .ready = {1, 1, 0}};

static void the_fullest_is_the_load(void **state)
{
	static const struct cell_definition some = {.resources = {-1, -1, 1000, 200, 400}};
	static const struct {
		struct beat_figures figures;
		const struct cell_definition *definition;
		int load;
	} cases[] = {
		{{.cpu = 0}, NULL, 0},
		{{.cpu = 31, .memory = 48}, NULL, 450},
		{{.cpu = 91, .memory = 48}, NULL, 900},
		{{.cpu = 100}, NULL, 1000},
		{{.requests = 700, .megabits = 10, .connections = 10}, NULL, 0}, /* of what? */
		{{.requests = 700, .megabits = 10, .connections = 10}, &some, 700},
		{{.requests = 1, .megabits = 150, .connections = 10}, &some, 750},
		{{.requests = 1, .megabits = 1, .connections = UINT32_MAX}, &some, 1000},
		{{.cpu = 99, .requests = 700}, &some, 950},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct gauge gauge = {0};
		assert_true(gauge_hear(&gauge, &cases[i].figures, cases[i].definition, 1));
		assert_int_equal(gauge.load, cases[i].load);
		assert_int_equal(gauge.ready, ALL); /* nothing is said of any component */
	}
}

static void what_is_ready_by_type(void **state)
{
	static const struct {
		uint16_t ready[BEAT_COMPONENT_COUNT], desired[BEAT_COMPONENT_COUNT];
		unsigned expected;
	} cases[] = {
		{{1, 1, 0}, {1, 1, 0}, ALL},
		{{0, 1, 0}, {1, 1, 0}, ALL & ~CONNECTOR},
		{{0, 0, 0}, {1, 8, 0}, SERVICES},
		{{5, 1, 0}, {5, 8, 3}, CONNECTOR | DATAPLANE},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct beat_figures figures = {0};
		struct gauge gauge = {0};
		memcpy(figures.ready, cases[i].ready, sizeof(figures.ready));
		memcpy(figures.desired, cases[i].desired, sizeof(figures.desired));
		assert_true(gauge_hear(&gauge, &figures, NULL, 1));
		assert_int_equal(gauge.ready, cases[i].expected);
	}
}

/* One gauge, heard again and again. */
static void news_is_seldom_but_a_loss(void **state)
{
	static const struct {
		uint64_t at_ms;
		uint8_t cpu, cp_ready;
		bool is_news;
		int load;
		unsigned ready;
	} cases[] = {
		{5, 20, 1, true, 200, ALL},                                 /* the first */
		{5 + GAUGE_PAUSE_MS, 24, 1, false, 200, ALL},               /* less than a step */
		{6 + GAUGE_PAUSE_MS, 26, 1, true, 250, ALL},                /* a step */
		{7 + GAUGE_PAUSE_MS, 90, 1, false, 250, ALL},               /* too soon */
		{8 + GAUGE_PAUSE_MS, 90, 0, true, 900, ALL & ~CONNECTOR},   /* but what is lost is lost now */
		{9 + GAUGE_PAUSE_MS, 10, 1, false, 900, ALL & ~CONNECTOR},  /* back: that may wait */
		{10 + GAUGE_PAUSE_MS, 10, 0, false, 900, ALL & ~CONNECTOR}, /* and was nothing */
		{9 + 2 * GAUGE_PAUSE_MS, 90, 1, true, 900, ALL},            /* back for good */
		{10 + 3 * GAUGE_PAUSE_MS, 86, 1, false, 900, ALL},          /* no step down */
		{11 + 3 * GAUGE_PAUSE_MS, 85, 1, true, 850, ALL},
	};
	struct gauge gauge = {0};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct beat_figures figures = well;
		figures.cpu = cases[i].cpu;
		figures.ready[BEAT_CP] = cases[i].cp_ready;
		assert_int_equal(gauge_hear(&gauge, &figures, NULL, cases[i].at_ms), cases[i].is_news);
		assert_int_equal(gauge.load, cases[i].load);
		assert_int_equal(gauge.ready, cases[i].ready);
	}
}

/* However a thousand cells swing, some hundred changes a second are told. */
static void a_fleet_that_swings_is_told_of_seldom(void **state)
{
	enum { CELLS = 1000, SECONDS = 60, NEWS_MAX = CELLS * (1 + SECONDS * 1000 / GAUGE_PAUSE_MS) };
	static struct gauge gauges[CELLS];
	size_t news = 0;
	(void)state;
	for (uint64_t now_ms = 1; now_ms <= SECONDS * 1000; now_ms += 100) {
		for (size_t i = 0; i < CELLS; i++) {
			struct beat_figures figures = well;
			figures.cpu = (uint8_t)((now_ms / 100 + i) % 2 * 100);
			news += gauge_hear(&gauges[i], &figures, NULL, now_ms);
		}
	}
	assert_true(news > CELLS && news <= NEWS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_fullest_is_the_load),
		cmocka_unit_test(what_is_ready_by_type),
		cmocka_unit_test(news_is_seldom_but_a_loss),
		cmocka_unit_test(a_fleet_that_swings_is_told_of_seldom),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
