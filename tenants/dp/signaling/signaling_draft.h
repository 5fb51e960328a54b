/* What a flow's record will say once a message is obeyed. */
#pragma once

#include "tenants/dp/signaling/signaling.h"

/* The terms borrow from the signal, from the flow's present terms, and from the rest of the draft. */
struct draft {
	struct flow_terms terms;
	struct buffer address, claims, labels, metadata, messages;
	char *texts[8];
	unsigned text_count;
	bool failed;
};

/* flow NULL: the message makes it. CONFLICT: the transition table refuses. Frees nothing on failure: draft_free. On a
 * worker, used before it returns to its loop. */
enum status draft_make(const struct signal *signal, const struct flow *flow, struct draft *draft) MUST_CHECK;
void draft_free(struct draft *draft);
