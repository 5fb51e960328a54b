/* What the provision manager counts, for the operator's metrics. A process counts what it does itself: of several
 * replicas the sum says what was done. What is (the gauges) each of them knows of all.
 *
 * Types of orchestrations and activities are labels: those of cells' own executors count under their type ("a--cell" as
 * "a"), and beyond PM_TALLY_TYPES_MAX of a kind all count as "other". */
#pragma once

#include "control/orchestration/orchestration.h"

enum { PM_TALLY_TYPES_MAX = 64, PM_TALLY_BUCKETS = 14 };

struct pm_tally;
/* NULL when out of memory. */
struct pm_tally *pm_tally_new(void);
void pm_tally_free(struct pm_tally *tally);

/* An orchestration's place in the ledger. */
enum pm_tally_place { PM_TALLY_ORDERED, PM_TALLY_RUNNING, PM_TALLY_COMPLETED, PM_TALLY_ERRORED, PM_TALLY_PLACES };
/* by: +1 or -1. */
void pm_tally_count(struct pm_tally *tally, struct text type, enum pm_tally_place place, int by);
void pm_tally_started(struct pm_tally *tally, struct text type);
/* "completed", "errored" or "refused". */
void pm_tally_ended(struct pm_tally *tally, struct text type, const char *result, int64_t took_ms);
/* One activity has come to its end; attempts: its runs, as far as its agent has counted them. */
void pm_tally_activity(struct pm_tally *tally, struct text type, bool is_success, int64_t took_ms, int64_t attempts);
/* What is over in `now` and was not in `before` (NULL: nothing was). step_ms: when its step began at the earliest. */
void pm_tally_compare(struct pm_tally *tally, const struct orchestration *before, const struct orchestration *now,
	int64_t step_ms, int64_t wall_ms);
/* The repeats of what was lost: activities and responses that were sent again, compensations that were begun. */
enum pm_tally_event { PM_TALLY_ACTIVITY_RESENT, PM_TALLY_RESPONSE_RESENT, PM_TALLY_COMPENSATION, PM_TALLY_EVENTS };
void pm_tally_event(struct pm_tally *tally, enum pm_tally_event event, size_t count);

/* As text of Prometheus. */
void pm_tally_render(const struct pm_tally *tally, struct buffer *into);
