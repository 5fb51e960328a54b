/* Tenants of one group, summed: what the reports share. */
#pragma once

#include "bench/cellbench/report.h"

struct group {
	const char *name; /* the scenario's */
	size_t tenants;
	struct tenant_result sum;
};

/* Owned by the caller (free); the count. Tenants of a group stand together in a scenario. */
size_t groups_sum(const struct run *run, struct group **groups);
