/* What placement is told of a cell's own figures: for which types of VPA something is ready, and one number for its
 * load (control.md 2.7.3, "balance"). Coarse and seldom: what is told is a new version of the snapshot that decisions
 * are made on, and has to be walked back to decide again (2.7.4). Pure: the clock is passed in. */
#pragma once

#include "control/command/beat.h"
#include "control/command/cell_definition.h"

enum {
	GAUGE_STEP = 50,        /* of 1000: less is no news */
	GAUGE_PAUSE_MS = 10000, /* between two that are told */
};

/* All-zero is a good start. */
struct gauge {
	uint64_t told_ms;
	unsigned ready; /* as told: bit per enum vpa_type */
	int load;       /* as told, 0 ... 1000 */
	bool is_told;
};

/* Takes in what a heartbeat says; definition NULL: the cell says nothing of its resources. True: `ready` and `load` are
 * news, to be told now. What is ready no more is news at once, all else after a pause. */
bool gauge_hear(
	struct gauge *gauge, const struct beat_figures *figures, const struct cell_definition *definition, uint64_t now_ms);
