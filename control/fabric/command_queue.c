/* Commands that wait: which there are, and which is sent next. */
#include <stdlib.h>

#include "control/fabric/command_queue_private.h"

enum { PAUSE_MS = 1000, PAUSE_MAX_MS = 30000, RETRY_MS = 500, RETRY_DOUBLINGS = 4 };

/* --- items */

static bool is_item(const struct table_link *link, struct text key)
{
	return text_equals(((const struct item *)link)->told.id, key);
}

static struct item *find(const struct command_queue *queue, struct text id)
{
	return (struct item *)table_find(&queue->items, id, is_item);
}

static char *keep(char *at, struct text *text)
{
	if (text->length > 0)
		memcpy(at, text->bytes, text->length);
	text->bytes = at;
	return at + text->length;
}

static struct item *copy(const struct queued_command *from)
{
	struct item *made =
		calloc(1, sizeof(*made) + from->id.length + from->cell.length + from->vpa.length + from->args.length + 1);
	if (made == NULL)
		return NULL;
	made->told = *from;
	made->told.attempts = made->told.failures = made->told.retries = 0;
	keep(keep(keep(keep(made->bytes, &made->told.id), &made->told.cell), &made->told.vpa), &made->told.args);
	return made;
}

enum status command_queue_add(struct command_queue *queue, const struct queued_command *item, uint64_t now_ms)
{
	if (find(queue, item->id) != NULL)
		return STATUS_CONFLICT;
	struct lane *lane = lane_of(queue, item->cell, item->vpa, now_ms);
	struct item *made = lane == NULL ? NULL : copy(item);
	if (made == NULL || !table_add(&queue->items, item->id, &made->link)) {
		free(made);
		if (lane != NULL)
			lane_close_if_empty(queue, lane);
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

bool command_queue_drop(struct command_queue *queue, struct text id, uint64_t now_ms)
{
	struct item *item = find(queue, id);
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
	table_remove(&queue->items, &item->link);
	free(item);
	if (was_first)
		lane_come_back(queue, lane, now_ms);
	if (was_first && !lane_is_queued(lane))
		lane_due(queue, lane, now_ms);
	lane_close_if_empty(queue, lane);
	return true;
}

const struct queued_command *command_queue_find(const struct command_queue *queue, struct text id)
{
	const struct item *item = find(queue, id);
	return item == NULL ? NULL : &item->told;
}

size_t command_queue_count(const struct command_queue *queue)
{
	return queue->items.count;
}

/* --- sending */

static uint64_t pause_of(unsigned times)
{
	return times > 5 ? PAUSE_MAX_MS : (uint64_t)PAUSE_MS << (times - 1);
}

void command_queue_due(struct command_queue *queue, uint64_t now_ms, size_t maximum,
	void (*send)(void *context, const struct queued_command *item), void *context)
{
	for (size_t sent = 0; sent < maximum && queue->heap_count > 0 && queue->heap[0]->due_ms <= now_ms;) {
		struct lane *lane = queue->heap[0];
		struct item *item = lane->first;
		if (!lane->is_out && lane->window->out == COMMAND_QUEUE_WINDOW) {
			lane_queue_up(queue, lane);
			continue;
		}
		lane->window->out += !lane->is_out;
		lane->is_out = true;
		sent++;
		lane_due(queue, lane, now_ms + pause_of(++item->told.attempts));
		send(context, &item->told);
	}
}

uint64_t command_queue_next_ms(const struct command_queue *queue)
{
	return queue->heap_count == 0 ? UINT64_MAX : queue->heap[0]->due_ms;
}

void command_queue_put_off(struct command_queue *queue, struct text id, uint64_t now_ms, uint64_t pause_ms)
{
	const struct item *item = find(queue, id);
	if (item == NULL || item->lane->first != item || lane_is_queued(item->lane))
		return;
	lane_come_back(queue, item->lane, now_ms);
	lane_due(queue, item->lane, now_ms + pause_ms);
}

/* Spreads what was sent at the same time; FNV-1a of the command and the count. */
static uint64_t spread(uint64_t pause_ms, const struct queued_command *item)
{
	uint64_t hash = UINT64_C(14695981039346656037) ^ item->retries;
	for (size_t i = 0; i < item->id.length; i++)
		hash = (hash ^ (unsigned char)item->id.bytes[i]) * UINT64_C(1099511628211);
	return pause_ms - pause_ms / 5 + (hash >> 16) % (2 * pause_ms / 5 + 1);
}

void command_queue_retry(struct command_queue *queue, struct text id, uint64_t now_ms)
{
	struct item *item = find(queue, id);
	if (item == NULL || item->lane->first != item || !item->lane->is_out)
		return;
	unsigned doublings = item->told.retries < RETRY_DOUBLINGS ? item->told.retries : RETRY_DOUBLINGS;
	uint64_t pause_ms = spread((uint64_t)RETRY_MS << doublings, &item->told);
	item->told.retries++;
	item->lane->window->has_retries = true;
	command_queue_put_off(queue, id, now_ms, pause_ms);
}

void command_queue_does(struct command_queue *queue, struct text cell, uint64_t now_ms)
{
	struct window *window = window_find(queue, cell);
	if (window == NULL || !window->has_retries)
		return;
	window->has_retries = false;
	for (size_t i = 0; i < queue->heap_count; i++) {
		struct lane *lane = queue->heap[i];
		if (lane->window != window || lane->is_out || lane_is_queued(lane) || lane->first->told.retries == 0)
			continue;
		lane->first->told.retries = 0;
		uint64_t due_ms = now_ms + spread(RETRY_MS, &lane->first->told);
		lane->due_ms = lane->due_ms < due_ms ? lane->due_ms : due_ms;
		lane_rise(queue, lane); /* as in command_queue_hurry */
	}
}

unsigned command_queue_fail(struct command_queue *queue, struct text id, uint64_t now_ms)
{
	struct item *item = find(queue, id);
	if (item == NULL)
		return 0;
	if (item->lane->first == item && item->lane->is_out)
		command_queue_put_off(queue, id, now_ms, pause_of(++item->told.failures));
	return item->told.failures;
}

void command_queue_hurry(struct command_queue *queue, struct text cell, uint64_t now_ms)
{
	const struct window *window = window_find(queue, cell);
	for (size_t i = 0; i < queue->heap_count && window != NULL; i++) {
		struct lane *lane = queue->heap[i];
		if (lane->window == window && !lane_is_queued(lane) && lane->due_ms > now_ms) {
			lane->first->told.attempts = lane->first->told.retries = 0;
			lane->due_ms = now_ms;
			lane_rise(
				queue, lane); /* what it changes places with has been seen or is later in the array: due no later */
		}
	}
}

void command_queue_each(
	const struct command_queue *queue, bool (*visit)(void *context, const struct queued_command *item), void *context)
{
	for (size_t i = 0; i < queue->heap_count; i++) {
		for (const struct item *item = queue->heap[i]->first; item != NULL; item = item->next) {
			if (!visit(context, &item->told))
				return;
		}
	}
}

/* --- life */

struct command_queue *command_queue_new(void)
{
	return calloc(1, sizeof(struct command_queue));
}

void command_queue_free(struct command_queue *queue)
{
	if (queue == NULL)
		return;
	while (queue->heap_count > 0) {
		struct lane *lane = queue->heap[0];
		while (lane->first != NULL) {
			struct item *item = lane->first;
			lane->first = item->next;
			table_remove(&queue->items, &item->link);
			free(item);
		}
		lane_close_if_empty(queue, lane);
	}
	table_free(&queue->items);
	table_free(&queue->lanes);
	table_free(&queue->windows);
	free(queue->heap);
	free(queue);
}
