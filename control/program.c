/* The life of a program: settings, start, signals, end. */
#include "control/program.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/worker_pool.h"

/* Read by jemalloc where it is linked: memory of a burst goes back within seconds, on a thread of its own. */
extern const char *malloc_conf;
const char *malloc_conf = "background_thread:true,dirty_decay_ms:2000,muzzy_decay_ms:0";

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
static const size_t log_settings_count = sizeof(log_settings_table) / sizeof(log_settings_table[0]);

/* --- settings */

void program_section(
	struct program_settings *settings, const char *name, const struct setting *table, size_t count, void *target)
{
	if (settings->count == PROGRAM_SECTIONS_MAX)
		abort();
	settings->sections[settings->count++] = (struct setting_section){name, table, count, target};
}

bool program_default_path(char **into, const struct program_options *options, const char *name)
{
	return *into != NULL || asprintf(into, "%s/%s", options->state, name) >= 0;
}

static void settings_free(struct program_settings *settings)
{
	if (settings == NULL)
		return;
	config_free(settings->sections, settings->count);
	free(settings);
}

static void describe(struct program_settings *settings)
{
	program_section(settings, "server", server_settings_table, server_settings_count, &settings->server);
	program_section(settings, "limits", limits_settings, limits_setting_count, &settings->limits);
	program_section(settings, "client", client_settings_table, client_settings_count, &settings->client);
	program_section(settings, "store", store_settings_table, store_settings_count, &settings->store);
	program_section(settings, "access", access_settings_table, access_settings_count, &settings->access);
}

/* NULL, with one line in `error`. */
static struct program_settings *settings_load(
	const struct program *program, const struct program_options *options, struct buffer *error)
{
	struct program_settings *settings = calloc(1, program->settings_size);
	if (settings != NULL) {
		describe(settings);
		program->describe(settings);
		program_section(settings, "log", log_settings_table, log_settings_count, &settings->log);
		if (config_load(options->config, settings->sections, settings->count, error) == STATUS_OK &&
			program->complete(settings, options, error))
			return settings;
	}
	settings_free(settings);
	if (error->length == 0)
		buffer_append(error, TEXT("out of memory"));
	return NULL;
}

/* --- the log */

static enum status open_log(const struct log_settings *settings, struct buffer *error)
{
	int descriptor = STDERR_FILENO;
	if (settings->file != NULL)
		descriptor = open(settings->file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (descriptor < 0) {
		buffer_printf(error, "log.file: %s: %m", settings->file);
		return STATUS_IO;
	}
	return log_open(descriptor, (enum log_level)settings->level);
}

void program_say_listeners(const struct server_settings *settings, const struct server *server)
{
	const struct listener_settings *listeners = settings->listeners.items;
	for (size_t i = 0; i < settings->listeners.count; i++)
		LOG(INFO, "listener.open", log_text("address", text_of(listeners[i].address)),
			log_number("port", server_port(server, i)),
			log_text("role", listeners[i].role == LISTENER_ADMIN ? TEXT("admin") : TEXT("public")));
}

/* "cell.draining"; good until the next call. */
static const char *event_name(const struct program *program, const char *verb)
{
	static char name[64]; /* of the main thread */
	snprintf(name, sizeof(name), "%s.%s", program->noun, verb);
	return name;
}

/* --- reload */

/* {section, key or NULL for all of it} that is put into force without a restart. */
static bool is_reloaded(const char *section, const char *key)
{
	static const char *const reloaded[][2] = {{"limits", NULL}, {"log", "level"}, {"server", "certificate_file"},
		{"server", "key_file"}, {"server", "client_ca_file"}};
	for (size_t i = 0; i < sizeof(reloaded) / sizeof(reloaded[0]); i++) {
		if (strcmp(reloaded[i][0], section) == 0 && (reloaded[i][1] == NULL || strcmp(reloaded[i][1], key) == 0))
			return true;
	}
	return false;
}

/* All of it or nothing: a broken certificate or key set leaves everything as it was. */
static enum status apply(const struct program *program, const struct program_settings *settings, struct buffer *error)
{
	struct program_reloaded reloaded = program->reloaded(program->context);
	enum status status = server_check_certificates(reloaded.server, &settings->server, error);
	if (status == STATUS_OK)
		status = access_reload(reloaded.access, error);
	if (status == STATUS_OK)
		status = server_reload_certificates(reloaded.server, &settings->server, error);
	if (status == STATUS_OK)
		status = server_change_limits(reloaded.server, &settings->limits);
	return status;
}

static void tell_what_waits(
	const struct program *program, const struct program_settings *now, const struct program_settings *next)
{
	for (size_t i = 0; i < now->count; i++) {
		const struct setting_section *section = &now->sections[i];
		for (size_t j = 0; j < section->count; j++) {
			const struct setting *setting = &section->settings[j];
			if (!is_reloaded(section->name, setting->key) &&
				!config_is_same(setting, section->target, next->sections[i].target))
				LOG(WARNING, event_name(program, "setting_waits"), log_text("section", text_of(section->name)),
					log_text("key", text_of(setting->key)), log_text("until", TEXT("the next start")));
		}
	}
}

static void reload(
	const struct program *program, const struct program_settings *now, const struct program_options *options)
{
	struct buffer error = {0};
	struct program_settings *settings = settings_load(program, options, &error);
	enum status status = settings == NULL ? STATUS_INVALID : apply(program, settings, &error);
	if (status == STATUS_OK) {
		log_threshold = (enum log_level)settings->log.level;
		tell_what_waits(program, now, settings);
		LOG(INFO, event_name(program, "reloaded"),
			log_text("config", text_of(options->config == NULL ? "defaults" : options->config)));
	} else {
		struct text what = error.length > 0 ? buffer_text(&error) : text_of(status_text(status));
		LOG(ERROR, event_name(program, "reload_refused"), log_text("error", what));
	}
	settings_free(settings);
	buffer_free(&error);
}

/* --- running */

static void on_drained(void *context)
{
	(void)context;
	kill(getpid(), SIGUSR2);
}

static void run(const struct program *program, const struct program_settings *settings,
	const struct program_options *options, const sigset_t *signals)
{
	size_t reloads = 0;
	for (bool is_draining = false;;) {
		int number = 0;
		if (sigwait(signals, &number) != 0)
			continue;
		if (number == SIGHUP) {
			reload(program, settings, options);
			reloads++;
		} else if (number == SIGUSR2) {
			break;
		} else if (is_draining) {
			LOG(WARNING, event_name(program, "end"), log_text("why", TEXT("second signal")));
			break;
		} else {
			LOG(INFO, event_name(program, "draining"), log_number("signal", number));
			is_draining = true;
			program->drain(program->context, on_drained, NULL);
		}
	}
	LOG(INFO, event_name(program, "ended"), log_number("reloads", reloads));
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

/* Blocked before any thread starts, so that only the main thread takes them. */
static void block_signals(sigset_t *signals)
{
	sigemptyset(signals);
	for (const int *number = (const int[]){SIGTERM, SIGINT, SIGHUP, SIGUSR2, 0}; *number != 0; number++)
		sigaddset(signals, *number);
	pthread_sigmask(SIG_BLOCK, signals, NULL);
}

/* --- the command line */

static void print_usage(const struct program *program, FILE *out)
{
	fprintf(out,
		"%s: %s\n\n"
		"  --config FILE    settings; none: the defaults\n"
		"  --state DIR      %s (default ./state)\n"
		"%s"
		"  --print-config   every effective setting with its meaning\n"
		"  --check-config   read the settings, say what is wrong, end\n"
		"  --version, --help\n",
		program->name, program->summary, program->state_help,
		program->has_workers ? "  --workers N      instead of server.workers\n" : "");
}

static const struct option long_options[] = {{"config", required_argument, NULL, 'c'},
	{"state", required_argument, NULL, 's'}, {"print-config", no_argument, NULL, 'p'},
	{"check-config", no_argument, NULL, 'k'}, {"version", no_argument, NULL, 'v'}, {"help", no_argument, NULL, 'h'},
	{"workers", required_argument, NULL, 'w'}, {NULL, 0, NULL, 0}};

/* -1: go on; else the exit code. */
static int parse_options(const struct program *program, int count, char **arguments, struct program_options *options)
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
			if (!program->has_workers || text_to_unsigned(text_of(optarg), WORKERS_MAX, &workers) != STATUS_OK ||
				workers == 0) {
				fprintf(stderr,
					program->has_workers ? "%s: --workers must be 1 to %d\n" : "%s: there is one worker, no more\n",
					program->name, WORKERS_MAX);
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
			printf("%s " CELLD_VERSION "\n", program->name);
			return 0;
		case 'h':
			print_usage(program, stdout);
			return 0;
		default:
			return EXIT_CONFIG;
		}
	}
	if (optind < count) {
		fprintf(stderr, "%s: unknown argument %s\n", program->name, arguments[optind]);
		return EXIT_CONFIG;
	}
	return -1;
}

/* Opens, waits for the end, closes. */
static int serve(const struct program *program, struct program_settings *settings,
	const struct program_options *options, uint64_t started_ms)
{
	sigset_t signals;
	struct buffer error = {0};
	block_signals(&signals);
	enum status status = open_log(&settings->log, &error);
	if (status == STATUS_OK)
		status = program->open(program->context, settings, &error);
	if (status == STATUS_OK) {
		program->say_ready(program->context, started_ms);
		run(program, settings, options, &signals);
	} else if (error.length == 0) {
		buffer_printf(&error, "cannot start: %s", status_text(status));
	}
	program->close(program->context);
	log_close();
	if (status != STATUS_OK)
		fprintf(stderr, "%s%s%s\n", options->config == NULL ? "" : options->config, options->config == NULL ? "" : ": ",
			error.bytes == NULL ? "out of memory" : error.bytes);
	buffer_free(&error);
	return status == STATUS_OK ? 0 : EXIT_CONFIG;
}

int program_main(const struct program *program, int count, char **arguments)
{
	uint64_t started_ms = clock_monotonic_ms();
	struct program_options options = {.state = "state"};
	int code = parse_options(program, count, arguments, &options);
	if (code >= 0)
		return code;
	harden();
	struct buffer error = {0};
	struct program_settings *settings = settings_load(program, &options, &error);
	if (settings == NULL) {
		fprintf(stderr, "%s\n", error.bytes == NULL ? "out of memory" : error.bytes);
		code = EXIT_CONFIG;
	} else if (options.print_config || options.check_config) {
		if (options.print_config)
			config_print(stdout, settings->sections, settings->count);
		code = 0;
	} else if (mkdir(options.state, 0700) != 0 && errno != EEXIST) {
		fprintf(stderr, "%s: %m\n", options.state);
		code = EXIT_CONFIG;
	} else {
		code = serve(program, settings, &options, started_ms);
	}
	settings_free(settings);
	buffer_free(&error);
	return code;
}
