/* What a cell and a VPA cost the managers in memory, by the allocator's own count: the indexes of cells, placement and
 * participant profiles, filled as at a start. */
#include "tests/place_fixture.h"

#include <malloc.h>

#include "control/fabric/manager/profile_index.h"
#include "control/fabric/place/placer.h"
#include "tests/simulated_store.h"

enum { CELLS = 500, PROFILES = 20000, VPAS = 4, DEFINITION_BYTES = 4096, HOT_BYTES = 256, VPA_BYTES = 64 };

static size_t allocated(void)
{
	return mallinfo2().uordblks;
}

static int64_t next_revision;

static void tell(struct state *process, enum record_kind kind, const char *id, const char *body)
{
	simulated_tell(process,
		&(struct simulated_news){
			.kind = kind, .id = (char *)(uintptr_t)id, .body = (char *)(uintptr_t)body, .revision = ++next_revision});
}

/* A definition of about 1 KiB, with all that cells say of themselves. */
static void tell_cell(struct state *process, int number)
{
	char id[64], body[4096];
	snprintf(id, sizeof(id), "%08x-0000-4000-8000-%012x", (unsigned)number * 0x9e3779b1U, (unsigned)number);
	snprintf(body, sizeof(body),
		"{\"externalId\":\"edge-%d\",\"version\":3,\"state\":\"active\",\"stateTimestamp\":\"2026-01-01T00:00:00."
		"000Z\","
		"\"properties\":{\"celld.definition\":{\"cellId\":\"edge-%d\",\"name\":\"Edge cell %d\",\"type\":\"edge\","
		"\"region\":\"eu-central-%d\",\"provider\":\"provider-%d\",\"capacity\":{\"maxVPAs\":2000,\"perType\":{"
		"\"cfm.connector\":500,\"cfm.dataplane\":1000},\"resources\":{\"cpuMilli\":64000,\"memMiB\":131072}},"
		"\"infrastructure\":{\"kubernetes\":{\"cluster\":\"k8s-%d\",\"namespace\":\"dataspaces\"},\"vault\":{"
		"\"address\":"
		"\"https://"
		"vault.example:8200\"},\"database\":{\"host\":\"db.example\"}},\"labels\":{\"tier\":\"gold\",\"rack\":"
		"\"r%d\"},\"jurisdictions\":[\"EU\",\"DE\"]}},\"celld\":{\"mode\":\"ready\",\"health\":"
		"\"healthy\",\"epoch\":7,\"incarnation\":\"0123456789abcdef0123456789abcdef\",\"key\":"
		"\"UABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRSTUVW\"}}",
		number, number, number, number % 9, number % 5, number, number % 40);
	tell(process, RECORD_CELL, id, body);
	tell(process, RECORD_CELL_CAPACITY, id, "{\"used\":{\"VPAs\":160,\"cfm.connector\":40,\"cfm.dataplane\":40}}");
}

static void tell_profile(struct state *process, int number)
{
	char id[128], body[2048];
	unsigned cell = (unsigned)(number % CELLS);
	snprintf(id, sizeof(id), "7e1a0c52-0000-4000-8000-%012x/%08x-0000-4000-8000-%012x", (unsigned)number % 50,
		(unsigned)number * 0x9e3779b1U, (unsigned)number);
	size_t length =
		(size_t)snprintf(body, sizeof(body), "{\"id\":\"%s\",\"version\":0,\"vpas\":[", strchr(id, '/') + 1);
	for (int i = 0; i < VPAS; i++) {
		static const char *const types[] = {"cfm.connector", "cfm.credentialservice", "cfm.dataplane", "cfm.issuer"};
		length += (size_t)snprintf(body + length, sizeof(body) - length,
			"%s{\"id\":\"%08x-1111-4000-8000-%012d\",\"version\":0,\"state\":\"active\",\"stateTimestamp\":"
			"\"2026-01-01T00:00:00.000Z\",\"type\":\"%s\",\"cellId\":\"%08x-0000-4000-8000-%012x\",\"externalCellId\":"
			"\"edge-%u\",\"celld\":{\"epoch\":1}}",
			i == 0 ? "" : ",", (unsigned)number, i, types[i], cell * 0x9e3779b1U, cell, cell);
	}
	snprintf(body + length, sizeof(body) - length, "],\"error\":false}");
	tell(process, RECORD_PARTICIPANT_PROFILE, id, body);
}

static void a_cell_and_a_vpa_cost_what_they_may(void **state)
{
	struct state process;
	struct cells *cells;
	struct placer *placer;
	struct profile_index *profiles;
	(void)state;
	if (allocated() == 0)
		skip(); /* a sanitizer's allocator does not count */
	simulated_open(&process);
	assert_int_equal(cells_open(&process, &cells), STATUS_OK);
	assert_int_equal(placer_open(&process, cells, &placer), STATUS_OK);
	assert_int_equal(profile_index_open(&process, &profiles), STATUS_OK);
	size_t before = allocated();
	for (int i = 0; i < CELLS; i++)
		tell_cell(&process, i);
	size_t with_cells = allocated();
	assert_int_equal(cells_slots(cells), CELLS);
	assert_int_equal(place_snapshot_count(placer_snapshot(placer)), CELLS);
	for (int i = 0; i < PROFILES; i++)
		tell_profile(&process, i);
	size_t with_profiles = allocated();
	assert_int_equal(profile_index_count(profiles), PROFILES);
	size_t cell = (with_cells - before) / CELLS, vpa = (with_profiles - with_cells) / ((size_t)PROFILES * VPAS);
	print_message("a cell: %zu bytes with its definition, a VPA: %zu bytes\n", cell, vpa);
	assert_true(cell <= DEFINITION_BYTES + HOT_BYTES);
	assert_true(vpa <= VPA_BYTES);
	placer_free(placer);
	profile_index_free(profiles);
	cells_free(cells);
	simulated_clear();
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_cell_and_a_vpa_cost_what_they_may)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
