/* The long run of the fleet in virtual time: false alarms, and how soon a silent cell is noticed.
 *   fleet [CELL-HOURS] [CELLS] [SEED] */
#include <stdio.h>

#include "tests/fleet_simulator.h"

static uint64_t argument(int count, char **arguments, int index, uint64_t preset)
{
	uint64_t value = preset;
	if (index < count && (text_to_unsigned(text_of(arguments[index]), 100000000, &value) != STATUS_OK || value == 0)) {
		fprintf(stderr, "fleet: %s: not a number above 0\n", arguments[index]);
		exit(2);
	}
	return value;
}

static int compare(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
	return left < right ? -1 : left > right;
}

/* From the kill of one cell after the other. */
static void measure_kills(uint64_t seed)
{
	enum { KILLS = 2000, CELLS = 100 };
	static uint64_t suspect[KILLS], unreachable[KILLS], eligible[KILLS];
	const struct fleet_weather weather = {.loss_pct = 5};
	struct fleet fleet;
	if (!fleet_open(&fleet, CELLS, seed, &weather) || !fleet_run(&fleet, 120000))
		exit(1);
	for (uint32_t i = 0; i < KILLS; i++) {
		if (!fleet_run(&fleet, fleet_random(&fleet) % 2000))
			exit(1);
		fleet_kill(&fleet, i % CELLS);
		uint64_t killed = fleet.now_ms;
		if (!fleet_run(&fleet, 45000))
			exit(1);
		suspect[i] = fleet.counts.last_suspect_ms - killed;
		unreachable[i] = fleet.counts.last_unreachable_ms - killed;
		eligible[i] = fleet.counts.last_eligible_ms - killed;
		fleet_revive(&fleet, i % CELLS);
		if (!fleet_run(&fleet, 60000)) /* its group's place is free again */
			exit(1);
	}
	qsort(suspect, KILLS, sizeof(suspect[0]), compare);
	qsort(unreachable, KILLS, sizeof(unreachable[0]), compare);
	qsort(eligible, KILLS, sizeof(eligible[0]), compare);
	printf("killed cells: %d; suspect after p50 %llu ms, p99 %llu ms; unreachable after p50 %llu ms, p99 %llu ms; "
		   "eligible for fail-over after p50 %llu ms, p99 %llu ms\n",
		KILLS, (unsigned long long)suspect[KILLS / 2], (unsigned long long)suspect[KILLS * 99 / 100],
		(unsigned long long)unreachable[KILLS / 2], (unsigned long long)unreachable[KILLS * 99 / 100],
		(unsigned long long)eligible[KILLS / 2], (unsigned long long)eligible[KILLS * 99 / 100]);
	fleet_close(&fleet);
}

int main(int count, char **arguments)
{
	uint64_t cell_hours = argument(count, arguments, 1, 1000000), cells = argument(count, arguments, 2, 1000);
	uint64_t seed = argument(count, arguments, 3, 1), hours = cell_hours / cells;
	const struct fleet_weather weather = {.loss_pct = 5,
		.pause_every_ms = 3600000,
		.pause_ms = 2000,
		.fabric_pause_every_ms = 3600000,
		.fabric_restart_every_ms = 24 * 3600000};
	struct fleet fleet;
	measure_kills(seed);
	if (!fleet_open(&fleet, (uint32_t)cells, seed, &weather))
		return 1;
	for (uint64_t hour = 0; hour < hours; hour++) {
		if (!fleet_run(&fleet, 3600000))
			return 1;
		if (hour % 50 == 49 || hour + 1 == hours) {
			printf("%llu cell-hours, %llu heartbeats: %llu unreachable, %llu eligible, %llu isolated, %llu flapping; "
				   "%llu suspect\n",
				(unsigned long long)((hour + 1) * cells), (unsigned long long)fleet.counts.beats,
				(unsigned long long)fleet.counts.unreachables, (unsigned long long)fleet.counts.eligibles,
				(unsigned long long)fleet.counts.isolated, (unsigned long long)fleet.counts.flaps,
				(unsigned long long)fleet.counts.suspects);
			fflush(stdout);
		}
	}
	bool is_calm = fleet.counts.unreachables + fleet.counts.eligibles + fleet.counts.isolated + fleet.counts.flaps == 0;
	fleet_close(&fleet);
	return is_calm ? 0 : 1;
}
