/* Who has which external id: one record a name, so that of two replicas that let in, or make, a cell of one name at the
 * same moment one meets a conflict, whatever ids they give it. On the fabric's worker.
 *
 * Record CELL_NAME (id: SHA-256 of the name, hex) {"name", "cell"}: the cell's CFM id. A cell from before there were
 * such records has none until it goes; its own record keeps the name from being taken meanwhile. */
#pragma once

#include "control/state/state.h"

struct cell_names;
/* Before store_load. */
enum status cell_names_open(struct state *state, struct cell_names **names) MUST_CHECK;
void cell_names_free(struct cell_names *names);

/* The new cell `id` takes the name, within the transaction that makes it: CONFLICT when another has it. A name of a
 * cell that is not there any more (`is_gone`) is free. "": nothing to take. False: out of memory. */
bool cell_name_take(struct cell_names *names, struct transaction *transaction, struct text name, struct text id,
	bool (*is_gone)(const void *context, struct text id), const void *context);
/* The cell goes, within the transaction that deletes it, and gives back the name if it has one. False: out of memory.
 */
bool cell_name_give(struct cell_names *names, struct transaction *transaction, struct text name, struct text id);
