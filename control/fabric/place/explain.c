/* Why a cell was chosen, or none, as JSON: counts that deciding left behind, scores and their parts. */
#include <stdlib.h>

#include "control/fabric/place/bits.h"
#include "control/fabric/place/snapshot.h"

enum { TOP = 5 };

struct top {
	uint32_t slots[TOP];
	int totals[TOP];
	size_t count;
};

static bool is_before(const struct place_snapshot *snapshot, uint32_t slot, int total, const struct top *top, size_t at)
{
	return total != top->totals[at] ? total > top->totals[at] : place_wins_tie(snapshot, slot, top->slots[at]);
}

static void find_top(const struct place_snapshot *snapshot, struct top *top)
{
	for (uint32_t slot = 0; slot < snapshot->words * 64; slot++) {
		int total = snapshot->total[slot];
		if (total < 0 || (top->count == TOP && !is_before(snapshot, slot, total, top, TOP - 1)))
			continue;
		size_t at = top->count < TOP ? top->count++ : TOP - 1;
		for (; at > 0 && is_before(snapshot, slot, total, top, at - 1); at--) {
			top->slots[at] = top->slots[at - 1];
			top->totals[at] = top->totals[at - 1];
		}
		top->slots[at] = slot;
		top->totals[at] = total;
	}
}

static void print_opinions(const struct place_snapshot *snapshot, uint32_t slot, struct buffer *into)
{
	const struct place_request *request = snapshot->asked.requests[0];
	for (size_t i = 0; i < request->weight_count; i++) {
		const int16_t *parts = place_opinion(snapshot, &request->weights[i]);
		buffer_printf(into, ",\"%s\":%d", request->weights[i].name, parts == NULL ? 0 : parts[slot]);
	}
}

static void print_top(struct place_snapshot *snapshot, struct buffer *into)
{
	struct top top = {.count = 0};
	int parts[TOP][PLACE_SCORE_COUNT];
	find_top(snapshot, &top);
	place_parts(snapshot, top.slots, top.count, parts);
	for (size_t i = 0; i < top.count; i++) {
		buffer_printf(into, "%s{\"cell\":", i == 0 ? "" : ",");
		buffer_append_json(into, text_of(snapshot->cold[top.slots[i]].id));
		buffer_printf(into, ",\"total\":%d,\"parts\":{", top.totals[i]);
		for (int score = 0; score < PLACE_SCORE_COUNT; score++)
			buffer_printf(
				into, "%s\"%s\":%d", score == 0 ? "" : ",", place_score_name((enum place_score)score), parts[i][score]);
		print_opinions(snapshot, top.slots[i], into);
		buffer_printf(into, "}}");
	}
}

static void print_vpas(const struct place_snapshot *snapshot, struct buffer *into)
{
	buffer_append(into, TEXT("\"vpas\":["));
	for (size_t i = 0; i < snapshot->asked.count; i++) {
		const struct place_request *request = snapshot->asked.requests[i];
		buffer_printf(into, "%s{", i == 0 ? "" : ",");
		if (request->vpa_id != NULL) {
			buffer_printf(into, "\"vpaId\":");
			buffer_append_json(into, text_of(request->vpa_id));
			buffer_printf(into, ",");
		}
		buffer_printf(into, "\"type\":\"%s\"}", vpa_type_name(request->type));
	}
	buffer_append(into, TEXT("],"));
}

static void print_numbers(
	struct buffer *into, const char *name, const uint32_t *numbers, int count, const char *(*name_of)(int at))
{
	const char *between = "\"";
	buffer_append(into, TEXT(",\""));
	buffer_append(into, text_of(name));
	buffer_append(into, TEXT("\":{"));
	for (int i = 0; i < count; i++) {
		if (numbers[i] == 0)
			continue;
		buffer_append(into, text_of(between));
		buffer_append(into, text_of(name_of(i)));
		buffer_append(into, TEXT("\":"));
		buffer_append_number(into, numbers[i]);
		between = ",\"";
	}
	buffer_append_byte(into, '}');
}

static const char *filter_name(int at)
{
	return place_filter_name((enum place_filter)at);
}

static void print_reason(struct place_snapshot *snapshot, const struct place_decision *decision, struct buffer *into)
{
	struct buffer line = {0};
	place_explain_line(snapshot, decision, &line);
	buffer_printf(into, ",\"reason\":");
	buffer_append_json(into, buffer_text(&line));
	into->failed = into->failed || line.failed;
	buffer_free(&line);
}

/* What stands against the cell, or its score. */
static void print_cell(struct place_snapshot *snapshot, uint32_t slot, struct buffer *into)
{
	uint32_t mask = place_mask(snapshot, slot);
	struct buffer why = {0};
	const char *between = "";
	buffer_append(into, TEXT("{\"cell\":"));
	buffer_append_json(into, text_of(snapshot->cold[slot].id));
	if (mask == 0) {
		buffer_printf(into, ",\"total\":%d}", snapshot->total[slot]);
		return;
	}
	buffer_append(into, TEXT(",\"filters\":["));
	for (unsigned filter = 0; filter < PLACE_FILTER_COUNT; filter++) {
		if ((mask >> filter & 1U) == 0)
			continue;
		buffer_printf(into, "%s\"%s\"", between, place_filter_name((enum place_filter)filter));
		between = ",";
	}
	explain_print_miss(snapshot, slot, mask, &why);
	buffer_append(into, TEXT("],\"why\":"));
	buffer_append_json(into, buffer_text(&why));
	buffer_append_byte(into, '}');
	into->failed = into->failed || why.failed;
	buffer_free(&why);
}

static void print_cells(struct place_snapshot *snapshot, struct buffer *into)
{
	const uint64_t *present = snapshot->sets[SET_PRESENT];
	const char *between = "";
	buffer_append(into, TEXT(",\"cells\":["));
	for (uint32_t slot = bits_next(present, snapshot->words, 0); slot < snapshot->words * 64;
		 slot = bits_next(present, snapshot->words, slot + 1)) {
		buffer_append(into, text_of(between));
		print_cell(snapshot, slot, into);
		between = ",";
	}
	buffer_append_byte(into, ']');
}

void place_explain(struct place_snapshot *snapshot, const struct place_decision *decision,
	const struct place_telling *telling, struct buffer *into)
{
	buffer_append_byte(into, '{');
	if (!telling->is_brief)
		print_vpas(snapshot, into);
	buffer_append(into, TEXT("\"snapshot\":"));
	buffer_append_number(into, (int64_t)snapshot->version);
	buffer_append(into, TEXT(",\"evaluated\":"));
	buffer_append_number(into, decision->evaluated);
	buffer_append(into, TEXT(",\"feasible\":"));
	buffer_append_number(into, decision->feasible);
	print_numbers(into, "filtered", decision->filtered, PLACE_FILTER_COUNT, filter_name);
	print_numbers(into, "exhausted", decision->exhausted, PLACE_DIMENSION_COUNT, place_dimension_name);
	buffer_append(into, TEXT(",\"chosen\":"));
	if (decision->slot >= 0)
		buffer_append_json(into, text_of(snapshot->cold[decision->slot].id));
	else
		buffer_append(into, TEXT("null"));
	buffer_append(into, decision->is_tie ? TEXT(",\"tieBreak\":true") : TEXT(",\"tieBreak\":false"));
	if (!telling->is_brief) {
		print_reason(snapshot, decision, into);
		if (snapshot->count <= telling->cells)
			print_cells(snapshot, into);
		buffer_printf(into, ",\"top\":[");
		if (decision->slot >= 0)
			print_top(snapshot, into);
		buffer_append_byte(into, ']');
	}
	buffer_append_byte(into, '}');
}
