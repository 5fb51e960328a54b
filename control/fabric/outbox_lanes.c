/* Lanes in a heap by when their first command is due. Those that wait for their cell's window are due never. */
#include <stdlib.h>

#include "control/fabric/outbox_private.h"

/* --- the heap */

static void settle(struct outbox *outbox, struct lane *lane, size_t place)
{
	outbox->heap[place] = lane;
	lane->place = place;
}

void lane_rise(struct outbox *outbox, struct lane *lane)
{
	size_t place = lane->place;
	while (place > 0 && outbox->heap[(place - 1) / 2]->due_ms > lane->due_ms) {
		settle(outbox, outbox->heap[(place - 1) / 2], place);
		place = (place - 1) / 2;
	}
	settle(outbox, lane, place);
}

static void sink(struct outbox *outbox, struct lane *lane)
{
	size_t place = lane->place;
	for (;;) {
		size_t child = place * 2 + 1;
		if (child + 1 < outbox->heap_count && outbox->heap[child + 1]->due_ms < outbox->heap[child]->due_ms)
			child++;
		if (child >= outbox->heap_count || outbox->heap[child]->due_ms >= lane->due_ms)
			break;
		settle(outbox, outbox->heap[child], place);
		place = child;
	}
	settle(outbox, lane, place);
}

void lane_due(struct outbox *outbox, struct lane *lane, uint64_t due_ms)
{
	lane->due_ms = due_ms;
	lane_rise(outbox, lane);
	sink(outbox, lane);
}

static bool heap_add(struct outbox *outbox, struct lane *lane)
{
	if (outbox->heap_count == outbox->heap_room) {
		size_t room = outbox->heap_room == 0 ? 64 : outbox->heap_room * 2;
		struct lane **heap = realloc(outbox->heap, room * sizeof(struct lane *));
		if (heap == NULL)
			return false;
		outbox->heap = heap;
		outbox->heap_room = room;
	}
	settle(outbox, lane, outbox->heap_count++);
	lane_rise(outbox, lane);
	return true;
}

static void heap_remove(struct outbox *outbox, struct lane *lane)
{
	struct lane *last = outbox->heap[--outbox->heap_count];
	if (last == lane)
		return;
	settle(outbox, last, lane->place);
	lane_rise(outbox, last);
	sink(outbox, last);
}

/* --- windows */

static bool is_window(const struct table_link *link, struct text key)
{
	const struct window *window = (const struct window *)link;
	return text_equals((struct text){window->cell, window->length}, key);
}

struct window *window_find(const struct outbox *outbox, struct text cell)
{
	return (struct window *)table_find(&outbox->windows, cell, is_window);
}

static struct window *window_of(struct outbox *outbox, struct text cell)
{
	struct window *window = window_find(outbox, cell);
	if (window != NULL)
		return window;
	window = calloc(1, sizeof(*window) + cell.length + 1);
	if (window == NULL)
		return NULL;
	memcpy(window->cell, cell.bytes, cell.length);
	window->length = cell.length;
	if (table_add(&outbox->windows, cell, &window->link))
		return window;
	free(window);
	return NULL;
}

static void window_close_if_empty(struct outbox *outbox, struct window *window)
{
	if (window->lanes > 0)
		return;
	table_remove(&outbox->windows, &window->link);
	free(window);
}

bool lane_is_queued(const struct lane *lane)
{
	return lane->ahead != NULL || lane->window->first == lane;
}

void lane_queue_up(struct outbox *outbox, struct lane *lane)
{
	struct window *window = lane->window;
	lane->ahead = window->last;
	lane->after = NULL;
	if (window->last != NULL)
		window->last->after = lane;
	else
		window->first = lane;
	window->last = lane;
	lane_due(outbox, lane, UINT64_MAX);
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
void lane_come_back(struct outbox *outbox, struct lane *lane, uint64_t now_ms)
{
	struct lane *next = lane->window->first;
	if (!lane->is_out)
		return;
	lane->is_out = false;
	lane->window->out--;
	if (next == NULL)
		return;
	leave_queue(next);
	lane_due(outbox, next, now_ms);
}

/* --- lanes */

static struct lane *lane_open(struct outbox *outbox, struct text cell, struct text key, uint64_t now_ms)
{
	struct window *window = window_of(outbox, cell);
	struct lane *lane = window == NULL ? NULL : calloc(1, sizeof(*lane) + key.length);
	bool is_in_heap = false;
	if (lane != NULL) {
		memcpy(lane->key, key.bytes, key.length);
		lane->key_length = key.length;
		lane->window = window;
		lane->due_ms = now_ms;
		is_in_heap = heap_add(outbox, lane);
	}
	if (is_in_heap && table_add(&outbox->lanes, key, &lane->link)) {
		window->lanes++;
		return lane;
	}
	if (is_in_heap)
		heap_remove(outbox, lane);
	free(lane);
	if (window != NULL)
		window_close_if_empty(outbox, window);
	return NULL;
}

static bool is_lane(const struct table_link *link, struct text key)
{
	const struct lane *lane = (const struct lane *)link;
	return text_equals((struct text){lane->key, lane->key_length}, key);
}

struct lane *lane_of(struct outbox *outbox, struct text cell, struct text vpa, uint64_t now_ms)
{
	struct buffer key = {0};
	buffer_append(&key, cell);
	buffer_append_byte(&key, '/');
	buffer_append(&key, vpa);
	struct lane *lane = key.failed ? NULL : (struct lane *)table_find(&outbox->lanes, buffer_text(&key), is_lane);
	if (lane == NULL && !key.failed)
		lane = lane_open(outbox, cell, buffer_text(&key), now_ms);
	buffer_free(&key);
	return lane;
}

void lane_close_if_empty(struct outbox *outbox, struct lane *lane)
{
	if (lane->first != NULL)
		return;
	struct window *window = lane->window;
	lane_come_back(outbox, lane, 0);
	leave_queue(lane);
	heap_remove(outbox, lane);
	table_remove(&outbox->lanes, &lane->link);
	free(lane);
	window->lanes--;
	window_close_if_empty(outbox, window);
}
