/* Random fabrics and policies against an oracle that is written differently: plain loops over the definitions, one cell
 * at a time, in the order of the specification. Residency first of all (I5): no decision may ever violate it.
 *
 * CELLD_PLACE_POLICIES=1000000 for the long run. */
#include "tests/place_fixture.h"

#include "control/fabric/place/snapshot.h"

enum { CELLS = 70, FABRICS = 4, PARTICIPANTS = 40, TYPES = VPA_TYPE_COUNT };

static uint64_t seed;

static unsigned dice(unsigned sides)
{
	seed = seed * 6364136223846793005U + 1442695040888963407U;
	return (unsigned)(seed >> 33) % sides;
}

/* What the oracle knows: the definitions, what it booked itself, who lives where. */
struct known {
	struct cell_definition *definition;
	bool is_open, is_degraded;
	unsigned ready;
	int64_t used[PLACE_DIMENSION_COUNT];
	unsigned lives[PARTICIPANTS][TYPES];
};
static struct known cells[CELLS];
static int64_t now_ms;

/* A request in the oracle's own words; printed as JSON for the placer. -1, NULL: not asked. */
struct policy {
	unsigned participant;
	enum vpa_type type;
	unsigned jurisdictions, compliance; /* bits */
	int region, zone, tier;
	bool tolerates, is_leased, is_anti, is_near;
	int64_t memory;
};

static const char *const lands[] = {"EU", "DE", "US", "CH"}, *const rules[] = {"gdpr", "itar", "iso"};

static void print_list(struct buffer *into, const char *name, const char *const *words, unsigned count, unsigned bits)
{
	const char *between = "";
	buffer_printf(into, "\"%s\":[", name);
	for (unsigned i = 0; i < count; i++) {
		if ((bits >> i & 1U) != 0) {
			buffer_printf(into, "%s\"%s\"", between, words[i]);
			between = ",";
		}
	}
	buffer_append(into, TEXT("]"));
}

static void make_cell(struct place_snapshot *snapshot, uint32_t slot)
{
	struct known *cell = &cells[slot];
	struct buffer text = {0};
	const char *between = "";
	memset(cell, 0, sizeof(*cell));
	buffer_printf(&text,
		"{\"cellId\":\"c%u\",\"name\":\"n\",\"type\":\"t\",\"region\":\"r%u\",\"provider\":\"p\",\"capacity\":{"
		"\"maxVPAs\":%u,\"perType\":{\"cfm.dataplane\":%u},\"resources\":{\"memMiB\":%u},\"failoverReservePct\":%u},"
		"\"labels\":{\"tier\":\"t%u\"},\"topology\":{\"zone\":\"z%u\"},",
		slot, dice(3), dice(12), dice(12), 50 + dice(300), dice(2) * 20, dice(3), dice(5));
	print_list(&text, "jurisdictions", lands, 4, dice(16));
	buffer_append(&text, TEXT(",\"compliance\":["));
	for (unsigned i = 0; i < 3; i++) {
		if (dice(2) == 0)
			continue;
		buffer_printf(&text, "%s{\"id\":\"%s\"%s}", between, rules[i],
			dice(3) == 0 ? ",\"validUntil\":\"2027-01-01T00:00:00Z\"" : "");
		between = ",";
	}
	buffer_printf(&text, "]%s%s}",
		dice(5) == 0 ? ",\"taints\":[{\"key\":\"edge\",\"value\":\"x\",\"effect\":\"NoPlace\"}],\"connectivity\":"
					   "\"intermittent\""
					 : "",
		dice(6) == 0 ? ",\"components\":[\"cfm.dataplane\"]" : "");
	cell->definition = place_definition(text.bytes);
	cell->is_open = dice(10) != 0;
	cell->is_degraded = dice(10) == 0;
	cell->ready = dice(10) == 0 ? dice(16) : 15;
	struct place_standing standing = {
		.is_open = cell->is_open, .is_degraded = cell->is_degraded, .ready = cell->ready, .load = -1, .why = "closed"};
	assert_int_equal(
		place_snapshot_put(snapshot, slot, text_of(cell->definition->cell_id), cell->definition, &standing), STATUS_OK);
	buffer_free(&text);
}

static struct place_request *make_request(struct policy *policy)
{
	struct buffer text = {0};
	*policy = (struct policy){.participant = dice(PARTICIPANTS),
		.type = (enum vpa_type)dice(TYPES),
		.jurisdictions = dice(3) == 0 ? 0 : dice(16),
		.compliance = dice(2) == 0 ? 0 : dice(8),
		.region = dice(4) == 0 ? (int)dice(3) : -1,
		.zone = dice(6) == 0 ? (int)dice(5) : -1,
		.tier = dice(4) == 0 ? (int)dice(4) : -1,
		.tolerates = dice(2) == 0,
		.is_leased = dice(4) == 0,
		.is_anti = dice(4) == 0,
		.is_near = dice(6) == 0,
		.memory = dice(20)};
	buffer_printf(&text, "{\"vpaId\":\"v%u\",\"participant\":\"p%u\",\"type\":\"%s\",\"class\":\"%s\",\"require\":{",
		dice(1000), policy->participant, vpa_type_name(policy->type), policy->is_leased ? "leased" : "pinned");
	print_list(&text, "jurisdictions", lands, 4, policy->jurisdictions);
	buffer_append(&text, TEXT(","));
	print_list(&text, "compliance", rules, 3, policy->compliance);
	if (policy->region >= 0)
		buffer_printf(&text, ",\"region\":\"r%d\"", policy->region);
	if (policy->zone >= 0)
		buffer_printf(&text, ",\"zone\":\"z%d\"", policy->zone);
	if (policy->tier >= 0)
		buffer_printf(&text, ",\"labels\":{\"tier\":\"t%d\"}", policy->tier);
	buffer_printf(&text, "}%s,\"demand\":{\"memMiB\":%lld}",
		policy->tolerates ? ",\"tolerations\":[{\"key\":\"edge\"}]" : "", (long long)policy->memory);
	if (policy->is_anti)
		buffer_append(&text, TEXT(",\"antiAffinity\":[{\"to\":\"participant:self\",\"types\":[\"cfm.dataplane\"],"
								  "\"topologyKey\":\"zone\",\"hard\":true}]"));
	if (policy->is_near)
		buffer_append(&text, TEXT(",\"affinity\":[{\"to\":\"participant:self\",\"types\":[\"cfm.connector\"],"
								  "\"topologyKey\":\"region\",\"hard\":true}]"));
	buffer_append(&text, TEXT("}"));
	struct place_request *request = place_ask(text.bytes);
	buffer_free(&text);
	return request;
}

/* --- the oracle */

static bool is_lawful(const struct cell_definition *cell, const struct policy *policy)
{
	bool is_inside = policy->jurisdictions == 0;
	for (unsigned land = 0; land < 4; land++) {
		for (size_t i = 0; i < cell->jurisdiction_count; i++)
			is_inside = is_inside ||
						((policy->jurisdictions >> land & 1U) != 0 && strcmp(cell->jurisdictions[i], lands[land]) == 0);
	}
	for (unsigned rule = 0; rule < 3; rule++) {
		bool is_attested = false;
		for (size_t i = 0; i < cell->compliance_count; i++)
			is_attested = is_attested || (strcmp(cell->compliance[i].id, rules[rule]) == 0 &&
											 cell->compliance[i].valid_until_ms > now_ms);
		if ((policy->compliance >> rule & 1U) != 0 && !is_attested)
			return false;
	}
	return is_inside;
}

static bool is_named(const char *text, char letter, int number)
{
	return number < 0 || (text[0] == letter && atoi(text + 1) == number);
}

static bool has_room(const struct known *cell, const struct policy *policy)
{
	int64_t reserve = 100 - cell->definition->failover_reserve_pct;
	if (cell->used[PLACE_VPAS] + 1 > cell->definition->max_vpas * reserve / 100)
		return false;
	if (policy->type == VPA_DATAPLANE &&
		cell->used[PLACE_TYPES + VPA_DATAPLANE] + 1 > cell->definition->max_per_type[VPA_DATAPLANE] * reserve / 100)
		return false;
	int memory = PLACE_RESOURCES + CELL_RESOURCE_MEM_MIB;
	return policy->memory == 0 ||
		   cell->used[memory] + policy->memory <= cell->definition->resources[CELL_RESOURCE_MEM_MIB] * reserve / 100;
}

static bool is_neighbourly(const struct known *cell, const struct policy *policy)
{
	bool has_connector = false, is_with = false;
	for (int i = 0; i < CELLS; i++) {
		if (policy->is_anti && cells[i].lives[policy->participant][VPA_DATAPLANE] > 0 &&
			strcmp(cells[i].definition->zone, cell->definition->zone) == 0)
			return false;
		if (cells[i].lives[policy->participant][VPA_CONNECTOR] > 0) {
			has_connector = true;
			is_with = is_with || strcmp(cells[i].definition->region, cell->definition->region) == 0;
		}
	}
	return !policy->is_near || !has_connector || is_with;
}

static bool may_take(const struct known *cell, const struct policy *policy)
{
	const struct cell_definition *definition = cell->definition;
	return cell->is_open && (cell->ready & definition->components & 1U << policy->type) != 0 &&
		   is_lawful(definition, policy) && is_named(definition->region, 'r', policy->region) &&
		   is_named(definition->zone, 'z', policy->zone) && is_named(definition->labels[0].value, 't', policy->tier) &&
		   (definition->taint_count == 0 || policy->tolerates) &&
		   (!definition->is_intermittent || !policy->is_leased) && has_room(cell, policy) &&
		   is_neighbourly(cell, policy);
}

/* What this policy can be scored by: headroom, balance, health, and for the rest what is the same everywhere. */
static int64_t share_left(int64_t allowed, int64_t used, int64_t need)
{
	return need == 0 ? INT64_MAX : allowed <= 0 ? 0 : (allowed - used - need) * 1000 / allowed;
}

static int64_t worth(const struct known *cell, const struct policy *policy)
{
	int64_t reserve = 100 - cell->definition->failover_reserve_pct, vpas = cell->definition->max_vpas * reserve / 100;
	int64_t least = share_left(vpas, cell->used[PLACE_VPAS], 1), other;
	if (policy->type == VPA_DATAPLANE) {
		other = share_left(
			cell->definition->max_per_type[VPA_DATAPLANE] * reserve / 100, cell->used[PLACE_TYPES + VPA_DATAPLANE], 1);
		least = other < least ? other : least;
	}
	other = share_left(cell->definition->resources[CELL_RESOURCE_MEM_MIB] * reserve / 100,
		cell->used[PLACE_RESOURCES + CELL_RESOURCE_MEM_MIB], policy->memory);
	least = other < least ? other : least;
	int64_t balance = 1000 - cell->used[PLACE_VPAS] * 1000 / vpas;
	return least * 4 + balance * 2 + (cell->is_degraded ? 300 : 1000) * 2;
}

/* --- the comparison */

static void compare(struct place_snapshot *snapshot, const struct place_decision *decision, const struct policy *policy)
{
	uint32_t feasible = 0;
	int64_t best = -1;
	for (uint32_t slot = 0; slot < CELLS; slot++) {
		bool may = may_take(&cells[slot], policy);
		if (may != (place_mask(snapshot, slot) == 0))
			fail_msg("cell %u: oracle %d, mask %x", slot, may, place_mask(snapshot, slot));
		feasible += may;
		if (may && worth(&cells[slot], policy) > best)
			best = worth(&cells[slot], policy);
	}
	assert_int_equal(feasible, decision->feasible);
	assert_int_equal(feasible > 0, decision->slot >= 0);
	if (decision->slot < 0)
		return;
	assert_true(is_lawful(cells[decision->slot].definition, policy));
	/* shares are rounded down in bits, not in thousandths */
	int64_t its = worth(&cells[decision->slot], policy);
	if (its < best - 12)
		fail_msg("cell %d is worth %lld, another %lld", (int)decision->slot, (long long)its, (long long)best);
}

static void book(struct known *cell, const struct policy *policy, int sign)
{
	cell->used[PLACE_VPAS] += sign;
	cell->used[PLACE_TYPES + policy->type] += sign;
	cell->used[PLACE_RESOURCES + CELL_RESOURCE_MEM_MIB] += sign * policy->memory;
	cell->lives[policy->participant][policy->type] += (unsigned)sign;
}

struct asked_policy {
	struct place_request *request;
	struct policy policy;
};

/* One fabric and so many decisions; what was placed goes again after a while. */
static void run_fabric(unsigned decisions)
{
	enum { BACK = 200, POLICIES = 250 };
	static struct asked_policy asked[POLICIES];
	int64_t placed[BACK];
	struct place_snapshot *snapshot = place_snapshot_new();
	memset(placed, -1, sizeof(placed));
	now_ms = 0;
	for (uint32_t slot = 0; slot < CELLS; slot++)
		make_cell(snapshot, slot);
	for (unsigned i = 0; i < decisions; i++) {
		struct place_decision decision;
		struct asked_policy *next = &asked[i % POLICIES], *old = &asked[(i - BACK) % POLICIES];
		if (i >= BACK && placed[i % BACK] >= 0) {
			book(&cells[placed[i % BACK]], &old->policy, -1);
			assert_int_equal(place_snapshot_book(snapshot, (uint32_t)placed[i % BACK], old->request, -1), STATUS_OK);
		}
		if (i / POLICIES % 4 == 0) { /* others than the last times */
			place_request_free(next->request);
			next->request = make_request(&next->policy);
		}
		if (i == decisions / 2) {
			now_ms = 1798761600000;
			assert_true(place_snapshot_advance(snapshot, now_ms));
		}
		const struct place_request *one = next->request;
		place_decide(snapshot, &one, 1, &decision);
		compare(snapshot, &decision, &next->policy);
		placed[i % BACK] = decision.slot;
		if (decision.slot < 0)
			continue;
		book(&cells[decision.slot], &next->policy, 1);
		assert_int_equal(place_snapshot_book(snapshot, (uint32_t)decision.slot, one, 1), STATUS_OK);
	}
	for (unsigned i = 0; i < POLICIES; i++)
		place_request_free(asked[i].request);
	memset(asked, 0, sizeof(asked));
	for (uint32_t slot = 0; slot < CELLS; slot++)
		cell_definition_free(cells[slot].definition);
	place_snapshot_free(snapshot);
}

static void the_oracle_agrees(void **state)
{
	const char *wanted = getenv("CELLD_PLACE_POLICIES"), *start = getenv("CELLD_PLACE_SEED");
	unsigned policies = wanted == NULL ? 6000 : (unsigned)atoi(wanted);
	(void)state;
	seed = start == NULL ? 20261126 : (uint64_t)atoll(start);
	for (int i = 0; i < FABRICS; i++)
		run_fabric(policies / FABRICS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(the_oracle_agrees)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
