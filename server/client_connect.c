/* Upstream connections coming up: name, guard, connect, handshake. */
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "server/client_private.h"
#include "server/tls_errors.h"

static void connect_next(struct upstream *upstream);

/* --- the guard */

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

/* --- up */

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
	upstream_end_opening(upstream, is_h2);
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
		upstream_drop_socket(upstream);
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
		upstream_drop_socket(upstream);
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
