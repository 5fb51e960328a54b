/* A data plane without sockets: one pretended worker, and fakes behind every seam it uses (exchange, store, registry,
 * vault, access, client). Included by each dp_*_test.c once; nothing here blocks or sleeps: time is what the test sets.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/answer.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/metric.h"
#include "server/inner.h"
#include "server/known_fields.h"
#include "server/share.h"
#include "server/worker_pool.h"
#include "tenants/dp/dp.h"
#include "tenants/dp/pull.h"
#include "tenants/jose/jws.h"

#define CTX "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define IDENTITY "did:web:provider.example"
#define CONSUMER "did:web:consumer.example"

/* --- log and metrics: counted only */
_Atomic(enum log_level) log_threshold = LOG_ERROR;
void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
	(void)level, (void)event, (void)fields, (void)count;
}
static int64_t fake_metrics[64];
static int fake_metric_count;
int metric_register(enum metric_kind kind, const char *name, const char *labels, const char *help)
{
	(void)kind, (void)name, (void)labels, (void)help;
	return fake_metric_count++ % 64;
}
void metric_add(int metric, int64_t amount)
{
	fake_metrics[metric] += amount;
}

/* --- one worker */
static struct {
	int64_t wall_ms;
	void *slots[16];
	int slot_count;
	enum status (*start)(void *context, struct worker *worker);
	void (*stop)(void *context, struct worker *worker);
	void *start_context, *stop_context;
	struct task *tasks, **tasks_end;
	struct {
		void (*release)(void *object);
		void *object;
	} retired[4096];
	size_t retired_count;
} fake = {.wall_ms = 1800000000000};
static struct worker *const fake_worker = (struct worker *)(uintptr_t)&fake;
static struct worker_pool *const fake_pool = (struct worker_pool *)(uintptr_t)&fake;
struct timer {
	void (*fire)(void *context);
	void *context;
	int64_t due_ms; /* 0: not set */
	struct timer *next;
};
static struct timer *fake_timers;

unsigned worker_pool_count(const struct worker_pool *pool)
{
	(void)pool;
	return 1;
}
struct worker *worker_pool_at(struct worker_pool *pool, unsigned index)
{
	(void)pool, (void)index;
	return fake_worker;
}
void worker_pool_on_start(struct worker_pool *pool, enum status (*hook)(void *, struct worker *), void *context)
{
	(void)pool;
	fake.start = hook;
	fake.start_context = context;
}
void worker_pool_on_stop(struct worker_pool *pool, void (*hook)(void *, struct worker *), void *context)
{
	(void)pool;
	fake.stop = hook;
	fake.stop_context = context;
}
void worker_post(struct worker *worker, struct task *task)
{
	(void)worker;
	if (fake.tasks == NULL)
		fake.tasks_end = &fake.tasks;
	task->next = NULL;
	*fake.tasks_end = task;
	fake.tasks_end = &task->next;
}
void worker_later(struct worker *worker, struct task *task)
{
	worker_post(worker, task);
}
void worker_pool_retire(struct worker_pool *pool, void (*release)(void *object), void *object)
{
	(void)pool;
	assert_true(fake.retired_count < 4096);
	fake.retired[fake.retired_count].release = release;
	fake.retired[fake.retired_count++].object = object;
}
void worker_pool_barrier(struct worker_pool *pool, void (*done)(void *context), void *context)
{
	(void)pool;
	done(context);
}
struct worker *worker_current(void)
{
	return fake_worker;
}
unsigned worker_index(const struct worker *worker)
{
	(void)worker;
	return 0;
}
uint64_t worker_now_ms(const struct worker *worker)
{
	(void)worker;
	return (uint64_t)fake.wall_ms;
}
int64_t worker_wall_ms(const struct worker *worker)
{
	(void)worker;
	return fake.wall_ms;
}
int64_t clock_wall_ms(void)
{
	return fake.wall_ms;
}
uint64_t clock_monotonic_ms(void)
{
	return (uint64_t)fake.wall_ms;
}
void clock_format(int64_t wall_ms, char into[25])
{
	snprintf(into, 25, "%lld", (long long)wall_ms);
}
int worker_slot_new(void)
{
	return fake.slot_count++ % 16;
}
void worker_slot_set(struct worker *worker, int slot, void *value)
{
	(void)worker;
	fake.slots[slot] = value;
}
void *worker_slot(const struct worker *worker, int slot)
{
	(void)worker;
	return fake.slots[slot];
}
struct timer *timer_new(struct worker *worker, void (*fire)(void *context), void *context)
{
	(void)worker;
	struct timer *timer = calloc(1, sizeof(*timer));
	*timer = (struct timer){.fire = fire, .context = context, .next = fake_timers};
	return fake_timers = timer;
}
void timer_set(struct timer *timer, uint64_t after_ms)
{
	timer->due_ms = fake.wall_ms + (int64_t)after_ms;
}
void timer_cancel(struct timer *timer)
{
	timer->due_ms = 0;
}
void timer_free(struct timer *timer)
{
	for (struct timer **at = &fake_timers; *at != NULL; at = &(*at)->next) {
		if (*at == timer) {
			*at = timer->next;
			free(timer);
			return;
		}
	}
}
static bool fake_fire_one(void)
{
	for (struct timer *timer = fake_timers; timer != NULL; timer = timer->next) {
		if (timer->due_ms == 0 || timer->due_ms > fake.wall_ms)
			continue;
		timer->due_ms = 0;
		timer->fire(timer->context);
		return true; /* the list may be another one */
	}
	return false;
}
/* One turn: posted tasks, then what was retired. */
static void fake_turn(void)
{
	while (fake.tasks != NULL) {
		struct task *task = fake.tasks;
		fake.tasks = task->next;
		task->run(task);
	}
	for (size_t i = 0; i < fake.retired_count; i++)
		fake.retired[i].release(fake.retired[i].object);
	fake.retired_count = 0;
}
/* Lets the clock run in steps of one millisecond, firing the timers that are due. */
static inline void fake_pass(int64_t milliseconds)
{
	for (; milliseconds > 0; milliseconds--) {
		fake.wall_ms++;
		while (fake_fire_one())
			;
	}
}

/* --- exchange: request in, everything answered recorded */
struct shot {
	struct exchange exchange; /* first */
	struct header request[16];
	struct header headers[64];
	unsigned header_count;
	struct header trailer;
	bool has_responded, is_closed;
	enum status outcome;
	void (*on_body)(struct exchange *exchange, const uint8_t *bytes, size_t length, bool ended);
	void (*collected)(struct exchange *exchange, struct text body);
	size_t consumed;
	unsigned resumed;
	void *memory[256];
	unsigned memory_count;
	struct buffer body;
	enum body_state end;
};
static struct shot *shot_of(const struct exchange *exchange)
{
	return (struct shot *)(uintptr_t)exchange;
}
struct text exchange_header(const struct exchange *exchange, struct text name)
{
	for (unsigned i = 0; i < exchange->header_count; i++) {
		if (text_equals(exchange->headers[i].name, name))
			return exchange->headers[i].value;
	}
	return TEXT_NONE;
}
unsigned exchange_header_count(const struct exchange *exchange, struct text name)
{
	unsigned count = 0;
	for (unsigned i = 0; i < exchange->header_count; i++)
		count += text_equals(exchange->headers[i].name, name);
	return count;
}
struct text exchange_query(const struct exchange *exchange)
{
	size_t at = text_find(exchange->target, '?');
	return at == exchange->target.length ? TEXT_NONE : text_slice(exchange->target, at + 1, exchange->target.length);
}
void *exchange_allocate(struct exchange *exchange, size_t size)
{
	struct shot *shot = shot_of(exchange);
	assert_true(shot->memory_count < 256);
	return shot->memory[shot->memory_count++] = malloc(size);
}
struct text exchange_copy(struct exchange *exchange, struct text text)
{
	char *copy = exchange_allocate(exchange, text.length + 1);
	if (text.length > 0)
		memcpy(copy, text.bytes, text.length);
	copy[text.length] = 0;
	return (struct text){copy, text.length};
}
bool exchange_add_header(struct exchange *exchange, struct text name, struct text value)
{
	struct shot *shot = shot_of(exchange);
	if (shot->header_count == 64)
		return false;
	shot->headers[shot->header_count++] = (struct header){name, value};
	return true;
}
bool exchange_add_trailer(struct exchange *exchange, struct text name, struct text value)
{
	struct shot *shot = shot_of(exchange);
	shot->trailer = (struct header){name, value};
	return true;
}
void exchange_receive(struct exchange *exchange, void (*on_body)(struct exchange *, const uint8_t *, size_t, bool))
{
	shot_of(exchange)->on_body = on_body;
}
uint64_t exchange_sent(const struct exchange *exchange)
{
	return exchange->bytes_sent;
}
void exchange_consume(struct exchange *exchange, size_t length)
{
	shot_of(exchange)->consumed += length;
}
void exchange_respond(struct exchange *exchange)
{
	assert_false(shot_of(exchange)->has_responded);
	shot_of(exchange)->has_responded = true;
}
bool exchange_responded(const struct exchange *exchange)
{
	return shot_of(exchange)->has_responded;
}
void exchange_resume(struct exchange *exchange)
{
	shot_of(exchange)->resumed++;
}
static void shot_close(struct shot *shot, enum status outcome)
{
	if (shot->is_closed)
		return;
	shot->is_closed = true;
	shot->outcome = outcome;
	if (shot->exchange.on_close != NULL)
		shot->exchange.on_close(&shot->exchange, outcome);
}
void exchange_abort(struct exchange *exchange, enum status why)
{
	shot_close(shot_of(exchange), why);
}
void answer(struct exchange *exchange, int status, struct text content_type, struct text body)
{
	exchange->status = status;
	exchange->read_body = NULL;
	if (content_type.length > 0)
		exchange_add_header(exchange, TEXT("content-type"), content_type);
	exchange->response_text = exchange_copy(exchange, body);
	exchange->response_length = (int64_t)body.length;
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
	answer(exchange, status, TEXT("application/problem+json"), detail);
}
int status_to_http(enum status status)
{
	return status == STATUS_INVALID ? 400 : status == STATUS_NOT_FOUND ? 404 : status == STATUS_CONFLICT ? 409 : 503;
}
void collect_body(struct exchange *exchange, size_t limit, void (*done)(struct exchange *exchange, struct text body))
{
	(void)limit;
	shot_of(exchange)->collected = done;
}

/* headers: name, value, ..., NULL */
static struct shot *shot_new(const char *method, const char *target, const char *const *headers)
{
	struct shot *shot = calloc(1, sizeof(*shot));
	shot->exchange = (struct exchange){.worker = fake_worker,
		.method = text_of(method),
		.target = text_of(target),
		.headers = shot->request,
		.file_descriptor = -1,
		.response_length = -1};
	for (unsigned i = 0; headers != NULL && headers[i] != NULL; i += 2)
		shot->request[shot->exchange.header_count++] = (struct header){text_of(headers[i]), text_of(headers[i + 1])};
	return shot;
}
static void shot_free(struct shot *shot)
{
	shot_close(shot, STATUS_OK);
	for (unsigned i = 0; i < shot->memory_count; i++)
		free(shot->memory[i]);
	buffer_free(&shot->body);
	free(shot);
}
/* Pulls the body in frames of `room` until it ends, fails or waits. */
static inline enum body_state shot_read(struct shot *shot, size_t room)
{
	if (shot->exchange.read_body == NULL) {
		buffer_append(&shot->body, shot->exchange.response_text);
		return BODY_END;
	}
	uint8_t *frame = malloc(room);
	do {
		size_t count = 0;
		shot->end = shot->exchange.read_body(&shot->exchange, frame, room, &count);
		buffer_append(&shot->body, (struct text){(const char *)frame, count});
	} while (shot->end == BODY_MORE);
	free(frame);
	return shot->end;
}
static inline struct text shot_header(const struct shot *shot, const char *name)
{
	for (unsigned i = 0; i < shot->header_count; i++) {
		if (text_equals(shot->headers[i].name, text_of(name)))
			return shot->headers[i].value;
	}
	const struct known_fields *known = shot->exchange.known;
	for (unsigned i = 0; known != NULL && i < known->count; i++) {
		if (text_equals(known->fields[i].name, text_of(name)))
			return known->fields[i].value;
	}
	return TEXT_NONE;
}

/* --- store: keeps nothing; tells the listener and completes at once */
static struct store_listener fake_listener;
static int64_t fake_revision;
static enum status fake_store_status; /* of the next transaction alone */
struct transaction {
	struct {
		char *ctx, *id, *body;
		enum record_kind kind;
	} changes[32];
	size_t count;
};
void store_listen(struct store *store, const struct store_listener *listener)
{
	(void)store;
	fake_listener = *listener;
}
void store_list(struct store *store, struct text ctx, enum record_kind kind, struct text after, size_t limit,
	struct worker *worker, void (*done)(void *context, enum status status, const struct record *records, size_t count),
	void *context)
{
	(void)store, (void)ctx, (void)kind, (void)after, (void)limit, (void)worker;
	done(context, STATUS_OK, NULL, 0);
}
const char *record_kind_name(enum record_kind kind)
{
	(void)kind;
	return "record";
}
struct transaction *transaction_new(void)
{
	return calloc(1, sizeof(struct transaction));
}
void transaction_free(struct transaction *transaction)
{
	for (size_t i = 0; transaction != NULL && i < transaction->count; i++) {
		free(transaction->changes[i].ctx);
		free(transaction->changes[i].id);
		free(transaction->changes[i].body);
	}
	free(transaction);
}
bool transaction_put(struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id,
	struct text body, int64_t expected)
{
	(void)expected;
	size_t i = transaction->count++;
	transaction->changes[i].ctx = text_copy(ctx);
	transaction->changes[i].id = text_copy(id);
	transaction->changes[i].kind = kind;
	transaction->changes[i].body = body.bytes == NULL ? NULL : text_copy(body);
	return true;
}
bool transaction_delete(
	struct transaction *transaction, struct text ctx, enum record_kind kind, struct text id, int64_t expected)
{
	return transaction_put(transaction, ctx, kind, id, TEXT_NONE, expected);
}
static void (*fake_on_key)(struct text jwk);
static void fake_record(enum record_kind kind, const char *ctx, const char *id, const char *body)
{
	const struct record record = {.ctx = text_of(ctx),
		.kind = kind,
		.id = text_of(id),
		.revision = ++fake_revision,
		.body = body == NULL ? TEXT_NONE : text_of(body)};
	if (kind == RECORD_KEY && fake_on_key != NULL)
		fake_on_key(record.body);
	fake_listener.on_record(fake_listener.context, &record);
	fake_listener.on_batch(fake_listener.context);
}
void store_submit(struct store *store, struct transaction *transaction, struct worker *worker,
	void (*done)(void *context, enum status status, int64_t revision), void *context)
{
	(void)store, (void)worker;
	enum status status = fake_store_status;
	fake_store_status = STATUS_OK;
	for (size_t i = 0; i < transaction->count && status == STATUS_OK; i++)
		fake_record(transaction->changes[i].kind, transaction->changes[i].ctx, transaction->changes[i].id,
			transaction->changes[i].body);
	transaction_free(transaction);
	fake_turn(); /* the barrier */
	done(context, status, fake_revision);
}

/* --- registry: one participant */
static struct key *fake_key;
static struct participant fake_participant;
static void (*fake_on_change)(
	void *context, const char *ctx, const struct participant *participant, const struct participant *previous);
static void *fake_on_change_context;
void registry_observe(struct registry *registry,
	void (*on_change)(void *, const char *, const struct participant *, const struct participant *),
	void (*on_batch)(void *context), void *context)
{
	(void)registry, (void)on_batch;
	fake_on_change = on_change;
	fake_on_change_context = context;
}
const struct participant *registry_find(const struct registry *registry, struct text ctx)
{
	(void)registry;
	return text_equals(ctx, TEXT(CTX)) ? &fake_participant : NULL;
}
struct address_rules participant_address_rules(const struct participant *participant)
{
	(void)participant;
	return (struct address_rules){0};
}

bool participant_is_named(const struct participant *participant, struct text name)
{
	return text_equals(name, text_of(participant->identity));
}
bool participant_has_profile(const struct participant *participant, struct text profile)
{
	(void)participant, (void)profile;
	return false;
}

/* --- access: always yes; vault: one secret, and the fake key */
bool access_allow(struct access *access, struct exchange *exchange, struct text api, struct text resource,
	enum access_action action, struct text ctx)
{
	(void)access, (void)exchange, (void)api, (void)resource, (void)action, (void)ctx;
	return true;
}
static const char *fake_claims; /* of a token of the cell's; NULL: it is none */
enum status access_verify(struct access *access, struct text token, struct jws *jws)
{
	(void)access, (void)token;
	*jws = (struct jws){.header = NULL};
	return fake_claims == NULL ? STATUS_UNAUTHORIZED : json_parse(text_of(fake_claims), NULL, &jws->claims);
}
struct text access_bearer(const struct exchange *exchange)
{
	struct text value = exchange_header(exchange, TEXT("authorization"));
	return text_slice(value, value.length < 7 ? value.length : 7, value.length);
}
bool access_allow_scope(
	struct access *access, struct exchange *exchange, struct text api, struct text resource, enum access_action action)
{
	return access_allow(access, exchange, api, resource, action, TEXT_NONE);
}
static const char *fake_secret = "vault-secret";
static char fake_alias[256]; /* of the last secret put, which is given back for it */
static struct buffer fake_put;
static unsigned fake_secret_reads;
void vault_secret_get(
	struct vault *vault, struct text ctx, struct text alias, struct worker *worker, vault_done *done, void *context)
{
	(void)vault, (void)ctx, (void)alias, (void)worker;
	fake_secret_reads++;
	done(context, STATUS_OK, text_equals(alias, text_of(fake_alias)) ? buffer_text(&fake_put) : text_of(fake_secret));
}
void vault_secret_put(struct vault *vault, struct text ctx, struct text alias, struct text value, struct worker *worker,
	vault_done *done, void *context)
{
	(void)vault, (void)ctx, (void)worker;
	snprintf(fake_alias, sizeof(fake_alias), "%.*s", TEXT_ARGUMENTS(alias));
	buffer_clear(&fake_put);
	buffer_append(&fake_put, value);
	done(context, STATUS_OK, TEXT_NONE);
}
void vault_delete(
	struct vault *vault, struct text ctx, struct text alias, struct worker *worker, vault_done *done, void *context)
{
	(void)vault, (void)ctx, (void)alias, (void)worker;
	done(context, STATUS_OK, TEXT_NONE);
}
void vault_key_create(struct vault *vault, struct text ctx, struct text alias, enum key_kind kind,
	struct worker *worker, vault_done *done, void *context)
{
	(void)vault, (void)ctx, (void)alias, (void)worker, (void)kind;
	struct buffer jwk = {0};
	assert_int_equal(key_to_public_jwk(fake_key, &jwk), STATUS_OK);
	done(context, STATUS_OK, buffer_text(&jwk));
	buffer_free(&jwk);
}
void vault_key_import(struct vault *vault, struct text ctx, struct text alias, struct text private,
	struct worker *worker, vault_done *done, void *context)
{
	(void)private;
	vault_key_create(vault, ctx, alias, KEY_ES256, worker, done, context);
}
void vault_key_public(
	struct vault *vault, struct text ctx, struct text alias, struct worker *worker, vault_done *done, void *context)
{
	(void)vault, (void)ctx, (void)alias, (void)worker;
	done(context, STATUS_NOT_FOUND, TEXT_NONE);
}
void vault_sign(struct vault *vault, struct text ctx, struct text alias, struct text bytes, struct worker *worker,
	vault_done *done, void *context)
{
	(void)vault, (void)ctx, (void)alias, (void)worker;
	uint8_t signature[64];
	assert_int_equal(key_sign(fake_key, bytes, signature), STATUS_OK);
	done(context, STATUS_OK, (struct text){(const char *)signature, 64});
}

/* --- client: records the request; the test plays the source */
struct client_call {
	const struct client_events *events;
	void *state;
	struct buffer request; /* "METHOD path?query\nname: value\n..." */
	struct buffer sent;
	size_t take; /* how much client_call_write takes at once */
	bool is_open, has_ended;
	struct text body; /* what client_call_read gives */
	enum body_state end;
};
static struct client_call fake_call;
static unsigned fake_calls;
static enum status fake_call_status;
enum status client_check_url(struct worker *worker, const struct url *url, const struct address_rules *rules)
{
	(void)worker, (void)url, (void)rules;
	return STATUS_OK;
}
enum status client_call_start(struct worker *worker, const struct client_request *request,
	const struct client_events *events, void *state, struct client_call **call)
{
	(void)worker;
	fake_calls++;
	if (fake_call_status != STATUS_OK)
		return fake_call_status;
	assert_false(fake_call.is_open);
	buffer_clear(&fake_call.request);
	buffer_clear(&fake_call.sent);
	fake_call.events = events;
	fake_call.state = state;
	fake_call.is_open = true;
	fake_call.has_ended = false;
	fake_call.take = SIZE_MAX;
	buffer_append(&fake_call.request, request->method);
	buffer_append_byte(&fake_call.request, ' ');
	buffer_append(&fake_call.request, request->url->path);
	if (request->url->query.bytes != NULL)
		buffer_append_byte(&fake_call.request, '?');
	buffer_append(&fake_call.request, request->url->query);
	for (size_t i = 0; i < request->header_count; i++) {
		buffer_append_byte(&fake_call.request, '\n');
		buffer_append(&fake_call.request, request->headers[i].name);
		buffer_append(&fake_call.request, TEXT(": "));
		buffer_append(&fake_call.request, request->headers[i].value);
	}
	buffer_append_byte(&fake_call.request, '\n');
	*call = &fake_call;
	return STATUS_OK;
}
enum body_state client_call_read(struct client_call *call, uint8_t *into, size_t room, size_t *count)
{
	size_t part = call->body.length < room ? call->body.length : room;
	if (part > 0)
		memcpy(into, call->body.bytes, part);
	call->body = text_slice(call->body, part, call->body.length);
	*count = part;
	return call->body.length > 0 ? BODY_MORE : part > 0 && call->end != BODY_END ? BODY_MORE : call->end;
}
void client_call_limit_ahead(struct client_call *call, size_t bytes)
{
	(void)call, (void)bytes;
}
size_t client_call_held(const struct client_call *call)
{
	return call->body.length;
}
unsigned client_call_trailers(struct client_call *call, struct header *trailers, unsigned room)
{
	(void)call, (void)trailers, (void)room;
	return 0; /* end to end in test_listeners.py and test_h2_upstream.py */
}
enum body_state client_call_pipe(struct client_call *call, size_t room, int *pipe, size_t *count)
{
	(void)call, (void)room, (void)pipe;
	*count = 0;
	return BODY_MORE; /* end to end in test_large_frames.py */
}
enum body_state client_call_lend(
	struct client_call *call, size_t room, bool may_read, const uint8_t **bytes, size_t *count)
{
	*count = 0;
	if (may_read && call->body.length == 0 && call->end != BODY_END)
		return call->end;
	if (call->body.length <= room)
		return BODY_MORE;
	*bytes = (const uint8_t *)call->body.bytes;
	*count = room;
	call->body = text_slice(call->body, room, call->body.length);
	return BODY_MORE;
}
size_t client_call_write(struct client_call *call, const uint8_t *bytes, size_t length, bool ended)
{
	size_t part = length < call->take ? length : call->take;
	buffer_append(&call->sent, (struct text){(const char *)bytes, part});
	call->has_ended = ended && part == length;
	return part;
}
bool client_call_is_sent(const struct client_call *call)
{
	return call->has_ended;
}
void client_call_close(struct client_call *call)
{
	assert_true(call->is_open);
	call->is_open = false;
}

/* --- inner exchanges and shares: pushes are proved on real ones (e2e/test_push.py, inner_test.c) */
struct inner *inner_new(
	struct worker *worker, const struct inner_request *request, const struct inner_events *events, void *state)
{
	(void)worker, (void)request, (void)events, (void)state;
	return NULL;
}
struct exchange *inner_exchange(struct inner *inner)
{
	(void)inner;
	return NULL;
}
struct text inner_header(const struct inner *inner, struct text name)
{
	(void)inner, (void)name;
	return TEXT_NONE;
}
bool inner_is_aborted(const struct inner *inner)
{
	(void)inner;
	return true;
}
enum body_state inner_read(struct inner *inner, uint8_t *into, size_t room, size_t *count)
{
	(void)inner, (void)into, (void)room;
	*count = 0;
	return BODY_FAILED;
}
void inner_close(struct inner *inner)
{
	(void)inner;
}
struct share *share_new(struct worker *worker, const struct share_limits *limits)
{
	(void)worker, (void)limits;
	return NULL;
}
void share_unref(struct share *share)
{
	(void)share;
}

/* --- the whole */
static struct dp *fake_dp;
static char fake_root[64];

static void fake_use_key(struct text jwk)
{
	struct key *key = NULL;
	assert_int_equal(key_from_public_jwk(jwk, &key), STATUS_OK);
	key_free(fake_participant.keys[0]);
	fake_participant.keys[0] = key;
	fake_participant.key_count = 1;
}

static int dp_setup(void **state)
{
	(void)state;
	static struct key *keys[1];
	static char root[] = "/tmp/celld-dp-XXXXXX", identity[] = IDENTITY;
	snprintf(fake_root, sizeof(fake_root), "%s", mkdtemp(root));
	fake_participant = (struct participant){
		.ctx = CTX, .state = PARTICIPANT_ACTIVATED, .vpas = 1U << VPA_DATAPLANE, .identity = identity, .keys = keys};
	assert_int_equal(key_generate(KEY_ES256, TEXT(CTX "#dataplane-01234567"), &fake_key), STATUS_OK);
	fake_on_key = fake_use_key;
	const struct dp_settings settings = {.source_root = fake_root,
		.token_lifetime_ms = 3600000,
		.renewal_lifetime_ms = 300000,
		.token_cache = 64,
		.open_files = 4,
		.source_ms = 30000,
		.callback_min_ms = 100,
		.callback_max_ms = 1000,
		.callback_timeout_ms = 1000,
		.jwks_ms = 60000};
	assert_int_equal(dp_open(&settings, fake_pool, NULL, NULL, NULL, NULL, &fake_dp), STATUS_OK);
	assert_int_equal(fake.start(fake.start_context, fake_worker), STATUS_OK);
	fake_listener.on_batch(fake_listener.context);
	return 0;
}

static int dp_teardown(void **state)
{
	(void)state;
	fake_turn();
	fake.stop(fake.stop_context, fake_worker);
	dp_free(fake_dp);
	key_free(fake_key);
	key_free(fake_participant.keys[0]);
	buffer_free(&fake_call.request);
	buffer_free(&fake_call.sent);
	buffer_free(&fake_put);
	char command[128];
	snprintf(command, sizeof(command), "rm -rf %s", fake_root);
	return system(command); /* NOLINT: a test's own folder */
}

static struct shot *manage(const char *method, const char *rest, const char *body)
{
	struct shot *shot = shot_new(method, rest, NULL);
	const struct route route = {.rest = text_of(rest)};
	dp_manage(fake_dp, &shot->exchange, &route);
	if (shot->collected != NULL && !shot->is_closed)
		shot->collected(&shot->exchange, text_of(body));
	return shot;
}
/* The status of a management call. */
static inline int manage_status(const char *method, const char *rest, const char *body)
{
	struct shot *shot = manage(method, rest, body);
	int status = shot->exchange.status;
	shot_free(shot);
	return status;
}
/* A token of the flow: "Bearer ..."; static memory. */
static inline const char *flow_token(const char *flow)
{
	static char value[4096];
	char path[256];
	snprintf(path, sizeof(path), "/" CTX "/flows/%s/token", flow);
	struct shot *shot = manage("POST", path, "{\"lifetimeSeconds\":600}");
	assert_int_equal(shot->exchange.status, 201);
	struct json *root = NULL;
	assert_int_equal(json_parse(shot->exchange.response_text, NULL, &root), STATUS_OK);
	struct text token = json_member_text(root, "token");
	snprintf(value, sizeof(value), "Bearer %.*s", TEXT_ARGUMENTS(token));
	json_free(root);
	shot_free(shot);
	return value;
}
static inline struct shot *pull(const char *method, const char *rest, const char *const *headers)
{
	struct shot *shot = shot_new(method, rest, headers);
	struct text path = text_of(rest);
	const struct route route = {.participant = &fake_participant, .rest = text_slice(path, 0, text_find(path, '?'))};
	dp_pull(fake_dp, &shot->exchange, &route);
	return shot;
}
