/* celld: one cell. This file only wires the rooms together: settings, start, signals, end. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/celld_admin.h"
#include "router/router.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/client.h"
#include "server/server.h"
#include "tenants/cp/management.h"
#include "tenants/did_host.h"
#include "tenants/dp/dp.h"
#include "tenants/dp/signaling/public_keys.h"
#include "tenants/dp/signaling/siglet.h"

enum { EXIT_CONFIG = 2 };

/* Read by jemalloc where it is linked: memory of a burst goes back within seconds, on a thread of its own. */
extern const char *malloc_conf;
const char *malloc_conf = "background_thread:true,dirty_decay_ms:2000,muzzy_decay_ms:0";

struct log_settings {
	int level;
	char *file;
};
static const char *const levels[] = {"debug", "info", "warning", "error", NULL};
static const struct setting log_settings_table[] = {
	{.key = "level",
		.kind = SETTING_CHOICE,
		.offset = offsetof(struct log_settings, level),
		.preset = "info",
		.choices = levels,
		.help = "what is written; every request is an info line"},
	{.key = "file",
		.kind = SETTING_TEXT,
		.offset = offsetof(struct log_settings, file),
		.minimum = 1,
		.maximum = 4096,
		.help = "appended to; null: standard error"},
};

/* Everything configurable. */
struct settings {
	struct server_settings server;
	struct limits limits;
	struct client_settings client;
	struct store_settings store;
	struct vault_settings vault;
	struct access_settings access;
	struct tenant_settings tenant;
	struct router_settings router;
	struct dp_settings dp;
	struct log_settings log;
	struct setting_section sections[10];
};
enum { SECTIONS = sizeof(((struct settings *)0)->sections) / sizeof(struct setting_section) };

struct options {
	const char *config, *state;
	long workers;
	bool print_config, check_config;
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
	struct server *server;
	struct admin admin;
	struct handler handler;
	int log_descriptor;
};

/* --- settings */

static void describe_sections(struct settings *settings)
{
	const struct setting_section sections[SECTIONS] = {
		{"server", server_settings_table, server_settings_count, &settings->server},
		{"limits", limits_settings, limits_setting_count, &settings->limits},
		{"client", client_settings_table, client_settings_count, &settings->client},
		{"store", store_settings_table, store_settings_count, &settings->store},
		{"vault", vault_settings_table, vault_settings_count, &settings->vault},
		{"access", access_settings_table, access_settings_count, &settings->access},
		{"tenant", tenant_settings_table, tenant_settings_count, &settings->tenant},
		{"router", router_settings_table, router_settings_count, &settings->router},
		{"dp", dp_settings_table, dp_settings_count, &settings->dp},
		{"log", log_settings_table, sizeof(log_settings_table) / sizeof(log_settings_table[0]), &settings->log},
	};
	memcpy(settings->sections, sections, sizeof(sections));
}

static void settings_free(struct settings *settings)
{
	if (settings == NULL)
		return;
	config_free(settings->sections, SECTIONS);
	free(settings);
}

/* What is not set lies in the state directory. */
static bool set_path(char **into, const char *state, const char *name)
{
	return *into != NULL || asprintf(into, "%s/%s", state, name) >= 0;
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

static struct settings *settings_load(const struct options *options, struct buffer *error)
{
	struct settings *settings = calloc(1, sizeof(*settings));
	if (settings == NULL)
		return NULL;
	describe_sections(settings);
	if (config_load(options->config, settings->sections, SECTIONS, error) != STATUS_OK ||
		!check_texts(settings, options->config, error)) {
		settings_free(settings);
		return NULL;
	}
	if (options->workers > 0)
		settings->server.workers = options->workers;
	if (!set_path(&settings->store.file, options->state, "cell.db") ||
		!set_path(&settings->vault.directory, options->state, "vault") ||
		!set_path(&settings->access.key_file, options->state, "cell.key") ||
		!set_path(&settings->dp.source_root, options->state, "sources") ||
		!set_path(&settings->dp.cell_file, options->state, "cell.id")) {
		buffer_printf(error, "out of memory");
		settings_free(settings);
		return NULL;
	}
	return settings;
}

/* --- opening */

static unsigned worker_count(const struct settings *settings)
{
	cpu_set_t cores;
	if (settings->server.workers > 0)
		return (unsigned)settings->server.workers;
	CPU_ZERO(&cores);
	int count = sched_getaffinity(0, sizeof(cores), &cores) == 0 ? CPU_COUNT(&cores) : 1;
	return count < 1 ? 1 : count > WORKERS_MAX ? WORKERS_MAX : (unsigned)count;
}

static enum status open_log(struct cell *cell, struct buffer *error)
{
	const struct log_settings *settings = &cell->settings->log;
	cell->log_descriptor = STDERR_FILENO;
	if (settings->file != NULL)
		cell->log_descriptor = open(settings->file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (cell->log_descriptor < 0) {
		buffer_printf(error, "log.file: %s: %m", settings->file);
		return STATUS_IO;
	}
	return log_open(cell->log_descriptor, (enum log_level)settings->level);
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
		{TEXT("/api/cell/v1/status"), ROUTE_CELL, 0, LISTENER_PUBLIC, false, {"admin", admin_status, admin}},
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
	const struct listener_settings *listeners = cell->settings->server.listeners.items;
	enum status status = STATUS_OK;
	for (size_t i = 0; i < cell->settings->server.listeners.count && status == STATUS_OK; i++) {
		struct text address = text_of(listeners[i].address);
		if (listeners[i].role == LISTENER_ADMIN && !text_starts_with(address, TEXT("unix:")))
			status = client_pool_forbid(cell->client, address, (uint16_t)server_port(cell->server, i));
	}
	return status;
}

static enum status cell_open(struct cell *cell, struct buffer *error)
{
	struct settings *settings = cell->settings;
	enum status status = open_log(cell, error);
	cell->pool = status == STATUS_OK ? worker_pool_new(worker_count(settings)) : NULL;
	if (status == STATUS_OK && cell->pool == NULL)
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		status = store_open(&settings->store, cell->pool, &cell->store, error);
	if (status == STATUS_OK)
		status = vault_open(&settings->vault, &cell->vault, error);
	if (status == STATUS_OK)
		status = access_open(&settings->access, cell->pool, &cell->access, error);
	if (status == STATUS_OK)
		status = registry_open(cell->store, cell->pool, &settings->tenant, &cell->registry);
	if (status == STATUS_OK)
		access_know_participants(cell->access, is_participant, cell);
	cell->admin = (struct admin){
		.store = cell->store, .registry = cell->registry, .access = cell->access, .started_ms = clock_wall_ms()};
	if (status == STATUS_OK)
		status = client_pool_open(cell->pool, &settings->client, &cell->client, error);
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
	cell->handler = (struct handler){router_handle, cell->router};
	if (status == STATUS_OK)
		status = server_open(cell->pool, &settings->server, &settings->limits, &cell->handler, &cell->server, error);
	if (status == STATUS_OK)
		status = forbid_admin_listeners(cell);
	if (status == STATUS_OK)
		status = store_load(cell->store, error);
	if (status == STATUS_OK)
		status = worker_pool_start(cell->pool);
	if (status == STATUS_OK)
		status = dp_start(cell->dp);
	if (status != STATUS_OK && error->length == 0)
		buffer_printf(error, "cannot start: %s", status_text(status));
	return status;
}

static void on_turned(void *context)
{
	sem_post(context);
}

/* Also what is half open. */
static void cell_close(struct cell *cell)
{
	/* What answers workers ends before them; what workers use ends after. The store's last answers may ask the vault
	 * to forget: it ends when they have been heard. */
	sem_t turned;
	sem_init(&turned, 0, 0);
	if (cell->dp != NULL) {
		dp_stop(cell->dp, on_turned, &turned);
		while (sem_wait(&turned) != 0)
			;
	}
	dp_settle(cell->dp);
	store_close(cell->store);
	worker_pool_barrier(cell->pool, on_turned, &turned);
	while (sem_wait(&turned) != 0)
		;
	sem_destroy(&turned);
	vault_close(cell->vault);
	if (cell->pool != NULL)
		worker_pool_stop(cell->pool);
	server_free(cell->server);
	router_free(cell->router);
	did_host_free(cell->did_host);
	dp_free(cell->dp);
	management_free(cell->management);
	client_pool_free(cell->client);
	registry_free(cell->registry);
	if (cell->access != NULL)
		access_close(cell->access);
	worker_pool_free(cell->pool);
	log_close();
	settings_free(cell->settings);
}

/* --- running */

static void say_ready(const struct cell *cell, uint64_t started_ms)
{
	const struct listener_settings *listeners = cell->settings->server.listeners.items;
	for (size_t i = 0; i < cell->settings->server.listeners.count; i++)
		LOG(INFO, "listener.open", log_text("address", text_of(listeners[i].address)),
			log_number("port", server_port(cell->server, i)),
			log_text("role", listeners[i].role == LISTENER_ADMIN ? TEXT("admin") : TEXT("public")));
	LOG(INFO, "cell.ready", log_text("version", TEXT(CELLD_VERSION)),
		log_number("workers", worker_pool_count(cell->pool)),
		log_number("participants", registry_count(cell->registry)),
		log_number("ms", clock_monotonic_ms() - started_ms));
}

/* What a reload puts into force; the rest is for the next start. */
static bool is_reloaded(const char *section, const char *key)
{
	static const char *const reloaded[][2] = {{"limits", NULL}, {"server", "certificate_file"}, {"server", "key_file"},
		{"server", "client_ca_file"}, {"log", "level"}};
	for (size_t i = 0; i < sizeof(reloaded) / sizeof(reloaded[0]); i++) {
		if (strcmp(reloaded[i][0], section) == 0 && (reloaded[i][1] == NULL || strcmp(reloaded[i][1], key) == 0))
			return true;
	}
	return false;
}

static void tell_what_waits(const struct settings *now, const struct settings *next)
{
	for (size_t i = 0; i < SECTIONS; i++) {
		const struct setting_section *section = &now->sections[i];
		for (size_t j = 0; j < section->count; j++) {
			const struct setting *setting = &section->settings[j];
			if (!is_reloaded(section->name, setting->key) &&
				!config_is_same(setting, section->target, next->sections[i].target))
				LOG(WARNING, "cell.setting_waits", log_text("section", text_of(section->name)),
					log_text("key", text_of(setting->key)), log_text("until", TEXT("the next start")));
		}
	}
}

/* A broken certificate or key set leaves everything as it was. */
static enum status apply(struct cell *cell, const struct settings *settings, struct buffer *error)
{
	enum status status = server_check_certificates(cell->server, &settings->server, error);
	if (status == STATUS_OK)
		status = access_reload(cell->access, error);
	if (status == STATUS_OK)
		status = server_reload_certificates(cell->server, &settings->server, error);
	if (status == STATUS_OK)
		status = server_change_limits(cell->server, &settings->limits);
	return status;
}

static void reload(struct cell *cell, const struct options *options)
{
	struct buffer error = {0};
	struct settings *settings = settings_load(options, &error);
	enum status status = settings == NULL ? STATUS_INVALID : apply(cell, settings, &error);
	if (status == STATUS_OK) {
		log_threshold = (enum log_level)settings->log.level;
		tell_what_waits(cell->settings, settings);
		LOG(INFO, "cell.reloaded", log_text("config", text_of(options->config == NULL ? "defaults" : options->config)));
	} else {
		struct text what = error.length > 0 ? buffer_text(&error) : text_of(status_text(status));
		LOG(ERROR, "cell.reload_refused", log_text("error", what));
	}
	settings_free(settings);
	buffer_free(&error);
}

static void on_drained(void *context)
{
	(void)context;
	kill(getpid(), SIGUSR2);
}

static void run(struct cell *cell, const struct options *options, const sigset_t *signals)
{
	size_t reloads = 0;
	for (;;) {
		int number = 0;
		if (sigwait(signals, &number) != 0)
			continue;
		if (number == SIGHUP) {
			reload(cell, options);
			reloads++;
		} else if (number == SIGUSR2) {
			break;
		} else if (atomic_exchange(&cell->admin.is_draining, true)) {
			LOG(WARNING, "cell.end", log_text("why", TEXT("second signal")));
			break;
		} else {
			LOG(INFO, "cell.draining", log_number("signal", number));
			server_drain(cell->server, on_drained, NULL);
		}
	}
	LOG(INFO, "cell.ended", log_number("reloads", reloads));
	struct settings *settings = cell->settings;
	cell->settings = NULL;
	cell_close(cell);
	settings_free(settings);
}

static void harden(void)
{
	struct rlimit none = {0, 0}, files;
	umask(077);
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a write beyond the file size limit fails as on a full disk */
}

/* --- the command line */

static void print_usage(FILE *out)
{
	fputs("celld: one cell\n\n"
		  "  --config FILE    settings; none: the defaults\n"
		  "  --state DIR      database, vault, keys, sources (default ./state)\n"
		  "  --workers N      instead of server.workers\n"
		  "  --print-config   every effective setting with its meaning\n"
		  "  --check-config   read the settings, say what is wrong, end\n"
		  "  --version, --help\n",
		out);
}

static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
	{"state", required_argument, NULL, 's'}, {"workers", required_argument, NULL, 'w'},
	{"print-config", no_argument, NULL, 'p'}, {"check-config", no_argument, NULL, 'k'},
	{"version", no_argument, NULL, 'v'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0}};

/* -1: go on; else the exit code. */
static int parse_options(int count, char **arguments, struct options *options)
{
	uint64_t workers;
	/* before any thread */
	for (int option;
		 (option = getopt_long(count, arguments, "", long_options, NULL)) != -1;) { /* NOLINT(concurrency-mt-unsafe) */
		switch (option) {
		case 'c':
			options->config = optarg;
			break;
		case 's':
			options->state = optarg;
			break;
		case 'w':
			if (text_to_unsigned(text_of(optarg), WORKERS_MAX, &workers) != STATUS_OK || workers == 0) {
				fprintf(stderr, "celld: --workers must be 1 to %d\n", WORKERS_MAX);
				return EXIT_CONFIG;
			}
			options->workers = (long)workers;
			break;
		case 'p':
			options->print_config = true;
			break;
		case 'k':
			options->check_config = true;
			break;
		case 'v':
			puts("celld " CELLD_VERSION);
			return 0;
		case 'h':
			print_usage(stdout);
			return 0;
		default:
			return EXIT_CONFIG;
		}
	}
	if (optind < count) {
		fprintf(stderr, "celld: unknown argument %s\n", arguments[optind]);
		return EXIT_CONFIG;
	}
	return -1;
}

int main(int count, char **arguments)
{
	uint64_t started_ms = clock_monotonic_ms();
	struct options options = {.state = "state"};
	int code = parse_options(count, arguments, &options);
	if (code >= 0)
		return code;
	harden();
	struct buffer error = {0};
	struct cell cell = {.settings = settings_load(&options, &error)};
	if (cell.settings == NULL) {
		fprintf(stderr, "%s\n", error.bytes == NULL ? "out of memory" : error.bytes);
		buffer_free(&error);
		return EXIT_CONFIG;
	}
	if (options.print_config || options.check_config) {
		if (options.print_config)
			config_print(stdout, cell.settings->sections, SECTIONS);
		settings_free(cell.settings);
		return 0;
	}
	if (mkdir(options.state, 0700) != 0 && errno != EEXIST) {
		fprintf(stderr, "%s: %m\n", options.state);
		return EXIT_CONFIG;
	}
	/* blocked before any thread starts, so that only the main thread takes them */
	sigset_t signals;
	sigemptyset(&signals);
	for (const int *number = (const int[]){SIGTERM, SIGINT, SIGHUP, SIGUSR2, 0}; *number != 0; number++)
		sigaddset(&signals, *number);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	if (cell_open(&cell, &error) != STATUS_OK) {
		cell_close(&cell);
		fprintf(stderr, "%s%s%s\n", options.config == NULL ? "" : options.config, options.config == NULL ? "" : ": ",
			error.bytes);
		buffer_free(&error);
		return EXIT_CONFIG;
	}
	say_ready(&cell, started_ms);
	run(&cell, &options, &signals);
	buffer_free(&error);
	return 0;
}
