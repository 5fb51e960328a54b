/* Who holds VPAs where: for each participant (or tenant), by the hash of its name, the cells and types of its VPAs. */
#pragma once

#include "tenants/participant.h"

struct held {
	uint32_t slot;
	uint32_t type : 4, count : 28;
};
struct holding {
	uint64_t who; /* 0: free */
	uint32_t count, room;
	union {
		struct held one;    /* room 0 */
		struct held *items; /* else: in the order of slot and type */
	};
};
struct holdings {
	struct holding *table; /* open addressing */
	uint32_t count, room;
	size_t bytes; /* of the lists */
};

/* Borrowed until the next change; *count 0: nobody of that name. */
const struct held *holdings_of(const struct holdings *holdings, uint64_t who, uint32_t *count);
/* change 1 or -1; giving back what is not held does nothing. False: out of memory, nothing changed. *is_edge: the first
 * of the holder on this cell came, or the last went. */
bool holdings_change(
	struct holdings *holdings, uint64_t who, uint32_t slot, enum vpa_type type, int change, bool *is_edge);
size_t holdings_bytes(const struct holdings *holdings);
void holdings_free(struct holdings *holdings);
