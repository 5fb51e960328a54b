/* What a push says to its receiver: the question for the offset, segments, the whole; see push.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "tenants/dp/sink/push_attempt.h"

enum { HEADERS_MAX = 8, DRAINED_MAX = 64 * 1024, SAVE_MS = 1000 };

static const struct client_events probe_events, send_events;

/* --- answers */

enum judgement { JUDGED_GOOD, JUDGED_AGAIN, JUDGED_BAD };

static enum judgement judge(int status)
{
	/* 401 and 403 too: a consumer that was suspended refuses before its provider hears of it */
	static const int passing[] = {401, 403, 408, 409, 416, 425, 429};
	if (status < 300)
		return JUDGED_GOOD;
	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
		if (status == passing[i])
			return JUDGED_AGAIN;
	}
	return status >= 500 || status == 308 ? JUDGED_AGAIN : JUDGED_BAD;
}

static void end_call(struct push_attempt *attempt)
{
	if (attempt->call != NULL)
		client_call_close(attempt->call);
	attempt->call = NULL;
}

static void end_by_status(struct push_attempt *attempt, int status)
{
	char error[64];
	snprintf(error, sizeof(error), "the receiver answered %d", status);
	attempt_end(attempt, judge(status) == JUDGED_AGAIN ? ATTEMPT_AGAIN : ATTEMPT_FAILED, error);
}

static void on_failed(void *context, struct client_call *call, enum status why)
{
	struct push_attempt *attempt = context;
	(void)call;
	if (why == STATUS_FORBIDDEN)
		attempt_end(attempt, ATTEMPT_FAILED, "the receiver's address is not allowed for this tenant");
	else
		attempt_end(attempt, ATTEMPT_AGAIN, status_text(why));
}

/* --- requests */

static void call(struct push_attempt *attempt, struct text method, struct header *headers, size_t count,
	int64_t body_length, const struct client_events *events)
{
	struct push *push = attempt->push;
	const struct participant *participant = registry_find(push->dp->registry, text_of(push->ctx));
	if (participant == NULL) {
		attempt_end(attempt, ATTEMPT_AGAIN, "the participant is gone");
		return;
	}
	struct address_rules addresses = participant_address_rules(participant);
	struct url url = attempt->endpoint;
	url.path = buffer_text(&attempt->path);
	if (attempt->authorization != NULL)
		headers[count++] = (struct header){TEXT("authorization"), secret_expose(attempt->authorization)};
	const struct client_request request = {.tenant = text_of(push->ctx),
		.url = &url,
		.method = method,
		.headers = headers,
		.header_count = count,
		.body_length = body_length,
		.rules = &addresses,
		.read_ms = (uint32_t)push->dp->settings.push_ms};
	attempt->moved_ms = worker_now_ms(push->home->worker);
	enum status status = client_call_start(push->home->worker, &request, events, attempt, &attempt->call);
	if (status != STATUS_OK) {
		attempt->call = NULL;
		on_failed(attempt, NULL, status);
	}
}

void attempt_probe(struct push_attempt *attempt)
{
	struct header headers[HEADERS_MAX];
	attempt->takes_segments = false;
	call(attempt, TEXT("HEAD"), headers, 0, 0, &probe_events);
}

static void part_done(struct push_attempt *attempt)
{
	uint8_t byte;
	size_t count;
	if (attempt->source != NULL) /* its end, which may come after its last byte */
		(void)inner_read(attempt->source, &byte, 1, &count);
	attempt_close_source(attempt);
	attempt->part++;
	attempt_next_part(attempt);
}

static void on_probed(void *context, struct client_call *probe, const struct client_response *response)
{
	struct push_attempt *attempt = context;
	struct push_progress *progress = &attempt->push->progress;
	uint64_t offset = 0;
	int status = response->status;
	(void)probe;
	attempt->takes_segments = status < 300 && text_to_unsigned(client_response_header(response, TEXT("upload-offset")),
												  INT64_MAX, &offset) == STATUS_OK;
	end_call(attempt);
	/* a receiver that is down, or refuses now what it took before; one that does not know HEAD, or does not like it, is
	 * another thing */
	attempt->push->is_resumable = attempt->push->is_resumable || attempt->takes_segments;
	bool is_refused = (status == 401 || status == 403) && (attempt->push->is_resumable || progress->offset > 0);
	if (is_refused || status == 408 || status == 425 || status == 429 || (status >= 500 && status != 501)) {
		end_by_status(attempt, status);
		return;
	}
	/* only after an acknowledgement: else what is there may be of an earlier version */
	bool may_go_on = attempt->takes_segments && progress->validator[0] != 0 && progress->offset > 0 &&
					 (int64_t)offset <= progress->length;
	if (may_go_on && offset > 0 && (int64_t)offset == progress->length) {
		progress->offset = progress->length;
		part_done(attempt);
		return;
	}
	attempt_open_source(attempt, may_go_on ? (int64_t)offset : 0);
}

static void send_segment(struct push_attempt *attempt, struct header *headers, size_t count)
{
	char range[96];
	int64_t left = attempt->total - attempt->at, segment = attempt->push->dp->settings.push_segment;
	attempt->end = attempt->at + (left < segment ? left : segment);
	int length = snprintf(range, sizeof(range), "bytes %lld-%lld/%lld", (long long)attempt->at,
		(long long)attempt->end - 1, (long long)attempt->total);
	headers[count++] = (struct header){TEXT("content-range"), {range, (size_t)length}};
	call(attempt, TEXT("PUT"), headers, count, left < segment ? left : segment, &send_events);
}

static void send_next(struct push_attempt *attempt)
{
	struct header headers[HEADERS_MAX];
	size_t count = 0;
	if (attempt->content_type[0] != 0)
		headers[count++] = (struct header){TEXT("content-type"), text_of(attempt->content_type)};
	attempt->is_sent = attempt->is_draining = false;
	attempt->is_whole = !attempt->takes_segments || attempt->total <= 0;
	if (!attempt->is_whole) {
		send_segment(attempt, headers, count);
		return;
	}
	struct text method = data_address_property(attempt->address, "method");
	if (attempt->takes_segments || text_equals_ignoring_case(method, TEXT("PUT")))
		method = TEXT("PUT");
	else
		method = TEXT("POST");
	attempt->end = attempt->total;
	attempt->is_sent = attempt->total == 0;
	call(attempt, method, headers, count, attempt->total, &send_events);
}

/* --- the body */

/* False: nothing now, or the attempt has ended. */
static bool fill(struct push_attempt *attempt, size_t room, enum body_state *state)
{
	size_t count = 0;
	*state = inner_read(attempt->source, attempt->block, room < PUSH_BLOCK ? room : PUSH_BLOCK, &count);
	if (*state == BODY_FAILED) {
		/* a cut says so itself, at the end of the turn */
		if (!inner_is_aborted(attempt->source))
			attempt_end(attempt, ATTEMPT_AGAIN, "the source broke off");
		return false;
	}
	attempt->held = count;
	attempt->held_at = 0;
	return *state != BODY_LATER;
}

/* A source without ranges gives again what is acknowledged. */
static void skip(struct push_attempt *attempt)
{
	enum body_state state;
	while (attempt->skip > 0) {
		if (!fill(attempt, attempt->skip < PUSH_BLOCK ? (size_t)attempt->skip : PUSH_BLOCK, &state))
			return;
		attempt->skip -= (int64_t)attempt->held;
		attempt->held = 0;
		if (state == BODY_END && attempt->skip > 0) {
			attempt_end(attempt, ATTEMPT_AGAIN, "the source is shorter than it was");
			return;
		}
	}
	send_next(attempt);
}

static void go_on(struct push_attempt *attempt)
{
	if (attempt->skip > 0)
		skip(attempt);
	else
		send_next(attempt);
}

void attempt_pump(struct push_attempt *attempt)
{
	enum body_state state = BODY_MORE;
	if (attempt->waits_for_save)
		return;
	if (attempt->skip > 0) {
		skip(attempt);
		return;
	}
	while (attempt->call != NULL && !attempt->is_sent) {
		int64_t left = attempt->end < 0 ? INT64_MAX : attempt->end - attempt->at;
		if (attempt->held == 0 && !fill(attempt, left < PUSH_BLOCK ? (size_t)left : PUSH_BLOCK, &state))
			return;
		bool is_last = attempt->end < 0 ? state == BODY_END : (int64_t)attempt->held == left;
		if (state == BODY_END && !is_last) {
			attempt_end(attempt, ATTEMPT_AGAIN, "the source is shorter than it said");
			return;
		}
		size_t taken = client_call_write(attempt->call, attempt->block + attempt->held_at, attempt->held, is_last);
		if (taken > 0)
			attempt->moved_ms = worker_now_ms(attempt->push->home->worker);
		attempt->held_at += taken;
		attempt->held -= taken;
		attempt->at += (int64_t)taken;
		if (attempt->held > 0)
			return;
		attempt->is_sent = is_last;
	}
}

void attempt_source_ready(struct push_attempt *attempt)
{
	struct push *push = attempt->push;
	if (push->is_dirty && attempt->takes_segments) {
		/* the record first: else what a receiver holds after a crash could not be told from another version */
		push_progress_save(push);
		attempt->waits_for_save = push->is_saving;
	}
	if (!attempt->waits_for_save)
		go_on(attempt);
}

void push_attempt_saved(struct push_attempt *attempt)
{
	if (!attempt->waits_for_save)
		return;
	attempt->waits_for_save = false;
	go_on(attempt);
}

static void on_writable(void *context, struct client_call *sending)
{
	(void)sending;
	attempt_pump(context);
}

/* --- acknowledgements */

static void acknowledge(struct push_attempt *attempt)
{
	struct push *push = attempt->push;
	bool is_first = push->progress.offset == 0;
	push->failures = 0;
	push->progress.offset = attempt->at;
	push->is_dirty = true;
	if (is_first || worker_now_ms(push->home->worker) - push->saved_ms >= SAVE_MS)
		push_progress_save(push);
	bool is_over = attempt->is_whole || attempt->at == attempt->total;
	if (is_over)
		part_done(attempt);
	else
		send_next(attempt);
}

/* The rest of the answer, so that its connection can be used again. */
static void drain(struct push_attempt *attempt)
{
	uint8_t bytes[4096];
	size_t count = 0;
	enum body_state state = client_call_read(attempt->call, bytes, sizeof(bytes), &count);
	for (size_t sum = count; state == BODY_MORE && sum < DRAINED_MAX; sum += count)
		state = client_call_read(attempt->call, bytes, sizeof(bytes), &count);
	if (state == BODY_LATER)
		return;
	end_call(attempt);
	acknowledge(attempt);
}

/* "bytes=0-N": as resumable uploads acknowledge. */
static bool acknowledges_all(struct text range, int64_t end)
{
	char expected[48];
	int length = snprintf(expected, sizeof(expected), "bytes=0-%lld", (long long)end - 1);
	return text_equals(range, (struct text){expected, (size_t)length});
}

static void on_answer(void *context, struct client_call *sent, const struct client_response *response)
{
	struct push_attempt *attempt = context;
	bool is_good = judge(response->status) == JUDGED_GOOD;
	if (response->status == 308 && !attempt->is_whole)
		is_good = acknowledges_all(client_response_header(response, TEXT("range")), attempt->end);
	if (is_good && attempt->is_sent && client_call_is_sent(sent)) {
		attempt->is_draining = true;
		drain(attempt);
	} else if (is_good) {
		attempt_end(attempt, ATTEMPT_AGAIN, "the receiver answered before it had all");
	} else {
		end_by_status(attempt, response->status);
	}
}

static void on_readable(void *context, struct client_call *sent)
{
	struct push_attempt *attempt = context;
	(void)sent;
	if (attempt->is_draining)
		drain(attempt);
}

static const struct client_events probe_events = {on_probed, on_readable, on_writable, on_failed};
static const struct client_events send_events = {on_answer, on_readable, on_writable, on_failed};
