/* Parked messages before the operator: /api/celld/v1/parked, and `cellctl parked`. */
#pragma once

#include "control/bus/bus.h"
#include "control/fabric/rest.h"
#include "control/state/parked_record.h"

struct parked;
/* Before store_load; adds its endpoints to `rest` (scopes provision-manager-api:read and :write). */
enum status parked_open(struct state *state, struct bus *bus, struct rest *rest, struct parked **parked) MUST_CHECK;
void parked_free(struct parked *parked);
size_t parked_count(const struct parked *parked);
