/* Sink "http": what comes goes on to an HTTP server (HttpData as a sink, dataplane.md section 1.1): method POST, PUT or
 * PATCH, with the segment's Content-Range; its HEAD tells the offset, if it knows one. Nothing is kept here but what
 * the connection does not take now. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/sink/sink.h"
#include "tenants/dp/source/http_source.h"

struct http_intake {
	struct intake *intake; /* NULL: closed */
	struct task task;
	struct credential_waiter waiter;
	struct client_call *call;
	struct buffer path, range;
	struct buffer bytes; /* of the write under way */
	size_t sent;
	enum status failed;
	int64_t offset;
	bool is_queued, is_opening, is_writing, is_finishing;
};

static const struct client_events events;

/* --- telling: one thing is asked at a time, and answered at the end of a turn */

static void state_free(struct http_intake *state)
{
	buffer_free(&state->path);
	buffer_free(&state->range);
	buffer_free(&state->bytes);
	free(state);
}

static void run(struct task *task)
{
	struct http_intake *state = (struct http_intake *)(void *)((char *)task - offsetof(struct http_intake, task));
	struct intake *intake = state->intake;
	state->is_queued = false;
	if (intake == NULL) {
		state_free(state);
	} else if (state->is_opening) {
		state->is_opening = false;
		intake->events->opened(intake, state->failed, state->offset);
	} else if (state->is_writing) {
		size_t length = state->bytes.length;
		state->is_writing = false;
		buffer_clear(&state->bytes);
		intake->events->written(intake, state->failed, length);
	} else if (state->is_finishing) {
		state->is_finishing = false;
		intake->events->finished(intake, state->failed);
	}
}

static void tell(struct http_intake *state)
{
	if (state->is_queued || !(state->is_opening || state->is_writing || state->is_finishing))
		return;
	state->is_queued = true;
	worker_later(state->intake->pull->home->worker, &state->task);
}

static void fail(struct http_intake *state, enum status why)
{
	if (state->failed == STATUS_OK)
		state->failed = why == STATUS_PROTOCOL ? STATUS_UNAVAILABLE : why;
	tell(state);
}

/* --- the call */

static bool build_url(struct http_intake *state, const struct http_source *sink, struct url *url)
{
	struct text below = state->intake->pull->below;
	*url = sink->url;
	url->path = sink->path;
	url->query = sink->query;
	if (below.length > 0) {
		buffer_append(&state->path, sink->base);
		buffer_append(&state->path, below);
		url->path = buffer_text(&state->path);
	}
	return !state->path.failed;
}

static size_t collect_headers(struct http_intake *state, const struct http_source *sink, struct header *headers)
{
	const struct intake *intake = state->intake;
	size_t count = http_source_headers(sink, &sink->lanes[intake->pull->home->index], headers);
	if (intake->is_question)
		return count;
	struct text type = intake->content_type;
	if (sink->content_type != NULL)
		type = text_of(sink->content_type);
	headers[count++] =
		(struct header){TEXT("content-type"), type.bytes == NULL ? TEXT("application/octet-stream") : type};
	if (intake->is_segment) {
		buffer_printf(&state->range, "bytes %lld-%lld/%lld", (long long)intake->first, (long long)intake->end - 1,
			(long long)intake->total);
		headers[count++] = (struct header){TEXT("content-range"), buffer_text(&state->range)};
	}
	headers[count++] = (struct header){TEXT("edc-contract-agreement-id"), intake->pull->agreement};
	return count;
}

static void begin(struct http_intake *state)
{
	const struct intake *intake = state->intake;
	const struct pull *pull = intake->pull;
	const struct http_source *sink = intake->sink;
	const struct dp *dp = pull->home->dp;
	const struct participant *participant = registry_find(dp->registry, text_of(pull->flow->ctx));
	struct header headers[HTTP_OWN_HEADERS + 4];
	struct url url;
	if (participant == NULL || !build_url(state, sink, &url)) {
		fail(state, STATUS_UNAVAILABLE);
		return;
	}
	struct address_rules addresses = participant_address_rules(participant);
	const struct client_request request = {.tenant = text_of(pull->flow->ctx),
		.url = &url,
		.method = intake->is_question ? TEXT("HEAD") : text_of(sink->method),
		.headers = headers,
		.header_count = collect_headers(state, sink, headers),
		.body_length = intake->is_question ? 0
					   : intake->end < 0   ? -1
										   : intake->end - intake->first,
		.rules = &addresses,
		.read_ms = (uint32_t)dp->settings.source_ms};
	enum status status = state->range.failed
							 ? STATUS_NO_MEMORY
							 : client_call_start(pull->home->worker, &request, &events, state, &state->call);
	if (status != STATUS_OK)
		state->call = NULL;
	if (status != STATUS_OK)
		fail(state, status);
	else if (!intake->is_question)
		tell(state);
}

static void pump(struct http_intake *state)
{
	if (state->call == NULL)
		return;
	if (state->is_writing && !state->is_queued) {
		state->sent += client_call_write(
			state->call, (const uint8_t *)state->bytes.bytes + state->sent, state->bytes.length - state->sent, false);
		if (state->sent == state->bytes.length)
			tell(state);
	} else if (state->is_finishing) {
		client_call_write(state->call, NULL, 0, true);
	}
}

static void on_writable(void *context, struct client_call *call)
{
	(void)call;
	pump(context);
}

static enum status status_of(int http, bool is_segment)
{
	static const struct {
		int http;
		enum status status;
	} known[] = {{401, STATUS_FORBIDDEN}, {403, STATUS_FORBIDDEN}, {409, STATUS_CONFLICT}, {413, STATUS_TOO_LARGE},
		{416, STATUS_CONFLICT}, {507, STATUS_REFUSED}};
	if (http < 300 || (http == 308 && is_segment))
		return STATUS_OK;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].http == http)
			return known[i].status;
	}
	return STATUS_UNAVAILABLE;
}

static struct text header_of(const struct client_response *response, struct text name)
{
	for (size_t i = 0; i < response->header_count; i++) {
		if (text_equals(response->headers[i].name, name))
			return response->headers[i].value;
	}
	return TEXT_NONE;
}

static void on_head(void *context, struct client_call *call, const struct client_response *response)
{
	struct http_intake *state = context;
	struct text offset = header_of(response, TEXT("upload-offset"));
	uint64_t known;
	bool has_offset = text_to_unsigned(offset, INT64_MAX, &known) == STATUS_OK;
	state->offset = has_offset ? (int64_t)known : -1;
	if (state->intake->is_question) { /* one that does not know HEAD gets everything at once */
		if (response->status >= 300)
			state->offset = -1;
		if (response->status >= 500 && response->status != 501)
			state->failed = STATUS_UNAVAILABLE;
		tell(state);
		return;
	}
	enum status status = status_of(response->status, state->intake->is_segment);
	if (status == STATUS_OK && !(state->is_finishing && client_call_is_sent(call)))
		status = STATUS_UNAVAILABLE; /* an answer to what has not been said */
	if (status != STATUS_OK)
		state->failed = status;
	tell(state);
}

static void on_readable(void *context, struct client_call *call)
{
	(void)context, (void)call; /* the answer's body is nobody's */
}

static void on_failed(void *context, struct client_call *call, enum status why)
{
	(void)call;
	fail(context, why);
}

static const struct client_events events = {on_head, on_readable, on_writable, on_failed};

/* --- the driver */

static void on_credential(struct credential_waiter *waiter, enum status status)
{
	struct http_intake *state = (struct http_intake *)(void *)((char *)waiter - offsetof(struct http_intake, waiter));
	if (status != STATUS_OK)
		fail(state, status);
	else
		begin(state);
}

static void http_open(struct intake *intake)
{
	const struct http_source *sink = intake->sink;
	struct credential_lane *lane = &sink->lanes[intake->pull->home->index];
	struct http_intake *state = calloc(1, sizeof(*state));
	intake->driver_state = state;
	if (state == NULL)
		return;
	state->intake = intake;
	state->task.run = run;
	state->waiter.ready = on_credential;
	state->is_opening = true;
	if (credential_is_ready(intake->pull, &sink->credential, lane))
		begin(state);
	else
		credential_fetch(intake->pull, &sink->credential, lane, &state->waiter);
}

static void http_write(struct intake *intake, struct buffer *bytes)
{
	struct http_intake *state = intake->driver_state;
	buffer_free(&state->bytes);
	state->bytes = *bytes;
	*bytes = (struct buffer){0};
	state->sent = 0;
	state->is_writing = true;
	if (state->failed != STATUS_OK)
		tell(state);
	else
		pump(state);
}

static void http_finish(struct intake *intake, bool is_whole)
{
	struct http_intake *state = intake->driver_state;
	(void)is_whole;
	state->is_finishing = true;
	if (state->failed != STATUS_OK)
		tell(state);
	else
		pump(state);
}

static void http_close(struct intake *intake)
{
	struct http_intake *state = intake->driver_state;
	if (state == NULL)
		return;
	state->intake = NULL;
	credential_leave(&state->waiter);
	if (state->call != NULL)
		client_call_close(state->call);
	state->call = NULL;
	if (!state->is_queued)
		state_free(state);
}

static enum status http_build(const struct json *properties, unsigned workers, void **sink, struct buffer *error)
{
	static const char *const methods[] = {"POST", "PUT", "PATCH"};
	enum status status = http_source_build(properties, workers, sink, error);
	if (status != STATUS_OK)
		return status;
	struct http_source *made = *sink;
	if (property(properties, "method").bytes == NULL) {
		free(made->method);
		made->method = text_copy(TEXT("POST"));
	}
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]) && made->method != NULL; i++) {
		if (strcmp(made->method, methods[i]) == 0)
			return STATUS_OK;
	}
	status = made->method == NULL ? STATUS_NO_MEMORY : STATUS_INVALID;
	if (status == STATUS_INVALID)
		buffer_printf(error, "method: must be POST, PUT or PATCH");
	http_source_free(made);
	return status;
}

const struct sink_driver sink_http = {
	.type = "http",
	.build = http_build,
	.free = http_source_free,
	.open = http_open,
	.write = http_write,
	.finish = http_finish,
	.close = http_close,
};
