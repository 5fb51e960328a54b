/* The executor's inside: one run is an activity that goes through stages, each stage one read and one compare-and-set
 * of the orchestration, begun again while others are faster. */
#pragma once

#include "control/orchestration/executor.h"

enum stage { STAGE_BEGIN, STAGE_RUN, STAGE_END };

struct activity {
	struct activity *next; /* of the executor */
	struct executor *executor;
	struct activity_message message;
	char *reply;
	struct bus_delivery delivery;
	char *traceparent;  /* or NULL */
	struct buffer copy; /* subject, NUL, headers, NUL, body: for parking */

	enum stage stage;
	struct orchestration orchestration; /* as last read */
	uint64_t revision;
	unsigned clashes;
	bool is_busy; /* the bus works for it: an answer will come */
	struct timer *timer, *beat;

	struct json *values, *outputs;
	bool is_running, is_late, is_ended; /* with the processor; beyond its time; to be freed when nothing is awaited */
	enum activity_outcome outcome;
	uint64_t delay_ms, began_ms;
	char *detail;
	size_t awaited; /* publications under way */
	bool has_unsent;
};

struct executor {
	struct bus *bus;
	struct worker *worker;
	struct executor_settings settings;
	struct executor_processor processor;
	struct buffer type, queue, subject, config, bucket;
	struct bus_consumer *consumer;
	struct activity *activities;
	bool is_closed, is_closing, is_held;
};

enum { EXECUTOR_HELD_MS = 2000 };

/* The executor is over, when nothing of it is under way. */
void executor_leave(struct executor *executor);

/* --- activity.c */

/* A run of this message, not yet one of the executor's; NULL: out of memory. */
struct activity *activity_new(struct executor *executor, const struct bus_message *message);
/* The run is over: freed when nobody will call it back. */
void activity_end(struct activity *activity);
void activity_answer(struct activity *activity, enum bus_verdict verdict, uint64_t delay_ms);
/* Not acknowledged: it comes again, after the pause before try number `count` (1, 2, ...). */
void activity_again(struct activity *activity, uint64_t count);
/* It can never be done: kept for the operator, then acknowledged. */
void activity_park(struct activity *activity, const char *why);
/* Begins the stage that the run is in: reads the orchestration, and so on. */
void activity_read(struct activity *activity);

/* --- activity_notes.c: what each stage writes into the orchestration it has read; false: out of memory */
int64_t activity_note_number(const struct json *note, const char *name);
/* How the run ends; the detail is copied. */
void activity_end_with(struct activity *activity, enum activity_outcome outcome, const char *detail);
/* Counts the run before it begins: a processor that ends its process is counted too. */
bool activity_note_begin(struct activity *activity);
bool activity_note_end(struct activity *activity);

/* --- activity_telling.c */
void activity_tell_response(struct activity *activity);
/* The activity is completed, and written so: goes on with the orchestration, as far as it is this activity's turn. Also
 * for a message that comes again because its process died between the two. */
void activity_settle(struct activity *activity);
