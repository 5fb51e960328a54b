/* HTTP/1.1: one exchange at a time on a connection. Input waits in a bounded buffer: the head until it is whole, a
 * pipelined request until the one before it is over, a body until its runtime takes it. */
#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "server/h1_parse.h"
#include "server/head_check.h"
#include "server/known_fields.h"
#include "server/socket_queue.h"
#include "server/stream.h"

enum {
	BLOCK = 64 * 1024,
	BLOCK_TLS = 16384,
	CHUNK_ROOM = 16,
	TURN_OUTPUT = 512 * 1024,
	TURN_FILE = 2 * 1024 * 1024, /* by sendfile, which costs a fraction; of one that is alone */
	UNREAD_MAX = 64 * 1024,
	FIELDS_MAX = 1000
};

struct h1 {
	struct connection *connection;
	struct stream *stream; /* the present exchange */
	char *input;           /* not yet used */
	size_t length, room;
	uint64_t head_ms; /* when the head in `input` began; 0: none has */
	struct h1_chunks chunks;
	uint64_t body_left; /* of a request with content-length */
	size_t unread;      /* request bytes thrown away after the answer */
	int minor_version;
	bool is_chunked_in, is_request_over, is_chunked_out, is_head_sent, is_body_sent, keeps_alive, expects_continue,
		wants_continue, is_processing;
	bool is_first; /* no answer stands before the present one */
};

static const struct exchange_engine h1_engine;

static struct h1 *h1_of(const struct exchange *exchange)
{
	return stream_of(exchange)->connection->session;
}

/* --- input buffer */

static bool keep_input(struct h1 *h1, const uint8_t *bytes, size_t length)
{
	if (h1->length + length > h1->room) {
		size_t room = (h1->length + length + 1023) & ~(size_t)1023;
		char *more = realloc(h1->input, room);
		if (more == NULL)
			return false;
		h1->input = more;
		h1->room = room;
	}
	memcpy(h1->input + h1->length, bytes, length);
	h1->length += length;
	return true;
}

static void drop_input(struct h1 *h1, size_t used)
{
	h1->length -= used;
	if (h1->length > 0) {
		memmove(h1->input, h1->input + used, h1->length);
		return;
	}
	free(h1->input); /* an idle connection holds none */
	h1->input = NULL;
	h1->room = 0;
}

/* --- the request */

static void on_share_ready(struct share_waiter *waiter)
{
	struct stream *stream = (struct stream *)(void *)((char *)waiter - offsetof(struct stream, waiter));
	exchange_resume(&stream->exchange);
}

static struct stream *begin(struct h1 *h1)
{
	struct stream *stream = stream_new(h1->connection, &h1_engine);
	if (stream == NULL)
		return NULL;
	stream->waiter.go = on_share_ready;
	h1->stream = stream;
	h1->chunks = (struct h1_chunks){0};
	h1->body_left = 0;
	h1->unread = 0;
	h1->head_ms = 0;
	h1->is_chunked_in = h1->is_chunked_out = h1->is_head_sent = h1->is_body_sent = false;
	h1->expects_continue = h1->wants_continue = false;
	h1->is_request_over = true;
	return stream;
}

/* A head that cannot be used: answered, and the connection ends. */
static enum status refuse_head(struct h1 *h1, uint16_t status)
{
	struct stream *stream = begin(h1);
	if (stream == NULL)
		return STATUS_NO_MEMORY;
	h1->keeps_alive = false;
	stream->refusal = status;
	stream_dispatch(stream);
	return STATUS_OK;
}

/* "http://host/path" becomes "/path"; its host must be the Host header's. */
static bool take_target(struct exchange *exchange, struct text target)
{
	static const struct text starts[] = {{"http://", 7}, {"https://", 8}};
	for (size_t i = 0; i < 2; i++) {
		if (target.length < starts[i].length ||
			!text_equals_ignoring_case(text_slice(target, 0, starts[i].length), starts[i]))
			continue;
		struct text rest = text_slice(target, starts[i].length, target.length);
		size_t slash = text_find(rest, '/');
		if (!text_equals_ignoring_case(text_slice(rest, 0, slash), exchange_header(exchange, TEXT("host"))))
			return false;
		target = slash < rest.length ? text_slice(rest, slash, rest.length) : TEXT("/");
	}
	exchange->target = exchange_copy(exchange, target);
	return exchange->target.bytes != NULL;
}

static void read_framing(struct h1 *h1, const struct h1_head *head)
{
	struct exchange *exchange = &h1->stream->exchange;
	h1->minor_version = head->minor_version;
	h1->is_chunked_in = head->chunked;
	h1->body_left = head->content_length > 0 ? (uint64_t)head->content_length : 0;
	h1->is_request_over = !head->chunked && h1->body_left == 0;
	h1->keeps_alive = head->keep_alive && !h1->connection->is_draining;
	h1->expects_continue = head->expect_continue && head->minor_version > 0;
	exchange->request_length = head->chunked ? -1 : (int64_t)h1->body_left;
	h1->stream->is_end_seen = h1->is_request_over;
}

static enum status take_head(struct h1 *h1, const struct h1_head *head)
{
	struct stream *stream = begin(h1);
	if (stream == NULL)
		return STATUS_NO_MEMORY;
	struct exchange *exchange = &stream->exchange;
	for (unsigned i = 0; i < head->header_count; i++) {
		if (stream_add_header(stream, head->headers[i].name, head->headers[i].value) == STATUS_NO_MEMORY)
			return STATUS_NO_MEMORY;
	}
	exchange->headers = stream->headers;
	exchange->header_count = stream->header_count;
	exchange->method = exchange_copy(exchange, head->method);
	if (exchange->method.bytes == NULL)
		return STATUS_NO_MEMORY;
	read_framing(h1, head);
	if (stream->is_refused)
		stream->refusal = 431;
	else if (!take_target(exchange, head->target))
		stream->refusal = 400;
	else
		stream->refusal = (uint16_t)head_check(exchange);
	if (stream->refusal == 0 && exchange->request_length > h1->connection->limits->request_body)
		stream->refusal = 413;
	if (stream->refusal != 0)
		h1->keeps_alive = false;
	return STATUS_OK;
}

static enum status parse_head(struct h1 *h1, bool *need_more)
{
	const struct limits *limits = h1->connection->limits;
	struct header headers[FIELDS_MAX];
	const struct h1_limits head_limits = {(size_t)limits->header_bytes, (unsigned)limits->header_fields};
	struct h1_head head = {.headers = headers};
	size_t used = 0;
	*need_more = false;
	enum status status = h1_parse_request(h1->input, h1->length, &head_limits, headers, &head, &used);
	if (status == STATUS_TOO_LARGE)
		return refuse_head(h1, 431);
	if (status != STATUS_OK)
		return refuse_head(h1, status == STATUS_PROTOCOL ? 505 : 400);
	if (used == 0) {
		*need_more = true;
		return STATUS_OK;
	}
	status = take_head(h1, &head);
	drop_input(h1, used);
	if (status == STATUS_OK)
		stream_dispatch(h1->stream);
	return status;
}

/* --- the request's body */

static void hand_over(struct h1 *h1, const uint8_t *bytes, size_t length, bool ended)
{
	struct stream *stream = h1->stream;
	if (ended)
		h1->is_request_over = true;
	if (stream->is_responded && !stream->is_receiving) {
		h1->unread += length;
		stream->is_end_seen = stream->is_end_seen || ended;
		return;
	}
	stream->window_held += length;
	stream_deliver(stream, bytes, length, ended);
}

static enum status take_chunks(struct h1 *h1)
{
	size_t used, at, length;
	bool ended;
	enum status status = h1_chunks_take(&h1->chunks, h1->input, h1->length, &used, &at, &length, &ended);
	if (status != STATUS_OK)
		return STATUS_PROTOCOL;
	if (used == 0)
		return STATUS_OK;
	hand_over(h1, (const uint8_t *)h1->input + at, length, ended);
	drop_input(h1, used);
	return STATUS_OK;
}

/* Takes what has come of the body; false: nothing more can be done now. */
static bool take_body(struct h1 *h1, enum status *status)
{
	size_t before = h1->length;
	if (h1->length == 0 || h1->stream->window_held >= (size_t)h1->connection->limits->stream_window)
		return false;
	if (h1->is_chunked_in) {
		*status = take_chunks(h1);
		return *status == STATUS_OK && h1->length < before && !h1->is_request_over;
	}
	size_t part = h1->length < h1->body_left ? h1->length : (size_t)h1->body_left;
	h1->body_left -= part;
	hand_over(h1, (const uint8_t *)h1->input, part, h1->body_left == 0);
	drop_input(h1, part);
	return !h1->is_request_over;
}

/* Reads only as far as it can be used: the socket's window holds the peer back. */
static void regulate(struct h1 *h1)
{
	const struct limits *limits = h1->connection->limits;
	bool is_waiting =
		h1->stream != NULL && (h1->is_request_over ? h1->length > 0
												   : h1->length >= (size_t)limits->stream_window ||
														 h1->stream->window_held >= (size_t)limits->stream_window);
	connection_pause_reading(h1->connection, is_waiting);
}

/* Goes as far as the input allows. */
static enum status process(struct h1 *h1)
{
	enum status status = STATUS_OK;
	if (h1->is_processing)
		return STATUS_OK;
	h1->is_processing = true;
	while (status == STATUS_OK && !h1->connection->is_closing) {
		if (h1->stream == NULL) {
			bool need_more;
			if (h1->length == 0)
				break;
			if (h1->head_ms == 0)
				h1->head_ms = worker_now_ms(h1->connection->engine->worker);
			status = parse_head(h1, &need_more);
			if (need_more)
				break;
		} else if (h1->is_request_over || !take_body(h1, &status)) {
			break;
		}
	}
	h1->is_processing = false;
	regulate(h1);
	return status;
}

/* --- the response */

static void respond(struct exchange *exchange)
{
	connection_flush_later(stream_of(exchange)->connection);
}

static void resume(struct exchange *exchange)
{
	stream_of(exchange)->is_deferred = false;
	connection_flush_later(stream_of(exchange)->connection);
}

static void receive_body(struct exchange *exchange)
{
	struct h1 *h1 = h1_of(exchange);
	h1->wants_continue = h1->expects_continue && !h1->is_request_over && h1->length == 0;
	connection_flush_later(h1->connection); /* delivers what came early */
}

static void consume(struct exchange *exchange, size_t length)
{
	struct stream *stream = stream_of(exchange);
	stream->window_held -= length < stream->window_held ? length : stream->window_held;
	connection_flush_later(stream->connection); /* goes on reading from there */
}

/* What the peer has not got of an answer that was stopped it shall not get, and what it does not take is not kept. */
static void cut(struct h1 *h1, enum status why)
{
	if (why == STATUS_STOPPED || why == STATUS_TIMEOUT)
		connection_cut_later(h1->connection, why, h1->is_first ? UINT64_MAX : h1->stream->exchange.bytes_sent);
	else
		connection_close_later(h1->connection, why);
}

static bool is_sent_by_file(const struct exchange *exchange)
{
	return stream_of(exchange)->connection->ssl == NULL && exchange->file_descriptor >= 0 &&
		   exchange->response_length > 0;
}

static void abort_exchange(struct exchange *exchange, enum status why)
{
	struct stream *stream = stream_of(exchange);
	cut(stream->connection->session, why);
	stream_finish(stream, why); /* freed with the connection */
}

static uint64_t unsent(const struct exchange *exchange)
{
	const struct connection *connection = stream_of(exchange)->connection;
	return is_sent_by_file(exchange) ? socket_queue_unsent(connection) : 0;
}

static const struct exchange_engine h1_engine = {respond, resume, receive_body, consume, abort_exchange, unsent};

static void append_header(struct buffer *head, struct text name, struct text value)
{
	buffer_append(head, name);
	buffer_append(head, TEXT(": "));
	buffer_append(head, value);
	buffer_append(head, TEXT("\r\n"));
}

static bool has_no_length(const struct exchange *exchange)
{
	return exchange->status == 204 || exchange->status == 304 || exchange->status < 200;
}

static bool send_head(struct h1 *h1)
{
	struct stream *stream = h1->stream;
	const struct exchange *exchange = &stream->exchange;
	struct buffer head = {0};
	bool has_body = stream_has_body(stream);
	h1->is_chunked_out = has_body && (exchange->response_length < 0 || exchange->has_trailers) && h1->minor_version > 0;
	if ((has_body && exchange->response_length < 0 && !h1->is_chunked_out) || h1->connection->is_draining)
		h1->keeps_alive = false;
	buffer_append(&head, TEXT("HTTP/1.1 "));
	buffer_append_number(&head, exchange->status);
	buffer_append_byte(&head, ' ');
	buffer_append(&head, reason_phrase(exchange->status));
	buffer_append(&head, TEXT("\r\n"));
	append_header(&head, TEXT("date"), engine_date(h1->connection->engine));
	if (exchange->response_length >= 0 && !h1->is_chunked_out && !has_no_length(exchange)) {
		buffer_append(&head, TEXT("content-length: "));
		buffer_append_number(&head, exchange->response_length);
		buffer_append(&head, TEXT("\r\n"));
	}
	for (unsigned i = 0; i < stream->response_count; i++)
		append_header(&head, stream->response_headers[i].name, stream->response_headers[i].value);
	if (exchange->known != NULL)
		buffer_append(&head, exchange->known->lines);
	if (h1->is_chunked_out)
		buffer_append(&head, TEXT("transfer-encoding: chunked\r\n"));
	if (!h1->keeps_alive)
		buffer_append(&head, TEXT("connection: close\r\n"));
	else if (h1->minor_version == 0)
		buffer_append(&head, TEXT("connection: keep-alive\r\n"));
	buffer_append(&head, TEXT("\r\n"));
	bool is_made = !head.failed;
	if (is_made)
		connection_write(h1->connection, (const uint8_t *)head.bytes, head.length);
	buffer_free(&head);
	h1->is_head_sent = true;
	h1->is_body_sent = !has_body;
	return is_made;
}

static void send_last_chunk(struct h1 *h1)
{
	const struct stream *stream = h1->stream;
	struct buffer end = {0};
	buffer_append(&end, TEXT("0\r\n"));
	for (unsigned i = 0; i < stream->trailer_count; i++)
		append_header(&end, stream->trailers[i].name, stream->trailers[i].value);
	buffer_append(&end, TEXT("\r\n"));
	if (end.failed)
		connection_close_later(h1->connection, STATUS_NO_MEMORY);
	else
		connection_write(h1->connection, (const uint8_t *)end.bytes, end.length);
	buffer_free(&end);
}

/* One block, with its chunk head in front. */
static enum body_state send_block(struct h1 *h1, size_t *sent)
{
	static _Thread_local uint8_t block[CHUNK_ROOM + BLOCK + 2];
	struct stream *stream = h1->stream;
	size_t room = h1->connection->ssl != NULL ? BLOCK_TLS : BLOCK, count, from = CHUNK_ROOM;
	enum body_state state = stream_produce(stream, block + CHUNK_ROOM, room - (h1->is_chunked_out ? 10 : 0), &count);
	*sent = count;
	if (state == BODY_LATER || state == BODY_FAILED)
		return state;
	size_t length = count;
	if (h1->is_chunked_out && count > 0) {
		static const char digits[] = "0123456789abcdef";
		block[--from] = '\n';
		block[--from] = '\r';
		for (size_t left = count; left > 0; left >>= 4)
			block[--from] = (uint8_t)digits[left & 15];
		memcpy(block + CHUNK_ROOM + count, "\r\n", 2);
		length = CHUNK_ROOM - from + count + 2;
	}
	if (length > 0)
		connection_write(h1->connection, block + from, length);
	return state;
}

/* How much of the file is asked for, and of the share. A peer that takes it, while nobody else sends, has so much in
 * the kernel that its own acknowledgements send it; of the end no more than of any answer. */
static size_t file_piece(struct stream *stream, struct share *share, uint64_t left)
{
	bool is_deep = left > UNSENT_DEEP && stream_is_moving(stream) && share_is_alone(share);
	socket_queue_deepen(stream->connection, is_deep);
	if (is_deep)
		share_widen(share, TURN_FILE);
	size_t most = is_deep ? TURN_FILE : TURN_OUTPUT;
	return left < most ? (size_t)left : most;
}

/* The file goes from the page cache to the socket. */
static enum body_state send_file(struct h1 *h1, size_t *sent)
{
	struct stream *stream = h1->stream;
	struct exchange *exchange = &stream->exchange;
	struct share *share = exchange->share != NULL ? exchange->share : share_common(exchange->worker);
	uint64_t left = (uint64_t)exchange->response_length - exchange->bytes_sent;
	bool failed;
	*sent = 0;
	size_t granted = share_take(share, file_piece(stream, share, left), &stream->waiter);
	if (granted == 0)
		return BODY_LATER;
	*sent = connection_send_file(h1->connection, exchange->file_descriptor,
		exchange->file_offset + (int64_t)exchange->bytes_sent, granted, &failed);
	share_return(share, granted - *sent);
	exchange->bytes_sent += *sent;
	if (*sent > 0)
		stream->progress_ms = (int64_t)worker_now_ms(exchange->worker);
	if (failed)
		return BODY_FAILED;
	return exchange->bytes_sent == (uint64_t)exchange->response_length ? BODY_END : *sent > 0 ? BODY_MORE : BODY_LATER;
}

static void send_body(struct h1 *h1)
{
	const struct exchange *exchange = &h1->stream->exchange;
	bool by_file = is_sent_by_file(exchange);
	size_t total = 0, sent;
	while (!h1->is_body_sent && connection_can_write(h1->connection) && !h1->connection->is_closing) {
		enum body_state state = by_file ? send_file(h1, &sent) : send_block(h1, &sent);
		total += sent;
		switch (state) {
		case BODY_MORE:
			if (total >= TURN_OUTPUT) {
				connection_flush_later(h1->connection);
				return;
			}
			break;
		case BODY_LATER:
			return;
		case BODY_FAILED: /* no clean end: the peer sees that something is missing */
			connection_close_later(h1->connection, STATUS_IO);
			return;
		case BODY_END:
			h1->is_body_sent = true;
			if (h1->is_chunked_out)
				send_last_chunk(h1);
			break;
		}
		if (h1->stream->is_abort_pending) {
			cut(h1, h1->stream->abort_why);
			return;
		}
	}
}

/* The exchange is over when the response has left and the request was read. */
static bool end_exchange(struct h1 *h1)
{
	if (!h1->is_request_over && (h1->unread > UNREAD_MAX || h1->body_left > UNREAD_MAX || !h1->keeps_alive)) {
		h1->keeps_alive = false;
		h1->is_request_over = true; /* the rest is not read */
	}
	if (!h1->is_request_over)
		return false;
	struct stream *stream = h1->stream;
	h1->stream = NULL;
	h1->is_first = false;
	stream_finish(stream, STATUS_OK);
	stream_free(stream);
	if (!h1->keeps_alive)
		connection_close_later(h1->connection, STATUS_OK);
	return h1->keeps_alive;
}

static void h1_flush(struct connection *connection)
{
	struct h1 *h1 = connection->session;
	for (int pass = 0; pass < 16 && !connection->is_closing; pass++) {
		enum status status = process(h1);
		if (status != STATUS_OK) {
			connection_close_later(connection, status);
			return;
		}
		struct stream *stream = h1->stream;
		if (stream == NULL || stream->is_finished)
			return;
		if (stream->is_receiving && !stream->is_body_over && (stream->early.length > 0 || stream->is_end_seen))
			stream_deliver_early(stream);
		if (h1->wants_continue && !stream->is_responded) {
			static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
			connection_write(connection, (const uint8_t *)interim, sizeof(interim) - 1);
		}
		h1->wants_continue = false;
		if (stream->is_finished || !stream->is_responded || !connection_can_write(connection))
			return;
		if (!h1->is_head_sent && !send_head(h1)) {
			connection_close_later(connection, STATUS_NO_MEMORY);
			return;
		}
		send_body(h1);
		if (!h1->is_body_sent || connection->is_closing || !end_exchange(h1))
			return;
	}
	if (h1->length > 0)
		connection_flush_later(connection);
}

/* --- the protocol */

static enum status h1_open(struct connection *connection)
{
	struct h1 *h1 = calloc(1, sizeof(*h1));
	if (h1 == NULL)
		return STATUS_NO_MEMORY;
	h1->connection = connection;
	h1->is_first = true;
	h1->head_ms = connection->phase_ms; /* the first head is awaited like one that has begun */
	connection->session = h1;
	return STATUS_OK;
}

static enum status h1_receive(struct connection *connection, const uint8_t *bytes, size_t length)
{
	struct h1 *h1 = connection->session;
	if (!keep_input(h1, bytes, length))
		return STATUS_NO_MEMORY;
	return process(h1);
}

static void h1_drain(struct connection *connection)
{
	struct h1 *h1 = connection->session;
	h1->keeps_alive = false;
	if (h1->stream == NULL)
		connection_close_later(connection, STATUS_OK);
}

static void h1_check(struct connection *connection, uint64_t now_ms)
{
	struct h1 *h1 = connection->session;
	const struct limits *limits = connection->limits;
	const struct stream *stream = h1->stream;
	if (stream == NULL) {
		if (h1->head_ms != 0 && now_ms - h1->head_ms >= (uint64_t)limits->header_ms)
			connection_close_later(connection, STATUS_TIMEOUT);
		return;
	}
	uint64_t idle = now_ms - (uint64_t)stream->progress_ms, age = stream_age_ms(stream, now_ms);
	bool is_stuck = stream->is_responded && !stream->is_deferred && idle >= (uint64_t)limits->stream_idle_ms;
	bool is_slow = stream->is_receiving && !h1->is_request_over && stream->window_held == 0 &&
				   age >= (uint64_t)limits->body_grace_ms &&
				   stream->exchange.bytes_received < (uint64_t)limits->body_rate * (age / 1000);
	if ((is_stuck || is_slow) && !stream->is_finished)
		abort_exchange(&h1->stream->exchange, STATUS_TIMEOUT);
}

static void h1_close(struct connection *connection, enum status why)
{
	struct h1 *h1 = connection->session;
	struct stream *stream = h1->stream;
	if (stream != NULL) {
		h1->stream = NULL;
		stream_finish(stream, stream->is_abort_pending ? stream->abort_why : why == STATUS_OK ? STATUS_CLOSED : why);
		stream_free(stream);
	}
	free(h1->input);
	free(h1);
	connection->session = NULL;
}

const struct protocol protocol_h1 = {"http/1.1", h1_open, h1_receive, h1_flush, h1_drain, h1_check, h1_close};
