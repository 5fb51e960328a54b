/* The executor of one activity type, as the existing agents do it (cfm.md 3.5): takes the activity's messages from its
 * durable, reads the orchestration in the bucket, runs the processor, writes what it gave by compare-and-set, and sends
 * the next step's messages or the response.
 *
 * What is better than theirs: what is completed is not run again; what a processor gives is merged, not overwritten;
 * failures are counted in the orchestration itself (a consumer may be reset by others) and end after so many, or so
 * long; a message is kept alive while its processor runs; errorDetail says why; poison is parked.
 *
 * An activity may be run again at any time (its process died before the answer): processors create or verify.
 * Everything on the bus's worker. */
#pragma once

#include "control/bus/bus.h"
#include "control/orchestration/orchestration.h"

struct executor;
struct activity; /* one run; good until activity_finish returns */

enum activity_outcome {
	ACTIVITY_COMPLETE,
	ACTIVITY_SCHEDULE, /* nothing is wrong; run again after the delay */
	ACTIVITY_RETRY,    /* something is wrong that may pass; run again after a pause that grows */
	ACTIVITY_FATAL,    /* the orchestration ends errored */
};

struct executor_settings {
	struct text type;                   /* of the activity; copied */
	bool is_reader_only;                /* the managers make and keep its consumer (control/fabric/queues.h) */
	struct text stream, bucket;         /* copied; absent: cfm-stream, cfm-bucket */
	unsigned parallel;                  /* runs at the same time: 1 .. 64; 0: 8 */
	unsigned failures_max;              /* in a row; 0: 10 */
	uint64_t run_ms, close_ms, beat_ms; /* 0: one run 120 s, from the first run to the end 15 min, alive every 15 s */
	uint64_t retry_ms, retry_max_ms;    /* 0: 1 s, doubled up to 60 s, give or take a fifth */
};

struct executor_processor {
	/* Ends in exactly one activity_finish, then or later. */
	void (*run)(void *context, struct activity *activity);
	/* The run has taken too long and counts as failed: stop what is under way; activity_finish must still come. May be
	 * NULL. */
	void (*abandon)(void *context, struct activity *activity);
	/* Keeps a message that can never be done; then `done`, once: false: not kept, it will come again. */
	void (*park)(void *context, const struct bus_message *message, const char *why,
		void (*done)(void *ticket, bool is_kept), void *ticket);
	void *context;
};

/* NULL when out of memory. */
struct executor *executor_open(struct bus *bus, struct worker *worker, const struct executor_settings *settings,
	const struct executor_processor *processor);
/* On the worker, before the bus closes. Nothing is answered any more: what is under way comes again. Processors are
 * abandoned, and must have finished within it, or call activity_finish before the worker ends. NULL is fine. */
void executor_close(struct executor *executor);

/* Held: what is under way is ended, and nothing further is begun, by this executor or by messages of its own, until it
 * is let go; messages come again every two seconds. On the worker. NULL is fine. */
void executor_hold(struct executor *executor, bool is_held);

/* --- for processors */
struct text activity_orchestration(const struct activity *activity);
struct text activity_id(const struct activity *activity);
/* The orchestration's type: what is to be done. */
struct text activity_discriminator(const struct activity *activity);
unsigned activity_attempt(const struct activity *activity); /* 1, 2, ... */
/* Of the shared data, with what this run has set; NULL: none. Borrowed until the worker returns to its loop: copy what
 * is needed longer. */
const struct json *activity_value(const struct activity *activity, const char *name);
/* False: out of memory. The value is taken over in any case. */
bool activity_set_value(struct activity *activity, const char *name, struct json *value);
/* Returned to the tenant manager at the end, as a member of cfm.vpa.state. */
bool activity_set_output(struct activity *activity, const char *name, struct json *value);
/* delay_ms: for SCHEDULE, and for RETRY when the processor knows better (0: it does not). detail: why, for RETRY and
 * FATAL; copied. */
void activity_finish(struct activity *activity, enum activity_outcome outcome, uint64_t delay_ms, const char *detail);
