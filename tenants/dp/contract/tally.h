/* What ended of one flow since the last collection: made on a worker, pull by pull, and then the receipts'
 * (receipts.c). One a flow and worker; several of one flow are added up. */
#pragma once

#include "server/base/text.h"
#include "tenants/dp/contract/agreement.h"
#include "tenants/dp/contract/span_set.h"

enum { TALLY_RANGES_MAX = 32, TALLY_ENTITIES_MAX = 4, ENTITY_TAG_MAX = 96, ENTITY_DIGEST_MAX = 96 };

/* A version of what was sent: its entity tag, and its digest (RFC 9530) where one is known. */
struct tally_entity {
	char tag[ENTITY_TAG_MAX + 1];
	char digest[ENTITY_DIGEST_MAX + 1];
};

struct flow_lane;
struct flow;
struct flow_terms;

struct tally {
	struct tally *next;
	struct flow_lane *lane; /* that leads to it; NULL: none does any more */
	char *ctx, *flow, *agreement, *dataset, *consumer, *provider, *region, *flags; /* flags: a JSON array; no NULLs */
	int64_t first_ms, last_ms;
	struct book_totals totals;
	bool is_settled;   /* repeats of earlier tallies are counted in */
	uint64_t unlisted; /* bytes whose ranges found no room, or are not known */
	unsigned entity_count;
	struct tally_entity entities[TALLY_ENTITIES_MAX];
	struct span_set ranges;
	struct span spans[TALLY_RANGES_MAX];
};

/* What a tally says of the parties; absent texts are "". */
struct tally_names {
	struct text ctx, flow, agreement, dataset, consumer, provider, region, flags;
};
/* NULL: out of memory. */
struct tally *tally_new(const struct tally_names *names, int64_t now_ms);
void tally_free(struct tally *tally);
/* A range that has left; tag absent: nobody can say of what. Counts what is repeated. */
void tally_add(struct tally *tally, struct text tag, struct text digest, uint64_t first, uint64_t length);
/* Adds another of the same flow. */
void tally_merge(struct tally *tally, const struct tally *other);
