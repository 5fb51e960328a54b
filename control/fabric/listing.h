/* Lists of records over REST as the existing managers give them: pages with Link and X-Total-Count, queries by
 * predicate (cfm.md 2.5). A query reads as many records in a turn of the worker as do no harm, and goes on in the next.
 */
#pragma once

#include "control/fabric/query.h"
#include "control/fabric/record_index.h"
#include "control/fabric/rest.h"

enum { LISTING_QUERY_MAX = 10000 };

struct listing {
	const struct record_index *index;
	const struct query_field *fields; /* what predicates may name */
	const char *path;                 /* of Link: "/tenants" */
	/* Appends the record as clients see it, or nothing; false: out of memory. */
	bool (*print)(const struct record_item *item, struct buffer *into);
};

/* Headers Link and X-Total-Count of a page; limit 0: all. False: out of memory. */
bool listing_add_headers(struct rest_call *call, const char *path, int64_t offset, int64_t limit, int64_t total);
/* What a body {"predicate", "offset", "limit"} asks for; limit: 1 .. LISTING_QUERY_MAX. False: it has answered. */
struct listing_query {
	struct query *query; /* query_free it */
	int64_t offset, limit;
};
bool listing_read_query(struct rest_call *call, const struct query_field *fields, struct listing_query *asked);
/* Answers GET with offset and limit; `listing` outlives the call. */
void listing_page(struct rest_call *call, const struct listing *listing);
/* Answers POST {"predicate", "offset", "limit"}; on `worker`, the fabric's. path: of Link, "/tenants/query". */
void listing_query(struct rest_call *call, const struct listing *listing, const char *path, struct worker *worker);
/* Answers with all whose ids begin with `prefix` (absent: all), without pages. */
void listing_all(struct rest_call *call, const struct listing *listing, struct text prefix);
