/* The activities by which a fabric provisions a participant into this cell, with the effects that the existing agents
 * have over HTTP (cfm.md 4.4 B and F) and without it. Types: edcv-activity--<cell>, siglet-activity--<cell>
 * (control.md 2.7.9). On the first worker.
 *
 * Values read: cfm.participant.id, participantContextId, cfm.vpa.data. Values set: participantContextId (made here when
 * no agent before has made it), and as output cfm.dataplane.<cell> {dataplaneId, endpoint, transferTypes}: what the
 * control plane's cell registers. */
#pragma once

#include "control/bus/bus.h"
#include "control/state/state.h"
#include "tenants/cp/management.h"

struct activities;
struct activities_settings {
	struct text cell_id, ingress; /* ingress: base URL under which others reach this cell's listeners */
};
/* Copies the settings. NULL: out of memory. On the worker, while the bus lives. */
struct activities *activities_open(
	const struct activities_settings *settings, struct bus *bus, struct state *state, struct management *management);
void activities_close(struct activities *activities);
/* executor_hold of both. NULL is fine. */
void activities_hold(struct activities *activities, bool is_held);
