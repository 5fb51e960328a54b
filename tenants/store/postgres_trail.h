/* The trail: which records each commit has changed, one row a commit, by which other processes hear of them and
 * tombstones are found again. An index over revisions would say the same, but every changed row would pay for it.
 * Private to this folder.
 *
 * A row says: the revisions from `first` to `last` were given to these records (ctx, kind and id, each ended by a zero
 * byte), or to some that nobody is told of. Rows follow each other without a gap, unless somebody wrote who keeps no
 * trail: then whoever follows it must look at all records. */
#pragma once

#include "tenants/store/postgres_connection.h"

/* One more record of this commit. */
void trail_add(struct buffer *keys, struct text ctx, enum record_kind kind, struct text id);
/* Of this commit. `keys` is borrowed until the question is answered. */
struct question trail_question(const struct buffer *keys, int64_t first, int64_t last);

/* Asks for the rows that reach beyond `after` and begin at or before `until`. */
struct question trail_ask(int64_t after, int64_t until);
/* What they say: as arrays for unnest. covered: without a gap from `after` up to there; a duplicate counts twice. */
struct trail {
	struct buffer arrays[3]; /* ctx, kind, id */
	uint32_t count;
	int64_t covered;
};
enum status trail_read(const PGresult *result, int64_t after, struct trail *trail) MUST_CHECK;
void trail_free(struct trail *trail);
