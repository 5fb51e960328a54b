/* Management of participant contexts: /api/mgmt/v5beta/participants..., as cfm.md 4.4 B and 6.3 have it. */
#pragma once

#include "tenants/access.h"
#include "tenants/registry.h"
#include "tenants/runtime.h"
#include "tenants/vault/vault.h"

struct management;
enum status management_open(struct store *store, struct vault *vault, struct registry *registry, struct access *access,
	struct management **management) MUST_CHECK;
/* rest is what follows /api/mgmt/v5beta/participants ("" or "/{ctx}[/config]"); route->participant is NULL: every state
 * is managed here, also deactivated ones. */
void management_handle(void *management, struct exchange *exchange, const struct route *route);
void management_free(struct management *management);
