/* Commands that wait: which there are, and which is sent next. */
#include <stdlib.h>

#include "control/fabric/outbox_private.h"

enum { PAUSE_MS = 1000, PAUSE_MAX_MS = 30000, RETRY_MS = 500, RETRY_DOUBLINGS = 4 };

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
	made->told.attempts = made->told.failures = made->told.retries = 0;
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
		lane_come_back(outbox, lane, now_ms);
	if (was_first && !lane_is_queued(lane))
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
			lane_queue_up(outbox, lane);
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
	if (item == NULL || item->lane->first != item || lane_is_queued(item->lane))
		return;
	lane_come_back(outbox, item->lane, now_ms);
	lane_due(outbox, item->lane, now_ms + pause_ms);
}

/* Spreads what was sent at the same time; FNV-1a of the command and the count. */
static uint64_t spread(uint64_t pause_ms, const struct outbox_item *item)
{
	uint64_t hash = UINT64_C(14695981039346656037) ^ item->retries;
	for (size_t i = 0; i < item->id.length; i++)
		hash = (hash ^ (unsigned char)item->id.bytes[i]) * UINT64_C(1099511628211);
	return pause_ms - pause_ms / 5 + (hash >> 16) % (2 * pause_ms / 5 + 1);
}

void outbox_retry(struct outbox *outbox, struct text id, uint64_t now_ms)
{
	struct item *item = find(outbox, id);
	if (item == NULL || item->lane->first != item || !item->lane->is_out)
		return;
	unsigned doublings = item->told.retries < RETRY_DOUBLINGS ? item->told.retries : RETRY_DOUBLINGS;
	uint64_t pause_ms = spread((uint64_t)RETRY_MS << doublings, &item->told);
	item->told.retries++;
	item->lane->window->has_retries = true;
	outbox_put_off(outbox, id, now_ms, pause_ms);
}

void outbox_does(struct outbox *outbox, struct text cell, uint64_t now_ms)
{
	struct window *window = window_find(outbox, cell);
	if (window == NULL || !window->has_retries)
		return;
	window->has_retries = false;
	for (size_t i = 0; i < outbox->heap_count; i++) {
		struct lane *lane = outbox->heap[i];
		if (lane->window != window || lane->is_out || lane_is_queued(lane) || lane->first->told.retries == 0)
			continue;
		lane->first->told.retries = 0;
		uint64_t due_ms = now_ms + spread(RETRY_MS, &lane->first->told);
		lane->due_ms = lane->due_ms < due_ms ? lane->due_ms : due_ms;
		lane_rise(outbox, lane); /* as in outbox_hurry */
	}
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
	const struct window *window = window_find(outbox, cell);
	for (size_t i = 0; i < outbox->heap_count && window != NULL; i++) {
		struct lane *lane = outbox->heap[i];
		if (lane->window == window && !lane_is_queued(lane) && lane->due_ms > now_ms) {
			lane->first->told.attempts = lane->first->told.retries = 0;
			lane->due_ms = now_ms;
			lane_rise(
				outbox, lane); /* what it changes places with has been seen or is later in the array: due no later */
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
