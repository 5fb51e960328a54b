/* celld: one cell. This file only wires the rooms together. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/cell/activities.h"
#include "control/cell/membership.h"
#include "control/cell/orders.h"
#include "control/cell/witness.h"
#include "control/celld_admin.h"
#include "control/program.h"
#include "router/router.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/client.h"
#include "server/server.h"
#include "server/worker_pool.h"
#include "tenants/cp/management.h"
#include "tenants/did_host.h"
#include "tenants/dp/dp.h"
#include "tenants/dp/signaling/public_keys.h"
#include "tenants/dp/signaling/siglet.h"

/* Everything configurable. */
struct settings {
	struct program_settings program;
	struct vault_settings vault;
	struct tenant_settings tenant;
	struct router_settings router;
	struct dp_settings dp;
	struct membership_settings fabric;
	struct bus_settings nats;
};

/* The running cell, in the order it is opened. */
struct cell {
	struct settings *settings;
	struct worker_pool *pool;
	struct client_pool *client;
	struct store *store;
	struct vault *vault;
	struct access *access;
	struct registry *registry;
	struct management *management;
	struct dp *dp;
	struct did_host *did_host;
	struct router *router;
	/* NULL: this cell belongs to no fabric */
	struct state *state;
	struct orders *orders;
	struct activities *activities; /* the first worker's; NULL: not joined */
	struct witness *witness;
	bool is_held; /* the manager waits for its operator */
	struct membership *membership;
	struct server *server;
	struct admin admin;
	struct handler handler;
};

/* --- settings */

static void describe(struct program_settings *program)
{
	struct settings *settings = (struct settings *)program;
	program_section(program, "vault", vault_settings_table, vault_settings_count, &settings->vault);
	program_section(program, "tenant", tenant_settings_table, tenant_settings_count, &settings->tenant);
	program_section(program, "router", router_settings_table, router_settings_count, &settings->router);
	program_section(program, "dp", dp_settings_table, dp_settings_count, &settings->dp);
	program_section(program, "fabric", membership_settings_table, membership_settings_count, &settings->fabric);
	program_section(program, "nats", bus_settings_table, bus_settings_count, &settings->nats);
}

/* What the tables cannot say: texts of a grammar of their own. */
static bool check_texts(const struct settings *settings, const char *file, struct buffer *error)
{
#define LOWER "abcdefghijklmnopqrstuvwxyz0123456789-"
	const struct {
		const char *key, *value, *bytes, *allowed;
	} texts[] = {{"tenant.domain", settings->tenant.domain, LOWER ".", "a host name in lower case"},
		{"router.tenant_header", settings->router.tenant_header, LOWER, "a header name in lower case"}};
#undef LOWER
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (texts[i].value == NULL || texts[i].value[strspn(texts[i].value, texts[i].bytes)] == 0)
			continue;
		buffer_printf(error, "%s: %s: must be %s", file == NULL ? "defaults" : file, texts[i].key, texts[i].allowed);
		return false;
	}
	return true;
}

static bool complete(struct program_settings *program, const struct program_options *options, struct buffer *error)
{
	struct settings *settings = (struct settings *)program;
	if (!check_texts(settings, options->config, error))
		return false;
	if (options->workers > 0)
		settings->program.server.workers = options->workers;
	return program_default_path(&settings->program.store.file, options, "cell.db") &&
		   program_default_path(&settings->vault.directory, options, "vault") &&
		   program_default_path(&settings->program.access.key_file, options, "cell.key") &&
		   program_default_path(&settings->dp.source_root, options, "sources") &&
		   program_default_path(&settings->fabric.key_file, options, "cell.nk") &&
		   program_default_path(&settings->dp.cell_file, options, "cell.id");
}

/* --- opening */

static unsigned worker_count(const struct settings *settings)
{
	cpu_set_t cores;
	if (settings->program.server.workers > 0)
		return (unsigned)settings->program.server.workers;
	CPU_ZERO(&cores);
	int count = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : 1;
	return count < 1 ? 1 : count > WORKERS_MAX ? WORKERS_MAX : (unsigned)count;
}

static enum status open_sources(const struct settings *settings, struct buffer *error)
{
	const char *root = settings->dp.source_root;
	int descriptor = mkdir(root, 0750) == 0 || errno == EEXIST ? open(root, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	if (descriptor < 0) {
		buffer_printf(error, "dp.source_root: %s: %m", root);
		return STATUS_IO;
	}
	close(descriptor);
	return STATUS_OK;
}

static enum status open_router(struct cell *cell)
{
	struct admin *admin = &cell->admin;
	const struct route_rule rules[] = {
		{TEXT("/api/public"), ROUTE_TENANT, VPA_DATAPLANE, LISTENER_PUBLIC, true, {"dp", dp_public, cell->dp}},
		{TEXT("/api/ingest"), ROUTE_TENANT, VPA_DATAPLANE, LISTENER_PUBLIC, true, {"dp", dp_ingest, cell->dp}},
		{TEXT("/api/v1"), ROUTE_TENANT, VPA_DATAPLANE, LISTENER_PUBLIC, false, {"dp", dp_signaling, cell->dp}},
		{TEXT("/api/cell/v1/participants"), ROUTE_CELL, 0, LISTENER_PUBLIC, false, {"dp", dp_manage, cell->dp}},
		{TEXT("/api/cell/v1/participants"), ROUTE_CELL, 0, LISTENER_ADMIN, false, {"dp", dp_manage, cell->dp}},
		{TEXT("/api/cell/v1/status"), ROUTE_PROCESS, 0, LISTENER_PUBLIC, false, {"admin", admin_status, admin}},
		{TEXT("/api/cell/v1/status"), ROUTE_CELL, 0, LISTENER_ADMIN, false, {"admin", admin_status, admin}},
		{TEXT("/api/mgmt/v5beta/participants"), ROUTE_CELL, 0, LISTENER_PUBLIC, false,
			{"cp", management_handle, cell->management}},
		{TEXT("/api/mgmt/v5beta/participants"), ROUTE_CELL, 0, LISTENER_ADMIN, false,
			{"cp", management_handle, cell->management}},
		{TEXT("/api/siglet/tokens"), ROUTE_TENANT, VPA_DATAPLANE, LISTENER_PUBLIC, false, {"dp", dp_token, cell->dp}},
		{TEXT("/api/siglet"), ROUTE_CELL, 0, LISTENER_PUBLIC, false, {"dp", siglet_handle, cell->dp}},
		{TEXT("/transfer-type-mappings"), ROUTE_CELL, 0, LISTENER_PUBLIC, false, {"dp", siglet_types, cell->dp}},
		{TEXT("/key-mappings"), ROUTE_CELL, 0, LISTENER_PUBLIC, false, {"dp", siglet_keys, cell->dp}},
		{TEXT("/keys"), ROUTE_CELL, 0, LISTENER_PUBLIC, false, {"dp", public_keys, cell->dp}},
		{TEXT("/health"), ROUTE_CELL, 0, LISTENER_PUBLIC, false, {"dp", siglet_health, cell->dp}},
		{TEXT("/metrics"), ROUTE_CELL, 0, LISTENER_ADMIN, false, {"admin", admin_metrics, admin}},
		{TEXT("/healthz"), ROUTE_CELL, 0, LISTENER_ADMIN, false, {"admin", admin_health, admin}},
		{TEXT("/tokens"), ROUTE_TENANT, VPA_DATAPLANE, LISTENER_PUBLIC, false, {"dp", dp_token, cell->dp}},
		{TEXT("/tokens"), ROUTE_TENANT, VPA_DATAPLANE, LISTENER_ADMIN, false, {"dp", dp_token, cell->dp}},
		{TEXT("/api/local"), ROUTE_TENANT, VPA_DATAPLANE, LISTENER_PUBLIC, false, {"dp", dp_local, cell->dp}},
		{TEXT("/api/local"), ROUTE_TENANT, VPA_DATAPLANE, LISTENER_ADMIN, false, {"dp", dp_local, cell->dp}},
		{TEXT("/"), ROUTE_CELL, 0, LISTENER_ADMIN, false, {"admin", admin_page, admin}},
		{TEXT("/"), ROUTE_CELL, 0, LISTENER_PUBLIC, false, {"did", did_host_handle, cell->did_host}},
	};
	return router_open(cell->registry, cell->pool, &cell->settings->tenant, &cell->settings->router, rules,
		sizeof(rules) / sizeof(rules[0]), &cell->router);
}

static bool is_participant(void *context, struct text sub)
{
	const struct cell *cell = context;
	return id_is_valid(sub) && registry_find(cell->registry, sub) != NULL;
}

/* Whatever networks a tenant may reach: the admin listeners are not for upstream calls. */
static enum status forbid_admin_listeners(struct cell *cell)
{
	const struct listener_settings *listeners = cell->settings->program.server.listeners.items;
	enum status status = STATUS_OK;
	for (size_t i = 0; i < cell->settings->program.server.listeners.count && status == STATUS_OK; i++) {
		struct text address = text_of(listeners[i].address);
		if (listeners[i].role == LISTENER_ADMIN && !text_starts_with(address, TEXT("unix:")))
			status = client_pool_forbid(cell->client, address, (uint16_t)server_port(cell->server, i));
	}
	return status;
}

/* --- the fabric */

static void on_still(void *context)
{
	(void)context; /* what was under way has ended */
}

/* Another process of this cell owns its tenants now: none is served here, and nothing is done for one by itself. */
static void on_fenced(void *context)
{
	struct cell *cell = context;
	router_fence(cell->router, true);
	dp_stop(cell->dp, on_still, NULL);
}

static void on_held(void *context, bool is_held)
{
	struct cell *cell = context;
	cell->is_held = is_held;
	activities_hold(cell->activities, is_held);
}

static void on_applied_asked(void *context, int64_t *term, int64_t *number)
{
	orders_applied(context, term, number);
}

static void open_activities(struct cell *cell, struct bus *bus, struct text cell_id)
{
	const char *ingress = membership_ingress(cell->membership);
	const struct activities_settings settings = {cell_id, ingress == NULL ? TEXT_NONE : text_of(ingress)};
	if (cell->activities == NULL)
		cell->activities = activities_open(&settings, bus, cell->state, cell->management);
	activities_hold(cell->activities, cell->is_held);
	if (cell->activities == NULL)
		LOG(ERROR, "cell.no_activities", log_text("why", TEXT("out of memory")));
}

static void on_membership(void *context, struct bus *bus, struct text cell_id, int64_t epoch)
{
	struct cell *cell = context;
	if (epoch > 0) {
		orders_join(cell->orders, bus, cell_id, epoch);
		open_activities(cell, bus, cell_id);
		witness_join(cell->witness, bus, cell_id);
		return;
	}
	witness_leave(cell->witness);
	orders_fence(cell->orders);
	if (cell->activities != NULL)
		activities_close(cell->activities);
	cell->activities = NULL;
}

static enum status open_fabric(struct cell *cell, struct buffer *error)
{
	struct settings *settings = cell->settings;
	if (settings->fabric.url == NULL)
		return STATUS_OK;
	enum status status = state_open(cell->store, cell->pool, &cell->state);
	if (status == STATUS_OK)
		status = orders_open(cell->state, &cell->orders);
	if (status == STATUS_OK)
		status = witness_open(state_worker(cell->state), &settings->fabric.probe_networks, &cell->witness, error);
	const struct membership_uses uses = {.pool = cell->pool,
		.store = cell->store,
		.state = cell->state,
		.vault = cell->vault,
		.registry = cell->registry,
		.applied = on_applied_asked,
		.applied_context = cell->orders,
		.fence = on_fenced,
		.hold = on_held,
		.fence_context = cell};
	if (status == STATUS_OK)
		status = membership_open(&settings->fabric, &settings->nats, &uses, &cell->membership, error);
	if (status == STATUS_OK)
		membership_observe(cell->membership, on_membership, cell);
	cell->admin.membership = cell->membership;
	cell->admin.orders = cell->orders;
	return status;
}

static enum status open_cell(void *context, struct program_settings *program, struct buffer *error)
{
	struct cell *cell = context;
	struct settings *settings = cell->settings = (struct settings *)program;
	cell->pool = worker_pool_new(worker_count(settings));
	enum status status = cell->pool == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	if (status == STATUS_OK)
		status = store_open(&settings->program.store, cell->pool, &cell->store, error);
	if (status == STATUS_OK)
		status = vault_open(&settings->vault, &cell->vault, error);
	if (status == STATUS_OK)
		status = access_open(&settings->program.access, cell->pool, &cell->access, error);
	if (status == STATUS_OK)
		status = registry_open(cell->store, cell->pool, &settings->tenant, &cell->registry);
	if (status == STATUS_OK)
		access_know_participants(cell->access, is_participant, cell);
	cell->admin = (struct admin){
		.store = cell->store, .registry = cell->registry, .access = cell->access, .started_ms = clock_wall_ms()};
	if (status == STATUS_OK)
		status = client_pool_open(cell->pool, &settings->program.client, &cell->client, error);
	if (status == STATUS_OK)
		status = management_open(cell->store, cell->vault, cell->registry, cell->access, &cell->management);
	if (status == STATUS_OK)
		status = open_sources(settings, error);
	if (status == STATUS_OK)
		status = dp_open(&settings->dp, cell->pool, cell->store, cell->vault, cell->registry, cell->access, &cell->dp);
	if (status == STATUS_OK)
		status = did_host_open(cell->registry, cell->pool, &cell->did_host);
	if (status == STATUS_OK)
		status = open_router(cell);
	if (status == STATUS_OK)
		status = open_fabric(cell, error);
	cell->handler = (struct handler){router_handle, cell->router};
	if (status == STATUS_OK)
		status = server_open(
			cell->pool, &settings->program.server, &settings->program.limits, &cell->handler, &cell->server, error);
	if (status == STATUS_OK)
		status = forbid_admin_listeners(cell);
	if (status == STATUS_OK)
		status = store_load(cell->store, error);
	if (status == STATUS_OK)
		status = worker_pool_start(cell->pool);
	if (status == STATUS_OK)
		status = dp_start(cell->dp);
	return status;
}

static void on_turned(void *context)
{
	sem_post(context);
}

static void wait_turned(sem_t *turned)
{
	while (sem_wait(turned) != 0)
		;
}

/* The store's last answers come behind a barrier, what is asked because of them is refused: each a round of turns. */
enum { LAST_TURNS = 3 };

static void close_cell(void *context)
{
	struct cell *cell = context;
	/* What answers workers ends before them; what workers use ends after. The store's last answers may ask the vault
	 * to forget: it ends when they have been heard. */
	sem_t turned;
	membership_leave(cell->membership);
	sem_init(&turned, 0, 0);
	if (cell->dp != NULL) {
		dp_stop(cell->dp, on_turned, &turned);
		wait_turned(&turned);
	}
	dp_settle(cell->dp);
	store_finish(cell->store);
	for (int i = 0; i < LAST_TURNS; i++) {
		worker_pool_barrier(cell->pool, on_turned, &turned);
		wait_turned(&turned);
	}
	sem_destroy(&turned);
	vault_close(cell->vault);
	if (cell->pool != NULL)
		worker_pool_stop(cell->pool);
	store_close(cell->store);
	server_free(cell->server);
	membership_free(cell->membership);
	orders_free(cell->orders);
	witness_free(cell->witness);
	state_free(cell->state);
	router_free(cell->router);
	did_host_free(cell->did_host);
	dp_free(cell->dp);
	management_free(cell->management);
	client_pool_free(cell->client);
	registry_free(cell->registry);
	if (cell->access != NULL)
		access_close(cell->access);
	worker_pool_free(cell->pool);
}

/* --- running */

static void say_ready(void *context, uint64_t started_ms)
{
	const struct cell *cell = context;
	program_say_listeners(&cell->settings->program.server, cell->server);
	LOG(INFO, "cell.ready", log_text("version", TEXT(CELLD_VERSION)),
		log_number("workers", worker_pool_count(cell->pool)),
		log_number("participants", registry_count(cell->registry)),
		log_number("ms", clock_monotonic_ms() - started_ms));
}

static struct program_reloaded reloaded(void *context)
{
	const struct cell *cell = context;
	return (struct program_reloaded){cell->server, cell->access};
}

static void drain(void *context, void (*done)(void *context), void *done_context)
{
	struct cell *cell = context;
	atomic_store(&cell->admin.is_draining, true);
	server_drain(cell->server, done, done_context);
}

int main(int count, char **arguments)
{
	struct cell cell = {0};
	const struct program program = {.name = "celld",
		.summary = "one cell",
		.noun = "cell",
		.state_help = "database, vault, keys, sources",
		.has_workers = true,
		.settings_size = sizeof(struct settings),
		.describe = describe,
		.complete = complete,
		.open = open_cell,
		.say_ready = say_ready,
		.reloaded = reloaded,
		.drain = drain,
		.close = close_cell,
		.context = &cell};
	return program_main(&program, count, arguments);
}
