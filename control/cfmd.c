/* cfmd: Tenant Manager, Provision Manager and fabric in one program. This file only wires the rooms together. */
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "control/fabric/fabric.h"
#include "control/pages.h"
#include "control/program.h"
#include "server/answer.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/client.h"
#include "server/server.h"
#include "server/worker_pool.h"

/* Everything configurable. */
struct settings {
	struct program_settings program;
	struct bus_settings nats;
	struct fabric_settings fabric;
	struct fleet_settings cells;
	struct pm_settings orchestration;
};

/* The running managers, in the order they are opened. */
struct cfmd {
	struct settings *settings;
	struct worker_pool *pool;
	struct client_pool *client;
	struct store *store;
	struct access *access;
	struct own_credentials *own;
	struct bus *bus;
	struct fabric *fabric;
	struct server *server;
	struct handler handler;
	int64_t started_ms;
	bool is_started, is_refused;
	atomic_bool is_draining;
};

/* --- settings */

static void describe(struct program_settings *program)
{
	struct settings *settings = (struct settings *)program;
	program_section(program, "nats", bus_settings_table, bus_settings_count, &settings->nats);
	program_section(program, "fabric", fabric_settings_table, fabric_settings_count, &settings->fabric);
	program_section(program, "cells", fleet_settings_table, fleet_settings_count, &settings->cells);
	program_section(program, "orchestration", pm_settings_table, pm_settings_count, &settings->orchestration);
}

/* What celld's own executors do (control/cell/activities.h). */
static bool complete_activities(struct setting_texts *activities)
{
	static const char *const usual[] = {"edcv-activity", "siglet-activity"};
	if (activities->count > 0)
		return true;
	activities->items = calloc(sizeof(usual) / sizeof(usual[0]), sizeof(char *));
	for (size_t i = 0; activities->items != NULL && i < sizeof(usual) / sizeof(usual[0]); i++) {
		activities->items[i] = text_copy(text_of(usual[i]));
		if (activities->items[i] == NULL)
			return false;
		activities->count++;
	}
	return activities->items != NULL;
}

/* Everything of the fabric lives on one worker and has no locks. */
static bool complete(struct program_settings *program, const struct program_options *options, struct buffer *error)
{
	struct settings *settings = (struct settings *)program;
	const char *file = options->config == NULL ? "defaults" : options->config;
	if (settings->program.server.workers > 1) {
		buffer_printf(error, "%s: server.workers: cfmd runs on one worker; allowed: 0, 1", file);
		return false;
	}
	settings->program.server.workers = 1;
	return complete_activities(&settings->cells.activities) &&
		   program_default_path(&settings->program.store.file, options, "fabric.db") &&
		   program_default_path(&settings->cells.own_key_file, options, "cfmd.nk") &&
		   program_default_path(&settings->program.access.key_file, options, "cfm.key");
}

/* --- requests */

static void show_page(const struct cfmd *cfmd, struct exchange *exchange)
{
	struct buffer text = {0};
	if (!pages_is_read(exchange))
		return;
	buffer_printf(&text, "cfmd %s, up for %lld s\n%s\n", CELLD_VERSION,
		(long long)((clock_wall_ms() - cfmd->started_ms) / 1000),
		store_is_healthy(cfmd->store) ? "the store is healthy" : "the store cannot be reached");
	fabric_lines(cfmd->fabric, &text);
	if (text.failed)
		answer_problem(exchange, 503, TEXT_NONE);
	else
		answer(exchange, 200, TEXT("text/plain; charset=utf-8"), buffer_text(&text));
	buffer_free(&text);
}

/* Pages of the operator's listener; everything else is the API, on both. A broker that is away is a normal state: the
 * managers take requests all the same, and their messages wait. */
static void handle(void *context, struct exchange *exchange)
{
	static const struct text health = {"/healthz", 8};
	struct cfmd *cfmd = context;
	struct text path = exchange_path(exchange);
	bool is_admin = exchange->listener == LISTENER_ADMIN;
	if (is_admin && text_equals(path, TEXT("/metrics")))
		pages_metrics(exchange);
	else if (is_admin && text_starts_with(path, health))
		pages_health(exchange, text_slice(path, health.length, path.length), atomic_load(&cfmd->is_draining),
			store_is_healthy(cfmd->store) ? NULL : "the store cannot be reached");
	else if (is_admin && text_equals(path, TEXT("/")))
		show_page(cfmd, exchange);
	else
		fabric_handle(cfmd->fabric, exchange);
}

/* --- life */

static enum status open_cfmd(void *context, struct program_settings *program, struct buffer *error)
{
	struct cfmd *cfmd = context;
	struct settings *settings = cfmd->settings = (struct settings *)program;
	cfmd->started_ms = clock_wall_ms();
	cfmd->pool = worker_pool_new(1);
	enum status status = cfmd->pool == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	if (status == STATUS_OK)
		status = store_open(&settings->program.store, cfmd->pool, &cfmd->store, error);
	if (status == STATUS_OK)
		status = access_open(&settings->program.access, cfmd->pool, &cfmd->access, error);
	if (status == STATUS_OK)
		status = client_pool_open(cfmd->pool, &settings->program.client, &cfmd->client, error);
	if (status == STATUS_OK)
		status = own_credentials_open(&settings->cells, &settings->nats, &cfmd->own, error);
	if (status == STATUS_OK)
		status = bus_open(&settings->nats, worker_pool_at(cfmd->pool, 0), &cfmd->bus, error);
	if (status == STATUS_OK)
		status = fabric_open(&settings->fabric, &settings->orchestration, cfmd->store, cfmd->pool, cfmd->access,
			cfmd->bus, &cfmd->fabric, error);
	if (status == STATUS_OK)
		status = fabric_watch_cells(cfmd->fabric, &settings->cells, &settings->nats, cfmd->own, error);
	cfmd->handler = (struct handler){handle, cfmd};
	if (status == STATUS_OK)
		status = server_open(
			cfmd->pool, &settings->program.server, &settings->program.limits, &cfmd->handler, &cfmd->server, error);
	if (status == STATUS_OK)
		status = store_load(cfmd->store, error);
	if (status == STATUS_OK)
		status = worker_pool_start(cfmd->pool);
	cfmd->is_started = status == STATUS_OK;
	return status;
}

static void say_ready(void *context, uint64_t started_ms)
{
	const struct cfmd *cfmd = context;
	program_say_listeners(&cfmd->settings->program.server, cfmd->server);
	LOG(INFO, "fabric.ready", log_text("version", TEXT(CELLD_VERSION)),
		log_bool("tenantManager", cfmd->settings->fabric.tenant_manager),
		log_bool("provisionManager", cfmd->settings->fabric.provision_manager),
		log_number("ms", clock_monotonic_ms() - started_ms));
}

static struct program_reloaded reloaded(void *context)
{
	const struct cfmd *cfmd = context;
	return (struct program_reloaded){cfmd->server, cfmd->access};
}

static void drain(void *context, void (*done)(void *context), void *done_context)
{
	struct cfmd *cfmd = context;
	atomic_store(&cfmd->is_draining, true);
	server_drain(cfmd->server, done, done_context);
}

static void on_settled(void *context, enum status status, int64_t revision)
{
	(void)status, (void)revision;
	sem_post(context);
}

/* What was submitted is committed and told, while there is a worker to hear it. */
static void settle(struct cfmd *cfmd)
{
	sem_t settled;
	struct transaction *nothing = cfmd->is_started ? transaction_new() : NULL;
	if (nothing == NULL)
		return;
	sem_init(&settled, 0, 0);
	store_submit(cfmd->store, nothing, worker_pool_at(cfmd->pool, 0), on_settled, &settled);
	while (sem_wait(&settled) != 0)
		continue;
	sem_destroy(&settled);
}

/* The worker ends first: nobody calls anybody any more; then what it called. */
static void close_cfmd(void *context)
{
	struct cfmd *cfmd = context;
	if (cfmd->is_started) {
		fabric_leave(cfmd->fabric);
		bus_disconnect(cfmd->bus);
	}
	settle(cfmd);
	store_finish(cfmd->store);
	cfmd->is_refused = fabric_is_refused(cfmd->fabric);
	if (cfmd->pool != NULL)
		worker_pool_stop(cfmd->pool);
	bus_close(cfmd->bus);
	store_close(cfmd->store);
	server_free(cfmd->server);
	fabric_free(cfmd->fabric);
	own_credentials_free(cfmd->own);
	client_pool_free(cfmd->client);
	if (cfmd->access != NULL)
		access_close(cfmd->access);
	worker_pool_free(cfmd->pool);
}

int main(int count, char **arguments)
{
	struct cfmd cfmd = {0};
	const struct program program = {.name = "cfmd",
		.summary = "Tenant Manager, Provision Manager and fabric",
		.noun = "fabric",
		.state_help = "database and key",
		.settings_size = sizeof(struct settings),
		.describe = describe,
		.complete = complete,
		.open = open_cfmd,
		.say_ready = say_ready,
		.reloaded = reloaded,
		.drain = drain,
		.close = close_cfmd,
		.context = &cfmd};
	int code = program_main(&program, count, arguments);
	return code == 0 && cfmd.is_refused ? EXIT_CONFIG : code;
}
