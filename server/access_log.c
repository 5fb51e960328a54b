/* The line of a request. */
#include "server/access_log.h"

#include "server/base/log_line.h"

enum { LOGGED_PATH_MAX = 256 };

#define NAME(key) TEXT(",\"" key "\":")

void access_log_write(const struct stream *stream, enum status outcome, int64_t took_us)
{
	if (LOG_INFO < log_threshold)
		return;
	const struct exchange *exchange = &stream->exchange;
	struct text path = exchange_path(exchange);
	if (path.length > LOGGED_PATH_MAX)
		path.length = LOGGED_PATH_MAX;
	struct log_line line;
	log_line_begin(&line, LOG_INFO, TEXT("request"));
	log_line_plain(&line, NAME("tenant"), exchange->tenant);
	log_line_plain(&line, NAME("peer"), exchange->peer);
	log_line_plain(&line, NAME("protocol"), text_of(stream->connection->protocol->name));
	log_line_text(&line, NAME("method"), exchange->method);
	log_line_text(&line, NAME("path"), path);
	log_line_number(&line, NAME("status"), stream->is_responded ? exchange->status : 0);
	log_line_number(&line, NAME("sent"), (int64_t)exchange->bytes_sent);
	log_line_number(&line, NAME("received"), (int64_t)exchange->bytes_received);
	log_line_number(&line, NAME("us"), took_us);
	log_line_plain(&line, NAME("outcome"), text_of(status_name(outcome)));
	log_line_text(&line, NAME("note"), exchange->note);
	log_line_text(&line, NAME("client"), exchange->client_identity);
	log_line_plain(&line, NAME("trace"), text_slice(exchange->traceparent, 3, 35));
	log_line_end(&line);
}
