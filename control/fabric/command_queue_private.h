/* What the files of the queue share. */
#pragma once

#include "control/fabric/command_queue.h"
#include "server/base/table.h"

struct item {
	struct table_link link;     /* first */
	struct queued_command told; /* what others see; its texts lie in `bytes` */
	struct item *next;          /* in its lane */
	struct lane *lane;
	char bytes[];
};

struct lane {
	struct table_link link; /* first */
	struct item *first;     /* by seq */
	struct window *window;
	struct lane *after, *ahead; /* who waits for the window */
	size_t place;               /* in the heap */
	uint64_t due_ms;
	bool is_out; /* its first command is at the cell */
	size_t key_length;
	char key[]; /* "<cell>/<vpa>" */
};

/* A cell's share: so many lanes have a command there; the others wait in turn. */
struct window {
	struct table_link link; /* first */
	struct lane *first, *last;
	bool has_retries; /* some lane waits because the cell has said "retry" */
	size_t out, lanes, length;
	char cell[];
};

struct command_queue {
	struct table items, lanes, windows;
	struct lane **heap;
	size_t heap_count, heap_room;
};

/* --- command_queue_lanes.c */

/* NULL: the cell has none. */
struct window *window_find(const struct command_queue *queue, struct text cell);
/* The lane of this VPA, made when it is missing, due now. NULL: out of memory. */
struct lane *lane_of(struct command_queue *queue, struct text cell, struct text vpa, uint64_t now_ms);
void lane_close_if_empty(struct command_queue *queue, struct lane *lane);
void lane_due(struct command_queue *queue, struct lane *lane, uint64_t due_ms);
/* It is due sooner than before. */
void lane_rise(struct command_queue *queue, struct lane *lane);
/* It waits for its cell's window. */
void lane_queue_up(struct command_queue *queue, struct lane *lane);
bool lane_is_queued(const struct lane *lane);
/* Nothing of the lane is at the cell any more: the next in turn may go. */
void lane_come_back(struct command_queue *queue, struct lane *lane, uint64_t now_ms);
