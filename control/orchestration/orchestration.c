/* The value of an orchestration. */
#include "control/orchestration/orchestration.h"

#include <stdlib.h>

#include "server/base/clock.h"

#define NOTE_PREFIX "celld.activity."
#define ATTEMPT_PREFIX "activity."
#define ATTEMPT_SUFFIX ".attempt"

const struct json_limits orchestration_limits = {.bytes = 1024 * 1024 + 4096, .depth = 32, .nodes = 50000};

/* The tree is ours to change: the constant view is what the readers get. */
static struct json *own(const struct json *node)
{
	return (struct json *)(uintptr_t)node;
}

/* The child is the object's, or freed. */
static bool set_own(struct json *object, const char *name, struct json *child)
{
	bool is_set = json_set(object, name, child);
	if (!is_set)
		json_free(child);
	return is_set;
}

static enum status wrong(struct buffer *error, const char *what)
{
	buffer_append(error, text_of(what));
	return STATUS_INVALID;
}

/* --- reading */

static enum status read_activities(const struct json *step, struct buffer *error)
{
	const struct json *activities = json_member(step, "activities");
	if (json_kind(activities) != JSON_ARRAY)
		return wrong(error, "steps: each has a list of activities");
	for (const struct json *activity = json_first(activities); activity != NULL; activity = json_next(activity)) {
		struct text id = json_member_text(activity, "id");
		if (id.length == 0 || id.length > MESSAGE_NAME_MAX || !text_is_line(id))
			return wrong(error, "steps: an activity has no id");
		if (!message_type_is_valid(json_member_text(activity, "type")))
			return wrong(error, "steps: an activity has no type");
	}
	return STATUS_OK;
}

static enum status read_steps(const struct json *root, struct buffer *error)
{
	const struct json *steps = json_member(root, "steps");
	if (steps != NULL && json_kind(steps) != JSON_ARRAY && json_kind(steps) != JSON_NULL)
		return wrong(error, "steps: must be a list");
	enum status status = STATUS_OK;
	for (const struct json *step = json_first(steps); step != NULL && status == STATUS_OK; step = json_next(step))
		status = read_activities(step, error);
	return status;
}

/* A map, made when it is not there. */
static enum status read_map(struct json *root, const char *name, struct buffer *error)
{
	const struct json *map = json_member(root, name);
	if (json_kind(map) == JSON_OBJECT)
		return STATUS_OK;
	if (map != NULL && json_kind(map) != JSON_NULL) {
		buffer_printf(error, "%s: must be an object", name);
		return STATUS_INVALID;
	}
	return set_own(root, name, json_object_new()) ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status read_root(struct orchestration *made, struct buffer *error)
{
	static const char *const maps[] = {"processingData", "outputData", "completed"};
	int64_t state = -1;
	made->id = json_member_text(made->root, "id");
	made->correlation_id = json_member_text(made->root, "correlationId");
	made->definition_id = json_member_text(made->root, "definitionId");
	made->type = json_member_text(made->root, "orchestrationType");
	if (!message_id_is_valid(made->id))
		return wrong(error, "id: must be the key of an orchestration");
	if (!json_integer(json_member(made->root, "state"), &state) || state < 0 || state > ORCHESTRATION_ERRORED)
		return wrong(error, "state: must be 0 to 3");
	made->state = (enum orchestration_state)state;
	enum status status = read_steps(made->root, error);
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]) && status == STATUS_OK; i++)
		status = read_map(made->root, maps[i], error);
	return status;
}

enum status orchestration_parse(struct text value, struct orchestration *orchestration, struct buffer *error)
{
	struct orchestration made = {0};
	enum status status = json_parse(value, &orchestration_limits, &made.root);
	if (status == STATUS_OK && json_kind(made.root) != JSON_OBJECT)
		status = STATUS_INVALID;
	if (status != STATUS_OK)
		buffer_printf(error, "no JSON object: %s", status_text(status));
	else
		status = read_root(&made, error);
	if (status != STATUS_OK) {
		json_free(made.root);
		return status;
	}
	*orchestration = made;
	return STATUS_OK;
}

void orchestration_free(struct orchestration *orchestration)
{
	json_free(orchestration->root);
	*orchestration = (struct orchestration){0};
}

void orchestration_print(const struct orchestration *orchestration, struct buffer *into)
{
	json_print(orchestration->root, into);
}

bool orchestration_is_finished(const struct orchestration *orchestration)
{
	return orchestration->state == ORCHESTRATION_COMPLETED || orchestration->state == ORCHESTRATION_ERRORED;
}

/* --- steps */

size_t orchestration_steps(const struct orchestration *orchestration)
{
	return json_count(json_member(orchestration->root, "steps"));
}

const struct json *orchestration_step(const struct orchestration *orchestration, size_t index)
{
	const struct json *step = json_first(json_member(orchestration->root, "steps"));
	while (step != NULL && index-- > 0)
		step = json_next(step);
	return json_member(step, "activities");
}

size_t orchestration_step_of(const struct orchestration *orchestration, struct text activity_id)
{
	size_t index = 0;
	for (const struct json *step = json_first(json_member(orchestration->root, "steps")); step != NULL;
		 step = json_next(step), index++) {
		const struct json *activity = json_first(json_member(step, "activities"));
		while (activity != NULL && !text_equals(json_member_text(activity, "id"), activity_id))
			activity = json_next(activity);
		if (activity != NULL)
			return index;
	}
	return SIZE_MAX;
}

bool orchestration_is_completed(const struct orchestration *orchestration, struct text activity_id)
{
	const struct json *completed = json_first(json_member(orchestration->root, "completed"));
	while (completed != NULL && !text_equals(text_of(json_name(completed)), activity_id))
		completed = json_next(completed);
	return completed != NULL;
}

static bool is_step_complete(const struct orchestration *orchestration, const struct json *activities)
{
	const struct json *activity = json_first(activities);
	while (activity != NULL && orchestration_is_completed(orchestration, json_member_text(activity, "id")))
		activity = json_next(activity);
	return activity == NULL;
}

size_t orchestration_step_now(const struct orchestration *orchestration)
{
	size_t index = 0;
	const struct json *step = json_first(json_member(orchestration->root, "steps"));
	for (; step != NULL && is_step_complete(orchestration, json_member(step, "activities")); step = json_next(step))
		index++;
	return index;
}

/* --- data */

static struct json *data(const struct orchestration *orchestration)
{
	return own(json_member(orchestration->root, "processingData"));
}

const struct json *orchestration_value(const struct orchestration *orchestration, const char *name)
{
	return json_member(data(orchestration), name);
}

const struct json *orchestration_output(const struct orchestration *orchestration)
{
	return json_member(orchestration->root, "outputData");
}

/* --- changes */

static bool set_integer(struct json *object, const char *name, int64_t value)
{
	json_remove(object, name);
	return json_add_integer(object, name, value);
}

/* In its place: the existing programs do not care, but people who compare do. */
static bool set_time(struct json *object, const char *name, int64_t wall_ms)
{
	char text[25];
	struct json *holder = json_object_new();
	clock_format(wall_ms, text);
	bool is_set =
		json_add_text(holder, "t", text_of(text)) && set_own(object, name, json_copy(json_member(holder, "t")));
	json_free(holder);
	return is_set;
}

bool orchestration_set_state(struct orchestration *orchestration, enum orchestration_state state, int64_t wall_ms)
{
	struct json *holder = json_object_new();
	bool is_set = json_add_integer(holder, "n", (int64_t)state) &&
				  set_own(orchestration->root, "state", json_copy(json_member(holder, "n"))) &&
				  set_time(orchestration->root, "stateTimestamp", wall_ms);
	json_free(holder);
	if (is_set)
		orchestration->state = state;
	return is_set;
}

bool orchestration_set_value(struct orchestration *orchestration, const char *name, struct json *value)
{
	return set_own(data(orchestration), name, value);
}

void orchestration_remove_value(struct orchestration *orchestration, const char *name)
{
	json_remove(data(orchestration), name);
}

/* --- notes */

/* prefix + id + suffix, NUL-terminated; false: out of memory. */
static bool name_of(struct buffer *into, const char *prefix, struct text id, const char *suffix)
{
	buffer_append(into, text_of(prefix));
	buffer_append(into, id);
	buffer_append(into, text_of(suffix));
	return !into->failed;
}

const struct json *orchestration_note(const struct orchestration *orchestration, struct text activity_id)
{
	struct buffer name = {0};
	const struct json *note = NULL;
	if (name_of(&name, NOTE_PREFIX, activity_id, ""))
		note = orchestration_value(orchestration, name.bytes);
	buffer_free(&name);
	return json_kind(note) == JSON_OBJECT ? note : NULL;
}

struct json *orchestration_note_write(struct orchestration *orchestration, struct text activity_id)
{
	struct buffer name = {0};
	struct json *note = own(orchestration_note(orchestration, activity_id));
	if (note == NULL && name_of(&name, NOTE_PREFIX, activity_id, "") &&
		orchestration_set_value(orchestration, name.bytes, json_object_new()))
		note = own(orchestration_value(orchestration, name.bytes));
	buffer_free(&name);
	return note;
}

int64_t orchestration_attempt(const struct orchestration *orchestration, struct text activity_id)
{
	struct buffer name = {0};
	int64_t attempt = 0;
	if (!name_of(&name, ATTEMPT_PREFIX, activity_id, ATTEMPT_SUFFIX) ||
		!json_integer(orchestration_value(orchestration, name.bytes), &attempt) || attempt < 0)
		attempt = 0;
	buffer_free(&name);
	return attempt;
}

bool orchestration_set_attempt(struct orchestration *orchestration, struct text activity_id, int64_t attempt)
{
	struct buffer name = {0};
	bool is_set = name_of(&name, ATTEMPT_PREFIX, activity_id, ATTEMPT_SUFFIX) &&
				  set_integer(data(orchestration), name.bytes, attempt);
	buffer_free(&name);
	return is_set;
}

/* --- merging */

static bool copy_members(struct json *into, const struct json *from)
{
	bool is_copied = true;
	for (const struct json *member = json_first(from); member != NULL && is_copied; member = json_next(member))
		is_copied = set_own(into, json_name(member), json_copy(member));
	return is_copied;
}

static bool note_result(struct json *note, const struct activity_result *result)
{
	const struct {
		const char *name;
		const struct json *given;
	} parts[] = {{"values", result->values}, {"outputs", result->outputs}};
	bool is_noted = note != NULL;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && is_noted; i++) {
		if (json_count(parts[i].given) > 0)
			is_noted = set_own(note, parts[i].name, json_copy(parts[i].given));
	}
	return is_noted;
}

static bool apply_note(struct orchestration *orchestration, struct text activity_id)
{
	const struct json *note = orchestration_note(orchestration, activity_id);
	return copy_members(data(orchestration), json_member(note, "values")) &&
		   copy_members(own(orchestration_output(orchestration)), json_member(note, "outputs"));
}

bool orchestration_merge(
	struct orchestration *orchestration, struct text activity_id, const struct activity_result *result)
{
	bool is_merged = note_result(orchestration_note_write(orchestration, activity_id), result);
	const struct json *step = orchestration_step(orchestration, orchestration_step_of(orchestration, activity_id));
	for (const struct json *activity = json_first(step); activity != NULL && is_merged; activity = json_next(activity))
		is_merged = apply_note(orchestration, json_member_text(activity, "id"));
	return is_merged;
}

bool orchestration_complete(struct orchestration *orchestration, struct text activity_id, int64_t wall_ms)
{
	char *name = text_copy(activity_id);
	bool is_marked =
		name != NULL && set_own(own(json_member(orchestration->root, "completed")), name, json_object_new());
	free(name);
	if (is_marked && !orchestration_is_finished(orchestration) &&
		orchestration_step_now(orchestration) == orchestration_steps(orchestration))
		is_marked = orchestration_set_state(orchestration, ORCHESTRATION_COMPLETED, wall_ms);
	return is_marked;
}

bool orchestration_fail(struct orchestration *orchestration, struct text why, int64_t wall_ms)
{
	orchestration_remove_value(orchestration, "error");
	return json_add_text(data(orchestration), "error", why) &&
		   orchestration_set_state(orchestration, ORCHESTRATION_ERRORED, wall_ms);
}

bool orchestration_step_is_settled(const struct orchestration *orchestration, size_t index)
{
	size_t open = 0;
	bool is_failure_noted = false;
	for (const struct json *activity = json_first(orchestration_step(orchestration, index)); activity != NULL;
		 activity = json_next(activity)) {
		struct text id = json_member_text(activity, "id");
		const struct json *note = orchestration_note(orchestration, id);
		bool is_failed = json_member(note, "failed") != NULL;
		is_failure_noted = is_failure_noted || is_failed;
		open += !is_failed && json_member(note, "skipped") == NULL && !orchestration_is_completed(orchestration, id);
	}
	/* an agent of others does not say which activity has failed: one of those that are left */
	return open <= (is_failure_noted ? 0U : 1U);
}

void orchestration_strip_notes(struct json *values)
{
	for (const struct json *member = json_first(values), *next; member != NULL; member = next) {
		struct text name = text_of(json_name(member));
		next = json_next(member);
		if (text_starts_with(name, TEXT("celld.")) || text_equals(name, TEXT("error")) ||
			text_equals(name, TEXT("trace_context")) ||
			(text_starts_with(name, TEXT(ATTEMPT_PREFIX)) && text_ends_with(name, TEXT(ATTEMPT_SUFFIX))))
			json_remove(values, json_name(member));
	}
}
