/* Placement decisions: a fabric of cells with VPAs in them, requests with every kind of constraint and preference; each
 * decision is made, counted for its explanation, and booked. */
#include <stdio.h>
#include <stdlib.h>

#include "bench/benches.h"
#include "control/fabric/place/place.h"
#include "server/base/clock.h"

enum { CELLS = 1000, VPAS = 1000000, REQUESTS = 4096, TENANTS = 5000 };

static uint64_t dice(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005U + 1442695040888963407U;
	return *seed >> 33;
}

static struct json *parse(const struct buffer *text)
{
	struct json *root = NULL;
	if (text->failed || json_parse(buffer_text(text), NULL, &root) != STATUS_OK)
		abort();
	return root;
}

static void add_cell(struct place_snapshot *snapshot, uint32_t at, uint64_t *seed)
{
	static const char *const lands[] = {"DE", "FR", "IE", "US", "NL", "SE"};
	struct buffer text = {0}, error = {0}, warning = {0};
	struct cell_definition *definition = NULL;
	unsigned region = (unsigned)dice(seed) % 12, tier = (unsigned)dice(seed) % 3;
	buffer_printf(&text,
		"{\"cellId\":\"cell-%u\",\"name\":\"Cell %u\",\"type\":\"kubernetes\",\"region\":\"r%u\",\"provider\":\"p%u\","
		"\"capacity\":{\"maxVPAs\":%u,\"perType\":{\"cfm.dataplane\":%u},\"resources\":{\"cpuMilli\":%u,\"memMiB\":%u,"
		"\"requestsPerSec\":%u,\"transferMbps\":80000,\"connections\":900000}},\"labels\":{\"environment\":\"%s\","
		"\"tier\":\"t%u\"},\"topology\":{\"zone\":\"r%u-%c\",\"site\":\"s%u\"},\"jurisdictions\":[\"%s\",\"%s\"],"
		"\"compliance\":[{\"id\":\"gdpr\",\"validUntil\":\"2030-01-01\"}%s]%s}",
		at, at, region, (unsigned)dice(seed) % 4, 2000 + (unsigned)dice(seed) % 3000,
		2000 + (unsigned)dice(seed) % 1000, 200000 + (unsigned)dice(seed) % 100000,
		400000 + (unsigned)dice(seed) % 100000, 100000 + (unsigned)dice(seed) % 10000,
		dice(seed) % 4 == 0 ? "test" : "production", tier, region, 'a' + (int)(dice(seed) % 3),
		(unsigned)dice(seed) % 40, dice(seed) % 5 == 0 ? "US" : "EU", lands[dice(seed) % 6],
		dice(seed) % 2 == 0 ? ",{\"id\":\"iso27001\"}" : "",
		dice(seed) % 10 == 0 ? ",\"taints\":[{\"key\":\"dedicated\",\"value\":\"acme\",\"effect\":\"NoPlace\"}]" : "");
	struct json *root = parse(&text);
	if (cell_definition_parse(root, &definition, &error, &warning) != STATUS_OK)
		abort();
	struct place_standing standing = {.is_open = dice(seed) % 50 != 0,
		.is_degraded = dice(seed) % 20 == 0,
		.ready = ~0U,
		.load = (int)(dice(seed) % 900),
		.why = "cordoned"};
	if (place_snapshot_put(snapshot, at, text_of(definition->cell_id), definition, &standing) != STATUS_OK)
		abort();
	cell_definition_free(definition);
	json_free(root);
	buffer_free(&text);
	buffer_free(&error);
	buffer_free(&warning);
}

/* Every `sizes` requests the demand is the same again. */
static struct place_request *make_request(unsigned at, unsigned sizes, uint64_t *seed)
{
	struct buffer text = {0}, error = {0};
	struct place_request *request = NULL;
	unsigned region = (unsigned)dice(seed) % 12;
	buffer_printf(&text,
		"{\"vpaId\":\"vpa-%u\",\"participant\":\"did:web:p%u\",\"tenant\":\"t%u\",\"type\":\"cfm.dataplane\",\"class\":"
		"\"leased\",\"require\":{\"jurisdictions\":[\"EU\"],\"compliance\":[\"gdpr\"],\"labels\":{\"environment\":"
		"\"production\"}},\"tolerations\":[{\"key\":\"other\"}],\"prefer\":{\"labels\":{\"tier\":\"t1\"},\"near\":{"
		"\"site\":\"s%u\"},\"region\":[\"r%u\"]},\"affinity\":[{\"to\":\"participant:self\",\"types\":[\"cfm."
		"connector\"]"
		",\"topologyKey\":\"region\"}],\"antiAffinity\":[{\"to\":\"participant:self\",\"types\":[\"cfm.dataplane\"],"
		"\"topologyKey\":\"cell\",\"hard\":true}],\"spread\":[{\"topologyKey\":\"zone\",\"maxSkew\":2}],\"demand\":{"
		"\"cpuMilli\":%u,\"memMiB\":64,\"requestsPerSec\":20,\"transferMbps\":5,\"connections\":50}}",
		at, (unsigned)dice(seed) % (VPAS / 4), (unsigned)dice(seed) % TENANTS, (unsigned)dice(seed) % 40, region,
		50 + at % sizes);
	struct json *root = parse(&text);
	if (place_request_parse(root, &request, &error) != STATUS_OK)
		abort();
	json_free(root);
	buffer_free(&text);
	buffer_free(&error);
	return request;
}

struct fabric {
	struct place_snapshot *snapshot;
	struct place_request *requests[REQUESTS];
};

static struct fabric *fabric_make(uint32_t cells, unsigned sizes)
{
	struct fabric *fabric = calloc(1, sizeof(*fabric));
	uint64_t seed = 7;
	char participant[32], tenant[32];
	if (fabric == NULL || (fabric->snapshot = place_snapshot_new()) == NULL)
		abort();
	for (uint32_t i = 0; i < cells; i++)
		add_cell(fabric->snapshot, i, &seed);
	for (unsigned i = 0; i < VPAS; i++) {
		snprintf(participant, sizeof(participant), "did:web:p%u", i / 4);
		snprintf(tenant, sizeof(tenant), "t%u", i / 4 % TENANTS);
		uint32_t slot = (i / 4 * 2654435761U >> 7) % cells;
		if (place_snapshot_hold(
				fabric->snapshot, text_of(participant), text_of(tenant), slot, (enum vpa_type)(i % 4), 1) != STATUS_OK)
			abort();
	}
	for (unsigned i = 0; i < REQUESTS; i++)
		fabric->requests[i] = make_request(i, sizes, &seed);
	place_snapshot_advance(fabric->snapshot, 1800000000000);
	return fabric;
}

static void fabric_free(struct fabric *fabric)
{
	for (unsigned i = 0; i < REQUESTS; i++)
		place_request_free(fabric->requests[i]);
	place_snapshot_free(fabric->snapshot);
	free(fabric);
}

static int by_size(const void *a, const void *b)
{
	uint64_t one = *(const uint64_t *)a, two = *(const uint64_t *)b;
	return one < two ? -1 : one > two;
}

/* Decided and booked; what was booked 2,048 decisions ago goes again, so the fabric stays as full as it is (that is in
 * the time of a round, not in the notes). */
static void decide(struct bench *bench, unsigned sizes)
{
	enum { BACK = 2048, TIMES = 65536 };
	static uint64_t times[TIMES];
	static int64_t slots[BACK];
	struct fabric *fabric = fabric_make((uint32_t)bench_argument(bench), sizes);
	struct place_decision decision;
	uint64_t spent = 0;
	size_t at = 0;
	memset(slots, -1, sizeof(slots));
	while (bench_continues(bench)) {
		const struct place_request *request = fabric->requests[at % REQUESTS];
		if (slots[at % BACK] >= 0 && place_snapshot_book(fabric->snapshot, (uint32_t)slots[at % BACK],
										 fabric->requests[(at - BACK) % REQUESTS], -1) != STATUS_OK)
			abort();
		uint64_t begun = clock_monotonic_ns();
		place_decide(fabric->snapshot, &request, 1, &decision);
		slots[at % BACK] = decision.slot;
		if (decision.slot >= 0 &&
			place_snapshot_book(fabric->snapshot, (uint32_t)decision.slot, request, 1) != STATUS_OK)
			abort();
		times[at++ % TIMES] = clock_monotonic_ns() - begun;
		spent += times[(at - 1) % TIMES];
	}
	size_t count = at < TIMES ? at : TIMES;
	qsort(times, count, sizeof(*times), by_size);
	bench_note(bench, "a_second", (double)at * 1e9 / (double)spent);
	bench_note(bench, "p50_us", (double)times[count / 2] / 1000);
	bench_note(bench, "p99_us", (double)times[count * 99 / 100] / 1000);
	bench_note(bench, "feasible", decision.feasible);
	bench_note(
		bench, "bytes_a_cell", (double)place_snapshot_cell_bytes(fabric->snapshot) / (double)bench_argument(bench));
	bench_note(bench, "bytes_a_vpa", (double)place_snapshot_hold_bytes(fabric->snapshot) / VPAS);
	fabric_free(fabric);
}

static void place_decision(struct bench *bench)
{
	decide(bench, 1);
}

/* No size of demand is remembered when it comes again. */
static void place_sizes(struct bench *bench)
{
	decide(bench, REQUESTS);
}

/* With its explanation as JSON: what a durable placement or a dry run costs. */
static void place_explained(struct bench *bench)
{
	struct fabric *fabric = fabric_make((uint32_t)bench_argument(bench), 1);
	struct buffer text = {0};
	const struct place_telling telling = {.explain = &text};
	uint32_t slot;
	size_t at = 0;
	while (bench_continues(bench)) {
		const struct place_request *request = fabric->requests[at++ % REQUESTS];
		buffer_clear(&text);
		if (place_group(fabric->snapshot, &request, 1, &slot, &telling) == STATUS_OK)
			place_group_undo(fabric->snapshot, &request, 1, &slot);
		bench_keep(text.bytes);
	}
	buffer_free(&text);
	fabric_free(fabric);
}

void register_place_benches(void)
{
	static const int64_t counts[] = {CELLS};
	bench_register("place_decision", place_decision, counts, 1);
	bench_register("place_sizes", place_sizes, counts, 1);
	bench_register("place_explained", place_explained, counts, 1);
}
