/* Placement over REST, below /api/celld/v1:
 *
 *   POST /placements            a request (control.md 2.7.1), or {"requests": [...], "dryRun": true}: decides now and
 *                               books nothing: {"chosen"[], "explain"{}}; chosen is empty when no cell fits
 *   GET  /placements/{id}/explain    of a decision that was stored
 *   POST /placements:replay     {"decisionId"}: decides again on the snapshot of then: {"same", "chosen"[],
 *                               "replayed"[]}; 410 when that is too long ago
 *   GET  /placements:lapses     cells with an expired attestation, and how many VPAs live there
 *
 * ?format=text: the same in lines for people, with one for each cell; ?format=line: without those. */
#pragma once

#include "control/fabric/place/placer.h"
#include "control/fabric/rest.h"

struct placements;
/* Before the server opens. The placer and the state outlive it. */
enum status placements_open(
	struct placer *placer, struct state *state, struct rest *rest, struct placements **placements) MUST_CHECK;
void placements_free(struct placements *placements);
