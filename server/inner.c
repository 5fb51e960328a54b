/* Inner exchanges: an engine whose other side is a function call. */
#include "server/inner.h"

#include <stdlib.h>
#include <string.h>

#include "server/known_fields.h"
#include "server/stream.h"

struct inner {
	struct stream stream; /* first: the runtime's exchange is in it */
	struct task task;
	const struct inner_events *events;
	void *state;
	bool is_queued, is_closed;
	bool is_aborted, is_head_due, is_readable_due, is_abort_due;
	enum status why;
};

static struct inner *inner_of(struct exchange *exchange)
{
	return (struct inner *)(void *)stream_of(exchange);
}

static void inner_free(struct inner *inner)
{
	stream_drop_arena(&inner->stream);
	free(inner);
}

static void run(struct task *task)
{
	struct inner *inner = (struct inner *)(void *)((char *)task - offsetof(struct inner, task));
	/* queued until the end of this: an inner_close in an event leaves the memory to us */
	if (inner->is_abort_due && !inner->is_closed) {
		inner->is_abort_due = inner->is_head_due = inner->is_readable_due = false;
		inner->events->on_aborted(inner->state, inner->why);
	}
	if (inner->is_head_due && !inner->is_closed) {
		inner->is_head_due = false;
		inner->events->on_head(inner->state);
	}
	if (inner->is_readable_due && !inner->is_closed) {
		inner->is_readable_due = false;
		inner->events->on_readable(inner->state);
	}
	inner->is_queued = false;
	if (inner->is_closed) {
		inner_free(inner);
	} else if (inner->is_abort_due || inner->is_head_due || inner->is_readable_due) {
		inner->is_queued = true;
		worker_later(inner->stream.exchange.worker, &inner->task);
	}
}

static void tell(struct inner *inner)
{
	if (inner->is_queued || inner->is_closed)
		return;
	inner->is_queued = true;
	worker_later(inner->stream.exchange.worker, &inner->task);
}

static void finish(struct inner *inner, enum status outcome)
{
	struct stream *stream = &inner->stream;
	if (stream->is_finished)
		return;
	stream->is_finished = true;
	share_leave(&stream->waiter);
	if (stream->exchange.on_close != NULL)
		stream->exchange.on_close(&stream->exchange, outcome);
}

/* --- the engine */

static void respond(struct exchange *exchange)
{
	struct inner *inner = inner_of(exchange);
	exchange->file_descriptor = -1; /* no kernel sends this one: it is read */
	inner->is_head_due = true;
	tell(inner);
}

static void resume(struct exchange *exchange)
{
	struct inner *inner = inner_of(exchange);
	inner->is_readable_due = true;
	tell(inner);
}

/* There is no request body: the runtimes of inner exchanges are asked with GET and HEAD. */
static void receive(struct exchange *exchange)
{
	(void)exchange;
}

static void consume(struct exchange *exchange, size_t length)
{
	(void)exchange, (void)length;
}

static void abort_inner(struct exchange *exchange, enum status why)
{
	struct inner *inner = inner_of(exchange);
	finish(inner, why);
	inner->is_abort_due = inner->is_aborted = true;
	inner->why = why;
	tell(inner);
}

static const struct exchange_engine engine = {respond, resume, receive, consume, abort_inner, NULL};

static void go(struct share_waiter *waiter)
{
	struct inner *inner = (struct inner *)(void *)((char *)waiter - offsetof(struct inner, stream.waiter));
	inner->is_readable_due = true;
	tell(inner);
}

/* --- the asker's side */

static bool copy_request(struct exchange *exchange, const struct inner_request *request)
{
	struct header *headers = exchange_allocate(exchange, (request->header_count + 1) * sizeof(*headers));
	exchange->method = exchange_copy(exchange, request->method);
	exchange->target = exchange_copy(exchange, request->target);
	exchange->tenant = exchange_copy(exchange, request->tenant);
	if (headers == NULL || exchange->method.bytes == NULL || exchange->target.bytes == NULL)
		return false;
	for (unsigned i = 0; i < request->header_count; i++) {
		headers[i] = (struct header){
			exchange_copy(exchange, request->headers[i].name), exchange_copy(exchange, request->headers[i].value)};
		if (headers[i].name.bytes == NULL || headers[i].value.bytes == NULL)
			return false;
	}
	exchange->headers = headers;
	exchange->header_count = request->header_count;
	return true;
}

struct inner *inner_new(
	struct worker *worker, const struct inner_request *request, const struct inner_events *events, void *state)
{
	struct inner *inner = malloc(sizeof(*inner));
	if (inner == NULL)
		return NULL;
	memset(inner, 0, offsetof(struct inner, stream.arena));
	memset((char *)inner + sizeof(struct stream), 0, sizeof(*inner) - sizeof(struct stream));
	struct stream *stream = &inner->stream;
	struct exchange *exchange = &stream->exchange;
	stream->arena_at = stream->arena;
	stream->arena_end = stream->arena + sizeof(stream->arena);
	stream->waiter.go = go;
	inner->task.run = run;
	inner->events = events;
	inner->state = state;
	exchange->worker = worker;
	exchange->engine = &engine;
	exchange->scheme = TEXT("https");
	exchange->share = request->share;
	exchange->response_length = -1;
	exchange->file_descriptor = -1;
	if (!copy_request(exchange, request)) {
		inner_free(inner);
		return NULL;
	}
	return inner;
}

struct exchange *inner_exchange(struct inner *inner)
{
	return &inner->stream.exchange;
}

struct text inner_header(const struct inner *inner, struct text name)
{
	const struct stream *stream = &inner->stream;
	const struct known_fields *known = stream->exchange.known;
	for (unsigned i = 0; i < stream->response_count; i++) {
		if (text_equals(stream->response_headers[i].name, name))
			return stream->response_headers[i].value;
	}
	for (unsigned i = 0; known != NULL && i < known->count; i++) {
		if (text_equals(known->fields[i].name, name))
			return known->fields[i].value;
	}
	return TEXT_NONE;
}

bool inner_is_aborted(const struct inner *inner)
{
	return inner->is_aborted;
}

enum body_state inner_read(struct inner *inner, uint8_t *into, size_t room, size_t *count)
{
	struct stream *stream = &inner->stream;
	*count = 0;
	if (stream->is_finished)
		return BODY_FAILED;
	enum body_state state = stream_has_body(stream) ? stream_produce(stream, into, room, count) : BODY_END;
	if (stream->is_abort_pending) { /* inside read_body */
		stream->is_abort_pending = false;
		*count = 0;
		abort_inner(&stream->exchange, stream->abort_why);
		return BODY_FAILED;
	}
	if (state == BODY_END || state == BODY_FAILED)
		finish(inner, state == BODY_END ? STATUS_OK : STATUS_IO);
	return state;
}

void inner_close(struct inner *inner)
{
	if (inner == NULL || inner->is_closed)
		return;
	inner->is_closed = true;
	finish(inner, STATUS_CLOSED);
	if (!inner->is_queued)
		inner_free(inner);
}
