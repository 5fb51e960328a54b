/* The answer of an upstream call becomes the consumer's: what the sources that speak HTTP share. */
#pragma once

#include "tenants/dp/pull.h"

/* First in the driver's state (pull->source_state). */
struct relay {
	struct pull *pull;
	struct client_call *call; /* NULL: none under way */
	struct text tag;          /* of what is sent; absent: the upstream does not say */
	uint64_t first;           /* place of its first byte */
};

/* Answers for a call that gave no answer. */
void relay_refuse(struct pull *pull, enum status why);
/* Sends the call's head, with the fields that `passes` lets through, and then its body. */
void relay_answer(struct relay *relay, const struct client_response *response,
	bool (*passes)(struct text name, const struct header *headers, size_t count));
void relay_close(struct relay *relay);
/* Events of the call whose state is a relay. */
void relay_on_readable(void *relay, struct client_call *call);
void relay_on_failed(void *relay, struct client_call *call, enum status why);
