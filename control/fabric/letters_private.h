/* Letters, inside: letter.c makes and reads their records and keeps them in queues, letters.c sends them. */
#pragma once

#include "control/fabric/letters.h"

struct letter {
	struct letter *next; /* in its queue */
	struct json *body;   /* of the record */
	struct lane *lane;   /* NULL: not ours to send (yet), or sent already */
	bool is_gone;        /* the record has been deleted */
	bool is_under_way;   /* the bus or the store has it */
	uint64_t since_ms;   /* another's: when it was first seen here */
	char id[];
};

/* NULL: it cannot be read, which is logged, or out of memory. */
struct letter *letter_read(const struct record *record);
void letter_discard(struct letter *letter);
/* Written by this process. */
bool letter_is_own(const struct letter *letter);

/* All-zero at first. */
struct letter_queue {
	struct letter *first, **last;
};
void letter_queue_add(struct letter_queue *queue, struct letter *letter);
/* Nothing when it is not in there. */
void letter_queue_remove(struct letter_queue *queue, struct letter *letter);
