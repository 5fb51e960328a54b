/* One attempt of a cell to join, as join.c and join_body.c have it. */
#pragma once

#include "control/bus/join_request.h"
#include "control/fabric/fleet/fleet_private.h"
#include "server/base/id.h"

struct attempt {
	struct rest_call *call;
	struct fleet *fleet;
	struct join_request request;
	const struct cell_record *cell; /* NULL: not known yet */
	const struct join_token *token; /* NULL: none was sent, or it is not needed */
	struct json *definition;        /* what is to be stored; NULL: as it is */
	bool is_approved;
	char id[UUID_LENGTH + 1];
	int64_t epoch; /* that it gets */
};

/* join_body.c: the cell's record as this attempt leaves it; takes attempt->definition when it is the cell's to give.
 * NULL: out of memory. */
char *join_body(struct attempt *attempt);
