/* What could not be handled and is kept for the operator to see, to replay or to drop: messages that make no sense,
 * commands that a cell refuses.
 *
 * Record: PARKED (id) {"subject", "reason", "at", "cut", "body", "command"?}: body is the message's text; command, the
 * record of a command, which a replay writes anew. */
#pragma once

#include "control/state/state.h"

enum { PARKED_BODY_MAX = 64 * 1024 }; /* what is longer is cut, and cannot be replayed */

/* Adds the record. command absent: a message, replayed by publishing it again. False: out of memory. */
bool parked_add(struct transaction *transaction, struct text subject, const char *reason, struct text body,
	struct text command, int64_t wall_ms);
