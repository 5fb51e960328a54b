/* Cells and requests for tests of placement, from JSON. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "control/fabric/place/place.h"

static inline struct json *place_json(const char *text)
{
	struct json *root = NULL;
	if (json_parse(text_of(text), NULL, &root) != STATUS_OK)
		fail_msg("no JSON: %s", text);
	return root;
}

static inline struct cell_definition *place_definition(const char *text)
{
	struct json *root = place_json(text);
	struct cell_definition *definition = NULL;
	struct buffer error = {0}, warning = {0};
	if (cell_definition_parse(root, &definition, &error, &warning) != STATUS_OK)
		fail_msg("%s: %s", text, error.bytes);
	json_free(root);
	buffer_free(&error);
	buffer_free(&warning);
	return definition;
}

static inline struct place_request *place_ask(const char *text)
{
	struct json *root = place_json(text);
	struct place_request *request = NULL;
	struct buffer error = {0};
	if (place_request_parse(root, &request, &error) != STATUS_OK)
		fail_msg("%s: %s", text, error.bytes);
	json_free(root);
	buffer_free(&error);
	return request;
}

/* A cell with what is said besides; most tests need no more. */
static inline void place_cell(struct place_snapshot *snapshot, uint32_t slot, const char *id, int most,
	const char *more, struct place_standing standing)
{
	char text[2048];
	snprintf(text, sizeof(text),
		"{\"cellId\":\"%s\",\"name\":\"n\",\"type\":\"t\",\"region\":\"r1\",\"provider\":\"p1\",\"capacity\":{"
		"\"maxVPAs\":%d}%s%s}",
		id, most, more[0] != 0 ? "," : "", more);
	struct cell_definition *definition = place_definition(text);
	char cfm[64];
	snprintf(cfm, sizeof(cfm), "cfm-%s", id);
	assert_int_equal(place_snapshot_put(snapshot, slot, text_of(cfm), definition, &standing), STATUS_OK);
	cell_definition_free(definition);
}
#define PLACE_OPEN ((struct place_standing){.is_open = true, .ready = ~0U, .load = -1})
