/* What this cell says of itself in its heartbeats: measured, not claimed. Requests of the last minute from the server's
 * own metrics, database and vault by asking them something small every few seconds, processor and memory of this
 * process. VPAs and utilisation are metrics of the cell itself too. On the first worker. */
#pragma once

#include "control/bus/bus.h"
#include "control/command/beat.h"
#include "tenants/registry.h"
#include "tenants/vault/vault.h"

struct figures;
enum status figures_open(
	struct store *store, struct vault *vault, struct registry *registry, struct figures **figures) MUST_CHECK;
/* On the worker. */
void figures_start(struct figures *figures, struct worker *worker);
void figures_stop(struct figures *figures);
/* After the worker, the store and the vault have stopped. */
void figures_free(struct figures *figures);
/* bus NULL: not known. The state is left alone. */
void figures_fill(const struct figures *figures, const struct bus *bus, struct beat_figures *into);
