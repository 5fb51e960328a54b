/* Records become the queue, the queue becomes messages, answers delete records. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/fabric/commands_private.h"
#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/log.h"

enum {
	TICK_MS = 20,
	SEND_MAX = 1024, /* on their way to the stream at once */
	ENSURE_MS = 2000,
	CHECK_MS = 10000, /* somebody may delete a stream */
	AWAY_MS = 5000    /* a cell that has never joined, or is not reachable, is not asked */
};

static const char command_stream[] =
	"{\"name\":\"celld-cmd\",\"subjects\":[\"celld.cmd.*.*\"],\"retention\":\"workqueue\",\"storage\":\"file\","
	"\"discard\":\"new\",\"max_age\":604800000000000,\"duplicate_window\":3600000000000}";
/* What is dropped when it is full is said again. A broker takes the room away from the others at once: there must be
 * some. */
static const char event_stream[] =
	"{\"name\":\"celld-evt\",\"subjects\":[\"celld.evt.*.>\",\"celld.ack.*\"],\"retention\":\"limits\","
	"\"storage\":\"file\",\"max_age\":604800000000000,\"max_bytes\":134217728}";

/* --- writing */

bool commands_add(struct transaction *transaction, const struct cell_record *cell, struct text vpa, int64_t vpa_epoch,
	enum command_op op, struct text args)
{
	if (cell->is_legacy)
		return true;
	struct buffer body = {0};
	char id[ID_LENGTH + 1];
	id_random(id);
	buffer_append(&body, TEXT("{\"cell\":"));
	buffer_append_json(&body, text_of(cell->external_id));
	buffer_append(&body, TEXT(",\"vpa\":"));
	buffer_append_json(&body, vpa);
	buffer_printf(&body, ",\"vpaEpoch\":%" PRId64 ",\"op\":\"%s\",\"at\":%" PRId64 ",\"args\":", vpa_epoch,
		command_op_name(op), clock_wall_ms());
	buffer_append(&body, args);
	buffer_append_byte(&body, '}');
	bool is_added =
		!body.failed && state_put(transaction, RECORD_COMMAND, text_of(id), buffer_text(&body), REVISION_ABSENT);
	buffer_free(&body);
	return is_added;
}

/* --- what the state tells */

static void take(struct commands *commands, const struct record *record)
{
	struct json *root = NULL;
	struct buffer args = {0};
	struct queued_command item = {.id = record->id, .seq = record->revision};
	if (record->revision > commands->adopted)
		item.seq += commands->shift;
	if (json_parse(record->body, NULL, &root) != STATUS_OK ||
		!command_op_parse(json_member_text(root, "op"), &item.op) ||
		!json_integer(json_member(root, "vpaEpoch"), &item.vpa_epoch)) {
		LOG(ERROR, "command.unreadable", log_text("id", record->id));
		json_free(root);
		return;
	}
	item.cell = json_member_text(root, "cell");
	item.vpa = json_member_text(root, "vpa");
	json_integer(json_member(root, "at"), &item.at_ms);
	json_print(json_member(root, "args"), &args);
	item.args = buffer_text(&args);
	enum status status = command_queue_add(commands->queue, &item, clock_monotonic_ms());
	if (status == STATUS_NO_MEMORY)
		abort(); /* a command that is never sent */
	buffer_free(&args);
	json_free(root);
}

static void on_record(void *context, const struct record *record)
{
	struct commands *commands = context;
	if (record->body.bytes == NULL)
		command_queue_drop(commands->queue, record->id, clock_monotonic_ms());
	else
		take(commands, record);
}

/* --- sending */

/* A message on its way to the stream. */
struct sending {
	struct commands *commands;
	char id[];
};

static void on_published(void *context, enum status status, uint64_t sequence, bool is_duplicate)
{
	struct sending *sending = context;
	(void)sequence;
	(void)is_duplicate;
	struct commands *commands = sending->commands;
	commands->publishing--;
	if (status == STATUS_UNAVAILABLE || status == STATUS_NOT_FOUND) { /* no stream, or no broker */
		commands->has_stream = false;
		timer_set(commands->ensure, COMMANDS_RETRY_MS);
		command_queue_put_off(commands->queue, text_of(sending->id), clock_monotonic_ms(), COMMANDS_RETRY_MS);
	} else if (status != STATUS_OK) { /* a full stream, a slow one: again when it is due */
		commands->refused++;
	}
	free(sending);
}

/* Is there somebody to ask? An intermittent cell is: the stream keeps the message. */
static bool is_asked(const struct cell_record *cell)
{
	return cell != NULL && cell->epoch > 0 && cell->mode != CELL_FENCED && cell->mode != CELL_GONE &&
		   (!cell_health_is_gone(cell->health) || (cell->definition != NULL && cell->definition->is_intermittent));
}

static void send_item(void *context, const struct queued_command *item)
{
	struct commands *commands = context;
	const struct cell_record *cell = cells_find_external(commands->cells, item->cell);
	struct sending *sending = is_asked(cell) ? malloc(sizeof(*sending) + item->id.length + 1) : NULL;
	if (sending == NULL) {
		command_queue_put_off(commands->queue, item->id, clock_monotonic_ms(), AWAY_MS);
		return;
	}
	sending->commands = commands;
	memcpy(sending->id, item->id.bytes, item->id.length);
	sending->id[item->id.length] = 0;
	const struct command command = {.id = item->id,
		.cell = item->cell,
		.vpa = item->vpa,
		.cell_epoch = cell->epoch,
		.term = commands->term,
		.seq = item->seq,
		.vpa_epoch = item->vpa_epoch,
		.op = item->op};
	struct buffer body = {0}, subject = {0}, message_id = {0};
	command_print(&body, &command, item->args);
	buffer_printf(&subject, "celld.cmd.%.*s.%s", TEXT_ARGUMENTS(item->cell), command_op_lane(item->op));
	/* each sending is another message to the broker, after a restart too: only then does it reach a cell whose answer
	 * was lost */
	buffer_printf(&message_id, "%s:%" PRIu64, commands->run, ++commands->sendings);
	if (body.failed || subject.failed || message_id.failed)
		abort();
	commands->publishing++;
	bus_publish(commands->bus, buffer_text(&subject), buffer_text(&message_id), NULL, 0, buffer_text(&body),
		on_published, sending);
	buffer_free(&body);
	buffer_free(&subject);
	buffer_free(&message_id);
}

static void send_due(struct commands *commands)
{
	if (commands->is_leader && !commands->is_held && commands->has_stream && bus_is_up(commands->bus) &&
		commands->publishing < SEND_MAX)
		command_queue_due(commands->queue, clock_monotonic_ms(), SEND_MAX - commands->publishing, send_item, commands);
}

static void on_tick(void *context)
{
	struct commands *commands = context;
	send_due(commands);
	timer_set(commands->tick, TICK_MS);
}

/* What was just written need not wait for the tick. At load there is no tick yet. */
static void on_batch(void *context)
{
	struct commands *commands = context;
	if (commands->tick != NULL)
		send_due(commands);
}

/* --- streams and consumers */

/* What could not be had is asked for again, as long as there is a broker. */
static void follow_up(struct commands *commands, enum status status, const char *event, struct text error)
{
	if (status == STATUS_OK || status == STATUS_CLOSED)
		return;
	if (status != STATUS_UNAVAILABLE && status != STATUS_TIMEOUT)
		LOG(ERROR, event, log_text("status", text_of(status_text(status))), log_text("error", error));
	timer_set(commands->ensure, ENSURE_MS);
}

static void on_command_stream(void *context, enum status status, struct text error)
{
	struct commands *commands = context;
	commands->has_stream = status == STATUS_OK;
	follow_up(commands, status, "command.stream", error);
}

static void on_event_stream(void *context, enum status status, struct text error)
{
	struct commands *commands = context;
	follow_up(commands, status, "command.events", error);
}

static void ensure_streams(void *context)
{
	struct commands *commands = context;
	if (!bus_is_up(commands->bus))
		return;
	timer_set(commands->ensure, CHECK_MS);
	bus_stream_ensure(commands->bus, TEXT("celld-cmd"), text_of(command_stream), on_command_stream, commands);
	bus_stream_ensure(commands->bus, TEXT("celld-evt"), text_of(event_stream), on_event_stream, commands);
}

/* A broker that comes back may have lost its store. */
static void on_bus(void *context, bool is_up)
{
	struct commands *commands = context;
	commands->has_stream = false;
	if (is_up && commands->ensure != NULL)
		ensure_streams(commands);
}

static void on_cell(void *context, uint32_t slot, const struct cell_record *cell)
{
	struct commands *commands = context;
	(void)slot;
	if (is_asked(cell))
		command_queue_hurry(commands->queue, text_of(cell->external_id), clock_monotonic_ms());
}

static void start(struct task *task)
{
	struct commands *commands = (struct commands *)((char *)task - offsetof(struct commands, start));
	const struct bus_consumer_settings settings = {.stream = TEXT("celld-evt"),
		.durable = TEXT("cfm-evt"),
		.config = TEXT("{\"ack_policy\":\"explicit\",\"filter_subject\":\"celld.ack.*\",\"ack_wait\":30000000000}"),
		.batch = 256,
		.waits_for_stream = true};
	commands->tick = timer_new(state_worker(commands->state), on_tick, commands);
	commands->ensure = timer_new(state_worker(commands->state), ensure_streams, commands);
	commands->answers = bus_consume(commands->bus, &settings, commands_on_answer, commands);
	const struct bus_consumer_settings poison = {.stream = TEXT("celld-evt"),
		.durable = TEXT("cfm-poison"),
		.config = TEXT("{\"ack_policy\":\"explicit\",\"filter_subject\":\"celld.evt.*.poison\"}"),
		.batch = 16,
		.waits_for_stream = true};
	commands->poison = bus_consume(commands->bus, &poison, commands_on_poison, commands);
	if (commands->tick == NULL || commands->ensure == NULL || commands->answers == NULL || commands->poison == NULL)
		abort();
	timer_set(commands->tick, TICK_MS);
	ensure_streams(commands);
}

void commands_lead(struct commands *commands, bool is_leader, int64_t term)
{
	commands->is_leader = is_leader;
	commands->term = term;
}

void commands_hold(struct commands *commands, bool is_held)
{
	commands->is_held = is_held;
}

void commands_adopt(struct commands *commands, int64_t revision, int64_t shift)
{
	commands->adopted = revision;
	commands->shift = shift;
}

const struct command_queue *commands_queue(const struct commands *commands)
{
	return commands->queue;
}

const struct cell_record *commands_asked(const struct commands *commands, struct text cell)
{
	const struct cell_record *found = cells_find_external(commands->cells, cell);
	return is_asked(found) ? found : NULL;
}

void commands_line(const struct commands *commands, struct buffer *into)
{
	buffer_printf(into, "%zu commands wait for their cells", command_queue_count(commands->queue));
	if (commands->is_held)
		buffer_append(into, TEXT("; none is sent while the database is behind its cells"));
	else if (!commands->is_leader)
		buffer_append(into, TEXT("; another replica sends them"));
	else if (!commands->has_stream)
		buffer_append(into, TEXT("; there is no stream to send them to"));
	if (commands->refused > 0)
		buffer_printf(into, "; %" PRIu64 " were not taken at once by the stream", commands->refused);
}

enum status commands_open(struct state *state, struct cells *cells, struct bus *bus, struct commands **commands)
{
	struct commands *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	*made =
		(struct commands){.state = state, .cells = cells, .bus = bus, .queue = command_queue_new(), .start.run = start};
	if (made->queue == NULL) {
		free(made);
		return STATUS_NO_MEMORY;
	}
	id_random(made->run);
	state_watch(state, RECORD_COMMAND, on_record, on_batch, made);
	cells_observe(cells, on_cell, made);
	bus_on_state(bus, on_bus, made);
	worker_post(state_worker(state), &made->start);
	*commands = made;
	return STATUS_OK;
}

void commands_free(struct commands *commands)
{
	if (commands == NULL)
		return;
	timer_free(commands->tick);
	timer_free(commands->ensure);
	command_queue_free(commands->queue);
	free(commands);
}
