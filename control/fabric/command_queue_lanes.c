/* Lanes in a heap by when their first command is due. Those that wait for their cell's window are due never. */
#include <stdlib.h>

#include "control/fabric/command_queue_private.h"

/* --- the heap */

static void settle(struct command_queue *queue, struct lane *lane, size_t place)
{
	queue->heap[place] = lane;
	lane->place = place;
}

void lane_rise(struct command_queue *queue, struct lane *lane)
{
	size_t place = lane->place;
	while (place > 0 && queue->heap[(place - 1) / 2]->due_ms > lane->due_ms) {
		settle(queue, queue->heap[(place - 1) / 2], place);
		place = (place - 1) / 2;
	}
	settle(queue, lane, place);
}

static void sink(struct command_queue *queue, struct lane *lane)
{
	size_t place = lane->place;
	for (;;) {
		size_t child = place * 2 + 1;
		if (child + 1 < queue->heap_count && queue->heap[child + 1]->due_ms < queue->heap[child]->due_ms)
			child++;
		if (child >= queue->heap_count || queue->heap[child]->due_ms >= lane->due_ms)
			break;
		settle(queue, queue->heap[child], place);
		place = child;
	}
	settle(queue, lane, place);
}

void lane_due(struct command_queue *queue, struct lane *lane, uint64_t due_ms)
{
	lane->due_ms = due_ms;
	lane_rise(queue, lane);
	sink(queue, lane);
}

static bool heap_add(struct command_queue *queue, struct lane *lane)
{
	if (queue->heap_count == queue->heap_room) {
		size_t room = queue->heap_room == 0 ? 64 : queue->heap_room * 2;
		struct lane **heap = realloc(queue->heap, room * sizeof(struct lane *));
		if (heap == NULL)
			return false;
		queue->heap = heap;
		queue->heap_room = room;
	}
	settle(queue, lane, queue->heap_count++);
	lane_rise(queue, lane);
	return true;
}

static void heap_remove(struct command_queue *queue, struct lane *lane)
{
	struct lane *last = queue->heap[--queue->heap_count];
	if (last == lane)
		return;
	settle(queue, last, lane->place);
	lane_rise(queue, last);
	sink(queue, last);
}

/* --- windows */

static bool is_window(const struct table_link *link, struct text key)
{
	const struct window *window = (const struct window *)link;
	return text_equals((struct text){window->cell, window->length}, key);
}

struct window *window_find(const struct command_queue *queue, struct text cell)
{
	return (struct window *)table_find(&queue->windows, cell, is_window);
}

static struct window *window_of(struct command_queue *queue, struct text cell)
{
	struct window *window = window_find(queue, cell);
	if (window != NULL)
		return window;
	window = calloc(1, sizeof(*window) + cell.length + 1);
	if (window == NULL)
		return NULL;
	memcpy(window->cell, cell.bytes, cell.length);
	window->length = cell.length;
	if (table_add(&queue->windows, cell, &window->link))
		return window;
	free(window);
	return NULL;
}

static void window_close_if_empty(struct command_queue *queue, struct window *window)
{
	if (window->lanes > 0)
		return;
	table_remove(&queue->windows, &window->link);
	free(window);
}

bool lane_is_queued(const struct lane *lane)
{
	return lane->ahead != NULL || lane->window->first == lane;
}

void lane_queue_up(struct command_queue *queue, struct lane *lane)
{
	struct window *window = lane->window;
	lane->ahead = window->last;
	lane->after = NULL;
	if (window->last != NULL)
		window->last->after = lane;
	else
		window->first = lane;
	window->last = lane;
	lane_due(queue, lane, UINT64_MAX);
}

static void leave_queue(struct lane *lane)
{
	struct window *window = lane->window;
	if (!lane_is_queued(lane))
		return;
	if (lane->ahead != NULL)
		lane->ahead->after = lane->after;
	else
		window->first = lane->after;
	if (lane->after != NULL)
		lane->after->ahead = lane->ahead;
	else
		window->last = lane->ahead;
	lane->ahead = lane->after = NULL;
}

/* Nothing of the lane is at the cell any more: the next in turn may go. */
void lane_come_back(struct command_queue *queue, struct lane *lane, uint64_t now_ms)
{
	struct lane *next = lane->window->first;
	if (!lane->is_out)
		return;
	lane->is_out = false;
	lane->window->out--;
	if (next == NULL)
		return;
	leave_queue(next);
	lane_due(queue, next, now_ms);
}

/* --- lanes */

static struct lane *lane_open(struct command_queue *queue, struct text cell, struct text key, uint64_t now_ms)
{
	struct window *window = window_of(queue, cell);
	struct lane *lane = window == NULL ? NULL : calloc(1, sizeof(*lane) + key.length);
	bool is_in_heap = false;
	if (lane != NULL) {
		memcpy(lane->key, key.bytes, key.length);
		lane->key_length = key.length;
		lane->window = window;
		lane->due_ms = now_ms;
		is_in_heap = heap_add(queue, lane);
	}
	if (is_in_heap && table_add(&queue->lanes, key, &lane->link)) {
		window->lanes++;
		return lane;
	}
	if (is_in_heap)
		heap_remove(queue, lane);
	free(lane);
	if (window != NULL)
		window_close_if_empty(queue, window);
	return NULL;
}

static bool is_lane(const struct table_link *link, struct text key)
{
	const struct lane *lane = (const struct lane *)link;
	return text_equals((struct text){lane->key, lane->key_length}, key);
}

struct lane *lane_of(struct command_queue *queue, struct text cell, struct text vpa, uint64_t now_ms)
{
	struct buffer key = {0};
	buffer_append(&key, cell);
	buffer_append_byte(&key, '/');
	buffer_append(&key, vpa);
	struct lane *lane = key.failed ? NULL : (struct lane *)table_find(&queue->lanes, buffer_text(&key), is_lane);
	if (lane == NULL && !key.failed)
		lane = lane_open(queue, cell, buffer_text(&key), now_ms);
	buffer_free(&key);
	return lane;
}

void lane_close_if_empty(struct command_queue *queue, struct lane *lane)
{
	if (lane->first != NULL)
		return;
	struct window *window = lane->window;
	lane_come_back(queue, lane, 0);
	leave_queue(lane);
	heap_remove(queue, lane);
	table_remove(&queue->lanes, &lane->link);
	free(lane);
	window->lanes--;
	window_close_if_empty(queue, window);
}
