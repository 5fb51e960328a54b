/* What the provision manager counts, for the operator's metrics. A process counts what it does itself: of several
 * replicas the sum says what was done. What is (the gauges) each of them knows of all.
 *
 * Types of orchestrations and activities are labels: those of cells' own executors count under their type ("a--cell" as
 * "a"), and beyond STATISTICS_TYPES_MAX of a kind all count as "other". */
#pragma once

#include "control/orchestration/orchestration.h"

enum { STATISTICS_TYPES_MAX = 64, STATISTICS_BUCKETS = 14 };

struct statistics;
/* NULL when out of memory. */
struct statistics *statistics_new(void);
void statistics_free(struct statistics *statistics);

/* An orchestration's place in the ledger. */
enum statistics_place {
	STATISTICS_ORDERED,
	STATISTICS_RUNNING,
	STATISTICS_COMPLETED,
	STATISTICS_ERRORED,
	STATISTICS_PLACES
};
/* by: +1 or -1. */
void statistics_count(struct statistics *statistics, struct text type, enum statistics_place place, int by);
void statistics_started(struct statistics *statistics, struct text type);
/* "completed", "errored" or "refused". */
void statistics_ended(struct statistics *statistics, struct text type, const char *result, int64_t took_ms);
/* What is over in `now` and was not in `before` (NULL: nothing was). step_ms: when its step began at the earliest. */
void statistics_compare(struct statistics *statistics, const struct orchestration *before,
	const struct orchestration *now, int64_t step_ms, int64_t wall_ms);
/* The repeats of what was lost: activities and responses that were sent again, compensations that were begun. */
enum statistics_event {
	STATISTICS_ACTIVITY_RESENT,
	STATISTICS_RESPONSE_RESENT,
	STATISTICS_COMPENSATION,
	STATISTICS_EVENTS
};
void statistics_event(struct statistics *statistics, enum statistics_event event, size_t count);

/* As text of Prometheus. */
void statistics_render(const struct statistics *statistics, struct buffer *into);
