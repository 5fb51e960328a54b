/* Which dataspace profiles are deployed and active in which cells, as the records of profiles say. The fabric's worker
 * alone. */
#pragma once

#include "tenants/store/store.h"

/* All-zero at first. */
struct deployments {
	struct deployed *first;
};
void deployments_free(struct deployments *deployments);
/* A record DATASPACE_PROFILE as a watcher is told of it. Aborts when out of memory: an index that has missed a change
 * would decide wrongly for ever. */
void deployments_hear(struct deployments *deployments, const struct record *record);
/* The profiles active in the cell (its CFM id): how many, and a list that is the caller's to free, its texts borrowed
 * until the next record. NULL: out of memory. */
size_t deployments_in(const struct deployments *deployments, const char *cell, struct text **profiles);
