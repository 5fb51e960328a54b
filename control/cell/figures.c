/* Figures of the cell, sampled. */
#include "control/cell/figures.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "router/router.h"
#include "server/base/clock.h"
#include "server/base/metric.h"

enum { SAMPLE_MS = 5000, SAMPLES = 13, LATE_MS = 5000 }; /* 12 spans of 5 s: a minute */
#define PROBE_CTX "celld-fabric"

static const char *const labels[BEAT_COMPONENT_COUNT] = {"component=\"cp\"", "component=\"dp\"", "component=\"cs\""};

struct sample {
	uint64_t at_ms;
	int64_t times[BEAT_COMPONENT_COUNT][METRIC_BUCKETS], failures[BEAT_COMPONENT_COUNT];
	int64_t sent;
	uint64_t cpu_us;
};

/* A store that is asked now and then. */
struct question {
	uint64_t asked_us; /* 0: nothing is under way */
	uint32_t latency_us;
	enum beat_store_state state;
};

struct figures {
	struct store *store;
	struct vault *vault;
	struct registry *registry;
	struct worker *worker;
	struct timer *timer;
	int times[BEAT_COMPONENT_COUNT], failures[BEAT_COMPONENT_COUNT], sent, open_connections;
	struct sample samples[SAMPLES]; /* a ring */
	size_t newest, count;
	struct question database, safe;
	int memory_file; /* /proc/self/statm */
	/* what this cell's own metrics say, as told */
	int vpas[VPA_TYPE_COUNT], cpu, memory;
	struct beat_figures told;
};

static uint64_t now_us(void)
{
	return clock_monotonic_ns() / 1000;
}

static void register_own(struct figures *figures)
{
	static const char *const types[VPA_TYPE_COUNT] = {
#define VPA_LABEL(name, text) "type=\"" text "\"",
		VPA_LIST(VPA_LABEL)
#undef VPA_LABEL
	};
	static const char utilization[] = "celld_resource_utilization_percent", help[] = "Of the machine, by this cell";
	for (int i = 0; i < VPA_TYPE_COUNT; i++)
		figures->vpas[i] = metric_register(METRIC_GAUGE, "celld_vpas", types[i], "VPAs of activated participants");
	figures->cpu = metric_register(METRIC_GAUGE, utilization, "resource=\"cpu\"", help);
	figures->memory = metric_register(METRIC_GAUGE, utilization, "resource=\"memory\"", help);
}

enum status figures_open(struct store *store, struct vault *vault, struct registry *registry, struct figures **figures)
{
	struct figures *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->store = store;
	made->vault = vault;
	made->registry = registry;
	for (int i = 0; i < BEAT_COMPONENT_COUNT; i++) {
		made->times[i] = metric_register(METRIC_HISTOGRAM, ROUTER_TIME_METRIC, labels[i], "Requests of a runtime");
		made->failures[i] =
			metric_register(METRIC_COUNTER, ROUTER_FAILURES_METRIC, labels[i], "Answers of class 5xx of a runtime");
	}
	made->sent = metric_register(
		METRIC_COUNTER, "celld_http_response_body_bytes_total", NULL, "Response body bytes given to connections");
	made->open_connections = metric_register(METRIC_GAUGE, "celld_connections_open", NULL, "Connections that are open");
	register_own(made);
	made->memory_file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	*figures = made;
	return STATUS_OK;
}

void figures_free(struct figures *figures)
{
	if (figures == NULL)
		return;
	if (figures->memory_file >= 0)
		close(figures->memory_file);
	free(figures);
}

/* --- database and vault */

static void begin(struct question *question)
{
	question->asked_us = now_us();
}

static void end(struct question *question, bool is_good)
{
	question->latency_us = (uint32_t)(now_us() - question->asked_us);
	question->state = is_good ? BEAT_STORE_OK : BEAT_STORE_DOWN;
	question->asked_us = 0;
}

static void on_database(void *context, enum status status, const struct record *records, size_t count)
{
	struct figures *figures = context;
	(void)records, (void)count;
	end(&figures->database, status == STATUS_OK);
}

static void on_vault(void *context, enum status status, struct text result)
{
	struct figures *figures = context;
	(void)result;
	end(&figures->safe, status == STATUS_OK || status == STATUS_NOT_FOUND);
}

static void ask(struct figures *figures)
{
	if (figures->database.asked_us == 0) {
		begin(&figures->database);
		store_list(figures->store, TEXT(""), RECORD_RECEIPT, TEXT_NONE, 1, figures->worker, on_database, figures);
	}
	if (figures->safe.asked_us == 0) {
		begin(&figures->safe);
		vault_secret_get(figures->vault, TEXT(PROBE_CTX), TEXT("latency"), figures->worker, on_vault, figures);
	}
}

/* One that has not answered for long is down, whatever it said before. */
static void fill_store(const struct question *question, enum beat_store store, struct beat_figures *into)
{
	uint64_t waited_us = question->asked_us == 0 ? 0 : now_us() - question->asked_us;
	bool is_late = waited_us > (uint64_t)LATE_MS * 1000;
	into->store_state[store] = is_late ? BEAT_STORE_DOWN : (uint8_t)question->state;
	into->store_us[store] = is_late ? (uint32_t)waited_us : question->latency_us;
}

/* --- samples */

static void take(struct figures *figures)
{
	struct rusage usage;
	figures->newest = (figures->newest + 1) % SAMPLES;
	figures->count += figures->count < SAMPLES;
	struct sample *sample = &figures->samples[figures->newest];
	sample->at_ms = clock_monotonic_ms();
	for (int i = 0; i < BEAT_COMPONENT_COUNT; i++) {
		metric_buckets(figures->times[i], sample->times[i]);
		sample->failures[i] = metric_value(figures->failures[i]);
	}
	sample->sent = metric_value(figures->sent);
	sample->cpu_us = 0;
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		sample->cpu_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
						 (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void tell_own(struct figures *figures)
{
	struct beat_figures now = {.cpu = 0};
	figures_fill(figures, NULL, &now);
	for (int i = 0; i < VPA_TYPE_COUNT; i++)
		metric_add(figures->vpas[i], (int64_t)now.vpas[i] - (int64_t)figures->told.vpas[i]);
	metric_add(figures->cpu, (int64_t)now.cpu - figures->told.cpu);
	metric_add(figures->memory, (int64_t)now.memory - figures->told.memory);
	figures->told = now;
}

static void on_timer(void *context)
{
	struct figures *figures = context;
	take(figures);
	tell_own(figures);
	ask(figures);
	timer_set(figures->timer, SAMPLE_MS);
}

void figures_start(struct figures *figures, struct worker *worker)
{
	figures->worker = worker;
	figures->timer = timer_new(worker, on_timer, figures);
	take(figures);
	if (figures->timer != NULL)
		timer_set(figures->timer, 0);
}

void figures_stop(struct figures *figures)
{
	timer_free(figures->timer);
	figures->timer = NULL;
}

/* The bound of the bucket in which this share of the observations lies. */
static uint32_t quantile(const int64_t counts[METRIC_BUCKETS], int64_t total, int64_t percent)
{
	int64_t wanted = (total * percent + 99) / 100, seen = 0;
	for (int i = 0; i < METRIC_BUCKETS; i++) {
		seen += counts[i];
		if (seen >= wanted)
			return (uint32_t)metric_bound_us(i);
	}
	return (uint32_t)metric_bound_us(METRIC_BUCKETS - 1);
}

static void fill_component(
	const struct sample *newest, const struct sample *oldest, int index, uint64_t span_ms, struct beat_figures *into)
{
	static const int64_t percents[] = {50, 95, 99};
	int64_t counts[METRIC_BUCKETS], total = 0, failed = newest->failures[index] - oldest->failures[index];
	for (int i = 0; i < METRIC_BUCKETS; i++) {
		counts[i] = newest->times[index][i] - oldest->times[index][i];
		total += counts[i];
	}
	into->rate[index] = (uint32_t)(total * 1000 / (int64_t)span_ms);
	into->errors_ppm[index] = total <= 0 ? 0 : (uint32_t)(failed * 1000000 / total);
	if (into->errors_ppm[index] > 1000000)
		into->errors_ppm[index] = 1000000;
	for (int i = 0; i < 3 && total > 0; i++)
		into->latency_us[index][i] = quantile(counts, total, percents[i]);
}

static void fill_requests(const struct figures *figures, struct beat_figures *into)
{
	const struct sample *newest = &figures->samples[figures->newest];
	const struct sample *oldest =
		&figures->samples[(figures->newest + SAMPLES - (figures->count > 0 ? figures->count - 1 : 0)) % SAMPLES];
	uint64_t span_ms = newest->at_ms - oldest->at_ms;
	if (span_ms == 0)
		return;
	for (int i = 0; i < BEAT_COMPONENT_COUNT; i++) {
		fill_component(newest, oldest, i, span_ms, into);
		into->requests += into->rate[i];
	}
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t cpu = (newest->cpu_us - oldest->cpu_us) / 10 / span_ms / (uint64_t)(cores < 1 ? 1 : cores);
	into->cpu = (uint8_t)(cpu > 100 ? 100 : cpu);
	into->megabits = (uint32_t)((newest->sent - oldest->sent) * 8 / 1000 / (int64_t)span_ms);
}

/* The second number of the file: resident pages. */
static uint8_t memory_percent(const struct figures *figures)
{
	char line[128];
	struct sysinfo machine;
	uint64_t pages;
	ssize_t length = figures->memory_file < 0 ? -1 : pread(figures->memory_file, line, sizeof(line) - 1, 0);
	if (length <= 0 || sysinfo(&machine) != 0 || machine.totalram == 0)
		return 0;
	struct text rest = {line, (size_t)length}, part;
	bool done = false;
	if (!text_next_part(&rest, ' ', &part, &done) || !text_next_part(&rest, ' ', &part, &done) ||
		text_to_unsigned(part, UINT32_MAX, &pages) != STATUS_OK)
		return 0;
	uint64_t total = (uint64_t)machine.totalram * machine.mem_unit;
	uint64_t percent = pages * (uint64_t)sysconf(_SC_PAGESIZE) * 100 / total;
	return (uint8_t)(percent > 100 ? 100 : percent);
}

static bool count_participant(void *context, const struct participant *participant)
{
	struct beat_figures *into = context;
	for (int i = 0; i < VPA_TYPE_COUNT && participant->state == PARTICIPANT_ACTIVATED; i++)
		into->vpas[i] += participant->vpas >> i & 1;
	return true;
}

void figures_fill(const struct figures *figures, const struct bus *bus, struct beat_figures *into)
{
	bool has_database = figures->database.state != BEAT_STORE_DOWN && store_is_healthy(figures->store);
	registry_each(figures->registry, count_participant, into);
	fill_store(&figures->database, BEAT_DATABASE, into);
	fill_store(&figures->safe, BEAT_VAULT, into);
	if (!store_is_healthy(figures->store))
		into->store_state[BEAT_DATABASE] = BEAT_STORE_DOWN;
	if (bus != NULL) {
		uint64_t round_trip_us = bus_round_trip_us(bus);
		into->store_state[BEAT_NATS] = bus_is_up(bus) ? BEAT_STORE_OK : BEAT_STORE_DOWN;
		into->store_us[BEAT_NATS] = (uint32_t)(round_trip_us < UINT32_MAX ? round_trip_us : UINT32_MAX);
	}
	/* both runtimes are this process; management needs the database, bytes flow without it */
	into->desired[BEAT_CP] = into->desired[BEAT_DP] = 1;
	into->ready[BEAT_CP] = has_database;
	into->ready[BEAT_DP] = 1;
	fill_requests(figures, into);
	into->connections = (uint32_t)metric_value(figures->open_connections);
	into->memory = memory_percent(figures);
}
