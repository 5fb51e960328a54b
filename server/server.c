/* The engine put together: its listeners, its half on each worker, drain and reload. */
#include "server/server.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/log.h"
#include "server/connection.h"
#include "server/http_date.h"
#include "server/stream.h"
#include "server/worker_pool.h"

enum { TICK_MS = 250, LISTENERS_MAX = 32, NETWORKS_MAX = 64 };

/* What every worker writes at each connection stands apart from what requests read. */
struct server {
	_Alignas(64) atomic_long connections;
	char apart[56];
	struct worker_pool *pool;
	const struct server_settings *settings;
	const struct handler *handler;
	_Atomic(const struct limits *) limits; /* of `versions`, or the first */
	struct limits_version *versions;
	struct listener listeners[LISTENERS_MAX];
	size_t listener_count;
	bool has_tls;
	_Atomic(struct tls_material *) material;
	struct ticket_keys *tickets;
	struct network trusted[NETWORKS_MAX];
	size_t trusted_count;
	int slot;
	int64_t descriptors; /* that connections may have */
	/* drain */
	atomic_uint draining;
	void (*on_drained)(void *context);
	void *drained_context;
};

/* Limits that were in force: connections read those they were accepted under, so they stay until the end. */
struct limits_version {
	struct limits_version *before;
	struct limits limits;
};

const struct handler *server_handler(const struct server *server)
{
	return server->handler;
}

const struct limits *server_limits(const struct server *server)
{
	return atomic_load_explicit(&server->limits, memory_order_acquire);
}

struct engine *server_engine(const struct server *server, const struct worker *worker)
{
	return worker_slot(worker, server->slot);
}

struct listener *server_listeners(struct server *server, size_t *count)
{
	*count = server->listener_count;
	return server->listeners;
}

/* Of the descriptors that the process may have; the other half is for sources, stores and files. */
static int64_t half_of_descriptors(void)
{
	struct rlimit files;
	bool is_limited = getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur != RLIM_INFINITY;
	return is_limited ? (int64_t)(files.rlim_cur / 2) : INT64_MAX;
}

static int64_t connection_limit(const struct server *server)
{
	int64_t limit = server_limits(server)->connections;
	return limit < server->descriptors ? limit : server->descriptors;
}

bool server_admit_connection(struct server *server)
{
	long open = atomic_fetch_add_explicit(&server->connections, 1, memory_order_relaxed);
	if (open < connection_limit(server))
		return true;
	atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
	return false;
}

void server_release_connection(struct server *server)
{
	atomic_fetch_sub_explicit(&server->connections, 1, memory_order_relaxed);
}

bool server_trusts(const struct server *server, const struct sockaddr *address)
{
	for (size_t i = 0; i < server->trusted_count; i++) {
		if (network_contains(&server->trusted[i], address))
			return true;
	}
	return false;
}

struct text engine_date(struct engine *engine)
{
	int64_t now_s = worker_wall_ms(engine->worker) / 1000;
	if (now_s != engine->date_s) {
		engine->date_s = now_s;
		http_date_format(now_s, engine->date);
	}
	return (struct text){engine->date, HTTP_DATE_LENGTH};
}

/* --- a worker's half */

static void tell_drained(struct engine *engine);

static void on_tick(void *context)
{
	struct engine *engine = context;
	connections_check(engine);
	if (engine->is_draining)
		tell_drained(engine);
	timer_set(engine->tick, TICK_MS);
}

static void on_accept_again(void *context)
{
	listeners_start(context);
}

static void engine_free(struct engine *engine)
{
	if (engine == NULL)
		return;
	listeners_release(engine);
	timer_free(engine->tick);
	timer_free(engine->accept_again);
	timer_free(engine->deadline);
	streams_release(engine);
	SSL_CTX_free(engine->tls);
	OSSL_LIB_CTX_free(engine->library);
	free(engine->input);
	free(engine->gather);
	free(engine->sealed);
	free(engine->frame);
	drawer_pool_free(engine->drawers);
	known_strings_free(engine->strings);
	free(engine);
}

static enum status build_context(struct engine *engine, SSL_CTX **context)
{
	struct server *server = engine->server;
	const struct tls_material *material = atomic_load_explicit(&server->material, memory_order_acquire);
	return tls_context_build(engine->library, material, server->tickets, context);
}

static enum status on_start(void *context, struct worker *worker)
{
	struct server *server = context;
	struct engine *engine = calloc(1, sizeof(*engine));
	if (engine == NULL)
		return STATUS_NO_MEMORY;
	engine->server = server;
	engine->worker = worker;
	random_bytes(&engine->random, sizeof(engine->random));
	engine->input = malloc(INPUT_SIZE);
	engine->gather = malloc(GATHER_CLEAR);
	engine->sealed = malloc(SEND_SEALED);
	engine->drawers = drawer_pool_new();
	engine->strings = known_strings_new();
	engine->frame = malloc(FRAME_BUFFER);
	engine->send_number = 1;
	engine->tick = timer_new(worker, on_tick, engine);
	engine->accept_again = timer_new(worker, on_accept_again, engine);
	enum status status = engine->input == NULL || engine->gather == NULL || engine->sealed == NULL ||
								 engine->frame == NULL || engine->drawers == NULL || engine->strings == NULL ||
								 engine->tick == NULL || engine->accept_again == NULL || share_common(worker) == NULL
							 ? STATUS_NO_MEMORY
							 : STATUS_OK;
	if (status == STATUS_OK && server->has_tls) {
		/* a library context of its own: OpenSSL 3.0 shares locks inside one */
		engine->library = OSSL_LIB_CTX_new();
		status = engine->library == NULL ? STATUS_NO_MEMORY : build_context(engine, &engine->tls);
	}
	if (status != STATUS_OK) {
		engine_free(engine);
		return status;
	}
	worker_slot_set(worker, server->slot, engine);
	timer_set(engine->tick, TICK_MS);
	listeners_start(engine);
	return STATUS_OK;
}

static void on_stop(void *context, struct worker *worker)
{
	const struct server *server = context;
	struct engine *engine = worker_slot(worker, server->slot);
	if (engine == NULL)
		return;
	connections_close(engine, STATUS_STOPPED);
}

/* After the turn in which the connections were closed and freed. */
static void on_stopped(void *context, struct worker *worker)
{
	const struct server *server = context;
	struct engine *engine = worker_slot(worker, server->slot);
	worker_slot_set(worker, server->slot, NULL);
	if (engine == NULL)
		return;
	worker_run_later(worker);
	engine_free(engine);
	share_close_worker(worker);
}

/* --- opening */

static enum status read_networks(struct server *server, struct buffer *error)
{
	const struct setting_texts *texts = &server->settings->trusted_ingress;
	for (size_t i = 0; i < texts->count; i++) {
		if (i == NETWORKS_MAX || network_parse(text_of(texts->items[i]), &server->trusted[i]) != STATUS_OK) {
			buffer_printf(error, "server.trusted_ingress: \"%s\" is no network in CIDR form (at most %d)",
				texts->items[i], NETWORKS_MAX);
			return STATUS_INVALID;
		}
		server->trusted_count++;
	}
	return STATUS_OK;
}

static enum status open_listeners(struct server *server, struct buffer *error)
{
	const struct listener_settings *settings = server->settings->listeners.items;
	unsigned workers = worker_pool_count(server->pool);
	if (server->settings->listeners.count > LISTENERS_MAX) {
		buffer_printf(error, "server.listeners: at most %d", LISTENERS_MAX);
		return STATUS_INVALID;
	}
	for (size_t i = 0; i < server->settings->listeners.count; i++) {
		if (settings[i].client_certificates > 0 && server->settings->client_ca_file == NULL) {
			buffer_printf(error, "server.client_ca_file: needed by a listener with client_certificates");
			return STATUS_INVALID;
		}
		struct listener *listener = &server->listeners[server->listener_count++];
		listener->settings = &settings[i];
		listener->server = server;
		server->has_tls = server->has_tls || settings[i].protocol == LISTENER_TLS;
		enum status status = listener_open(listener, workers, error);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

enum status server_open(struct worker_pool *pool, const struct server_settings *settings, const struct limits *limits,
	const struct handler *handler, struct server **server, struct buffer *error)
{
	struct server *made = aligned_alloc(_Alignof(struct server), sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	memset(made, 0, sizeof(*made));
	signal(SIGPIPE, SIG_IGN);
	made->pool = pool;
	made->settings = settings;
	made->handler = handler;
	made->descriptors = half_of_descriptors();
	atomic_init(&made->limits, limits);
	enum status status = read_networks(made, error);
	if (status == STATUS_OK)
		status = open_listeners(made, error);
	if (status == STATUS_OK && made->has_tls) {
		struct tls_material *material = NULL;
		status = tls_material_load(settings, &material, error);
		atomic_init(&made->material, material);
		made->tickets = ticket_keys_new(settings->ticket_lifetime_ms);
		if (made->tickets == NULL && status == STATUS_OK)
			status = STATUS_NO_MEMORY;
	}
	if (status != STATUS_OK) {
		server_free(made);
		return status;
	}
	connection_register_metrics();
	stream_register_metrics();
	made->slot = worker_slot_new();
	/* stop hooks run last opened first */
	worker_pool_on_stop(pool, on_stopped, made);
	worker_pool_on_stop(pool, on_stop, made);
	worker_pool_on_start(pool, on_start, made);
	*server = made;
	return STATUS_OK;
}

void server_free(struct server *server)
{
	if (server == NULL)
		return;
	for (size_t i = 0; i < server->listener_count; i++)
		listener_close(&server->listeners[i], worker_pool_count(server->pool));
	tls_material_free(atomic_load_explicit(&server->material, memory_order_relaxed));
	ticket_keys_free(server->tickets);
	while (server->versions != NULL) {
		struct limits_version *before = server->versions->before;
		free(server->versions);
		server->versions = before;
	}
	free(server);
}

unsigned server_port(const struct server *server, size_t index)
{
	return server->listeners[index].port;
}

/* --- reload */

struct swap {
	struct task task; /* first */
	struct server *server;
	unsigned index;
};

static void on_swap(struct task *task)
{
	struct swap *swap = (struct swap *)task;
	struct engine *engine = server_engine(swap->server, worker_pool_at(swap->server->pool, swap->index));
	SSL_CTX *context = NULL;
	if (engine != NULL && build_context(engine, &context) == STATUS_OK) {
		SSL_CTX_free(engine->tls); /* connections hold their own reference */
		engine->tls = context;
	}
	free(swap);
}

static void free_material(void *object)
{
	tls_material_free(object);
}

static enum status load_material(
	struct server *server, const struct server_settings *settings, struct tls_material **material, struct buffer *error)
{
	SSL_CTX *probe = NULL;
	enum status status = tls_material_load(settings, material, error);
	if (status != STATUS_OK)
		return status;
	status = tls_context_build(NULL, *material, server->tickets, &probe);
	SSL_CTX_free(probe);
	if (status != STATUS_OK) {
		buffer_printf(error, "the certificate cannot be used");
		tls_material_free(*material);
	}
	return status;
}

enum status server_check_certificates(
	struct server *server, const struct server_settings *settings, struct buffer *error)
{
	struct tls_material *material = NULL;
	enum status status = server->has_tls ? load_material(server, settings, &material, error) : STATUS_OK;
	if (status == STATUS_OK)
		tls_material_free(material);
	return status;
}

enum status server_reload_certificates(
	struct server *server, const struct server_settings *settings, struct buffer *error)
{
	struct tls_material *material = NULL;
	if (!server->has_tls)
		return STATUS_OK;
	enum status status = load_material(server, settings, &material, error);
	if (status != STATUS_OK)
		return status;
	struct tls_material *old = atomic_exchange_explicit(&server->material, material, memory_order_acq_rel);
	for (unsigned i = 0; i < worker_pool_count(server->pool); i++) {
		struct swap *swap = malloc(sizeof(*swap));
		if (swap == NULL)
			return STATUS_NO_MEMORY; /* the worker goes on with what it has; `old` stays for it */
		*swap = (struct swap){.task.run = on_swap, .server = server, .index = i};
		worker_post(worker_pool_at(server->pool, i), &swap->task);
	}
	worker_pool_retire(server->pool, free_material, old);
	return STATUS_OK;
}

enum status server_change_limits(struct server *server, const struct limits *limits)
{
	if (memcmp(server_limits(server), limits, sizeof(*limits)) == 0)
		return STATUS_OK;
	struct limits_version *version = malloc(sizeof(*version));
	if (version == NULL)
		return STATUS_NO_MEMORY;
	*version = (struct limits_version){.before = server->versions, .limits = *limits};
	server->versions = version;
	atomic_store_explicit(&server->limits, &version->limits, memory_order_release);
	return STATUS_OK;
}

/* --- drain */

struct drain {
	struct task task; /* first */
	struct server *server;
	unsigned index;
};

static void tell_drained(struct engine *engine)
{
	struct server *server = engine->server;
	if (engine->connection_count > 0 || !engine->is_draining)
		return;
	engine->is_draining = false; /* said once */
	if (atomic_fetch_sub_explicit(&server->draining, 1, memory_order_acq_rel) == 1)
		server->on_drained(server->drained_context);
}

static void on_deadline(void *context)
{
	connections_close(context, STATUS_STOPPED);
}

static void on_drain(struct task *task)
{
	struct drain *drain = (struct drain *)task;
	struct worker *worker = worker_pool_at(drain->server->pool, drain->index);
	struct engine *engine = server_engine(drain->server, worker);
	listeners_stop(engine);
	engine->is_draining = true;
	connections_drain(engine);
	engine->deadline = timer_new(worker, on_deadline, engine);
	if (engine->deadline != NULL)
		timer_set(engine->deadline, (uint64_t)server_limits(drain->server)->drain_ms);
	free(drain);
}

void server_drain(struct server *server, void (*done)(void *context), void *context)
{
	unsigned count = worker_pool_count(server->pool);
	server->on_drained = done;
	server->drained_context = context;
	atomic_store_explicit(&server->draining, count, memory_order_release);
	for (unsigned i = 0; i < count; i++) {
		struct drain *drain = calloc(1, sizeof(*drain));
		if (drain == NULL)
			abort(); /* on the way out anyway */
		*drain = (struct drain){.task.run = on_drain, .server = server, .index = i};
		worker_post(worker_pool_at(server->pool, i), &drain->task);
	}
}
