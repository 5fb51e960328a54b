/* The admin listener's pages, and the status that cellctl shows. */
#pragma once

#include <stdatomic.h>

#include "control/cell/membership.h"
#include "control/cell/orders.h"
#include "tenants/access.h"
#include "tenants/registry.h"
#include "tenants/runtime.h"

struct admin {
	struct store *store;
	struct registry *registry;
	struct access *access;
	struct membership *membership; /* NULL: this cell belongs to no fabric */
	struct orders *orders;         /* NULL likewise */
	int64_t started_ms;
	atomic_bool is_draining;
};

/* Each a runtime's handle; context: struct admin. */
void admin_metrics(void *admin, struct exchange *exchange, const struct route *route);
void admin_health(void *admin, struct exchange *exchange, const struct route *route);
void admin_page(void *admin, struct exchange *exchange, const struct route *route);
void admin_status(void *admin, struct exchange *exchange, const struct route *route);
