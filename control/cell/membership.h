/* This cell's place in the fabric: it joins, keeps its credentials fresh, sends heartbeats, and knows when another
 * process has taken its place. Nothing of it is needed to serve: a fabric that is away is a normal state.
 *
 * Identity: an nkey (file, mode 0400) and the highest epoch this cell was ever given (record CELL_STATE "membership"
 * {"epoch"}). Each process has an incarnation of its own. On the first worker. */
#pragma once

#include "control/bus/bus.h"
#include "control/state/state.h"
#include "tenants/registry.h"
#include "tenants/vault/vault.h"

/* Section "fabric" of celld. */
struct membership_settings {
	char *url, *ca_file;   /* of the manager; NULL: this cell belongs to no fabric */
	char *definition_file; /* what this cell is (cell_definition.h) */
	char *token_file;      /* a join token, needed the first time */
	char *key_file;        /* default: <state directory>/cell.nk; credentials lie beside it, with .creds behind */
	int64_t retry_ms;
	struct setting_texts probe_networks; /* where other cells' ingresses may be: witness.h */
};
extern const struct setting membership_settings_table[];
extern const size_t membership_settings_count;

struct membership_uses {
	struct worker_pool *pool;
	struct store *store;
	struct state *state;
	struct vault *vault;
	struct registry *registry;
	/* The highest term of the commands applied here, and the number of the last one; NULL: nothing is ordered here. */
	void (*applied)(void *context, int64_t *term, int64_t *number);
	void *applied_context;
	/* This process must not serve any tenant any more: another one of the same cell has joined. From then on for good.
	 */
	void (*fence)(void *context);
	/* Nothing new is to be done for the fabric until it is let go: the manager's database is an older copy. Told with
	 * each change. */
	void (*hold)(void *context, bool is_held);
	void *fence_context; /* of both */
};

struct membership;
/* Before store_load and before the workers start. Settings and uses outlive it; bus_settings (section "nats") are this
 * room's to change: urls and method that are not set come from the manager. *membership NULL: no fabric. INVALID with
 * one line: a file that is wrong. */
enum status membership_open(const struct membership_settings *settings, struct bus_settings *bus_settings,
	const struct membership_uses *uses, struct membership **membership, struct buffer *error) MUST_CHECK;
/* At most 4, before the workers start: told on the worker with each join, with the bus to use from then on; and with
 * epoch 0 when this process has been followed by another, or leaves: the bus is good until that returns. */
void membership_observe(struct membership *membership,
	void (*changed)(void *context, struct bus *bus, struct text cell_id, int64_t epoch), void *context);
/* From the main thread, while the workers run. NULL is fine. */
void membership_leave(struct membership *membership);
/* After the workers, the store and the vault have stopped. NULL is fine. */
void membership_free(struct membership *membership);

/* Of the definition; NULL: it says none. */
const char *membership_ingress(const struct membership *membership);
/* From any thread. */
bool membership_is_fenced(const struct membership *membership);
/* One line for people: "cell-1: joined, epoch 7, ready; connected to ..." or why not. */
void membership_line(struct membership *membership, struct buffer *into);
