/* The cells as a fleet: they join, are watched, and are told from impostors. Ties together the join API, the operator's
 * API, heartbeats, health, the panel, metrics and NATS credentials. On the fabric's worker.
 *
 * CELL records, member "celld" (cells.h): "mode", "health", "epoch", "incarnation", "key", and
 *   "approved"     an operator, a rule or the token has let it in
 *   "definedBy"    "cell": the definition is what the cell says of itself, and follows it at each join
 *   "healthSince"  milliseconds since 1970
 *   "healthWhy"    one line
 *   "joinedAt"     milliseconds since 1970 */
#pragma once

#include "control/bus/bus.h"
#include "control/fabric/cells.h"
#include "control/fabric/fleet/own_credentials.h"
#include "control/fabric/fleet/settings.h"
#include "control/fabric/rest.h"

struct fleet_uses {
	struct state *state;
	struct cells *cells;
	struct access *access;
	struct own_credentials *own; /* NULL: none */
	/* How many VPAs are booked on the cell. */
	int64_t (*used)(void *context, const struct cell_record *cell);
	/* What its heartbeats say has changed: for which types of VPA something is ready (bits), its load (0 ... 1000). */
	void (*measured)(void *context, uint32_t slot, unsigned ready, int load);
	void *placer_context; /* of both */
	/* What is ordered is held back, or goes again: at load, and with each change of that brake. */
	void (*held)(void *context, bool is_held);
	/* An older copy of the database holds: commands written after this revision are numbered so much higher. */
	void (*adopted)(void *context, int64_t revision, int64_t shift);
	void *orders_context; /* of both */
};

struct fleet;
/* Before store_load; the worker has a client (client_pool_open). Settings and uses outlive it. own_nats_urls: of the
 * manager's bus. */
enum status fleet_open(const struct fleet_settings *settings, const struct setting_texts *own_nats_urls,
	const struct fleet_uses *uses, struct fleet **fleet, struct buffer *error) MUST_CHECK;
/* Its endpoints below /api/celld/v1. */
enum status fleet_serve(struct fleet *fleet, struct rest *rest) MUST_CHECK;
/* On the worker, after the load. bus NULL: no broker; cells may join, and nothing is heard of them. */
void fleet_start(struct fleet *fleet, struct bus *bus);
/* On the worker, while the store is open: gives leadership away, so that another process need not wait for it. */
void fleet_leave(struct fleet *fleet);
/* On the worker, at its end. */
void fleet_stop(struct fleet *fleet);
/* After the worker and the bus have stopped. */
void fleet_free(struct fleet *fleet);

/* Why nothing may be changed now, for people; NULL: it may. (The database is older than its cells.) */
const char *fleet_refusal(const void *fleet);
/* What is not usual, a line each, for the page. */
void fleet_lines(const struct fleet *fleet, struct buffer *into);
bool fleet_leads(const struct fleet *fleet);
int64_t fleet_term(const struct fleet *fleet); /* stands in each command */
/* At most 3, before fleet_start: told when leadership is gained and lost. */
void fleet_observe(struct fleet *fleet, void (*changed)(void *context, bool leads), void *context);
