/* Small calls to S3 stores. */
#include "tenants/dp/source/s3_talk.h"

#include <stdlib.h>

#include "server/fetch.h"
#include "tenants/dp/source/s3_order.h"
#include "tenants/jose/digest.h"

enum { ANSWER_MAX = 1024 * 1024 };

struct s3_talk {
	s3_heard *heard;
	void *context;
	struct fetch *fetch;
};

static void on_answer(void *context, enum status status, const struct fetch_answer *answer)
{
	struct s3_talk *talk = context;
	if (talk->heard != NULL)
		talk->heard(talk->context, status == STATUS_OK ? answer->http : 0, answer->length, answer->body);
	free(talk);
}

static enum status begin(struct s3_talk *talk, const struct s3_talk_request *request)
{
	const struct header type = {TEXT("content-type"), request->content_type};
	char hex[DIGEST_HEX + 1];
	struct s3_call signed_call = {0};
	struct address_rules rules;
	enum status status = digest_hex_of(request->body, hex);
	if (status != STATUS_OK)
		return status;
	const struct s3_order order = {.home = request->home,
		.ctx = request->ctx,
		.bucket = request->bucket,
		.secret = request->secret,
		.request = {.method = request->method,
			.key = request->key,
			.query = request->query,
			.payload = text_of(hex),
			.headers = &type,
			.header_count = request->content_type.bytes != NULL}};
	status = s3_order_sign(&order, &signed_call, &rules);
	if (status == STATUS_OK) {
		const struct fetch_order fetch = {.tenant = request->ctx,
			.url = &signed_call.url,
			.method = request->method,
			.headers = signed_call.headers,
			.header_count = signed_call.header_count,
			.body = request->body,
			.rules = &rules,
			.timeout_ms = (uint32_t)request->home->dp->settings.source_ms,
			.answer_max = ANSWER_MAX};
		status = fetch_start(request->home->worker, &fetch, on_answer, talk, &talk->fetch);
	}
	s3_call_clear(&signed_call);
	return status;
}

struct s3_talk *s3_talk_start(const struct s3_talk_request *request, s3_heard *heard, void *context)
{
	struct s3_talk *talk = calloc(1, sizeof(*talk));
	if (talk == NULL)
		return NULL;
	*talk = (struct s3_talk){heard, context, NULL};
	if (begin(talk, request) != STATUS_OK) {
		free(talk);
		return NULL;
	}
	return talk;
}

void s3_talk_end(struct s3_talk *talk)
{
	if (talk == NULL)
		return;
	fetch_cancel(talk->fetch);
	free(talk);
}
