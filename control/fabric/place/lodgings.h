/* Who holds VPAs where: for each participant (or tenant), by the hash of its name, the cells and types of its VPAs. */
#pragma once

#include "tenants/participant.h"

struct held {
	uint32_t slot;
	uint32_t type : 4, count : 28;
};
struct lodging {
	uint64_t who; /* 0: free */
	uint32_t count, room;
	union {
		struct held one;    /* room 0 */
		struct held *items; /* else: in the order of slot and type */
	};
};
struct lodgings {
	struct lodging *table; /* open addressing */
	uint32_t count, room;
	size_t bytes; /* of the lists */
};

/* It will be asked for soon: its entry is on its way from memory meanwhile. */
void lodgings_expect(const struct lodgings *lodgings, uint64_t who);
/* Borrowed until the next change; *count 0: nobody of that name. */
const struct held *lodgings_of(const struct lodgings *lodgings, uint64_t who, uint32_t *count);
/* change 1 or -1; giving back what is not held does nothing. False: out of memory, nothing changed. *is_edge: the first
 * of the holder on this cell came, or the last went. */
bool lodgings_change(
	struct lodgings *lodgings, uint64_t who, uint32_t slot, enum vpa_type type, int change, bool *is_edge);
size_t lodgings_bytes(const struct lodgings *lodgings);
void lodgings_free(struct lodgings *lodgings);
