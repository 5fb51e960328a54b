/* Metrics: the text Prometheus reads, and counts of many threads added up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <string.h>

#include "server/base/metric.h"

static void counts_are_rendered(void **state)
{
	(void)state;
	int h2 = metric_register(METRIC_COUNTER, "requests_total", "protocol=\"h2\"", "Requests");
	int open = metric_register(METRIC_GAUGE, "open", NULL, "Things that are open");
	int h1 = metric_register(METRIC_COUNTER, "requests_total", "protocol=\"h1\"", "Requests");
	assert_int_equal(metric_register(METRIC_COUNTER, "requests_total", "protocol=\"h2\"", "Requests"), h2);
	metric_add(h2, 3);
	metric_add(h1, 1);
	metric_add(open, 5);
	metric_add(open, -7);
	assert_int_equal(metric_value(open), -2);
	struct buffer text = {0};
	metric_render(&text);
	assert_string_equal(text.bytes, "# HELP requests_total Requests\n"
									"# TYPE requests_total counter\n"
									"requests_total{protocol=\"h2\"} 3\n"
									"requests_total{protocol=\"h1\"} 1\n"
									"# HELP open Things that are open\n"
									"# TYPE open gauge\n"
									"open -2\n");
	buffer_free(&text);
}

static void render_extra(void *context, struct buffer *into)
{
	buffer_printf(into, "extra{tenant=\"%s\"} 1\n", (const char *)context);
}

static void histograms_are_cumulative(void **state)
{
	(void)state;
	static const uint64_t observed[] = {0, 100, 101, 1500000, 60000000, 60000001, 3600000000};
	static char tenant[] = "a";
	static const char *const lines[] = {"# TYPE head_seconds histogram\n",
		"head_seconds_bucket{a=\"b\",le=\"0.0001\"} 2\n", "head_seconds_bucket{a=\"b\",le=\"0.0002\"} 3\n",
		"head_seconds_bucket{a=\"b\",le=\"1\"} 3\n", "head_seconds_bucket{a=\"b\",le=\"2\"} 4\n",
		"head_seconds_bucket{a=\"b\",le=\"60\"} 5\n", "head_seconds_bucket{a=\"b\",le=\"+Inf\"} 7\n",
		"head_seconds_count{a=\"b\"} 7\n", "head_seconds_sum{a=\"b\"} 3721.500202\n",
		"idle_seconds_bucket{le=\"0.0001\"} 0\n", "idle_seconds_count 0\n", "idle_seconds_sum 0.000000\n",
		"extra{tenant=\"a\"} 1\n"};
	int head = metric_register(METRIC_HISTOGRAM, "head_seconds", "a=\"b\"", "Heads");
	metric_register(METRIC_HISTOGRAM, "idle_seconds", NULL, "Never seen");
	metric_add_source(render_extra, tenant);
	for (size_t i = 0; i < sizeof(observed) / sizeof(observed[0]); i++)
		metric_observe_us(head, observed[i]);
	struct buffer text = {0};
	metric_render(&text);
	const char *at = text.bytes;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) { /* in this order */
		at = strstr(at, lines[i]);
		if (at == NULL)
			fail_msg("no %s in\n%s", lines[i], text.bytes);
	}
	buffer_free(&text);
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *count(void *metric)
{
	metric_thread_start();
	for (int i = 0; i < ROUNDS; i++)
		metric_add(*(int *)metric, 1);
	metric_thread_start(); /* again: keeps its block */
	metric_add(*(int *)metric, 1);
	return NULL;
}

static void *count_without_block(void *metric)
{
	for (int i = 0; i < ROUNDS; i++)
		metric_add(*(int *)metric, 1);
	return NULL;
}

static void threads_are_added_up(void **state)
{
	(void)state;
	pthread_t threads[THREADS];
	int metric = metric_register(METRIC_COUNTER, "threads_total", NULL, "Of all threads");
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, i % 2 == 0 ? count : count_without_block, &metric), 0);
	int64_t before = 0;
	for (int i = 0; i < 100; i++) { /* a scrape meanwhile sees it grow */
		int64_t now = metric_value(metric);
		assert_true(now >= before);
		before = now;
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(metric_value(metric), THREADS * ROUNDS + THREADS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_are_rendered),
		cmocka_unit_test(histograms_are_cumulative),
		cmocka_unit_test(threads_are_added_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
