/* A heartbeat of a cell: parsed, judged, answered. */
#include <stdlib.h>

#include "bench/benches.h"
#include "tests/fleet_simulator.h"

enum { CELLS = 1000 };

static void print_beat(const struct fleet *fleet, uint32_t cell, int64_t number, struct buffer *into)
{
	struct beat beat = {.cell = "cell-eu-west-1", .epoch = 1, .number = number};
	memcpy(beat.incarnation, fleet->cells[cell].record.incarnation, ID_LENGTH);
	beat.figures = (struct beat_figures){.vpas = {42, 42, 60, 1},
		.rate = {120, 1080},
		.latency_us = {{3000, 9000, 22000}, {1000, 4000, 15000}, {2000, 6000, 12000}},
		.errors_ppm = {1000, 0, 20},
		.store_us = {2100, 5000, 400},
		.store_state = {BEAT_STORE_OK, BEAT_STORE_OK, BEAT_STORE_OK},
		.requests = 1200,
		.megabits = 310,
		.connections = 8123,
		.ready = {5, 8, 3},
		.desired = {5, 8, 3},
		.cpu = 31,
		.memory = 48};
	beat_print(&beat, into);
}

static void beat_answered(struct bench *bench)
{
	const struct fleet_weather calm = {.loss_pct = 0};
	struct fleet fleet;
	struct buffer texts[CELLS] = {{0}}, answer = {0};
	struct beat beat;
	uint32_t at = 0;
	int64_t round = 1;
	if (!fleet_open(&fleet, CELLS, 1, &calm))
		abort();
	for (uint32_t i = 0; i < CELLS; i++)
		print_beat(&fleet, i, 1000000, &texts[i]);
	while (bench_continues(bench)) {
		uint64_t now_ms = fleet.now_ms + (uint64_t)round * 2000 + at * 2;
		buffer_clear(&answer);
		if (!monitor_admit(fleet.monitor, at, now_ms) || beat_parse(buffer_text(&texts[at]), &beat) != STATUS_OK)
			abort();
		beat.number += round;
		enum monitor_verdict verdict = monitor_beat(fleet.monitor, &fleet.cells[at].record, &beat, now_ms);
		monitor_answer(fleet.monitor, &fleet.cells[at].record, &beat, verdict, 3, &answer);
		bench_keep(answer.bytes);
		if (++at == CELLS) {
			at = 0;
			round++;
			monitor_tick(fleet.monitor, now_ms);
		}
	}
	bench_set_bytes(bench, (int64_t)texts[0].length);
	for (uint32_t i = 0; i < CELLS; i++)
		buffer_free(&texts[i]);
	buffer_free(&answer);
	fleet_close(&fleet);
}

void register_beat_benches(void)
{
	bench_register("beat_parsed_judged_answered", beat_answered, NULL, 0);
}
