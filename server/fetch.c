/* Small calls: one client call, its answer collected. */
#include "server/fetch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/secret.h"

struct fetch {
	struct client_call *call;
	fetch_done *done;
	void *context;
	struct buffer body, collected;
	size_t sent, answer_max;
	bool has_no_body; /* the answer to HEAD, whatever length it tells */
	struct fetch_answer answer;
};

static void fetch_free(struct fetch *fetch)
{
	if (fetch->call != NULL)
		client_call_close(fetch->call);
	buffer_wipe(&fetch->body);
	buffer_wipe(&fetch->collected);
	free(fetch);
}

static void finish(struct fetch *fetch, enum status status)
{
	/* the call ends first: whoever is told may start the next one on its connection */
	client_call_close(fetch->call);
	fetch->call = NULL;
	fetch->answer.body = buffer_text(&fetch->collected);
	fetch->done(fetch->context, status, &fetch->answer);
	fetch_free(fetch);
}

static void on_readable(void *state, struct client_call *call)
{
	struct fetch *fetch = state;
	for (;;) {
		uint8_t bytes[8192];
		size_t count = 0;
		enum body_state result = client_call_read(call, bytes, sizeof(bytes), &count);
		if (result == BODY_LATER)
			return;
		buffer_append(&fetch->collected, (struct text){(const char *)bytes, count});
		wipe(bytes, count);
		if (result == BODY_FAILED || fetch->collected.failed) {
			finish(fetch, STATUS_UNAVAILABLE);
			return;
		}
		if (fetch->collected.length > fetch->answer_max) {
			finish(fetch, STATUS_TOO_LARGE);
			return;
		}
		if (result == BODY_END) {
			finish(fetch, STATUS_OK);
			return;
		}
	}
}

static void on_head(void *state, struct client_call *call, const struct client_response *response)
{
	struct fetch *fetch = state;
	fetch->answer.http = response->status;
	fetch->answer.length = response->length;
	if (!fetch->has_no_body && response->length >= 0 && (uint64_t)response->length > fetch->answer_max)
		finish(fetch, STATUS_TOO_LARGE);
	else
		on_readable(state, call);
}

static void on_writable(void *state, struct client_call *call)
{
	struct fetch *fetch = state;
	fetch->sent += client_call_write(
		call, (const uint8_t *)fetch->body.bytes + fetch->sent, fetch->body.length - fetch->sent, true);
}

static void on_failed(void *state, struct client_call *call, enum status why)
{
	(void)call;
	finish(state, why == STATUS_TIMEOUT || why == STATUS_FORBIDDEN ? why : STATUS_UNAVAILABLE);
}

static const struct client_events events = {on_head, on_readable, on_writable, on_failed};

static size_t collect_headers(const struct fetch_order *order, struct header *headers)
{
	const struct header named[] = {{TEXT("accept"), order->accept}, {TEXT("authorization"), order->authorization},
		{TEXT("content-type"), order->content_type}};
	size_t count = 0;
	for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
		if (named[i].value.length > 0)
			headers[count++] = named[i];
	}
	if (order->header_count > 0)
		memcpy(headers + count, order->headers, order->header_count * sizeof(headers[0]));
	return count + order->header_count;
}

static enum status begin(struct fetch *fetch, struct worker *worker, const struct fetch_order *order)
{
	struct header headers[3 + FETCH_HEADERS_MAX];
	struct url parsed;
	if (order->url == NULL && url_parse(order->address, &parsed) != STATUS_OK)
		return STATUS_INVALID;
	const struct client_request request = {.tenant = order->tenant,
		.url = order->url != NULL ? order->url : &parsed,
		.method = order->method,
		.headers = headers,
		.header_count = collect_headers(order, headers),
		.body_length = (int64_t)fetch->body.length,
		.rules = order->rules,
		.read_ms = order->timeout_ms};
	return client_call_start(worker, &request, &events, fetch, &fetch->call);
}

enum status fetch_start(
	struct worker *worker, const struct fetch_order *order, fetch_done *done, void *context, struct fetch **fetch)
{
	assert(order->header_count <= FETCH_HEADERS_MAX);
	struct fetch *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	*made = (struct fetch){.done = done,
		.context = context,
		.answer_max = order->answer_max,
		.has_no_body = text_equals(order->method, TEXT("HEAD")),
		.answer = {.length = -1}};
	buffer_append(&made->body, order->body);
	enum status status = made->body.failed ? STATUS_NO_MEMORY : begin(made, worker, order);
	if (status != STATUS_OK) {
		made->call = NULL;
		fetch_free(made);
		return status;
	}
	*fetch = made;
	return STATUS_OK;
}

void fetch_cancel(struct fetch *fetch)
{
	if (fetch != NULL)
		fetch_free(fetch);
}
