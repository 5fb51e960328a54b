/* Counters, gauges and histograms, in Prometheus text format. A metric is registered once at start; each thread that
 * counts owns a block of its own (no shared cache line), and a scrape adds the blocks up. */
#pragma once

#include <stdint.h>

#include "server/base/text.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Registers before metric_thread_start is called anywhere. `labels` like "protocol=\"h2\"" or NULL; metrics of one name
 * with different labels share help and kind. Histograms have buckets in microseconds: 100us .. 60s, log scale. At most
 * 1024. */
int metric_register(enum metric_kind kind, const char *name, const char *labels, const char *help);

/* Gives the calling thread its block; without it the thread's counts go to a shared block by atomic addition. */
void metric_thread_start(void);

/* From any thread; cheap (an addition in the thread's own block). */
void metric_add(int metric, int64_t amount);
void metric_observe_us(int metric, uint64_t microseconds);
/* Sum over all threads. */
int64_t metric_value(int metric);

enum { METRIC_BUCKETS = 19 };
/* A histogram's observations so far, by bucket: up to each of metric_bound_us(0 .. 17), and above the last. */
void metric_buckets(int metric, int64_t counts[METRIC_BUCKETS]);
uint64_t metric_bound_us(int bucket);

/* Extra text for series that live elsewhere (per tenant, queue depths): called at each scrape on the scraping thread.
 */
void metric_add_source(void (*render)(void *context, struct buffer *into), void *context);
void metric_render(struct buffer *into);
