/* Opens the rooms in the order they stand on each other. */
#include "control/fabric/fabric.h"

#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/fabric/cells.h"
#include "control/fabric/commands.h"
#include "control/fabric/letters.h"
#include "control/fabric/manager/manager.h"
#include "control/fabric/parked.h"
#include "control/fabric/place/placements.h"
#include "control/fabric/queues.h"
#include "server/base/log.h"
#include "server/base/metric.h"
#include "server/worker_pool.h"

#define FABRIC(name, kind_, ...)                                                                                       \
	{                                                                                                                  \
		.key = #name, .kind = kind_, .offset = offsetof(struct fabric_settings, name), __VA_ARGS__                     \
	}
const struct setting fabric_settings_table[] = {
	FABRIC(tenant_manager, SETTING_BOOL, .preset = "true",
		.help = "serve tenants, cells and profiles, send manifests, take responses"),
	FABRIC(provision_manager, SETTING_BOOL, .preset = "true",
		.help = "serve definitions and orchestrations, take manifests, start activities"),
	FABRIC(stream, SETTING_TEXT, .preset = "cfm-stream", .minimum = 1, .maximum = 128,
		.help = "the stream of manifests, activities and responses"),
	FABRIC(bucket, SETTING_TEXT, .preset = "cfm-bucket", .minimum = 1, .maximum = 128,
		.help = "the key-value bucket of orchestrations"),
	FABRIC(setup_stream, SETTING_BOOL, .preset = "true", .help = "create the stream when it is missing"),
	FABRIC(authentication, SETTING_BOOL, .preset = "true",
		.help = "ask for tokens below /api/v1alpha1; false: something before the listeners must do so"),
};
const size_t fabric_settings_count = sizeof(fabric_settings_table) / sizeof(fabric_settings_table[0]);

enum { ENSURE_RETRY_MS = 2000 };

struct fabric {
	const struct fabric_settings *settings;
	struct manager_settings manager_settings;
	struct access *access;
	struct bus *bus;
	struct state *state;
	struct cells *cells;
	struct placer *placer;
	struct placements *placements;
	struct letters *letters;
	struct commands *commands;
	struct manager *manager;
	struct parked *parked;
	struct pm *pm;
	bool is_refused;
	struct rest *rest;
	struct fleet *fleet; /* NULL: nobody watches the cells */
	struct queues *queues;
	struct timer *ensure; /* tries again to have the stream */
};

/* --- the stream: the first of the managers and agents that comes makes it (cfm.md 3.1) */

static void on_ensured(void *context, enum status status, struct text error)
{
	struct fabric *fabric = context;
	if (status == STATUS_OK) {
		LOG(INFO, "stream.ready", log_text("stream", text_of(fabric->settings->stream)));
		return;
	}
	if (status == STATUS_CLOSED)
		return;
	if (status != STATUS_UNAVAILABLE && status != STATUS_TIMEOUT)
		LOG(ERROR, "stream.refused", log_text("stream", text_of(fabric->settings->stream)), log_text("error", error));
	timer_set(fabric->ensure, ENSURE_RETRY_MS);
}

static void ensure_stream(void *context)
{
	struct fabric *fabric = context;
	struct buffer config = {0};
	buffer_append(&config, TEXT("{\"name\":"));
	buffer_append_json(&config, text_of(fabric->settings->stream));
	buffer_append(&config, TEXT(",\"subjects\":[\"event.*\"],\"retention\":\"workqueue\"}"));
	if (config.failed)
		timer_set(fabric->ensure, ENSURE_RETRY_MS);
	else
		bus_stream_ensure(fabric->bus, text_of(fabric->settings->stream), buffer_text(&config), on_ensured, fabric);
	buffer_free(&config);
}

static void on_bus(void *context, bool is_up)
{
	struct fabric *fabric = context;
	if (is_up && fabric->settings->setup_stream && fabric->pm == NULL)
		ensure_stream(fabric);
}

/* --- life */

static enum status on_start(void *context, struct worker *worker)
{
	struct fabric *fabric = context;
	fabric->ensure = timer_new(worker, ensure_stream, fabric);
	if (fabric->ensure == NULL)
		return STATUS_NO_MEMORY;
	bus_on_state(fabric->bus, on_bus, fabric);
	if (fabric->settings->setup_stream && fabric->pm == NULL)
		ensure_stream(fabric);
	if (fabric->manager != NULL)
		manager_start(fabric->manager, fabric->bus);
	if (fabric->fleet != NULL)
		fleet_start(fabric->fleet, fabric->bus);
	return STATUS_OK;
}

static void on_stop(void *context, struct worker *worker)
{
	struct fabric *fabric = context;
	(void)worker;
	timer_free(fabric->ensure);
	fabric->ensure = NULL;
	if (fabric->fleet != NULL)
		fleet_stop(fabric->fleet);
}

static enum status open_manager(struct fabric *fabric)
{
	fabric->manager_settings = (struct manager_settings){
		fabric->settings->stream, fabric->settings->bucket, fabric->settings->provision_manager};
	if (!fabric->settings->tenant_manager)
		return STATUS_OK;
	enum status status =
		manager_open(&fabric->manager_settings, fabric->state, fabric->cells, fabric->placer, &fabric->manager);
	return status == STATUS_OK ? manager_serve(fabric->manager, fabric->rest) : status;
}

/* --- the provision manager */

static void on_refused(void *context, struct text why)
{
	struct fabric *fabric = context;
	(void)why; /* it is in the log */
	fabric->is_refused = true;
	kill(getpid(), SIGTERM);
}

static bool is_answered(void *context, const struct orchestration *orchestration)
{
	const struct fabric *fabric = context;
	return fabric->manager == NULL || manager_is_answered(fabric->manager, orchestration);
}

static enum status open_provision_manager(
	struct fabric *fabric, const struct pm_settings *settings, struct buffer *error)
{
	if (!fabric->settings->provision_manager)
		return STATUS_OK;
	return pm_open(settings,
		&(struct pm_base){.state = fabric->state,
			.bus = fabric->bus,
			.cells = fabric->cells,
			.rest = fabric->rest,
			.stream = fabric->settings->stream,
			.bucket = fabric->settings->bucket,
			.sets_up_stream = fabric->settings->setup_stream},
		&(struct pm_hooks){.refused = on_refused, .is_answered = is_answered, .context = fabric}, &fabric->pm, error);
}

bool fabric_is_refused(const struct fabric *fabric)
{
	return fabric != NULL && fabric->is_refused;
}

/* What waits, and what the provision manager counts. On the worker: it serves the scrape. */
static void render_metrics(void *context, struct buffer *into)
{
	const struct fabric *fabric = context;
	buffer_printf(into,
		"# HELP celld_letters_waiting messages to agents and managers that the broker has not taken yet\n"
		"# TYPE celld_letters_waiting gauge\ncelld_letters_waiting %zu\n"
		"# HELP celld_parked_messages messages that make no sense and wait for the operator\n"
		"# TYPE celld_parked_messages gauge\ncelld_parked_messages %zu\n",
		letters_waiting(fabric->letters), parked_count(fabric->parked));
	if (fabric->pm != NULL)
		pm_render_metrics(fabric->pm, into);
}

enum status fabric_open(const struct fabric_settings *settings, const struct pm_settings *pm_settings,
	struct store *store, struct worker_pool *pool, struct access *access, struct bus *bus, struct fabric **fabric,
	struct buffer *error)
{
	struct fabric *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->settings = settings;
	made->access = access;
	made->bus = bus;
	enum status status = state_open(store, pool, &made->state);
	if (status == STATUS_OK)
		status = rest_open(access, &made->rest);
	if (status == STATUS_OK)
		status = cells_open(made->state, &made->cells);
	if (status == STATUS_OK)
		status = placer_open(made->state, made->cells, &made->placer);
	if (status == STATUS_OK)
		status = placements_open(made->placer, made->state, made->rest, &made->placements);
	if (status == STATUS_OK)
		status = letters_open(made->state, bus, &made->letters);
	if (status == STATUS_OK)
		status = parked_open(made->state, bus, made->rest, &made->parked);
	if (status == STATUS_OK)
		status = commands_open(made->state, made->cells, bus, &made->commands);
	if (status == STATUS_OK)
		status = commands_serve(made->commands, made->rest);
	if (status == STATUS_OK)
		status = open_manager(made);
	if (status == STATUS_OK)
		status = open_provision_manager(made, pm_settings, error);
	if (status != STATUS_OK) {
		fabric_free(made);
		return status;
	}
	if (!settings->authentication) {
		rest_ask_nobody(made->rest, "/api/v1alpha1");
		LOG(WARNING, "fabric.no_authentication", log_text("below", TEXT("/api/v1alpha1")));
	}
	metric_add_source(render_metrics, made);
	worker_pool_on_start(pool, on_start, made);
	worker_pool_on_stop(pool, on_stop, made);
	*fabric = made;
	return STATUS_OK;
}

/* --- the cells */

static int64_t used_of(void *context, const struct cell_record *cell)
{
	return placer_used(((const struct fabric *)context)->placer, cell, NULL);
}

static void on_measured(void *context, uint32_t slot, unsigned ready, int load)
{
	placer_measure(((const struct fabric *)context)->placer, slot, ready, load);
}

static void on_held(void *context, bool is_held)
{
	const struct fabric *fabric = context;
	commands_hold(fabric->commands, is_held);
	letters_hold(fabric->letters, is_held);
	if (fabric->pm != NULL)
		pm_hold(fabric->pm, is_held);
}

static void on_adopted(void *context, int64_t revision, int64_t shift)
{
	commands_adopt(((const struct fabric *)context)->commands, revision, shift);
}

static void on_leadership(void *context, bool leads)
{
	struct fabric *fabric = context;
	commands_lead(fabric->commands, leads, fleet_term(fabric->fleet));
}

enum status fabric_watch_cells(struct fabric *fabric, const struct fleet_settings *settings,
	const struct bus_settings *bus_settings, struct own_credentials *own, struct buffer *error)
{
	const struct fleet_uses uses = {.state = fabric->state,
		.cells = fabric->cells,
		.access = fabric->access,
		.own = own,
		.used = used_of,
		.measured = on_measured,
		.placer_context = fabric,
		.held = on_held,
		.adopted = on_adopted,
		.orders_context = fabric};
	enum status status = fleet_open(settings, &bus_settings->urls, &uses, &fabric->fleet, error);
	if (status != STATUS_OK)
		return status;
	fleet_observe(fabric->fleet, on_leadership, fabric);
	rest_guard(fabric->rest, "/api/v1alpha1", fleet_refusal, fabric->fleet);
	status = queues_open(fabric->state, fabric->cells, fabric->bus, text_of(fabric->settings->stream),
		&settings->activities, &fabric->queues);
	if (status != STATUS_OK)
		return status;
	return fleet_serve(fabric->fleet, fabric->rest);
}

struct leaving {
	struct task task;
	struct fabric *fabric;
	sem_t left;
};

static void leave(struct task *task)
{
	struct leaving *leaving = (struct leaving *)task;
	fleet_leave(leaving->fabric->fleet);
	sem_post(&leaving->left);
}

void fabric_leave(struct fabric *fabric)
{
	struct leaving leaving = {{.run = leave}, fabric, {{0}}};
	if (fabric == NULL || fabric->fleet == NULL)
		return;
	sem_init(&leaving.left, 0, 0);
	worker_post(state_worker(fabric->state), &leaving.task);
	while (sem_wait(&leaving.left) != 0)
		continue;
	sem_destroy(&leaving.left);
}

void fabric_free(struct fabric *fabric)
{
	if (fabric == NULL)
		return;
	fleet_free(fabric->fleet);
	queues_free(fabric->queues);
	pm_free(fabric->pm);
	manager_free(fabric->manager);
	parked_free(fabric->parked);
	commands_free(fabric->commands);
	letters_free(fabric->letters);
	placements_free(fabric->placements);
	placer_free(fabric->placer);
	cells_free(fabric->cells);
	rest_free(fabric->rest);
	state_free(fabric->state);
	free(fabric);
}

void fabric_handle(void *context, struct exchange *exchange)
{
	rest_handle(((struct fabric *)context)->rest, exchange);
}

void fabric_lines(const struct fabric *fabric, struct buffer *into)
{
	if (fabric->fleet != NULL)
		fleet_lines(fabric->fleet, into);
	bus_line(fabric->bus, into);
	buffer_append_byte(into, '\n');
	letters_line(fabric->letters, into);
	buffer_append_byte(into, '\n');
	if (fabric->pm != NULL) {
		pm_line(fabric->pm, into);
		buffer_append_byte(into, '\n');
	}
	commands_line(fabric->commands, into);
	buffer_append_byte(into, '\n');
	buffer_printf(into, "%zu messages are parked\n", parked_count(fabric->parked));
}
