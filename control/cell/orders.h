/* The fabric's commands as this cell takes them: each is judged, its effect and the memory of it are one transaction,
 * the answer goes out, and only then is the message acknowledged. So a command is applied once whatever is lost or
 * doubled; what comes again is answered again. On the first worker.
 *
 * Records (ctx ""): VPA (id: the VPA's) {"type", "participant", "tenant", "epoch", "seq", "state", "ctx"}: what the
 * fabric says lives here, tombstones included; CELL_STATE "orders" {"term", "seq", "epoch", "cordoned", "draining"}. */
#pragma once

#include "control/bus/bus.h"
#include "control/command/command.h"
#include "control/state/state.h"
#include "tenants/participant.h"

/* name, spelling */
#define CELL_VPA_STATE_LIST(X) X(PREPARED, "prepared") X(ACTIVE, "active") X(TOMBSTONE, "tombstone")
enum cell_vpa_state {
#define CELL_VPA_STATE_MEMBER(name, text) CELL_VPA_##name,
	CELL_VPA_STATE_LIST(CELL_VPA_STATE_MEMBER)
#undef CELL_VPA_STATE_MEMBER
};

struct orders;
/* Before store_load. The bus may come later. */
enum status orders_open(struct state *state, struct orders **orders) MUST_CHECK;
/* After the worker has stopped. */
void orders_free(struct orders *orders);
/* The cell has joined as `cell_id` with this epoch: reads its commands from now on; again with each join. On the
 * worker.
 */
void orders_join(struct orders *orders, struct bus *bus, struct text cell_id, int64_t epoch);
/* No command is applied any more until the next join (this epoch is over). */
void orders_fence(struct orders *orders);

bool orders_is_cordoned(const struct orders *orders);
bool orders_is_draining(const struct orders *orders);
/* VPAs that live here (prepared or active), per type. */
void orders_count(const struct orders *orders, int64_t counts[VPA_TYPE_COUNT]);
/* Calls for each VPA, tombstones included, in no order, until false. */
struct cell_vpa {
	struct text id, ctx; /* ctx: "" until it is active */
	enum vpa_type type;
	enum cell_vpa_state state;
	int64_t epoch, seq;
};
void orders_each(const struct orders *orders, bool (*visit)(void *context, const struct cell_vpa *vpa), void *context);
