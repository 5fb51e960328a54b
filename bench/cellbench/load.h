/* The load itself: connections and requests of all tenants of a scenario on the workers of a pool. */
#pragma once

#include "bench/cellbench/histogram.h"
#include "bench/cellbench/scenario.h"
#include "server/worker.h"

/* What one tenant saw inside the measured window; several threads never share one. */
struct tenant_result {
	struct histogram latency;    /* from when a request was due to its last byte */
	struct histogram first_byte; /* ... to its head */
	uint64_t bytes, failed;      /* failed: no answer, a cut one, or a status of 400 and more */
	uint64_t late;               /* open loop: due inside the window and never sent */
};

struct load;
/* Registers with the pool, before it starts. Both are borrowed until load_free. */
enum status load_open(struct worker_pool *pool, const struct scenario *scenario, struct load **load) MUST_CHECK;
/* From any thread: what ends from now on counts / counts no more. */
void load_measure(struct load *load, bool measures);
/* After the pool has stopped. tenant: its index in the scenario. */
const struct tenant_result *load_result(const struct load *load, size_t tenant);
void load_free(struct load *load);
