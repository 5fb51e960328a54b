/* HTTP/1.1 from upstreams, the answer's body: copied from the connection's block, lent in it, or moved by a pipe. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "server/client_h1.h"

/* A read takes at least that. Less at once is not worth a pipe; and what of the end of a body is not taken by one. */
enum { LEAST_READ = 4096, LEAST_PIPED = 64 * 1024, LEAST_AHEAD_PIPED = 256 * 1024, PIPE_TAIL = 16 * 1024 };

/* --- the block, and the pipe */

void h1_block_release(struct upstream *upstream)
{
	if (upstream->at < upstream->end)
		return;
	block_drop(upstream);
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
			h1_block_release(upstream);
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

/* --- reading */

static void finish_call(struct client_call *call)
{
	struct upstream *upstream = call->upstream;
	call->phase = CALL_DONE;
	if (upstream->block != NULL) /* more than was promised: this connection is not used again */
		call->keeps_alive = false;
	if (call->is_request_over)
		upstream_release(upstream, call);
}

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
			h1_block_release(upstream);
			finish_call(call);
			return BODY_END;
		}
		if (*count == room)
			break;
		if (used == 0)
			break;
	}
	h1_block_release(upstream);
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
	h1_block_release(upstream);
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
static uint8_t *block_for_reading(struct upstream *upstream)
{
	size_t kept_length = upstream->end - upstream->at;
	if (!block_take(upstream, BLOCK_BODY))
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

enum body_state h1_body_read(struct client_call *call, uint8_t *into, size_t room, size_t *count)
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
		uint8_t *block = block_for_reading(upstream);
		if (block == NULL)
			return fail_read(call, STATUS_NO_MEMORY);
		long received = upstream_receive(upstream, block + upstream->end, read_limit(call, upstream->end, room));
		if (received <= 0) {
			h1_block_release(upstream);
			return received == 0 ? wait_readable(call) : on_end(call, received);
		}
		upstream->end += (size_t)received;
		state = take(call, into, room, count);
	}
	return state;
}

size_t h1_body_held(const struct client_call *call)
{
	const struct upstream *upstream = call->upstream;
	return upstream == NULL ? 0 : upstream->end - upstream->at + upstream->piped;
}

/* Fills the empty block. */
static enum body_state fill_block(struct client_call *call, size_t room)
{
	struct upstream *upstream = call->upstream;
	uint8_t *block = block_for_reading(upstream);
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
	h1_block_release(upstream);
	return received == 0 ? wait_readable(call) : on_end(call, received);
}

/* The block stays in its place, though it may be empty, until the end of the turn or the next read. */
enum body_state h1_body_lend(struct client_call *call, size_t room, bool may_read, const uint8_t **bytes, size_t *count)
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
enum body_state h1_body_pipe(struct client_call *call, size_t room, int *pipe, size_t *count)
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
