/* cellbench: load on an HTTP server from a scenario file, latencies by tenant, and what the server spent on it. */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/cellbench/report.h"
#include "server/base/log.h"
#include "server/client.h"
#include "server/worker_pool.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct options {
	const char *scenario, *json, *svg;
	long pid; /* 0: none */
};

static void print_usage(FILE *out)
{
	fputs("cellbench [--pid PID] [--json FILE] [--svg FILE] SCENARIO\n\n"
		  "  --pid PID    the server's process: its CPU time and memory are shown\n"
		  "  --json FILE  everything measured; -: standard output, instead of the table\n"
		  "  --svg FILE   latency over percentiles\n"
		  "bench/README.md tells how scenarios are written.\n",
		out);
}

static void parse_options(int count, char **arguments, struct options *options)
{
	static const struct option long_options[] = {{"pid", required_argument, NULL, 'p'},
		{"json", required_argument, NULL, 'j'}, {"svg", required_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0}};
	uint64_t pid;
	for (int option; (option = getopt_long(count, arguments, "", long_options, NULL)) != -1;) {
		switch (option) {
		case 'p':
			if (text_to_unsigned(text_of(optarg), 1 << 30, &pid) != STATUS_OK) {
				fprintf(stderr, "cellbench: --pid must be a number\n");
				exit(EXIT_USAGE);
			}
			options->pid = (long)pid;
			break;
		case 'j':
			options->json = optarg;
			break;
		case 's':
			options->svg = optarg;
			break;
		case 'h':
			print_usage(stdout);
			exit(0);
		default:
			exit(EXIT_USAGE);
		}
	}
	if (optind != count - 1) {
		print_usage(stderr);
		exit(EXIT_USAGE);
	}
	options->scenario = arguments[optind];
}

static void wait_ms(uint64_t ms)
{
	struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
	while (nanosleep(&left, &left) != 0)
		;
}

static double seconds_now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool look(const struct options *options, struct process_use *use)
{
	return options->pid > 0 && process_read(options->pid, use) == STATUS_OK;
}

/* Warm-up, window, end. */
static enum status run(struct worker_pool *pool, struct load *load, const struct options *options, struct run *run)
{
	enum status status = worker_pool_start(pool);
	if (status != STATUS_OK)
		return status;
	wait_ms(run->scenario->warmup_ms);
	run->has_process = look(options, &run->before);
	load_measure(load, true);
	double started = seconds_now();
	wait_ms(run->scenario->duration_ms);
	load_measure(load, false);
	run->seconds = seconds_now() - started;
	run->has_process = look(options, &run->after) && run->has_process;
	worker_pool_stop(pool);
	return options->pid > 0 && !run->has_process ? STATUS_NOT_FOUND : STATUS_OK;
}

static bool write_file(
	const char *path, void (*print)(const struct run *run, struct buffer *into), const struct run *run)
{
	struct buffer content = {0};
	if (path == NULL)
		return true;
	print(run, &content);
	FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
	bool is_written = file != NULL && !content.failed &&
					  fwrite(content.bytes, 1, content.length, file) == content.length && fflush(file) == 0;
	if (file != NULL && file != stdout)
		fclose(file);
	buffer_free(&content);
	if (!is_written)
		fprintf(stderr, "cellbench: %s: cannot be written\n", path);
	return is_written;
}

static bool has_failures(const struct run *run)
{
	uint64_t failed = 0, requests = 0;
	for (size_t i = 0; i < run->scenario->tenant_count; i++) {
		failed += load_result(run->load, i)->failed;
		requests += load_result(run->load, i)->latency.count;
	}
	return failed > 0 || requests == 0;
}

static int show(const struct run *run, const struct options *options)
{
	if (options->json == NULL || strcmp(options->json, "-") != 0)
		report_table(run, stdout);
	bool is_written = write_file(options->json, report_json, run) && write_file(options->svg, report_svg, run);
	return is_written && !has_failures(run) ? 0 : EXIT_FAILED;
}

int main(int count, char **arguments)
{
	struct options options = {0};
	struct scenario *scenario = NULL;
	struct client_pool *client = NULL;
	struct load *load = NULL;
	struct buffer error = {0};
	struct client_settings settings = {0};
	struct setting_section section = {"client", client_settings_table, client_settings_count, &settings};
	parse_options(count, arguments, &options);
	signal(SIGPIPE, SIG_IGN);
	log_threshold = LOG_WARNING;
	int result = EXIT_FAILED;
	if (scenario_load(options.scenario, &scenario, &error) != STATUS_OK) {
		fprintf(stderr, "%s\n", error.bytes);
		buffer_free(&error);
		return EXIT_USAGE;
	}
	struct worker_pool *pool = worker_pool_new(scenario->threads);
	enum status status = pool == NULL ? STATUS_NO_MEMORY : config_load(NULL, &section, 1, &error);
	settings.connections_per_origin = scenario->is_http2 ? 1 : 100;
	settings.waiting_calls = 1000000;
	settings.stream_window = scenario->window;
	if (status == STATUS_OK)
		status = client_pool_open(pool, &settings, &client, &error);
	if (status == STATUS_OK)
		status = load_open(pool, scenario, &load);
	struct run measured = {.scenario = scenario, .load = load};
	if (status == STATUS_OK)
		status = run(pool, load, &options, &measured);
	if (status == STATUS_OK)
		result = show(&measured, &options);
	else
		fprintf(stderr, "cellbench: %s\n", error.length > 0 ? error.bytes : status_text(status));
	load_free(load);
	client_pool_free(client);
	worker_pool_free(pool);
	config_free(&section, 1);
	scenario_free(scenario);
	buffer_free(&error);
	return result;
}
