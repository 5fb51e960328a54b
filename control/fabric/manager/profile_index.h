/* The participant profiles there are, in the order of their ids: 32 bytes each, with what is asked of many of them and
 * at once. The record itself is read from the store when it is wanted (profile_read): a fabric has a quarter of a
 * million, and each is 1.5 KiB. On the fabric's worker. */
#pragma once

#include "control/fabric/manager/profile.h"
#include "control/state/state.h"
#include "server/base/id.h"

enum { PROFILE_ID_BYTES = 16 };

struct profile_row {
	unsigned char id[PROFILE_ID_BYTES]; /* the UUID */
	int64_t revision;                   /* of the record */
	uint32_t tenant;                    /* profile_row_print knows whose */
	unsigned char states;               /* bit per enum vpa_state that a VPA of it is in */
};

struct profile_index;
/* Before store_load. */
enum status profile_index_open(struct state *state, struct profile_index **index) MUST_CHECK;
void profile_index_free(struct profile_index *index);

/* By the id without the tenant's. NULL: none. Good until the worker returns to its loop, as all rows are. */
const struct profile_row *profile_index_find(const struct profile_index *index, struct text id);
size_t profile_index_count(const struct profile_index *index);
size_t profile_index_count_of(const struct profile_index *index, struct text tenant);
/* Copies at most `room` rows from a position on. How many. */
size_t profile_index_copy(const struct profile_index *index, size_t position, struct profile_row *rows, size_t room);
/* The same, with those that come after this id (NULL: from the first). */
size_t profile_index_copy_after(
	const struct profile_index *index, const unsigned char *id, struct profile_row *rows, size_t room);
/* Appends the record's id, "<tenant>/<profile>". */
void profile_row_print(const struct profile_index *index, const struct profile_row *row, struct buffer *into);
struct text profile_row_tenant(const struct profile_index *index, const struct profile_row *row);
/* What it occupies, allocator's overhead aside. */
size_t profile_index_bytes(const struct profile_index *index);
