/* Why a cell was chosen, or none, in words for people. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "control/fabric/place/bits.h"
#include "control/fabric/place/snapshot.h"

static void print_wants(struct buffer *into, const struct wants *wants, const char *between)
{
	for (size_t i = 0; i < wants->count; i++)
		buffer_printf(into, "%s%s", i == 0 ? "" : between, wants->items[i].text);
}

/* --- what is wrong, for counting: "610 outside EU" */

static void print_residency(const struct place_request *request, struct buffer *into)
{
	if (request->jurisdictions.count > 0) {
		buffer_printf(into, "outside ");
		print_wants(into, &request->jurisdictions, "/");
	}
	if (request->compliance.count > 0) {
		buffer_printf(into, "%swithout valid ", request->jurisdictions.count > 0 ? " or " : "");
		print_wants(into, &request->compliance, ", ");
	}
}

/* Of all of these one of each is asked for. */
static const struct {
	const char *name;
	size_t offset;
} locations[] = {{"region", offsetof(struct place_request, regions)},
	{"provider", offsetof(struct place_request, providers)}, {"zone", offsetof(struct place_request, zones)},
	{"site", offsetof(struct place_request, sites)}, {"type", offsetof(struct place_request, types)}};
enum { LOCATIONS = sizeof(locations) / sizeof(locations[0]) };

static const struct wants *location_of(const struct place_request *request, size_t at)
{
	return (const struct wants *)(const void *)((const char *)request + locations[at].offset);
}

static void print_location(const struct place_request *request, struct buffer *into)
{
	const char *between = "not ";
	for (size_t at = 0; at < LOCATIONS; at++) {
		const struct wants *wants = location_of(request, at);
		if (wants->count == 0)
			continue;
		buffer_printf(into, "%s", between);
		print_wants(into, wants, "/");
		between = " and ";
	}
	if (request->cell != NULL)
		buffer_printf(into, "%s%s", between, request->cell);
}

static void print_labels(const struct place_request *request, struct buffer *into)
{
	if (request->labels.count > 0) {
		buffer_printf(into, "without ");
		print_wants(into, &request->labels, ", ");
	}
	if (request->forbidden.count > 0) {
		buffer_printf(into, "%swith ", request->labels.count > 0 ? " or " : "");
		print_wants(into, &request->forbidden, ", ");
	}
}

static void print_wrong(const struct place_request *request, enum place_filter filter, struct buffer *into)
{
	static const char *const wrongs[] = {
#define FILTER_WRONG(name, text, wrong) wrong,
		PLACE_FILTER_LIST(FILTER_WRONG)
#undef FILTER_WRONG
	};
	static void (*const printers[PLACE_FILTER_COUNT])(const struct place_request *request, struct buffer *into) = {
		[PLACE_FILTER_RESIDENCY] = print_residency,
		[PLACE_FILTER_LOCATION] = print_location,
		[PLACE_FILTER_LABELS] = print_labels,
	};
	size_t before = into->length;
	if (printers[filter] != NULL)
		printers[filter](request, into);
	if (into->length == before)
		buffer_printf(into, "%s", wrongs[filter]);
}

/* --- what one cell lacks: "lacks label tier=gold" */

static bool has(const struct place_snapshot *snapshot, const struct want *want, uint32_t slot)
{
	const uint64_t *set = place_snapshot_set(snapshot, want);
	return set != NULL && bits_has(set, slot);
}

static const struct want *first_missing(const struct place_snapshot *snapshot, const struct wants *wants, uint32_t slot)
{
	for (size_t i = 0; i < wants->count; i++) {
		if (!has(snapshot, &wants->items[i], slot))
			return &wants->items[i];
	}
	return NULL;
}

static const struct want *first_there(const struct place_snapshot *snapshot, const struct wants *wants, uint32_t slot)
{
	for (size_t i = 0; i < wants->count; i++) {
		if (has(snapshot, &wants->items[i], slot))
			return &wants->items[i];
	}
	return NULL;
}

/* Each says what is wrong with the cell for this request, or nothing. */
typedef void miss_printer(
	const struct place_snapshot *snapshot, const struct place_request *request, uint32_t slot, struct buffer *into);

static void miss_state(
	const struct place_snapshot *snapshot, const struct place_request *request, uint32_t slot, struct buffer *into)
{
	const char *why = snapshot->cold[slot].why;
	if (!bits_has(snapshot->sets[SET_OPEN], slot)) {
		buffer_printf(into, "is %s", why == NULL ? "not ready" : why);
		return;
	}
	for (unsigned type = 0; type < VPA_TYPE_COUNT; type++) {
		if ((request->components >> type & 1U) != 0 && !bits_has(snapshot->sets[SET_READY + type], slot)) {
			buffer_printf(into, "has no %s ready", vpa_type_name((enum vpa_type)type));
			return;
		}
	}
}

static void miss_residency(
	const struct place_snapshot *snapshot, const struct place_request *request, uint32_t slot, struct buffer *into)
{
	const struct want *missing = first_missing(snapshot, &request->compliance, slot);
	if (request->jurisdictions.count > 0 && first_there(snapshot, &request->jurisdictions, slot) == NULL) {
		buffer_printf(into, "is outside ");
		print_wants(into, &request->jurisdictions, "/");
	} else if (missing != NULL) {
		buffer_printf(into, "has no valid attestation of %s", missing->text);
	}
}

static void miss_location(
	const struct place_snapshot *snapshot, const struct place_request *request, uint32_t slot, struct buffer *into)
{
	for (size_t at = 0; at < LOCATIONS; at++) {
		const struct wants *wants = location_of(request, at);
		if (wants->count > 0 && first_there(snapshot, wants, slot) == NULL) {
			buffer_printf(into, "is not of %s ", locations[at].name);
			print_wants(into, wants, "/");
			return;
		}
	}
	if (request->cell != NULL && strcmp(snapshot->cold[slot].id, request->cell) != 0 &&
		strcmp(snapshot->cold[slot].cfm_id, request->cell) != 0)
		buffer_printf(into, "is not %s", request->cell);
}

static void miss_labels(
	const struct place_snapshot *snapshot, const struct place_request *request, uint32_t slot, struct buffer *into)
{
	const struct want *missing = first_missing(snapshot, &request->labels, slot);
	const struct want *there = first_there(snapshot, &request->forbidden, slot);
	if (missing != NULL)
		buffer_printf(into, "lacks label %s", missing->text);
	else if (there != NULL)
		buffer_printf(into, "has label %s", there->text);
}

static void miss_taints(
	const struct place_snapshot *snapshot, const struct place_request *request, uint32_t slot, struct buffer *into)
{
	for (uint32_t i = 0; i < snapshot->taint_count; i++) {
		const struct attribute *taint = &snapshot->attributes.items[snapshot->taints[i]];
		if (bits_has(taint->bits, slot) && !place_tolerates(request, text_of(taint->text))) {
			struct text name = text_of(taint->text); /* "key=" when it has no value */
			buffer_printf(into, "has taint %.*s", (int)name.length - text_ends_with(name, TEXT("=")), name.bytes);
			return;
		}
	}
}

static void miss_room(const struct place_snapshot *snapshot, int from, int to, uint32_t slot, struct buffer *into)
{
	for (int i = from; i < to; i++) {
		if (snapshot->free[i][slot] >= snapshot->asked.need[i] || snapshot->asked.need[i] == 0)
			continue;
		buffer_printf(into, "%s (%lld of %d %s booked, %d asked)", i < PLACE_RESOURCES ? "is full" : "is short of room",
			(long long)place_snapshot_used(snapshot, slot, i), snapshot->allowed[i][slot], place_dimension_name(i),
			snapshot->asked.need[i]);
		return;
	}
}

static void miss_capacity(
	const struct place_snapshot *snapshot, const struct place_request *request, uint32_t slot, struct buffer *into)
{
	(void)request;
	miss_room(snapshot, 0, PLACE_RESOURCES, slot, into);
}

static void miss_resources(
	const struct place_snapshot *snapshot, const struct place_request *request, uint32_t slot, struct buffer *into)
{
	(void)request;
	miss_room(snapshot, PLACE_RESOURCES, PLACE_DIMENSION_COUNT, slot, into);
}

static void miss_affinity(
	const struct place_snapshot *snapshot, const struct place_request *request, uint32_t slot, struct buffer *into)
{
	(void)snapshot, (void)slot;
	if (request->affinity_count > 0 || request->spread_count > 0)
		buffer_printf(into, "is against affinity or spread");
}

static void miss_profiles(
	const struct place_snapshot *snapshot, const struct place_request *request, uint32_t slot, struct buffer *into)
{
	const struct want *missing = first_missing(snapshot, &request->profiles, slot);
	if (missing != NULL)
		buffer_printf(into, "has no active deployment of dataspace profile %s", missing->text);
}

static void miss_versions(
	const struct place_snapshot *snapshot, const struct place_request *request, uint32_t slot, struct buffer *into)
{
	if (request->class != PLACE_PINNED && bits_has(snapshot->sets[SET_INTERMITTENT], slot))
		buffer_printf(into, "is not always connected");
	else if (snapshot->cold[slot].protocol < request->min_protocol)
		buffer_printf(
			into, "speaks protocol %d, not %lld", snapshot->cold[slot].protocol, (long long)request->min_protocol);
}

static miss_printer *const misses[PLACE_FILTER_COUNT] = {
	[PLACE_FILTER_STATE] = miss_state,
	[PLACE_FILTER_RESIDENCY] = miss_residency,
	[PLACE_FILTER_LOCATION] = miss_location,
	[PLACE_FILTER_LABELS] = miss_labels,
	[PLACE_FILTER_TAINTS] = miss_taints,
	[PLACE_FILTER_CAPACITY] = miss_capacity,
	[PLACE_FILTER_RESOURCES] = miss_resources,
	[PLACE_FILTER_AFFINITY] = miss_affinity,
	[PLACE_FILTER_PROFILES] = miss_profiles,
	[PLACE_FILTER_VERSIONS] = miss_versions,
};

void explain_print_miss(const struct place_snapshot *snapshot, uint32_t slot, uint32_t mask, struct buffer *into)
{
	const char *between = "";
	for (unsigned filter = 0; filter < PLACE_FILTER_COUNT; filter++) {
		size_t before;
		if ((mask >> filter & 1U) == 0)
			continue;
		buffer_printf(into, "%s", between);
		before = into->length;
		for (size_t i = 0; i < snapshot->asked.count && into->length == before; i++)
			misses[filter](snapshot, snapshot->asked.requests[i], slot, into);
		between = " and ";
	}
}

/* The cell that the fewest filters stand against; of those the one that got furthest, then by id. UINT32_MAX: none. */
static uint32_t nearest_miss(const struct place_snapshot *snapshot, uint32_t *its_mask)
{
	uint32_t nearest = UINT32_MAX;
	const uint64_t *present = snapshot->sets[SET_PRESENT];
	for (uint32_t slot = bits_next(present, snapshot->words, 0); slot < snapshot->words * 64;
		 slot = bits_next(present, snapshot->words, slot + 1)) {
		uint32_t mask = place_mask(snapshot, slot), count = bits_count_word(mask);
		int order = nearest == UINT32_MAX ? -1 : (int)count - (int)bits_count_word(*its_mask);
		if (order == 0)
			order = __builtin_ctz(*its_mask | 1U << 31) - __builtin_ctz(mask | 1U << 31);
		if (order == 0)
			order = strcmp(snapshot->cold[slot].id, snapshot->cold[nearest].id);
		if (order < 0) {
			nearest = slot;
			*its_mask = mask;
		}
	}
	return nearest;
}

/* --- the line */

static void print_counts(
	const struct place_snapshot *snapshot, const struct place_decision *decision, struct buffer *into)
{
	const char *between = ": ";
	for (int filter = 0; filter < PLACE_FILTER_COUNT; filter++) {
		if (decision->filtered[filter] == 0)
			continue;
		buffer_printf(into, "%s%u ", between, decision->filtered[filter]);
		print_wrong(snapshot->asked.requests[0], (enum place_filter)filter, into);
		between = ", ";
	}
}

void place_explain_line(struct place_snapshot *snapshot, const struct place_decision *decision, struct buffer *into)
{
	uint32_t mask = 0;
	if (decision->slot >= 0)
		buffer_printf(into, "%s, of ", snapshot->cold[decision->slot].id);
	buffer_printf(into, "%u of %u cells", decision->feasible, decision->evaluated);
	print_counts(snapshot, decision, into);
	if (decision->slot >= 0)
		return;
	uint32_t nearest = nearest_miss(snapshot, &mask);
	if (nearest == UINT32_MAX)
		return;
	buffer_printf(into, "; nearest miss: %s ", snapshot->cold[nearest].id);
	explain_print_miss(snapshot, nearest, mask, into);
}
