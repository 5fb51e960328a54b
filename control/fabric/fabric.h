/* The fabric's rooms, wired together: what cfmd runs. One worker. */
#pragma once

#include "control/bus/bus.h"
#include "control/fabric/fleet/fleet.h"
#include "control/fabric/orchestration/pm.h"
#include "control/fabric/rest.h"
#include "control/state/state.h"
#include "server/base/config.h"

/* Section "fabric". */
struct fabric_settings {
	bool tenant_manager, provision_manager; /* the roles */
	char *stream, *bucket;
	bool setup_stream;   /* create the stream when it is missing */
	bool authentication; /* false: the managers' APIs ask for no token (cfm.md 2.2); the operator's own always do */
};
extern const struct setting fabric_settings_table[];
extern const size_t fabric_settings_count;

struct fabric;
/* After fabric_open, before store_load: cells may join and are watched (fleet.h). The worker has a client
 * (client_pool_open). own: NULL is fine. */
enum status fabric_watch_cells(struct fabric *fabric, const struct fleet_settings *settings,
	const struct bus_settings *bus_settings, struct own_credentials *own, struct buffer *error) MUST_CHECK;
/* From the main thread, while the worker runs and the store is open: gives leadership away. */
void fabric_leave(struct fabric *fabric);
/* Before store_load. What is given outlives it. INVALID: one line in `error`. */
enum status fabric_open(const struct fabric_settings *settings, const struct pm_settings *pm_settings,
	struct store *store, struct worker_pool *pool, struct access *access, struct bus *bus, struct fabric **fabric,
	struct buffer *error) MUST_CHECK;
/* The broker has a stream in our way, and had it when we came: the program has been told to end (SIGTERM). */
bool fabric_is_refused(const struct fabric *fabric);
/* The handler of every request that is no page of the admin listener. */
void fabric_handle(void *fabric, struct exchange *exchange);
/* After the worker and the bus have stopped. */
void fabric_free(struct fabric *fabric);
/* For the status: some lines for people. On the worker. */
void fabric_lines(const struct fabric *fabric, struct buffer *into);
