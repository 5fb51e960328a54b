/* What waits for cells, for the operator: per cell, and one cell's commands. */
#include <inttypes.h>
#include <stdlib.h>

#include "control/fabric/command_queue.h"
#include "control/fabric/commands.h"
#include "server/base/clock.h"
#include "server/base/table.h"

enum { LISTED_MAX = 1000 };

static int64_t age_of(const struct queued_command *item, int64_t wall_ms)
{
	return item->at_ms > 0 && item->at_ms < wall_ms ? wall_ms - item->at_ms : 0;
}

static void append_command(struct buffer *into, const struct queued_command *item, int64_t wall_ms)
{
	buffer_printf(into, "\"ageMs\":%" PRId64, age_of(item, wall_ms));
	buffer_append_member(into, "op", text_of(command_op_name(item->op)));
	buffer_append_member(into, "vpa", item->vpa);
	buffer_printf(into, ",\"seq\":%" PRId64 ",\"vpaEpoch\":%" PRId64 ",\"sent\":%u,\"failed\":%u", item->seq,
		item->vpa_epoch, item->attempts, item->failures);
	buffer_append_member(into, "id", item->id);
}

static void answer(struct rest_call *call, struct buffer *text)
{
	if (text->failed)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else
		rest_answer(call, 200, buffer_text(text));
	buffer_free(text);
}

/* --- per cell */

struct waiting {
	struct table_link link; /* first */
	struct waiting *next;
	struct text cell; /* the queue's */
	size_t count;
	const struct queued_command *oldest;
};

struct census {
	struct table cells;
	struct waiting *first;
	bool has_failed;
};

static bool is_cell(const struct table_link *link, struct text key)
{
	return text_equals(((const struct waiting *)link)->cell, key);
}

static bool count_one(void *context, const struct queued_command *item)
{
	struct census *census = context;
	struct waiting *cell = (struct waiting *)table_find(&census->cells, item->cell, is_cell);
	if (cell == NULL) {
		cell = calloc(1, sizeof(*cell));
		if (cell == NULL || !table_add(&census->cells, item->cell, &cell->link)) {
			free(cell);
			census->has_failed = true;
			return false;
		}
		*cell = (struct waiting){cell->link, census->first, item->cell, 0, item};
		census->first = cell;
	}
	cell->count++;
	if (item->seq < cell->oldest->seq)
		cell->oldest = item;
	return true;
}

static void list_cells(struct rest_call *call)
{
	const struct commands *commands = call->context;
	struct census census = {.first = NULL};
	struct buffer text = {0};
	int64_t wall_ms = clock_wall_ms();
	command_queue_each(commands_queue(commands), count_one, &census);
	text.failed = census.has_failed;
	buffer_append_byte(&text, '[');
	while (census.first != NULL) {
		struct waiting *cell = census.first;
		buffer_append(&text, TEXT("{\"cell\":"));
		buffer_append_json(&text, cell->cell);
		buffer_printf(&text, ",\"waiting\":%zu,\"isAsked\":%s,\"oldest\":{", cell->count,
			commands_asked(commands, cell->cell) != NULL ? "true" : "false");
		append_command(&text, cell->oldest, wall_ms);
		buffer_printf(&text, "},\"oldestAgeMs\":%" PRId64, age_of(cell->oldest, wall_ms));
		buffer_append_member(&text, "oldestOp", text_of(command_op_name(cell->oldest->op)));
		buffer_append(&text, cell->next == NULL ? TEXT("}") : TEXT("},"));
		census.first = cell->next;
		table_remove(&census.cells, &cell->link);
		free(cell);
	}
	table_free(&census.cells);
	buffer_append_byte(&text, ']');
	answer(call, &text);
}

/* --- of one cell */

struct listing {
	struct text cell;
	struct buffer *into;
	int64_t wall_ms;
	size_t count;
};

static bool list_one(void *context, const struct queued_command *item)
{
	struct listing *listing = context;
	if (!text_equals(item->cell, listing->cell))
		return true;
	buffer_append(listing->into, listing->count == 0 ? TEXT("{") : TEXT(",{"));
	append_command(listing->into, item, listing->wall_ms);
	buffer_append_byte(listing->into, '}');
	return ++listing->count < LISTED_MAX;
}

static void list_commands(struct rest_call *call)
{
	struct buffer text = {0};
	struct listing listing = {call->arguments[0], &text, clock_wall_ms(), 0};
	buffer_append_byte(&text, '[');
	command_queue_each(commands_queue(call->context), list_one, &listing);
	buffer_append_byte(&text, ']');
	answer(call, &text);
}

static const struct rest_endpoint endpoints[] = {
	{.method = "GET", .path = "/commands", .scope = "provision-manager-api:read", .run = list_cells},
	{.method = "GET", .path = "/commands/{cell}", .scope = "provision-manager-api:read", .run = list_commands},
};

enum status commands_serve(struct commands *commands, struct rest *rest)
{
	return rest_add(rest, "/api/celld/v1", endpoints, sizeof(endpoints) / sizeof(endpoints[0]), commands);
}
