/* A decision is made again: on the snapshot of this process as it was, or on one that is made from what was stored with
 * decisions. */
#include <stdlib.h>

#include "control/fabric/place/placements_private.h"
#include "control/fabric/place/recall.h"

/* One replay, while the records of its snapshot are read. */
struct replay {
	struct rest_call *call;
	struct placements *placements;
	struct asked asked;
	struct json *chosen; /* as it was decided */
	int64_t process, version;
	enum form form;
};

static void replay_free(struct replay *replay)
{
	asked_free(&replay->asked);
	json_free(replay->chosen);
	free(replay);
}

static bool is_same(const struct json *chosen, const struct text *replayed, size_t count)
{
	size_t at = 0;
	for (const struct json *one = json_first(chosen); one != NULL; one = json_next(one), at++) {
		if (at == count || !text_equals(json_text(one), replayed[at]))
			return false;
	}
	return at == count;
}

static void print_replay(
	struct buffer *into, bool is_text, const struct json *chosen, const struct text *replayed, size_t count)
{
	bool same = is_same(chosen, replayed, count);
	if (is_text) {
		buffer_append(into, same ? TEXT("the same: ") : TEXT("not the same: "));
		for (size_t i = 0; i < count; i++)
			buffer_printf(into, "%s%.*s", i == 0 ? "" : ", ", TEXT_ARGUMENTS(replayed[i]));
		buffer_append(into, count == 0 ? TEXT("no cell\n") : TEXT("\n"));
		return;
	}
	buffer_printf(into, "{\"same\":%s,\"chosen\":", same ? "true" : "false");
	json_print(chosen, into);
	buffer_append(into, TEXT(",\"replayed\":"));
	placements_print_chosen(into, replayed, count);
	buffer_append_byte(into, '}');
}

static void answer(struct replay *replay, enum status status, const struct text *replayed)
{
	struct buffer body = {0};
	if (status == STATUS_OK || status == STATUS_NOT_FOUND) {
		print_replay(
			&body, replay->form != FORM_JSON, replay->chosen, replayed, status == STATUS_OK ? replay->asked.count : 0);
		placements_reply(replay->call, 200, replay->form != FORM_JSON, &body);
	} else {
		rest_refuse(replay->call, status, NULL);
	}
	buffer_free(&body);
}

static void on_recalled(void *context, enum status status, struct place_snapshot *snapshot)
{
	struct replay *replay = context;
	struct place_telling telling = {.is_brief = true};
	uint32_t slots[PLACE_GROUP_MAX];
	struct text replayed[PLACE_GROUP_MAX];
	if (status == STATUS_OK) {
		const struct place_request *const *requests = (const struct place_request *const *)replay->asked.requests;
		status = place_group(snapshot, requests, replay->asked.count, slots, &telling);
		for (size_t i = 0; status == STATUS_OK && i < replay->asked.count; i++)
			replayed[i] = text_of(place_snapshot_cell(snapshot, slots[i]));
		answer(replay, status, replayed);
		place_snapshot_free(snapshot);
	} else if (status == STATUS_NOT_FOUND) {
		rest_refuse_with(replay->call, 410, "what this decision was made on is no longer stored");
	} else {
		rest_refuse(replay->call, status, NULL);
	}
	rest_release(replay->call);
	replay_free(replay);
}

/* The version stands in the explanation, at its top. */
static enum status read_stored(struct replay *replay, const struct stored_decision *stored, struct buffer *error)
{
	const struct json *explain = json_member(stored->decision, "explain");
	enum status status = asked_read(json_member(stored->decision, "requests"), &replay->asked, error);
	if (status != STATUS_OK)
		return status;
	if (!json_integer(json_member(explain, "snapshot"), &replay->version) || replay->version < 0 ||
		!json_integer(json_member(explain, "process"), &replay->process))
		return STATUS_INTERNAL;
	replay->chosen = json_copy(json_member(stored->decision, "chosen"));
	return replay->chosen == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static void decide_again(struct replay *replay, const struct stored_decision *stored)
{
	struct text replayed[PLACE_GROUP_MAX];
	enum status status = placer_replay(replay->placements->placer, replay->process, (uint64_t)replay->version,
		(const struct place_request *const *)replay->asked.requests, replay->asked.count, replayed);
	if (status != STATUS_UNAVAILABLE) {
		answer(replay, status, replayed);
		replay_free(replay);
		return;
	}
	const struct recall_wish wish = {replay->process, (uint64_t)replay->version,
		(const struct place_request *const *)replay->asked.requests, replay->asked.count, text_of(stored->record),
		json_member_text(stored->root, "base")};
	rest_hold(replay->call);
	recall(replay->placements->state, &wish, on_recalled, replay);
}

static void on_found(struct rest_call *call, const struct stored_decision *stored)
{
	struct replay *replay = calloc(1, sizeof(*replay));
	struct buffer error = {0};
	enum status status = replay == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	if (replay != NULL && !placements_form(call, &replay->form)) {
		free(replay);
		return;
	}
	if (status == STATUS_OK) {
		replay->call = call;
		replay->placements = call->context;
		status = read_stored(replay, stored, &error);
	}
	if (status == STATUS_OK) {
		decide_again(replay, stored);
	} else {
		rest_refuse(call, status, error.bytes);
		if (replay != NULL)
			replay_free(replay);
	}
	buffer_free(&error);
}

void replay_placement(struct rest_call *call)
{
	struct text id = json_member_text(call->body, "decisionId");
	if (id.bytes == NULL)
		rest_refuse(call, STATUS_INVALID, "decisionId: is missing");
	else
		decision_find(call, id, on_found);
}
