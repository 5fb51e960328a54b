/* Upstream connections: bytes, calls, deadlines, the end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/client_private.h"
#include "server/tls_errors.h"

/* --- the end */

static void unlink_idle(struct upstream *upstream)
{
	struct upstream **at = &upstream->origin->idle;
	while (*at != NULL && *at != upstream)
		at = &(*at)->idle_next;
	if (*at == NULL)
		return;
	*at = upstream->idle_next;
	upstream->origin->idle_count--;
}

static void unlink_shared(struct upstream *upstream)
{
	struct upstream **at = &upstream->origin->shared;
	while (*at != NULL && *at != upstream)
		at = &(*at)->shared_next;
	if (*at != NULL)
		*at = upstream->shared_next;
}

static void unlink_flush(struct upstream *upstream)
{
	struct upstream **at = &upstream->origin->client->flushes;
	while (*at != upstream)
		at = &(*at)->flush_next;
	*at = upstream->flush_next;
	upstream->is_flush_due = false;
}

static void unlink_lent(struct upstream *upstream)
{
	struct upstream **at = &upstream->origin->client->lent;
	while (*at != upstream)
		at = &(*at)->lent_next;
	*at = upstream->lent_next;
	upstream->is_lent = false;
}

void upstream_end_opening(struct upstream *upstream, bool may_share)
{
	if (!upstream->is_opening)
		return;
	upstream->is_opening = false;
	upstream->origin->opening--;
	upstream->origin->may_share = may_share;
	if (upstream->origin->queue != NULL)
		origin_pump_later(upstream->origin);
}

void upstream_drop_socket(struct upstream *upstream)
{
	if (upstream->read_event != NULL)
		event_free(upstream->read_event);
	if (upstream->write_event != NULL)
		event_free(upstream->write_event);
	upstream->read_event = upstream->write_event = NULL;
	upstream->is_reading = false;
	if (upstream->ssl != NULL) {
		SSL_free(upstream->ssl);
		upstream->ssl = NULL;
		tls_errors_clear();
	}
	if (upstream->descriptor >= 0)
		close(upstream->descriptor);
	upstream->descriptor = -1;
}

void upstream_kill(struct upstream *upstream)
{
	struct client *client = upstream->origin->client;
	if (upstream->phase == UPSTREAM_DEAD)
		return;
	if (upstream->phase == UPSTREAM_IDLE && upstream->protocol == &client_h1)
		unlink_idle(upstream);
	unlink_shared(upstream);
	if (upstream->is_flush_due)
		unlink_flush(upstream);
	if (upstream->is_lent)
		unlink_lent(upstream);
	/* a failed attempt is not one that others wait for any longer: each makes its own */
	upstream_end_opening(upstream, false);
	upstream->phase = UPSTREAM_DEAD;
	if (upstream->protocol != NULL && upstream->protocol->close != NULL)
		upstream->protocol->close(upstream);
	if (upstream->request != NULL)
		resolver_cancel(upstream->request);
	upstream->request = NULL;
	upstream_drop_socket(upstream);
	block_drop(upstream);
	h1_pipe_release(upstream);
	free(upstream->out);
	upstream->out = NULL;
	if (upstream->call != NULL)
		upstream->call->upstream = NULL;
	upstream->call = NULL;
	if (upstream->next != NULL)
		upstream->next->previous = upstream->previous;
	*(upstream->previous != NULL ? &upstream->previous->next : &client->upstreams) = upstream->next;
	upstream->next = client->dead;
	client->dead = upstream;
	client_sweep_later(client);
}

/* Dead connections are freed, and whoever waits for their place is served. */
void upstreams_bury(struct client *client)
{
	while (client->dead != NULL) {
		struct upstream *upstream = client->dead;
		struct origin *origin = upstream->origin;
		client->dead = upstream->next;
		free(upstream);
		origin->upstreams--;
		origin_pump(origin);
	}
}

void upstream_fail(struct upstream *upstream, enum status why)
{
	if (why == STATUS_CLOSED || why == STATUS_IO)
		why = upstream->protocol == NULL ? STATUS_UNAVAILABLE : why;
	if (upstream->protocol != NULL) {
		upstream->protocol->fail(upstream, why);
		upstream_kill(upstream);
		return;
	}
	struct client_call *call = upstream->call;
	upstream_kill(upstream);
	if (call != NULL)
		call_fail(call, why);
}

/* --- bytes */

static long tls_receive(SSL *ssl, uint8_t *into, size_t room)
{
	tls_errors_clear();
	int count = SSL_read(ssl, into, room > INT32_MAX ? INT32_MAX : (int)room);
	if (count > 0)
		return count;
	switch (SSL_get_error(ssl, count)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return -1;
	default:
		return -2;
	}
}

static long clear_receive(int descriptor, uint8_t *into, size_t room)
{
	long count;
	do
		count = recv(descriptor, into, room, 0);
	while (count < 0 && errno == EINTR);
	if (count > 0)
		return count;
	if (count == 0)
		return -1;
	return errno == EAGAIN ? 0 : -2;
}

long upstream_receive(struct upstream *upstream, uint8_t *into, size_t room)
{
	long count = upstream->ssl != NULL ? tls_receive(upstream->ssl, into, room)
									   : clear_receive(upstream->descriptor, into, room);
	if (count > 0)
		upstream->active_ms = client_now(upstream->origin->client);
	return count;
}

long upstream_send(struct upstream *upstream, const uint8_t *bytes, size_t length)
{
	long count;
	if (upstream->ssl != NULL) {
		tls_errors_clear();
		count = SSL_write(upstream->ssl, bytes, length > INT32_MAX ? INT32_MAX : (int)length);
		if (count > 0)
			return count;
		int error = SSL_get_error(upstream->ssl, (int)count);
		return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
	}
	do
		count = send(upstream->descriptor, bytes, length, MSG_NOSIGNAL);
	while (count < 0 && errno == EINTR);
	if (count >= 0)
		return count;
	return errno == EAGAIN ? 0 : -1;
}

bool upstream_flush(struct upstream *upstream)
{
	while (upstream->out_at < upstream->out_end) {
		long count = upstream_send(upstream, upstream->out + upstream->out_at, upstream->out_end - upstream->out_at);
		if (count < 0)
			return false;
		if (count == 0) {
			event_add(upstream->write_event, NULL);
			return true;
		}
		upstream->active_ms = client_now(upstream->origin->client);
		upstream->out_at += (size_t)count;
	}
	upstream->out_at = upstream->out_end = 0;
	return true;
}

void upstream_want_read(struct upstream *upstream, bool want)
{
	if (want == upstream->is_reading || upstream->read_event == NULL)
		return;
	upstream->is_reading = want;
	if (want)
		event_add(upstream->read_event, NULL);
	else
		event_del(upstream->read_event);
}

/* --- calls */

void upstream_begin(struct upstream *upstream, struct client_call *call)
{
	call->upstream = upstream;
	call->protocol = upstream->protocol;
	call->phase = CALL_HEAD;
	upstream->phase = UPSTREAM_BUSY;
	upstream->active_ms = client_now(upstream->origin->client);
	call->is_request_over = call->body_length == 0;
	upstream->protocol->begin(upstream, call);
	if (call->is_writable_due)
		call_due(call);
}

void upstream_release(struct upstream *upstream, struct client_call *call)
{
	if (upstream->protocol != NULL) {
		upstream->protocol->release(upstream, call);
		return;
	}
	call->upstream = NULL; /* not up yet */
	upstream->call = NULL;
	upstream_kill(upstream);
}

/* --- deadlines */

static void check(struct upstream *upstream, uint64_t now_ms)
{
	const struct client_settings *settings = upstream->origin->client->settings;
	switch (upstream->phase) {
	case UPSTREAM_RESOLVING:
	case UPSTREAM_CONNECTING:
	case UPSTREAM_TLS:
		if (now_ms - upstream->opened_ms >= (uint64_t)settings->connect_ms)
			upstream_fail(upstream, STATUS_TIMEOUT);
		return;
	case UPSTREAM_IDLE:
		if (now_ms - upstream->active_ms >= (uint64_t)settings->idle_ms)
			upstream_kill(upstream);
		return;
	case UPSTREAM_BUSY:
		upstream->protocol->check(upstream, now_ms);
		return;
	case UPSTREAM_DEAD:
		return;
	}
}

void upstreams_check(struct client *client)
{
	uint64_t now_ms = client_now(client);
	struct upstream *next;
	for (struct upstream *upstream = client->upstreams; upstream != NULL; upstream = next) {
		next = upstream->next;
		check(upstream, now_ms);
	}
}

void upstreams_close(struct client *client)
{
	while (client->upstreams != NULL)
		upstream_fail(client->upstreams, STATUS_STOPPED);
}
