/* Choosing a cell: each filter, each score, groups, explanations, replay. */
#include "tests/place_fixture.h"

#include "control/fabric/place/snapshot.h"

/* Four cells that differ in one thing each; what a request asks decides which of them are left. */
static struct place_snapshot *four(void)
{
	struct place_snapshot *snapshot = place_snapshot_new();
	const struct text profile = TEXT("ds-1");
	struct place_standing with_profile = PLACE_OPEN;
	with_profile.profiles = &profile;
	with_profile.profile_count = 1;
	place_cell(snapshot, 0, "c0", 10,
		"\"jurisdictions\":[\"EU\",\"DE\"],\"compliance\":[{\"id\":\"gdpr\",\"validUntil\":\"2027-01-01T00:00:00Z\"}],"
		"\"labels\":{\"tier\":\"gold\",\"environment\":\"production\"},\"topology\":{\"zone\":\"z0\",\"site\":"
		"\"munich\"},"
		"\"versions\":{\"protocol\":3}",
		with_profile);
	place_cell(snapshot, 1, "c1", 10,
		"\"jurisdictions\":[\"US\"],\"labels\":{\"tier\":\"silver\",\"environment\":\"production\"},\"topology\":{"
		"\"zone\":\"z1\"},\"versions\":{\"protocol\":2}",
		PLACE_OPEN);
	place_cell(snapshot, 2, "c2", 10,
		"\"jurisdictions\":[\"EU\"],\"taints\":[{\"key\":\"edge\",\"value\":\"plant\",\"effect\":\"NoPlace\"}],"
		"\"components\":[\"cfm.dataplane\"],\"topology\":{\"zone\":\"z0\",\"site\":\"lyon\"},\"connectivity\":"
		"\"intermittent\"",
		PLACE_OPEN);
	place_cell(snapshot, 3, "c3", 0, "\"jurisdictions\":[\"EU\"],\"labels\":{\"tier\":\"gold\"}", PLACE_OPEN);
	return snapshot;
}

static unsigned left_of(struct place_snapshot *snapshot, struct place_decision *decision, const char *ask)
{
	struct place_request *request = place_ask(ask);
	const struct place_request *one = request;
	unsigned left = 0;
	place_decide(snapshot, &one, 1, decision);
	for (uint32_t slot = 0; slot < 4; slot++)
		left |= place_mask(snapshot, slot) == 0 ? 1U << slot : 0;
	assert_int_equal(left == 0, decision->slot < 0);
	if (decision->slot >= 0)
		assert_true((left >> decision->slot & 1U) != 0);
	snapshot->asked.count = 0;
	place_request_free(request);
	return left;
}

#define DP "{\"type\":\"cfm.dataplane\""
#define CP "{\"type\":\"cfm.connector\""

static void each_filter_takes_its_cells_out(void **state)
{
	static const struct {
		const char *ask;
		unsigned left; /* bit per cell */
	} cases[] = {
		{CP "}", 3},
		{DP "}", 3},
		{DP ",\"tolerations\":[{\"key\":\"edge\",\"value\":\"plant\"}]}", 7},
		{DP ",\"tolerations\":[{\"key\":\"edge\"}]}", 7},
		{DP ",\"tolerations\":[{\"key\":\"edge\",\"value\":\"other\"}]}", 3},
		{DP ",\"tolerations\":[{\"key\":\"edg\"}]}", 3},
		{CP ",\"tolerations\":[{\"key\":\"edge\"}]}", 3}, /* data planes only there */
		{DP ",\"class\":\"leased\",\"tolerations\":[{\"key\":\"edge\"}]}", 3},
		{DP ",\"require\":{\"jurisdictions\":[\"EU\"]}}", 1},
		{DP ",\"require\":{\"jurisdictions\":[\"US\",\"DE\"]}}", 3},
		{DP ",\"require\":{\"jurisdictions\":[\"CH\"]}}", 0},
		{DP ",\"require\":{\"compliance\":[\"gdpr\"]}}", 1},
		{DP ",\"require\":{\"compliance\":[\"gdpr\",\"itar\"]}}", 0},
		{DP ",\"require\":{\"region\":\"r1\"}}", 3},
		{DP ",\"require\":{\"region\":[\"r2\"]}}", 0},
		{DP ",\"require\":{\"provider\":[\"p2\",\"p1\"]}}", 3},
		{DP ",\"require\":{\"zone\":\"z1\"}}", 2},
		{DP ",\"require\":{\"site\":\"munich\"}}", 1},
		{DP ",\"require\":{\"type\":\"t\"}}", 3},
		{DP ",\"require\":{\"cell\":\"c1\"}}", 2},
		{DP ",\"require\":{\"cell\":\"cfm-c1\"}}", 2},
		{DP ",\"require\":{\"cell\":\"c9\"}}", 0},
		{DP ",\"require\":{\"labels\":{\"tier\":\"gold\"}}}", 1},
		{DP ",\"require\":{\"labels\":{\"tier\":\"gold\",\"environment\":\"production\"}}}", 1},
		{DP ",\"require\":{\"labels\":{\"tier\":\"bronze\"}}}", 0},
		{DP ",\"require\":{\"withoutLabels\":{\"tier\":\"gold\"}}}", 2},
		{DP ",\"require\":{\"profiles\":[\"ds-1\"]}}", 1},
		{DP ",\"require\":{\"profiles\":[\"ds-2\"]}}", 0},
		{DP ",\"require\":{\"protocol\":3}}", 1},
		{DP ",\"require\":{\"protocol\":2}}", 3},
		{DP ",\"require\":{\"components\":[\"cfm.issuer\"]},\"tolerations\":[{\"key\":\"edge\"}]}", 3},
	};
	struct place_snapshot *snapshot = four();
	struct place_decision decision;
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned left = left_of(snapshot, &decision, cases[i].ask);
		if (left != cases[i].left)
			fail_msg("%s: %u, not %u", cases[i].ask, left, cases[i].left);
		uint32_t sum = decision.feasible;
		for (int filter = 0; filter < PLACE_FILTER_COUNT; filter++)
			sum += decision.filtered[filter];
		assert_int_equal(sum, decision.evaluated);
	}
	place_snapshot_free(snapshot);
}

static void requests_are_strict(void **state)
{
	static const struct {
		const char *ask, *wrong; /* NULL: good */
	} cases[] = {
		{CP ",\"vpaId\":\"v\",\"participant\":\"did:web:acme\",\"tenant\":\"t\",\"class\":\"leased\",\"require\":{"
			"\"region\":[\"eu-west-1\",\"eu-central-1\"],\"jurisdictions\":[\"EU\"],\"compliance\":[\"gdpr\"],"
			"\"labels\":{"
			"\"environment\":\"production\"},\"components\":[\"cfm.dataplane\"],\"site\":null},\"tolerations\":[{"
			"\"key\":"
			"\"dedicated\",\"value\":\"acme\"}],\"prefer\":{\"labels\":{\"tier\":\"standard\"},\"near\":{\"site\":"
			"\"munich\"},\"region\":[\"eu-west-1\"]},\"affinity\":[{\"to\":\"participant:self\",\"types\":["
			"\"cfm.connector\",\"cfm.credentialservice\"],\"topologyKey\":\"cell\",\"hard\":true}],\"antiAffinity\":[{"
			"\"to\":\"standby:self\",\"topologyKey\":\"zone\",\"hard\":true}],\"spread\":[{\"topologyKey\":\"zone\","
			"\"maxSkew\":2,\"when\":\"ScheduleAnyway\"}],\"demand\":{\"cpuMilli\":50,\"memMiB\":64,\"requestsPerSec\":"
			"20,"
			"\"transferMbps\":5,\"connections\":50},\"standby\":1,\"strategy\":\"balanced\"}",
			NULL},
		{"{}", "type: is missing"},
		{"{\"type\":\"cfm.proxy\"}", "type:"},
		{CP ",\"cell\":\"c\"}", "cell: unknown member"},
		{CP ",\"require\":{\"regions\":[]}}", "require.regions: unknown member"},
		{CP ",\"require\":{\"region\":[1]}}", "require.region:"},
		{CP ",\"require\":{\"labels\":{\"a\":1}}}", "require.labels.a:"},
		{CP ",\"require\":{\"protocol\":-1}}", "require.protocol:"},
		{CP ",\"require\":{\"components\":[]}}", "require.components:"},
		{CP ",\"demand\":{\"cpu\":1}}", "demand.cpu: unknown member"},
		{CP ",\"demand\":{\"memMiB\":1.5}}", "demand.memMiB:"},
		{CP ",\"affinity\":{}}", "affinity:"},
		{CP ",\"affinity\":[{\"to\":\"vpa:1\",\"topologyKey\":\"cell\"}]}", "affinity.to:"},
		{CP ",\"affinity\":[{\"to\":\"tenant:self\",\"topologyKey\":\"rack\"}]}", "affinity.topologyKey:"},
		{CP ",\"antiAffinity\":[{\"to\":\"tenant:self\",\"topologyKey\":\"cell\",\"hard\":1}]}", "antiAffinity.hard:"},
		{CP ",\"spread\":[{\"topologyKey\":\"zone\",\"maxSkew\":0}]}", "spread.maxSkew:"},
		{CP ",\"spread\":[{\"topologyKey\":\"zone\",\"when\":\"Never\"}]}", "spread.when:"},
		{CP ",\"strategy\":\"best\"}", "strategy:"},
		{CP ",\"class\":\"gold\"}", "class:"},
		{CP ",\"weights\":{\"cost\":4,\"external.gpu\":7}}", NULL},
		{CP ",\"weights\":{\"cost\":4,\"external.gpu\":8}}", "weights:"},
		{CP ",\"weights\":{\"headroom\":1}}", "weights:"},
		{CP ",\"weights\":{\"external.a b\":1}}", "weights:"},
		{CP ",\"weights\":{\"cost\":0}}", "weights:"},
		{CP ",\"weights\":{\"cost\":12}}", "weights:"},
		{CP ",\"weights\":[\"cost\"]}", "weights:"},
		{CP ",\"tolerations\":[{\"value\":\"v\"}]}", "tolerations.key: is missing"},
		{CP ",\"prefer\":{\"near\":{\"region\":\"r\"}}}", "prefer.near.region: unknown member"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct json *root = place_json(cases[i].ask);
		struct place_request *request = NULL;
		struct buffer error = {0};
		enum status status = place_request_parse(root, &request, &error);
		if (status != (cases[i].wrong == NULL ? STATUS_OK : STATUS_INVALID) ||
			(cases[i].wrong != NULL && !text_starts_with(buffer_text(&error), text_of(cases[i].wrong))))
			fail_msg("%s: %s", cases[i].ask, error.bytes == NULL ? "(taken)" : error.bytes);
		place_request_free(request);
		json_free(root);
		buffer_free(&error);
	}
}

/* --- what is said when none fits */

static void assert_line(struct place_snapshot *snapshot, const char *ask, const char *wanted)
{
	struct place_request *request = place_ask(ask);
	const struct place_request *one = request;
	struct place_decision decision;
	struct buffer line = {0};
	place_decide(snapshot, &one, 1, &decision);
	place_explain_line(snapshot, &decision, &line);
	assert_string_equal(line.bytes, wanted);
	buffer_free(&line);
	place_request_free(request);
}

static void the_nearest_miss_is_named(void **state)
{
	struct place_snapshot *snapshot = four();
	(void)state;
	assert_line(snapshot, DP ",\"require\":{\"jurisdictions\":[\"EU\"],\"labels\":{\"tier\":\"silver\"}}}",
		"0 of 4 cells: 1 outside EU, 3 without tier=silver; nearest miss: c0 lacks label tier=silver");
	assert_line(snapshot,
		DP ",\"require\":{\"labels\":{\"tier\":\"gold\"}},\"demand\":{\"memMiB\":5},\"class\":\"pinned\"}",
		"c0, of 1 of 4 cells: 2 without tier=gold, 1 full");
	assert_line(snapshot, DP ",\"require\":{\"cell\":\"c3\"}}",
		"0 of 4 cells: 3 not c3, 1 full; nearest miss: c3 is full (0 of 0 VPAs booked, 1 asked)");
	assert_line(snapshot, CP ",\"require\":{\"cell\":\"c2\"},\"tolerations\":[{\"key\":\"edge\"}]}",
		"0 of 4 cells: 1 not ready, 3 not c2; nearest miss: c0 is not c2");
	assert_line(snapshot, CP ",\"require\":{\"compliance\":[\"itar\"]}}",
		"0 of 4 cells: 1 not ready, 3 without valid itar; nearest miss: c0 has no valid attestation of itar");
	struct place_standing closed = PLACE_OPEN;
	closed.is_open = false;
	closed.why = "cordoned";
	place_cell(snapshot, 0, "c0", 10, "\"jurisdictions\":[\"CH\"]", closed);
	assert_line(snapshot, DP ",\"require\":{\"jurisdictions\":[\"CH\"]}}",
		"0 of 4 cells: 1 not ready, 3 outside CH; nearest miss: c1 is outside CH");
	place_snapshot_free(snapshot);
}

static void an_explanation_is_whole(void **state)
{
	struct place_snapshot *snapshot = four();
	struct place_request *request = place_ask(DP ",\"vpaId\":\"v1\",\"require\":{\"labels\":{\"tier\":\"gold\"}}}");
	const struct place_request *one = request;
	struct place_decision decision;
	struct buffer text = {0};
	int64_t number = 0, total = 0;
	(void)state;
	place_decide(snapshot, &one, 1, &decision);
	place_explain(snapshot, &decision, &(struct place_telling){.cells = 4}, &text);
	struct json *root = place_json(text.bytes);
	assert_true(text_equals(json_member_text(root, "chosen"), TEXT("c0")));
	assert_true(json_integer(json_member(root, "evaluated"), &number) && number == 4);
	assert_true(json_integer(json_member(root, "feasible"), &number) && number == 1);
	assert_true(json_integer(json_member(json_member(root, "filtered"), "labels"), &number) && number == 2);
	assert_true(json_integer(json_member(json_member(root, "filtered"), "capacity"), &number) && number == 1);
	assert_true(json_integer(json_member(json_member(root, "exhausted"), "VPAs"), &number) && number == 1);
	const struct json *top = json_first(json_member(root, "top"));
	assert_true(json_integer(json_member(top, "total"), &total) && total == decision.total);
	for (int score = 0; score < PLACE_SCORE_COUNT; score++) {
		assert_true(
			json_integer(json_member(json_member(top, "parts"), place_score_name((enum place_score)score)), &number));
		assert_in_range(number, 0, 1000);
		total -= number * place_weight((enum place_score)score, PLACE_SPREAD);
	}
	assert_int_equal(total, 0);
	assert_null(json_next(top));
	assert_int_equal(json_count(json_member(root, "cells")), 4);
	const struct json *cell = json_next(json_first(json_member(root, "cells")));
	assert_true(text_equals(json_member_text(cell, "why"), TEXT("lacks label tier=gold")));
	assert_true(text_equals(json_text(json_first(json_member(cell, "filters"))), TEXT("labels")));
	json_free(root);
	buffer_free(&text);
	place_request_free(request);
	place_snapshot_free(snapshot);
}

/* --- scores: of two cells the better one, whatever the tie would say */

static void better_cells_win(void **state)
{
	static const struct {
		const char *ask, *first, *second; /* members of the definitions; the first wins */
		int load, used;                   /* of the second */
		bool is_degraded;
	} cases[] = {
		{DP "}", "", "", -1, 3, false},  /* headroom */
		{DP "}", "", "", 500, 0, false}, /* balance */
		{DP "}", "", "", -1, 0, true},   /* health */
		{DP ",\"prefer\":{\"labels\":{\"tier\":\"a\"}}}", "\"labels\":{\"tier\":\"a\"}", "", -1, 0, false}, /* labels */
		{DP ",\"prefer\":{\"near\":{\"site\":\"m\"}}}", "\"topology\":{\"site\":\"m\"}", "", -1, 0,
			false}, /* locality */
		{DP ",\"prefer\":{\"near\":{\"zone\":\"m\"}}}", "\"topology\":{\"zone\":\"m\"}", "", -1, 0, false},
		{DP ",\"prefer\":{\"near\":{\"site\":\"m\",\"zone\":\"z\"}}}", "\"topology\":{\"zone\":\"y\",\"site\":\"m\"}",
			"\"topology\":{\"zone\":\"z\"}", -1, 0, false}, /* the site before the zone */
		{DP ",\"current\":\"c0\"}", "", "", -1, 0, false},  /* steady */
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (uint32_t first = 0; first < 2; first++) {
			struct place_snapshot *snapshot = place_snapshot_new();
			struct place_standing worse = PLACE_OPEN;
			struct place_decision decision;
			worse.load = cases[i].load;
			worse.used[PLACE_VPAS] = cases[i].used;
			worse.is_degraded = cases[i].is_degraded;
			place_cell(snapshot, first, "c0", 10, cases[i].first, PLACE_OPEN);
			place_cell(snapshot, 1 - first, "c1", 10, cases[i].second, worse);
			struct place_request *request = place_ask(cases[i].ask);
			const struct place_request *one = request;
			place_decide(snapshot, &one, 1, &decision);
			if (decision.slot != (int64_t)first || decision.is_tie)
				fail_msg("case %zu: slot %d", i, (int)decision.slot);
			place_request_free(request);
			place_snapshot_free(snapshot);
		}
	}
}

/* Of three cells that are alike but for what they say: nothing by default, and each name for itself. */
static void what_cells_say_counts_when_it_is_asked_for(void **state)
{
	static const struct {
		const char *ask;
		int64_t slot; /* -1: the tie decides */
		int part;     /* of the chosen, of what is asked for first */
	} cases[] = {
		{DP ",\"vpaId\":\"v\"}", -1, 0},
		{DP ",\"weights\":{\"cost\":1}}", 0, 900},
		{DP ",\"weights\":{\"external.gpu\":1}}", 1, 700},
		{DP ",\"weights\":{\"external.gpu\":2,\"cost\":1}}", 1, 700},
		{DP ",\"weights\":{\"cost\":5,\"external.gpu\":2}}", 0, 900},
		{DP ",\"weights\":{\"external.solar\":11}}", 2, 1},
		{DP ",\"weights\":{\"external.unheard\":11}}", -1, 0},
	};
	struct place_snapshot *snapshot = place_snapshot_new();
	struct place_decision decision;
	(void)state;
	place_cell(snapshot, 0, "c0", 10, "\"scores\":{\"cost\":100}", PLACE_OPEN);
	place_cell(snapshot, 1, "c1", 10, "\"scores\":{\"cost\":500,\"external.gpu\":700}", PLACE_OPEN);
	place_cell(snapshot, 2, "c2", 10, "\"scores\":{\"external.solar\":1}", PLACE_OPEN);
	place_cell(snapshot, 100, "c100", 10, "", PLACE_OPEN); /* the columns have grown */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct place_request *request = place_ask(cases[i].ask);
		const struct place_request *one = request;
		struct buffer text = {0};
		int64_t part = 0;
		place_decide(snapshot, &one, 1, &decision);
		if (decision.is_tie != (cases[i].slot < 0) || (cases[i].slot >= 0 && decision.slot != cases[i].slot))
			fail_msg("%s: slot %d", cases[i].ask, (int)decision.slot);
		place_explain(snapshot, &decision, &(struct place_telling){.cells = 4}, &text);
		struct json *root = place_json(text.bytes);
		const struct json *parts = json_member(json_first(json_member(root, "top")), "parts");
		assert_int_equal(json_count(parts), PLACE_SCORE_COUNT + request->weight_count);
		if (request->weight_count > 0) {
			assert_true(json_integer(json_member(parts, request->weights[0].name), &part));
			assert_int_equal(part, cases[i].part);
		}
		json_free(root);
		buffer_free(&text);
		place_request_free(request);
	}
	place_snapshot_free(snapshot);
}

/* What a cell says may change: what was decided before is decided again all the same. */
static void what_cells_have_said_is_kept(void **state)
{
	struct place_snapshot *snapshot = place_snapshot_new();
	struct place_request *request = place_ask(DP ",\"weights\":{\"cost\":5}}");
	const struct place_request *one = request;
	struct place_decision decision;
	(void)state;
	place_cell(snapshot, 0, "c0", 10, "\"scores\":{\"cost\":100}", PLACE_OPEN);
	place_cell(snapshot, 1, "c1", 10, "\"scores\":{\"cost\":500}", PLACE_OPEN);
	uint64_t version = place_snapshot_version(snapshot);
	place_cell(snapshot, 0, "c0", 10, "\"scores\":{\"cost\":900}", PLACE_OPEN);
	place_decide(snapshot, &one, 1, &decision);
	assert_int_equal(decision.slot, 1);
	assert_true(place_snapshot_rewind(snapshot, version));
	place_decide(snapshot, &one, 1, &decision);
	assert_int_equal(decision.slot, 0);
	place_snapshot_return(snapshot);
	place_decide(snapshot, &one, 1, &decision);
	assert_int_equal(decision.slot, 1);
	place_cell(snapshot, 1, "c1", 10, "", PLACE_OPEN); /* it says nothing more */
	place_decide(snapshot, &one, 1, &decision);
	assert_int_equal(decision.slot, 0);
	place_request_free(request);
	place_snapshot_free(snapshot);
}

static void packing_turns_headroom_round(void **state)
{
	struct place_snapshot *snapshot = place_snapshot_new();
	struct place_standing half = PLACE_OPEN;
	struct place_decision decision;
	(void)state;
	half.used[PLACE_VPAS] = 5;
	place_cell(snapshot, 0, "c0", 10, "", PLACE_OPEN);
	place_cell(snapshot, 1, "c1", 10, "", half);
	static const struct {
		const char *ask;
		int64_t slot;
	} cases[] = {
		{DP ",\"strategy\":\"pack\"}", 1}, {DP ",\"strategy\":\"spread\"}", 0}, {DP ",\"strategy\":\"balanced\"}", 0}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct place_request *request = place_ask(cases[i].ask);
		const struct place_request *one = request;
		place_decide(snapshot, &one, 1, &decision);
		assert_int_equal(decision.slot, cases[i].slot);
		place_request_free(request);
	}
	place_snapshot_free(snapshot);
}

static void ties_are_broken_by_names_alone(void **state)
{
	struct place_snapshot *snapshot = place_snapshot_new(), *other = place_snapshot_new();
	unsigned seen = 0;
	(void)state;
	for (uint32_t slot = 0; slot < 8; slot++) {
		char id[8];
		snprintf(id, sizeof(id), "c%u", slot);
		place_cell(snapshot, slot, id, 10, "", PLACE_OPEN);
		place_cell(other, 7 - slot, id, 10, "", PLACE_OPEN); /* in other places */
	}
	for (int i = 0; i < 64; i++) {
		char text[128];
		struct place_decision one, two;
		snprintf(text, sizeof(text), DP ",\"vpaId\":\"vpa-%d\"}", i);
		struct place_request *request = place_ask(text);
		const struct place_request *ask = request;
		place_decide(snapshot, &ask, 1, &one);
		place_decide(other, &ask, 1, &two);
		assert_int_equal(one.slot, 7 - two.slot);
		assert_true(one.is_tie);
		seen |= 1U << one.slot;
		place_request_free(request);
	}
	assert_int_equal(seen, 255);
	place_snapshot_free(snapshot);
	place_snapshot_free(other);
}

/* --- affinity, spread, groups */

static enum status group(
	struct place_snapshot *snapshot, const char *const *asks, size_t count, uint32_t *slots, char *line)
{
	struct place_request *requests[8];
	struct buffer text = {0};
	const struct place_telling telling = {.line = &text};
	for (size_t i = 0; i < count; i++)
		requests[i] = place_ask(asks[i]);
	enum status status = place_group(snapshot, (const struct place_request *const *)requests, count, slots, &telling);
	if (line != NULL)
		snprintf(line, 512, "%s", text.bytes);
	snapshot->asked.count = 0;
	for (size_t i = 0; i < count; i++)
		place_request_free(requests[i]);
	buffer_free(&text);
	return status;
}

#define WHO ",\"participant\":\"p\",\"tenant\":\"t\""
#define TOGETHER                                                                                                       \
	",\"affinity\":[{\"to\":\"participant:self\",\"types\":[\"cfm.connector\"],\"topologyKey\":\"cell\",\"hard\":"     \
	"true}]"
#define APART                                                                                                          \
	",\"antiAffinity\":[{\"to\":\"participant:self\",\"types\":[\"cfm.dataplane\"],\"topologyKey\":\"zone\",\"hard\":" \
	"true}]"

/* The user's example: control plane in one cell, data planes in two edge cells. */
static void a_participant_spans_cells(void **state)
{
	static const char *const asks[] = {CP WHO "}", "{\"type\":\"cfm.credentialservice\"" WHO TOGETHER "}",
		"{\"type\":\"cfm.issuer\"" WHO TOGETHER "}",
		DP WHO APART ",\"require\":{\"type\":\"edge\"},\"tolerations\":[{\"key\":\"edge\"}]}",
		DP WHO APART ",\"require\":{\"type\":\"edge\"},\"tolerations\":[{\"key\":\"edge\"}]}"};
	struct place_snapshot *snapshot = place_snapshot_new();
	uint32_t slots[5];
	(void)state;
	place_cell(snapshot, 0, "central", 10, "", PLACE_OPEN);
	for (uint32_t i = 1; i < 3; i++) {
		char text[512];
		snprintf(text, sizeof(text),
			"{\"cellId\":\"edge-%u\",\"name\":\"n\",\"type\":\"edge\",\"region\":\"r\",\"provider\":\"p\",\"capacity\":"
			"{"
			"\"maxVPAs\":2},\"topology\":{\"zone\":\"e%u\"},\"taints\":[{\"key\":\"edge\",\"value\":\"\",\"effect\":"
			"\"NoPlace\"}],\"components\":[\"cfm.dataplane\"],\"connectivity\":\"intermittent\"}",
			i, i);
		struct cell_definition *definition = place_definition(text);
		struct place_standing standing = PLACE_OPEN;
		assert_int_equal(
			place_snapshot_put(snapshot, i, text_of(definition->cell_id), definition, &standing), STATUS_OK);
		cell_definition_free(definition);
	}
	assert_int_equal(group(snapshot, asks, 5, slots, NULL), STATUS_OK);
	assert_int_equal(slots[0], 0);
	assert_int_equal(slots[1], 0);
	assert_int_equal(slots[2], 0);
	assert_true(slots[3] != slots[4] && slots[3] > 0 && slots[4] > 0);
	assert_int_equal(place_snapshot_used(snapshot, 0, PLACE_VPAS), 3);
	assert_int_equal(place_snapshot_used(snapshot, 1, PLACE_TYPES + VPA_DATAPLANE), 1);
	place_snapshot_free(snapshot);
}

/* A cell with room for one is no place for two that must stay together. */
static void what_stays_together_fits_together(void **state)
{
	static const char *const asks[] = {CP WHO ",\"demand\":{\"memMiB\":10}}",
		"{\"type\":\"cfm.credentialservice\"" WHO TOGETHER ",\"demand\":{\"memMiB\":30}}"};
	struct place_snapshot *snapshot = place_snapshot_new();
	uint32_t slots[2];
	char line[512];
	(void)state;
	place_cell(snapshot, 0, "small", 1, "", PLACE_OPEN);
	place_cell(snapshot, 1, "tight", 10, "", PLACE_OPEN);
	struct cell_definition *definition = place_definition(
		"{\"cellId\":\"tight\",\"name\":\"n\",\"type\":\"t\",\"region\":\"r\",\"provider\":\"p\",\"capacity\":{"
		"\"maxVPAs\":10,\"resources\":{\"memMiB\":39}}}");
	struct place_standing standing = PLACE_OPEN;
	assert_int_equal(place_snapshot_put(snapshot, 1, TEXT("tight"), definition, &standing), STATUS_OK);
	cell_definition_free(definition);
	assert_int_equal(group(snapshot, asks, 2, slots, line), STATUS_NOT_FOUND);
	assert_string_equal(line,
		"0 of 2 cells: 1 full, 1 short of resources; nearest miss: tight is short of room (0 of 39 "
		"memMiB booked, 40 asked)");
	assert_int_equal(place_snapshot_used(snapshot, 0, PLACE_VPAS), 0);
	place_cell(snapshot, 2, "wide", 2, "", PLACE_OPEN);
	assert_int_equal(group(snapshot, asks, 2, slots, NULL), STATUS_OK);
	assert_int_equal(slots[0], 2);
	assert_int_equal(slots[1], 2);
	place_snapshot_free(snapshot);
}

static void a_group_is_all_or_nothing(void **state)
{
	static const char *const asks[] = {CP WHO "}", DP WHO ",\"require\":{\"jurisdictions\":[\"CH\"]}}"};
	struct place_snapshot *snapshot = four();
	uint32_t slots[2];
	char line[512];
	(void)state;
	assert_int_equal(group(snapshot, asks, 2, slots, line), STATUS_NOT_FOUND);
	assert_non_null(strstr(line, "outside CH"));
	for (uint32_t slot = 0; slot < 4; slot++)
		assert_int_equal(place_snapshot_used(snapshot, slot, PLACE_VPAS), 0);
	assert_int_equal(place_snapshot_hold_bytes(snapshot) > 0, 1);
	place_snapshot_free(snapshot);
}

static void data_planes_spread_over_zones(void **state)
{
	static const char even[] =
		DP WHO ",\"spread\":[{\"topologyKey\":\"zone\",\"maxSkew\":1,\"when\":\"DoNotSchedule\"}]}";
	static const char soft[] = DP WHO ",\"spread\":[{\"topologyKey\":\"cell\"}]}";
	const char *const asks[] = {even, even, even, even}, *const softly[] = {soft, soft, soft};
	struct place_snapshot *snapshot = place_snapshot_new();
	uint32_t slots[4], zones[3] = {0, 0, 0};
	(void)state;
	for (uint32_t i = 0; i < 6; i++) {
		char id[8], more[64];
		snprintf(id, sizeof(id), "c%u", i);
		snprintf(more, sizeof(more), "\"topology\":{\"zone\":\"z%u\"}", i % 3);
		place_cell(snapshot, i, id, 100, more, PLACE_OPEN);
	}
	assert_int_equal(group(snapshot, asks, 4, slots, NULL), STATUS_OK);
	for (int i = 0; i < 4; i++)
		zones[slots[i] % 3]++;
	for (int i = 0; i < 3; i++)
		assert_in_range(zones[i], 1, 2);
	assert_int_equal(group(snapshot, softly, 3, slots, NULL), STATUS_OK);
	assert_true(slots[0] != slots[1] && slots[1] != slots[2] && slots[0] != slots[2]);
	place_snapshot_free(snapshot);
}

static void settling_is_exact(void **state)
{
	static const struct place_seat first[] = {{0, VPA_CONNECTOR}, {1, VPA_DATAPLANE}, {1, VPA_DATAPLANE}},
								   second[] = {{1, VPA_DATAPLANE}, {2, VPA_ISSUER}};
	struct place_snapshot *snapshot = four();
	uint32_t count;
	(void)state;
	assert_int_equal(place_snapshot_settle(snapshot, TEXT("p"), TEXT("t"), first, 3), STATUS_OK);
	assert_int_equal(place_snapshot_settle(snapshot, TEXT("p"), TEXT("t"), second, 2), STATUS_OK);
	const struct held *held = lodgings_of(&snapshot->participants, place_hash(TEXT("p")), &count);
	assert_int_equal(count, 2);
	assert_true(held[0].slot == 1 && held[0].count == 1 && held[1].slot == 2 && held[1].type == VPA_ISSUER);
	assert_int_equal(snapshot->sketch[0], 0);
	assert_int_not_equal(snapshot->sketch[2], 0);
	assert_int_equal(place_snapshot_settle(snapshot, TEXT("p"), TEXT("t"), NULL, 0), STATUS_OK);
	assert_null(lodgings_of(&snapshot->participants, place_hash(TEXT("p")), &count));
	assert_int_equal(snapshot->sketch[1] | snapshot->sketch[2], 0);
	place_snapshot_free(snapshot);
}

/* --- F25, F29, F40 */

static void a_hundred_slots_are_a_hundred(void **state)
{
	struct place_snapshot *snapshot = place_snapshot_new();
	struct place_request *request = place_ask(DP "}");
	const struct place_request *one = request;
	uint32_t slot, placed = 0;
	const struct place_telling telling = {.is_brief = true};
	(void)state;
	place_cell(snapshot, 0, "a", 60, "", PLACE_OPEN);
	place_cell(snapshot, 1, "b", 40, "", PLACE_OPEN);
	for (int i = 0; i < 2000; i++)
		placed += place_group(snapshot, &one, 1, &slot, &telling) == STATUS_OK;
	assert_int_equal(placed, 100);
	assert_int_equal(place_snapshot_used(snapshot, 0, PLACE_VPAS), 60);
	assert_int_equal(place_snapshot_used(snapshot, 1, PLACE_VPAS), 40);
	place_request_free(request);
	place_snapshot_free(snapshot);
}

static void note_lapse(void *context, uint32_t slot, const char *compliance)
{
	char *text = context;
	snprintf(text, 32, "%u:%s", slot, compliance);
}

static void an_attestation_expires(void **state)
{
	static const int64_t until_ms = 1798761600000; /* 2027-01-01T00:00:00Z */
	struct place_snapshot *snapshot = four();
	struct place_decision decision;
	char lapsed[32] = "";
	(void)state;
	assert_int_equal(place_snapshot_next_expiry(snapshot), until_ms);
	assert_false(place_snapshot_advance(snapshot, until_ms - 1));
	assert_int_equal(left_of(snapshot, &decision, DP ",\"require\":{\"compliance\":[\"gdpr\"]}}"), 1);
	assert_true(place_snapshot_advance(snapshot, until_ms));
	assert_int_equal(left_of(snapshot, &decision, DP ",\"require\":{\"compliance\":[\"gdpr\"]}}"), 0);
	assert_int_equal(decision.filtered[PLACE_FILTER_RESIDENCY], 4);
	place_snapshot_lapses(snapshot, note_lapse, lapsed);
	assert_string_equal(lapsed, "0:gdpr");
	/* a clock that goes back revives nothing; a new attestation does */
	assert_false(place_snapshot_advance(snapshot, until_ms - 5000));
	assert_int_equal(left_of(snapshot, &decision, DP ",\"require\":{\"compliance\":[\"gdpr\"]}}"), 0);
	place_cell(snapshot, 0, "c0", 10, "\"compliance\":[{\"id\":\"gdpr\",\"validUntil\":\"2028-01-01\"}]", PLACE_OPEN);
	assert_int_equal(left_of(snapshot, &decision, DP ",\"require\":{\"compliance\":[\"gdpr\"]}}"), 1);
	place_snapshot_free(snapshot);
}

static void a_cell_that_shrinks_is_full(void **state)
{
	struct place_snapshot *snapshot = place_snapshot_new();
	struct place_standing standing = PLACE_OPEN;
	(void)state;
	standing.used[PLACE_VPAS] = 8;
	place_cell(snapshot, 0, "c0", 5, "", standing);
	assert_int_equal(place_snapshot_used(snapshot, 0, PLACE_VPAS), 8);
	assert_line(snapshot, DP "}", "0 of 1 cells: 1 full; nearest miss: c0 is full (8 of 5 VPAs booked, 1 asked)");
	place_cell(snapshot, 0, "c0", 9, "", standing);
	assert_line(snapshot, DP "}", "c0, of 1 of 1 cells");
	place_snapshot_free(snapshot);
}

static void capacity_is_with_overcommit_and_reserve(void **state)
{
	static const struct {
		const char *capacity;
		int dimension;
		int64_t allowed;
	} cases[] = {
		{"\"maxVPAs\":100", PLACE_VPAS, 100},
		{"\"maxVPAs\":100,\"failoverReservePct\":20", PLACE_VPAS, 80},
		{"\"maxVPAs\":100", PLACE_TYPES + VPA_ISSUER, -1},
		{"\"maxVPAs\":100,\"perType\":{\"cfm.issuer\":7}", PLACE_TYPES + VPA_ISSUER, 7},
		{"\"maxVPAs\":1,\"resources\":{\"cpuMilli\":1000},\"overcommitPct\":{\"cpuMilli\":150}",
			PLACE_RESOURCES + CELL_RESOURCE_CPU_MILLI, 1500},
		{"\"maxVPAs\":1,\"resources\":{\"cpuMilli\":1000},\"overcommitPct\":{\"cpuMilli\":150},\"failoverReservePct\":"
		 "10",
			PLACE_RESOURCES + CELL_RESOURCE_CPU_MILLI, 1350},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[512];
		struct place_standing standing = PLACE_OPEN;
		struct place_snapshot *snapshot = place_snapshot_new();
		snprintf(text, sizeof(text),
			"{\"cellId\":\"c\",\"name\":\"n\",\"type\":\"t\",\"region\":\"r\",\"provider\":\"p\",\"capacity\":{%s}}",
			cases[i].capacity);
		struct cell_definition *definition = place_definition(text);
		assert_int_equal(place_snapshot_put(snapshot, 0, TEXT("c"), definition, &standing), STATUS_OK);
		assert_int_equal(place_snapshot_allowed(snapshot, 0, cases[i].dimension), cases[i].allowed);
		cell_definition_free(definition);
		place_snapshot_free(snapshot);
	}
}

static void a_legacy_cell_has_no_limits(void **state)
{
	struct place_snapshot *snapshot = place_snapshot_new();
	struct place_standing standing = PLACE_OPEN;
	(void)state;
	assert_int_equal(place_snapshot_put(snapshot, 0, TEXT("cfm-id"), NULL, &standing), STATUS_OK);
	assert_line(snapshot, CP ",\"demand\":{\"memMiB\":1000000000}}", "cfm-id, of 1 of 1 cells");
	assert_line(snapshot, CP ",\"require\":{\"jurisdictions\":[\"EU\"]}}",
		"0 of 1 cells: 1 outside EU; nearest miss: cfm-id is outside EU");
	place_snapshot_remove(snapshot, 0);
	assert_line(snapshot, CP "}", "0 of 0 cells");
	place_snapshot_free(snapshot);
}

/* --- replay */

static void what_was_decided_is_decided_again(void **state)
{
	enum { COUNT = 300 };
	struct place_snapshot *snapshot = place_snapshot_new();
	struct place_request *requests[COUNT];
	uint64_t versions[COUNT];
	uint32_t slots[COUNT], slot;
	const struct place_telling telling = {.is_brief = true};
	(void)state;
	for (uint32_t i = 0; i < 9; i++) {
		char id[8], more[128];
		snprintf(id, sizeof(id), "c%u", i);
		snprintf(more, sizeof(more), "\"topology\":{\"zone\":\"z%u\"},\"labels\":{\"l\":\"%u\"}", i % 3, i % 2);
		place_cell(snapshot, i, id, 60, more, PLACE_OPEN);
	}
	for (int i = 0; i < COUNT; i++) {
		char text[512];
		snprintf(text, sizeof(text),
			DP ",\"vpaId\":\"v%d\",\"participant\":\"p%d\",\"tenant\":\"t%d\",\"spread\":[{\"topologyKey\":\"zone\"}],"
			   "\"prefer\":{\"labels\":{\"l\":\"%d\"}},\"demand\":{\"memMiB\":3}}",
			i, i % 40, i % 7, i % 2);
		requests[i] = place_ask(text);
		const struct place_request *one = requests[i];
		versions[i] = place_snapshot_version(snapshot);
		assert_int_equal(place_group(snapshot, &one, 1, &slots[i], &telling), STATUS_OK);
		if (i % 10 == 5) { /* cells change, VPAs go, one cell is closed and opened again */
			struct place_standing standing = PLACE_OPEN;
			standing.is_open = i % 20 == 5;
			standing.load = i;
			standing.used[PLACE_VPAS] = i % 50;
			place_cell(snapshot, 4, "c4", 60, "\"topology\":{\"zone\":\"z1\"},\"labels\":{\"l\":\"0\"}", standing);
			assert_int_equal(place_snapshot_book(snapshot, slots[i - 3], requests[i - 3], -1), STATUS_OK);
		}
	}
	uint64_t now = place_snapshot_version(snapshot);
	for (int i = COUNT - 1; i >= 0; i -= 7) {
		const struct place_request *one = requests[i];
		assert_true(place_snapshot_rewind(snapshot, versions[i]));
		assert_int_equal(place_group(snapshot, &one, 1, &slot, &telling), STATUS_OK);
		assert_int_equal(slot, slots[i]);
		place_group_undo(snapshot, &one, 1, &slot);
		place_snapshot_return(snapshot);
		assert_int_equal(place_snapshot_version(snapshot), now);
	}
	assert_false(place_snapshot_rewind(snapshot, now + 1));
	/* another definition of where a cell is: before it nothing can be decided again */
	place_cell(snapshot, 4, "c4", 60, "\"topology\":{\"zone\":\"z2\"}", PLACE_OPEN);
	assert_false(place_snapshot_rewind(snapshot, versions[0]));
	for (int i = 0; i < COUNT; i++)
		place_request_free(requests[i]);
	place_snapshot_free(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_filter_takes_its_cells_out),
		cmocka_unit_test(requests_are_strict),
		cmocka_unit_test(the_nearest_miss_is_named),
		cmocka_unit_test(an_explanation_is_whole),
		cmocka_unit_test(better_cells_win),
		cmocka_unit_test(what_cells_say_counts_when_it_is_asked_for),
		cmocka_unit_test(what_cells_have_said_is_kept),
		cmocka_unit_test(packing_turns_headroom_round),
		cmocka_unit_test(ties_are_broken_by_names_alone),
		cmocka_unit_test(a_participant_spans_cells),
		cmocka_unit_test(what_stays_together_fits_together),
		cmocka_unit_test(a_group_is_all_or_nothing),
		cmocka_unit_test(data_planes_spread_over_zones),
		cmocka_unit_test(settling_is_exact),
		cmocka_unit_test(a_hundred_slots_are_a_hundred),
		cmocka_unit_test(an_attestation_expires),
		cmocka_unit_test(a_cell_that_shrinks_is_full),
		cmocka_unit_test(capacity_is_with_overcommit_and_reserve),
		cmocka_unit_test(a_legacy_cell_has_no_limits),
		cmocka_unit_test(what_was_decided_is_decided_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
