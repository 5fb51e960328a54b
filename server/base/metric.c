/* Metrics: registered once, counted in the thread's own block, added up at a scrape. */
#include "server/base/metric.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { METRICS_MAX = 1024, CELLS_MAX = 2048, SOURCES_MAX = 16, BUCKETS = METRIC_BUCKETS - 1 };

struct metric {
	const char *name, *labels, *help;
	enum metric_kind kind;
	int cell; /* the first of its counters in each block */
};

/* One thread's counters: no other thread writes here. */
struct block {
	_Alignas(64) _Atomic int64_t cells[CELLS_MAX];
	struct block *next;
};

static const uint64_t bounds_us[BUCKETS] = {100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000,
	500000, 1000000, 2000000, 5000000, 10000000, 30000000, 60000000};
static const char *const bounds_text[BUCKETS] = {"0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005", "0.01",
	"0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10", "30", "60"};

static struct metric metrics[METRICS_MAX];
static int metric_count, cell_count;
static struct block shared;
static _Atomic(struct block *) blocks;
static _Thread_local struct block *own;
static struct {
	void (*render)(void *context, struct buffer *into);
	void *context;
} sources[SOURCES_MAX];
static int source_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

int metric_register(enum metric_kind kind, const char *name, const char *labels, const char *help)
{
	pthread_mutex_lock(&lock);
	int found = -1, cells = kind == METRIC_HISTOGRAM ? BUCKETS + 2 : 1;
	for (int i = 0; i < metric_count && found < 0; i++) {
		if (is_same(metrics[i].name, name) && is_same(metrics[i].labels, labels))
			found = i;
	}
	if (found < 0) {
		if (metric_count == METRICS_MAX || cell_count + cells > CELLS_MAX)
			abort(); /* our mistake */
		found = metric_count++;
		metrics[found] = (struct metric){name, labels, help, kind, cell_count};
		cell_count += cells;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

void metric_thread_start(void)
{
	struct block *block = aligned_alloc(_Alignof(struct block), sizeof(*block));
	if (own != NULL || block == NULL) {
		free(block);
		return;
	}
	memset(block, 0, sizeof(*block));
	/* kept for ever: what a thread counted stays counted */
	block->next = atomic_load_explicit(&blocks, memory_order_relaxed);
	while (!atomic_compare_exchange_weak_explicit(
		&blocks, &block->next, block, memory_order_release, memory_order_relaxed))
		continue;
	own = block;
}

static void add(int cell, int64_t amount)
{
	if (own == NULL) {
		atomic_fetch_add_explicit(&shared.cells[cell], amount, memory_order_relaxed);
		return;
	}
	int64_t before = atomic_load_explicit(&own->cells[cell], memory_order_relaxed);
	atomic_store_explicit(&own->cells[cell], before + amount, memory_order_relaxed);
}

void metric_add(int metric, int64_t amount)
{
	add(metrics[metric].cell, amount);
}

void metric_observe_us(int metric, uint64_t microseconds)
{
	int bucket = 0;
	while (bucket < BUCKETS && microseconds > bounds_us[bucket])
		bucket++;
	add(metrics[metric].cell + bucket, 1);
	add(metrics[metric].cell + BUCKETS + 1, (int64_t)microseconds);
}

static int64_t sum(int cell)
{
	int64_t total = atomic_load_explicit(&shared.cells[cell], memory_order_relaxed);
	for (struct block *block = atomic_load_explicit(&blocks, memory_order_acquire); block != NULL; block = block->next)
		total += atomic_load_explicit(&block->cells[cell], memory_order_relaxed);
	return total;
}

int64_t metric_value(int metric)
{
	return sum(metrics[metric].cell);
}

void metric_buckets(int metric, int64_t counts[METRIC_BUCKETS])
{
	for (int i = 0; i < METRIC_BUCKETS; i++)
		counts[i] = sum(metrics[metric].cell + i);
}

uint64_t metric_bound_us(int bucket)
{
	return bounds_us[bucket < BUCKETS ? bucket : BUCKETS - 1];
}

void metric_add_source(void (*render)(void *context, struct buffer *into), void *context)
{
	pthread_mutex_lock(&lock);
	if (source_count == SOURCES_MAX)
		abort(); /* our mistake */
	sources[source_count].render = render;
	sources[source_count++].context = context;
	pthread_mutex_unlock(&lock);
}

static void render_series(
	const struct metric *metric, const char *suffix, const char *le, int64_t value, struct buffer *into)
{
	buffer_printf(into, "%s%s", metric->name, suffix);
	if (metric->labels != NULL || le != NULL)
		buffer_printf(into, "{%s%s%s%s%s}", metric->labels == NULL ? "" : metric->labels,
			metric->labels != NULL && le != NULL ? "," : "", le == NULL ? "" : "le=\"", le == NULL ? "" : le,
			le == NULL ? "" : "\"");
	buffer_printf(into, " %lld\n", (long long)value);
}

static void render_histogram(const struct metric *metric, struct buffer *into)
{
	int64_t below = 0;
	for (int i = 0; i < BUCKETS; i++) {
		below += sum(metric->cell + i);
		render_series(metric, "_bucket", bounds_text[i], below, into);
	}
	below += sum(metric->cell + BUCKETS);
	render_series(metric, "_bucket", "+Inf", below, into);
	render_series(metric, "_count", NULL, below, into);
	int64_t total_us = sum(metric->cell + BUCKETS + 1);
	buffer_printf(into, "%s_sum%s%s%s %lld.%06lld\n", metric->name, metric->labels == NULL ? "" : "{",
		metric->labels == NULL ? "" : metric->labels, metric->labels == NULL ? "" : "}",
		(long long)(total_us / 1000000), (long long)(total_us % 1000000));
}

void metric_render(struct buffer *into)
{
	static const char *const kinds[] = {"counter", "gauge", "histogram"};
	for (int i = 0; i < metric_count; i++) {
		const struct metric *metric = &metrics[i];
		bool is_first = true;
		for (int j = 0; j < i && is_first; j++)
			is_first = !is_same(metrics[j].name, metric->name);
		if (!is_first)
			continue;
		buffer_printf(
			into, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name, kinds[metric->kind]);
		for (int j = i; j < metric_count; j++) {
			if (!is_same(metrics[j].name, metric->name))
				continue;
			if (metric->kind == METRIC_HISTOGRAM)
				render_histogram(&metrics[j], into);
			else
				render_series(&metrics[j], "", NULL, sum(metrics[j].cell), into);
		}
	}
	for (int i = 0; i < source_count; i++)
		sources[i].render(sources[i].context, into);
}
