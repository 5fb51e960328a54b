/* Any bytes as the value of an orchestration, and every activity it names completed, failed and merged in turn; the
 * same bytes as a definition's activities, planned. */
#include <stdlib.h>

#include "control/fabric/orchestration/steps.h"
#include "control/orchestration/orchestration.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void work(struct orchestration *orchestration)
{
	struct json *given = json_object_new();
	if (!json_add_text(given, "given", TEXT("value")))
		abort();
	size_t steps = orchestration_steps(orchestration);
	for (size_t i = 0; i < steps; i++) {
		for (const struct json *activity = json_first(orchestration_step(orchestration, i)); activity != NULL;
			 activity = json_next(activity)) {
			struct text id = json_member_text(activity, "id");
			if (orchestration_step_of(orchestration, id) > i || !orchestration_set_attempt(orchestration, id, 1) ||
				!orchestration_merge(orchestration, id, &(struct activity_result){given, given, NULL}) ||
				!orchestration_complete(orchestration, id, 1000) || !orchestration_is_completed(orchestration, id))
				abort();
		}
	}
	if (orchestration_step_now(orchestration) != steps ||
		(steps > 0 && !orchestration_step_is_settled(orchestration, 0)))
		abort();
	json_free(given);
}

static struct text no_cell(void *context, struct text cell_id, struct text external_id)
{
	(void)context, (void)external_id;
	return cell_id.length % 2 == 0 ? TEXT("cell") : TEXT_NONE;
}

static void plan(const struct json *definition)
{
	struct steps_service service = {(char *)(uintptr_t) "edcv-activity", (char *)(uintptr_t) "cfm.connector"};
	const struct steps_settings settings = {&service, 1, no_cell, NULL};
	struct manifest manifest = {.id = TEXT("o"), .correlation_id = TEXT("p"), .type = TEXT("t")};
	struct buffer value = {0}, error = {0};
	const struct json *data = json_member(definition, "processingData");
	enum status status = steps_make(&settings, &manifest, definition, data, 1000, &value, &error);
	if (status != STATUS_OK && error.length == 0)
		abort();
	buffer_free(&value);
	buffer_free(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct text body = {(const char *)bytes, length};
	struct orchestration orchestration;
	struct buffer error = {0}, printed = {0};
	struct json *root = NULL;
	if (orchestration_parse(body, &orchestration, &error) == STATUS_OK) {
		struct orchestration again;
		orchestration_print(&orchestration, &printed);
		if (orchestration_parse(buffer_text(&printed), &again, &error) != STATUS_OK)
			abort();
		orchestration_free(&again);
		work(&orchestration);
		orchestration_free(&orchestration);
	} else if (error.length == 0) {
		abort();
	}
	if (json_parse(body, &orchestration_limits, &root) == STATUS_OK)
		plan(root);
	json_free(root);
	buffer_free(&error);
	buffer_free(&printed);
	return 0;
}
