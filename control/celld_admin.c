/* Admin: metrics, health, a small page, the status. */
#include "control/celld_admin.h"

#include "control/pages.h"
#include "server/answer.h"
#include "server/base/clock.h"
#include "server/base/log.h"

void admin_metrics(void *context, struct exchange *exchange, const struct route *route)
{
	(void)context;
	if (route->rest.length > 0)
		answer_problem(exchange, 404, TEXT_NONE);
	else
		pages_metrics(exchange);
}

void admin_health(void *context, struct exchange *exchange, const struct route *route)
{
	struct admin *admin = context;
	pages_health(exchange, route->rest, atomic_load_explicit(&admin->is_draining, memory_order_relaxed),
		!store_is_healthy(admin->store)           ? "the store cannot be reached"
		: membership_is_fenced(admin->membership) ? "fenced: another process of this cell has joined"
												  : NULL);
}

void admin_page(void *context, struct exchange *exchange, const struct route *route)
{
	const struct admin *admin = context;
	struct buffer text = {0};
	if (!text_equals(route->rest, TEXT("/"))) {
		answer_problem(exchange, 404, TEXT_NONE);
		return;
	}
	if (!pages_is_read(exchange))
		return;
	buffer_printf(&text,
		"<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>celld</title><style>body{font:15px/1.5 "
		"sans-serif;"
		"margin:3em;max-width:40em}td{padding:.2em 2em .2em 0}</style><h1>celld</h1><table><tr><td>participants<td>%zu"
		"<tr><td>up for<td>%lld s<tr><td>store<td>%s<tr><td>log lines dropped<td>%llu",
		registry_count(admin->registry), (long long)((clock_wall_ms() - admin->started_ms) / 1000),
		store_is_healthy(admin->store) ? "healthy" : "not reachable", (unsigned long long)log_dropped());
	if (admin->membership != NULL) {
		buffer_append(&text, TEXT("<tr><td>fabric<td>"));
		membership_line(admin->membership, &text);
		buffer_append(&text, TEXT("<tr><td>orders<td>"));
		orders_print(admin->orders, &text);
	}
	buffer_append(&text,
		TEXT("</table><p><a href=\"/metrics\">metrics</a> &middot; <a href=\"/healthz/ready\">ready</a></html>"));
	if (text.failed)
		answer_problem(exchange, 503, TEXT_NONE);
	else
		answer(exchange, 200, TEXT("text/html; charset=utf-8"), buffer_text(&text));
	buffer_free(&text);
}

struct census {
	size_t by_state[PARTICIPANT_DEACTIVATED + 1];
};

static bool count_one(void *context, const struct participant *participant)
{
	((struct census *)context)->by_state[participant->state]++;
	return true;
}

void admin_status(void *context, struct exchange *exchange, const struct route *route)
{
	struct admin *admin = context;
	struct buffer text = {0};
	struct census census = {0};
	if (route->rest.length > 0) {
		answer_problem(exchange, 404, TEXT_NONE);
		return;
	}
	if (!pages_is_read(exchange) ||
		!access_allow(admin->access, exchange, TEXT("management-api"), TEXT("cell"), ACCESS_READ, TEXT_NONE))
		return;
	registry_each(admin->registry, count_one, &census);
	buffer_printf(&text,
		"{\"version\":\"%s\",\"uptimeSeconds\":%lld,\"storeHealthy\":%s,\"draining\":%s,\"participants\":%zu",
		CELLD_VERSION, (long long)((clock_wall_ms() - admin->started_ms) / 1000),
		store_is_healthy(admin->store) ? "true" : "false",
		atomic_load_explicit(&admin->is_draining, memory_order_relaxed) ? "true" : "false",
		registry_count(admin->registry));
	for (int state = 0; state <= PARTICIPANT_DEACTIVATED; state++)
		buffer_printf(&text, ",\"participants%s\":%zu", participant_state_name((enum participant_state)state),
			census.by_state[state]);
	if (admin->membership != NULL) {
		struct buffer line = {0};
		membership_line(admin->membership, &line);
		buffer_append(&text, TEXT(",\"fabric\":"));
		buffer_append_json(&text, buffer_text(&line));
		buffer_free(&line);
		buffer_append(&text, TEXT(",\"orders\":"));
		orders_print(admin->orders, &text);
	}
	buffer_append_byte(&text, '}');
	if (text.failed)
		answer_problem(exchange, 503, TEXT_NONE);
	else
		answer_json(exchange, 200, buffer_text(&text));
	buffer_free(&text);
}
