/* Streams: the life of an exchange in the engine, from its head to its line in the access log. */
#include "server/stream.h"

#include <stdlib.h>
#include <string.h>

#include "server/access_log.h"
#include "server/answer.h"
#include "server/base/clock.h"
#include "server/base/metric.h"
#include "server/socket_queue.h"

enum { FREE_STREAMS_MAX = 256, REFUSED_BODY_MAX = 64 * 1024, INNER_READ_AHEAD = 256 * 1024 };
/* What the client reads at once. */
enum { BLOCK_MOST = 512 * 1024 };
enum { MOVING_BYTES = 256 * 1024, MOVING_MS = 100, MOVING_FACTOR = 4, RUSHING_BYTES_MS = 32 * 1024 };

#define METRIC_LIST(X)                                                                                                 \
	X(REQUESTS_2XX, COUNTER, "celld_http_requests_total", "class=\"2xx\"", "Requests by status class")                 \
	X(REQUESTS_3XX, COUNTER, "celld_http_requests_total", "class=\"3xx\"", "Requests by status class")                 \
	X(REQUESTS_4XX, COUNTER, "celld_http_requests_total", "class=\"4xx\"", "Requests by status class")                 \
	X(REQUESTS_5XX, COUNTER, "celld_http_requests_total", "class=\"5xx\"", "Requests by status class")                 \
	X(REQUESTS_CUT, COUNTER, "celld_http_requests_total", "class=\"none\"", "Requests by status class")                \
	X(STREAMS, GAUGE, "celld_http_open_exchanges", NULL, "Exchanges that are open")                                    \
	X(SENT, COUNTER, "celld_http_response_body_bytes_total", NULL, "Response body bytes given to connections")         \
	X(RECEIVED, COUNTER, "celld_http_request_body_bytes_total", NULL, "Request body bytes received")                   \
	X(HEAD_TIME, HISTOGRAM, "celld_http_head_seconds", NULL, "From a request's head to its response's head")
enum {
#define METRIC_MEMBER(name, kind, series, labels, help) METRIC_##name##_INDEX,
	METRIC_LIST(METRIC_MEMBER)
#undef METRIC_MEMBER
		METRIC_COUNT
};
static int metrics[METRIC_COUNT];

void stream_register_metrics(void)
{
#define REGISTER(name, kind, series, labels, help)                                                                     \
	metrics[METRIC_##name##_INDEX] = metric_register(METRIC_##kind, series, labels, help);
	METRIC_LIST(REGISTER)
#undef REGISTER
}

/* --- memory */

struct stream *stream_new(struct connection *connection, const struct exchange_engine *engine)
{
	struct engine *home = connection->engine;
	struct stream *stream = home->free_streams;
	if (stream != NULL) {
		home->free_streams = stream->next_free;
		home->free_stream_count--;
	} else {
		stream = malloc(sizeof(*stream));
		if (stream == NULL)
			return NULL;
	}
	memset(stream, 0, offsetof(struct stream, arena));
	stream->connection = connection;
	stream->arena_at = stream->arena;
	stream->arena_end = stream->arena + sizeof(stream->arena);
	stream->started_us = (int64_t)(clock_monotonic_ns() / 1000);
	stream->progress_ms = (int64_t)worker_now_ms(home->worker);
	struct exchange *exchange = &stream->exchange;
	exchange->engine = engine;
	exchange->response_length = -1;
	exchange->file_descriptor = -1;
	connection_describe(connection, exchange);
	connection->streams++;
	metric_add(metrics[METRIC_STREAMS_INDEX], 1);
	return stream;
}

void stream_free(struct stream *stream)
{
	struct engine *home = stream->connection->engine;
	stream_drop_arena(stream);
	buffer_free(&stream->early);
	if (home->free_stream_count == FREE_STREAMS_MAX) {
		free(stream);
		return;
	}
	stream->next_free = home->free_streams;
	home->free_streams = stream;
	home->free_stream_count++;
}

void streams_release(struct engine *engine)
{
	while (engine->free_streams != NULL) {
		struct stream *next = engine->free_streams->next_free;
		free(engine->free_streams);
		engine->free_streams = next;
	}
	engine->free_stream_count = 0;
}

enum status stream_count_header(struct stream *stream, struct text name, struct text value)
{
	const struct limits *limits = stream->connection->limits;
	size_t cost = name.length + value.length + 32;
	bool is_field = name.length > 0 && name.bytes[0] != ':';
	if (stream->is_refused || (is_field && stream->header_count >= limits->header_fields) ||
		cost > (size_t)limits->header_bytes - stream->header_bytes) {
		stream->is_refused = true;
		return STATUS_REFUSED;
	}
	stream->header_bytes += (uint32_t)cost;
	return STATUS_OK;
}

enum status stream_list_header(struct stream *stream, struct text name, struct text value)
{
	if (stream->header_count == stream->header_room) {
		uint16_t room = stream->header_room == 0 ? 16 : (uint16_t)(stream->header_room * 2);
		struct header *more = exchange_allocate(&stream->exchange, room * sizeof(*more));
		if (more == NULL)
			return STATUS_NO_MEMORY;
		if (stream->header_count > 0)
			memcpy(more, stream->headers, stream->header_count * sizeof(*more));
		stream->headers = more;
		stream->header_room = room;
	}
	stream->headers[stream->header_count++] = (struct header){name, value};
	return STATUS_OK;
}

enum status stream_add_header(struct stream *stream, struct text name, struct text value)
{
	enum status status = stream_count_header(stream, name, value);
	if (status != STATUS_OK)
		return status;
	char *bytes = exchange_allocate(&stream->exchange, name.length + value.length + 1);
	if (bytes == NULL)
		return STATUS_NO_MEMORY;
	memcpy(bytes, name.bytes, name.length);
	if (value.length > 0)
		memcpy(bytes + name.length, value.bytes, value.length);
	return stream_list_header(
		stream, (struct text){bytes, name.length}, (struct text){bytes + name.length, value.length});
}

/* --- dispatch */

static bool is_traceparent(struct text value)
{
	if (value.length != 55 || value.bytes[0] != '0' || value.bytes[1] != '0')
		return false;
	bool trace_is_zero = true, span_is_zero = true;
	for (size_t i = 0; i < 55; i++) {
		char byte = value.bytes[i];
		bool is_dash = i == 2 || i == 35 || i == 52;
		if (is_dash ? byte != '-' : !((byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f')))
			return false;
		if (i > 2 && i < 35 && byte != '0')
			trace_is_zero = false;
		if (i > 35 && i < 52 && byte != '0')
			span_is_zero = false;
	}
	return !trace_is_zero && !span_is_zero;
}

static uint64_t next_random(struct engine *engine)
{
	/* splitmix64: trace ids need to differ, not to be secret */
	uint64_t value = engine->random += 0x9e3779b97f4a7c15U;
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
	return value ^ (value >> 31);
}

static void set_traceparent(struct stream *stream)
{
	struct exchange *exchange = &stream->exchange;
	struct text given = exchange_header(exchange, TEXT("traceparent"));
	if (is_traceparent(given)) {
		exchange->traceparent = given;
		return;
	}
	struct engine *engine = stream->connection->engine;
	char *at = stream->traceparent;
	memcpy(at, "00-", 3);
	text_write_hex(at + 3, next_random(engine));
	text_write_hex(at + 19, next_random(engine) | 1);
	at[35] = '-';
	text_write_hex(at + 36, next_random(engine) | 1);
	memcpy(at + 52, "-01", 4);
	exchange->traceparent = (struct text){at, 55};
}

/* Runs a callback of the exchange; an abort inside it takes effect after it. */
#define GUARDED(stream, call)                                                                                          \
	do {                                                                                                               \
		(stream)->is_busy = true;                                                                                      \
		call;                                                                                                          \
		(stream)->is_busy = false;                                                                                     \
		if ((stream)->is_abort_pending && !(stream)->is_finished) {                                                    \
			(stream)->is_abort_pending = false;                                                                        \
			(stream)->exchange.engine->abort(&(stream)->exchange, (stream)->abort_why);                                \
		}                                                                                                              \
	} while (0)

/* TLS was opened for one name and the request is for another (RFC 9110 section 7.4): the client may try again on a
 * connection of that name's own. An ingress that carries many tenants on one connection is believed. */
static bool is_misdirected(const struct stream *stream)
{
	const SSL *ssl = stream->connection->ssl;
	const char *name =
		ssl == NULL || stream->connection->is_trusted ? NULL : SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
	if (name == NULL)
		return false;
	struct text authority = stream->exchange.authority;
	return !text_equals_ignoring_case(text_slice(authority, 0, text_find(authority, ':')), text_of(name));
}

void stream_dispatch(struct stream *stream)
{
	struct exchange *exchange = &stream->exchange;
	const struct handler *handler = server_handler(stream->connection->engine->server);
	stream->is_dispatched = true;
	exchange->headers = stream->headers;
	exchange->header_count = stream->header_count;
	if (stream->is_refused && stream->refusal == 0)
		stream->refusal = 431;
	if (stream->refusal == 0 && is_misdirected(stream))
		stream->refusal = 421;
	set_traceparent(stream);
	if (stream->refusal != 0) {
		GUARDED(stream, answer_problem(exchange, stream->refusal, TEXT_NONE));
		return;
	}
	GUARDED(stream, handler->on_request(handler->context, exchange));
}

void stream_deliver(struct stream *stream, const uint8_t *bytes, size_t length, bool ended)
{
	struct exchange *exchange = &stream->exchange;
	const struct limits *limits = stream->connection->limits;
	stream->progress_ms = (int64_t)worker_now_ms(exchange->worker);
	if (stream->is_finished)
		return;
	stream->is_end_seen = stream->is_end_seen || ended;
	if (stream->is_receiving && stream->early.length == 0) {
		if (stream->is_body_over)
			return;
		exchange->bytes_received += length;
		metric_add(metrics[METRIC_RECEIVED_INDEX], (int64_t)length);
		if (exchange->bytes_received > (uint64_t)limits->request_body) {
			exchange->engine->abort(exchange, STATUS_TOO_LARGE);
			return;
		}
		stream->unconsumed += length;
		stream->is_body_over = ended;
		GUARDED(stream, stream->on_body(exchange, bytes, length, ended));
		return;
	}
	if (!stream->is_responded ||
		stream->is_receiving) { /* the runtime has not asked yet: the window bounds what waits */
		buffer_append(&stream->early, (struct text){(const char *)bytes, length});
		if (stream->early.failed)
			exchange->engine->abort(exchange, STATUS_NO_MEMORY);
		return;
	}
	stream->discarded += length;
	if (stream->discarded > REFUSED_BODY_MAX)
		return; /* the window stays shut: the peer stops, or its stream is reset for idling */
	exchange->engine->consume(exchange, length);
}

/* Delivers what came before the runtime asked. */
void stream_deliver_early(struct stream *stream)
{
	if (stream->is_finished || !stream->is_receiving || stream->is_body_over ||
		(stream->early.length == 0 && !stream->is_end_seen))
		return;
	struct buffer early = stream->early;
	stream->early = (struct buffer){0};
	stream_deliver(stream, (const uint8_t *)early.bytes, early.length, stream->is_end_seen);
	buffer_free(&early);
}

/* --- the response */

uint64_t stream_age_ms(const struct stream *stream, uint64_t now_ms)
{
	uint64_t started_ms = (uint64_t)stream->started_us / 1000;
	return now_ms > started_ms ? now_ms - started_ms : 0;
}

bool stream_has_body(const struct stream *stream)
{
	const struct exchange *exchange = &stream->exchange;
	return exchange->status != 204 && exchange->status != 304 && exchange->response_length != 0 &&
		   !text_equals(exchange->method, TEXT("HEAD"));
}

static enum body_state produce_text(struct stream *stream, uint8_t *frame, size_t room, size_t *count)
{
	struct text text = stream->exchange.response_text;
	size_t left = text.length - stream->inline_sent;
	*count = left < room ? left : room;
	if (*count > 0)
		memcpy(frame, text.bytes + stream->inline_sent, *count);
	stream->inline_sent += *count;
	return *count == left ? BODY_END : BODY_MORE;
}

/* A body ends where its length said, or it has failed. */
static enum body_state keep_promise(const struct stream *stream, enum body_state state)
{
	const struct exchange *exchange = &stream->exchange;
	uint64_t promised = (uint64_t)exchange->response_length;
	if (exchange->bytes_sent > promised || (state == BODY_END && exchange->bytes_sent != promised))
		return BODY_FAILED;
	if (exchange->bytes_sent == promised && state == BODY_MORE && exchange->read_body == NULL)
		return BODY_END;
	return state;
}

bool stream_is_moving(const struct stream *stream)
{
	const struct exchange *exchange = &stream->exchange;
	return exchange->bytes_sent >= MOVING_BYTES &&
		   (int64_t)worker_now_ms(exchange->worker) - stream->progress_ms <= MOVING_MS;
}

static struct share *share_of(const struct stream *stream)
{
	return stream->exchange.share != NULL ? stream->exchange.share : share_common(stream->exchange.worker);
}

/* A peer that takes so much a millisecond, while nobody else sends, soon has what the kernel holds for it: more of what
 * is not copied into it. Copies are best made where the last ones have just left. */
static void set_depth(const struct stream *stream, bool is_piped)
{
	if (stream->connection == NULL)
		return;
	int64_t took_ms = (int64_t)worker_now_ms(stream->exchange.worker) - stream->started_us / 1000;
	bool is_rushing = is_piped && share_is_alone(share_of(stream)) &&
					  stream->exchange.bytes_sent >= (uint64_t)(took_ms > 0 ? took_ms : 0) * RUSHING_BYTES_MS;
	socket_queue_deepen(stream->connection, is_rushing);
}

/* What this exchange may hold beyond what its peer takes now: its own limit, and what the connection's leaves. The
 * limits are for peers that do not take: for one that does, large reads from the source are worth more. */
static void set_read_ahead(struct stream *stream)
{
	struct exchange *exchange = &stream->exchange;
	if (stream->connection == NULL) { /* an inner exchange: one at a time, its asker takes what it can send */
		exchange->read_ahead = INNER_READ_AHEAD;
		return;
	}
	const struct limits *limits = stream->connection->limits;
	size_t own = (size_t)limits->stream_buffer, most = (size_t)limits->connection_buffer;
	if (stream_is_moving(stream)) {
		most *= MOVING_FACTOR;
		own = share_is_alone(share_of(stream)) ? most : most / MOVING_FACTOR;
	}
	stream->connection->held -= exchange->held;
	size_t held = stream->connection->held, left = held < most ? most - held : 0;
	exchange->read_ahead = left < own ? left : own;
}

static void note_held(struct stream *stream, enum body_state state, size_t count)
{
	if (stream->connection == NULL)
		return;
	stream->connection->held += stream->exchange.held;
	if (state != BODY_MORE || count > 0) /* else it is still its turn to read */
		block_turn_note(stream, state == BODY_LATER);
}

/* A block that is read now and sent in two halves costs a call more than one that waits for the next round. */
static bool is_resting(struct stream *stream)
{
	stream->is_deferred =
		stream->reads_blocks && stream_is_moving(stream) && share_rest(share_of(stream), BLOCK_MOST, &stream->waiter);
	return stream->is_deferred;
}

/* 0: the share's turn is over. */
static size_t ask_share(struct stream *stream, size_t room)
{
	size_t granted = share_take(share_of(stream), room, &stream->waiter);
	stream->is_deferred = granted == 0;
	return granted;
}

static enum body_state book(struct stream *stream, enum body_state state, size_t granted, size_t *count)
{
	struct exchange *exchange = &stream->exchange;
	if (state == BODY_LATER || state == BODY_FAILED)
		*count = 0;
	if (*count < granted)
		share_return(share_of(stream), granted - *count);
	exchange->bytes_sent += *count;
	if (*count > 0)
		stream->progress_ms = (int64_t)worker_now_ms(exchange->worker);
	return exchange->response_length >= 0 ? keep_promise(stream, state) : state;
}

enum body_state stream_produce(struct stream *stream, uint8_t *frame, size_t room, size_t *count)
{
	struct exchange *exchange = &stream->exchange;
	*count = 0;
	if (stream->is_finished || share_of(stream) == NULL)
		return BODY_FAILED;
	if (exchange->response_length >= 0 && exchange->read_body != NULL) {
		/* never more than was promised; one byte beyond shows a source that has more */
		uint64_t left = (uint64_t)exchange->response_length - exchange->bytes_sent;
		if (room > left)
			room = left > 0 ? (size_t)left : 1;
	}
	if (!block_turn_take(stream))
		return BODY_LATER;
	size_t granted = ask_share(stream, room);
	if (granted == 0)
		return BODY_LATER;
	enum body_state state;
	stream->is_busy = true;
	if (exchange->read_body == NULL) {
		state = produce_text(stream, frame, granted, count);
	} else {
		set_read_ahead(stream);
		set_depth(stream, false);
		state = exchange->read_body(exchange, frame, granted, count);
		note_held(stream, state, *count);
	}
	stream->is_busy = false;
	if (state == BODY_LATER)
		stream->is_deferred = true;
	return book(stream, state, granted, count);
}

bool stream_may_lend(const struct stream *stream, size_t room)
{
	const struct exchange *exchange = &stream->exchange;
	return exchange->lend_body != NULL && !stream->is_finished && share_of(stream) != NULL &&
		   exchange->response_length >= 0 && exchange->bytes_sent + room < (uint64_t)exchange->response_length;
}

enum body_state stream_lend(struct stream *stream, size_t room, bool may_read, const uint8_t **bytes, size_t *count)
{
	struct exchange *exchange = &stream->exchange;
	*count = 0;
	if (may_read && (!block_turn_take(stream) || is_resting(stream)))
		return BODY_LATER;
	size_t granted = ask_share(stream, room);
	if (granted == 0)
		return BODY_LATER;
	set_read_ahead(stream);
	set_depth(stream, false);
	stream->is_busy = true;
	enum body_state state = exchange->lend_body(exchange, granted, may_read, bytes, count);
	stream->is_busy = false;
	note_held(stream, state, *count);
	stream->is_deferred = state == BODY_LATER;
	if (*count > 0)
		stream->lent_in = stream->connection->engine->send_number;
	return book(stream, state, granted, count);
}

enum body_state stream_pipe(struct stream *stream, size_t room, int *pipe, size_t *count)
{
	struct exchange *exchange = &stream->exchange;
	*count = 0;
	if (exchange->pipe_body == NULL || !stream_is_moving(stream))
		return BODY_MORE;
	if (exchange->held == 0 && (!block_turn_take(stream) || is_resting(stream)))
		return BODY_LATER;
	size_t granted = ask_share(stream, room);
	if (granted == 0)
		return BODY_LATER;
	set_read_ahead(stream);
	stream->is_busy = true;
	enum body_state state = exchange->pipe_body(exchange, granted, pipe, count);
	stream->is_busy = false;
	note_held(stream, state, *count);
	if (*count > 0)
		set_depth(stream, true);
	stream->is_deferred = state == BODY_LATER;
	return book(stream, state, granted, count);
}

void stream_settle(struct stream *stream)
{
	if (stream->lent_in == stream->connection->engine->send_number)
		connection_send_gathered(stream->connection);
}

/* --- the end */

static void count_request(const struct stream *stream, int64_t took_us)
{
	const struct exchange *exchange = &stream->exchange;
	int class = stream->is_responded ? exchange->status / 100 : 0;
	int metric =
		class >= 2 && class <= 5 ? metrics[METRIC_REQUESTS_2XX_INDEX + class - 2] : metrics[METRIC_REQUESTS_CUT_INDEX];
	metric_add(metric, 1);
	if (exchange->bytes_sent > 0)
		metric_add(metrics[METRIC_SENT_INDEX], (int64_t)exchange->bytes_sent);
	metric_observe_us(metrics[METRIC_HEAD_TIME_INDEX], (uint64_t)took_us);
	if (exchange->meter != NULL) {
		metric_observe_us(exchange->meter->head_time, (uint64_t)took_us);
		metric_add(exchange->meter->failures, class == 5);
	}
}

void stream_finish(struct stream *stream, enum status outcome)
{
	struct exchange *exchange = &stream->exchange;
	if (stream->is_finished)
		return;
	stream->is_finished = true;
	stream_settle(stream); /* before the lender takes it back */
	stream->connection->held -= exchange->held;
	exchange->held = 0;
	exchange->bytes_sent = exchange_sent(exchange);
	share_leave(&stream->waiter);
	block_turn_leave(stream);
	if (exchange->on_close != NULL)
		exchange->on_close(exchange, outcome);
	if (exchange->on_leave != NULL)
		exchange->on_leave(exchange);
	if (stream->is_dispatched) {
		int64_t took_us = (int64_t)(clock_monotonic_ns() / 1000) - stream->started_us;
		count_request(stream, took_us);
		access_log_write(stream, outcome, took_us);
	}
	metric_add(metrics[METRIC_STREAMS_INDEX], -1);
	if (--stream->connection->streams == 0)
		socket_queue_deepen(stream->connection, false);
}
