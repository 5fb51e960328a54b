/* HTTP/1.1 towards upstreams: heads, bodies by length, chunks or close, and nothing that is not asked for. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/client_private.h"

/* Of what comes with a head at once, and at least by one read: a record of TLS, and the sizes of some chunks. */
enum { HEAD_READ = 16 * 1024, LEAST_READ = 4096 };
/* Less at once is not worth a pipe; and what of the end of a body is not taken by one. */
enum { LEAST_PIPED = 64 * 1024, LEAST_AHEAD_PIPED = 256 * 1024, PIPE_TAIL = 16 * 1024 };

static enum status frame_body(struct client_call *call, const struct h1_head *head)
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
	return STATUS_OK;
}

/* The head's bytes move to the call: the block is for the body. */
static enum status keep_head(struct client_call *call, struct upstream *upstream, struct h1_head *head, size_t used)
{
	char *text = used <= call->text_length ? call->text : realloc(call->text, used);
	if (text == NULL)
		return STATUS_NO_MEMORY;
	call->text = text;
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
	return frame_body(call, head);
}

static void give_block_back(struct upstream *upstream)
{
	if (upstream->at < upstream->end)
		return;
	block_give(upstream->origin->client, upstream->block);
	upstream->block = NULL;
	upstream->at = upstream->end = 0;
}

void h1_pipe_release(struct upstream *upstream)
{
	if (upstream->has_pipe)
		pipes_give(&upstream->origin->client->pipes, upstream->pipe);
	upstream->has_pipe = false;
	upstream->piped = 0;
}

void h1_lent_release(struct client *client)
{
	while (client->lent != NULL) {
		struct upstream *upstream = client->lent;
		client->lent = upstream->lent_next;
		upstream->is_lent = false;
		if (upstream->block != NULL)
			give_block_back(upstream);
		if (upstream->piped == 0)
			h1_pipe_release(upstream);
	}
}

static void release_later(struct upstream *upstream)
{
	struct client *client = upstream->origin->client;
	if (upstream->is_lent)
		return;
	upstream->is_lent = true;
	upstream->lent_next = client->lent;
	client->lent = upstream;
	client_sweep_later(client);
}

static void finish_call(struct client_call *call)
{
	struct upstream *upstream = call->upstream;
	call->phase = CALL_DONE;
	if (upstream->block != NULL) /* more than was promised: this connection is not used again */
		call->keeps_alive = false;
	if (call->is_request_over)
		upstream_release(upstream, call);
}

/* One head, interim ones skipped. *is_final: `call` has its response. */
static enum status parse_heads(struct upstream *upstream, bool *is_final)
{
	static const struct h1_limits limits = {HEAD_BYTES, HEAD_FIELDS};
	struct client_call *call = upstream->call;
	*is_final = false;
	for (;;) {
		struct h1_head head = {.headers = call->headers};
		size_t used = 0;
		enum status status = h1_parse_response(
			(char *)upstream->block + upstream->at, upstream->end - upstream->at, &limits, call->headers, &head, &used);
		if (status != STATUS_OK)
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
			return STATUS_OK;
	}
}

static void read_head(struct upstream *upstream)
{
	struct client *client = upstream->origin->client;
	struct client_call *call = upstream->call;
	if (upstream->block == NULL && (upstream->block = block_take(client)) == NULL) {
		upstream_fail(upstream, STATUS_NO_MEMORY);
		return;
	}
	if (upstream->at > 0) { /* behind interim heads */
		memmove(upstream->block, upstream->block + upstream->at, upstream->end - upstream->at);
		upstream->end -= upstream->at;
		upstream->at = 0;
	}
	size_t room = CLIENT_BLOCK - upstream->end;
	long count = upstream_receive(upstream, upstream->block + upstream->end, room < HEAD_READ ? room : HEAD_READ);
	if (count == 0) {
		give_block_back(upstream);
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
	give_block_back(upstream);
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

/* --- the body */

static enum body_state fail_read(struct client_call *call, enum status why)
{
	if (call->upstream != NULL)
		upstream_kill(call->upstream);
	call->phase = CALL_FAILED;
	call->error = why;
	return BODY_FAILED;
}

static enum body_state wait_readable(struct client_call *call)
{
	call->wants_readable = true;
	call->upstream->active_ms = client_now(call->client); /* the silence that counts begins when bytes are wanted */
	upstream_want_read(call->upstream, true);
	return BODY_LATER;
}

/* From the block, by the framing; BODY_LATER: it holds nothing usable. */
static enum body_state take_chunked(struct client_call *call, uint8_t *into, size_t room, size_t *count)
{
	struct upstream *upstream = call->upstream;
	while (upstream->at < upstream->end) {
		size_t used, at, length;
		bool ended;
		size_t available = upstream->end - upstream->at;
		struct h1_chunks before = call->chunks;
		if (h1_chunks_take(&call->chunks, (const char *)upstream->block + upstream->at, available, &used, &at, &length,
				&ended) != STATUS_OK)
			return fail_read(call, STATUS_PROTOCOL);
		if (length > room - *count) { /* again, with no more than fits: data is taken byte for byte */
			call->chunks = before;
			if (h1_chunks_take(&call->chunks, (const char *)upstream->block + upstream->at, at + room - *count, &used,
					&at, &length, &ended) != STATUS_OK)
				return fail_read(call, STATUS_PROTOCOL);
		}
		if (length > 0)
			memcpy(into + *count, upstream->block + upstream->at + at, length);
		upstream->at += used;
		*count += length;
		if (ended) {
			give_block_back(upstream);
			finish_call(call);
			return BODY_END;
		}
		if (*count == room)
			break;
		if (used == 0)
			break;
	}
	give_block_back(upstream);
	return *count > 0 ? BODY_MORE : BODY_LATER;
}

static enum body_state take_plain(struct client_call *call, uint8_t *into, size_t room, size_t *count)
{
	struct upstream *upstream = call->upstream;
	size_t available = upstream->end - upstream->at;
	size_t part = available < room ? available : room;
	if (call->framing == FRAMING_LENGTH && part > call->left)
		part = (size_t)call->left;
	if (part > 0)
		memcpy(into, upstream->block + upstream->at, part);
	upstream->at += part;
	*count = part;
	give_block_back(upstream);
	if (call->framing != FRAMING_LENGTH)
		return part > 0 ? BODY_MORE : BODY_LATER;
	call->left -= part;
	if (call->left > 0)
		return part > 0 ? BODY_MORE : BODY_LATER;
	finish_call(call);
	return BODY_END;
}

static enum body_state take(struct client_call *call, uint8_t *into, size_t room, size_t *count)
{
	if (call->framing == FRAMING_CHUNKED)
		return take_chunked(call, into, room, count);
	return take_plain(call, into, room, count);
}

static enum body_state on_end(struct client_call *call, long result)
{
	if (call->framing == FRAMING_CLOSE && result == -1) {
		upstream_kill(call->upstream);
		call->phase = CALL_DONE;
		return BODY_END;
	}
	return fail_read(call, STATUS_CLOSED); /* the framing promised more */
}

/* How much a read may bring: what is wanted, what may be held beyond it, and never only crumbs. */
static size_t read_limit(const struct client_call *call, size_t kept_length, size_t room)
{
	size_t most = CLIENT_BLOCK - kept_length;
	size_t wanted = call->ahead_limit < CLIENT_BLOCK ? room + call->ahead_limit : most;
	if (wanted < LEAST_READ)
		wanted = LEAST_READ;
	return wanted < most ? wanted : most;
}

/* The block, with what was not taken at its start. NULL: out of memory. */
static uint8_t *block_for_reading(struct upstream *upstream, struct client *client)
{
	size_t kept_length = upstream->end - upstream->at;
	if (upstream->block == NULL && (upstream->block = block_take(client)) == NULL)
		return NULL;
	if (kept_length > 0 && upstream->at > 0)
		memmove(upstream->block, upstream->block + upstream->at, kept_length);
	upstream->at = 0;
	upstream->end = kept_length;
	return upstream->block;
}

static void pipe_passed(struct client_call *call, size_t count)
{
	struct upstream *upstream = call->upstream;
	upstream->piped -= count;
	call->left -= count;
	if (upstream->piped == 0)
		release_later(upstream);
}

/* What went into a pipe and is not passed on by it. */
static enum body_state read_pipe(struct client_call *call, uint8_t *into, size_t room, size_t *count)
{
	struct upstream *upstream = call->upstream;
	ssize_t got = read(upstream->pipe.out, into, room < upstream->piped ? room : upstream->piped);
	if (got <= 0)
		return fail_read(call, STATUS_IO);
	*count = (size_t)got;
	pipe_passed(call, *count);
	return BODY_MORE;
}

static enum body_state read_body(struct client_call *call, uint8_t *into, size_t room, size_t *count)
{
	struct upstream *upstream = call->upstream;
	if (upstream == NULL)
		return BODY_FAILED;
	if (call->framing == FRAMING_NONE || (call->framing == FRAMING_LENGTH && call->left == 0)) {
		finish_call(call);
		return BODY_END;
	}
	if (upstream->piped > 0)
		return read_pipe(call, into, room, count);
	enum body_state state = upstream->block != NULL ? take(call, into, room, count) : BODY_LATER;
	/* until there is nothing more to read: TLS may hold bytes that the socket does not show */
	while (state == BODY_LATER) {
		uint8_t *block = block_for_reading(upstream, call->client);
		if (block == NULL)
			return fail_read(call, STATUS_NO_MEMORY);
		long received = upstream_receive(upstream, block + upstream->end, read_limit(call, upstream->end, room));
		if (received <= 0) {
			give_block_back(upstream);
			return received == 0 ? wait_readable(call) : on_end(call, received);
		}
		upstream->end += (size_t)received;
		state = take(call, into, room, count);
	}
	return state;
}

static size_t held(const struct client_call *call)
{
	const struct upstream *upstream = call->upstream;
	return upstream == NULL ? 0 : upstream->end - upstream->at + upstream->piped;
}

/* Fills the empty block. */
static enum body_state fill_block(struct client_call *call, size_t room)
{
	struct upstream *upstream = call->upstream;
	uint8_t *block = block_for_reading(upstream, call->client);
	if (block == NULL)
		return fail_read(call, STATUS_NO_MEMORY);
	size_t limit = read_limit(call, 0, room);
	long received;
	do { /* TLS gives a record at a time */
		received = upstream_receive(upstream, block + upstream->end, limit - upstream->end);
		upstream->end += received > 0 ? (size_t)received : 0;
	} while (received > 0 && upstream->ssl != NULL && upstream->end < limit);
	call->is_sparse = upstream->end < LEAST_PIPED;
	if (upstream->end > 0)
		return BODY_MORE;
	give_block_back(upstream);
	return received == 0 ? wait_readable(call) : on_end(call, received);
}

/* The block stays in its place, though it may be empty, until the end of the turn or the next read. */
static enum body_state lend_body(
	struct client_call *call, size_t room, bool may_read, const uint8_t **bytes, size_t *count)
{
	struct upstream *upstream = call->upstream;
	if (upstream == NULL || call->framing != FRAMING_LENGTH || call->left <= room || upstream->piped > 0)
		return BODY_MORE;
	if (upstream->at == upstream->end) {
		enum body_state state = may_read ? fill_block(call, room) : BODY_MORE;
		if (!may_read || state != BODY_MORE)
			return state;
	}
	size_t left = upstream->end - upstream->at, part = left < room ? left : room;
	*bytes = upstream->block + upstream->at;
	*count = part;
	upstream->at += part;
	call->left -= part;
	if (upstream->at == upstream->end)
		release_later(upstream);
	return BODY_MORE;
}

static enum body_state fill_pipe(struct client_call *call)
{
	struct upstream *upstream = call->upstream;
	size_t ahead = call->ahead_limit < CLIENT_BLOCK ? call->ahead_limit : CLIENT_BLOCK;
	size_t most = call->left - PIPE_TAIL < ahead ? (size_t)call->left - PIPE_TAIL : ahead;
	upstream->has_pipe = upstream->has_pipe || pipes_take(&call->client->pipes, &upstream->pipe);
	if (!upstream->has_pipe)
		return BODY_MORE;
	ssize_t count;
	do
		count = splice(upstream->descriptor, NULL, upstream->pipe.in, NULL, most, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
	while (count < 0 && errno == EINTR);
	if (count > 0) {
		upstream->active_ms = client_now(call->client);
		upstream->piped = (size_t)count;
		call->is_sparse = count < LEAST_PIPED;
		return BODY_MORE;
	}
	int error = errno;
	release_later(upstream);
	if (count == 0)
		return on_end(call, -1);
	return error == EAGAIN ? wait_readable(call) : fail_read(call, STATUS_CLOSED);
}

/* Only while much comes at once, and may be held. */
static enum body_state pipe_body(struct client_call *call, size_t room, int *pipe, size_t *count)
{
	struct upstream *upstream = call->upstream;
	if (upstream == NULL || upstream->ssl != NULL || call->framing != FRAMING_LENGTH || call->left <= room + PIPE_TAIL)
		return BODY_MORE;
	if (upstream->piped == 0) {
		if (upstream->at < upstream->end || call->is_sparse || call->ahead_limit < LEAST_AHEAD_PIPED)
			return BODY_MORE;
		enum body_state state = fill_pipe(call);
		if (state != BODY_MORE || upstream->piped == 0)
			return state;
	}
	*pipe = upstream->pipe.out;
	*count = upstream->piped < room ? upstream->piped : room;
	pipe_passed(call, *count);
	return BODY_MORE;
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
	.read = read_body,
	.pipe = pipe_body,
	.lend = lend_body,
	.write = write_body,
	.held = held,
};
