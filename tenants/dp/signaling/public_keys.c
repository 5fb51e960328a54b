/* Public keys: printed once in a while for all participants, at once for one. */
#include "tenants/dp/signaling/public_keys.h"

#include "server/answer.h"
#include "server/base/id.h"
#include "server/path.h"
#include "tenants/dp/state.h"

enum { FRESH_MS = 1000 };

static bool is_serving(const struct participant *participant)
{
	return participant->state == PARTICIPANT_ACTIVATED && (participant->vpas >> VPA_DATAPLANE & 1U) != 0;
}

static bool append_keys(void *context, const struct participant *participant)
{
	struct buffer *into = context;
	for (size_t i = 0; i < participant->key_count && is_serving(participant); i++) {
		if (into->bytes[into->length - 1] != '[')
			buffer_append_byte(into, ',');
		if (key_to_public_jwk(participant->keys[i], into) != STATUS_OK)
			into->failed = true;
	}
	return !into->failed;
}

static void start(struct buffer *set)
{
	buffer_clear(set);
	buffer_append(set, TEXT("{\"keys\":["));
}

static void send_set(struct exchange *exchange, const struct buffer *set)
{
	exchange_add_header(exchange, TEXT("cache-control"), TEXT("public, max-age=60"));
	if (set->failed)
		answer_problem(exchange, 503, TEXT_NONE);
	else
		answer(exchange, 200, TEXT("application/jwk-set+json"), buffer_text(set));
}

/* Printing costs as much as there are participants, and anybody may ask. */
static void send_all(const struct dp *dp, struct exchange *exchange)
{
	struct dp_worker *home = dp_here(dp, exchange->worker);
	uint64_t now_ms = worker_now_ms(exchange->worker);
	if (home->key_set.length == 0 || home->key_set.failed || now_ms - home->key_set_ms >= FRESH_MS) {
		home->key_set.failed = false;
		start(&home->key_set);
		if (!home->key_set.failed)
			registry_each(dp->registry, append_keys, &home->key_set);
		buffer_append(&home->key_set, TEXT("]}"));
		home->key_set_ms = now_ms;
	}
	send_set(exchange, &home->key_set);
}

void public_keys(void *context, struct exchange *exchange, const struct route *route)
{
	const struct dp *dp = context;
	struct text rest = route->rest, ctx = TEXT_NONE;
	bool has_ctx = path_next(&rest, &ctx);
	const struct participant *participant =
		has_ctx && rest.length == 0 && id_is_valid(ctx) ? registry_find(dp->registry, ctx) : NULL;
	if (!text_equals(exchange->method, TEXT("GET")) && !text_equals(exchange->method, TEXT("HEAD"))) {
		answer_problem(exchange, 405, TEXT_NONE);
	} else if (!has_ctx && rest.length == 0) {
		send_all(dp, exchange);
	} else if (participant == NULL || !is_serving(participant)) {
		answer_problem(exchange, 404, TEXT_NONE);
	} else {
		struct buffer set = {0};
		start(&set);
		if (!set.failed)
			append_keys(&set, participant);
		buffer_append(&set, TEXT("]}"));
		send_set(exchange, &set);
		buffer_free(&set);
	}
}
