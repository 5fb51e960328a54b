/* Where a participant's VPAs are, read from its profile's record without making a tree of it: a start reads a quarter
 * of a million of them. */
#pragma once

#include "tenants/participant.h"

enum { SEATS_MAX = 64 };

struct seat {
	struct text cell; /* "cellId": its CFM id; points into the body */
	enum vpa_type type;
};
/* The words of "state" of all members of "vpas"; they point into the body. How many. */
size_t seats_states(struct text body, struct text states[SEATS_MAX]);
/* The members of "vpas" that take room: not those disposed of. How many; what is no such JSON has none. */
size_t seats_read(struct text body, struct seat seats[SEATS_MAX]);
