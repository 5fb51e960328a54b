/* Choosing a cell: pure, no clock, no random, no floating point (control.md 2.7). Hard filters as one bit mask a cell,
 * integer scores, and an explanation for free. */
#pragma once

#include "control/fabric/cell_definition.h"

struct json;

/* A request as control.md 2.7.1 has it, parsed and interned. Opaque: made from JSON, or by the builder below. */
struct place_request;
/* INVALID with one line that names the member. vpa_id and participant may be absent in a dry run. */
enum status place_request_parse(
	const struct json *object, struct place_request **request, struct buffer *error) MUST_CHECK;
void place_request_free(struct place_request *request);
