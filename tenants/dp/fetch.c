/* Small calls: one client call, its answer collected. */
#include "tenants/dp/fetch.h"

#include <ctype.h>
#include <stdlib.h>

#include "server/base/secret.h"

struct fetch {
	struct client_call *call;
	fetch_done *done;
	void *context;
	struct buffer body, answer;
	size_t sent, answer_max;
	int http;
};

void buffer_wipe(struct buffer *buffer)
{
	if (buffer->bytes != NULL)
		wipe(buffer->bytes, buffer->room);
	buffer_free(buffer);
}

void form_append(struct buffer *form, const char *name, struct text value)
{
	if (form->length > 0)
		buffer_append_byte(form, '&');
	buffer_append(form, text_of(name));
	buffer_append_byte(form, '=');
	for (size_t i = 0; i < value.length; i++) {
		unsigned char byte = (unsigned char)value.bytes[i];
		if (isalnum(byte) || byte == '-' || byte == '.' || byte == '_' || byte == '*')
			buffer_append_byte(form, (char)byte);
		else
			buffer_printf(form, "%%%02X", byte);
	}
}

static void fetch_free(struct fetch *fetch)
{
	if (fetch->call != NULL)
		client_call_close(fetch->call);
	buffer_wipe(&fetch->body);
	buffer_wipe(&fetch->answer);
	free(fetch);
}

static void finish(struct fetch *fetch, enum status status)
{
	/* the call ends first: whoever is told may start the next one on its connection */
	client_call_close(fetch->call);
	fetch->call = NULL;
	fetch->done(fetch->context, status, fetch->http, buffer_text(&fetch->answer));
	fetch_free(fetch);
}

static void on_readable(void *state, struct client_call *call)
{
	struct fetch *fetch = state;
	for (;;) {
		uint8_t bytes[4096];
		size_t count = 0;
		enum body_state result = client_call_read(call, bytes, sizeof(bytes), &count);
		if (result == BODY_LATER)
			return;
		buffer_append(&fetch->answer, (struct text){(const char *)bytes, count});
		wipe(bytes, sizeof(bytes));
		if (result == BODY_FAILED || fetch->answer.failed) {
			finish(fetch, STATUS_UNAVAILABLE);
			return;
		}
		if (fetch->answer.length > fetch->answer_max) {
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
	((struct fetch *)state)->http = response->status;
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

enum status fetch_start(
	struct worker *worker, const struct fetch_order *order, fetch_done *done, void *context, struct fetch **fetch)
{
	struct url url;
	if (url_parse(text_of(order->url), &url) != STATUS_OK)
		return STATUS_INVALID;
	struct fetch *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	*made = (struct fetch){.done = done, .context = context, .answer_max = order->answer_max};
	struct header headers[3] = {{TEXT("accept"), TEXT("application/json")}};
	size_t count = 1;
	if (order->authorization.length > 0)
		headers[count++] = (struct header){TEXT("authorization"), order->authorization};
	if (order->content_type.length > 0)
		headers[count++] = (struct header){TEXT("content-type"), order->content_type};
	buffer_append(&made->body, order->body);
	const struct client_request request = {.tenant = order->tenant,
		.url = &url,
		.method = order->method,
		.headers = headers,
		.header_count = count,
		.body_length = (int64_t)made->body.length,
		.rules = order->rules,
		.read_ms = order->timeout_ms};
	enum status status =
		made->body.failed ? STATUS_NO_MEMORY : client_call_start(worker, &request, &events, made, &made->call);
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
