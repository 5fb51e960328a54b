/* The Tenant Manager: tenants, cells, dataspace profiles and participant profiles over REST as the existing one has
 * them (cfm.md 2.3), the manifests it sends and the responses it takes (cfm.md 3.2-3.4).
 *
 * Records (ctx ""):
 *   TENANT (id: UUID): the tenant as clients see it; and, which is not shown, "celld" {"going": since when (ms)} while
 *   it is being deleted.
 *   DATASPACE_PROFILE (id: UUID): the same.
 *   CELL: see cells.h.
 *   PARTICIPANT_PROFILE (id: "<tenant>/<profile>"): the profile as clients see it, with "dataspaceProfileIds", each VPA
 *   with "externalCellId" and "celld" {"epoch", "demand"}, and "celld" {"manifest", "decision", "credentials"}: what
 * was decided, asked for last, and what a dispose must be told. Only the members that the existing manager shows are
 *   shown. */
#pragma once

#include "control/bus/bus.h"
#include "control/fabric/place/placer.h"
#include "control/fabric/rest.h"
#include "control/orchestration/orchestration.h"

struct manager_settings {
	const char *stream, *bucket; /* "cfm-stream", "cfm-bucket" */
	bool has_provision_manager;  /* this program is one too: what is ordered is started even if the broker loses it */
};

struct manager;
/* Before store_load. Settings, state, cells and placer outlive it. */
enum status manager_open(const struct manager_settings *settings, struct state *state, struct cells *cells,
	struct placer *placer, struct manager **manager) MUST_CHECK;
/* Its endpoints below /api/v1alpha1. */
enum status manager_serve(struct manager *manager, struct rest *rest) MUST_CHECK;
/* On the worker: takes responses from the stream, which is waited for. */
void manager_start(struct manager *manager, struct bus *bus);
/* Has the end of this orchestration been taken in? For the Provision Manager, which else says it again. */
bool manager_is_answered(const struct manager *manager, const struct orchestration *orchestration);
/* After the worker and the bus have stopped. */
void manager_free(struct manager *manager);
