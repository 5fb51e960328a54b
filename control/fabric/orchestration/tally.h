/* What the provision manager counts, for the operator's metrics. A process counts what it does itself: of several
 * replicas the sum says what was done. What is (the gauges) each of them knows of all.
 *
 * Types of orchestrations and activities are labels: those of cells' own executors count under their type ("a--cell" as
 * "a"), and beyond TALLY_TYPES_MAX of a kind all count as "other". */
#pragma once

#include "control/orchestration/orchestration.h"

enum { TALLY_TYPES_MAX = 64, TALLY_BUCKETS = 14 };

struct tally;
/* NULL when out of memory. */
struct tally *tally_new(void);
void tally_free(struct tally *tally);

/* An orchestration's place in the ledger. */
enum tally_place { TALLY_ORDERED, TALLY_RUNNING, TALLY_COMPLETED, TALLY_ERRORED, TALLY_PLACES };
/* by: +1 or -1. */
void tally_count(struct tally *tally, struct text type, enum tally_place place, int by);
void tally_started(struct tally *tally, struct text type);
/* "completed", "errored" or "refused". */
void tally_ended(struct tally *tally, struct text type, const char *result, int64_t took_ms);
/* One activity has come to its end; attempts: its runs, as far as its agent has counted them. */
void tally_activity(struct tally *tally, struct text type, bool is_success, int64_t took_ms, int64_t attempts);
/* What is over in `now` and was not in `before` (NULL: nothing was). step_ms: when its step began at the earliest. */
void tally_compare(struct tally *tally, const struct orchestration *before, const struct orchestration *now,
	int64_t step_ms, int64_t wall_ms);
/* The repeats of what was lost: activities and responses that were sent again, compensations that were begun. */
enum tally_event { TALLY_ACTIVITY_RESENT, TALLY_RESPONSE_RESENT, TALLY_COMPENSATION, TALLY_EVENTS };
void tally_event(struct tally *tally, enum tally_event event, size_t count);

/* As text of Prometheus. */
void tally_render(const struct tally *tally, struct buffer *into);
