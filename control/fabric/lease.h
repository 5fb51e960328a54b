/* Who leads, among several processes on one database: a LEASE record {"holder","term","count"} changed by
 * compare-and-set alone, renewed every 1.5 s. The holder counts 5 s (less a margin) from before it submitted; the
 * others take over 5 s after they saw the last change: no clock is compared with another (control.md 2.12). A database
 * that cannot be reached ends the lease. On the fabric's worker. */
#pragma once

#include "control/state/state.h"

struct lease;
/* name: the record's id. clock: boot time in ms. Before store_load. */
enum status lease_open(struct state *state, const char *name, uint64_t (*clock)(void), struct lease **lease) MUST_CHECK;
/* `changed` with each gain and loss. At most 4, before lease_tick. */
void lease_observe(struct lease *lease, void (*changed)(void *context, bool leads), void *context);
/* Every 100 ms or so. */
void lease_tick(struct lease *lease);
/* So that the next one need not wait; no tick takes it again. */
void lease_release(struct lease *lease);
bool lease_is_held(const struct lease *lease);
/* Grows with each holder; stands in every command. 0: nobody has held it. */
int64_t lease_term(const struct lease *lease);
/* Terms above this one are good (others know it): who leads begins another. From any state, on the worker or before. */
void lease_raise(struct lease *lease, int64_t term);
/* How long its last change took to commit, or has waited by now: 0 while nothing was changed. */
uint64_t lease_commit_ms(const struct lease *lease);
void lease_free(struct lease *lease);
