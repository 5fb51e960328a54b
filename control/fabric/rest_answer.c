/* A call's own memory, and its answers: bodies, refusals, lists. */
#include "control/fabric/rest_private.h"

#include <stdlib.h>

#include "server/answer.h"

/* --- life */

void call_free_state(struct rest_call *call)
{
	if (call->state != NULL)
		(call->free_state == NULL ? free : call->free_state)(call->state);
	call->state = NULL;
	call->free_state = NULL;
}

void call_drop(struct held_call *call)
{
	if (--call->references > 0)
		return;
	call_free_state(&call->call);
	for (struct piece *piece = call->pieces, *next; piece != NULL; piece = next) {
		next = piece->next;
		free(piece);
	}
	buffer_free(&call->waiting);
	json_free(call->parsed);
	free(call);
}

void rest_hold(struct rest_call *call)
{
	held(call)->references++;
}

void rest_release(struct rest_call *call)
{
	call_drop(held(call));
}

char *call_room(struct held_call *call, size_t size)
{
	struct piece *piece = malloc(sizeof(*piece) + size);
	if (piece == NULL)
		return NULL;
	piece->next = call->pieces;
	call->pieces = piece;
	return piece->bytes;
}

struct text call_copy(struct held_call *call, struct text text)
{
	char *room = text.bytes == NULL ? NULL : call_room(call, text.length + 1);
	if (room == NULL)
		return TEXT_NONE;
	memcpy(room, text.bytes, text.length);
	room[text.length] = 0;
	return (struct text){room, text.length};
}

/* --- answers */

#define RETRY_AFTER_S "2"
static const struct text json_type = {"application/json", 16};

void rest_respond(struct exchange *exchange, int status, struct text body)
{
	struct text copy = body.length == 0 ? TEXT("") : exchange_copy(exchange, body);
	if (!exchange_add_header(exchange, TEXT("content-type"), json_type) || copy.bytes == NULL) {
		answer_empty(exchange, 503);
		return;
	}
	exchange->status = status;
	exchange->response_text = copy;
	exchange->response_length = (int64_t)copy.length;
	exchange_respond(exchange);
}

void rest_say(struct exchange *exchange, int status, struct text message)
{
	struct buffer body = {0};
	buffer_append(&body, TEXT("{\"error\":"));
	buffer_append_json(&body, reason_phrase(status));
	buffer_append(&body, TEXT(",\"message\":"));
	buffer_append_json(&body, message);
	buffer_printf(&body, ",\"code\":%d}", status);
	if (body.failed)
		answer_empty(exchange, 503);
	else
		rest_respond(exchange, status, buffer_text(&body));
	buffer_free(&body);
}

static bool is_open(const struct rest_call *call)
{
	return call->exchange != NULL && !exchange_responded(call->exchange);
}

void rest_answer(struct rest_call *call, int status, struct text json)
{
	if (is_open(call))
		rest_respond(call->exchange, status, json);
}

void rest_refuse_with(struct rest_call *call, int status, const char *message)
{
	if (is_open(call))
		rest_say(call->exchange, status, text_of(message));
}

bool rest_add_header(struct rest_call *call, const char *name, struct text value)
{
	return is_open(call) && exchange_add_header_copy(call->exchange, text_of(name), value);
}

void rest_refuse(struct rest_call *call, enum status status, const char *why)
{
	static const struct {
		enum status status;
		int http;
		const char *message, *prefix; /* prefix NULL: why is not told */
	} answers[] = {{STATUS_NOT_FOUND, 404, "Not found", NULL}, {STATUS_CONFLICT, 409, "Conflict", NULL},
		{STATUS_INVALID, 400, "Invalid input", "Bad request: "}};
	struct buffer message = {0};
	if (status == STATUS_UNAVAILABLE || status == STATUS_TIMEOUT) {
		rest_add_header(call, "retry-after", TEXT(RETRY_AFTER_S));
		rest_refuse_with(call, 503, why == NULL ? "Service unavailable: the database cannot be reached now" : why);
		return;
	}
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (answers[i].status != status)
			continue;
		if (why != NULL && answers[i].prefix != NULL)
			buffer_printf(&message, "%s%s", answers[i].prefix, why);
		rest_refuse_with(call, answers[i].http, message.length > 0 ? message.bytes : answers[i].message);
		buffer_free(&message);
		return;
	}
	buffer_printf(&message, "Operation failed: %s", why == NULL ? status_text(status) : why);
	rest_refuse_with(call, 500, message.failed ? "Operation failed" : message.bytes);
	buffer_free(&message);
}

/* --- lists */

/* The next portion is asked for, once. False: it is not there yet. */
static bool await_portion(struct held_call *call)
{
	if (!call->is_awaited) {
		call->is_awaited = true;
		buffer_clear(&call->waiting);
		call->taken = 0;
		call->more(&call->call);
	}
	return !call->is_awaited;
}

/* Prints until there is something to take. False: it cannot be completed. */
static bool print_more(struct held_call *call)
{
	struct buffer *into = &call->waiting;
	buffer_clear(into);
	call->taken = 0;
	if (call->next == 0 && !call->has_first)
		buffer_append_byte(into, '[');
	while (into->length <= 1 && call->next < call->count) {
		size_t start = into->length;
		if (call->has_first)
			buffer_append_byte(into, ',');
		size_t element = into->length;
		if (!call->print(&call->call, call->next++, into))
			return false;
		if (into->length == element) {
			into->length = start;
			continue;
		}
		buffer_append_byte(into, '\n');
		call->has_first = true;
	}
	if (call->next == call->count) {
		buffer_append_byte(into, ']');
		call->is_ended = true;
	}
	return !into->failed;
}

static enum body_state read_list(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	struct held_call *call = exchange->state;
	*count = 0;
	while (*count < room) {
		bool is_taken = call->taken == call->waiting.length;
		if (is_taken && (call->is_ended || call->waiting.failed))
			return call->waiting.failed ? BODY_FAILED : BODY_END;
		if (is_taken && call->more != NULL && !await_portion(call))
			return *count > 0 ? BODY_MORE : BODY_LATER;
		if (is_taken && call->more == NULL && !print_more(call))
			return BODY_FAILED;
		size_t left = call->waiting.length - call->taken, take = left < room - *count ? left : room - *count;
		memcpy(frame + *count, call->waiting.bytes + call->taken, take);
		*count += take;
		call->taken += take;
	}
	return BODY_MORE;
}

static void answer_array(struct rest_call *call)
{
	struct exchange *exchange = call->exchange;
	if (!exchange_add_header(exchange, TEXT("content-type"), json_type)) {
		answer_empty(exchange, 503);
		return;
	}
	exchange->status = 200;
	exchange->response_length = -1;
	exchange->read_body = read_list;
	exchange_respond(exchange);
}

void rest_answer_list(
	struct rest_call *call, size_t count, bool (*print)(struct rest_call *call, size_t index, struct buffer *into))
{
	if (!is_open(call))
		return;
	held(call)->count = count;
	held(call)->print = print;
	answer_array(call);
}

void rest_answer_portions(struct rest_call *call, void (*more)(struct rest_call *call))
{
	if (!is_open(call))
		return;
	held(call)->more = more;
	held(call)->is_awaited = true;
	buffer_append_byte(&held(call)->waiting, '[');
	answer_array(call);
}

void rest_give(struct rest_call *call, struct text element)
{
	struct held_call *own = held(call);
	buffer_append(&own->waiting, own->has_first ? TEXT(",") : TEXT(""));
	buffer_append(&own->waiting, element);
	buffer_append_byte(&own->waiting, '\n');
	own->has_first = true;
}

void rest_given(struct rest_call *call, bool is_last, bool failed)
{
	struct held_call *own = held(call);
	if (is_last)
		buffer_append_byte(&own->waiting, ']');
	own->is_ended = is_last;
	own->waiting.failed |= failed;
	own->is_awaited = false;
	if (call->exchange != NULL)
		exchange_resume(call->exchange);
}
