/* A participant's VPAs, all or nothing. */
#include <stdlib.h>

#include "control/fabric/place/snapshot.h"

/* Must the first be where the second's type is, cell by cell? */
static bool is_bound(const struct place_request *one, const struct place_request *other)
{
	if (one->participant_hash != other->participant_hash)
		return false;
	for (size_t i = 0; i < one->affinity_count; i++) {
		const struct affinity *term = &one->affinities[i];
		if (term->is_hard && !term->is_anti && term->key == PLACE_KEY_CELL && term->whose == PLACE_OF_PARTICIPANT &&
			(term->types >> other->type & 1U) != 0)
			return true;
	}
	return false;
}

/* leader[i]: the first request of those that share a cell with i. */
static void find_leaders(const struct place_request *const *requests, size_t count, size_t *leader)
{
	for (size_t i = 0; i < count; i++)
		leader[i] = i;
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < i; j++) {
			size_t from = leader[i] > leader[j] ? leader[i] : leader[j];
			size_t to = leader[i] > leader[j] ? leader[j] : leader[i];
			if (from == to || (!is_bound(requests[i], requests[j]) && !is_bound(requests[j], requests[i])))
				continue;
			for (size_t k = 0; k <= i; k++)
				leader[k] = leader[k] == from ? to : leader[k];
		}
	}
}

/* The requests led by `first`, as one decision. */
static size_t collect(const struct place_request *const *requests, size_t count, const size_t *leader, size_t first,
	const struct place_request **together)
{
	size_t found = 0;
	for (size_t i = first; i < count; i++) {
		if (leader[i] == first)
			together[found++] = requests[i];
	}
	return found;
}

struct booked {
	uint32_t *slots;
	const size_t *leader;
};

static void undo(struct place_snapshot *snapshot, const struct place_request *const *requests, size_t count,
	const struct booked *booked, size_t until)
{
	for (size_t i = 0; i < count; i++) {
		if (booked->leader[i] < until && place_snapshot_book(snapshot, booked->slots[i], requests[i], -1) != STATUS_OK)
			abort(); /* giving back needs no memory */
	}
}

static enum status book(struct place_snapshot *snapshot, const struct place_request *const *requests, size_t count,
	const struct booked *booked, size_t first, uint32_t slot)
{
	for (size_t i = first; i < count; i++) {
		if (booked->leader[i] != first)
			continue;
		enum status status = place_snapshot_book(snapshot, slot, requests[i], 1);
		if (status != STATUS_OK) {
			for (size_t j = first; j < i; j++) {
				if (booked->leader[j] == first && place_snapshot_book(snapshot, slot, requests[j], -1) != STATUS_OK)
					abort();
			}
			return status;
		}
		booked->slots[i] = slot;
	}
	return STATUS_OK;
}

static void tell(struct place_snapshot *snapshot, const struct place_decision *decision, bool is_first,
	const struct place_telling *telling)
{
	if (telling->line != NULL) {
		if (decision->slot < 0)
			buffer_clear(telling->line); /* what fitted does not matter any more */
		if (telling->line->length > 0)
			buffer_append_byte(telling->line, '\n');
		place_explain_line(snapshot, decision, telling->line);
	}
	if (telling->explain != NULL) {
		buffer_append_byte(telling->explain, is_first ? '[' : ',');
		place_explain(snapshot, decision, telling, telling->explain);
	}
}

enum status place_group(struct place_snapshot *snapshot, const struct place_request *const *requests, size_t count,
	uint32_t *slots, const struct place_telling *telling)
{
	const struct place_request *together[PLACE_GROUP_MAX];
	size_t leader[PLACE_GROUP_MAX];
	struct place_decision decision;
	enum status status = STATUS_OK;
	struct booked booked = {.slots = slots, .leader = leader};
	if (count == 0 || count > PLACE_GROUP_MAX)
		return STATUS_INVALID;
	find_leaders(requests, count, leader);
	for (size_t first = 0; first < count && status == STATUS_OK; first++) {
		size_t found = collect(requests, count, leader, first, together);
		if (found == 0)
			continue;
		place_decide(snapshot, together, found, &decision);
		tell(snapshot, &decision, first == 0, telling);
		status = decision.slot < 0 ? STATUS_NOT_FOUND
								   : book(snapshot, requests, count, &booked, first, (uint32_t)decision.slot);
		if (status != STATUS_OK)
			undo(snapshot, requests, count, &booked, first);
	}
	if (telling->explain != NULL)
		buffer_append_byte(telling->explain, ']');
	return status;
}

void place_group_undo(
	struct place_snapshot *snapshot, const struct place_request *const *requests, size_t count, const uint32_t *slots)
{
	for (size_t i = 0; i < count; i++) {
		if (place_snapshot_book(snapshot, slots[i], requests[i], -1) != STATUS_OK)
			abort(); /* giving back needs no memory */
	}
}
