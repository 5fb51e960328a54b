/* Commands, their effects, their answers. */
#include <stdio.h>
#include <stdlib.h>

#include "control/cell/orders_private.h"
#include "server/base/clock.h"
#include "server/base/log.h"

enum { NAK_MS = 500, RETRY_MS = 200, PRUNE_MS = 60 * 1000 };

/* --- the records */

static bool is_vpa(const struct table_link *link, struct text key)
{
	return text_equals(((const struct vpa *)link)->told.id, key);
}

static struct vpa *find(const struct orders *orders, struct text id)
{
	return (struct vpa *)table_find(&orders->vpas, id, is_vpa);
}

static void count(struct orders *orders, const struct vpa *vpa, int change)
{
	static const enum orders_figure figures[] = {[CELL_VPA_PREPARED] = FIGURE_PREPARED,
		[CELL_VPA_ACTIVE] = FIGURE_ACTIVE,
		[CELL_VPA_TOMBSTONE] = FIGURE_TOMBSTONES};
	atomic_fetch_add_explicit(&orders->figures[figures[vpa->told.state]], change, memory_order_relaxed);
}

static void forget(struct orders *orders, struct vpa *vpa)
{
	if (vpa == NULL)
		return;
	count(orders, vpa, -1);
	table_remove(&orders->vpas, &vpa->link);
	*vpa->before = vpa->next;
	if (vpa->next != NULL)
		vpa->next->before = vpa->before;
	json_free(vpa->body);
	free(vpa);
}

static bool read_vpa(struct vpa *vpa, const struct record *record)
{
	if (json_parse(record->body, NULL, &vpa->body) != STATUS_OK)
		return false;
	vpa->revision = record->revision;
	vpa->told.ctx = json_member_text(vpa->body, "ctx");
	return order_state_parse(json_member_text(vpa->body, "state"), &vpa->told.state) &&
		   (vpa_type_parse(json_member_text(vpa->body, "type"), &vpa->told.type) ||
			   vpa->told.state == CELL_VPA_TOMBSTONE) && /* of what was never here */
		   json_integer(json_member(vpa->body, "epoch"), &vpa->told.epoch) &&
		   json_integer(json_member(vpa->body, "seq"), &vpa->told.seq);
}

static void note(struct orders *orders, enum orders_figure figure)
{
	atomic_fetch_add_explicit(&orders->figures[figure], 1, memory_order_relaxed);
}

static void note_seq(struct orders *orders, int64_t seq)
{
	if (seq > atomic_load_explicit(&orders->figures[FIGURE_SEQ], memory_order_relaxed))
		atomic_store_explicit(&orders->figures[FIGURE_SEQ], seq, memory_order_relaxed);
}

static void on_vpa(void *context, const struct record *record)
{
	struct orders *orders = context;
	forget(orders, find(orders, record->id));
	if (record->body.bytes == NULL)
		return;
	struct vpa *vpa = calloc(1, sizeof(*vpa) + record->id.length + 1);
	if (vpa == NULL)
		abort(); /* a command would be applied twice */
	memcpy(vpa->bytes, record->id.bytes, record->id.length);
	vpa->told.id = (struct text){vpa->bytes, record->id.length};
	if (!read_vpa(vpa, record)) {
		LOG(ERROR, "orders.unreadable", log_text("vpa", record->id));
		json_free(vpa->body);
		free(vpa);
		return;
	}
	if (!table_add(&orders->vpas, vpa->told.id, &vpa->link))
		abort();
	vpa->next = orders->first;
	vpa->before = &orders->first;
	if (vpa->next != NULL)
		vpa->next->before = &vpa->next;
	orders->first = vpa;
	count(orders, vpa, 1);
	note_seq(orders, vpa->told.seq);
}

static void on_own(void *context, const struct record *record)
{
	struct orders *orders = context;
	struct json *root = NULL;
	if (!text_equals(record->id, TEXT("orders")) || record->body.bytes == NULL ||
		json_parse(record->body, NULL, &root) != STATUS_OK)
		return;
	struct own own = {.revision = record->revision, .is_busy = orders->own.is_busy};
	json_integer(json_member(root, "term"), &own.term);
	json_integer(json_member(root, "seq"), &own.seq);
	json_integer(json_member(root, "epoch"), &own.epoch);
	json_integer(json_member(root, "floor"), &own.floor);
	json_bool(json_member(root, "cordoned"), &own.is_cordoned);
	json_bool(json_member(root, "draining"), &own.is_draining);
	orders->own = own;
	note_seq(orders, own.seq);
	atomic_store_explicit(&orders->figures[FIGURE_FLOOR], own.floor, memory_order_relaxed);
	atomic_store_explicit(&orders->is_cordoned, own.is_cordoned, memory_order_relaxed);
	atomic_store_explicit(&orders->is_draining, own.is_draining, memory_order_relaxed);
	json_free(root);
}

/* --- answering */

static void order_free(struct order *order)
{
	command_free(&order->command);
	free(order);
}

static void on_answered(void *context, enum status status, uint64_t sequence, bool is_duplicate)
{
	struct order *order = context;
	(void)sequence;
	(void)is_duplicate;
	/* not heard: the message comes again, and with it the answer */
	bus_answer(order->orders->bus, text_of(order->reply), status == STATUS_OK ? BUS_ACK : BUS_NAK,
		status == STATUS_OK ? 0 : NAK_MS);
	order_free(order);
}

static void answer(struct order *order, enum command_status status, const char *code)
{
	struct orders *orders = order->orders;
	struct buffer body = {0}, subject = {0};
	const struct command_answer answer = {.id = order->command.id,
		.cell = text_of(orders->cell_id),
		.code = text_of(code),
		.cell_epoch = order->epoch,
		.seq = order->command.seq,
		.applied_seq = order->applied_seq,
		.status = status};
	command_answer_print(&body, &answer);
	buffer_printf(&subject, "celld.ack.%s", orders->cell_id);
	if (body.failed || subject.failed)
		abort();
	bus_publish(orders->bus, buffer_text(&subject), TEXT_NONE, NULL, 0, buffer_text(&body), on_answered, order);
	buffer_free(&body);
	buffer_free(&subject);
}

/* --- applying */

static void apply(struct orders *orders, struct order *order, struct vpa *vpa);

static bool has_data_planes(const struct order *order)
{
	return order->command.op == COMMAND_VPA_ACTIVATE && !order->has_no_context &&
		   json_count(json_member(order->command.args, "dataplanes")) > 0;
}

/* The store will never take it. Whatever else keeps it from that passes, a database that is away for hours too: a
 * command that is given up for it would be lost, and the next one for its VPA done without it. */
static bool is_final(enum status status)
{
	return status == STATUS_INVALID || status == STATUS_TOO_LARGE;
}

static void on_committed(void *context, enum status status, int64_t revision)
{
	struct order *order = context;
	struct orders *orders = order->orders;
	(void)revision;
	struct vpa *vpa = find(orders, order->command.vpa);
	if (vpa != NULL)
		vpa->is_busy = false;
	if (order->is_own_change)
		orders->own.is_busy = false;
	if (status == STATUS_NOT_FOUND && has_data_planes(order)) {
		/* the participant has been disposed of before its VPA was activated here */
		order->has_no_context = true;
		apply(orders, order, vpa);
		return;
	}
	if (status == STATUS_OK) {
		note(orders, FIGURE_APPLIED);
		answer(order, COMMAND_STATUS_DONE, "");
	} else if (status == STATUS_CONFLICT || status == STATUS_NOT_FOUND) /* another process of the cell was faster */
		answer(order, COMMAND_STATUS_RETRY, "BUSY");
	else
		answer(order, is_final(status) ? COMMAND_STATUS_FAILED : COMMAND_STATUS_RETRY, status_name(status));
}

static void refuse(struct order *order, const char *code)
{
	note(order->orders, FIGURE_REFUSED);
	LOG(ERROR, "orders.refused", log_text("id", order->command.id), log_text("vpa", order->command.vpa),
		log_text("op", text_of(command_op_name(order->command.op))), log_text("code", text_of(code)));
	answer(order, COMMAND_STATUS_REJECTED, code);
}

static void apply(struct orders *orders, struct order *order, struct vpa *vpa)
{
	const char *wrong = order_check(&order->command, vpa);
	order->is_own_change = order->command.vpa.length == 0 || order->command.term > orders->own.term;
	if (wrong != NULL) {
		refuse(order, wrong);
		return;
	}
	if ((order->is_own_change && orders->own.is_busy) || (vpa != NULL && vpa->is_busy)) {
		bus_answer(orders->bus, text_of(order->reply), BUS_NAK, RETRY_MS);
		order_free(order);
		return;
	}
	struct transaction *transaction = transaction_new();
	if (transaction == NULL || !order_build(transaction, orders, order, vpa)) {
		transaction_free(transaction);
		answer(order, COMMAND_STATUS_RETRY, status_name(STATUS_NO_MEMORY));
		return;
	}
	if (order->is_own_change)
		orders->own.is_busy = true;
	if (vpa != NULL)
		vpa->is_busy = true;
	state_submit(orders->state, transaction, on_committed, order);
}

static void judge(struct orders *orders, struct order *order)
{
	const struct command *command = &order->command;
	struct vpa *vpa = find(orders, command->vpa);
	const struct command_cell cell = {text_of(orders->cell_id), orders->epoch, orders->own.term, orders->own.floor};
	struct command_target target = {.is_known = vpa != NULL};
	if (vpa != NULL) {
		target.seq = vpa->told.seq;
		target.epoch = vpa->told.epoch;
	} else if (command->vpa.length == 0) {
		target = (struct command_target){orders->own.seq > 0, orders->own.seq, orders->own.epoch};
	}
	enum command_verdict verdict = command_judge(&cell, &target, command);
	switch (verdict) {
	case COMMAND_VERDICT_APPLY:
		apply(orders, order, vpa);
		return;
	case COMMAND_VERDICT_APPLIED:
		note(orders, FIGURE_REPEATED);
		order->applied_seq = target.seq > command->seq ? target.seq : 0;
		answer(order, COMMAND_STATUS_DONE, "");
		return;
	case COMMAND_VERDICT_STALE_TERM:
	case COMMAND_VERDICT_STALE_CELL: /* the fabric sends it again, with what is true then */
		answer(order, COMMAND_STATUS_RETRY, command_verdict_code(verdict));
		return;
	case COMMAND_VERDICT_FOREIGN:
	case COMMAND_VERDICT_STALE_VPA:
		refuse(order, command_verdict_code(verdict));
		return;
	}
}

/* --- messages */

/* What cannot be read goes to the fabric, which parks it. */
static void report_poison(struct orders *orders, const struct bus_message *message, const char *why)
{
	struct buffer subject = {0};
	const struct bus_header headers[] = {
		{TEXT("Celld-Reason"), text_of(why)}, {TEXT("Celld-Subject"), message->subject}};
	buffer_printf(&subject, "celld.evt.%s.poison", orders->cell_id);
	LOG(ERROR, "orders.poison", log_text("subject", message->subject), log_text("why", text_of(why)));
	if (!subject.failed)
		bus_send(orders->bus, buffer_text(&subject), headers, 2, message->body);
	buffer_free(&subject);
	note(orders, FIGURE_POISON);
	bus_answer(orders->bus, message->reply, BUS_TERM, 0);
}

static void on_message(void *context, const struct bus_message *message)
{
	struct orders *orders = context;
	struct order *order = calloc(1, sizeof(*order));
	const char *why = NULL;
	if (order == NULL || orders->epoch == 0) {
		free(order);
		bus_answer(orders->bus, message->reply, BUS_NAK, NAK_MS);
		return;
	}
	order->orders = orders;
	order->epoch = orders->epoch;
	snprintf(order->reply, sizeof(order->reply), "%.*s", TEXT_ARGUMENTS(message->reply));
	if (command_parse(message->body, &order->command, &why) != STATUS_OK) {
		report_poison(orders, message, why);
		free(order);
		return;
	}
	judge(orders, order);
}

/* --- life */

static void on_pruning(void *context)
{
	struct orders *orders = context;
	timer_set(orders->pruning, PRUNE_MS);
	tombstones_prune(orders, clock_wall_ms());
}

void orders_join(struct orders *orders, struct bus *bus, struct text cell_id, int64_t epoch)
{
	orders->bus = bus;
	orders->epoch = epoch;
	snprintf(orders->cell_id, sizeof(orders->cell_id), "%.*s", TEXT_ARGUMENTS(cell_id));
	if (orders->pruning == NULL) {
		orders->pruning = timer_new(state_worker(orders->state), on_pruning, orders);
		if (orders->pruning != NULL)
			timer_set(orders->pruning, 0);
	}
	if (orders->consumer != NULL)
		return;
	char durable[ORDERS_NAME_LENGTH + 8];
	int length = snprintf(durable, sizeof(durable), "cell-%s", orders->cell_id);
	const struct bus_consumer_settings settings = {.stream = TEXT("celld-cmd"),
		.durable = {durable, (size_t)length},
		.batch = 64,
		.is_reader_only = true,
		.waits_for_stream = true};
	orders->consumer = bus_consume(bus, &settings, on_message, orders);
}

void orders_fence(struct orders *orders)
{
	orders->epoch = 0;
}

void orders_applied(const struct orders *orders, int64_t *term, int64_t *number)
{
	int64_t seq = atomic_load_explicit(&orders->figures[FIGURE_SEQ], memory_order_relaxed);
	*term = orders->own.term;
	*number = seq > orders->own.floor ? seq : orders->own.floor;
}

void orders_print(struct orders *orders, struct buffer *into)
{
	static const char *const names[] = {
#define FIGURE_NAME(name, text) text,
		ORDERS_FIGURE_LIST(FIGURE_NAME)
#undef FIGURE_NAME
	};
	buffer_printf(into, "{\"cordoned\":%s,\"draining\":%s",
		atomic_load_explicit(&orders->is_cordoned, memory_order_relaxed) ? "true" : "false",
		atomic_load_explicit(&orders->is_draining, memory_order_relaxed) ? "true" : "false");
	for (size_t i = 0; i < FIGURE_COUNT; i++)
		buffer_printf(into, ",\"%s\":%lld", names[i], atomic_load_explicit(&orders->figures[i], memory_order_relaxed));
	buffer_append_byte(into, '}');
}

enum status orders_open(struct state *state, struct orders **orders)
{
	struct orders *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->state = state;
	state_watch(state, RECORD_VPA, on_vpa, NULL, made);
	state_watch(state, RECORD_CELL_STATE, on_own, NULL, made);
	*orders = made;
	return STATUS_OK;
}

void orders_free(struct orders *orders)
{
	if (orders == NULL)
		return;
	timer_free(orders->pruning);
	while (orders->first != NULL)
		forget(orders, orders->first);
	table_free(&orders->vpas);
	free(orders);
}
