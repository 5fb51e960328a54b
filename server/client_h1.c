/* HTTP/1.1 towards upstreams: heads, bodies by length, chunks or close, and nothing that is not asked for. */
#include <stdlib.h>
#include <string.h>

#include "server/client_h1.h"

/* Of what comes with a head at once: a record of TLS, and the sizes of some chunks. */
enum { HEAD_READ = 16 * 1024 };

static void frame_body(struct client_call *call, const struct h1_head *head)
{
	bool has_none = call->is_head || head->status == 204 || head->status == 304;
	call->keeps_alive = head->keep_alive;
	call->response.length = head->content_length;
	if (has_none) {
		call->framing = FRAMING_NONE;
		if (!call->is_head)
			call->response.length = 0;
	} else if (head->chunked) {
		call->framing = FRAMING_CHUNKED;
		call->chunks.trailers = &call->trailers;
		call->response.length = -1;
	} else if (head->content_length >= 0) {
		call->framing = FRAMING_LENGTH;
		call->left = (uint64_t)head->content_length;
	} else {
		call->framing = FRAMING_CLOSE;
		call->keeps_alive = false;
		call->response.length = -1;
	}
}

/* The head's bytes move to the call: the block is for the body. */
static enum status keep_head(struct client_call *call, struct upstream *upstream, struct h1_head *head, size_t used)
{
	char *text = used <= call->text_room ? call->text : realloc(call->text, used);
	if (text == NULL)
		return STATUS_NO_MEMORY;
	call->text = text;
	call->text_room = used > call->text_room ? used : call->text_room;
	const char *from = (const char *)upstream->block + upstream->at;
	memcpy(text, from, used);
	for (unsigned i = 0; i < head->header_count; i++) {
		struct header *header = &call->headers[i];
		header->name.bytes = text + (header->name.bytes - from);
		if (header->value.length > 0)
			header->value.bytes = text + (header->value.bytes - from);
		else
			header->value.bytes = text;
	}
	call->response.status = head->status;
	call->response.headers = call->headers;
	call->response.header_count = head->header_count;
	upstream->at += used;
	frame_body(call, head);
	return STATUS_OK;
}

static bool take_known(struct client_call *call, struct upstream *upstream)
{
	const char *bytes = (const char *)upstream->block + upstream->at;
	struct known_head *known = known_head_find(&upstream->origin->known, bytes, upstream->end - upstream->at);
	if (known == NULL)
		return false;
	call->known = known;
	call->response.status = known->head.status;
	call->response.headers = known->headers;
	call->response.header_count = known->head.header_count;
	call->response.memo = &known->memo;
	upstream->at += known->bytes.length;
	frame_body(call, &known->head);
	return true;
}

/* Parses one head, which may be known when it comes again. */
static enum status parse_head(struct upstream *upstream, struct h1_head *head, size_t *used)
{
	static const struct h1_limits limits = {HEAD_BYTES, HEAD_FIELDS};
	struct known_heads *heads = &upstream->origin->known;
	char *bytes = (char *)upstream->block + upstream->at;
	size_t length = upstream->end - upstream->at;
	char *copy = known_head_begin(heads, bytes, length);
	enum status status = h1_parse_response(bytes, length, &limits, head->headers, head, used);
	if (copy != NULL)
		known_head_end(heads, copy, head, bytes, status == STATUS_OK && head->status >= 200 ? *used : 0);
	return status;
}

/* One head, interim ones skipped. *is_final: `call` has its response. */
static enum status parse_heads(struct upstream *upstream, bool *is_final)
{
	struct client_call *call = upstream->call;
	*is_final = take_known(call, upstream);
	while (!*is_final) {
		struct h1_head head = {.headers = call->headers};
		size_t used = 0;
		if (parse_head(upstream, &head, &used) != STATUS_OK)
			return STATUS_PROTOCOL;
		if (used == 0)
			return upstream->end - upstream->at >= HEAD_BYTES ? STATUS_PROTOCOL : STATUS_OK;
		if (head.status >= 200) {
			*is_final = true;
			return keep_head(call, upstream, &head, used);
		}
		if (head.status == 101 || ++call->interims > INTERIM_MAX)
			return STATUS_PROTOCOL;
		upstream->at += used;
		if (upstream->at == upstream->end)
			break;
	}
	return STATUS_OK;
}

static void read_head(struct upstream *upstream)
{
	struct client_call *call = upstream->call;
	if (!block_take(upstream, upstream->end < HEAD_READ ? BLOCK_HEAD : BLOCK_BODY)) {
		upstream_fail(upstream, STATUS_NO_MEMORY);
		return;
	}
	if (upstream->at > 0) { /* behind interim heads */
		memmove(upstream->block, upstream->block + upstream->at, upstream->end - upstream->at);
		upstream->end -= upstream->at;
		upstream->at = 0;
	}
	size_t room = block_room(upstream);
	long count = upstream_receive(upstream, upstream->block + upstream->end, room < HEAD_READ ? room : HEAD_READ);
	if (count == 0) {
		h1_block_release(upstream);
		return;
	}
	if (count < 0) {
		upstream_fail(upstream, STATUS_CLOSED);
		return;
	}
	upstream->end += (size_t)count;
	bool is_final;
	enum status status = parse_heads(upstream, &is_final);
	if (status != STATUS_OK) {
		upstream_fail(upstream, status);
		return;
	}
	h1_block_release(upstream);
	if (!is_final)
		return;
	call->phase = CALL_BODY;
	call->has_head = true;
	call->events->on_head(call->state, call, &call->response);
}

static void readable(struct upstream *upstream)
{
	struct client_call *call = upstream->call;
	if (call == NULL) { /* unused: the end, or what nobody asked for; TLS may have a ticket to deliver */
		uint8_t byte;
		if (upstream_receive(upstream, &byte, 1) != 0)
			upstream_kill(upstream);
		return;
	}
	if (call->phase == CALL_HEAD) {
		read_head(upstream);
		return;
	}
	if (call->phase == CALL_BODY && call->wants_readable) {
		call->wants_readable = false;
		call->events->on_readable(call->state, call);
		return;
	}
	upstream_want_read(upstream, false); /* nobody reads: the peer waits */
}

/* --- the request's body */

static size_t out_room(struct upstream *upstream)
{
	if (upstream->out == NULL)
		upstream->out = malloc(CLIENT_OUT);
	return upstream->out == NULL ? 0 : CLIENT_OUT - upstream->out_end;
}

static void out_append(struct upstream *upstream, const void *bytes, size_t length)
{
	memcpy(upstream->out + upstream->out_end, bytes, length);
	upstream->out_end += length;
}

static size_t append_body(struct client_call *call, const uint8_t *bytes, size_t length)
{
	struct upstream *upstream = call->upstream;
	size_t room = out_room(upstream);
	if (call->body_length >= 0) {
		size_t part = length < room ? length : room;
		out_append(upstream, bytes, part);
		return part;
	}
	if (room < 32 || length == 0)
		return 0;
	char head[20];
	size_t part = length < room - 32 ? length : room - 32;
	int digits = snprintf(head, sizeof(head), "%zx\r\n", part);
	out_append(upstream, head, (size_t)digits);
	out_append(upstream, bytes, part);
	out_append(upstream, "\r\n", 2);
	return part;
}

/* All of the body was taken. */
static void end_request(struct client_call *call)
{
	struct upstream *upstream = call->upstream;
	enum status status = STATUS_OK;
	if (call->body_length >= 0)
		status = call->body_taken == (uint64_t)call->body_length ? STATUS_OK : STATUS_PROTOCOL;
	else if (out_room(upstream) < 5)
		status = STATUS_IO;
	else
		out_append(upstream, "0\r\n\r\n", 5);
	if (status == STATUS_OK && call->body_length < 0 && !upstream_flush(upstream))
		status = STATUS_CLOSED;
	if (status != STATUS_OK) {
		upstream_fail(upstream, status);
		return;
	}
	call->is_request_over = true;
	upstream->active_ms = client_now(call->client);
}

static size_t write_body(struct client_call *call, const uint8_t *bytes, size_t length, bool ended)
{
	struct upstream *upstream = call->upstream;
	if (call->body_length >= 0 && length > (uint64_t)call->body_length - call->body_taken) {
		upstream_fail(upstream, STATUS_PROTOCOL);
		return 0;
	}
	size_t taken = 0;
	while (taken < length) {
		size_t part = append_body(call, bytes + taken, length - taken);
		taken += part;
		if (!upstream_flush(upstream)) {
			upstream_fail(upstream, STATUS_CLOSED);
			return taken;
		}
		if (upstream->out_at < upstream->out_end || part == 0)
			break;
	}
	call->body_taken += taken;
	if (taken < length)
		call->wants_writable = true;
	else if (ended)
		end_request(call);
	return taken;
}

static void writable(struct upstream *upstream)
{
	struct client_call *call = upstream->call;
	if (call == NULL || !call->wants_writable)
		return;
	call->wants_writable = false;
	call->is_writable_due = true;
	call_due(call);
}

/* --- the connection */

static void begin(struct upstream *upstream, struct client_call *call)
{
	upstream->call = call;
	upstream->at = upstream->end = 0;
	upstream_want_read(upstream, true);
	long sent = upstream_send(upstream, (const uint8_t *)call->text, call->text_length);
	if (sent < 0) {
		/* told at the end of the turn: this may be inside client_call_start */
		upstream->has_ended = true;
		shutdown(upstream->descriptor, SHUT_RDWR); /* the read event says the rest */
		return;
	}
	size_t left = call->text_length - (size_t)sent;
	if (left == 0)
		return;
	if (out_room(upstream) < left) {
		shutdown(upstream->descriptor, SHUT_RDWR);
		return;
	}
	upstream->out_at = upstream->out_end = 0;
	out_append(upstream, call->text + sent, left);
	event_add(upstream->write_event, NULL);
}

/* Back to the pool when nothing is left over, else closed. */
static void release(struct upstream *upstream, struct client_call *call)
{
	struct origin *origin = upstream->origin;
	bool is_clean = call->phase == CALL_DONE && call->keeps_alive && call->is_request_over && upstream->block == NULL &&
					upstream->out_at == upstream->out_end && !upstream->has_ended &&
					origin->idle_count < (uint64_t)origin->client->settings->idle_connections;
	call->upstream = NULL;
	upstream->call = NULL;
	if (!is_clean) {
		upstream_kill(upstream);
		return;
	}
	free(upstream->out);
	upstream->out = NULL;
	upstream->phase = UPSTREAM_IDLE;
	upstream->active_ms = client_now(origin->client);
	upstream->idle_next = origin->idle;
	origin->idle = upstream;
	origin->idle_count++;
	upstream_want_read(upstream, true); /* its end, or bytes nobody asked for, are seen */
	if (origin->queue != NULL)
		origin_pump(origin);
}

static bool retry(struct upstream *upstream)
{
	struct client_call *call = upstream->call;
	/* a connection of the pool that died before it said a word: the request was not seen, or may be repeated */
	if (!upstream->is_reused || call->phase != CALL_HEAD || upstream->end > 0 || call->interims > 0 ||
		!call->may_retry || call->has_retried)
		return false;
	call->has_retried = true;
	call->upstream = NULL;
	upstream->call = NULL;
	client_count(CLIENT_RETRIED);
	enum status status = upstream_open(upstream->origin, call);
	if (status != STATUS_OK)
		call_fail(call, status);
	return true;
}

static void fail(struct upstream *upstream, enum status why)
{
	struct client_call *call = upstream->call;
	bool has_ended = why == STATUS_CLOSED || why == STATUS_IO;
	if (call == NULL || (has_ended && retry(upstream)))
		return;
	call->upstream = NULL;
	upstream->call = NULL;
	call_fail(call, has_ended ? STATUS_UNAVAILABLE : why);
}

static void check(struct upstream *upstream, uint64_t now_ms)
{
	const struct client_call *call = upstream->call;
	/* only while its bytes are wanted: a consumer that waits is not the source's silence */
	if (call != NULL && call->is_request_over && (call->phase == CALL_HEAD || call->wants_readable) &&
		now_ms - upstream->active_ms >= call->read_ms)
		upstream_fail(upstream, STATUS_TIMEOUT);
}

const struct client_protocol client_h1 = {
	.begin = begin,
	.release = release,
	.fail = fail,
	.readable = readable,
	.writable = writable,
	.check = check,
	.read = h1_body_read,
	.pipe = h1_body_pipe,
	.lend = h1_body_lend,
	.write = write_body,
	.held = h1_body_held,
};
