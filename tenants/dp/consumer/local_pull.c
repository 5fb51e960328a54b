/* The local pull: an application of the consumer asks its own cell, which fetches from the provider with the token it
 * holds. A cut connection is taken up again where it broke, under the same entity tag; a refused token is renewed once;
 * what arrived is checked against the provider's digest before it ends well. */
#include <stdlib.h>
#include <string.h>

#include "server/answer.h"
#include "server/base/secret.h"
#include "server/etag.h"
#include "server/path.h"
#include "tenants/dp/consumer/held_token.h"
#include "tenants/dp/manage/operation.h"
#include "tenants/dp/source/digest_field.h"
#include "tenants/dp/source/headers.h"

enum { HEADERS_MAX = 48, ATTEMPTS_MAX = 10, ATTEMPT_MS = 50, WAIT_MAX_MS = 5000 };

/* Freed when the exchange is over and nothing it asked for is on its way. */
struct local_pull {
	struct dp *dp;
	struct worker *worker;
	struct exchange *exchange; /* NULL: the caller has gone */
	bool is_asking;            /* for the token */
	bool has_head, has_renewed, is_refused, is_bad;
	char ctx[ID_LENGTH + 1];
	struct text flow, below; /* the exchange's */
	struct text tag;         /* strong, the exchange's; absent: what is cut stays cut */
	struct secret *token;
	struct client_call *call;
	struct timer *timer;
	unsigned attempts;             /* since bytes last came */
	uint64_t first, delivered;     /* of the representation: the first byte sent, and how many since */
	int64_t length;                /* of the whole body, -1: unknown */
	struct running_digest *digest; /* NULL: the provider gave none */
	uint8_t expected[HASH_BYTES_MAX];
};

static const struct client_events events;
static void ask(void *context);

static void pull_free(struct local_pull *pull)
{
	if (pull->call != NULL)
		client_call_close(pull->call);
	timer_free(pull->timer);
	running_digest_free(pull->digest);
	secret_free(pull->token);
	free(pull);
}

static void on_close(struct exchange *exchange, enum status outcome)
{
	struct local_pull *pull = exchange->state;
	dp_count(outcome == STATUS_OK && exchange->status < 400 ? DP_LOCAL_OK : DP_LOCAL_FAILED);
	pull->exchange = NULL;
	if (!pull->is_asking)
		pull_free(pull);
}

static void end_call(struct local_pull *pull)
{
	if (pull->call != NULL)
		client_call_close(pull->call);
	pull->call = NULL;
}

/* Before the head an answer, after it the end of the stream. */
static void give_up(struct local_pull *pull, int status, const char *detail)
{
	end_call(pull);
	if (!pull->has_head) {
		answer_problem(pull->exchange, status, text_of(detail));
		return;
	}
	pull->is_bad = true;
	exchange_resume(pull->exchange);
}

/* --- after a cut */

static bool try_again(struct local_pull *pull)
{
	end_call(pull);
	if (pull->tag.bytes == NULL || pull->attempts == ATTEMPTS_MAX)
		return false;
	if (pull->timer == NULL)
		pull->timer = timer_new(pull->worker, ask, pull);
	if (pull->timer == NULL)
		return false;
	uint64_t wait_ms = (uint64_t)ATTEMPT_MS << pull->attempts++;
	timer_set(pull->timer, wait_ms < WAIT_MAX_MS ? wait_ms : WAIT_MAX_MS);
	dp_count(DP_LOCAL_RESUMED);
	return true;
}

static void try_again_or_give_up(struct local_pull *pull)
{
	if (!pull->has_head || !try_again(pull))
		give_up(pull, 502, "the provider did not give a usable answer");
}

/* --- the body */

static bool is_running(const struct local_pull *pull)
{
	const struct flow *flow = dp_find(pull->dp, DP_FLOWS, text_of(pull->ctx), pull->flow);
	return flow != NULL &&
		   flow_terms_admit(atomic_load_explicit(&flow->terms, memory_order_acquire), worker_wall_ms(pull->worker));
}

static enum body_state end_body(struct local_pull *pull)
{
	uint8_t found[HASH_BYTES_MAX];
	if (pull->digest == NULL)
		return BODY_END;
	if (running_digest_end(pull->digest, found) == STATUS_OK &&
		memcmp(found, pull->expected, hash_bytes(HASH_SHA256)) == 0)
		return BODY_END;
	pull->is_bad = true;
	dp_count(DP_LOCAL_CORRUPT);
	return BODY_FAILED;
}

static enum body_state on_read(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	struct local_pull *pull = exchange->state;
	*count = 0;
	if (pull->is_bad || !is_running(pull))
		return BODY_FAILED;
	if (pull->call == NULL)
		return BODY_LATER;
	enum body_state result = client_call_read(pull->call, frame, room, count);
	if (*count > 0) {
		pull->attempts = 0;
		pull->has_renewed = false;
		pull->delivered += *count;
		if (pull->digest != NULL && running_digest_add(pull->digest, frame, *count) != STATUS_OK)
			return BODY_FAILED;
	}
	if (result == BODY_END)
		return end_body(pull);
	if (result != BODY_FAILED)
		return result;
	/* the cut came behind the last byte */
	if (pull->length >= 0 && pull->delivered == (uint64_t)pull->length)
		return end_body(pull);
	if (!try_again(pull))
		return BODY_FAILED;
	return *count > 0 ? BODY_MORE : BODY_LATER;
}

/* --- heads */

/* "bytes 5-9/100" */
static bool read_first(struct text content_range, uint64_t *first)
{
	static const struct text unit = {"bytes ", 6};
	if (!text_starts_with(content_range, unit))
		return false;
	struct text rest = text_slice(content_range, unit.length, content_range.length);
	return text_to_unsigned(text_slice(rest, 0, text_find(rest, '-')), INT64_MAX, first) == STATUS_OK;
}

/* The digest of the body that is sent: of the whole representation, or of this part of it (RFC 9530). */
static enum status expect_digest(struct local_pull *pull, const struct client_response *response)
{
	struct text field = TEXT_NONE;
	if (response->status == 200)
		field = client_response_header(response, TEXT("repr-digest"));
	if (field.bytes == NULL && (response->status == 200 || response->status == 206))
		field = client_response_header(response, TEXT("content-digest"));
	if (field.bytes == NULL || !digest_find(field, HASH_SHA256, pull->expected))
		return STATUS_OK;
	return running_digest_new(HASH_SHA256, &pull->digest);
}

static bool copy_headers(struct local_pull *pull, const struct client_response *response)
{
	struct exchange *exchange = pull->exchange;
	for (size_t i = 0; i < response->header_count; i++) {
		const struct header *header = &response->headers[i];
		if (!header_goes_to_consumer(header->name, response->headers, response->header_count))
			continue;
		/* the call may end, and another take its place, before the exchange does */
		struct text name = exchange_copy(exchange, header->name), value = exchange_copy(exchange, header->value);
		if (name.bytes == NULL || value.bytes == NULL || !exchange_add_header(exchange, name, value))
			return false;
	}
	return true;
}

static void first_head(struct local_pull *pull, const struct client_response *response)
{
	struct exchange *exchange = pull->exchange;
	bool is_get = text_equals(exchange->method, TEXT("GET"));
	struct text tag = client_response_header(response, TEXT("etag"));
	bool is_part =
		response->status == 206 && read_first(client_response_header(response, TEXT("content-range")), &pull->first);
	pull->length = response->length;
	if (is_get && (response->status == 200 || is_part) && etag_is_valid(tag) && !text_starts_with(tag, TEXT("W/")))
		pull->tag = exchange_copy(exchange, tag);
	if ((is_get && expect_digest(pull, response) != STATUS_OK) || !copy_headers(pull, response)) {
		give_up(pull, 503, "the provider's answer is too large");
		return;
	}
	pull->has_head = true;
	exchange->status = response->status;
	exchange->response_length = response->length;
	exchange->read_body = on_read;
	exchange_respond(exchange);
}

/* Only the rest of the very same representation will do. */
static void next_head(struct local_pull *pull, const struct client_response *response)
{
	uint64_t first = 0;
	bool is_rest = response->status == 206 &&
				   read_first(client_response_header(response, TEXT("content-range")), &first) &&
				   first == pull->first + pull->delivered &&
				   etag_equals_strongly(client_response_header(response, TEXT("etag")), pull->tag);
	if (is_rest)
		exchange_resume(pull->exchange);
	else if (response->status >= 500 || response->status == 429 || response->status == 408)
		try_again_or_give_up(pull);
	else
		give_up(pull, 502, "the data has changed");
}

static void on_head(void *context, struct client_call *call, const struct client_response *response)
{
	struct local_pull *pull = context;
	(void)call;
	bool is_refused = response->status == 401 || response->status == 403;
	if (is_refused && !pull->has_renewed && pull->token != NULL) {
		pull->has_renewed = pull->is_refused = true;
		end_call(pull);
		ask(pull);
	} else if (is_refused) {
		give_up(pull, 502, "the provider refuses the token");
	} else if (!pull->has_head) {
		first_head(pull, response);
	} else {
		next_head(pull, response);
	}
}

static void on_readable(void *context, struct client_call *call)
{
	const struct local_pull *pull = context;
	(void)call;
	exchange_resume(pull->exchange);
}

static void on_writable(void *context, struct client_call *call)
{
	(void)context, (void)call;
}

static void on_failed(void *context, struct client_call *call, enum status why)
{
	struct local_pull *pull = context;
	(void)call;
	if (pull->has_head)
		try_again_or_give_up(pull);
	else if (why == STATUS_TIMEOUT)
		give_up(pull, 504, "the provider did not answer in time");
	else
		give_up(pull, 502, "the provider cannot be reached");
}

static const struct client_events events = {on_head, on_readable, on_writable, on_failed};

/* --- the request */

/* endpoint + path below it + the caller's query. */
static void print_url(const struct local_pull *pull, struct text endpoint, struct buffer *into)
{
	size_t mark = text_find(endpoint, '?');
	struct text path = text_slice(endpoint, 0, mark), query = exchange_query(pull->exchange);
	while (pull->below.length > 0 && text_ends_with(path, TEXT("/")))
		path.length--;
	buffer_append(into, path);
	buffer_append(into, pull->below);
	buffer_append(into, text_slice(endpoint, mark, endpoint.length));
	if (query.length > 0) {
		buffer_append_byte(into, mark < endpoint.length ? '&' : '?');
		buffer_append(into, query);
	}
}

static size_t collect_headers(
	const struct local_pull *pull, const struct buffer *authorization, const struct buffer *range, struct header *into)
{
	static const char *const of_first[] = {
		"range", "if-range", "if-none-match", "if-match", "if-modified-since", "if-unmodified-since"};
	const struct exchange *exchange = pull->exchange;
	size_t count = 0;
	for (unsigned i = 0; i < exchange->header_count && count < HEADERS_MAX - 6; i++) {
		struct text name = exchange->headers[i].name;
		bool goes = header_goes_to_source(name);
		for (size_t j = 0; j < sizeof(of_first) / sizeof(of_first[0]) && pull->has_head; j++)
			goes = goes && !text_equals(name, text_of(of_first[j]));
		if (goes)
			into[count++] = exchange->headers[i];
	}
	if (authorization->length > 0)
		into[count++] = (struct header){TEXT("authorization"), buffer_text(authorization)};
	if (range->length > 0) {
		into[count++] = (struct header){TEXT("range"), buffer_text(range)};
		into[count++] = (struct header){TEXT("if-range"), pull->tag};
	} else {
		into[count++] = (struct header){TEXT("want-repr-digest"), TEXT("sha-256=10")};
	}
	if (exchange->traceparent.bytes != NULL)
		into[count++] = (struct header){TEXT("traceparent"), exchange->traceparent};
	return count;
}

static enum status send_request(struct local_pull *pull, const struct url *url)
{
	const struct participant *participant = registry_find(pull->dp->registry, text_of(pull->ctx));
	struct buffer authorization = {0}, range = {0};
	struct header headers[HEADERS_MAX];
	if (participant == NULL || (!url->tls && !participant->signaling.allows_clear))
		return STATUS_FORBIDDEN;
	if (pull->token != NULL) {
		buffer_append(&authorization, TEXT("Bearer "));
		buffer_append(&authorization, secret_expose(pull->token));
	}
	if (pull->has_head) {
		buffer_append(&range, TEXT("bytes="));
		buffer_append_number(&range, (int64_t)(pull->first + pull->delivered));
		buffer_append_byte(&range, '-');
		if (pull->length >= 0)
			buffer_append_number(&range, (int64_t)pull->first + pull->length - 1);
	}
	struct address_rules addresses = participant_address_rules(participant);
	const struct client_request request = {.tenant = text_of(pull->ctx),
		.url = url,
		.method = pull->exchange->method,
		.headers = headers,
		.header_count = collect_headers(pull, &authorization, &range, headers),
		.rules = &addresses,
		.read_ms = (uint32_t)pull->dp->settings.source_ms};
	enum status status = authorization.failed || range.failed
							 ? STATUS_NO_MEMORY
							 : client_call_start(pull->worker, &request, &events, pull, &pull->call);
	if (status != STATUS_OK)
		pull->call = NULL;
	buffer_wipe(&authorization);
	buffer_free(&range);
	return status;
}

static void on_held(void *context, enum status status, const struct held_token *token)
{
	struct local_pull *pull = context;
	struct buffer text = {0};
	struct url url;
	pull->is_asking = pull->is_refused = false;
	if (pull->exchange == NULL) {
		pull_free(pull);
		return;
	}
	if (status != STATUS_OK && !pull->has_head) {
		held_token_refuse(pull->exchange, status);
		return;
	}
	if (status != STATUS_OK) {
		if (status == STATUS_UNAVAILABLE || status == STATUS_TIMEOUT)
			try_again_or_give_up(pull);
		else
			give_up(pull, 502, "there is no token any more");
		return;
	}
	secret_free(pull->token);
	pull->token = token->token.length > 0 ? secret_new(token->token) : NULL;
	print_url(pull, token->endpoint, &text);
	status = text.failed ? STATUS_NO_MEMORY : url_parse(buffer_text(&text), &url);
	if (status == STATUS_OK)
		status = send_request(pull, &url);
	buffer_free(&text);
	if (status == STATUS_INVALID || status == STATUS_FORBIDDEN)
		give_up(pull, 502, "the provider's address is not one to pull from");
	else if (status != STATUS_OK)
		give_up(pull, 503, "out of means");
}

static void ask(void *context)
{
	struct local_pull *pull = context;
	pull->is_asking = true;
	held_token_get(pull->dp, pull->worker, text_of(pull->ctx), pull->flow,
		pull->is_refused && pull->token != NULL ? secret_expose(pull->token) : TEXT_NONE, on_held, pull);
}

void dp_local(void *context, struct exchange *exchange, const struct route *route)
{
	struct dp *dp = context;
	struct text rest = route->rest, flow = TEXT_NONE, ctx = text_of(route->participant->ctx);
	if (!path_next(&rest, &flow) || !name_is_valid(flow, MANAGE_ID_MAX)) {
		answer_problem(exchange, 404, TEXT_NONE);
		return;
	}
	if (!text_equals(exchange->method, TEXT("GET")) && !text_equals(exchange->method, TEXT("HEAD"))) {
		exchange_add_header(exchange, TEXT("allow"), TEXT("GET, HEAD"));
		answer_problem(exchange, 405, TEXT_NONE);
		return;
	}
	if (!held_token_allow(dp, exchange, ctx))
		return;
	struct local_pull *pull = calloc(1, sizeof(*pull));
	if (pull == NULL) {
		answer_problem(exchange, 503, TEXT_NONE);
		return;
	}
	*pull = (struct local_pull){.dp = dp, .worker = exchange->worker, .exchange = exchange, .length = -1};
	memcpy(pull->ctx, route->participant->ctx, sizeof(pull->ctx));
	pull->flow = flow;
	pull->below = rest;
	exchange->state = pull;
	exchange->on_close = on_close;
	ask(pull);
}
