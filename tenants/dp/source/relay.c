/* Upstream answers, streamed on as the consumer takes them. */
#include "tenants/dp/source/relay.h"

#include "server/answer.h"
#include "server/known_fields.h"
#include "tenants/dp/source/conditions.h"
#include "tenants/dp/source/headers.h"

enum { TRAILERS_PASSED = 8 };

void relay_refuse(struct pull *pull, enum status why)
{
	static const struct {
		enum status status;
		int http;
		const char *detail;
	} answers[] = {{STATUS_TIMEOUT, 504, "the source did not answer in time"},
		{STATUS_REFUSED, 503, "too many requests wait for the source"}, {STATUS_NO_MEMORY, 503, "out of memory"}};
	int http = 502;
	const char *detail = "the source did not give a usable answer";
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (answers[i].status == why) {
			http = answers[i].http;
			detail = answers[i].detail;
		}
	}
	pull_refuse(pull, http, text_of(detail));
}

/* In the memory of the call, which is closed in on_close. */
static void pass_trailers(const struct relay *relay, struct exchange *exchange)
{
	struct header trailers[TRAILERS_PASSED];
	unsigned count = client_call_trailers(relay->call, trailers, TRAILERS_PASSED);
	for (unsigned i = 0; i < count; i++) {
		if (trailer_goes_to_consumer(trailers[i].name))
			(void)exchange_add_trailer(exchange, trailers[i].name, trailers[i].value);
	}
}

static enum body_state on_read(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	struct pull *pull = exchange->state;
	struct relay *relay = pull->source_state;
	*count = 0;
	client_call_limit_ahead(relay->call, exchange->read_ahead);
	enum body_state result = client_call_read(relay->call, frame, room, count);
	exchange->held = client_call_held(relay->call);
	if (result == BODY_FAILED)
		dp_count(DP_SOURCE_ERRORS);
	else
		pull_count(pull, *count);
	if (result == BODY_END)
		pass_trailers(relay, exchange);
	return result;
}

/* What of which version the body will be. An answer that is no part or whole of a representation is of none. */
static void note_version(struct relay *relay, const struct client_response *response)
{
	const struct text unit = TEXT("bytes ");
	struct text tag = TEXT_NONE;
	uint64_t first = 0;
	bool is_known = relay->pull->method == METHOD_GET && (response->status == 200 || response->status == 206);
	for (size_t i = 0; i < response->header_count; i++) {
		const struct header *header = &response->headers[i];
		if (text_equals(header->name, TEXT("etag")))
			tag = header->value;
		if (response->status != 206 || !text_equals(header->name, TEXT("content-range")))
			continue;
		struct text range = text_slice(header->value, unit.length, header->value.length);
		is_known = is_known && text_starts_with(header->value, unit) &&
				   text_to_unsigned(text_slice(range, 0, text_find(range, '-')), INT64_MAX, &first) == STATUS_OK;
	}
	relay->tag = is_known ? tag : TEXT_NONE;
	relay->first = first;
}

static enum body_state on_lend(
	struct exchange *exchange, size_t room, bool may_read, const uint8_t **bytes, size_t *count)
{
	struct pull *pull = exchange->state;
	const struct relay *relay = pull->source_state;
	client_call_limit_ahead(relay->call, exchange->read_ahead);
	enum body_state result = client_call_lend(relay->call, room, may_read, bytes, count);
	exchange->held = client_call_held(relay->call);
	if (result == BODY_FAILED)
		dp_count(DP_SOURCE_ERRORS);
	else
		pull_count(pull, *count);
	return result;
}

static enum body_state on_pipe(struct exchange *exchange, size_t room, int *pipe, size_t *count)
{
	struct pull *pull = exchange->state;
	const struct relay *relay = pull->source_state;
	client_call_limit_ahead(relay->call, exchange->read_ahead);
	enum body_state result = client_call_pipe(relay->call, room, pipe, count);
	exchange->held = client_call_held(relay->call);
	if (result == BODY_FAILED)
		dp_count(DP_SOURCE_ERRORS);
	else
		pull_count(pull, *count);
	return result;
}

static bool is_tag(const struct header *header)
{
	return text_equals(header->name, TEXT("etag"));
}

/* What passes of a head that comes again and again, but for its tag, which is another for each consumer. NULL: it is
 * not known, and must be added field by field. */
static const struct known_fields *find_known(const struct client_response *response,
	bool (*passes)(struct text name, const struct header *headers, size_t count))
{
	struct answer_memo *memo = response->memo;
	struct header fields[ANSWER_MEMO_FIELDS];
	unsigned count = 0;
	if (memo == NULL)
		return NULL;
	if (memo->maker != NULL)
		return memo->maker == passes ? memo->fields : NULL;
	for (size_t i = 0; i < response->header_count; i++) {
		const struct header *header = &response->headers[i];
		if (!is_tag(header) && passes(header->name, response->headers, response->header_count))
			fields[count++] = *header;
	}
	memo->maker = passes;
	memo->fields = known_fields_new(fields, count);
	return memo->fields;
}

/* Lent until client_call_close, which is in on_close. */
static bool add_fields(const struct relay *relay, const struct client_response *response, bool only_tags,
	bool (*passes)(struct text name, const struct header *headers, size_t count))
{
	struct exchange *exchange = relay->pull->exchange;
	for (size_t i = 0; i < response->header_count; i++) {
		const struct header *header = &response->headers[i];
		if (only_tags && !is_tag(header))
			continue;
		if (!passes(header->name, response->headers, response->header_count))
			continue;
		if (is_tag(header) ? !conditions_add_tag(relay->pull, header->value)
						   : !exchange_add_header(exchange, header->name, header->value))
			return false;
	}
	return true;
}

void relay_answer(struct relay *relay, const struct client_response *response,
	bool (*passes)(struct text name, const struct header *headers, size_t count))
{
	struct exchange *exchange = relay->pull->exchange;
	const struct known_fields *known = find_known(response, passes);
	if (!add_fields(relay, response, known != NULL, passes)) {
		relay_refuse(relay->pull, STATUS_PROTOCOL);
		return;
	}
	exchange->known = known;
	note_version(relay, response);
	exchange->status = response->status;
	exchange->response_length = response->length;
	exchange->read_body = on_read;
	exchange->lend_body = on_lend;
	exchange->pipe_body = on_pipe;
	pull_respond(relay->pull);
}

void relay_close(struct relay *relay)
{
	if (relay->call != NULL) { /* which lends the tag */
		pull_sent(relay->pull, relay->tag, TEXT_NONE, relay->first, relay->pull->counted);
		client_call_close(relay->call);
	}
	relay->call = NULL;
}

void relay_on_readable(void *context, struct client_call *call)
{
	const struct relay *relay = context;
	(void)call;
	exchange_resume(relay->pull->exchange);
}

void relay_on_failed(void *context, struct client_call *call, enum status why)
{
	const struct relay *relay = context;
	(void)call;
	relay_refuse(relay->pull, why);
}
