/* Siglet's management API (cfm.md 4.4 F and G, dataplane.md 1.9), so that the agents of a fabric provision this data
 * plane as they provision siglet: /transfer-type-mappings and /key-mappings, with scopes siglet-mgmt-api:read|write. A
 * create that comes again is answered like the first. */
#pragma once

#include "tenants/runtime.h"

/* Each takes a struct dp as its context. */

/* Everything below one prefix: what an ingress with the path /api/siglet leads to. */
void siglet_handle(void *dp, struct exchange *exchange, const struct route *route);
/* rest: behind /transfer-type-mappings, /key-mappings */
void siglet_types(void *dp, struct exchange *exchange, const struct route *route);
void siglet_keys(void *dp, struct exchange *exchange, const struct route *route);
/* GET: 200 as long as the cell answers at all. */
void siglet_health(void *dp, struct exchange *exchange, const struct route *route);
