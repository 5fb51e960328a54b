/* Parts on their way: at most two, each sent again a few times. */
#include <stdio.h>
#include <string.h>

#include "tenants/dp/sink/s3_sink.h"
#include "tenants/dp/source/s3_order.h"

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
	const struct header type = {TEXT("content-type"), state->told.intake->content_type};
	bool is_single = state->upload[0] == 0;
	struct buffer query = {0};
	slot->phase = SLOT_SENDING;
	slot->sent = 0;
	if (!is_single) {
		buffer_printf(&query, "partNumber=%zu&uploadId=", slot->number);
		sigv4_escape(text_of(state->upload), false, &query);
	}
	const struct s3_order order = {.home = pull->home,
		.ctx = text_of(pull->flow->ctx),
		.bucket = &sink->store.bucket,
		.secret = secret_expose(state->secret),
		.request = {.method = TEXT("PUT"),
			.key = buffer_text(&state->key),
			.query = is_single ? TEXT_NONE : buffer_text(&query),
			.payload = text_of(slot->payload),
			.headers = &type,
			.header_count = is_single && type.value.bytes != NULL},
		.body_length = (int64_t)slot->bytes.length};
	enum status status = query.failed ? STATUS_NO_MEMORY : s3_order_start(&order, &part_events, slot, &slot->call);
	buffer_free(&query);
	if (status != STATUS_OK) {
		slot->call = NULL;
		teller_fail(&state->told, status);
	}
}

static void part_done(struct slot *slot, const struct client_response *response)
{
	struct s3_intake *state = slot->home;
	struct text tag = client_response_header(response, TEXT("etag"));
	char copy[S3_TAG_MAX];
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
