/* Where the VPAs of a participant or a tenant are: what affinity and spread look at. */
#include "control/fabric/place/decide.h"

const struct held *place_held(
	const struct place_snapshot *snapshot, const struct place_request *request, enum place_whose whose, uint32_t *count)
{
	*count = 0;
	switch (whose) {
	case PLACE_OF_PARTICIPANT:
		return lodgings_of(&snapshot->participants, request->participant_hash, count);
	case PLACE_OF_TENANT:
		return lodgings_of(&snapshot->tenancies, request->tenant_hash, count);
	case PLACE_OF_STANDBY:
		return NULL;
	}
	return NULL;
}

void neighbours_add_domain(const struct place_snapshot *snapshot, enum place_key key, uint32_t slot, uint64_t *into)
{
	uint16_t attribute = snapshot->cold[slot].keys[key];
	if (key == PLACE_KEY_CELL)
		bits_put(into, slot, true);
	else if (attribute != ATTRIBUTE_NONE)
		bits_or(into, snapshot->attributes.items[attribute].bits, snapshot->words);
}

bool neighbours_find(const struct place_snapshot *snapshot, const struct place_request *request,
	const struct affinity *term, uint64_t *into)
{
	uint32_t count;
	const struct held *held = place_held(snapshot, request, term->whose, &count);
	bool is_any = false;
	set_clear(snapshot, into);
	for (uint32_t i = 0; i < count; i++) {
		if ((term->types >> held[i].type & 1U) != 0) {
			neighbours_add_domain(snapshot, term->key, held[i].slot, into);
			is_any = true;
		}
	}
	return is_any;
}

uint32_t neighbours_count(
	const struct place_snapshot *snapshot, const struct place_request *request, enum place_key key, uint32_t domain)
{
	uint32_t count, found = 0;
	const struct held *held = place_held(snapshot, request, PLACE_OF_PARTICIPANT, &count);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t its = key == PLACE_KEY_CELL ? held[i].slot : snapshot->cold[held[i].slot].keys[key];
		found += held[i].type == request->type && its == domain ? held[i].count : 0;
	}
	return found;
}
