/* What a run showed: a table for people, JSON for scripts, an SVG for slides. */
#pragma once

#include <stdio.h>

#include "bench/cellbench/load.h"
#include "bench/cellbench/process.h"

struct run {
	const struct scenario *scenario;
	const struct load *load;
	double seconds;                   /* of the measured window */
	bool has_process;                 /* a server process was watched */
	struct process_use before, after; /* at the window's ends */
};

void report_table(const struct run *run, FILE *out);
void report_json(const struct run *run, struct buffer *into);
/* Latency over percentiles, a line a group; both axes logarithmic. */
void report_svg(const struct run *run, struct buffer *into);
/* Jain's index of fairness of the tenants' bytes: 1 when all got the same. */
double report_fairness(const struct run *run);
