/* This cell as a witness: when another cell is silent, the manager asks some cells whether its ingress answers
 * (control/command/doubt_message.h). On the first worker. */
#pragma once

#include "control/bus/bus.h"

struct witness;
/* networks: where other cells' ingresses may be, besides public addresses; none: anywhere. INVALID: one line. Before
 * the worker starts, which has a client. */
enum status witness_open(struct worker *worker, const struct setting_texts *networks, struct witness **witness,
	struct buffer *error) MUST_CHECK;
/* On the worker: answers from now on. Also when it does already. */
void witness_join(struct witness *witness, struct bus *bus, struct text cell_id);
/* On the worker, while that bus lives. */
void witness_leave(struct witness *witness);
/* After the worker has stopped. NULL is fine. */
void witness_free(struct witness *witness);
