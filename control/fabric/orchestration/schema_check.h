/* Does every activity of a deployment get what it needs? (cfm.md 1.4): each field its inputSchema requires is offered
 * by the outputSchema of one activity it depends on, or is always there. */
#pragma once

#include "server/base/json.h"

/* activities: of one orchestration definition; schemas_of: the activity definition of a type, NULL: there is none.
 * INVALID: one line that names the activity and the field. */
enum status schema_check(const struct json *activities,
	const struct json *(*definition_of)(void *context, struct text type), void *context,
	struct buffer *error) MUST_CHECK;
