/* The fabric's commands as this cell takes them: each is judged, its effect and the memory of it are one transaction,
 * the answer goes out, and only then is the message acknowledged. So a command is applied once whatever is lost or
 * doubled; what comes again is answered again. On the first worker.
 *
 * Records (ctx ""): VPA (id: the VPA's) {"type", "participant", "tenant", "epoch", "seq", "state", "ctx", "at"}: what
 * the fabric says lives here, tombstones included (for a week); CELL_STATE "orders" {"term", "seq", "epoch", "floor",
 * "cordoned", "draining"}. A vpa.activate with "dataplanes" puts DATA_PLANE records of the participant context too. */
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

/* One as it is remembered; texts are its record's. */
struct cell_vpa {
	struct text id, ctx; /* ctx: "" until it is active */
	enum vpa_type type;  /* a tombstone may have none */
	enum cell_vpa_state state;
	int64_t epoch, seq;
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

/* On the worker: the highest term of what was applied, and the number of the last of it; 0: nothing was. */
void orders_applied(const struct orders *orders, int64_t *term, int64_t *number);
/* From any thread, for people: {"cordoned", "draining", "prepared", "active", "tombstones", "applied", "repeated",
 * "refused", "poison", "seq", "floor"}: what lives here, what came since the start, the last seq. */
void orders_print(struct orders *orders, struct buffer *into);
