/* Source "http": the consumer's request becomes one of ours, and the answer streams back as the consumer takes it. */
#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "tenants/dp/headers.h"
#include "tenants/dp/http_source.h"

enum { REQUEST_HEADERS_MAX = 64 };

struct http_pull {
	struct credential_waiter waiter; /* first */
	struct pull *pull;
	struct client_call *call;
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

static size_t collect_headers(const struct http_pull *state, struct header *headers)
{
	const struct pull *pull = state->pull;
	const struct exchange *exchange = pull->exchange;
	const struct http_source *source = pull->part->source;
	const struct credential_lane *lane = &source->lanes[pull->home->index];
	size_t count = 0;
	for (size_t i = 0; i < source->header_count; i++)
		headers[count++] = source->headers[i];
	for (unsigned i = 0; i < exchange->header_count && count < REQUEST_HEADERS_MAX - 8; i++) {
		struct text name = exchange->headers[i].name;
		if (header_goes_to_source(name) && !is_set(source, name))
			headers[count++] = exchange->headers[i];
	}
	if (source->credential.header != NULL) {
		const struct secret *value = source->credential.literal != NULL ? source->credential.literal : lane->value;
		if (value != NULL)
			headers[count++] = (struct header){text_of(source->credential.header), secret_expose(value)};
	}
	if (lane->bearer != NULL)
		headers[count++] = (struct header){TEXT("authorization"), secret_expose(lane->bearer)};
	if (state->has_body) {
		struct text type = exchange_header(exchange, TEXT("content-type"));
		if (type.bytes == NULL)
			type = source->content_type != NULL ? text_of(source->content_type) : TEXT("application/octet-stream");
		headers[count++] = (struct header){TEXT("content-type"), type};
	}
	if (exchange->traceparent.bytes != NULL)
		headers[count++] = (struct header){TEXT("traceparent"), exchange->traceparent};
	headers[count++] = (struct header){TEXT("edc-contract-agreement-id"), pull->agreement};
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

static void refuse(struct pull *pull, enum status status)
{
	static const struct {
		enum status status;
		int http;
		const char *detail;
	} answers[] = {{STATUS_TIMEOUT, 504, "the source did not answer in time"},
		{STATUS_REFUSED, 503, "too many requests wait for the source"}, {STATUS_NO_MEMORY, 503, "out of memory"}};
	int http = 502;
	const char *detail = "the source did not give a usable answer";
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (answers[i].status == status) {
			http = answers[i].http;
			detail = answers[i].detail;
		}
	}
	pull_refuse(pull, http, text_of(detail));
}

static void send_request(struct http_pull *state)
{
	struct pull *pull = state->pull;
	const struct dp *dp = pull->home->dp;
	const struct participant *participant = registry_find(dp->registry, text_of(pull->flow->ctx));
	struct header headers[REQUEST_HEADERS_MAX];
	struct url url;
	if (participant == NULL || !build_url(pull, &url)) {
		refuse(pull, participant == NULL ? STATUS_UNAVAILABLE : STATUS_NO_MEMORY);
		return;
	}
	struct address_rules addresses = participant_address_rules(participant);
	const struct client_request request = {.tenant = text_of(pull->flow->ctx),
		.url = &url,
		.method = method_of(pull),
		.headers = headers,
		.header_count = collect_headers(state, headers),
		.body_length = state->has_body ? pull->exchange->request_length : 0,
		.rules = &addresses,
		.read_ms = (uint32_t)dp->settings.source_ms};
	enum status status = client_call_start(pull->home->worker, &request, &events, state, &state->call);
	if (status != STATUS_OK) {
		state->call = NULL;
		refuse(pull, status);
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
		client_call_write(state->call, (const uint8_t *)kept->bytes + state->kept_from, left, state->is_ended);
	state->kept_from += taken;
	if (state->kept_from == kept->length) {
		buffer_clear(kept);
		state->kept_from = 0;
	}
	if (taken > 0)
		exchange_consume(state->pull->exchange, taken);
}

static void on_body(struct exchange *exchange, const uint8_t *bytes, size_t length, bool ended)
{
	struct pull *pull = exchange->state;
	struct http_pull *state = pull->source_state;
	state->is_ended = ended;
	if (state->call == NULL) {
		exchange_consume(exchange, length);
		return;
	}
	size_t taken = 0;
	if (state->kept.length == state->kept_from) {
		taken = client_call_write(state->call, bytes, length, ended);
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
		exchange_receive(state->pull->exchange, on_body);
		return;
	}
	push(state);
}

/* --- the answer */

static enum body_state on_read(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	struct pull *pull = exchange->state;
	struct http_pull *state = pull->source_state;
	*count = 0;
	enum body_state result = client_call_read(state->call, frame, room, count);
	if (result == BODY_FAILED)
		dp_count(DP_SOURCE_ERRORS);
	else
		pull_count(pull, *count);
	return result;
}

static enum body_state on_lend(struct exchange *exchange, size_t room, const uint8_t **bytes, size_t *count)
{
	struct pull *pull = exchange->state;
	const struct http_pull *state = pull->source_state;
	enum body_state result = client_call_lend(state->call, room, bytes, count);
	pull_count(pull, *count);
	return result;
}

static void ask_credential(struct http_pull *state)
{
	const struct http_source *source = state->pull->part->source;
	credential_fetch(state->pull, &source->credential, &source->lanes[state->pull->home->index], &state->waiter);
}

/* The secret may have changed behind our back: once, without a body to repeat. */
static bool retry(struct http_pull *state, const struct client_response *response)
{
	const struct http_source *source = state->pull->part->source;
	const struct credential_rules *rules = &source->credential;
	if (response->status != 401 || state->has_retried || state->has_body ||
		(rules->secret_name == NULL && rules->client_id == NULL))
		return false;
	state->has_retried = true;
	client_call_close(state->call);
	state->call = NULL;
	credential_forget(&source->lanes[state->pull->home->index]);
	ask_credential(state);
	return true;
}

static void on_head(void *context, struct client_call *call, const struct client_response *response)
{
	struct http_pull *state = context;
	struct exchange *exchange = state->pull->exchange;
	(void)call;
	if (retry(state, response))
		return;
	for (size_t i = 0; i < response->header_count; i++) {
		const struct header *header = &response->headers[i];
		if (!header_goes_to_consumer(header->name, response->headers, response->header_count))
			continue;
		/* lent until client_call_close, which is in on_close */
		if (!exchange_add_header(exchange, header->name, header->value)) {
			refuse(state->pull, STATUS_PROTOCOL);
			return;
		}
	}
	exchange->status = response->status;
	exchange->response_length = response->length;
	exchange->read_body = on_read;
	exchange->lend_body = on_lend;
	exchange_respond(exchange);
}

static void on_readable(void *context, struct client_call *call)
{
	const struct http_pull *state = context;
	(void)call;
	exchange_resume(state->pull->exchange);
}

static void on_failed(void *context, struct client_call *call, enum status why)
{
	const struct http_pull *state = context;
	(void)call;
	refuse(state->pull, why);
}

static const struct client_events events = {on_head, on_readable, on_writable, on_failed};

/* --- the driver */

static void on_credential(struct credential_waiter *waiter, enum status status)
{
	struct http_pull *state = (struct http_pull *)waiter;
	if (status != STATUS_OK)
		refuse(state->pull, status);
	else
		send_request(state);
}

static void http_start(struct pull *pull)
{
	const struct http_source *source = pull->part->source;
	struct http_pull *state = exchange_allocate(pull->exchange, sizeof(*state));
	if (state == NULL) {
		refuse(pull, STATUS_NO_MEMORY);
		return;
	}
	memset(state, 0, sizeof(*state));
	state->pull = pull;
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
	if (state->call != NULL)
		client_call_close(state->call);
	state->call = NULL;
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
