/* Commands on their way to cells (control.md 2.6). Written in the transaction of their cause, kept until the cell has
 * answered that their effect is there, sent again until then by the leading replica.
 *
 * Records: COMMAND (id: cmdId) {"cell", "vpa", "vpaEpoch", "op", "at", "args"}; its revision is the command's seq
 * (and more: commands_adopt). What a cell refuses for good, or fails at ten times, becomes a PARKED record (parked.h).
 */
#pragma once

#include "control/bus/bus.h"
#include "control/command/command.h"
#include "control/fabric/cells.h"
#include "control/fabric/command_queue.h"
#include "control/fabric/rest.h"

struct commands;
/* Before store_load and before the worker starts. The bus outlives it. */
enum status commands_open(
	struct state *state, struct cells *cells, struct bus *bus, struct commands **commands) MUST_CHECK;
/* After the worker has stopped. */
void commands_free(struct commands *commands);

/* Only the leader of this term sends; all hear answers. Not leading at first. On the worker. */
void commands_lead(struct commands *commands, bool is_leader, int64_t term);

/* None is sent while they are held, whoever leads. */
void commands_hold(struct commands *commands, bool is_held);
/* Cells have applied commands that this database has forgotten: those written after this revision are numbered so much
 * higher, and so are newer to every cell. What is older keeps its number: a cell that went on says so, and it is parked
 * for the operator. */
void commands_adopt(struct commands *commands, int64_t revision, int64_t shift);

/* Adds the command to the transaction; `args`: the JSON text of an object. A legacy cell gets none: nothing is added.
 * False: out of memory. */
bool commands_add(struct transaction *transaction, const struct cell_record *cell, struct text vpa, int64_t vpa_epoch,
	enum command_op op, struct text args);

/* What waits for the answers of cells, and whether a cell is asked at all now (NULL: it is unknown, away or fenced). */
const struct command_queue *commands_queue(const struct commands *commands);
const struct cell_record *commands_asked(const struct commands *commands, struct text cell);
/* One line for people. */
void commands_line(const struct commands *commands, struct buffer *into);
/* commands_list.c: GET /api/celld/v1/commands: per cell how many wait, since when, and the oldest; /commands/{cell}:
 * each of that cell's, at most 1,000. Scope provision-manager-api:read. */
enum status commands_serve(struct commands *commands, struct rest *rest) MUST_CHECK;
