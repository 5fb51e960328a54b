/* For each cell that has joined, a handful of consumers that are kept and not read. */
#include "control/fabric/queues.h"

#include <stdlib.h>

#include "control/orchestration/messages.h"

struct queues {
	struct state *state;
	struct cells *cells;
	struct bus *bus;
	struct text stream;
	const struct setting_texts *activities;
	struct bus_consumer ***kept; /* by slot, ended by NULL; NULL: none */
	uint32_t slots;
	bool is_started;
	struct task start;
};

static struct bus_consumer *keep(
	const struct queues *queues, struct text stream, const struct buffer *durable, const struct buffer *subject)
{
	struct buffer config = {0};
	buffer_append(&config,
		TEXT("{\"ack_policy\":\"explicit\",\"ack_wait\":30000000000,\"max_ack_pending\":64,\"filter_subject\":"));
	buffer_append_json(&config, buffer_text(subject));
	buffer_append_byte(&config, '}');
	const struct bus_consumer_settings settings = {.stream = stream,
		.durable = buffer_text(durable),
		.config = buffer_text(&config),
		.is_queue = true,
		.waits_for_stream = true};
	struct bus_consumer *consumer =
		config.failed || durable->failed || subject->failed ? NULL : bus_consume(queues->bus, &settings, NULL, NULL);
	buffer_free(&config);
	return consumer;
}

static struct bus_consumer *keep_commands(const struct queues *queues, const struct cell_record *cell)
{
	struct buffer durable = {0}, subject = {0};
	buffer_printf(&durable, "cell-%s", cell->external_id);
	buffer_printf(&subject, "celld.cmd.%s.*", cell->external_id);
	struct bus_consumer *consumer = keep(queues, TEXT("celld-cmd"), &durable, &subject);
	buffer_free(&durable);
	buffer_free(&subject);
	return consumer;
}

static struct bus_consumer *keep_activity(
	const struct queues *queues, const struct cell_record *cell, const char *activity)
{
	struct buffer type = {0}, durable = {0}, subject = {0};
	activity_type_of_cell(text_of(activity), text_of(cell->external_id), &type);
	activity_queue(buffer_text(&type), &durable);
	buffer_printf(&subject, "event.%.*s", TEXT_ARGUMENTS(buffer_text(&durable)));
	struct bus_consumer *consumer = type.failed ? NULL : keep(queues, queues->stream, &durable, &subject);
	buffer_free(&type);
	buffer_free(&durable);
	buffer_free(&subject);
	return consumer;
}

static void let_go(struct queues *queues, uint32_t slot)
{
	if (slot >= queues->slots || queues->kept[slot] == NULL)
		return;
	for (struct bus_consumer **one = queues->kept[slot]; *one != NULL; one++)
		bus_consumer_close(*one);
	free(queues->kept[slot]);
	queues->kept[slot] = NULL;
}

static bool reach(struct queues *queues, uint32_t slot)
{
	if (slot < queues->slots)
		return true;
	uint32_t count = slot + 64;
	struct bus_consumer ***kept = realloc(queues->kept, count * sizeof(struct bus_consumer **));
	if (kept == NULL)
		return false;
	memset(kept + queues->slots, 0, (count - queues->slots) * sizeof(struct bus_consumer **));
	queues->kept = kept;
	queues->slots = count;
	return true;
}

/* What cannot be had now is tried again with the cell's next change. */
static void keep_all(struct queues *queues, const struct cell_record *cell)
{
	if (!queues->is_started || cell->is_legacy || cell->epoch == 0 || !reach(queues, cell->slot) ||
		queues->kept[cell->slot] != NULL)
		return;
	struct bus_consumer **kept = calloc(queues->activities->count + 2, sizeof(struct bus_consumer *));
	if (kept == NULL)
		return;
	queues->kept[cell->slot] = kept;
	bool is_whole = (*kept = keep_commands(queues, cell)) != NULL;
	for (size_t i = 0; i < queues->activities->count && is_whole; i++)
		is_whole = (*++kept = keep_activity(queues, cell, queues->activities->items[i])) != NULL;
	if (!is_whole)
		let_go(queues, cell->slot);
}

static void on_cell(void *context, uint32_t slot, const struct cell_record *cell)
{
	if (cell != NULL)
		keep_all(context, cell);
	else
		let_go(context, slot);
}

static bool keep_each(void *context, const struct cell_record *cell)
{
	keep_all(context, cell);
	return true;
}

static void start(struct task *task)
{
	struct queues *queues = (struct queues *)((char *)task - offsetof(struct queues, start));
	queues->is_started = true;
	cells_each(queues->cells, keep_each, queues);
}

enum status queues_open(struct state *state, struct cells *cells, struct bus *bus, struct text stream,
	const struct setting_texts *activities, struct queues **queues)
{
	struct queues *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	*made = (struct queues){
		.state = state, .cells = cells, .bus = bus, .stream = stream, .activities = activities, .start.run = start};
	cells_observe(cells, on_cell, made);
	worker_post(state_worker(state), &made->start);
	*queues = made;
	return STATUS_OK;
}

void queues_free(struct queues *queues)
{
	if (queues == NULL)
		return;
	for (uint32_t slot = 0; slot < queues->slots; slot++)
		free(queues->kept[slot]); /* the consumers went with the bus */
	free(queues->kept);
	free(queues);
}
