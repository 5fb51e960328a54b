/* Participant profiles read from the store: one, all of a tenant, or those a predicate matches, in portions, so that
 * neither the worker nor its memory sees all at once. */
#pragma once

#include "control/fabric/manager/manager_private.h"

/* Reads one record. `found` runs once, on a later turn of the worker; OK: with the record, borrowed for the call;
 * NOT_FOUND; else what the store says. */
void profile_read(struct manager *manager, const struct profile_row *row,
	void (*found)(void *context, enum status status, const struct record *record), void *context);
/* GET .../participant-profiles: in the order of their ids. */
void profile_list(struct rest_call *call);
/* POST /participant-profiles/query: in the order of their ids. */
void profile_query(struct rest_call *call);
