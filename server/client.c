/* The HTTP client: calls, pools of connections, the address guard. One struct client a worker; nothing is shared but
 * the resolver and the settings. What callbacks can reach is freed at the end of the turn. */
#include "server/client_private.h"
#include "server/worker_pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct client_pool *the_pool; /* one a process: client_call_start finds its worker's client by the pool's slot */
static int metrics[CLIENT_METRIC_COUNT];

void client_count(enum client_metric metric)
{
	metric_add(metrics[metric], 1);
}

uint64_t client_now(const struct client *client)
{
	return worker_now_ms(client->worker);
}

/* --- the end of a turn: events put off, then what is over is freed */

void client_sweep_later(struct client *client)
{
	if (client->is_sweep_queued)
		return;
	client->is_sweep_queued = true;
	worker_later(client->worker, &client->sweep);
}

static void call_free(struct client_call *call)
{
	free(call->text);
	free(call);
}

static void call_destroy(struct client_call *call)
{
	struct client *client = call->client;
	known_head_release(call->known);
	if (call->rules != call->few_rules)
		free(call->rules);
	if (call->h2.out != NULL)
		free(call->h2.out);
	buffer_free(&call->h2.kept);
	buffer_free(&call->trailers);
	if (client->free_call_count >= FREE_CALLS_MAX || call->text_room > TEXT_KEPT_MAX) {
		call_free(call);
		return;
	}
	call->next_free = client->free_calls;
	client->free_calls = call;
	client->free_call_count++;
}

static void tell(struct client_call *call)
{
	if (call->is_closed)
		return;
	if (call->is_failure_due) {
		call->is_failure_due = false;
		if (call->phase == CALL_FAILED && !call->has_head)
			call->events->on_failed(call->state, call, call->error);
		else
			call->events->on_readable(call->state, call);
		return;
	}
	if (call->is_head_due) {
		call->is_head_due = false;
		call->has_head = true;
		call->events->on_head(call->state, call, &call->response);
	}
	if (call->is_readable_due && !call->is_closed) {
		call->is_readable_due = false;
		call->events->on_readable(call->state, call);
	}
	if (call->is_writable_due && !call->is_closed && call->phase != CALL_WAITING) {
		call->is_writable_due = false;
		call->events->on_writable(call->state, call);
	}
}

static void on_sweep(struct task *task)
{
	struct client *client = (struct client *)(void *)((char *)task - offsetof(struct client, sweep));
	client->is_sweep_queued = false;
	h1_lent_release(client);
	struct client_call *due = client->due;
	client->due = NULL;
	while (due != NULL) {
		struct client_call *next = due->due_next;
		due->is_due = false;
		tell(due);
		due = next;
	}
	struct client_call *closed = client->closed;
	client->closed = NULL;
	while (closed != NULL) {
		struct client_call *next = closed->next_free;
		if (closed->is_due) { /* told (as closed) in the next sweep */
			closed->next_free = client->closed;
			client->closed = closed;
		} else {
			call_destroy(closed);
		}
		closed = next;
	}
	origins_pump(client);
	h2_flush_due(client);
	upstreams_bury(client);
	if (client->closed != NULL)
		client_sweep_later(client);
}

void call_due(struct client_call *call)
{
	struct client *client = call->client;
	if (call->is_due)
		return;
	call->is_due = true;
	call->due_next = client->due;
	client->due = call;
	client_sweep_later(client);
}

void call_fail(struct client_call *call, enum status why)
{
	static const struct {
		enum status status;
		enum client_metric metric;
	} kinds[] = {{STATUS_TIMEOUT, CLIENT_TIMED_OUT}, {STATUS_PROTOCOL, CLIENT_GARBAGE},
		{STATUS_FORBIDDEN, CLIENT_FORBIDDEN}, {STATUS_UNAVAILABLE, CLIENT_UNREACHABLE}};
	if (call->phase == CALL_FAILED || call->is_closed)
		return;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].status == why)
			client_count(kinds[i].metric);
	}
	call->phase = CALL_FAILED;
	call->error = why;
	if (!call->has_head || call->wants_readable) {
		call->wants_readable = false;
		call->is_failure_due = true;
		call_due(call);
	}
}

/* --- calls */

/* Idempotent, and without a body to repeat. */
static bool may_retry(const struct client_request *request)
{
	static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"};
	return request->body_length == 0 &&
		   text_find_word(request->method, methods, sizeof(methods) / sizeof(methods[0])) >= 0;
}

static struct client_call *call_new(struct client *client)
{
	struct client_call *call = client->free_calls;
	if (call != NULL) {
		client->free_calls = call->next_free;
		client->free_call_count--;
	} else {
		call = malloc(sizeof(*call));
		if (call != NULL) {
			call->text = NULL;
			call->text_room = 0;
		}
	}
	if (call != NULL)
		memset(call, 0, offsetof(struct client_call, headers));
	return call;
}

enum status client_check_url(struct worker *worker, const struct url *url, const struct address_rules *rules)
{
	struct resolver_answer answer;
	const struct client *client = the_pool == NULL ? NULL : worker_slot(worker, the_pool->slot);
	if (client == NULL)
		return STATUS_UNAVAILABLE;
	if (!resolver_literal(url->host, &answer))
		return STATUS_OK;
	for (unsigned i = 0; i < answer.count; i++) {
		if (!address_is_allowed(rules, &answer.addresses[i].any) ||
			own_sockets_contain(&client->pool->forbidden, &answer.addresses[i].any, url->port))
			return STATUS_FORBIDDEN;
	}
	return STATUS_OK;
}

static enum status copy_rules(struct client_call *call, const struct address_rules *rules)
{
	call->rules = call->few_rules;
	if (rules->allowed_count > sizeof(call->few_rules) / sizeof(call->few_rules[0]) &&
		(call->rules = malloc(rules->allowed_count * sizeof(*call->rules))) == NULL)
		return STATUS_NO_MEMORY;
	if (rules->allowed_count > 0)
		memcpy(call->rules, rules->allowed, rules->allowed_count * sizeof(*call->rules));
	call->rule_count = rules->allowed_count;
	return STATUS_OK;
}

enum status client_call_start(struct worker *worker, const struct client_request *request,
	const struct client_events *events, void *state, struct client_call **call)
{
	struct client *client = the_pool == NULL ? NULL : worker_slot(worker, the_pool->slot);
	struct client_call *made = client == NULL ? NULL : call_new(client);
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->client = client;
	made->events = events;
	made->state = state;
	made->ahead_limit = CLIENT_BLOCK;
	made->read_ms = request->read_ms > 0 ? request->read_ms : (uint32_t)client->settings->read_ms;
	made->body_length = request->body_length;
	made->is_head = text_equals(request->method, TEXT("HEAD"));
	made->may_retry = may_retry(request);
	made->is_writable_due = made->body_length != 0; /* told when there is a connection */
	enum status status = call_print_request(made, request);
	if (status == STATUS_OK && request->rules != NULL)
		status = copy_rules(made, request->rules);
	struct origin *origin = status == STATUS_OK ? origin_get(client, request, &status) : NULL;
	if (status == STATUS_OK)
		status = origin_assign(origin, made);
	if (status != STATUS_OK) {
		call_destroy(made);
		return status;
	}
	*call = made;
	return STATUS_OK;
}

enum body_state client_call_read(struct client_call *call, uint8_t *into, size_t room, size_t *count)
{
	*count = 0;
	if (call->phase == CALL_DONE)
		return BODY_END;
	if (call->phase != CALL_BODY)
		return BODY_FAILED;
	return call->protocol->read(call, into, room, count);
}

enum body_state client_call_pipe(struct client_call *call, size_t room, int *pipe, size_t *count)
{
	*count = 0;
	if (call->phase != CALL_BODY || call->protocol->pipe == NULL)
		return BODY_MORE;
	return call->protocol->pipe(call, room, pipe, count);
}

enum body_state client_call_lend(
	struct client_call *call, size_t room, bool may_read, const uint8_t **bytes, size_t *count)
{
	*count = 0;
	if (call->phase != CALL_BODY || call->protocol->lend == NULL)
		return BODY_MORE;
	return call->protocol->lend(call, room, may_read, bytes, count);
}

size_t client_call_write(struct client_call *call, const uint8_t *bytes, size_t length, bool ended)
{
	if (call->phase == CALL_DONE || call->phase == CALL_FAILED)
		return length; /* nobody wants it any more */
	const struct upstream *upstream = call->upstream;
	if (upstream == NULL || upstream->phase != UPSTREAM_BUSY || call->is_request_over)
		return 0;
	return call->protocol->write(call, bytes, length, ended);
}

bool client_call_is_sent(const struct client_call *call)
{
	return call->body_length == 0 || call->is_request_over;
}

void client_call_limit_ahead(struct client_call *call, size_t bytes)
{
	call->ahead_limit = bytes;
}

size_t client_call_held(const struct client_call *call)
{
	return call->phase == CALL_BODY && call->protocol != NULL ? call->protocol->held(call) : 0;
}

unsigned client_call_trailers(struct client_call *call, struct header *trailers, unsigned room)
{
	if (call->phase != CALL_DONE || call->trailers.failed || call->trailers.length == 0)
		return 0;
	return h1_trailers(call->trailers.bytes, call->trailers.length, trailers, room);
}

void client_call_close(struct client_call *call)
{
	if (call->is_closed)
		return;
	call->is_closed = true;
	if (call->upstream != NULL)
		upstream_release(call->upstream, call);
	if (call->waiting_in != NULL)
		origin_leave_queue(call);
	call->next_free = call->client->closed;
	call->client->closed = call;
	client_sweep_later(call->client);
}

/* --- the worker's half */

static void on_tick(void *context)
{
	struct client *client = context;
	upstreams_check(client);
	timer_set(client->tick, CLIENT_TICK_MS);
}

static enum status on_start(void *context, struct worker *worker)
{
	struct client_pool *pool = context;
	struct client *client = calloc(1, sizeof(*client));
	if (client == NULL)
		return STATUS_NO_MEMORY;
	client->worker = worker;
	client->pool = pool;
	client->settings = &pool->settings;
	client->sweep.run = on_sweep;
	client->tick = timer_new(worker, on_tick, client);
	if (client->tick == NULL) {
		free(client);
		return STATUS_NO_MEMORY;
	}
	timer_set(client->tick, CLIENT_TICK_MS);
	worker_slot_set(worker, pool->slot, client);
	return STATUS_OK;
}

static void on_stop(void *context, struct worker *worker)
{
	struct client_pool *pool = context;
	struct client *client = worker_slot(worker, pool->slot);
	if (client == NULL)
		return;
	client->is_stopping = true;
	resolver_forget(pool->resolver, worker);
	upstreams_close(client);
	worker_run_later(worker);
	timer_free(client->tick);
	identities_free(client);
	while (client->free_calls != NULL) {
		struct client_call *next = client->free_calls->next_free;
		call_free(client->free_calls);
		client->free_calls = next;
	}
	pipes_close(&client->pipes);
	blocks_free(client);
	worker_slot_set(worker, pool->slot, NULL);
	free(client);
}

enum status client_pool_open(struct worker_pool *workers, const struct client_settings *settings,
	struct client_pool **pool, struct buffer *error)
{
	static const struct {
		enum client_metric metric;
		const char *name, *labels, *help;
	} series[] = {
		{CLIENT_CONNECTED, "celld_upstream_connections_total", "kind=\"new\"", "Upstream connections used for calls"},
		{CLIENT_REUSED, "celld_upstream_connections_total", "kind=\"reused\"", "Upstream connections used for calls"},
		{CLIENT_RETRIED, "celld_upstream_retries_total", NULL, "Calls tried again on a fresh connection"},
		{CLIENT_TIMED_OUT, "celld_upstream_failures_total", "why=\"timeout\"", "Calls that failed"},
		{CLIENT_GARBAGE, "celld_upstream_failures_total", "why=\"protocol\"", "Calls that failed"},
		{CLIENT_FORBIDDEN, "celld_upstream_failures_total", "why=\"forbidden\"", "Calls that failed"},
		{CLIENT_UNREACHABLE, "celld_upstream_failures_total", "why=\"unavailable\"", "Calls that failed"},
	};
	struct client_pool *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->settings = *settings;
	const struct resolver_options options = {.threads = (unsigned)settings->dns_threads,
		.ttl_ms = (uint64_t)settings->dns_ttl_ms,
		.negative_ttl_ms = (uint64_t)settings->dns_negative_ttl_ms,
		.queue = 256};
	enum status status = identity_check(settings->ca_file, error);
	if (status == STATUS_OK)
		status = resolver_open(&options, &made->resolver);
	if (status != STATUS_OK) {
		free(made);
		return status;
	}
	for (size_t i = 0; i < sizeof(series) / sizeof(series[0]); i++)
		metrics[series[i].metric] = metric_register(METRIC_COUNTER, series[i].name, series[i].labels, series[i].help);
	made->slot = worker_slot_new();
	worker_pool_on_start(workers, on_start, made);
	worker_pool_on_stop(workers, on_stop, made);
	the_pool = made;
	*pool = made;
	return STATUS_OK;
}

enum status client_pool_forbid(struct client_pool *pool, struct text address, uint16_t port)
{
	return own_sockets_add(&pool->forbidden, address, port);
}

void client_pool_free(struct client_pool *pool)
{
	if (pool == NULL)
		return;
	own_sockets_free(&pool->forbidden);
	resolver_close(pool->resolver);
	the_pool = NULL;
	free(pool);
}
