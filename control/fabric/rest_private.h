/* The inside of REST: a call, and how it is answered. For rest*.c alone. */
#pragma once

#include "control/fabric/rest.h"

/* Text of the call's own, in a list. */
struct piece {
	struct piece *next;
	char bytes[];
};

/* What only this room knows of a call. */
struct held_call {
	struct rest_call call;
	const struct rest_endpoint *endpoint;
	int references; /* the exchange's, and one for each hold */
	int runs;
	struct json *parsed;
	struct piece *pieces;
	struct text query;
	bool (*print)(struct rest_call *call, size_t index, struct buffer *into);
	size_t next, count;                   /* of a list */
	struct buffer waiting;                /* printed, not yet taken */
	size_t taken;                         /* of `waiting` */
	bool has_first, is_ended;             /* of a list: was an element printed, was the end */
	void (*more)(struct rest_call *call); /* of a list that comes in portions */
	bool is_awaited;                      /* its next portion */
};

static inline struct held_call *held(struct rest_call *call)
{
	return (struct held_call *)call;
}

/* --- rest_answer.c */

void call_free_state(struct rest_call *call);
/* Gives back one reference. */
void call_drop(struct held_call *call);
/* Room of the call's own; NULL when out of memory. */
char *call_room(struct held_call *call, size_t size);
/* TEXT_NONE when absent, or out of memory. */
struct text call_copy(struct held_call *call, struct text text);
/* JSON; the type stands there without a body too, as the existing managers have it. */
void rest_respond(struct exchange *exchange, int status, struct text body);
/* {"error","message","code"} */
void rest_say(struct exchange *exchange, int status, struct text message);
