/* What the files of the orders share. */
#pragma once

#include <stdatomic.h>

#include "control/cell/orders.h"
#include "server/base/table.h"

enum { ORDERS_NAME_LENGTH = 128 };

/* A VPA as its record says. */
struct vpa {
	struct table_link link; /* first */
	struct vpa *next, **before;
	struct cell_vpa told; /* its texts lie in `bytes` */
	int64_t revision;
	bool is_busy; /* a command for it is being committed */
	struct json *body;
	char bytes[];
};

/* The cell itself as a target of commands. */
struct own {
	int64_t revision, term, seq, epoch, floor;
	bool is_cordoned, is_draining, is_busy;
};

/* Figures for people, read from any thread: name, spelling. */
#define ORDERS_FIGURE_LIST(X)                                                                                          \
	X(PREPARED, "prepared")                                                                                            \
	X(ACTIVE, "active")                                                                                                \
	X(TOMBSTONES, "tombstones")                                                                                        \
	X(APPLIED, "applied")                                                                                              \
	X(REPEATED, "repeated")                                                                                            \
	X(REFUSED, "refused")                                                                                              \
	X(POISON, "poison")                                                                                                \
	X(SEQ, "seq")                                                                                                      \
	X(FLOOR, "floor")
enum orders_figure {
#define FIGURE_MEMBER(name, text) FIGURE_##name,
	ORDERS_FIGURE_LIST(FIGURE_MEMBER)
#undef FIGURE_MEMBER
		FIGURE_COUNT
};

struct orders {
	struct state *state;
	struct bus *bus;
	struct bus_consumer *consumer;
	struct timer *pruning;
	struct table vpas;
	struct vpa *first;
	struct own own;
	char cell_id[ORDERS_NAME_LENGTH];
	int64_t epoch; /* 0: not joined, or fenced */
	atomic_llong figures[FIGURE_COUNT];
	atomic_bool is_cordoned, is_draining;
};

/* A command on its way: from its message to the acknowledgement. */
struct order {
	struct orders *orders;
	struct command command;
	int64_t epoch;
	bool is_own_change;  /* the cell's own record too */
	bool has_no_context; /* the participant context is gone: its data planes are nobody's */
	int64_t applied_seq; /* of the last command, when it is later than this one; 0: it is not */
	char reply[256];
};

/* --- order_effects.c: what a command does, as records */

bool order_state_parse(struct text text, enum cell_vpa_state *state);
/* What is wrong with the command's arguments, a code; NULL: nothing. */
const char *order_check(const struct command *command, const struct vpa *vpa);
/* The effect and the memory of it, into the transaction. False: out of memory. */
bool order_build(
	struct transaction *transaction, const struct orders *orders, const struct order *order, const struct vpa *vpa);
/* The cell's own record, as `changed`. False: out of memory. */
bool own_put(struct transaction *transaction, const struct own *changed);

/* --- tombstones.c */

/* Forgets tombstones that are older than a week, some at once. Sooner again while there are more. */
void tombstones_prune(struct orders *orders, int64_t wall_ms);
