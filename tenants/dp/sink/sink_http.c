/* Sink "http": what comes goes on to an HTTP server (HttpData as a sink, dataplane.md section 1.1): method POST, PUT or
 * PATCH, with the segment's Content-Range; its HEAD tells the offset, if it knows one. Nothing is kept here but what
 * the connection does not take now. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/sink/teller.h"
#include "tenants/dp/source/http_source.h"

struct http_intake {
	struct teller told; /* first */
	struct credential_waiter waiter;
	struct client_call *call;
	struct buffer path, range;
	size_t sent; /* of the write under way */
};

static const struct client_events events;

static void state_free(struct teller *teller)
{
	struct http_intake *state = (struct http_intake *)teller;
	buffer_free(&state->path);
	buffer_free(&state->range);
	free(state);
}

/* --- the call */

static bool build_url(struct http_intake *state, const struct http_source *sink, struct url *url)
{
	struct text below = state->told.intake->pull->below;
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
	const struct intake *intake = state->told.intake;
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
	const struct intake *intake = state->told.intake;
	const struct pull *pull = intake->pull;
	const struct http_source *sink = intake->sink;
	const struct dp *dp = pull->home->dp;
	const struct participant *participant = registry_find(dp->registry, text_of(pull->flow->ctx));
	struct header headers[HTTP_OWN_HEADERS + 4];
	struct url url;
	if (participant == NULL || !build_url(state, sink, &url)) {
		teller_fail(&state->told, STATUS_UNAVAILABLE);
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
		teller_fail(&state->told, status);
	else if (!intake->is_question)
		teller_tell(&state->told);
}

static void pump(struct http_intake *state)
{
	if (state->call == NULL)
		return;
	if (state->told.is_writing && !state->told.is_queued) {
		state->sent += client_call_write(state->call, (const uint8_t *)state->told.bytes.bytes + state->sent,
			state->told.bytes.length - state->sent, false);
		if (state->sent == state->told.bytes.length)
			teller_tell(&state->told);
	} else if (state->told.is_finishing) {
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

static void on_head(void *context, struct client_call *call, const struct client_response *response)
{
	struct http_intake *state = context;
	struct text offset = client_response_header(response, TEXT("upload-offset"));
	uint64_t known;
	bool has_offset = text_to_unsigned(offset, INT64_MAX, &known) == STATUS_OK;
	state->told.offset = has_offset ? (int64_t)known : -1;
	if (state->told.intake->is_question) { /* one that does not know HEAD gets everything at once */
		if (response->status >= 300)
			state->told.offset = -1;
		if (response->status >= 500 && response->status != 501)
			state->told.failed = STATUS_UNAVAILABLE;
		teller_tell(&state->told);
		return;
	}
	enum status status = status_of(response->status, state->told.intake->is_segment);
	if (status == STATUS_OK && !(state->told.is_finishing && client_call_is_sent(call)))
		status = STATUS_UNAVAILABLE; /* an answer to what has not been said */
	if (status != STATUS_OK)
		state->told.failed = status;
	teller_tell(&state->told);
}

static void on_readable(void *context, struct client_call *call)
{
	(void)context, (void)call; /* the answer's body is nobody's */
}

static void on_failed(void *context, struct client_call *call, enum status why)
{
	(void)call;
	teller_fail(&((struct http_intake *)context)->told, why);
}

static const struct client_events events = {on_head, on_readable, on_writable, on_failed};

/* --- the driver */

static void on_credential(struct credential_waiter *waiter, enum status status)
{
	struct http_intake *state = (struct http_intake *)(void *)((char *)waiter - offsetof(struct http_intake, waiter));
	if (status != STATUS_OK)
		teller_fail(&state->told, status);
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
	teller_open(&state->told, intake, state_free);
	state->waiter.ready = on_credential;
	if (credential_is_ready(intake->pull, &sink->credential, lane))
		begin(state);
	else
		credential_fetch(intake->pull, &sink->credential, lane, &state->waiter);
}

static void http_write(struct intake *intake, struct buffer *bytes)
{
	struct http_intake *state = intake->driver_state;
	teller_take(&state->told, bytes);
	state->sent = 0;
	if (state->told.failed != STATUS_OK)
		teller_tell(&state->told);
	else
		pump(state);
}

static void http_finish(struct intake *intake, bool is_whole)
{
	struct http_intake *state = intake->driver_state;
	(void)is_whole;
	state->told.is_finishing = true;
	if (state->told.failed != STATUS_OK)
		teller_tell(&state->told);
	else
		pump(state);
}

static void http_close(struct intake *intake)
{
	struct http_intake *state = intake->driver_state;
	if (state == NULL)
		return;
	credential_leave(&state->waiter);
	if (state->call != NULL)
		client_call_close(state->call);
	state->call = NULL;
	teller_close(&state->told);
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
