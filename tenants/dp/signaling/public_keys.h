/* GET /keys and /keys/{ctx}: the public keys that tokens of this data plane are signed with, as a JWK set (RFC 7517),
 * for servers that check them beside the cell (siglet serves the same, cfm.md 6.4). Public: needs no token. */
#pragma once

#include "tenants/runtime.h"

/* dp: a struct dp. rest: behind /keys; "": of all participants that are active here. */
void public_keys(void *dp, struct exchange *exchange, const struct route *route);
