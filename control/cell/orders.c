/* Commands, their effects, their answers. */
#include "control/cell/orders.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/log.h"
#include "server/base/table.h"

enum { NAK_MS = 500, RETRY_MS = 200, NAME_LENGTH = 128 };

/* A VPA as its record says. */
struct vpa {
	struct table_link link; /* first */
	struct vpa *next, **before;
	struct cell_vpa told; /* its texts lie in `bytes` */
	int64_t revision;
	bool is_busy; /* a command for it is being committed */
	struct json *body;
	char bytes[];
};

/* The cell itself as a target of commands. */
struct own {
	int64_t revision, term, seq, epoch;
	bool is_cordoned, is_draining, is_busy;
};

struct orders {
	struct state *state;
	struct bus *bus;
	struct bus_consumer *consumer;
	struct table vpas;
	struct vpa *first;
	int64_t counts[VPA_TYPE_COUNT];
	struct own own;
	char cell_id[NAME_LENGTH];
	int64_t epoch; /* 0: not joined, or fenced */
};

static const char *const states[] = {
#define STATE_ROW(name, text) text,
	CELL_VPA_STATE_LIST(STATE_ROW)
#undef STATE_ROW
};

/* --- the records */

static bool is_vpa(const struct table_link *link, struct text key)
{
	return text_equals(((const struct vpa *)link)->told.id, key);
}

static struct vpa *find(const struct orders *orders, struct text id)
{
	return (struct vpa *)table_find(&orders->vpas, id, is_vpa);
}

static bool type_parse(struct text text, enum vpa_type *type)
{
	for (unsigned i = 0; i < VPA_TYPE_COUNT; i++) {
		if (!text_equals(text, text_of(vpa_type_name((enum vpa_type)i))))
			continue;
		*type = (enum vpa_type)i;
		return true;
	}
	return false;
}

static bool state_parse(struct text text, enum cell_vpa_state *state)
{
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		if (!text_equals(text, text_of(states[i])))
			continue;
		*state = (enum cell_vpa_state)i;
		return true;
	}
	return false;
}

static void forget(struct orders *orders, struct vpa *vpa)
{
	if (vpa == NULL)
		return;
	orders->counts[vpa->told.type] -= vpa->told.state != CELL_VPA_TOMBSTONE;
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
	return type_parse(json_member_text(vpa->body, "type"), &vpa->told.type) &&
		   state_parse(json_member_text(vpa->body, "state"), &vpa->told.state) &&
		   json_integer(json_member(vpa->body, "epoch"), &vpa->told.epoch) &&
		   json_integer(json_member(vpa->body, "seq"), &vpa->told.seq);
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
	orders->counts[vpa->told.type] += vpa->told.state != CELL_VPA_TOMBSTONE;
}

static void on_own(void *context, const struct record *record)
{
	struct orders *orders = context;
	struct json *root = NULL;
	if (!text_equals(record->id, TEXT("orders")) || record->body.bytes == NULL ||
		json_parse(record->body, NULL, &root) != STATUS_OK)
		return;
	struct own own = {.revision = record->revision};
	json_integer(json_member(root, "term"), &own.term);
	json_integer(json_member(root, "seq"), &own.seq);
	json_integer(json_member(root, "epoch"), &own.epoch);
	json_bool(json_member(root, "cordoned"), &own.is_cordoned);
	json_bool(json_member(root, "draining"), &own.is_draining);
	orders->own = own;
	json_free(root);
}

/* --- answering */

/* A command on its way: from its message to the acknowledgement. */
struct order {
	struct orders *orders;
	struct command command;
	int64_t epoch;
	char reply[256];
};

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
		.status = status};
	command_answer_print(&body, &answer);
	buffer_printf(&subject, "celld.ack.%s", orders->cell_id);
	if (body.failed || subject.failed)
		abort();
	bus_publish(orders->bus, buffer_text(&subject), TEXT_NONE, NULL, 0, buffer_text(&body), on_answered, order);
	buffer_free(&body);
	buffer_free(&subject);
}

/* --- effects */

static bool put_vpa(
	struct transaction *transaction, const struct order *order, const struct vpa *vpa, enum cell_vpa_state state)
{
	const struct command *command = &order->command;
	struct json *body = vpa == NULL ? json_copy(command->args) : json_copy(vpa->body);
	const struct json *ctx = json_member(command->args, "participantContextId");
	struct buffer text = {0};
	json_remove(body, "state");
	json_remove(body, "epoch");
	json_remove(body, "seq");
	bool is_built = body != NULL && json_add_text(body, "state", text_of(states[state])) &&
					json_add_integer(body, "epoch", command->vpa_epoch) &&
					json_add_integer(body, "seq", command->seq) &&
					(ctx == NULL || json_set(body, "ctx", json_copy(ctx)));
	json_print(body, &text);
	json_free(body);
	is_built = is_built && !text.failed &&
			   state_put(transaction, RECORD_VPA, command->vpa, buffer_text(&text),
				   vpa == NULL ? REVISION_ABSENT : vpa->revision);
	buffer_free(&text);
	return is_built;
}

static bool put_own(struct transaction *transaction, const struct orders *orders, const struct order *order,
	bool is_cordoned, bool is_draining)
{
	struct buffer text = {0};
	bool is_for_cell = order->command.vpa.length == 0;
	buffer_printf(&text,
		"{\"term\":%" PRId64 ",\"seq\":%" PRId64 ",\"epoch\":%" PRId64 ",\"cordoned\":%s,\"draining\":%s}",
		order->command.term, is_for_cell ? order->command.seq : orders->own.seq,
		is_for_cell ? order->command.vpa_epoch : orders->own.epoch, is_cordoned ? "true" : "false",
		is_draining ? "true" : "false");
	bool is_put = !text.failed && state_put(transaction, RECORD_CELL_STATE, TEXT("orders"), buffer_text(&text),
									  orders->own.revision == 0 ? REVISION_ABSENT : orders->own.revision);
	buffer_free(&text);
	return is_put;
}

/* What is wrong with the command's arguments; NULL: nothing. */
static const char *check(const struct command *command, const struct vpa *vpa)
{
	enum vpa_type type;
	struct text ctx = json_member_text(command->args, "participantContextId");
	bool is_of_cell = command->op >= COMMAND_CELL_CORDON;
	if (is_of_cell != (command->vpa.length == 0))
		return "VPA_AND_OP_DISAGREE";
	if (command->op == COMMAND_VPA_PREPARE && !type_parse(json_member_text(command->args, "type"), &type))
		return "UNKNOWN_TYPE";
	if (command->op == COMMAND_VPA_ACTIVATE && (vpa == NULL || vpa->told.state == CELL_VPA_TOMBSTONE))
		return "NOT_PREPARED";
	if (command->op == COMMAND_VPA_ACTIVATE && !id_is_valid(ctx))
		return "NO_CONTEXT";
	return NULL;
}

/* The transaction of the effect; false: out of memory. A tombstone of what was never here is remembered too. */
static bool build(
	struct transaction *transaction, const struct orders *orders, const struct order *order, const struct vpa *vpa)
{
	switch (order->command.op) {
	case COMMAND_VPA_PREPARE:
		return put_vpa(transaction, order, vpa, CELL_VPA_PREPARED);
	case COMMAND_VPA_ACTIVATE:
		return put_vpa(transaction, order, vpa, CELL_VPA_ACTIVE);
	case COMMAND_VPA_TOMBSTONE:
		return put_vpa(transaction, order, vpa, CELL_VPA_TOMBSTONE);
	case COMMAND_CELL_CORDON:
		return put_own(transaction, orders, order, true, orders->own.is_draining);
	case COMMAND_CELL_UNCORDON:
		return put_own(transaction, orders, order, false, false);
	case COMMAND_CELL_DRAIN:
		return put_own(transaction, orders, order, true, true);
	case COMMAND_OP_COUNT:
		break;
	}
	return false;
}

static void on_committed(void *context, enum status status, int64_t revision)
{
	struct order *order = context;
	struct orders *orders = order->orders;
	(void)revision;
	struct vpa *vpa = find(orders, order->command.vpa);
	if (vpa != NULL)
		vpa->is_busy = false;
	orders->own.is_busy = false;
	if (status == STATUS_OK)
		answer(order, COMMAND_STATUS_DONE, "");
	else if (status == STATUS_CONFLICT || status == STATUS_NOT_FOUND) /* another process of the cell was faster */
		answer(order, COMMAND_STATUS_RETRY, "BUSY");
	else
		answer(order, COMMAND_STATUS_FAILED, status_name(status));
}

static void apply(struct orders *orders, struct order *order, struct vpa *vpa)
{
	const char *wrong = check(&order->command, vpa);
	bool is_busy = order->command.vpa.length == 0 || order->command.term > orders->own.term
					   ? orders->own.is_busy
					   : vpa != NULL && vpa->is_busy;
	if (wrong != NULL) {
		answer(order, COMMAND_STATUS_REJECTED, wrong);
		return;
	}
	if (is_busy) {
		bus_answer(orders->bus, text_of(order->reply), BUS_NAK, RETRY_MS);
		order_free(order);
		return;
	}
	struct transaction *transaction = transaction_new();
	bool is_whole = transaction != NULL && build(transaction, orders, order, vpa);
	/* a new leader is remembered with its first command */
	if (is_whole && order->command.vpa.length > 0 && order->command.term > orders->own.term) {
		is_whole = put_own(transaction, orders, order, orders->own.is_cordoned, orders->own.is_draining);
		orders->own.is_busy = true;
	}
	if (!is_whole) {
		transaction_free(transaction);
		answer(order, COMMAND_STATUS_FAILED, status_name(STATUS_NO_MEMORY));
		return;
	}
	if (order->command.vpa.length == 0)
		orders->own.is_busy = true;
	if (vpa != NULL)
		vpa->is_busy = true;
	state_submit(orders->state, transaction, on_committed, order);
}

static void judge(struct orders *orders, struct order *order)
{
	const struct command *command = &order->command;
	struct vpa *vpa = find(orders, command->vpa);
	const struct command_cell cell = {text_of(orders->cell_id), orders->epoch, orders->own.term, 0};
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
		answer(order, COMMAND_STATUS_DONE, "");
		return;
	case COMMAND_VERDICT_STALE_TERM:
	case COMMAND_VERDICT_STALE_CELL: /* the fabric sends it again, with what is true then */
		answer(order, COMMAND_STATUS_RETRY, command_verdict_code(verdict));
		return;
	case COMMAND_VERDICT_FOREIGN:
	case COMMAND_VERDICT_STALE_VPA:
		answer(order, COMMAND_STATUS_REJECTED, command_verdict_code(verdict));
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

void orders_join(struct orders *orders, struct bus *bus, struct text cell_id, int64_t epoch)
{
	orders->bus = bus;
	orders->epoch = epoch;
	snprintf(orders->cell_id, sizeof(orders->cell_id), "%.*s", TEXT_ARGUMENTS(cell_id));
	if (orders->consumer != NULL)
		return;
	char durable[NAME_LENGTH + 8];
	int length = snprintf(durable, sizeof(durable), "cell-%s", orders->cell_id);
	const struct bus_consumer_settings settings = {.stream = TEXT("celld-cmd"),
		.durable = {durable, (size_t)length},
		.batch = 16,
		.is_reader_only = true,
		.waits_for_stream = true};
	orders->consumer = bus_consume(bus, &settings, on_message, orders);
}

void orders_fence(struct orders *orders)
{
	orders->epoch = 0;
}

bool orders_is_cordoned(const struct orders *orders)
{
	return orders->own.is_cordoned;
}

bool orders_is_draining(const struct orders *orders)
{
	return orders->own.is_draining;
}

void orders_count(const struct orders *orders, int64_t counts[VPA_TYPE_COUNT])
{
	memcpy(counts, orders->counts, sizeof(orders->counts));
}

void orders_each(const struct orders *orders, bool (*visit)(void *context, const struct cell_vpa *vpa), void *context)
{
	for (const struct vpa *vpa = orders->first; vpa != NULL && visit(context, &vpa->told);)
		vpa = vpa->next;
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
	while (orders->first != NULL)
		forget(orders, orders->first);
	table_free(&orders->vpas);
	free(orders);
}
