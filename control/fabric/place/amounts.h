/* Amounts: how much of each dimension of a cell (place.h) is booked, asked for or given back. */
#pragma once

#include "control/fabric/place/place.h"

/* What one VPA of the request takes. */
void amounts_of(const struct place_request *request, int64_t amount[PLACE_DIMENSION_COUNT]);
/* {"<name>": {"<dimension>": ...}}, without those that are 0. */
void amounts_print(struct buffer *into, const char *name, const int64_t amount[PLACE_DIMENSION_COUNT]);
/* The same back; what is not said is 0. False: it is no JSON. */
bool amounts_read(struct text body, const char *name, int64_t amount[PLACE_DIMENSION_COUNT]) MUST_CHECK;
