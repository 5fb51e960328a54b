/* Parts on their way: at most two, each sent again a few times. */
#include <stdio.h>
#include <string.h>

#include "tenants/dp/sink/s3_sink.h"

enum { TRIES = 3 };

static const struct client_events part_events;

void s3_slot_clear(struct slot *slot)
{
	if (slot->call != NULL)
		client_call_close(slot->call);
	running_digest_free(slot->digest);
	buffer_free(&slot->bytes);
	*slot = (struct slot){.home = slot->home};
}

void s3_slot_send(struct slot *slot)
{
	struct s3_intake *state = slot->home;
	const struct s3_sink *sink = state->told.intake->sink;
	const struct pull *pull = state->told.intake->pull;
	const struct dp *dp = pull->home->dp;
	const struct participant *participant = registry_find(dp->registry, text_of(pull->flow->ctx));
	const struct header type = {TEXT("content-type"), state->told.intake->content_type};
	bool is_single = state->upload[0] == 0;
	struct s3_call signed_call = {0};
	struct buffer query = {0};
	slot->phase = SLOT_SENDING;
	slot->sent = 0;
	if (!is_single) {
		buffer_printf(&query, "partNumber=%zu&uploadId=", slot->number);
		sigv4_escape(text_of(state->upload), false, &query);
	}
	const struct s3_request request = {.method = TEXT("PUT"),
		.key = buffer_text(&state->key),
		.query = is_single ? TEXT_NONE : buffer_text(&query),
		.payload = text_of(slot->payload),
		.headers = &type,
		.header_count = is_single && type.value.bytes != NULL};
	enum status status = query.failed ? STATUS_NO_MEMORY : participant == NULL ? STATUS_UNAVAILABLE : STATUS_OK;
	if (status == STATUS_OK)
		status = s3_call_build(&sink->store.bucket, &request, secret_expose(state->secret),
			worker_wall_ms(pull->home->worker) / 1000, &signed_call);
	if (status == STATUS_OK) {
		struct address_rules addresses = participant_address_rules(participant);
		const struct client_request call = {.tenant = text_of(pull->flow->ctx),
			.url = &signed_call.url,
			.method = request.method,
			.headers = signed_call.headers,
			.header_count = signed_call.header_count,
			.body_length = (int64_t)slot->bytes.length,
			.rules = &addresses,
			.read_ms = (uint32_t)dp->settings.source_ms};
		status = client_call_start(pull->home->worker, &call, &part_events, slot, &slot->call);
	}
	s3_call_clear(&signed_call);
	buffer_free(&query);
	if (status != STATUS_OK) {
		slot->call = NULL;
		teller_fail(&state->told, status);
	}
}

static void part_done(struct slot *slot, const struct client_response *response)
{
	struct s3_intake *state = slot->home;
	struct text tag = TEXT_NONE;
	char copy[S3_TAG_MAX];
	for (size_t i = 0; i < response->header_count; i++) {
		if (text_equals(response->headers[i].name, TEXT("etag")))
			tag = response->headers[i].value;
	}
	bool is_good = tag.length > 0 && tag.length < sizeof(copy);
	snprintf(copy, sizeof(copy), "%.*s", is_good ? (int)tag.length : 0, is_good ? tag.bytes : "");
	if (state->upload[0] != 0 && (!is_good || !s3_upload_keep_tag(state, slot->number, copy))) {
		teller_fail(&state->told, STATUS_UNAVAILABLE);
		return;
	}
	s3_slot_clear(slot);
	s3_intake_feed(state);
}

static void part_failed(struct slot *slot, enum status why)
{
	if (slot->call != NULL)
		client_call_close(slot->call);
	slot->call = NULL;
	if (why == STATUS_FORBIDDEN || why == STATUS_TOO_LARGE || why == STATUS_REFUSED || ++slot->tries >= TRIES)
		teller_fail(&slot->home->told, why);
	else
		s3_slot_send(slot);
}

static void on_part_head(void *context, struct client_call *call, const struct client_response *response)
{
	struct slot *slot = context;
	enum status status = s3_status_of(response->status);
	if (status == STATUS_OK && client_call_is_sent(call))
		part_done(slot, response);
	else
		part_failed(slot, status == STATUS_OK ? STATUS_UNAVAILABLE : status);
}

static void on_part_readable(void *context, struct client_call *call)
{
	(void)context, (void)call;
}

static void on_part_writable(void *context, struct client_call *call)
{
	struct slot *slot = context;
	slot->sent +=
		client_call_write(call, (const uint8_t *)slot->bytes.bytes + slot->sent, slot->bytes.length - slot->sent, true);
}

static void on_part_failed(void *context, struct client_call *call, enum status why)
{
	(void)call;
	part_failed(context, why);
}

static const struct client_events part_events = {on_part_head, on_part_readable, on_part_writable, on_part_failed};
