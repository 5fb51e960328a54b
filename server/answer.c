/* Whole answers and whole request bodies. */
#include "server/answer.h"

#include <string.h>

#include "server/stream.h"

static const struct {
	int status;
	struct text phrase;
} phrases[] = {
#define PHRASE(status, phrase)                                                                                         \
	{                                                                                                                  \
		status,                                                                                                        \
		{                                                                                                              \
			phrase, sizeof(phrase) - 1                                                                                 \
		}                                                                                                              \
	}
	PHRASE(100, "Continue"),
	PHRASE(101, "Switching Protocols"),
	PHRASE(103, "Early Hints"),
	PHRASE(200, "OK"),
	PHRASE(201, "Created"),
	PHRASE(202, "Accepted"),
	PHRASE(203, "Non-Authoritative Information"),
	PHRASE(204, "No Content"),
	PHRASE(205, "Reset Content"),
	PHRASE(206, "Partial Content"),
	PHRASE(300, "Multiple Choices"),
	PHRASE(301, "Moved Permanently"),
	PHRASE(302, "Found"),
	PHRASE(303, "See Other"),
	PHRASE(304, "Not Modified"),
	PHRASE(307, "Temporary Redirect"),
	PHRASE(308, "Permanent Redirect"),
	PHRASE(400, "Bad Request"),
	PHRASE(401, "Unauthorized"),
	PHRASE(402, "Payment Required"),
	PHRASE(403, "Forbidden"),
	PHRASE(404, "Not Found"),
	PHRASE(405, "Method Not Allowed"),
	PHRASE(406, "Not Acceptable"),
	PHRASE(408, "Request Timeout"),
	PHRASE(409, "Conflict"),
	PHRASE(410, "Gone"),
	PHRASE(411, "Length Required"),
	PHRASE(412, "Precondition Failed"),
	PHRASE(413, "Content Too Large"),
	PHRASE(414, "URI Too Long"),
	PHRASE(415, "Unsupported Media Type"),
	PHRASE(416, "Range Not Satisfiable"),
	PHRASE(417, "Expectation Failed"),
	PHRASE(421, "Misdirected Request"),
	PHRASE(422, "Unprocessable Content"),
	PHRASE(425, "Too Early"),
	PHRASE(426, "Upgrade Required"),
	PHRASE(428, "Precondition Required"),
	PHRASE(429, "Too Many Requests"),
	PHRASE(431, "Request Header Fields Too Large"),
	PHRASE(451, "Unavailable For Legal Reasons"),
	PHRASE(500, "Internal Server Error"),
	PHRASE(501, "Not Implemented"),
	PHRASE(502, "Bad Gateway"),
	PHRASE(503, "Service Unavailable"),
	PHRASE(504, "Gateway Timeout"),
	PHRASE(505, "HTTP Version Not Supported"),
	PHRASE(507, "Insufficient Storage"),
	PHRASE(508, "Loop Detected"),
#undef PHRASE
};

struct text reason_phrase(int status)
{
	for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return TEXT("");
}

int status_to_http(enum status status)
{
	switch (status) {
	case STATUS_OK:
		return 200;
	case STATUS_INVALID:
		return 400;
	case STATUS_UNAUTHORIZED:
		return 401;
	case STATUS_FORBIDDEN:
	case STATUS_STOPPED:
		return 403;
	case STATUS_NOT_FOUND:
		return 404;
	case STATUS_CONFLICT:
		return 409;
	case STATUS_TOO_LARGE:
		return 413;
	case STATUS_REFUSED:
		return 429;
	case STATUS_CLOSED:
	case STATUS_PROTOCOL:
		return 502;
	case STATUS_UNAVAILABLE:
	case STATUS_NO_MEMORY:
		return 503;
	case STATUS_TIMEOUT:
		return 504;
	case STATUS_IO:
	case STATUS_INTERNAL:
		return 500;
	}
	return 500;
}

void answer(struct exchange *exchange, int status, struct text content_type, struct text body)
{
	struct text copy = TEXT("");
	if (body.length > 0) {
		copy = exchange_copy(exchange, body);
		if (copy.bytes == NULL || !exchange_add_header(exchange, TEXT("content-type"), content_type)) {
			copy = TEXT("");
			status = 503;
		}
	}
	exchange->status = status;
	exchange->read_body = NULL;
	exchange->file_descriptor = -1;
	exchange->response_text = copy;
	exchange->response_length = (int64_t)copy.length;
	exchange_respond(exchange);
}

void answer_json(struct exchange *exchange, int status, struct text json)
{
	answer(exchange, status, TEXT("application/json"), json);
}

void answer_empty(struct exchange *exchange, int status)
{
	answer(exchange, status, TEXT_NONE, TEXT_NONE);
}

void answer_problem(struct exchange *exchange, int status, struct text detail)
{
	struct buffer json = {0};
	buffer_append(&json, TEXT("{\"type\":\"about:blank\",\"title\":"));
	buffer_append_json(&json, reason_phrase(status));
	buffer_append(&json, TEXT(",\"status\":"));
	buffer_append_number(&json, status);
	if (detail.bytes != NULL) {
		buffer_append(&json, TEXT(",\"detail\":"));
		buffer_append_json(&json, detail);
	}
	buffer_append_byte(&json, '}');
	if (json.failed)
		answer_empty(exchange, status);
	else
		answer(exchange, status, TEXT("application/problem+json"), buffer_text(&json));
	buffer_free(&json);
}

/* --- whole request bodies */

struct body_collector {
	char *bytes;
	size_t length, room, limit;
	void (*done)(struct exchange *exchange, struct text body); /* NULL: answered already, what still comes is dropped */
};

/* Room for `length` bytes and a NUL. Memory follows what has arrived, not what was announced. */
static bool collector_grow(struct exchange *exchange, struct body_collector *collector, size_t length)
{
	enum { FIRST_ROOM = 4096 };
	if (length < collector->room)
		return true;
	size_t room = collector->room < FIRST_ROOM / 2 ? FIRST_ROOM : collector->room * 2;
	if (room > collector->limit + 1)
		room = collector->limit + 1;
	if (room < length + 1)
		room = length + 1;
	char *bytes = exchange_allocate(exchange, room);
	if (bytes == NULL)
		return false;
	if (collector->length > 0)
		memcpy(bytes, collector->bytes, collector->length);
	collector->bytes = bytes;
	collector->room = room;
	return true;
}

static void collector_refuse(struct exchange *exchange, int status)
{
	exchange->collector->done = NULL;
	answer_problem(exchange, status, TEXT_NONE);
}

static void collector_take(struct exchange *exchange, const uint8_t *bytes, size_t length, bool ended)
{
	struct body_collector *collector = exchange->collector;
	bool fits = length <= collector->limit - collector->length;
	bool taken = fits && collector->done != NULL && collector_grow(exchange, collector, collector->length + length);
	if (taken && length > 0) {
		memcpy(collector->bytes + collector->length, bytes, length);
		collector->length += length;
	}
	exchange_consume(exchange, length);
	if (collector->done == NULL)
		return;
	if (!taken) {
		collector_refuse(exchange, fits ? 503 : 413);
	} else if (ended) {
		collector->bytes[collector->length] = '\0';
		collector->done(exchange, (struct text){collector->bytes, collector->length});
	}
}

void collect_body(struct exchange *exchange, size_t limit, void (*done)(struct exchange *exchange, struct text body))
{
	struct body_collector *collector = exchange_allocate(exchange, sizeof *collector);
	if (collector == NULL) {
		answer_empty(exchange, 503);
		return;
	}
	size_t most = (size_t)stream_of(exchange)->connection->limits->collected_body;
	limit = limit < most ? limit : most;
	*collector = (struct body_collector){.limit = limit, .done = done};
	exchange->collector = collector;
	if (exchange->request_length > 0 && (uint64_t)exchange->request_length > limit)
		collector_refuse(exchange, 413);
	else
		exchange_receive(exchange, collector_take);
}
