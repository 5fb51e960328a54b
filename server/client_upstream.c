/* Upstream connections: name, guard, connect, handshake, bytes, deadlines. */
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/client_private.h"
#include "server/tls_errors.h"

static void connect_next(struct upstream *upstream);

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

static void end_opening(struct upstream *upstream, bool may_share)
{
	if (!upstream->is_opening)
		return;
	upstream->is_opening = false;
	upstream->origin->opening--;
	upstream->origin->may_share = may_share;
	if (upstream->origin->queue != NULL)
		origin_pump_later(upstream->origin);
}

static void drop_socket(struct upstream *upstream)
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
	end_opening(upstream, false);
	upstream->phase = UPSTREAM_DEAD;
	if (upstream->protocol != NULL && upstream->protocol->close != NULL)
		upstream->protocol->close(upstream);
	if (upstream->request != NULL)
		resolver_cancel(upstream->request);
	upstream->request = NULL;
	drop_socket(upstream);
	block_give(client, upstream->block);
	upstream->block = NULL;
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

static bool may_reach(const struct upstream *upstream, const struct client_call *call, const struct sockaddr *address)
{
	const struct address_rules rules = {call->rules, call->rule_count};
	return address_is_allowed(&rules, address) &&
		   !own_sockets_contain(&call->client->pool->forbidden, address, upstream->origin->port);
}

bool upstream_is_allowed(const struct upstream *upstream, const struct client_call *call)
{
	return may_reach(upstream, call, &upstream->addresses[upstream->address_at - 1].any);
}

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

/* --- coming up */

static void on_up(struct upstream *upstream)
{
	struct origin *origin = upstream->origin;
	struct client_call *call = upstream->call;
	const unsigned char *name = NULL;
	unsigned length = 0;
	if (upstream->ssl != NULL)
		SSL_get0_alpn_selected(upstream->ssl, &name, &length);
	bool is_h2 = upstream->ssl != NULL ? text_equals((struct text){(const char *)name, length}, TEXT("h2"))
									   : origin->version == HTTP_2;
	if (origin->version == HTTP_2 && !is_h2) {
		upstream_fail(upstream, STATUS_PROTOCOL);
		return;
	}
	client_count(CLIENT_CONNECTED);
	end_opening(upstream, is_h2);
	upstream->protocol = is_h2 ? &client_h2 : &client_h1;
	if (is_h2) {
		upstream->call = NULL;
		upstream->shared_next = origin->shared;
		origin->shared = upstream;
	}
	enum status status = upstream->protocol->open == NULL ? STATUS_OK : upstream->protocol->open(upstream);
	if (status != STATUS_OK) {
		call->upstream = NULL;
		upstream_kill(upstream);
		call_fail(call, status);
		return;
	}
	upstream_begin(upstream, call);
}

static void handshake(struct upstream *upstream)
{
	tls_errors_clear();
	int result = SSL_connect(upstream->ssl);
	if (result == 1) {
		on_up(upstream);
		return;
	}
	int error = SSL_get_error(upstream->ssl, result);
	if (error == SSL_ERROR_WANT_READ)
		upstream_want_read(upstream, true);
	else if (error == SSL_ERROR_WANT_WRITE)
		event_add(upstream->write_event, NULL);
	else
		upstream_fail(upstream, STATUS_UNAVAILABLE);
}

/* by enum http_version: what is offered */
static const struct {
	const unsigned char *protocols;
	unsigned length;
} offers[] = {
	[HTTP_ANY] = {(const unsigned char *)"\x02h2\x08http/1.1", 12},
	[HTTP_1] = {(const unsigned char *)"\x08http/1.1", 9},
	[HTTP_2] = {(const unsigned char *)"\x02h2", 3},
};

static bool start_tls(struct upstream *upstream)
{
	const struct origin *origin = upstream->origin;
	struct resolver_answer literal;
	bool is_address = resolver_literal(text_of(origin->host), &literal);
	upstream->ssl = SSL_new(origin->identity->context);
	if (upstream->ssl == NULL || SSL_set_fd(upstream->ssl, upstream->descriptor) != 1 ||
		SSL_set_alpn_protos(upstream->ssl, offers[origin->version].protocols, offers[origin->version].length) != 0)
		return false;
	X509_VERIFY_PARAM *rules = SSL_get0_param(upstream->ssl);
	X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return is_address ? X509_VERIFY_PARAM_set1_ip_asc(rules, origin->host) == 1
					  : X509_VERIFY_PARAM_set1_host(rules, origin->host, 0) == 1 &&
							SSL_set_tlsext_host_name(upstream->ssl, origin->host) == 1;
}

static void on_connected(struct upstream *upstream)
{
	int error = 0, yes = 1;
	socklen_t length = sizeof(error);
	if (getsockopt(upstream->descriptor, SOL_SOCKET, SO_ERROR, &error, &length) != 0 || error != 0) {
		drop_socket(upstream);
		connect_next(upstream);
		return;
	}
	setsockopt(upstream->descriptor, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	if (!upstream->origin->is_tls) {
		on_up(upstream);
		return;
	}
	upstream->phase = UPSTREAM_TLS;
	if (start_tls(upstream))
		handshake(upstream);
	else
		upstream_fail(upstream, STATUS_UNAVAILABLE);
}

static void on_readable(evutil_socket_t descriptor, short what, void *context)
{
	struct upstream *upstream = context;
	(void)descriptor, (void)what;
	switch (upstream->phase) {
	case UPSTREAM_RESOLVING:
	case UPSTREAM_CONNECTING:
	case UPSTREAM_DEAD:
		return;
	case UPSTREAM_TLS:
		handshake(upstream);
		return;
	case UPSTREAM_IDLE:
	case UPSTREAM_BUSY:
		upstream->protocol->readable(upstream);
		return;
	}
}

static void on_writable(evutil_socket_t descriptor, short what, void *context)
{
	struct upstream *upstream = context;
	(void)descriptor, (void)what;
	if (upstream->phase == UPSTREAM_CONNECTING) {
		on_connected(upstream);
	} else if (upstream->phase == UPSTREAM_TLS) {
		handshake(upstream);
	} else if (upstream->phase == UPSTREAM_BUSY || upstream->phase == UPSTREAM_IDLE) {
		if (!upstream_flush(upstream))
			upstream_fail(upstream, STATUS_CLOSED);
		else if (upstream->out_at == upstream->out_end)
			upstream->protocol->writable(upstream);
	}
}

static bool try_address(struct upstream *upstream, const union resolver_address *address)
{
	union resolver_address target = *address;
	struct event_base *loop = worker_loop(upstream->origin->client->worker);
	socklen_t length = sizeof(target.v4);
	if (target.any.sa_family == AF_INET6) {
		target.v6.sin6_port = htons(upstream->origin->port);
		length = sizeof(target.v6);
	} else {
		target.v4.sin_port = htons(upstream->origin->port);
	}
	upstream->descriptor = socket(target.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (upstream->descriptor < 0)
		return false;
	if (connect(upstream->descriptor, &target.any, length) != 0 && errno != EINPROGRESS)
		return false;
	upstream->phase = UPSTREAM_CONNECTING;
	upstream->read_event = event_new(loop, upstream->descriptor, EV_READ | EV_PERSIST, on_readable, upstream);
	upstream->write_event = event_new(loop, upstream->descriptor, EV_WRITE, on_writable, upstream);
	return upstream->read_event != NULL && upstream->write_event != NULL && event_add(upstream->write_event, NULL) == 0;
}

static void connect_next(struct upstream *upstream)
{
	while (upstream->address_at < upstream->address_count) {
		if (try_address(upstream, &upstream->addresses[upstream->address_at++]))
			return;
		drop_socket(upstream);
	}
	upstream_fail(upstream, STATUS_UNAVAILABLE);
}

/* The guard: every address of the answer must be allowed, and only what was checked is connected to. */
static enum status take_addresses(struct upstream *upstream, const struct resolver_answer *answer)
{
	if (answer->status != STATUS_OK || answer->count == 0)
		return STATUS_UNAVAILABLE;
	for (unsigned i = 0; i < answer->count; i++) {
		if (!may_reach(upstream, upstream->call, &answer->addresses[i].any))
			return STATUS_FORBIDDEN;
	}
	upstream->address_count = answer->count < 8 ? answer->count : 8;
	memcpy(upstream->addresses, answer->addresses, upstream->address_count * sizeof(answer->addresses[0]));
	return STATUS_OK;
}

static void on_resolved(void *context, const struct resolver_answer *answer)
{
	struct upstream *upstream = context;
	upstream->request = NULL;
	enum status status = take_addresses(upstream, answer);
	if (status == STATUS_OK)
		connect_next(upstream);
	else
		upstream_fail(upstream, status);
}

enum status upstream_open(struct origin *origin, struct client_call *call)
{
	struct client *client = origin->client;
	struct resolver_answer literal;
	struct upstream *upstream = calloc(1, sizeof(*upstream));
	if (upstream == NULL)
		return STATUS_NO_MEMORY;
	upstream->origin = origin;
	upstream->descriptor = -1;
	upstream->opened_ms = upstream->active_ms = client_now(client);
	upstream->call = call;
	enum status status = STATUS_OK;
	bool is_literal = resolver_literal(text_of(origin->host), &literal);
	if (is_literal)
		status = take_addresses(upstream, &literal);
	else {
		upstream->request =
			resolver_ask(client->pool->resolver, client->worker, text_of(origin->host), on_resolved, upstream);
		status = upstream->request == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	}
	if (status != STATUS_OK) {
		free(upstream);
		return status;
	}
	origin->upstreams++;
	origin->opening++;
	upstream->is_opening = true;
	call->upstream = upstream;
	upstream->next = client->upstreams;
	if (client->upstreams != NULL)
		client->upstreams->previous = upstream;
	client->upstreams = upstream;
	if (is_literal)
		connect_next(upstream);
	return STATUS_OK;
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
