/* Parked messages: listed, shown, replayed, dropped. */
#include "control/fabric/parked.h"

#include <stdlib.h>

#include "server/base/id.h"
#include "server/base/json.h"
#include "server/base/log.h"
#include "server/base/table.h"

struct item {
	struct table_link link; /* first */
	struct item *next, **before;
	int64_t revision;
	struct json *body;
	size_t id_length;
	char id[];
};

struct parked {
	struct state *state;
	struct bus *bus;
	struct table items;
	struct item *first; /* the newest */
};

/* --- the records */

static bool is_item(const struct table_link *link, struct text key)
{
	const struct item *item = (const struct item *)link;
	return text_equals((struct text){item->id, item->id_length}, key);
}

static struct item *find(const struct parked *parked, struct text id)
{
	return (struct item *)table_find(&parked->items, id, is_item);
}

static void forget(struct parked *parked, struct item *item)
{
	if (item == NULL)
		return;
	table_remove(&parked->items, &item->link);
	*item->before = item->next;
	if (item->next != NULL)
		item->next->before = item->before;
	json_free(item->body);
	free(item);
}

static void on_record(void *context, const struct record *record)
{
	struct parked *parked = context;
	forget(parked, find(parked, record->id));
	if (record->body.bytes == NULL)
		return;
	struct item *item = calloc(1, sizeof(*item) + record->id.length + 1);
	if (item == NULL || json_parse(record->body, NULL, &item->body) != STATUS_OK ||
		!table_add(&parked->items, record->id, &item->link)) {
		LOG(ERROR, "parked.unreadable", log_text("id", record->id));
		if (item != NULL)
			json_free(item->body);
		free(item);
		return;
	}
	memcpy(item->id, record->id.bytes, record->id.length);
	item->id_length = record->id.length;
	item->revision = record->revision;
	item->next = parked->first;
	item->before = &parked->first;
	if (item->next != NULL)
		item->next->before = &item->next;
	parked->first = item;
}

/* --- the calls */

enum { LISTED_MAX = 1000 };

static void print_item(const struct item *item, bool is_whole, struct buffer *into)
{
	buffer_append(into, TEXT("{\"id\":"));
	buffer_append_json(into, (struct text){item->id, item->id_length});
	for (const struct json *member = json_first(item->body); member != NULL; member = json_next(member)) {
		if (!is_whole && (text_equals(text_of(json_name(member)), TEXT("body")) ||
							 text_equals(text_of(json_name(member)), TEXT("command"))))
			continue;
		buffer_append_byte(into, ',');
		buffer_append_json(into, text_of(json_name(member)));
		buffer_append_byte(into, ':');
		json_print(member, into);
	}
	buffer_append_byte(into, '}');
}

/* The newest first, without their bodies. */
static void run_list(struct rest_call *call)
{
	const struct parked *parked = call->context;
	struct buffer answer = {0};
	size_t count = 0;
	buffer_append_byte(&answer, '[');
	for (const struct item *item = parked->first; item != NULL && count < LISTED_MAX; item = item->next) {
		if (count++ > 0)
			buffer_append_byte(&answer, ',');
		print_item(item, false, &answer);
	}
	buffer_append_byte(&answer, ']');
	if (answer.failed)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else
		rest_answer(call, 200, buffer_text(&answer));
	buffer_free(&answer);
}

static struct item *wanted(struct rest_call *call)
{
	struct item *item = find(call->context, call->arguments[0]);
	if (item == NULL)
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
	return item;
}

static void run_show(struct rest_call *call)
{
	const struct item *item = wanted(call);
	struct buffer answer = {0};
	if (item == NULL)
		return;
	print_item(item, true, &answer);
	if (answer.failed)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else
		rest_answer(call, 200, buffer_text(&answer));
	buffer_free(&answer);
}

static void on_done(void *context, enum status status, int64_t revision)
{
	struct rest_call *call = context;
	(void)revision;
	if (status == STATUS_OK)
		rest_answer(call, 200, TEXT_NONE);
	else
		rest_refuse(call, status, status_text(status));
	rest_release(call);
}

/* Takes the transaction. */
static void submit(struct rest_call *call, struct transaction *transaction, bool is_whole)
{
	struct parked *parked = call->context;
	if (!is_whole) {
		transaction_free(transaction);
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		return;
	}
	rest_hold(call);
	state_submit(parked->state, transaction, on_done, call);
}

static void run_drop(struct rest_call *call)
{
	const struct item *item = wanted(call);
	if (item == NULL)
		return;
	struct transaction *transaction = transaction_new();
	submit(call, transaction,
		transaction != NULL &&
			state_delete(transaction, RECORD_PARKED, (struct text){item->id, item->id_length}, item->revision));
}

/* A command is written again: a new one, behind all that were written since. */
static void replay_command(struct rest_call *call, const struct item *item)
{
	struct transaction *transaction = transaction_new();
	struct buffer body = {0};
	char id[ID_LENGTH + 1];
	id_random(id);
	json_print(json_member(item->body, "command"), &body);
	bool is_whole =
		transaction != NULL && !body.failed &&
		state_delete(transaction, RECORD_PARKED, (struct text){item->id, item->id_length}, item->revision) &&
		state_put(transaction, RECORD_COMMAND, text_of(id), buffer_text(&body), REVISION_ABSENT);
	buffer_free(&body);
	submit(call, transaction, is_whole);
}

static void on_published(void *context, enum status status, uint64_t sequence, bool is_duplicate)
{
	struct rest_call *call = context;
	(void)sequence;
	(void)is_duplicate;
	const struct item *item = find(call->context, call->arguments[0]);
	if (status != STATUS_OK) {
		rest_refuse_with(call, 503, "the message could not be published: it stays parked");
	} else if (item == NULL) {
		rest_answer(call, 200, TEXT_NONE);
	} else {
		struct transaction *transaction = transaction_new();
		submit(call, transaction,
			transaction != NULL &&
				state_delete(transaction, RECORD_PARKED, (struct text){item->id, item->id_length}, REVISION_ANY));
	}
	rest_release(call);
}

static void run_replay(struct rest_call *call)
{
	struct parked *parked = call->context;
	const struct item *item = wanted(call);
	bool is_cut = false;
	if (item == NULL)
		return;
	json_bool(json_member(item->body, "cut"), &is_cut);
	if (json_member(item->body, "command") != NULL) {
		replay_command(call, item);
	} else if (is_cut) {
		rest_refuse_with(call, 409, "the message was cut when it was parked: it cannot be replayed");
	} else {
		rest_hold(call);
		/* its id keeps a second click from publishing it twice */
		bus_publish(parked->bus, json_member_text(item->body, "subject"), (struct text){item->id, item->id_length},
			NULL, 0, json_member_text(item->body, "body"), on_published, call);
	}
}

static const struct rest_endpoint endpoints[] = {
	{.method = "GET", .path = "/parked", .scope = "provision-manager-api:read", .run = run_list},
	{.method = "POST", .path = "/parked/{id}:replay", .scope = "provision-manager-api:write", .run = run_replay},
	{.method = "GET", .path = "/parked/{id}", .scope = "provision-manager-api:read", .run = run_show},
	{.method = "DELETE", .path = "/parked/{id}", .scope = "provision-manager-api:write", .run = run_drop},
};

/* --- life */

size_t parked_count(const struct parked *parked)
{
	return parked->items.count;
}

enum status parked_open(struct state *state, struct bus *bus, struct rest *rest, struct parked **parked)
{
	struct parked *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->state = state;
	made->bus = bus;
	enum status status = rest_add(rest, "/api/celld/v1", endpoints, sizeof(endpoints) / sizeof(endpoints[0]), made);
	if (status != STATUS_OK) {
		free(made);
		return status;
	}
	state_watch(state, RECORD_PARKED, on_record, NULL, made);
	*parked = made;
	return STATUS_OK;
}

void parked_free(struct parked *parked)
{
	if (parked == NULL)
		return;
	while (parked->first != NULL)
		forget(parked, parked->first);
	table_free(&parked->items);
	free(parked);
}
