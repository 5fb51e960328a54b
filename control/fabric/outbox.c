/* Lanes in a heap by when their first command is due. Those that wait for their cell's window are due never. */
#include "control/fabric/outbox.h"

#include <stdlib.h>

#include "server/base/table.h"

enum { PAUSE_MS = 1000, PAUSE_MAX_MS = 30000 };

struct item {
	struct table_link link;  /* first */
	struct outbox_item told; /* what others see; its texts lie in `bytes` */
	struct item *next;       /* in its lane */
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
	size_t out, lanes, length;
	char cell[];
};

struct outbox {
	struct table items, lanes, windows;
	struct lane **heap;
	size_t heap_count, heap_room;
};

/* --- the heap */

static void settle(struct outbox *outbox, struct lane *lane, size_t place)
{
	outbox->heap[place] = lane;
	lane->place = place;
}

static void rise(struct outbox *outbox, struct lane *lane)
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

static void lane_due(struct outbox *outbox, struct lane *lane, uint64_t due_ms)
{
	lane->due_ms = due_ms;
	rise(outbox, lane);
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
	rise(outbox, lane);
	return true;
}

static void heap_remove(struct outbox *outbox, struct lane *lane)
{
	struct lane *last = outbox->heap[--outbox->heap_count];
	if (last == lane)
		return;
	settle(outbox, last, lane->place);
	rise(outbox, last);
	sink(outbox, last);
}

/* --- windows */

static bool is_window(const struct table_link *link, struct text key)
{
	const struct window *window = (const struct window *)link;
	return text_equals((struct text){window->cell, window->length}, key);
}

static struct window *find_window(const struct outbox *outbox, struct text cell)
{
	return (struct window *)table_find(&outbox->windows, cell, is_window);
}

static struct window *window_of(struct outbox *outbox, struct text cell)
{
	struct window *window = find_window(outbox, cell);
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

static bool is_queued(const struct lane *lane)
{
	return lane->ahead != NULL || lane->window->first == lane;
}

static void queue_up(struct outbox *outbox, struct lane *lane)
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
	if (!is_queued(lane))
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
static void come_back(struct outbox *outbox, struct lane *lane, uint64_t now_ms)
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

static struct lane *lane_of(struct outbox *outbox, struct text cell, struct text vpa, uint64_t now_ms)
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

static void lane_close_if_empty(struct outbox *outbox, struct lane *lane)
{
	if (lane->first != NULL)
		return;
	struct window *window = lane->window;
	come_back(outbox, lane, 0);
	leave_queue(lane);
	heap_remove(outbox, lane);
	table_remove(&outbox->lanes, &lane->link);
	free(lane);
	window->lanes--;
	window_close_if_empty(outbox, window);
}

/* --- items */

static bool is_item(const struct table_link *link, struct text key)
{
	return text_equals(((const struct item *)link)->told.id, key);
}

static struct item *find(const struct outbox *outbox, struct text id)
{
	return (struct item *)table_find(&outbox->items, id, is_item);
}

static char *keep(char *at, struct text *text)
{
	if (text->length > 0)
		memcpy(at, text->bytes, text->length);
	text->bytes = at;
	return at + text->length;
}

static struct item *copy(const struct outbox_item *from)
{
	struct item *made =
		calloc(1, sizeof(*made) + from->id.length + from->cell.length + from->vpa.length + from->args.length + 1);
	if (made == NULL)
		return NULL;
	made->told = *from;
	made->told.attempts = made->told.failures = 0;
	keep(keep(keep(keep(made->bytes, &made->told.id), &made->told.cell), &made->told.vpa), &made->told.args);
	return made;
}

enum status outbox_add(struct outbox *outbox, const struct outbox_item *item, uint64_t now_ms)
{
	if (find(outbox, item->id) != NULL)
		return STATUS_CONFLICT;
	struct lane *lane = lane_of(outbox, item->cell, item->vpa, now_ms);
	struct item *made = lane == NULL ? NULL : copy(item);
	if (made == NULL || !table_add(&outbox->items, item->id, &made->link)) {
		free(made);
		if (lane != NULL)
			lane_close_if_empty(outbox, lane);
		return STATUS_NO_MEMORY;
	}
	made->lane = lane;
	struct item **at = &lane->first;
	while (*at != NULL && (*at)->told.seq < item->seq)
		at = &(*at)->next;
	made->next = *at;
	*at = made;
	return STATUS_OK;
}

bool outbox_drop(struct outbox *outbox, struct text id, uint64_t now_ms)
{
	struct item *item = find(outbox, id);
	if (item == NULL)
		return false;
	struct lane *lane = item->lane;
	bool was_first = lane->first == item;
	for (struct item **at = &lane->first; *at != NULL; at = &(*at)->next) {
		if (*at == item) {
			*at = item->next;
			break;
		}
	}
	table_remove(&outbox->items, &item->link);
	free(item);
	if (was_first)
		come_back(outbox, lane, now_ms);
	if (was_first && !is_queued(lane))
		lane_due(outbox, lane, now_ms);
	lane_close_if_empty(outbox, lane);
	return true;
}

const struct outbox_item *outbox_find(const struct outbox *outbox, struct text id)
{
	const struct item *item = find(outbox, id);
	return item == NULL ? NULL : &item->told;
}

size_t outbox_count(const struct outbox *outbox)
{
	return outbox->items.count;
}

/* --- sending */

static uint64_t pause_of(unsigned times)
{
	return times > 5 ? PAUSE_MAX_MS : (uint64_t)PAUSE_MS << (times - 1);
}

void outbox_due(struct outbox *outbox, uint64_t now_ms, size_t maximum,
	void (*send)(void *context, const struct outbox_item *item), void *context)
{
	for (size_t sent = 0; sent < maximum && outbox->heap_count > 0 && outbox->heap[0]->due_ms <= now_ms;) {
		struct lane *lane = outbox->heap[0];
		struct item *item = lane->first;
		if (!lane->is_out && lane->window->out == OUTBOX_WINDOW) {
			queue_up(outbox, lane);
			continue;
		}
		lane->window->out += !lane->is_out;
		lane->is_out = true;
		sent++;
		lane_due(outbox, lane, now_ms + pause_of(++item->told.attempts));
		send(context, &item->told);
	}
}

uint64_t outbox_next_ms(const struct outbox *outbox)
{
	return outbox->heap_count == 0 ? UINT64_MAX : outbox->heap[0]->due_ms;
}

void outbox_put_off(struct outbox *outbox, struct text id, uint64_t now_ms, uint64_t pause_ms)
{
	const struct item *item = find(outbox, id);
	if (item == NULL || item->lane->first != item || is_queued(item->lane))
		return;
	come_back(outbox, item->lane, now_ms);
	lane_due(outbox, item->lane, now_ms + pause_ms);
}

unsigned outbox_fail(struct outbox *outbox, struct text id, uint64_t now_ms)
{
	struct item *item = find(outbox, id);
	if (item == NULL)
		return 0;
	if (item->lane->first == item && item->lane->is_out)
		outbox_put_off(outbox, id, now_ms, pause_of(++item->told.failures));
	return item->told.failures;
}

void outbox_hurry(struct outbox *outbox, struct text cell, uint64_t now_ms)
{
	const struct window *window = find_window(outbox, cell);
	for (size_t i = 0; i < outbox->heap_count && window != NULL; i++) {
		struct lane *lane = outbox->heap[i];
		if (lane->window == window && !is_queued(lane) && lane->due_ms > now_ms) {
			lane->first->told.attempts = 0;
			lane->due_ms = now_ms;
			rise(outbox, lane); /* what it changes places with has been seen or is later in the array: due no later */
		}
	}
}

void outbox_each(
	const struct outbox *outbox, bool (*visit)(void *context, const struct outbox_item *item), void *context)
{
	for (size_t i = 0; i < outbox->heap_count; i++) {
		for (const struct item *item = outbox->heap[i]->first; item != NULL; item = item->next) {
			if (!visit(context, &item->told))
				return;
		}
	}
}

/* --- life */

struct outbox *outbox_new(void)
{
	return calloc(1, sizeof(struct outbox));
}

void outbox_free(struct outbox *outbox)
{
	if (outbox == NULL)
		return;
	while (outbox->heap_count > 0) {
		struct lane *lane = outbox->heap[0];
		while (lane->first != NULL) {
			struct item *item = lane->first;
			lane->first = item->next;
			table_remove(&outbox->items, &item->link);
			free(item);
		}
		lane_close_if_empty(outbox, lane);
	}
	table_free(&outbox->items);
	table_free(&outbox->lanes);
	table_free(&outbox->windows);
	free(outbox->heap);
	free(outbox);
}
