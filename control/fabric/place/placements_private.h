/* What the files of the API of placement share. */
#pragma once

#include "control/fabric/place/placements.h"
#include "server/base/id.h"

struct placements {
	struct placer *placer;
	struct state *state;
};

enum form { FORM_JSON, FORM_TEXT };
/* ?format=; false: it has refused. */
bool placements_form(struct rest_call *call, enum form *form);
void placements_reply(struct rest_call *call, int status, bool is_text, const struct buffer *body);
void placements_print_chosen(struct buffer *into, const struct text *chosen, size_t count);

/* Requests of one call, or of one decision. */
struct asked {
	struct place_request *requests[PLACE_GROUP_MAX];
	size_t count;
};
enum status asked_read(const struct json *requests, struct asked *asked, struct buffer *error) MUST_CHECK;
void asked_free(struct asked *asked);

/* A stored decision, borrowed for the call. */
struct stored_decision {
	const char *record; /* its id */
	const struct json *root, *decision;
};
/* By its id, "<record>-<index>": refuses, or calls `found`, on a later turn. */
void decision_find(struct rest_call *call, struct text id,
	void (*found)(struct rest_call *call, const struct stored_decision *stored));

/* replay.c: POST /placements:replay {"decisionId"} */
void replay_placement(struct rest_call *call);
