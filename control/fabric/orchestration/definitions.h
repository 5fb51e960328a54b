/* The definitions of activities and orchestrations (cfm.md 1.4), and their REST (2.4).
 *
 * Records: ACTIVITY_DEFINITION (id: the type) {"type", "version", "description", "inputSchema", "outputSchema"};
 * ORCHESTRATION_DEFINITION (id: the type) {"type", "templateRef", "version", "description", "active", "schema",
 * "activities": [{"id", "type", "discriminator", "dependsOn"}]}. */
#pragma once

#include "control/fabric/rest.h"
#include "control/state/state.h"

struct definitions;
/* Before store_load and before the server opens. */
enum status definitions_open(struct state *state, struct rest *rest, struct definitions **definitions) MUST_CHECK;
void definitions_free(struct definitions *definitions);
/* Asked before an orchestration definition goes: is there an orchestration made from it? */
void definitions_ask_use(
	struct definitions *definitions, bool (*is_used)(void *context, struct text type), void *context);

/* The orchestration definition as it is stored; NULL: unknown or out of memory. json_free it. */
struct json *definitions_find(const struct definitions *definitions, struct text type);
/* The one of this type that came with the same template as `definition`. */
struct json *definitions_find_beside(
	const struct definitions *definitions, const struct json *definition, struct text type);
