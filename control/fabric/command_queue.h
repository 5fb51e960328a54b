/* What is to be sent to cells, when, and in which order: pure, no bus and no store. One lane for each (cell, VPA): its
 * commands are sent in the order of their seq, the next after the answer to the one before; unanswered ones again after
 * 1, 2, 4 ... 30 s. At most COMMAND_QUEUE_WINDOW lanes of a cell have a command on its way at once, the others come in
 * turn: a cell, or a broker, that is slow is not buried under what is sent again. */
#pragma once

#include "control/command/command.h"

enum { COMMAND_QUEUE_WINDOW = 128 };

struct command_queue;
struct command_queue *command_queue_new(void);
void command_queue_free(struct command_queue *queue);

/* A command that waits; texts are the queue's, good until it is dropped. */
struct queued_command {
	struct text id, cell, vpa, args;
	int64_t seq, vpa_epoch, at_ms; /* at: when it was written, wall clock */
	enum command_op op;
	unsigned attempts, failures; /* sendings; answers "failed" */
	unsigned retries;            /* answers "retry" since the cell has done anything */
};

/* Copies. seq: unique; later ones need not come later. CONFLICT: the id is there already. */
enum status command_queue_add(
	struct command_queue *queue, const struct queued_command *item, uint64_t now_ms) MUST_CHECK;
/* False: unknown. The next of its lane is due at once. */
bool command_queue_drop(struct command_queue *queue, struct text id, uint64_t now_ms);
const struct queued_command *command_queue_find(const struct command_queue *queue, struct text id);
size_t command_queue_count(const struct command_queue *queue);

/* Calls `send` for each first of a lane that is due, at most `maximum`, and sets when it is due again. */
void command_queue_due(struct command_queue *queue, uint64_t now_ms, size_t maximum,
	void (*send)(void *context, const struct queued_command *item), void *context);
/* UINT64_MAX: nothing waits. */
uint64_t command_queue_next_ms(const struct command_queue *queue);
/* It could not be sent: due again after so long. */
void command_queue_put_off(struct command_queue *queue, struct text id, uint64_t now_ms, uint64_t pause_ms);
/* The cell says "retry": due again after a growing pause, 0.5 s up to 8 s, give or take a fifth (the same for the same
 * command and count), so that a cell whose database is away is not asked by all its lanes twice a second. */
void command_queue_retry(struct command_queue *queue, struct text id, uint64_t now_ms);
/* The cell has done something: what was to be retried is due within the first of those pauses. */
void command_queue_does(struct command_queue *queue, struct text cell, uint64_t now_ms);
/* The cell says "failed": due again after a growing pause. Returns how often it has said so; an answer that comes twice
 * counts once for each sending. */
unsigned command_queue_fail(struct command_queue *queue, struct text id, uint64_t now_ms);
/* The cell is back: all of its lanes are due. */
void command_queue_hurry(struct command_queue *queue, struct text cell, uint64_t now_ms);
/* In no order, until `visit` returns false. */
void command_queue_each(
	const struct command_queue *queue, bool (*visit)(void *context, const struct queued_command *item), void *context);
