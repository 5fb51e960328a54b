/* The operator's records on one worker: each is told to whoever keeps an index of it, in the order of its commits. cfmd
 * runs one worker, and everything of control/fabric lives on it; in celld it is the first, with everything of
 * control/cell. So neither needs a lock.
 *
 * These records have ctx "": they belong to the operator, not to a tenant, and the id begins with what owns it. Their
 * bodies are described where the kind is owned. */
#pragma once

#include "tenants/store/store.h"

struct state;
/* Registers a listener with the store. Before store_load. */
enum status state_open(struct store *store, struct worker_pool *pool, struct state **state) MUST_CHECK;
/* After the workers have stopped and the store is closed. */
void state_free(struct state *state);

/* Before store_load; at most 32. on_record: with each record of this kind at load (on the loading thread, before any
 * worker runs), and after each commit of this and of other processes (on the worker, all of a commit in one turn); body
 * absent: deleted. Texts are borrowed. on_batch may be NULL: after the last record of a load, or of a commit that has
 * records of a kind that is watched. */
void state_watch(struct state *state, enum record_kind kind,
	void (*on_record)(void *context, const struct record *record), void (*on_batch)(void *context), void *context);

/* --- changes: on the worker; `done` runs on it, after the watchers heard of the change. */
bool state_put(
	struct transaction *transaction, enum record_kind kind, struct text id, struct text body, int64_t expected);
bool state_delete(struct transaction *transaction, enum record_kind kind, struct text id, int64_t expected);
void state_submit(struct state *state, struct transaction *transaction,
	void (*done)(void *context, enum status status, int64_t revision), void *context);
/* The newest revision that the watchers were told of. On the worker. */
int64_t state_revision(const struct state *state);
struct store *state_store(struct state *state);
struct worker *state_worker(struct state *state);
