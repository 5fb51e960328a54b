/* The answers of cells: what is done is deleted, what cannot be done is parked, the rest is sent again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/fabric/commands_private.h"
#include "control/fabric/parked.h"
#include "server/base/clock.h"
#include "server/base/log.h"

enum { FAILURES_MAX = 10 };

/* A change that follows from an answer; the message is acknowledged after its commit. */
struct closing {
	struct commands *commands;
	char reply[];
};

static void on_closed(void *context, enum status status, int64_t revision)
{
	struct closing *closing = context;
	(void)revision;
	bool is_over = status == STATUS_OK || status == STATUS_NOT_FOUND;
	bus_answer(
		closing->commands->bus, text_of(closing->reply), is_over ? BUS_ACK : BUS_NAK, is_over ? 0 : COMMANDS_RETRY_MS);
	free(closing);
}

/* Takes the transaction (NULL: out of memory). */
static void close_with(struct commands *commands, struct transaction *transaction, bool is_whole, struct text reply)
{
	struct closing *closing = is_whole ? malloc(sizeof(*closing) + reply.length + 1) : NULL;
	if (closing == NULL) {
		transaction_free(transaction);
		bus_answer(commands->bus, reply, BUS_NAK, COMMANDS_RETRY_MS);
		return;
	}
	closing->commands = commands;
	memcpy(closing->reply, reply.bytes, reply.length);
	closing->reply[reply.length] = 0;
	state_submit(commands->state, transaction, on_closed, closing);
}

static void finish(struct commands *commands, const struct command_answer *answer, struct text reply)
{
	struct transaction *transaction = transaction_new();
	bool is_whole = transaction != NULL && state_delete(transaction, RECORD_COMMAND, answer->id, REVISION_ANY);
	close_with(commands, transaction, is_whole, reply);
}

static void append_reason(const struct queued_command *item, const struct command_answer *answer, struct buffer *reason)
{
	if (answer->status == COMMAND_STATUS_DONE)
		buffer_printf(reason,
			"the cell has applied command %" PRId64 " already, and this one is %" PRId64
			": the database is an older copy",
			answer->applied_seq, item->seq);
	else
		buffer_printf(reason, "the cell says %s: %.*s",
			answer->status == COMMAND_STATUS_REJECTED ? "rejected" : "failed, again and again",
			TEXT_ARGUMENTS(answer->code));
}

static void park(struct commands *commands, const struct queued_command *item, const struct command_answer *answer,
	struct text body, struct text reply)
{
	struct transaction *transaction = transaction_new();
	struct buffer record = {0}, subject = {0}, reason = {0};
	buffer_append(&record, TEXT("{\"cell\":"));
	buffer_append_json(&record, item->cell);
	buffer_append(&record, TEXT(",\"vpa\":"));
	buffer_append_json(&record, item->vpa);
	buffer_printf(&record, ",\"vpaEpoch\":%" PRId64 ",\"op\":\"%s\",\"at\":%" PRId64 ",\"args\":%.*s}", item->vpa_epoch,
		command_op_name(item->op), item->at_ms, TEXT_ARGUMENTS(item->args));
	buffer_printf(&subject, "celld.cmd.%.*s.%s", TEXT_ARGUMENTS(item->cell), command_op_lane(item->op));
	append_reason(item, answer, &reason);
	bool is_whole =
		transaction != NULL && !record.failed && !subject.failed && !reason.failed &&
		state_delete(transaction, RECORD_COMMAND, item->id, REVISION_ANY) &&
		parked_add(transaction, buffer_text(&subject), reason.bytes, body, buffer_text(&record), clock_wall_ms());
	LOG(ERROR, "command.parked", log_text("id", item->id), log_text("cell", item->cell), log_text("vpa", item->vpa),
		log_text("reason", buffer_text(&reason)));
	close_with(commands, transaction, is_whole, reply);
	buffer_free(&record);
	buffer_free(&subject);
	buffer_free(&reason);
}

static void park_poison(
	struct commands *commands, const struct bus_message *message, struct text subject, const char *reason)
{
	struct transaction *transaction = transaction_new();
	bool is_whole =
		transaction != NULL && parked_add(transaction, subject, reason, message->body, TEXT_NONE, clock_wall_ms());
	LOG(ERROR, "command.poison", log_text("subject", subject), log_text("reason", text_of(reason)));
	close_with(commands, transaction, is_whole, message->reply);
}

/* A cell could not read a message that came as a command. */
void commands_on_poison(void *context, const struct bus_message *message)
{
	struct text subject = bus_message_header(message, TEXT("Celld-Subject"));
	struct text why = bus_message_header(message, TEXT("Celld-Reason"));
	char reason[200];
	snprintf(reason, sizeof(reason), "the cell cannot read it: %.*s", (int)(why.length > 100 ? 100 : why.length),
		why.length > 0 ? why.bytes : "");
	park_poison(context, message, subject.length > 0 ? subject : message->subject, reason);
}

static void judge(struct commands *commands, const struct command_answer *answer, const struct bus_message *message)
{
	const struct queued_command *item = command_queue_find(commands->queue, answer->id);
	uint64_t now_ms = clock_monotonic_ms();
	if (item == NULL || item->seq != answer->seq || !text_equals(item->cell, answer->cell)) {
		bus_answer(commands->bus, message->reply, BUS_ACK, 0); /* answered before, or none of ours */
		return;
	}
	switch (answer->status) {
	case COMMAND_STATUS_DONE:
		command_queue_does(commands->queue, answer->cell, now_ms);
		if (answer->applied_seq > item->seq) /* it was not this one that was done */
			park(commands, item, answer, message->body, message->reply);
		else
			finish(commands, answer, message->reply);
		return;
	case COMMAND_STATUS_RETRY:
		command_queue_retry(commands->queue, answer->id, now_ms);
		break;
	case COMMAND_STATUS_FAILED:
		if (command_queue_fail(commands->queue, answer->id, now_ms) < FAILURES_MAX)
			break;
		park(commands, item, answer, message->body, message->reply);
		return;
	case COMMAND_STATUS_REJECTED:
		park(commands, item, answer, message->body, message->reply);
		return;
	}
	bus_answer(commands->bus, message->reply, BUS_ACK, 0);
}

void commands_on_answer(void *context, const struct bus_message *message)
{
	struct commands *commands = context;
	struct command_answer answer;
	/* a cell may speak for itself alone: its subject is what the broker has checked */
	struct text from = text_slice(message->subject, sizeof("celld.ack.") - 1, message->subject.length);
	if (command_answer_parse(message->body, &answer) != STATUS_OK) {
		park_poison(commands, message, message->subject, "an answer that makes no sense");
		return;
	}
	if (text_equals(from, answer.cell))
		judge(commands, &answer, message);
	else
		park_poison(commands, message, message->subject, "an answer in the name of another cell");
	command_answer_free(&answer);
}
