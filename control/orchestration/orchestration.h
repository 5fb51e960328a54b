/* The value of an orchestration in cfm-bucket (cfm.md 1.4): its steps, what is completed, the data that activities
 * share. Agents of others write it too: members that are not known here stay as they are. A tree that is read, changed
 * and printed again; nothing here knows of the bus. */
#pragma once

#include "control/orchestration/messages.h"

/* {"traceparent", "tracestate"?}: of whoever asked for it. */
#define ORCHESTRATION_TRACE "originTraceContext"

/* In the order of their numbers on the wire. */
enum orchestration_state {
	ORCHESTRATION_INITIALIZED,
	ORCHESTRATION_RUNNING,
	ORCHESTRATION_COMPLETED,
	ORCHESTRATION_ERRORED,
};

/* What fits into a message of the broker, with its headers; what is read may have notes of the manager beside it. */
enum { ORCHESTRATION_BYTES_MAX = 1024 * 1024 - 4096 };
extern const struct json_limits orchestration_limits;

/* Texts are borrowed from the tree. */
struct orchestration {
	struct json *root;
	struct text id, correlation_id, definition_id, type;
	enum orchestration_state state;
};

/* INVALID with one line; TOO_LARGE, NO_MEMORY. Maps that are null or absent become empty ones. */
enum status orchestration_parse(
	struct text value, struct orchestration *orchestration, struct buffer *error) MUST_CHECK;
void orchestration_free(struct orchestration *orchestration);
void orchestration_print(const struct orchestration *orchestration, struct buffer *into);
/* Is it over? */
bool orchestration_is_finished(const struct orchestration *orchestration);

/* --- steps: the activities of one may run at the same time */
size_t orchestration_steps(const struct orchestration *orchestration);
/* The array of its activities; NULL: there is no such step. */
const struct json *orchestration_step(const struct orchestration *orchestration, size_t index);
/* Where the activity stands, SIZE_MAX: nowhere. */
size_t orchestration_step_of(const struct orchestration *orchestration, struct text activity_id);
/* The first step in which something is left to do; orchestration_steps: none. */
size_t orchestration_step_now(const struct orchestration *orchestration);
bool orchestration_is_completed(const struct orchestration *orchestration, struct text activity_id);

/* --- data; NULL: there is none */
const struct json *orchestration_value(const struct orchestration *orchestration, const char *name);
const struct json *orchestration_output(const struct orchestration *orchestration);

/* --- changes; false: out of memory */
bool orchestration_set_state(struct orchestration *orchestration, enum orchestration_state state, int64_t wall_ms);
/* value: owned by the tree from now on, also when false is returned. */
bool orchestration_set_value(struct orchestration *orchestration, const char *name, struct json *value);
void orchestration_remove_value(struct orchestration *orchestration, const char *name);

/* --- our notes on an activity, kept in the shared data as "celld.activity.<id>" (the existing agents do not look at
 * it):
 * {"first": ms of its first run, "failures": in a row, "error": the last one's text, "failed", "skipped": true,
 * "values", "outputs": what it gave} */
const struct json *orchestration_note(const struct orchestration *orchestration, struct text activity_id);
struct json *orchestration_note_write(struct orchestration *orchestration, struct text activity_id);
/* The counter of the existing executors, "activity.<id>.attempt". */
int64_t orchestration_attempt(const struct orchestration *orchestration, struct text activity_id);
bool orchestration_set_attempt(struct orchestration *orchestration, struct text activity_id, int64_t attempt);

/* What an activity gave. */
struct activity_result {
	const struct json *values, *outputs; /* objects, or NULL */
};
/* Notes the activity's result, then gives the shared data what the activities of its step have noted, in their order:
 * so what one writes over another does not depend on who was first. */
bool orchestration_merge(
	struct orchestration *orchestration, struct text activity_id, const struct activity_result *result);
/* Marks the activity completed; ends the orchestration when it was the last and nothing has failed. */
bool orchestration_complete(struct orchestration *orchestration, struct text activity_id, int64_t wall_ms);
/* Ends it with an error: data "error". */
bool orchestration_fail(struct orchestration *orchestration, struct text why, int64_t wall_ms);
/* Is nothing of the step under way any more, as far as the value says: each completed, failed or skipped? */
bool orchestration_step_is_settled(const struct orchestration *orchestration, size_t index);
/* Removes from data that are handed on what belongs to this orchestration's own activities: counters, notes, error. */
void orchestration_strip_notes(struct json *data);
