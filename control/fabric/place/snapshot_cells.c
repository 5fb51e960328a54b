/* Cells come, change and go: from a definition and what is true now to columns, sets and attributes. */
#include "control/fabric/place/bits.h"
#include "control/fabric/place/snapshot.h"

#include <stdlib.h>
#include <string.h>

/* What may be booked: max with overcommit, less what is kept for fail-over. -1: unlimited. */
static int64_t allowed_of(const struct cell_definition *definition, int dimension)
{
	if (definition == NULL)
		return -1;
	int resource = dimension - PLACE_RESOURCES;
	int64_t most = dimension == PLACE_VPAS       ? definition->max_vpas
				   : dimension < PLACE_RESOURCES ? definition->max_per_type[dimension - PLACE_TYPES]
												 : definition->resources[resource];
	if (most < 0)
		return -1;
	if (dimension >= PLACE_RESOURCES)
		most = most * definition->overcommit[resource] / 100;
	return most * (100 - definition->failover_reserve_pct) / 100;
}

static void put_rooms(struct place_snapshot *snapshot, uint32_t slot, const struct cell_definition *definition,
	const struct place_standing *standing)
{
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++) {
		int64_t allowed = allowed_of(definition, i), used = snapshot_bounded(standing->used[i]);
		int32_t most = allowed < 0 ? INT32_MAX : snapshot_bounded(allowed);
		snapshot_set_room(snapshot, slot, i, (int32_t)(most - used), most);
	}
	snapshot_set_load(snapshot, slot, (int16_t)standing->load);
}

/* A growing list of the attributes a cell is to have. */
struct chosen {
	struct place_snapshot *snapshot;
	uint8_t *has; /* one a known attribute */
	uint32_t room;
	bool is_failed;
};

static uint16_t choose(struct chosen *chosen, enum place_attribute kind, struct text text)
{
	uint16_t index = attributes_intern(&chosen->snapshot->attributes, kind, text);
	if (index >= chosen->room && index != ATTRIBUTE_NONE) {
		uint32_t room = index + 64U;
		uint8_t *more = realloc(chosen->has, room);
		if (more != NULL) {
			memset(more + chosen->room, 0, room - chosen->room);
			chosen->has = more;
			chosen->room = room;
		} else {
			index = ATTRIBUTE_NONE;
		}
	}
	if (index == ATTRIBUTE_NONE)
		chosen->is_failed = true;
	else
		chosen->has[index] = 1;
	return index;
}

static uint16_t choose_text(struct chosen *chosen, enum place_attribute kind, const char *text)
{
	return text == NULL ? ATTRIBUTE_NONE : choose(chosen, kind, text_of(text));
}

static void choose_pair(struct chosen *chosen, enum place_attribute kind, const char *key, const char *value)
{
	struct buffer pair = {0};
	buffer_printf(&pair, "%s=%s", key, value);
	if (pair.failed)
		chosen->is_failed = true;
	else
		choose(chosen, kind, buffer_text(&pair));
	buffer_free(&pair);
}

static void choose_attestations(struct chosen *chosen, const struct cell_definition *definition, struct cold *cold)
{
	cold->attestations = calloc(definition->compliance_count + 1, sizeof(*cold->attestations));
	if (cold->attestations == NULL) {
		chosen->is_failed = true;
		return;
	}
	for (size_t i = 0; i < definition->compliance_count; i++) {
		const struct cell_attestation *from = &definition->compliance[i];
		uint16_t index = choose_text(chosen, PLACE_COMPLIANCE, from->id);
		if (index == ATTRIBUTE_NONE)
			return;
		if (from->valid_until_ms <= chosen->snapshot->now_ms)
			chosen->has[index] = 0;
		cold->attestations[cold->attestation_count++] = (struct attestation){index, from->valid_until_ms};
	}
}

static void choose_all(struct chosen *chosen, const struct cell_definition *definition, struct cold *cold)
{
	cold->keys[PLACE_KEY_REGION] = choose_text(chosen, PLACE_REGION, definition->region);
	cold->keys[PLACE_KEY_PROVIDER] = choose_text(chosen, PLACE_PROVIDER, definition->provider);
	cold->keys[PLACE_KEY_ZONE] = choose_text(chosen, PLACE_ZONE, definition->zone);
	cold->keys[PLACE_KEY_SITE] = choose_text(chosen, PLACE_SITE, definition->site);
	cold->keys[PLACE_KEY_POWER_DOMAIN] = choose_text(chosen, PLACE_POWER_DOMAIN, definition->power_domain);
	choose_text(chosen, PLACE_TYPE, definition->type);
	for (size_t i = 0; i < definition->jurisdiction_count; i++)
		choose_text(chosen, PLACE_JURISDICTION, definition->jurisdictions[i]);
	for (size_t i = 0; i < definition->label_count; i++)
		choose_pair(chosen, PLACE_LABEL, definition->labels[i].key, definition->labels[i].value);
	for (size_t i = 0; i < definition->taint_count; i++)
		choose_pair(chosen, PLACE_TAINT, definition->taints[i].key, definition->taints[i].value);
	choose_attestations(chosen, definition, cold);
}

bool snapshot_list_taints(struct place_snapshot *snapshot)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < snapshot->attributes.count; i++)
		count += snapshot->attributes.items[i].kind == PLACE_TAINT;
	if (count == snapshot->taint_count)
		return true;
	uint16_t *taints = realloc(snapshot->taints, (count + 1) * sizeof(*taints));
	if (taints == NULL)
		return false;
	snapshot->taints = taints;
	snapshot->taint_count = 0;
	for (uint32_t i = 0; i < snapshot->attributes.count; i++) {
		if (snapshot->attributes.items[i].kind == PLACE_TAINT)
			taints[snapshot->taint_count++] = (uint16_t)i;
	}
	return true;
}

static void find_next_expiry(struct place_snapshot *snapshot)
{
	snapshot->next_expiry_ms = INT64_MAX;
	for (uint32_t slot = 0; slot < snapshot->words * 64; slot++) {
		const struct cold *cold = &snapshot->cold[slot];
		for (uint32_t i = 0; i < cold->attestation_count; i++) {
			int64_t until_ms = cold->attestations[i].until_ms;
			if (until_ms > snapshot->now_ms && until_ms < snapshot->next_expiry_ms)
				snapshot->next_expiry_ms = until_ms;
		}
	}
}

static bool is_same_cold(const struct cold *a, const struct cold *b)
{
	return a->id != NULL && b->id != NULL && strcmp(a->id, b->id) == 0 && a->protocol == b->protocol &&
		   memcmp(a->keys, b->keys, sizeof(a->keys)) == 0;
}

static void put_ready(
	struct place_snapshot *snapshot, uint32_t slot, const struct cell_definition *definition, unsigned ready)
{
	unsigned components = definition == NULL ? ~0U : definition->components;
	for (unsigned type = 0; type < VPA_TYPE_COUNT; type++)
		snapshot_set_member(snapshot, slot, SET_READY + type, (components & ready & 1U << type) != 0);
}

static void put_sets(struct place_snapshot *snapshot, uint32_t slot, const struct cell_definition *definition,
	const struct place_standing *standing)
{
	snapshot_set_member(snapshot, slot, SET_PRESENT, true);
	snapshot_set_member(snapshot, slot, SET_OPEN, standing->is_open);
	snapshot_set_member(snapshot, slot, SET_DEGRADED, standing->is_degraded);
	snapshot_set_member(snapshot, slot, SET_INTERMITTENT, definition != NULL && definition->is_intermittent);
	put_ready(snapshot, slot, definition, standing->ready);
}

static uint32_t opinion_index(const struct place_snapshot *snapshot, const char *name)
{
	uint32_t index = 0;
	while (index < snapshot->opinion_count && strcmp(snapshot->opinions[index].name, name) != 0)
		index++;
	return index < snapshot->opinion_count ? index : UINT32_MAX;
}

/* Room for the names it says. False: out of memory. */
static bool hear_names(struct place_snapshot *snapshot, const struct cell_definition *definition)
{
	for (size_t i = 0; definition != NULL && i < definition->score_count; i++) {
		uint32_t index = opinion_index(snapshot, definition->scores[i].name);
		if (index == UINT32_MAX && snapshot_add_opinion(snapshot, definition->scores[i].name, &index) != STATUS_OK)
			return false;
	}
	return true;
}

/* What costs least is best. */
static void put_opinions(struct place_snapshot *snapshot, uint32_t slot, const struct cell_definition *definition)
{
	int16_t said[PLACE_OPINIONS_MAX] = {0};
	for (size_t i = 0; definition != NULL && i < definition->score_count; i++) {
		const struct cell_score *score = &definition->scores[i];
		uint32_t index = opinion_index(snapshot, score->name);
		if (index != UINT32_MAX)
			said[index] = (int16_t)(strcmp(score->name, "cost") == 0 ? 1000 - score->value : score->value);
	}
	for (uint32_t i = 0; i < snapshot->opinion_count; i++)
		snapshot_set_opinion(snapshot, slot, i, said[i]);
}

static bool gather(struct chosen *chosen, const struct cell_definition *definition,
	const struct place_standing *standing, struct cold *cold)
{
	for (int key = 0; key < PLACE_KEY_COUNT; key++)
		cold->keys[key] = ATTRIBUTE_NONE;
	if (definition != NULL)
		choose_all(chosen, definition, cold);
	for (size_t i = 0; i < standing->profile_count; i++)
		choose(chosen, PLACE_PROFILE, standing->profiles[i]);
	return !chosen->is_failed && hear_names(chosen->snapshot, definition) && cold->id != NULL && cold->cfm_id != NULL &&
		   snapshot_list_taints(chosen->snapshot);
}

enum status place_snapshot_put(struct place_snapshot *snapshot, uint32_t slot, struct text id,
	const struct cell_definition *definition, const struct place_standing *standing)
{
	if (!snapshot_reserve(snapshot, slot))
		return STATUS_NO_MEMORY;
	struct text name = definition == NULL ? id : text_of(definition->cell_id);
	struct chosen chosen = {.snapshot = snapshot};
	struct cold cold = {.id = text_copy(name),
		.cfm_id = text_copy(id),
		.why = standing->why,
		.protocol = definition == NULL ? 0 : (int32_t)definition->protocol};
	uint32_t attributes = snapshot->attributes.count, opinions = snapshot->opinion_count;
	if (!gather(&chosen, definition, standing, &cold)) {
		cold_free(&cold);
		free(chosen.has);
		return STATUS_NO_MEMORY;
	}
	struct cold *old = &snapshot->cold[slot];
	bool is_new = old->id == NULL;
	if (!is_new && !is_same_cold(old, &cold))
		snapshot_forget(snapshot); /* what was decided of it before cannot be decided again */
	if (is_new || !is_same_cold(old, &cold) || strcmp(old->cfm_id, cold.cfm_id) != 0 ||
		attributes != snapshot->attributes.count || opinions != snapshot->opinion_count)
		journal_break(snapshot->journal);
	cold.load = -1;
	if (!is_new)
		cold.load = old->load;
	cold_free(old);
	*old = cold;
	snapshot->hash[slot] = place_hash(name);
	snapshot->count += !bits_has(snapshot->sets[SET_PRESENT], slot);
	put_sets(snapshot, slot, definition, standing);
	put_rooms(snapshot, slot, definition, standing);
	put_opinions(snapshot, slot, definition);
	for (uint32_t i = 0; i < snapshot->attributes.count; i++)
		snapshot_set_attribute(snapshot, slot, i, i < chosen.room && chosen.has[i] != 0);
	free(chosen.has);
	find_next_expiry(snapshot);
	return STATUS_OK;
}

void place_snapshot_measure(
	struct place_snapshot *snapshot, uint32_t slot, const struct cell_definition *definition, unsigned ready, int load)
{
	if (place_snapshot_cell(snapshot, slot) == NULL)
		return;
	put_ready(snapshot, slot, definition, ready);
	snapshot_set_load(snapshot, slot, (int16_t)load);
}

void place_snapshot_remove(struct place_snapshot *snapshot, uint32_t slot)
{
	if (place_snapshot_cell(snapshot, slot) == NULL)
		return;
	snapshot->count--;
	for (uint32_t set = 0; set < SETS_MAX; set++)
		snapshot_set_member(snapshot, slot, set, false);
	for (uint32_t i = 0; i < snapshot->attributes.count; i++)
		snapshot_set_attribute(snapshot, slot, i, false);
	put_opinions(snapshot, slot, NULL);
	snapshot->cold[slot].attestation_count = 0; /* the names stay, for who looks back */
	find_next_expiry(snapshot);
}

bool place_snapshot_advance(struct place_snapshot *snapshot, int64_t wall_ms)
{
	if (wall_ms <= snapshot->now_ms)
		return false; /* a clock that goes back revives nothing */
	snapshot->now_ms = wall_ms;
	if (wall_ms < snapshot->next_expiry_ms)
		return false;
	for (uint32_t slot = 0; slot < snapshot->words * 64; slot++) {
		const struct cold *cold = &snapshot->cold[slot];
		for (uint32_t i = 0; i < cold->attestation_count; i++) {
			if (cold->attestations[i].until_ms <= wall_ms)
				snapshot_set_attribute(snapshot, slot, cold->attestations[i].attribute, false);
		}
	}
	find_next_expiry(snapshot);
	return true;
}
