/* A call that ends with a change of the fabric's state: answered after its commit. */
#pragma once

#include "control/fabric/rest.h"
#include "control/state/state.h"

/* Owns the transaction (NULL: out of memory) and the buffer's bytes: the answer when it is committed (empty: no body).
 * A CONFLICT runs the endpoint again, for it has read what has changed meanwhile. */
void rest_submit(
	struct rest_call *call, struct state *state, struct transaction *transaction, int status, struct buffer *answer);
