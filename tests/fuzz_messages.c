/* Any bytes as a message of managers and agents: what is taken is taken again as it was printed, and printed alike;
 * what is not has a reason. The first byte chooses the message. */
#include <stdlib.h>

#include "control/orchestration/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum message { MANIFEST, ACTIVITY, RESPONSE, MESSAGE_COUNT };

/* NULL root: refused. */
static struct json *take(enum message message, struct text body, struct buffer *printed)
{
	struct buffer error = {0};
	struct manifest manifest = {0};
	struct activity_message activity = {0};
	struct response response = {0};
	struct json *root = NULL;
	enum status status = STATUS_INVALID;
	if (message == MANIFEST && (status = manifest_parse(body, &manifest, &error)) == STATUS_OK) {
		manifest_print(&manifest, printed);
		root = manifest.root;
	} else if (message == ACTIVITY && (status = activity_message_parse(body, &activity, &error)) == STATUS_OK) {
		activity_message_print(activity.orchestration_id, activity.activity, printed);
		if (!message_id_is_valid(activity.orchestration_id) || !message_type_is_valid(activity.type))
			abort();
		root = activity.root;
	} else if (message == RESPONSE && (status = response_parse(body, &response, &error)) == STATUS_OK) {
		response_print(&response, printed);
		root = response.root;
	}
	if (status != STATUS_OK && error.length == 0)
		abort();
	buffer_free(&error);
	return root;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct buffer printed = {0}, again = {0};
	if (length == 0)
		return 0;
	enum message message = (enum message)(bytes[0] % MESSAGE_COUNT);
	struct json *root = take(message, (struct text){(const char *)bytes + 1, length - 1}, &printed);
	if (root != NULL) {
		struct json *second = take(message, buffer_text(&printed), &again);
		if (second == NULL || !text_equals(buffer_text(&printed), buffer_text(&again)))
			abort();
		json_free(second);
	}
	json_free(root);
	buffer_free(&printed);
	buffer_free(&again);
	return 0;
}
