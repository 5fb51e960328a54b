/* The queues that each cell reads: its commands (cell-<cellId> on celld-cmd) and its activities (<type>--<cellId> on
 * the managers' stream). They are made and kept here, for who may make a consumer may choose what it is fed with: a
 * cell may only read. */
#pragma once

#include "control/bus/bus.h"
#include "control/fabric/cells.h"

struct queues;
/* Before store_load and before the worker starts; the bus outlives it. stream and activities are borrowed. */
enum status queues_open(struct state *state, struct cells *cells, struct bus *bus, struct text stream,
	const struct setting_texts *activities, struct queues **queues) MUST_CHECK;
/* After the worker and the bus have stopped. */
void queues_free(struct queues *queues);
