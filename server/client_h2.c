/* HTTP/2 towards upstreams: one nghttp2 session a connection, many calls on it. What a call must be told and what must
 * be sent waits for the end of the turn, so nothing is freed or sent inside nghttp2's callbacks. */
#include <stdlib.h>
#include <string.h>

#include "server/client_h2.h"

/* --- calls and their connection */

bool h2_has_room(const struct upstream *upstream)
{
	const struct h2_session *h2 = upstream->h2;
	if (h2->is_draining || nghttp2_session_check_request_allowed(h2->session) == 0)
		return false;
	uint32_t limit = nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
	if (!h2->has_settings) /* unknown: not to be refused, one goes ahead */
		limit = 1;
	return h2->call_count < (limit < H2_CALLS_MAX ? limit : H2_CALLS_MAX);
}

void h2_flush_later(struct upstream *upstream)
{
	struct client *client = upstream->origin->client;
	if (upstream->is_flush_due || upstream->phase == UPSTREAM_DEAD)
		return;
	upstream->is_flush_due = true;
	upstream->flush_next = client->flushes;
	client->flushes = upstream;
	client_sweep_later(client);
}

static void unlink_call(struct h2_session *h2, struct client_call *call)
{
	struct upstream *upstream = h2->upstream;
	if (call->h2.next != NULL)
		call->h2.next->h2.previous = call->h2.previous;
	*(call->h2.previous != NULL ? &call->h2.previous->h2.next : &h2->calls) = call->h2.next;
	call->upstream = NULL;
	if (--h2->call_count == 0 && upstream->phase == UPSTREAM_BUSY) {
		upstream->phase = UPSTREAM_IDLE;
		upstream->active_ms = client_now(upstream->origin->client);
		h2_flush_later(upstream);
	}
	if (upstream->origin->queue != NULL)
		origin_pump_later(upstream->origin);
}

void h2_call_leave(struct client_call *call, uint32_t error_code)
{
	struct h2_session *h2 = call->upstream->h2;
	h2_body_drop(call);
	if (call->h2.stream > 0) {
		nghttp2_session_set_stream_user_data(h2->session, call->h2.stream, NULL);
		nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, call->h2.stream, error_code);
		call->h2.stream = 0;
		h2_flush_later(h2->upstream);
	}
	unlink_call(h2, call);
}

void h2_call_fail(struct client_call *call, uint32_t error_code, enum status why)
{
	h2_call_leave(call, error_code);
	call_fail(call, why);
}

bool h2_call_retry(struct client_call *call)
{
	struct origin *origin = call->upstream->origin;
	if (call->phase != CALL_HEAD || call->h2.has_answer || call->has_retried || call->body_taken > 0)
		return false;
	call->has_retried = true;
	call->h2.stream = 0;
	call->is_request_over = false;
	call->is_writable_due = call->body_length != 0;
	client_count(CLIENT_RETRIED);
	unlink_call(call->upstream->h2, call);
	origin_requeue(origin, call);
	return true;
}

/* --- the connection */

static enum status open_session(struct upstream *upstream)
{
	const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)upstream->origin->client->settings->stream_window},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEAD_BYTES}};
	struct h2_session *h2 = calloc(1, sizeof(*h2));
	if (h2 == NULL)
		return STATUS_NO_MEMORY;
	h2->upstream = upstream;
	h2->frames_ms = h2->received_ms = client_now(upstream->origin->client);
	upstream->h2 = h2;
	if (nghttp2_session_client_new2(&h2->session, client_h2_callbacks, h2, client_h2_options) != 0 ||
		nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, 3) != 0 ||
		nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, H2_CONNECTION_WINDOW) != 0)
		return STATUS_NO_MEMORY;
	upstream_want_read(upstream, true);
	return STATUS_OK;
}

static void close_session(struct upstream *upstream)
{
	struct h2_session *h2 = upstream->h2;
	upstream->h2 = NULL;
	if (h2 != NULL)
		nghttp2_session_del(h2->session);
	free(h2);
}

static nghttp2_nv field(struct text name, struct text value)
{
	return (nghttp2_nv){(uint8_t *)(uintptr_t)name.bytes, (uint8_t *)(uintptr_t)value.bytes, name.length, value.length,
		NGHTTP2_NV_FLAG_NONE};
}

static struct text next_line(struct text *rest)
{
	size_t end = text_find(*rest, '\r');
	struct text line = text_slice(*rest, 0, end);
	*rest = text_slice(*rest, end + 2 < rest->length ? end + 2 : rest->length, rest->length);
	return line;
}

/* The call was written as HTTP/1.1, before its connection said what it speaks (client_request.c): a request line,
 * Host, the fields. */
static size_t read_request(const struct client_call *call, nghttp2_nv *fields, size_t room)
{
	struct text rest = {call->text, call->text_length};
	struct text line = next_line(&rest);
	struct text host = next_line(&rest);
	size_t space = text_find(line, ' ');
	size_t count = 0;
	fields[count++] = field(TEXT(":method"), text_slice(line, 0, space));
	fields[count++] = field(TEXT(":scheme"), TEXT("https"));
	fields[count++] = field(TEXT(":authority"), text_slice(host, sizeof("Host: ") - 1, host.length));
	fields[count++] = field(TEXT(":path"), text_slice(line, space + 1, line.length - (sizeof(" HTTP/1.1") - 1)));
	for (line = next_line(&rest); line.length > 0; line = next_line(&rest)) {
		size_t colon = text_find(line, ':');
		struct text name = text_slice(line, 0, colon);
		if (count == room)
			return 0;
		if (!text_equals(name, TEXT("Transfer-Encoding")))
			fields[count++] = field(name, text_trim(text_slice(line, colon + 1, line.length)));
	}
	return count;
}

static void begin(struct upstream *upstream, struct client_call *call)
{
	nghttp2_nv fields[HEAD_FIELDS + 8];
	struct h2_session *h2 = upstream->h2;
	const nghttp2_data_provider provider = {.read_callback = h2_body_send};
	size_t count = read_request(call, fields, sizeof(fields) / sizeof(fields[0]));
	call->h2 = (struct h2_call){.next = h2->calls, .active_ms = client_now(call->client)};
	if (h2->calls != NULL)
		h2->calls->h2.previous = call;
	h2->calls = call;
	h2->call_count++;
	int32_t stream = count == 0 ? NGHTTP2_ERR_INVALID_ARGUMENT
								: nghttp2_submit_request(h2->session, NULL, fields, count,
									  call->body_length != 0 ? &provider : NULL, call);
	if (stream > 0) {
		call->h2.stream = stream;
		h2_flush_later(upstream);
	} else {
		h2_call_fail(call, NGHTTP2_CANCEL, count == 0 ? STATUS_TOO_LARGE : STATUS_UNAVAILABLE);
	}
}

static void release(struct upstream *upstream, struct client_call *call)
{
	(void)upstream;
	h2_call_leave(call, NGHTTP2_CANCEL);
}

static void fail(struct upstream *upstream, enum status why)
{
	struct h2_session *h2 = upstream->h2;
	bool has_ended = why == STATUS_CLOSED || why == STATUS_IO;
	h2->is_draining = true;
	h2_body_keep_all(h2);
	struct client_call *next;
	for (struct client_call *call = h2->calls; call != NULL; call = next) {
		next = call->h2.next;
		if (has_ended && upstream->is_reused && call->may_retry && h2_call_retry(call))
			continue;
		unlink_call(h2, call);
		call->h2.stream = 0;
		if (!call->h2.is_ended)
			call_fail(call, has_ended ? STATUS_UNAVAILABLE : why);
	}
}

/* The block takes what comes; slow readers' bytes move out when it is full. */
static bool make_room(struct upstream *upstream)
{
	enum { LEAST_ROOM = 32 * 1024 };
	if (!block_take(upstream, BLOCK_BODY))
		return false;
	if (upstream->h2->in_block > 0 && CLIENT_BLOCK - upstream->end < LEAST_ROOM)
		h2_body_keep_all(upstream->h2);
	if (upstream->h2->in_block == 0)
		upstream->end = 0;
	return true;
}

/* Until the block is full or nothing more is there. */
static enum status receive(struct upstream *upstream)
{
	enum { RECORD = 16 * 1024 };
	struct h2_session *h2 = upstream->h2;
	while (CLIENT_BLOCK - upstream->end >= RECORD) {
		uint8_t *at = upstream->block + upstream->end;
		long count = upstream_receive(upstream, at, CLIENT_BLOCK - upstream->end);
		if (count <= 0)
			return count == 0 ? STATUS_OK : STATUS_CLOSED;
		h2->received_ms = client_now(upstream->origin->client);
		if (nghttp2_session_mem_recv(h2->session, at, (size_t)count) != count)
			return STATUS_PROTOCOL;
		upstream->end += (size_t)count;
	}
	if (SSL_pending(upstream->ssl) > 0) /* the socket will not tell */
		event_active(upstream->read_event, EV_READ, 0);
	return STATUS_OK;
}

static void readable(struct upstream *upstream)
{
	struct h2_session *h2 = upstream->h2;
	uint64_t active_ms = upstream->active_ms;
	if (!make_room(upstream)) {
		upstream_fail(upstream, STATUS_NO_MEMORY);
		return;
	}
	h2->is_receiving = true;
	enum status status = receive(upstream);
	h2->is_receiving = false;
	if (upstream->phase == UPSTREAM_IDLE) /* what comes without a call does not keep it open */
		upstream->active_ms = active_ms;
	if (status != STATUS_OK) {
		upstream_fail(upstream, status);
		return;
	}
	h2_block_release(h2);
	h2_body_settle(h2);
	h2_flush_later(upstream);
}

/* Output as far as the socket takes it. */
static enum status send_frames(struct upstream *upstream)
{
	for (;;) {
		const uint8_t *frame;
		ssize_t length = upstream->out_end - upstream->out_at >= CLIENT_OUT / 2
							 ? 0
							 : nghttp2_session_mem_send(upstream->h2->session, &frame);
		if (length < 0 || length > CLIENT_OUT / 2)
			return STATUS_NO_MEMORY;
		if (length == 0 && upstream->out_at == upstream->out_end)
			return STATUS_OK;
		if (length > 0) {
			if (upstream->out == NULL && (upstream->out = malloc(CLIENT_OUT)) == NULL)
				return STATUS_NO_MEMORY;
			if (upstream->out_at > 0)
				memmove(upstream->out, upstream->out + upstream->out_at, upstream->out_end - upstream->out_at);
			upstream->out_end -= upstream->out_at;
			upstream->out_at = 0;
			memcpy(upstream->out + upstream->out_end, frame, (size_t)length);
			upstream->out_end += (size_t)length;
			continue;
		}
		if (!upstream_flush(upstream))
			return STATUS_CLOSED;
		if (upstream->out_at < upstream->out_end) /* on_writable goes on */
			return STATUS_OK;
	}
}

static void flush(struct upstream *upstream)
{
	struct h2_session *h2 = upstream->h2;
	uint64_t active_ms = upstream->active_ms;
	enum status status = send_frames(upstream);
	if (upstream->phase == UPSTREAM_IDLE)
		upstream->active_ms = active_ms;
	if (status != STATUS_OK) {
		upstream_fail(upstream, status);
		return;
	}
	if (upstream->out_at < upstream->out_end)
		return;
	free(upstream->out);
	upstream->out = NULL;
	bool is_over = nghttp2_session_want_read(h2->session) == 0 && nghttp2_session_want_write(h2->session) == 0;
	bool is_useless = h2->has_settings &&
					  nghttp2_session_get_remote_settings(h2->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) == 0;
	bool is_unused = h2->call_count == 0 &&
					 (h2->is_draining || is_useless || upstream->origin->client->settings->idle_connections == 0);
	if (is_over && h2->call_count > 0)
		upstream_fail(upstream, STATUS_PROTOCOL);
	else if (is_over || is_unused)
		upstream_kill(upstream);
}

void h2_flush_due(struct client *client)
{
	while (client->flushes != NULL) {
		struct upstream *upstream = client->flushes;
		client->flushes = upstream->flush_next;
		upstream->is_flush_due = false;
		flush(upstream);
	}
}

static void check(struct upstream *upstream, uint64_t now_ms)
{
	struct h2_session *h2 = upstream->h2;
	struct client_call *next;
	if (!h2->has_settings && now_ms - upstream->opened_ms >= (uint64_t)upstream->origin->client->settings->connect_ms) {
		upstream_fail(upstream, STATUS_TIMEOUT);
		return;
	}
	for (struct client_call *call = h2->calls; call != NULL; call = next) {
		next = call->h2.next;
		bool is_awaited = call->is_request_over && (call->phase == CALL_HEAD || call->wants_readable);
		if (!is_awaited || now_ms - call->h2.active_ms < call->read_ms)
			continue;
		if (now_ms - h2->received_ms >= call->read_ms) /* the whole connection is silent: no more calls on it */
			h2->is_draining = true;
		h2_call_fail(call, NGHTTP2_CANCEL, STATUS_TIMEOUT);
	}
}

const struct client_protocol client_h2 = {
	.open = open_session,
	.close = close_session,
	.begin = begin,
	.release = release,
	.fail = fail,
	.readable = readable,
	.writable = flush,
	.check = check,
	.read = h2_body_read,
	.write = h2_body_write,
	.held = h2_body_held,
};
