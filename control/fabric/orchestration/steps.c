/* Levels of the graph, then copies for cells. */
#include "control/fabric/orchestration/steps.h"

#include "control/fabric/manager/wire.h"
#include "server/base/clock.h"

struct plan {
	const struct steps_settings *settings;
	const struct json *activities, *vpas;
	size_t levels[STEPS_ACTIVITIES_MAX], level_count;
	struct json *steps; /* of the level being made */
};

static const struct json *find_activity(const struct json *activities, struct text id, size_t *index)
{
	const struct json *activity = json_first(activities);
	for (*index = 0; activity != NULL && !text_equals(json_member_text(activity, "id"), id); ++*index)
		activity = json_next(activity);
	return activity;
}

static enum status wrong(struct buffer *error, const char *what, struct text id)
{
	buffer_printf(error, "%s: %.*s", what, TEXT_ARGUMENTS(id));
	return STATUS_INVALID;
}

static enum status check_names(const struct json *activities, struct buffer *error)
{
	size_t index = 0, found;
	for (const struct json *activity = json_first(activities); activity != NULL;
		 activity = json_next(activity), index++) {
		struct text id = json_member_text(activity, "id");
		(void)find_activity(activities, id, &found);
		if (found != index)
			return wrong(error, "activity id is not unique", id);
		for (const struct json *name = json_first(json_member(activity, "dependsOn")); name != NULL;
			 name = json_next(name)) {
			if (find_activity(activities, json_text(name), &found) == NULL)
				return wrong(error, "dependency not found", json_text(name));
		}
	}
	return STATUS_OK;
}

/* Pushes what the activity depends on behind it; true: something has moved. */
static bool push_dependencies(const struct json *activities, const struct json *activity, size_t own, size_t *levels)
{
	bool has_moved = false;
	size_t at;
	for (const struct json *name = json_first(json_member(activity, "dependsOn")); name != NULL;
		 name = json_next(name)) {
		(void)find_activity(activities, json_text(name), &at);
		if (levels[at] > levels[own])
			continue;
		levels[at] = levels[own] + 1;
		has_moved = true;
	}
	return has_moved;
}

enum status steps_levels(
	const struct json *activities, size_t levels[STEPS_ACTIVITIES_MAX], size_t *count, struct buffer *error)
{
	size_t total = json_count(activities), rounds = 0;
	if (total > STEPS_ACTIVITIES_MAX)
		return wrong(error, "too many activities", TEXT("at most 256"));
	enum status status = check_names(activities, error);
	if (status != STATUS_OK)
		return status;
	memset(levels, 0, STEPS_ACTIVITIES_MAX * sizeof(levels[0]));
	for (bool has_moved = true; has_moved; rounds++) {
		size_t own = 0;
		has_moved = false;
		for (const struct json *activity = json_first(activities); activity != NULL; activity = json_next(activity))
			has_moved = push_dependencies(activities, activity, own++, levels) || has_moved;
		if (has_moved && rounds > total) {
			size_t deepest = 0;
			for (size_t i = 0; i < total; i++)
				deepest = levels[i] > levels[deepest] ? i : deepest;
			const struct json *activity = json_first(activities);
			while (deepest-- > 0)
				activity = json_next(activity);
			return wrong(error, "cycle detected in orchestration definition", json_member_text(activity, "id"));
		}
	}
	*count = 0;
	for (size_t i = 0; i < total; i++)
		*count = levels[i] + 1 > *count ? levels[i] + 1 : *count;
	return STATUS_OK;
}

/* --- cells */

static struct text service_of(const struct plan *plan, struct text type)
{
	for (size_t i = 0; i < plan->settings->service_count; i++) {
		if (text_equals(text_of(plan->settings->services[i].type), type))
			return text_of(plan->settings->services[i].vpa_type);
	}
	return TEXT_NONE;
}

static struct text cell_of(const struct plan *plan, const struct json *vpa)
{
	return plan->settings->cell_name(
		plan->settings->context, json_member_text(vpa, "cellId"), json_member_text(vpa, "externalCellId"));
}

/* Has one of the VPAs before this one, of its type, the same cell? */
static bool is_repeated(const struct plan *plan, const struct json *vpa, struct text cell)
{
	struct text type = json_member_text(vpa, "vpaType");
	const struct json *other = json_first(plan->vpas);
	while (other != vpa &&
		   !(text_equals(json_member_text(other, "vpaType"), type) && text_equals(cell_of(plan, other), cell)))
		other = json_next(other);
	return other != vpa;
}

/* Calls for each copy of the activity: cell absent: the one for everybody else's agents. False: out of memory. */
static bool each_copy(const struct plan *plan, const struct json *activity,
	bool (*visit)(void *context, const struct json *activity, struct text cell), void *context)
{
	struct text service = service_of(plan, json_member_text(activity, "type"));
	bool is_done = true, has_other = true;
	if (service.bytes != NULL) {
		size_t count = 0, own = 0;
		for (const struct json *vpa = json_first(plan->vpas); vpa != NULL && is_done; vpa = json_next(vpa)) {
			if (!text_equals(json_member_text(vpa, "vpaType"), service))
				continue;
			struct text cell = cell_of(plan, vpa);
			count++;
			own += cell.bytes != NULL;
			if (cell.bytes != NULL && !is_repeated(plan, vpa, cell))
				is_done = visit(context, activity, cell);
		}
		has_other = count == 0 || own < count;
	}
	return is_done && (!has_other || visit(context, activity, TEXT_NONE));
}

/* "<name>--<cell>", or the name. */
static bool add_name(struct json *into, const char *member, struct text name, struct text cell)
{
	struct buffer full = {0};
	if (cell.bytes != NULL)
		activity_type_of_cell(name, cell, &full);
	else
		buffer_append(&full, name);
	bool is_added = !full.failed && json_add_text(into, member, buffer_text(&full));
	buffer_free(&full);
	return is_added;
}

static bool add_dependency(void *context, const struct json *activity, struct text cell)
{
	return add_name(context, NULL, json_member_text(activity, "id"), cell);
}

static bool add_dependencies(const struct plan *plan, const struct json *activity, struct json *into)
{
	const struct json *names = json_member(activity, "dependsOn");
	size_t at;
	if (json_kind(names) != JSON_ARRAY)
		return json_add_null(into, "dependsOn");
	struct json *list = json_array_new();
	bool is_added = list != NULL;
	for (const struct json *name = json_first(names); name != NULL && is_added; name = json_next(name))
		is_added = each_copy(plan, find_activity(plan->activities, json_text(name), &at), add_dependency, list);
	if (is_added && json_add(into, "dependsOn", list))
		return true;
	json_free(list);
	return false;
}

static bool add_activity(void *context, const struct json *activity, struct text cell)
{
	struct plan *plan = context;
	struct json *made = json_object_new();
	bool is_made = add_name(made, "id", json_member_text(activity, "id"), cell) &&
				   add_name(made, "type", json_member_text(activity, "type"), cell) &&
				   json_add_text(made, "discriminator", json_member_text(activity, "discriminator")) &&
				   add_dependencies(plan, activity, made);
	if (is_made && json_add(plan->steps, NULL, made))
		return true;
	json_free(made);
	return false;
}

/* --- the value */

static bool is_skipped(const struct json *data, struct text type)
{
	const struct json *skip = json_first(json_member(json_member(data, "celld.compensation"), "skip"));
	while (skip != NULL && !text_equals(json_text(skip), type))
		skip = json_next(skip);
	return skip != NULL;
}

/* {"activities":[...]} of one level into the buffer; *count: how many they are. */
static bool print_step(struct plan *plan, const struct json *data, size_t level, size_t *count, struct buffer *into)
{
	size_t index = 0;
	plan->steps = json_array_new();
	bool is_made = plan->steps != NULL;
	for (const struct json *activity = json_first(plan->activities); activity != NULL && is_made;
		 activity = json_next(activity), index++) {
		if (plan->levels[index] == level && !is_skipped(data, json_member_text(activity, "type")))
			is_made = each_copy(plan, activity, add_activity, plan);
	}
	*count = json_count(plan->steps);
	if (is_made && *count > 0) {
		buffer_append(into, TEXT("{\"activities\":"));
		json_print(plan->steps, into);
		buffer_append_byte(into, '}');
	}
	json_free(plan->steps);
	return is_made;
}

static bool print_steps(struct plan *plan, const struct json *data, struct buffer *into, bool *is_empty)
{
	size_t count = 0;
	*is_empty = true;
	for (size_t level = plan->level_count; level-- > 0;) {
		size_t before = into->length;
		if (!*is_empty)
			buffer_append_byte(into, ',');
		size_t begin = into->length;
		if (!print_step(plan, data, level, &count, into))
			return false;
		if (into->length == begin && !into->failed) {
			into->length = before;
			if (into->bytes != NULL)
				into->bytes[before] = 0;
		}
		*is_empty = *is_empty && count == 0;
	}
	return true;
}

enum status steps_make(const struct steps_settings *settings, const struct manifest *manifest,
	const struct json *definition, const struct json *data, int64_t wall_ms, struct buffer *value, struct buffer *error)
{
	struct plan plan = {.settings = settings,
		.activities = json_member(definition, "activities"),
		.vpas = json_member(data, "cfm.vpa.data")};
	struct buffer steps = {0};
	char now[25];
	bool is_empty;
	enum status status = steps_levels(plan.activities, plan.levels, &plan.level_count, error);
	if (status != STATUS_OK)
		return status;
	if (!print_steps(&plan, data, &steps, &is_empty) || steps.failed) {
		buffer_free(&steps);
		return STATUS_NO_MEMORY;
	}
	clock_format(wall_ms, now);
	message_print_text(value, "{\"id\":", manifest->id);
	message_print_text(value, ",\"correlationId\":", manifest->correlation_id);
	message_print_text(value, ",\"definitionId\":", json_member_text(definition, "type"));
	buffer_append(value, is_empty ? TEXT(",\"state\":2") : TEXT(",\"state\":0"));
	message_print_text(value, ",\"stateTimestamp\":", text_of(now));
	message_print_text(value, ",\"createdTimestamp\":", text_of(now));
	message_print_text(value, ",\"orchestrationType\":", manifest->type);
	buffer_append(value, TEXT(",\"steps\":["));
	buffer_append(value, buffer_text(&steps));
	buffer_append(value, TEXT("],\"processingData\":"));
	json_print(data, value);
	buffer_append(value, TEXT(",\"outputData\":{},\"completed\":{}}"));
	buffer_free(&steps);
	return value->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

void step_print_activity(const struct json *activity, struct buffer *into)
{
	message_print_text(into, "{\"id\":", json_member_text(activity, "id"));
	message_print_text(into, ",\"type\":", json_member_text(activity, "type"));
	wire_print_filled(into, "dependsOn", json_member(activity, "dependsOn"));
	buffer_append_byte(into, '}');
}
