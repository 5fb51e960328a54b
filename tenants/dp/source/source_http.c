/* Source "http": the consumer's request becomes one of ours, and the answer streams back as the consumer takes it. */
#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "tenants/dp/source/conditions.h"
#include "tenants/dp/source/headers.h"
#include "tenants/dp/source/http_source.h"
#include "tenants/dp/source/relay.h"

enum { REQUEST_HEADERS_MAX = 64 };

struct http_pull {
	struct relay relay; /* first */
	struct credential_waiter waiter;
	bool has_retried, has_body, is_receiving, is_ended;
	struct buffer kept; /* request bytes the source has not taken: at most the consumer's window */
	size_t kept_from;
};

static const struct client_events events;
static void on_credential(struct credential_waiter *waiter, enum status status);

/* --- the request */

static bool is_set(const struct http_source *source, struct text name)
{
	for (size_t i = 0; i < source->header_count; i++) {
		if (text_equals(source->headers[i].name, name))
			return true;
	}
	return false;
}

/* 0: out of memory. */
static size_t collect_headers(const struct http_pull *state, struct header *headers)
{
	const struct pull *pull = state->relay.pull;
	const struct exchange *exchange = pull->exchange;
	const struct http_source *source = pull->part->source;
	size_t count = http_source_headers(source, &source->lanes[pull->home->index], headers);
	for (unsigned i = 0; i < exchange->header_count && count < REQUEST_HEADERS_MAX - 8; i++) {
		struct text name = exchange->headers[i].name;
		if (!header_goes_to_source(name) || is_set(source, name))
			continue;
		enum passage passage = condition_pass(pull, &exchange->headers[i], &headers[count]);
		if (passage == PASSAGE_FAILED)
			return 0;
		count += passage == PASSES;
	}
	if (state->has_body) {
		struct text type = exchange_header(exchange, TEXT("content-type"));
		if (type.bytes == NULL)
			type = source->content_type != NULL ? text_of(source->content_type) : TEXT("application/octet-stream");
		headers[count++] = (struct header){TEXT("content-type"), type};
	}
	if (exchange->traceparent.bytes != NULL)
		headers[count++] = (struct header){TEXT("traceparent"), exchange->traceparent};
	/* what the connectors in the field tell a backend (dataplane.md 1.1) */
	headers[count++] = (struct header){TEXT("edc-contract-agreement-id"), pull->agreement};
	const struct flow_terms *terms = atomic_load_explicit(&pull->flow->terms, memory_order_acquire);
	headers[count++] = (struct header){TEXT("edc-bpn"), text_of(terms->counter_party)};
	return count;
}

static struct text join(struct exchange *exchange, struct text a, struct text separator, struct text b)
{
	char *bytes = exchange_allocate(exchange, a.length + separator.length + b.length + 1);
	if (bytes == NULL)
		return TEXT_NONE;
	memcpy(bytes, a.bytes, a.length);
	memcpy(bytes + a.length, separator.bytes, separator.length);
	memcpy(bytes + a.length + separator.length, b.bytes, b.length);
	return (struct text){bytes, a.length + separator.length + b.length};
}

static bool build_url(const struct pull *pull, struct url *url)
{
	const struct http_source *source = pull->part->source;
	struct exchange *exchange = pull->exchange;
	*url = source->url;
	url->path = source->path;
	url->query = source->query;
	if (source->proxy_path) {
		url->path = source->url.path;
		if (pull->below.length > 0)
			url->path = join(exchange, source->base, TEXT(""), pull->below);
	}
	struct text query = source->proxy_query ? exchange_query(exchange) : TEXT_NONE;
	if (query.length > 0)
		url->query = url->query.length > 0 ? join(exchange, url->query, TEXT("&"), query) : query;
	return url->path.bytes != NULL && (query.length == 0 || url->query.bytes != NULL);
}

static struct text method_of(const struct pull *pull)
{
	const struct http_source *source = pull->part->source;
	/* HEAD asks for what GET would bring, so it may stand for the dataset's own GET */
	return source->proxy_method || pull->method == METHOD_HEAD ? pull->exchange->method : text_of(source->method);
}

static void send_request(struct http_pull *state)
{
	struct pull *pull = state->relay.pull;
	const struct dp *dp = pull->home->dp;
	const struct participant *participant = registry_find(dp->registry, text_of(pull->flow->ctx));
	struct header headers[REQUEST_HEADERS_MAX];
	struct url url;
	if (participant == NULL || !build_url(pull, &url)) {
		relay_refuse(pull, participant == NULL ? STATUS_UNAVAILABLE : STATUS_NO_MEMORY);
		return;
	}
	size_t header_count = collect_headers(state, headers);
	if (header_count == 0) {
		relay_refuse(pull, STATUS_NO_MEMORY);
		return;
	}
	struct address_rules addresses = participant_address_rules(participant);
	const struct client_request request = {.tenant = text_of(pull->flow->ctx),
		.url = &url,
		.method = method_of(pull),
		.headers = headers,
		.header_count = header_count,
		.body_length = state->has_body ? pull->exchange->request_length : 0,
		.rules = &addresses,
		.read_ms = (uint32_t)dp->settings.source_ms};
	enum status status = client_call_start(pull->home->worker, &request, &events, state, &state->relay.call);
	if (status != STATUS_OK) {
		state->relay.call = NULL;
		relay_refuse(pull, status);
	}
}

/* --- the request's body: what the source does not take now is kept, and the consumer's window stays closed for as much
 */

static void push(struct http_pull *state)
{
	struct buffer *kept = &state->kept;
	size_t left = kept->length - state->kept_from;
	if (left == 0 && !state->is_ended)
		return;
	size_t taken =
		client_call_write(state->relay.call, (const uint8_t *)kept->bytes + state->kept_from, left, state->is_ended);
	state->kept_from += taken;
	if (state->kept_from == kept->length) {
		buffer_clear(kept);
		state->kept_from = 0;
	}
	if (taken > 0)
		exchange_consume(state->relay.pull->exchange, taken);
}

static void on_body(struct exchange *exchange, const uint8_t *bytes, size_t length, bool ended)
{
	struct pull *pull = exchange->state;
	struct http_pull *state = pull->source_state;
	state->is_ended = ended;
	if (state->relay.call == NULL) {
		exchange_consume(exchange, length);
		return;
	}
	size_t taken = 0;
	if (state->kept.length == state->kept_from) {
		taken = client_call_write(state->relay.call, bytes, length, ended);
		if (taken > 0)
			exchange_consume(exchange, taken);
	}
	if (taken == length)
		return;
	buffer_append(&state->kept, (struct text){(const char *)bytes + taken, length - taken});
	if (state->kept.failed)
		exchange_abort(exchange, STATUS_NO_MEMORY);
}

static void on_writable(void *context, struct client_call *call)
{
	struct http_pull *state = context;
	(void)call;
	if (!state->has_body)
		return;
	if (!state->is_receiving) {
		state->is_receiving = true;
		exchange_receive(state->relay.pull->exchange, on_body);
		return;
	}
	push(state);
}

/* --- the answer */

static void ask_credential(struct http_pull *state)
{
	const struct http_source *source = state->relay.pull->part->source;
	credential_fetch(
		state->relay.pull, &source->credential, &source->lanes[state->relay.pull->home->index], &state->waiter);
}

/* The secret may have changed behind our back: once, without a body to repeat. */
static bool retry(struct http_pull *state, const struct client_response *response)
{
	const struct http_source *source = state->relay.pull->part->source;
	const struct credential_rules *rules = &source->credential;
	if (response->status != 401 || state->has_retried || state->has_body ||
		(rules->secret_name == NULL && rules->client_id == NULL))
		return false;
	state->has_retried = true;
	relay_close(&state->relay);
	credential_forget(&source->lanes[state->relay.pull->home->index]);
	ask_credential(state);
	return true;
}

static void on_head(void *context, struct client_call *call, const struct client_response *response)
{
	struct http_pull *state = context;
	(void)call;
	if (retry(state, response))
		return;
	relay_answer(&state->relay, response, header_goes_to_consumer);
}

static const struct client_events events = {on_head, relay_on_readable, on_writable, relay_on_failed};

/* --- the driver */

static void on_credential(struct credential_waiter *waiter, enum status status)
{
	struct http_pull *state = (struct http_pull *)(void *)((char *)waiter - offsetof(struct http_pull, waiter));
	if (status != STATUS_OK)
		relay_refuse(state->relay.pull, status);
	else
		send_request(state);
}

static void http_start(struct pull *pull)
{
	const struct http_source *source = pull->part->source;
	if (conditions_fail(pull)) {
		pull_refuse(pull, 412, TEXT_NONE);
		return;
	}
	struct http_pull *state = exchange_allocate(pull->exchange, sizeof(*state));
	if (state == NULL) {
		relay_refuse(pull, STATUS_NO_MEMORY);
		return;
	}
	memset(state, 0, sizeof(*state));
	state->relay.pull = pull;
	state->waiter.ready = on_credential;
	state->has_body = source->proxy_body && pull->exchange->request_length != 0;
	pull->source_state = state;
	if (credential_is_ready(pull, &source->credential, &source->lanes[pull->home->index]))
		send_request(state);
	else
		ask_credential(state);
}

static void http_close(struct pull *pull)
{
	struct http_pull *state = pull->source_state;
	if (state == NULL)
		return;
	credential_leave(&state->waiter);
	relay_close(&state->relay);
	buffer_free(&state->kept);
}

static unsigned http_methods(const void *source)
{
	return ((const struct http_source *)source)->methods;
}

const struct source_driver source_http = {
	.type = "http",
	.build = http_source_build,
	.free = http_source_free,
	.methods = http_methods,
	.start = http_start,
	.close = http_close,
};
