/* Placements that hold, against a real database: each one decided, booked, with its decision, the audit's entry and one
 * letter written, and committed before it counts. place_durable CONNECTION_FILE CELLS OUTSTANDING SECONDS: so many are
 * asked for at any time; the next one when one is answered. Prints how many a second and how long each took. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/fabric/fleet/audit.h"
#include "control/fabric/place/placer.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/worker_pool.h"

enum { TIMES = 1 << 20, REQUESTS = 4096, TICK_MS = 100 };

struct client {
	struct bench *bench;
	uint64_t begun_ns;
	char letter[40];
};

struct bench {
	struct state *state;
	struct cells *cells;
	struct placer *placer;
	struct audit *audit; /* of what is decided: sealed as whoever leads does */
	struct timer *timer;
	struct place_request *requests[REQUESTS];
	struct client *clients;
	unsigned client_count, outstanding;
	uint64_t begun_ns, end_ns, placed, refused, letters;
	uint32_t *times_us; /* the last TIMES */
	struct task task;
	atomic_bool is_over;
};

static void ask(struct client *client);

static bool build(void *context, const struct cell_record *const *choices, struct transaction *transaction)
{
	struct client *client = context;
	char body[256];
	snprintf(client->letter, sizeof(client->letter), "letter-%llu", (unsigned long long)client->bench->letters++);
	snprintf(body, sizeof(body),
		"{\"subject\":\"event.cfm-orchestration\",\"body\":\"{\\\"id\\\":\\\"%s\\\",\\\"cellId\\\":\\\"%s\\\"}\"}",
		client->letter, choices[0]->id);
	return state_put(transaction, RECORD_LETTER, text_of(client->letter), text_of(body), REVISION_ABSENT);
}

static void done(void *context, enum status status, struct text decision, struct text explain, struct text line)
{
	struct client *client = context;
	struct bench *bench = client->bench;
	uint64_t now_ns = clock_monotonic_ns();
	(void)decision, (void)explain;
	if (status == STATUS_OK)
		bench->times_us[bench->placed++ % TIMES] = (uint32_t)((now_ns - client->begun_ns) / 1000);
	else if (bench->refused++ == 0)
		fprintf(stderr, "%s: %.*s\n", status_text(status), TEXT_ARGUMENTS(line));
	if (now_ns < bench->end_ns)
		ask(client);
	else if (--bench->outstanding == 0)
		atomic_store(&bench->is_over, true);
}

static void ask(struct client *client)
{
	struct bench *bench = client->bench;
	const struct place_request *one =
		bench->requests[(bench->placed * 7 + (uint64_t)(client - bench->clients)) % REQUESTS];
	client->begun_ns = clock_monotonic_ns();
	placer_place(bench->placer,
		&(struct placement){.requests = &one, .count = 1, .build = build, .done = done, .context = client});
}

static void tick(void *context)
{
	struct bench *bench = context;
	audit_tick(bench->audit);
	timer_set(bench->timer, TICK_MS);
}

static void begin(struct task *task)
{
	struct bench *bench = (struct bench *)(void *)((char *)task - offsetof(struct bench, task));
	bench->outstanding = bench->client_count;
	bench->timer = timer_new(state_worker(bench->state), tick, bench);
	if (bench->timer == NULL)
		abort();
	tick(bench);
	for (unsigned i = 0; i < bench->client_count; i++) {
		bench->clients[i].bench = bench;
		ask(&bench->clients[i]);
	}
}

/* --- cells and requests */

static void on_put(void *context, enum status status, int64_t revision)
{
	(void)revision;
	if (status != STATUS_OK)
		abort();
	atomic_store((atomic_bool *)context, true);
}

static void put_cells(struct bench *bench, unsigned count)
{
	atomic_bool is_done = false;
	struct transaction *transaction = transaction_new();
	for (unsigned i = 0; i < count; i++) {
		char id[32], body[1024];
		snprintf(id, sizeof(id), "cfm-%u", i);
		snprintf(body, sizeof(body),
			"{\"externalId\":\"cell-%u\",\"version\":0,\"state\":\"active\",\"stateTimestamp\":\"2026-01-01T00:00:"
			"00Z\","
			"\"properties\":{\"celld.definition\":{\"cellId\":\"cell-%u\",\"name\":\"n\",\"type\":\"t\",\"region\":\"r%"
			"u\","
			"\"provider\":\"p\",\"capacity\":{\"maxVPAs\":10000000,\"resources\":{\"memMiB\":2000000000}},"
			"\"jurisdictions\":[\"EU\"],\"labels\":{\"tier\":\"t%u\"},\"topology\":{\"zone\":\"z%u\"}}},\"celld\":{"
			"\"mode\":\"ready\",\"epoch\":1}}",
			i, i, i % 7, i % 3, i % 20);
		if (!state_put(transaction, RECORD_CELL, text_of(id), text_of(body), REVISION_ANY))
			abort();
	}
	state_submit(bench->state, transaction, on_put, &is_done);
	while (!atomic_load(&is_done))
		usleep(1000);
}

static void make_requests(struct bench *bench)
{
	for (unsigned i = 0; i < REQUESTS; i++) {
		char text[512];
		struct json *root = NULL;
		struct buffer error = {0};
		snprintf(text, sizeof(text),
			"{\"vpaId\":\"vpa-%u\",\"participant\":\"p%u\",\"tenant\":\"t%u\",\"type\":\"cfm.dataplane\",\"require\":{"
			"\"jurisdictions\":[\"EU\"]},\"prefer\":{\"labels\":{\"tier\":\"t1\"}},\"demand\":{\"memMiB\":64}}",
			i, i, i % 100);
		if (json_parse(text_of(text), NULL, &root) != STATUS_OK ||
			place_request_parse(root, &bench->requests[i], &error) != STATUS_OK)
			abort();
		json_free(root);
	}
}

static int by_size(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, two = *(const uint32_t *)b;
	return one < two ? -1 : one > two;
}

static void report(struct bench *bench, double seconds)
{
	size_t count = bench->placed < TIMES ? (size_t)bench->placed : TIMES;
	qsort(bench->times_us, count, sizeof(*bench->times_us), by_size);
	printf("%u at a time: %.0f placements/s, p50 %.2f ms, p99 %.2f ms, %llu refused\n", bench->client_count,
		(double)bench->placed / seconds, count == 0 ? 0.0 : bench->times_us[count / 2] / 1000.0,
		count == 0 ? 0.0 : bench->times_us[count * 99 / 100] / 1000.0, (unsigned long long)bench->refused);
}

int main(int count, char **arguments)
{
	static struct bench bench;
	struct buffer error = {0};
	if (count != 5) {
		fprintf(stderr, "place_durable CONNECTION_FILE CELLS OUTSTANDING SECONDS\n");
		return 2;
	}
	struct store_settings settings = {.backend = STORE_POSTGRES,
		.connection_file = arguments[1],
		.queued_transactions = 100000,
		.poll_ms = 200,
		.statement_ms = 20000};
	struct worker_pool *pool = worker_pool_new(1);
	struct store *store = NULL;
	log_threshold = LOG_WARNING;
	if (store_open(&settings, pool, &store, &error) != STATUS_OK ||
		state_open(store, pool, &bench.state) != STATUS_OK || cells_open(bench.state, &bench.cells) != STATUS_OK ||
		placer_open(bench.state, bench.cells, &bench.placer) != STATUS_OK ||
		audit_open(bench.state, &bench.audit) != STATUS_OK || store_load(store, &error) != STATUS_OK ||
		worker_pool_start(pool) != STATUS_OK) {
		fprintf(stderr, "%s\n", error.bytes == NULL ? "cannot begin" : error.bytes);
		return 1;
	}
	put_cells(&bench, (unsigned)strtoul(arguments[2], NULL, 10));
	make_requests(&bench);
	bench.client_count = (unsigned)strtoul(arguments[3], NULL, 10);
	bench.clients = calloc(bench.client_count, sizeof(*bench.clients));
	bench.times_us = calloc(TIMES, sizeof(*bench.times_us));
	bench.begun_ns = clock_monotonic_ns();
	bench.end_ns = bench.begun_ns + strtoul(arguments[4], NULL, 10) * 1000000000U;
	bench.letters = (uint64_t)clock_wall_ms() * 1000000;
	bench.task.run = begin;
	worker_post(worker_pool_at(pool, 0), &bench.task);
	while (!atomic_load(&bench.is_over))
		usleep(20000);
	report(&bench, (double)(clock_monotonic_ns() - bench.begun_ns) / 1e9);
	store_close(store);
	worker_pool_stop(pool);
	return 0;
}
