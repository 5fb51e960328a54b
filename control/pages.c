/* Metrics and health. */
#include "control/pages.h"

#include "server/answer.h"
#include "server/base/metric.h"

bool pages_is_read(struct exchange *exchange)
{
	if (text_equals(exchange->method, TEXT("GET")) || text_equals(exchange->method, TEXT("HEAD")))
		return true;
	exchange_add_header(exchange, TEXT("allow"), TEXT("GET, HEAD"));
	answer_problem(exchange, 405, TEXT_NONE);
	return false;
}

void pages_metrics(struct exchange *exchange)
{
	struct buffer text = {0};
	if (!pages_is_read(exchange))
		return;
	metric_render(&text);
	if (text.failed)
		answer_problem(exchange, 503, TEXT_NONE);
	else
		answer(exchange, 200, TEXT("text/plain; version=0.0.4; charset=utf-8"), buffer_text(&text));
	buffer_free(&text);
}

void pages_health(struct exchange *exchange, struct text rest, bool is_draining, const char *unready)
{
	struct buffer text = {0};
	if (!pages_is_read(exchange))
		return;
	if (text_equals(rest, TEXT("/live")) || text_equals(rest, TEXT("/startup"))) {
		answer_json(exchange, 200, TEXT("{\"status\":\"up\"}"));
	} else if (!text_equals(rest, TEXT("/ready"))) {
		answer_problem(exchange, 404, TEXT_NONE);
	} else if (is_draining || unready != NULL) {
		buffer_printf(&text, "{\"status\":\"%s\"}", is_draining ? "draining" : unready);
		answer_json(exchange, 503, buffer_text(&text));
	} else {
		answer_json(exchange, 200, TEXT("{\"status\":\"ready\"}"));
	}
	buffer_free(&text);
}
