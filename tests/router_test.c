/* The router: which runtime of which tenant a request reaches, and what is said when it reaches none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/router.h"
#include "server/answer.h"
#include "server/base/log.h"
#include "server/share.h"
#include "server/worker_pool.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "cccccccccccccccccccccccccccccccc"
#define D "dddddddddddddddddddddddddddddddd"
#define E "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"

/* --- one worker, whose clock the test moves */

static uint64_t now_ms = 1000;
static void *slots[16];
static enum status (*start_hook)(void *context, struct worker *worker);
static void (*stop_hook)(void *context, struct worker *worker);
static void *hook_context;
static struct worker *const worker = (struct worker *)(uintptr_t)&now_ms;

uint64_t worker_now_ms(const struct worker *of)
{
	(void)of;
	return now_ms;
}

void worker_later(struct worker *of, struct task *task)
{
	(void)of, (void)task;
}

void worker_next(struct worker *of, struct task *task)
{
	(void)of, (void)task;
}

void worker_run_later(struct worker *of)
{
	(void)of;
}

int worker_slot_new(void)
{
	static int count;
	return count++ % 16;
}

void worker_slot_set(struct worker *of, int slot, void *value)
{
	(void)of;
	slots[slot] = value;
}

void *worker_slot(const struct worker *of, int slot)
{
	(void)of;
	return slots[slot];
}

void worker_pool_on_start(
	struct worker_pool *pool, enum status (*hook)(void *context, struct worker *worker), void *context)
{
	(void)pool;
	start_hook = hook;
	hook_context = context;
}

void worker_pool_on_stop(struct worker_pool *pool, void (*hook)(void *context, struct worker *worker), void *context)
{
	(void)pool, (void)context;
	stop_hook = hook;
}

void worker_pool_retire(struct worker_pool *pool, void (*release)(void *object), void *object)
{
	(void)pool;
	release(object);
}

struct timer *timer_new(struct worker *of, void (*fire)(void *context), void *context)
{
	(void)of, (void)fire, (void)context;
	return malloc(1);
}

void timer_set(struct timer *timer, uint64_t after_ms)
{
	(void)timer, (void)after_ms;
}

void timer_cancel(struct timer *timer)
{
	(void)timer;
}

void timer_free(struct timer *timer)
{
	free(timer);
}

/* --- the store: it keeps who listens */

static struct store_listener listener;
static int64_t revision;

void store_listen(struct store *store, const struct store_listener *who)
{
	(void)store;
	listener = *who;
}

const char *record_kind_name(enum record_kind kind)
{
	(void)kind;
	return "record";
}

static void tell(enum record_kind kind, const char *ctx, const char *body)
{
	const struct record record = {.ctx = text_of(ctx),
		.kind = kind,
		.id = TEXT("x"),
		.revision = ++revision,
		.body = body == NULL ? TEXT_NONE : text_of(body)};
	listener.on_record(listener.context, &record);
	listener.on_batch(listener.context);
}

static void participant(const char *ctx, const char *state, const char *entries)
{
	char body[512];
	snprintf(body, sizeof(body), "{\"identity\":\"did:web:x\",\"state\":\"%s\",\"properties\":{}}", state);
	tell(RECORD_PARTICIPANT, ctx, body);
	snprintf(body, sizeof(body), "{\"entries\":{%s}}", entries);
	tell(RECORD_PARTICIPANT_CONFIG, ctx, body);
}

/* --- the engine's side of exchanges */

struct shot {
	struct exchange exchange;
	struct header headers[4];
	char path[256], room[256], tenant[ID_LENGTH];
	int status;
	char result[256]; /* "runtime ctx[0] rest", or "" */
	bool says_when;
};

static struct shot *shot_of(const struct exchange *exchange)
{
	return (struct shot *)(uintptr_t)exchange;
}

struct text exchange_path(const struct exchange *exchange)
{
	return text_of(shot_of(exchange)->path);
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

struct text exchange_copy(struct exchange *exchange, struct text text)
{
	struct shot *shot = shot_of(exchange);
	assert_int_equal(text.length, ID_LENGTH);
	memcpy(shot->tenant, text.bytes, text.length);
	return (struct text){shot->tenant, text.length};
}

void *exchange_allocate(struct exchange *exchange, size_t size)
{
	assert_true(size <= sizeof(shot_of(exchange)->room));
	return shot_of(exchange)->room;
}

bool exchange_add_header(struct exchange *exchange, struct text name, struct text value)
{
	assert_true(text_equals(value, TEXT("1")));
	shot_of(exchange)->says_when = text_equals(name, TEXT("retry-after"));
	return true;
}

void answer_problem(struct exchange *exchange, int status, struct text detail)
{
	(void)detail;
	assert_int_equal(shot_of(exchange)->status, 0);
	shot_of(exchange)->status = status;
}

static void on_runtime(void *context, struct exchange *exchange, const struct route *route)
{
	struct shot *shot = shot_of(exchange);
	shot->status = 200;
	snprintf(shot->result, sizeof(shot->result), "%s %.1s %.*s", (const char *)context,
		route->participant == NULL ? "-" : route->participant->ctx, TEXT_ARGUMENTS(route->rest));
	if (route->participant != NULL)
		assert_true(text_equals(exchange->tenant, text_of(route->participant->ctx)));
}

/* --- the cell */

static struct registry *registry;
static struct router *router;
static char domain[] = "cell.example", header_name[] = "x-celld-context";
static const struct tenant_settings tenants = {
	.requests_per_second = 1000000, .streams = 200, .connections = 200, .weight = 1, .domain = domain};
static const struct router_settings settings = {.tenant_header = header_name};
#define RUNTIME(name)                                                                                                  \
	{                                                                                                                  \
		name, on_runtime, (void *)(uintptr_t)name                                                                      \
	}

static int set_up(void **state)
{
	(void)state;
	log_threshold = LOG_ERROR + 1;
	now_ms = 1000;
	const struct route_rule rules[] = {
		{TEXT("/api/public"), ROUTE_TENANT, VPA_DATAPLANE, LISTENER_PUBLIC, true, RUNTIME("dp")},
		{TEXT("/api/dsp"), ROUTE_TENANT, VPA_CONNECTOR, LISTENER_PUBLIC, false, RUNTIME("cp")},
		{TEXT("/api/mgmt/participants"), ROUTE_CELL, 0, LISTENER_PUBLIC, false, RUNTIME("mgmt")},
		{TEXT("/api/status"), ROUTE_PROCESS, 0, LISTENER_PUBLIC, false, RUNTIME("status")},
		{TEXT("/metrics"), ROUTE_CELL, 0, LISTENER_ADMIN, false, RUNTIME("metrics")},
		{TEXT("/"), ROUTE_CELL, 0, LISTENER_ADMIN, false, RUNTIME("page")},
	};
	if (registry_open(NULL, NULL, &tenants, &registry) != STATUS_OK ||
		router_open(registry, NULL, &tenants, &settings, rules, COUNT(rules), &router) != STATUS_OK)
		return -1;
	participant(A, "ACTIVATED", "\"celld.hosts\":\"one.example\"");
	participant(B, "ACTIVATED", "\"celld.vpas\":\"cfm.connector\",\"celld.hosts\":\"two.example\"");
	participant(C, "CREATED", "\"celld.hosts\":\"three.example\"");
	participant(D, "DEACTIVATED", "");
	return start_hook(hook_context, worker) == STATUS_OK ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	stop_hook(hook_context, worker);
	share_close_worker(worker);
	router_free(router);
	registry_free(registry);
	return 0;
}

static void request(struct shot *shot, const char *path, uintptr_t connection)
{
	*shot = (struct shot){.exchange = {.worker = worker,
							  .method = TEXT("GET"),
							  .authority = TEXT("localhost:8443"),
							  .headers = shot->headers,
							  .connection = (const void *)(connection << 6)}};
	snprintf(shot->path, sizeof(shot->path), "%s", path);
}

static int handle(struct shot *shot)
{
	router_handle(router, &shot->exchange);
	return shot->status;
}

static void leave(struct shot *shot)
{
	if (shot->exchange.on_leave != NULL)
		shot->exchange.on_leave(&shot->exchange);
	shot->exchange.on_leave = NULL;
}

static int get(const char *path)
{
	struct shot shot;
	request(&shot, path, 1);
	int status = handle(&shot);
	leave(&shot);
	return status;
}

/* --- cases */

static const struct {
	const char *path, *host, *header, *second; /* host NULL: localhost; header: of a trusted ingress */
	int status;
	const char *result;
} routes[] = {
	/* by path */
	{"/api/public/" A "/x/y", NULL, NULL, NULL, 200, "dp a /x/y"},
	{"/api/public/" A, NULL, NULL, NULL, 200, "dp a "},
	{"/api/public/" A "/", NULL, NULL, NULL, 200, "dp a /"},
	{"/api/%70ublic/" A "/%7Ex", NULL, NULL, NULL, 200, "dp a /~x"},
	{"/api/dsp/" B "/x", NULL, NULL, NULL, 200, "cp b /x"},
	{"/api/dsp/" A "/x", NULL, NULL, NULL, 200, "cp a /x"},
	{"/api/mgmt/participants", NULL, NULL, NULL, 200, "mgmt - "},
	{"/api/mgmt/participants/" D, NULL, NULL, NULL, 200, "mgmt - /" D},
	/* unknown, not active, without the agent, without a ctx: one answer */
	{"/api/public/" E "/x", NULL, NULL, NULL, 404, ""},
	{"/api/public/" C "/x", NULL, NULL, NULL, 404, ""},
	{"/api/public/" D "/x", NULL, NULL, NULL, 404, ""},
	{"/api/public/" B "/x", NULL, NULL, NULL, 404, ""},
	{"/api/public", NULL, NULL, NULL, 404, ""},
	{"/api/public/x", NULL, NULL, NULL, 404, ""},
	{"/api/public/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", NULL, NULL, NULL, 404, ""},
	{"/api/public/" A "a/x", NULL, NULL, NULL, 404, ""},
	{"/api/publicity/" A, NULL, NULL, NULL, 404, ""},
	{"/api", NULL, NULL, NULL, 404, ""},
	{"/", NULL, NULL, NULL, 404, ""},
	{"/metrics", NULL, NULL, NULL, 404, ""}, /* of the other listener */
	/* paths that have no one form */
	{"/api/public/" A "/../" B, NULL, NULL, NULL, 400, ""},
	{"/api/public/" A "/%2e%2e/" B, NULL, NULL, NULL, 400, ""},
	{"/api//public/" A, NULL, NULL, NULL, 400, ""},
	{"/api/public/" A "%2fx", NULL, NULL, NULL, 400, ""},
	/* by host */
	{"/api/public/x", "one.example", NULL, NULL, 200, "dp a /x"},
	{"/api/public", "one.example:8443", NULL, NULL, 200, "dp a "},
	{"/api/public/x", A ".cell.example", NULL, NULL, 200, "dp a /x"},
	{"/api/public/" A "/x", "one.example", NULL, NULL, 200, "dp a /x"},
	{"/api/public/" A "/x", "other.example", NULL, NULL, 200, "dp a /x"},
	{"/api/public/x", "three.example", NULL, NULL, 404, ""},
	{"/api/public/x", E ".cell.example", NULL, NULL, 404, ""},
	{"/api/dsp/x", "one.example", NULL, NULL, 404, ""}, /* this one wants its ctx */
	{"/api/dsp/" A "/x", "two.example", NULL, NULL, 403, ""},
	{"/api/public/" B "/x", "one.example", NULL, NULL, 403, ""},
	{"/api/public/" E "/x", "one.example", NULL, NULL, 403, ""}, /* nor does it say who exists */
	{"/api/public/" B "/x", A ".cell.example", NULL, NULL, 403, ""},
	/* by the header of a trusted ingress */
	{"/api/public/x", NULL, A, NULL, 200, "dp a /x"},
	{"/api/public/" A "/x", NULL, A, NULL, 200, "dp a /x"},
	{"/api/public/x", "one.example", A, NULL, 200, "dp a /x"},
	{"/api/public/" B "/x", NULL, A, NULL, 403, ""},
	{"/api/public/" A "/x", NULL, E, NULL, 403, ""},
	{"/api/public/" A "/x", NULL, "", NULL, 403, ""},
	{"/api/public/" A "/x", NULL, "not-an-id", NULL, 403, ""},
	{"/api/public/x", "two.example", A, NULL, 403, ""},
	{"/api/public/x", NULL, A, A, 403, ""},
	{"/api/public/x", NULL, A, B, 403, ""},
	{"/api/public/x", NULL, C, NULL, 404, ""},
};

static void requests_reach_their_runtime_and_no_other(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(routes); i++) {
		struct shot shot;
		request(&shot, routes[i].path, 1);
		if (routes[i].host != NULL)
			shot.exchange.authority = text_of(routes[i].host);
		const char *values[] = {routes[i].header, routes[i].second};
		for (size_t j = 0; j < 2 && values[j] != NULL; j++) {
			shot.headers[j] = (struct header){TEXT("x-celld-context"), text_of(values[j])};
			shot.exchange.header_count++;
		}
		shot.exchange.trusted_ingress = routes[i].header != NULL;
		int status = handle(&shot);
		if (status != routes[i].status || strcmp(shot.result, routes[i].result) != 0)
			fail_msg("%zu: %s: %d %s", i, routes[i].path, status, shot.result);
		leave(&shot);
	}
}

static void the_header_of_anybody_else_means_nothing(void **state)
{
	(void)state;
	struct shot shot;
	static const struct {
		const char *path;
		int status;
	} cases[] = {{"/api/public/x", 404}, {"/api/public/" A "/x", 200}};
	for (size_t i = 0; i < COUNT(cases); i++) {
		request(&shot, cases[i].path, 1);
		shot.headers[0] = (struct header){TEXT("x-celld-context"), TEXT(B)};
		shot.exchange.header_count = 1;
		assert_int_equal(handle(&shot), cases[i].status);
		leave(&shot);
	}
}

/* Another process has this cell's tenants (control.md 2.3, F37): nothing of theirs is served, what tells an operator of
 * this process is. */
static void a_fenced_process_serves_no_tenant(void **state)
{
	static const struct {
		const char *path;
		int before, fenced;
	} cases[] = {{"/api/public/" A "/x", 200, 503}, {"/api/mgmt/participants", 200, 503}, {"/api/status", 200, 200},
		{"/api/public/" E "/x", 404, 503}, {"/api/nothing", 404, 404}};
	(void)state;
	for (int round = 0; round < 3; round++) {
		router_fence(router, round == 1);
		for (size_t i = 0; i < COUNT(cases); i++) {
			struct shot shot;
			request(&shot, cases[i].path, 1);
			assert_int_equal(handle(&shot), round == 1 ? cases[i].fenced : cases[i].before);
			leave(&shot);
		}
	}
	struct shot shot;
	router_fence(router, true);
	request(&shot, "/metrics", 1);
	shot.exchange.listener = LISTENER_ADMIN;
	assert_int_equal(handle(&shot), 200);
	leave(&shot);
	router_fence(router, false);
}

static void the_admin_listener_has_its_own_paths(void **state)
{
	(void)state;
	static const struct {
		const char *path, *result;
	} cases[] = {{"/metrics", "metrics - "}, {"/metrics/x", "metrics - /x"}, {"/", "page - /"},
		{"/api/public/" A, "page - /api/public/" A}, {"/metricsx", "page - /metricsx"}};
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct shot shot;
		request(&shot, cases[i].path, 1);
		shot.exchange.listener = LISTENER_ADMIN;
		assert_int_equal(handle(&shot), 200);
		assert_string_equal(shot.result, cases[i].result);
	}
}

static void states_open_and_close_the_way(void **state)
{
	(void)state;
	static const struct {
		const char *state;
		int status;
	} steps[] = {{"CREATED", 404}, {"ACTIVATED", 200}, {"DEACTIVATED", 404}, {"ACTIVATED", 200}, {NULL, 404},
		{"ACTIVATED", 200}};
	for (size_t i = 0; i < COUNT(steps); i++) {
		if (steps[i].state == NULL)
			tell(RECORD_PARTICIPANT, E, NULL);
		else
			participant(E, steps[i].state, "");
		assert_int_equal(get("/api/public/" E "/x"), steps[i].status);
	}
	/* under way when its tenant goes: it leaves as any other */
	struct shot shot;
	request(&shot, "/api/public/" E "/x", 1);
	assert_int_equal(handle(&shot), 200);
	tell(RECORD_PARTICIPANT, E, NULL);
	leave(&shot);
	assert_int_equal(get("/api/public/" E "/x"), 404);
}

static void hosts_move_with_the_configuration(void **state)
{
	(void)state;
	struct shot shot;
	static const struct {
		const char *entries;
		int status;
	} steps[] = {{"\"celld.hosts\":\"five.example\"", 200}, {"\"celld.hosts\":\"six.example\"", 404},
		{"\"celld.hosts\":\"six.example,five.example\"", 200}, {"", 404}};
	for (size_t i = 0; i < COUNT(steps); i++) {
		participant(E, "ACTIVATED", steps[i].entries);
		request(&shot, "/api/public/x", 1);
		shot.exchange.authority = TEXT("five.example");
		assert_int_equal(handle(&shot), steps[i].status);
		leave(&shot);
	}
}

static void open_requests_of_a_tenant_are_limited(void **state)
{
	(void)state;
	struct shot shots[4], other;
	participant(E, "ACTIVATED", "\"celld.limits.streams\":\"2\"");
	for (int i = 0; i < 4; i++) {
		request(&shots[i], "/api/public/" E "/x", 1);
		assert_int_equal(handle(&shots[i]), i < 2 ? 200 : 429);
		assert_int_equal(shots[i].says_when, i >= 2);
		assert_true(text_equals(shots[i].exchange.tenant, TEXT(E))); /* refused ones are logged as theirs */
	}
	request(&other, "/api/public/" A "/x", 1);
	assert_int_equal(handle(&other), 200); /* another tenant does not feel it */
	leave(&other);
	leave(&shots[0]);
	assert_int_equal(get("/api/public/" E "/x"), 200);
	leave(&shots[1]);
	/* the new limit holds from the next request on */
	participant(E, "ACTIVATED", "\"celld.limits.streams\":\"1\"");
	request(&shots[0], "/api/public/" E "/x", 1);
	assert_int_equal(handle(&shots[0]), 200);
	assert_int_equal(get("/api/public/" E "/x"), 429);
	leave(&shots[0]);
}

static void connections_of_a_tenant_are_limited(void **state)
{
	(void)state;
	struct shot first, again, second;
	participant(E, "ACTIVATED", "\"celld.limits.connections\":\"1\"");
	request(&first, "/api/public/" E "/x", 1);
	assert_int_equal(handle(&first), 200);
	request(&again, "/api/public/" E "/x", 1);
	assert_int_equal(handle(&again), 200);
	request(&second, "/api/public/" E "/x", 2);
	assert_int_equal(handle(&second), 429);
	leave(&first);
	request(&second, "/api/public/" E "/x", 2);
	assert_int_equal(handle(&second), 429);
	leave(&again);
	request(&second, "/api/public/" E "/x", 2);
	assert_int_equal(handle(&second), 200);
	leave(&second);
}

static void requests_of_a_tenant_refill_by_the_clock(void **state)
{
	(void)state;
	participant(E, "ACTIVATED", "\"celld.limits.requestsPerSecond\":\"4\"");
	static const struct {
		unsigned after_ms, admitted;
	} steps[] = {{0, 4}, {0, 0}, {250, 1}, {100, 0}, {400, 2}, {60000, 4}};
	for (size_t i = 0; i < COUNT(steps); i++) {
		now_ms += steps[i].after_ms;
		unsigned admitted = 0;
		while (get("/api/public/" E "/x") == 200)
			admitted++;
		assert_int_equal(admitted, steps[i].admitted);
	}
	assert_int_equal(get("/api/public/" A "/x"), 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests_reach_their_runtime_and_no_other, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_header_of_anybody_else_means_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_fenced_process_serves_no_tenant, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_admin_listener_has_its_own_paths, set_up, tear_down),
		cmocka_unit_test_setup_teardown(states_open_and_close_the_way, set_up, tear_down),
		cmocka_unit_test_setup_teardown(hosts_move_with_the_configuration, set_up, tear_down),
		cmocka_unit_test_setup_teardown(open_requests_of_a_tenant_are_limited, set_up, tear_down),
		cmocka_unit_test_setup_teardown(connections_of_a_tenant_are_limited, set_up, tear_down),
		cmocka_unit_test_setup_teardown(requests_of_a_tenant_refill_by_the_clock, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
