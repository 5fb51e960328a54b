/* What a run writes down of itself: how often it was begun, what it gave, how it failed. */
#include "control/orchestration/executor_private.h"

#include <stdlib.h>

enum { DETAIL_MAX = 2000 };

int64_t activity_note_number(const struct json *note, const char *name)
{
	int64_t number = 0;
	return json_integer(json_member(note, name), &number) ? number : 0;
}

static bool note_set(struct json *note, const char *name, int64_t value)
{
	json_remove(note, name);
	return json_add_integer(note, name, value);
}

static bool note_flag(struct json *note, const char *name)
{
	json_remove(note, name);
	return json_add_bool(note, name, true);
}

static bool note_detail(struct json *note, const char *detail)
{
	json_remove(note, "error");
	return detail == NULL || detail[0] == 0 || json_add_text(note, "error", text_of(detail));
}

void activity_end_with(struct activity *activity, enum activity_outcome outcome, const char *detail)
{
	activity->outcome = outcome;
	activity->stage = STAGE_END;
	free(activity->detail);
	activity->detail = text_copy(text_slice(text_of(detail), 0, DETAIL_MAX));
}

/* Too often, or too long: a text for people, or false. */
static bool is_given_up(const struct activity *activity, const struct json *note, struct buffer *why)
{
	const struct executor_settings *settings = &activity->executor->settings;
	int64_t failures = activity_note_number(note, "failures"), first = activity_note_number(note, "first");
	if (failures >= settings->failures_max)
		buffer_printf(
			why, "%.*s: given up after %lld attempts", TEXT_ARGUMENTS(activity->message.id), (long long)failures);
	else if (first > 0 && worker_wall_ms(activity->executor->worker) - first > (int64_t)settings->close_ms)
		buffer_printf(why, "%.*s: not done within %llu s", TEXT_ARGUMENTS(activity->message.id),
			(unsigned long long)(settings->close_ms / 1000));
	else
		return false;
	struct text last = json_member_text(note, "error");
	if (last.length > 0)
		buffer_printf(why, ": %.*s", TEXT_ARGUMENTS(last));
	return true;
}

static bool fail_now(struct activity *activity)
{
	struct json *note = orchestration_note_write(&activity->orchestration, activity->message.id);
	struct text detail = activity->detail != NULL ? text_of(activity->detail) : TEXT("failed");
	return note_flag(note, "failed") &&
		   orchestration_fail(&activity->orchestration, detail, worker_wall_ms(activity->executor->worker));
}

bool activity_note_begin(struct activity *activity)
{
	struct orchestration *orchestration = &activity->orchestration;
	struct json *note = orchestration_note_write(orchestration, activity->message.id);
	struct buffer why = {0};
	if (note == NULL)
		return false;
	if (orchestration->state == ORCHESTRATION_ERRORED) /* another has failed: nothing new begins (T6) */
		return note_flag(note, "skipped");
	if (is_given_up(activity, note, &why)) {
		activity_end_with(activity, ACTIVITY_FATAL, why.failed ? "given up" : why.bytes);
		buffer_free(&why);
		return activity_note_end(activity);
	}
	buffer_free(&why);
	if (activity_note_number(note, "first") == 0 &&
		!note_set(note, "first", worker_wall_ms(activity->executor->worker)))
		return false;
	return note_set(note, "failures", activity_note_number(note, "failures") + 1) &&
		   orchestration_set_attempt(
			   orchestration, activity->message.id, orchestration_attempt(orchestration, activity->message.id) + 1);
}

static bool merge(struct activity *activity)
{
	return orchestration_merge(
		&activity->orchestration, activity->message.id, &(struct activity_result){activity->values, activity->outputs});
}

bool activity_note_end(struct activity *activity)
{
	struct orchestration *orchestration = &activity->orchestration;
	struct text id = activity->message.id;
	struct json *note = orchestration_note_write(orchestration, id);
	if (note == NULL || !note_detail(note, activity->outcome == ACTIVITY_COMPLETE ? NULL : activity->detail) ||
		!merge(activity))
		return false;
	switch (activity->outcome) {
	case ACTIVITY_COMPLETE:
		return note_set(note, "failures", 0) &&
			   orchestration_complete(orchestration, id, worker_wall_ms(activity->executor->worker));
	case ACTIVITY_SCHEDULE:
		return note_set(note, "failures", 0);
	case ACTIVITY_RETRY:
		return true;
	case ACTIVITY_FATAL:
		return orchestration_is_finished(orchestration) ? note_flag(note, "failed") : fail_now(activity);
	}
	return false;
}
