/* Letters: messages for the stream of the existing managers and agents, written in the transaction of their cause and
 * published after its commit, those of one subject in the order of their commits (an outbox).
 *
 * Record: LETTER (id: the message id) {"subject", "body", "by": who wrote it, "trace"}, deleted after the stream's ack.
 * A letter is sent by the process that wrote it; one whose process has died by any other, after a while. So a letter
 * may be sent twice (the stream knows its id for two minutes), and is never lost. */
#pragma once

#include "control/bus/bus.h"
#include "control/orchestration/messages.h"
#include "control/state/state.h"

struct letters;
/* Before store_load and before the worker starts. The bus outlives it. */
enum status letters_open(struct state *state, struct bus *bus, struct letters **letters) MUST_CHECK;
/* After the worker has stopped, before the bus and the state go. */
void letters_free(struct letters *letters);

/* Adds the letter to the transaction; id: unique for ever, without blanks. body: JSON text. False: out of memory. */
bool letters_add(struct transaction *transaction, struct text id, struct text subject, struct text body);
/* The same, of a trace (NULL: of none), which its headers say. */
bool letters_add_traced(
	struct transaction *transaction, struct text id, struct text subject, struct text body, const struct trace *trace);

/* Held: none is sent until it is let go. On the worker or before it starts. */
void letters_hold(struct letters *letters, bool is_held);

/* How many wait for the stream's ack, those of others included. */
size_t letters_waiting(const struct letters *letters);
/* One line for people: "no letters wait", or how many, and why the first of them does. */
void letters_line(const struct letters *letters, struct buffer *into);
