/* Small calls to S3 stores. */
#include "tenants/dp/source/s3_talk.h"

#include <stdlib.h>

#include "tenants/jose/digest.h"

enum { ANSWER_MAX = 1024 * 1024 };

struct s3_talk {
	s3_heard *heard;
	void *context;
	struct client_call *call;
	struct buffer body, answer;
	size_t sent;
	int status;
	int64_t length;
	bool is_head;
};

static void talk_free(struct s3_talk *talk)
{
	if (talk->call != NULL)
		client_call_close(talk->call);
	buffer_free(&talk->body);
	buffer_free(&talk->answer);
	free(talk);
}

static void finish(struct s3_talk *talk, int status)
{
	if (talk->heard != NULL)
		talk->heard(talk->context, status, talk->length, buffer_text(&talk->answer));
	talk_free(talk);
}

static void on_readable(void *state, struct client_call *call)
{
	struct s3_talk *talk = state;
	uint8_t bytes[4096];
	enum body_state result = BODY_MORE;
	while (result == BODY_MORE) {
		size_t count = 0;
		result = talk->is_head ? BODY_END : client_call_read(call, bytes, sizeof(bytes), &count);
		buffer_append(&talk->answer, (struct text){(const char *)bytes, count});
		if (result == BODY_FAILED || talk->answer.failed || talk->answer.length > ANSWER_MAX) {
			finish(talk, 0);
			return;
		}
	}
	if (result == BODY_END)
		finish(talk, talk->status);
}

static void on_head(void *state, struct client_call *call, const struct client_response *response)
{
	struct s3_talk *talk = state;
	talk->status = response->status;
	talk->length = response->length;
	on_readable(state, call);
}

static void on_writable(void *state, struct client_call *call)
{
	struct s3_talk *talk = state;
	talk->sent +=
		client_call_write(call, (const uint8_t *)talk->body.bytes + talk->sent, talk->body.length - talk->sent, true);
}

static void on_failed(void *state, struct client_call *call, enum status why)
{
	(void)call, (void)why;
	finish(state, 0);
}

static const struct client_events events = {on_head, on_readable, on_writable, on_failed};

static enum status begin(struct s3_talk *talk, const struct s3_talk_request *request)
{
	const struct dp *dp = request->home->dp;
	const struct participant *participant = registry_find(dp->registry, request->ctx);
	const struct header type = {TEXT("content-type"), request->content_type};
	uint8_t hash[DIGEST_BYTES];
	char hex[DIGEST_HEX + 1];
	struct s3_call signed_call = {0};
	enum status status = participant == NULL ? STATUS_UNAVAILABLE : digest_of(request->body, hash);
	if (status != STATUS_OK)
		return status;
	digest_hex(hash, hex);
	const struct s3_request to_sign = {.method = request->method,
		.key = request->key,
		.query = request->query,
		.payload = text_of(hex),
		.headers = &type,
		.header_count = request->content_type.bytes != NULL};
	status = s3_call_build(
		request->bucket, &to_sign, request->secret, worker_wall_ms(request->home->worker) / 1000, &signed_call);
	if (status == STATUS_OK) {
		struct address_rules addresses = participant_address_rules(participant);
		const struct client_request call = {.tenant = request->ctx,
			.url = &signed_call.url,
			.method = request->method,
			.headers = signed_call.headers,
			.header_count = signed_call.header_count,
			.body_length = (int64_t)request->body.length,
			.rules = &addresses,
			.read_ms = (uint32_t)dp->settings.source_ms};
		status = client_call_start(request->home->worker, &call, &events, talk, &talk->call);
	}
	s3_call_clear(&signed_call);
	if (status != STATUS_OK)
		talk->call = NULL;
	return status;
}

struct s3_talk *s3_talk_start(const struct s3_talk_request *request, s3_heard *heard, void *context)
{
	struct s3_talk *talk = calloc(1, sizeof(*talk));
	if (talk == NULL)
		return NULL;
	talk->heard = heard;
	talk->context = context;
	talk->length = -1;
	talk->is_head = text_equals(request->method, TEXT("HEAD"));
	buffer_append(&talk->body, request->body);
	if (talk->body.failed || begin(talk, request) != STATUS_OK) {
		talk_free(talk);
		return NULL;
	}
	return talk;
}

void s3_talk_end(struct s3_talk *talk)
{
	if (talk != NULL)
		talk_free(talk);
}
