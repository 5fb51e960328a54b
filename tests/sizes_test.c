/* Sizes of demand: what is kept from one use to the next is what counting all cells anew would give. */
#include "tests/place_fixture.h"

#include "control/fabric/place/decide.h"

enum { CELLS = 90, STEPS = 6000, DEMANDS = SIZES_MAX + 3 };

static uint64_t seed = 5;

static unsigned dice(unsigned sides)
{
	seed = seed * 6364136223846793005U + 1442695040888963407U;
	return (unsigned)(seed >> 33) % sides;
}

static struct place_snapshot *make_fabric(void)
{
	struct place_snapshot *snapshot = place_snapshot_new();
	char id[16], more[128];
	for (uint32_t slot = 0; slot < CELLS; slot++) {
		snprintf(id, sizeof(id), "c%u", slot);
		snprintf(more, sizeof(more), "\"capacity\":{\"maxVPAs\":%u,\"resources\":{\"memMiB\":%u}}", 5 + dice(9),
			20 + dice(80));
		struct buffer text = {0};
		buffer_printf(&text, "{\"cellId\":\"%s\",\"name\":\"n\",\"type\":\"t\",\"region\":\"r\",\"provider\":\"p\",%s}",
			id, more);
		struct cell_definition *definition = place_definition(text.bytes);
		assert_int_equal(place_snapshot_put(snapshot, slot, text_of(id), definition, &PLACE_OPEN), STATUS_OK);
		cell_definition_free(definition);
		buffer_free(&text);
	}
	return snapshot;
}

static struct place_request *make_request(unsigned memory)
{
	char text[256];
	snprintf(text, sizeof(text),
		"{\"vpaId\":\"v\",\"participant\":\"p%u\",\"type\":\"cfm.connector\",\"demand\":{\"memMiB\":%u}}", memory,
		memory);
	return place_ask(text);
}

static void need_of(const struct place_request *request, int32_t *need)
{
	memset(need, 0, PLACE_DIMENSION_COUNT * sizeof(*need));
	need[PLACE_VPAS] = need[PLACE_TYPES + VPA_CONNECTOR] = 1;
	need[PLACE_RESOURCES + CELL_RESOURCE_MEM_MIB] = (int32_t)place_request_demand(request)[CELL_RESOURCE_MEM_MIB];
}

/* What has no room has no share that matters. */
static void compare(struct place_snapshot *snapshot, const struct size *kept)
{
	enum { BYTES = 256 };
	uint8_t before[SIZE_SETS][BYTES];
	static int16_t headroom[1024];
	int32_t need[PLACE_DIMENSION_COUNT];
	size_t bytes = snapshot->words * sizeof(uint64_t);
	assert_true(bytes <= BYTES);
	memcpy(need, kept->need, sizeof(need));
	memcpy(headroom, kept->headroom, (size_t)snapshot->words * 64 * sizeof(*headroom));
	for (int set = 0; set < SIZE_SETS; set++)
		memcpy(before[set], kept->sets[set], bytes);
	sizes_forget(&snapshot->sizes);
	const struct size *counted = sizes_find(snapshot, need);
	for (int set = 0; set < SIZE_SETS; set++) {
		if (set < SIZE_FITS || need[set - SIZE_FITS] > 0)
			assert_memory_equal(before[set], counted->sets[set], bytes);
	}
	for (uint32_t slot = 0; slot < snapshot->words * 64; slot++) {
		if (bits_has(counted->sets[SIZE_CAPACITY], slot) && bits_has(counted->sets[SIZE_RESOURCES], slot))
			assert_int_equal(headroom[slot], counted->headroom[slot]);
	}
}

struct booked {
	unsigned request;
	uint32_t slot;
	bool is_there;
};

/* Bookings come and go, cells change, the snapshot walks back and forth; sizes are asked for in bursts and seldom. */
static void what_is_kept_is_what_is_so(void **state)
{
	struct place_snapshot *snapshot = make_fabric();
	struct place_request *requests[DEMANDS];
	static struct booked booked[300];
	int32_t need[PLACE_DIMENSION_COUNT];
	uint64_t version = place_snapshot_version(snapshot);
	(void)state;
	for (unsigned i = 0; i < DEMANDS; i++)
		requests[i] = make_request(i);
	for (unsigned step = 0; step < STEPS; step++) {
		struct booked *at = &booked[dice(300)];
		if (!at->is_there)
			*at = (struct booked){dice(DEMANDS), dice(CELLS), false};
		assert_int_equal(
			place_snapshot_book(snapshot, at->slot, requests[at->request], at->is_there ? -1 : 1), STATUS_OK);
		at->is_there = !at->is_there;
		if (dice(500) == 0)
			version = place_snapshot_version(snapshot);
		bool is_back = dice(40) == 0 && place_snapshot_rewind(snapshot, version);
		for (unsigned times = dice(90) == 0 ? 0 : dice(4); times > 0; times--) {
			need_of(requests[dice(dice(8) == 0 ? DEMANDS : 3)], need);
			const struct size *kept = sizes_find(snapshot, need);
			assert_memory_equal(kept->need, need, sizeof(need));
			if (dice(5) == 0)
				compare(snapshot, kept);
		}
		if (is_back)
			place_snapshot_return(snapshot);
	}
	for (unsigned i = 0; i < DEMANDS; i++)
		place_request_free(requests[i]);
	place_snapshot_free(snapshot);
}

/* More rows than a ring of changes holds, between two uses. */
static void a_size_that_was_away_is_counted_anew(void **state)
{
	struct place_snapshot *snapshot = make_fabric();
	struct place_request *request = make_request(3);
	int32_t need[PLACE_DIMENSION_COUNT];
	(void)state;
	need_of(request, need);
	compare(snapshot, sizes_find(snapshot, need));
	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t slot = 0; slot < SIZE_CHANGES_MAX + round; slot++)
			assert_int_equal(place_snapshot_book(snapshot, slot, request, 1), STATUS_OK);
		compare(snapshot, sizes_find(snapshot, need));
	}
	place_request_free(request);
	place_snapshot_free(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept_is_what_is_so), cmocka_unit_test(a_size_that_was_away_is_counted_anew)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
