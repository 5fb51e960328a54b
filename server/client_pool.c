/* Pools: which connection a call gets. */
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/map.h"
#include "server/client_private.h"

enum { KEY_ROOM = 2048 };

/* --- TLS identities: one context for each set of authorities, made on first use */

static SSL_CTX *make_context(OSSL_LIB_CTX *library, const char *ca_file)
{
	SSL_CTX *context = SSL_CTX_new_ex(library, NULL, TLS_client_method());
	if (context == NULL)
		return NULL;
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
								  SSL_MODE_RELEASE_BUFFERS | SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
	bool is_set = SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
				  (ca_file == NULL ? SSL_CTX_set_default_verify_paths(context)
								   : SSL_CTX_load_verify_locations(context, ca_file, NULL)) == 1;
	ERR_clear_error();
	if (is_set)
		return context;
	SSL_CTX_free(context);
	return NULL;
}

enum status identity_check(const char *ca_file, struct buffer *error)
{
	SSL_CTX *context = make_context(NULL, ca_file);
	SSL_CTX_free(context);
	if (context != NULL)
		return STATUS_OK;
	buffer_printf(error, "client.ca_file: %s: holds no PEM certificates", ca_file == NULL ? "the system's" : ca_file);
	return STATUS_INVALID;
}

static struct identity *identity_get(struct client *client, struct text ca_file)
{
	if (ca_file.bytes == NULL && client->settings->ca_file != NULL)
		ca_file = text_of(client->settings->ca_file);
	for (struct identity *identity = client->identities; identity != NULL; identity = identity->next) {
		struct text own = identity->ca_file == NULL ? TEXT_NONE : text_of(identity->ca_file);
		if (text_equals(own, ca_file))
			return identity;
	}
	if (client->library == NULL && (client->library = OSSL_LIB_CTX_new()) == NULL)
		return NULL;
	struct identity *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return NULL;
	made->ca_file = ca_file.bytes == NULL ? NULL : text_copy(ca_file);
	made->context = make_context(client->library, made->ca_file);
	if (made->context == NULL) {
		free(made->ca_file);
		free(made);
		return NULL;
	}
	made->next = client->identities;
	client->identities = made;
	return made;
}

void identities_free(struct client *client)
{
	while (client->identities != NULL) {
		struct identity *next = client->identities->next;
		SSL_CTX_free(client->identities->context);
		free(client->identities->ca_file);
		free(client->identities);
		client->identities = next;
	}
	OSSL_LIB_CTX_free(client->library);
	client->library = NULL;
}

/* --- origins */

/* Where those of a host are remembered: the last found one of each place is compared before a key is made and hashed.
 */
static struct origin **find_place(struct client *client, struct text tenant, struct text host, uint16_t port)
{
	size_t sum = port + host.length;
	sum += tenant.length > 0 ? (unsigned char)tenant.bytes[tenant.length - 1] : 0;
	sum += host.length > 0 ? (unsigned char)host.bytes[0] + (unsigned char)host.bytes[host.length / 2] : 0;
	return &client->recent[sum % ORIGINS_RECENT];
}

static bool is_wanted(const struct origin *origin, const struct client_request *request)
{
	return origin != NULL && origin->port == request->url->port && origin->is_tls == request->url->tls &&
		   origin->version == request->version && text_equals(origin->tenant, request->tenant) &&
		   text_equals((struct text){origin->host, origin->host_length}, request->url->host) &&
		   text_equals(origin->ca_file, request->ca_file);
}

struct origin *origin_get(struct client *client, const struct client_request *request, enum status *status)
{
	const struct url *url = request->url;
	struct origin **recent = find_place(client, request->tenant, url->host, url->port);
	if (is_wanted(*recent, request))
		return *recent;
	char room[KEY_ROOM], port[3] = {(char)(url->port >> 8), (char)(url->port & 255), (char)request->version};
	const struct text parts[] = {
		request->tenant, url->tls ? TEXT("https") : TEXT("http"), url->host, {port, sizeof(port)}, request->ca_file};
	struct text key = map_key(room, sizeof(room), parts, 5);
	if (key.length == 0) {
		*status = STATUS_TOO_LARGE;
		return NULL;
	}
	struct origin **bucket = &client->origins[text_hash(key) % ORIGIN_BUCKETS];
	for (struct origin *origin = *bucket; origin != NULL; origin = origin->next) {
		if (!text_equals((struct text){origin->key, origin->key_length}, key))
			continue;
		*recent = origin;
		return origin;
	}
	struct identity *identity = url->tls ? identity_get(client, request->ca_file) : NULL;
	struct origin *made = calloc(1, sizeof(*made) + key.length + url->host.length + 1);
	if (made == NULL || (url->tls && identity == NULL)) {
		free(made);
		*status = STATUS_NO_MEMORY;
		return NULL;
	}
	made->client = client;
	made->identity = identity;
	made->is_tls = url->tls;
	made->version = request->version;
	made->may_share = request->version == HTTP_2 || (request->version == HTTP_ANY && url->tls);
	made->port = url->port;
	made->queue_end = &made->queue;
	made->key_length = key.length;
	memcpy(made->key, key.bytes, key.length);
	made->host = made->key + key.length;
	made->host_length = url->host.length;
	memcpy(made->host, url->host.bytes, url->host.length);
	made->tenant = (struct text){made->key + sizeof(uint32_t), request->tenant.length};
	made->ca_file = (struct text){made->key + key.length - request->ca_file.length, request->ca_file.length};
	made->next = *bucket;
	*bucket = made;
	return made;
}

void origin_free_if_unused(struct origin *origin)
{
	if (origin->upstreams > 0 || origin->queue != NULL || origin->is_pump_due)
		return;
	struct origin **at =
		&origin->client->origins[text_hash((struct text){origin->key, origin->key_length}) % ORIGIN_BUCKETS];
	while (*at != origin)
		at = &(*at)->next;
	*at = origin->next;
	struct origin **recent =
		find_place(origin->client, origin->tenant, (struct text){origin->host, origin->host_length}, origin->port);
	if (*recent == origin)
		*recent = NULL;
	known_heads_forget(&origin->known);
	free(origin);
}

static struct upstream *take_idle(struct origin *origin, const struct client_call *call)
{
	for (struct upstream **at = &origin->idle; *at != NULL; at = &(*at)->idle_next) {
		struct upstream *upstream = *at;
		if (!upstream_is_allowed(upstream, call))
			continue;
		*at = upstream->idle_next;
		origin->idle_count--;
		return upstream;
	}
	return NULL;
}

static struct upstream *find_shared(const struct origin *origin, const struct client_call *call)
{
	for (struct upstream *upstream = origin->shared; upstream != NULL; upstream = upstream->shared_next) {
		if (h2_has_room(upstream) && upstream_is_allowed(upstream, call))
			return upstream;
	}
	return NULL;
}

enum placement { PLACED, MUST_WAIT, CANNOT };

/* A connection with room, else a new one, unless one is coming up that may serve this call too. */
static enum placement place(struct origin *origin, struct client_call *call, enum status *status)
{
	const struct client_settings *settings = origin->client->settings;
	struct upstream *upstream = take_idle(origin, call);
	if (upstream == NULL)
		upstream = find_shared(origin, call);
	if (upstream != NULL) {
		upstream->is_reused = true;
		client_count(CLIENT_REUSED);
		upstream_begin(upstream, call);
		return PLACED;
	}
	bool may_wait = origin->waiting < (uint64_t)settings->waiting_calls;
	if (origin->opening > 0 && origin->may_share && may_wait)
		return MUST_WAIT;
	if (origin->upstreams >= (uint64_t)settings->connections_per_origin)
		return MUST_WAIT;
	*status = upstream_open(origin, call);
	return *status == STATUS_OK ? PLACED : CANNOT;
}

enum status origin_assign(struct origin *origin, struct client_call *call)
{
	enum status status = STATUS_OK;
	switch (place(origin, call, &status)) {
	case PLACED:
		return STATUS_OK;
	case CANNOT:
		origin_free_if_unused(origin);
		return status;
	case MUST_WAIT:
		break;
	}
	if (origin->waiting >= (uint64_t)origin->client->settings->waiting_calls)
		return STATUS_REFUSED;
	call->waiting_in = origin;
	call->queue_next = NULL;
	*origin->queue_end = call;
	origin->queue_end = &call->queue_next;
	origin->waiting++;
	return STATUS_OK;
}

void origin_requeue(struct origin *origin, struct client_call *call)
{
	call->phase = CALL_WAITING;
	call->waiting_in = origin;
	call->queue_next = origin->queue;
	if (origin->queue == NULL)
		origin->queue_end = &call->queue_next;
	origin->queue = call;
	origin->waiting++;
	origin_pump_later(origin);
}

static void unqueue(struct origin *origin, struct client_call **at)
{
	struct client_call *call = *at;
	*at = call->queue_next;
	if (*at == NULL)
		origin->queue_end = at;
	origin->waiting--;
	call->waiting_in = NULL;
}

void origin_leave_queue(struct client_call *call)
{
	struct origin *origin = call->waiting_in;
	struct client_call **at = &origin->queue;
	while (*at != call)
		at = &(*at)->queue_next;
	unqueue(origin, at);
	origin_free_if_unused(origin);
}

void origin_pump(struct origin *origin)
{
	bool is_stopping = origin->client->is_stopping;
	while (origin->queue != NULL) {
		struct client_call *call = origin->queue;
		enum status status = STATUS_STOPPED;
		enum placement placement = is_stopping ? CANNOT : place(origin, call, &status);
		if (placement == MUST_WAIT)
			break;
		unqueue(origin, &origin->queue);
		if (placement == CANNOT)
			call_fail(call, status);
	}
	origin_free_if_unused(origin);
}

void origin_pump_later(struct origin *origin)
{
	struct client *client = origin->client;
	if (origin->is_pump_due)
		return;
	origin->is_pump_due = true;
	origin->pump_next = client->pumps;
	client->pumps = origin;
	client_sweep_later(client);
}

void origins_pump(struct client *client)
{
	struct origin *origin = client->pumps;
	client->pumps = NULL;
	while (origin != NULL) {
		struct origin *next = origin->pump_next;
		origin->is_pump_due = false;
		origin_pump(origin);
		origin = next;
	}
}
