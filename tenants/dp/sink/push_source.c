/* The source of a push: an inner exchange, admitted to its flow like any pull, so that cuts and books are the same. */
#include "tenants/dp/sink/push_attempt.h"

#include <stdio.h>
#include <string.h>

#include "server/etag.h"

void attempt_close_source(struct push_attempt *attempt)
{
	inner_close(attempt->source);
	attempt->source = NULL;
	attempt->held = attempt->held_at = 0;
}

/* "" : nothing that a later attempt could compare. */
static struct text validator_of(const struct inner *source)
{
	struct text tag = inner_header(source, TEXT("etag"));
	if (tag.bytes == NULL || !etag_is_valid(tag) || text_starts_with(tag, TEXT("W/")))
		tag = inner_header(source, TEXT("last-modified"));
	for (size_t i = 0; i < tag.length; i++) {
		if ((unsigned char)tag.bytes[i] < 0x20 || (unsigned char)tag.bytes[i] > 0x7e)
			return TEXT("");
	}
	return tag.bytes == NULL || tag.length > PUSH_VALIDATOR_MAX ? TEXT("") : tag;
}

/* "bytes 5-9/10" with exactly this beginning and length, up to the end. */
static bool is_rest(struct text range, int64_t offset, int64_t length)
{
	char expected[80];
	int printed = snprintf(expected, sizeof(expected), "bytes %lld-%lld/%lld", (long long)offset, (long long)length - 1,
		(long long)length);
	return text_equals(range, (struct text){expected, (size_t)printed});
}

static bool is_same(const struct push_progress *progress, struct text validator)
{
	return validator.length > 0 && text_equals(validator, text_of(progress->validator));
}

/* The whole answered: from its beginning, unless it is what was begun and only ranges are not known there. */
static void take_whole(struct push_attempt *attempt, int64_t length)
{
	struct push_progress *progress = &attempt->push->progress;
	struct text validator = validator_of(attempt->source);
	attempt->total = length;
	if (attempt->at > 0 && is_same(progress, validator) && length == progress->length) {
		attempt->skip = attempt->at;
		return;
	}
	attempt->at = 0;
	progress->offset = 0;
	progress->length = length;
	memcpy(progress->validator, validator.bytes, validator.length);
	progress->validator[validator.length] = 0;
	attempt->push->is_dirty = true;
}

static void on_head(void *context)
{
	struct push_attempt *attempt = context;
	struct push_progress *progress = &attempt->push->progress;
	const struct exchange *exchange = inner_exchange(attempt->source);
	struct text type = inner_header(attempt->source, TEXT("content-type"));
	snprintf(attempt->content_type, sizeof(attempt->content_type), "%.*s",
		type.length > 0 && type.length < sizeof(attempt->content_type) ? (int)type.length : 0,
		type.bytes == NULL ? "" : type.bytes);
	attempt->skip = 0;
	if (exchange->status == 206 && attempt->at > 0 &&
		is_rest(inner_header(attempt->source, TEXT("content-range")), attempt->at, progress->length)) {
		attempt->total = progress->length;
	} else if (exchange->status == 200) {
		take_whole(attempt, exchange->response_length);
	} else {
		char error[64];
		snprintf(error, sizeof(error), "the source answered %d", exchange->status);
		attempt_end(attempt, ATTEMPT_AGAIN, error);
		return;
	}
	attempt->push->has_used = true;
	attempt_source_ready(attempt);
}

static void on_readable(void *context)
{
	attempt_pump(context);
}

static void on_aborted(void *context, enum status why)
{
	struct push_attempt *attempt = context;
	if (why == STATUS_STOPPED)
		attempt_end(attempt, ATTEMPT_STOPPED, NULL);
	else
		attempt_end(attempt, ATTEMPT_AGAIN, "the source broke off");
}

static const struct inner_events events = {on_head, on_readable, on_aborted};

void attempt_open_source(struct push_attempt *attempt, int64_t offset)
{
	struct push *push = attempt->push;
	const struct dataset_part *part = &attempt->dataset->parts[attempt->part];
	struct header headers[2];
	char range[32];
	attempt_close_source(attempt);
	attempt->at = offset;
	struct inner_request request = {.method = TEXT("GET"),
		.target = TEXT("/"),
		.headers = headers,
		.tenant = text_of(push->ctx),
		.share = attempt->share};
	if (offset > 0) {
		int length = snprintf(range, sizeof(range), "bytes=%lld-", (long long)offset);
		headers[request.header_count++] = (struct header){TEXT("range"), {range, (size_t)length}};
		headers[request.header_count++] = (struct header){TEXT("if-range"), text_of(push->progress.validator)};
	}
	if ((attempt->dataset->methods & part->driver->methods(part->source) & 1U << METHOD_GET) == 0) {
		attempt_end(attempt, ATTEMPT_FAILED, "the dataset cannot be read with GET");
		return;
	}
	attempt->source = inner_new(push->home->worker, &request, &events, attempt);
	if (attempt->source == NULL) {
		attempt_end(attempt, ATTEMPT_AGAIN, "out of memory");
		return;
	}
	/* one push is one use of the data, however often it is begun again */
	bool continues = push->has_used || push->progress.offset > 0 || attempt->part > 0;
	struct pull *pull = pull_admit(push->home, inner_exchange(attempt->source), push->flow, continues);
	if (pull == NULL) {
		bool is_refused = inner_exchange(attempt->source)->status == 403;
		attempt_end(attempt, is_refused ? ATTEMPT_FAILED : ATTEMPT_AGAIN,
			is_refused ? "the agreement does not allow this" : "out of memory");
		return;
	}
	pull_take_dataset(pull, attempt->dataset); /* as it was when the attempt began */
	pull->method = METHOD_GET;
	pull->below = TEXT("");
	pull->part = part;
	part->driver->start(pull);
}
