/* One fetch at a time: the discovery document, if there is one, then the set. */
#include "tenants/provider_keys.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "server/base/json.h"
#include "server/base/log.h"
#include "server/fetch.h"
#include "server/worker_pool.h"

enum {
	BYTES_MAX = 1024 * 1024,
	FETCH_MS = 10000, /* one document */
	RETRY_MS = 1000,  /* doubled with each failure */
	RETRY_MAX_MS = 60000,
	ASKED_MS = 5000 /* between fetches that were asked for */
};

struct provider_keys {
	struct worker *worker; /* NULL: not started */
	char *discovery_url, *jwks_url;
	uint64_t refresh_ms;
	enum status (*take)(void *context, struct text jwks, struct text issuer, struct buffer *error);
	void *context;
	struct task asked;
	atomic_bool is_asked;

	struct timer *timer; /* the end of a fetch's patience, or the next fetch */
	struct fetch *fetch;
	bool is_fetching, has_document; /* has_document: the discovery's is read, the set is on its way */
	char *issuer, *found_url;       /* of the discovery document */
	uint64_t began_ms;
	unsigned failures; /* in a row */
	bool has_keys;
};

static void start(struct provider_keys *keys, const char *address);

/* --- ends */

static void end_fetch(struct provider_keys *keys)
{
	fetch_cancel(keys->fetch);
	keys->fetch = NULL;
	keys->is_fetching = false;
}

static void fail(struct provider_keys *keys, const char *why)
{
	end_fetch(keys);
	uint64_t pause_ms = RETRY_MS;
	for (unsigned i = 0; i < keys->failures && pause_ms < RETRY_MAX_MS; i++)
		pause_ms *= 2;
	LOG(WARNING, "access.keys_unavailable",
		log_text("url", text_of(keys->has_document            ? keys->found_url
								: keys->discovery_url != NULL ? keys->discovery_url
															  : keys->jwks_url)),
		log_text("why", text_of(why)), log_bool("hasOlder", keys->has_keys));
	keys->failures++;
	timer_set(keys->timer, pause_ms < RETRY_MAX_MS ? pause_ms : RETRY_MAX_MS);
}

static void take_keys(struct provider_keys *keys, struct text body)
{
	struct buffer error = {0};
	enum status status =
		keys->take(keys->context, body, keys->issuer == NULL ? TEXT_NONE : text_of(keys->issuer), &error);
	if (status != STATUS_OK) {
		fail(keys, error.bytes == NULL ? status_text(status) : error.bytes);
	} else {
		if (!keys->has_keys || keys->failures > 0)
			LOG(INFO, "access.keys_fetched", log_number("bytes", body.length));
		keys->has_keys = true;
		keys->failures = 0;
		end_fetch(keys);
		timer_set(keys->timer, keys->refresh_ms);
	}
	buffer_free(&error);
}

static void take_discovery(struct provider_keys *keys, struct text body)
{
	struct json *document = NULL;
	enum status status = json_parse(body, NULL, &document);
	struct text issuer = json_member_text(document, "issuer"), url = json_member_text(document, "jwks_uri");
	free(keys->issuer);
	free(keys->found_url);
	keys->issuer = issuer.length > 0 ? text_copy(issuer) : NULL;
	keys->found_url = url.length > 0 ? text_copy(url) : NULL;
	json_free(document);
	if (status != STATUS_OK || keys->issuer == NULL || keys->found_url == NULL) {
		fail(keys, "the discovery document has no issuer or no jwks_uri");
		return;
	}
	end_fetch(keys);
	keys->has_document = true;
	start(keys, keys->found_url);
}

/* --- the call */

static void on_answer(void *context, enum status status, const struct fetch_answer *answer)
{
	struct provider_keys *keys = context;
	keys->fetch = NULL;
	if (answer->http != 0 && answer->http != 200)
		fail(keys, "the answer is not 200");
	else if (status != STATUS_OK)
		fail(keys, status == STATUS_TOO_LARGE ? "the answer is too large"
				   : answer->http != 0        ? "the answer was cut off"
											  : status_text(status));
	else if (keys->has_document || keys->discovery_url == NULL)
		take_keys(keys, answer->body);
	else
		take_discovery(keys, answer->body);
}

/* The operator says where it is: any address will do. */
static void start(struct provider_keys *keys, const char *address)
{
	static const struct network everywhere[] = {{.bits = 0}, {.bytes = {[10] = 0xff, [11] = 0xff}, .bits = 96}};
	static const struct address_rules rules = {everywhere, 2};
	const struct fetch_order order = {.tenant = TEXT("access"),
		.address = text_of(address),
		.method = TEXT("GET"),
		.accept = TEXT("application/json"),
		.rules = &rules,
		.answer_max = BYTES_MAX};
	keys->is_fetching = true;
	enum status status = fetch_start(keys->worker, &order, on_answer, keys, &keys->fetch);
	if (status == STATUS_OK) {
		timer_set(keys->timer, FETCH_MS);
	} else {
		fail(keys, status == STATUS_INVALID ? "not an address of http or https" : status_text(status));
	}
}

static void fetch(struct provider_keys *keys)
{
	keys->began_ms = worker_now_ms(keys->worker);
	keys->has_document = false;
	start(keys, keys->discovery_url != NULL ? keys->discovery_url : keys->jwks_url);
}

static void on_timer(void *context)
{
	struct provider_keys *keys = context;
	if (keys->is_fetching)
		fail(keys, "no answer in time");
	else
		fetch(keys);
}

static void on_asked(struct task *task)
{
	struct provider_keys *keys = (struct provider_keys *)((char *)task - offsetof(struct provider_keys, asked));
	atomic_store(&keys->is_asked, false);
	if (keys->timer == NULL || keys->is_fetching || worker_now_ms(keys->worker) - keys->began_ms < ASKED_MS)
		return;
	fetch(keys);
}

void provider_keys_ask(struct provider_keys *keys)
{
	if (keys->worker != NULL && !atomic_exchange(&keys->is_asked, true))
		worker_post(keys->worker, &keys->asked);
}

/* --- life */

static enum status on_start(void *context, struct worker *worker)
{
	struct provider_keys *keys = context;
	if (worker_index(worker) != 0)
		return STATUS_OK;
	keys->timer = timer_new(worker, on_timer, keys);
	if (keys->timer == NULL)
		return STATUS_NO_MEMORY;
	timer_set(keys->timer, 0);
	return STATUS_OK;
}

static void on_stop(void *context, struct worker *worker)
{
	struct provider_keys *keys = context;
	if (worker_index(worker) != 0)
		return;
	end_fetch(keys);
	timer_free(keys->timer);
	keys->timer = NULL;
}

enum status provider_keys_open(struct worker_pool *pool, const struct provider_source *source,
	enum status (*take)(void *context, struct text jwks, struct text issuer, struct buffer *error), void *context,
	struct provider_keys **keys)
{
	struct provider_keys *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->worker = worker_pool_at(pool, 0);
	made->take = take;
	made->context = context;
	made->refresh_ms = source->refresh_ms;
	made->asked.run = on_asked;
	atomic_init(&made->is_asked, false);
	if (source->discovery_url != NULL)
		made->discovery_url = text_copy(text_of(source->discovery_url));
	else
		made->jwks_url = text_copy(text_of(source->jwks_url));
	if (made->discovery_url == NULL && made->jwks_url == NULL) {
		provider_keys_free(made);
		return STATUS_NO_MEMORY;
	}
	worker_pool_on_start(pool, on_start, made);
	worker_pool_on_stop(pool, on_stop, made);
	*keys = made;
	return STATUS_OK;
}

void provider_keys_free(struct provider_keys *keys)
{
	if (keys == NULL)
		return;
	free(keys->discovery_url);
	free(keys->jwks_url);
	free(keys->issuer);
	free(keys->found_url);
	free(keys);
}
