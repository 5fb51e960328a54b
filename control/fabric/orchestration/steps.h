/* From a definition and a manifest to an orchestration: steps, and one activity for each cell that has an executor of
 * its own (control.md 2.7.9). Pure. */
#pragma once

#include "control/orchestration/messages.h"

enum { STEPS_ACTIVITIES_MAX = 256 };

/* Which VPAs an activity type is for. */
struct steps_service {
	char *type, *vpa_type;
};

struct steps_settings {
	const struct steps_service *services;
	size_t service_count;
	/* The name by which a cell's own executor knows it; TEXT_NONE: it has none. Borrowed for the call. */
	struct text (*cell_name)(void *context, struct text cell_id, struct text external_id);
	void *context;
};

/* The activities' dependencies: INVALID names the one that is unknown, doubled or in a circle. level[i]: the step of
 * activity i, counted from the end as the existing manager does: an activity runs as late as those that need it
 * allow. */
enum status steps_levels(
	const struct json *activities, size_t levels[STEPS_ACTIVITIES_MAX], size_t *count, struct buffer *error) MUST_CHECK;

/* The value for the bucket (state initialized; completed when there is nothing to do). `definition`: an orchestration
 * definition as it is stored; `data`: the shared data to begin with. Types of activities in data
 * "celld.compensation"."skip" are left out. */
enum status steps_make(const struct steps_settings *settings, const struct manifest *manifest,
	const struct json *definition, const struct json *data, int64_t wall_ms, struct buffer *value,
	struct buffer *error) MUST_CHECK;

/* {"id", "type", "dependsOn"} of an activity, as the API shows it. */
void step_print_activity(const struct json *activity, struct buffer *into);
