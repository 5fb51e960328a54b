/* What the agents of a fabric do to a participant context, done inside the cell: the same effects as their calls
 * (cfm.md 4.4 B), without HTTP. All may be repeated. On a worker. */
#pragma once

#include "tenants/cp/management.h"

/* The participant context is there, ACTIVATED, with this identity and the agents' configuration entries. CONFLICT: it
 * is there with another identity. `done` on the calling worker, once; every worker sees the change by then. */
void provision_participant(struct management *management, struct text ctx, struct text identity,
	void (*done)(void *context, enum status status), void *context);
/* It is gone with all it had, its secrets too. */
void provision_remove(
	struct management *management, struct text ctx, void (*done)(void *context, enum status status), void *context);

/* Adds a data plane's record ({dataplaneId, endpoint, transferTypes, ...}) to the transaction. Not NULL: the member
 * that is wrong. NULL and not *is_added: out of memory. */
const char *data_plane_add(struct transaction *transaction, struct text ctx, const struct json *body, bool *is_added);
