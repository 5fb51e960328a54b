/* A participant is disposed of: its VPAs are marked and the manifest is written in one transaction. */
#include "control/fabric/manager/deploy.h"
#include "control/fabric/manager/profile.h"
#include "control/fabric/manager/profile_list.h"
#include "control/fabric/manager/wire.h"
#include "server/base/clock.h"
#include "server/base/id.h"

/* The existing manager asks that all VPAs are active; those in error may be tried again, for a failed dispose leaves
 * them there. False: `why` says which are not. */
static bool may_dispose(const struct json *profile, struct buffer *why)
{
	struct buffer states = {0};
	for (const struct json *vpa = json_first(json_member(profile, "vpas")); vpa != NULL; vpa = json_next(vpa)) {
		if (vpa_next_state(vpa_state_of(vpa), VPA_DISPOSE_ASKED) == VPA_STATE_DISPOSING &&
			vpa_state_of(vpa) != VPA_STATE_DISPOSING)
			continue;
		buffer_append(&states, states.length == 0 ? TEXT("") : TEXT(","));
		buffer_append(&states, json_member_text(vpa, "id"));
		buffer_append_byte(&states, ':');
		buffer_append(&states, json_member_text(vpa, "state"));
	}
	bool may = states.length == 0;
	if (!may)
		buffer_printf(why, "cannot dispose VPAs %.*s in states: %s", TEXT_ARGUMENTS(json_member_text(profile, "id")),
			states.bytes);
	else if (json_kind(json_member(json_member(profile, "properties"), "cfm.vpa.state")) != JSON_OBJECT) {
		may = false;
		buffer_printf(why, "profile is not deployed or is missing state data: %.*s",
			TEXT_ARGUMENTS(json_member_text(profile, "id")));
	}
	buffer_free(&states);
	return may;
}

/* What the agents look for at the top of the payload: what the deployment gave out, and the credentials it was for. */
static void print_extra(struct buffer *into, const struct json *profile)
{
	const struct json *state = json_member(json_member(profile, "properties"), "cfm.vpa.state");
	const struct json *credentials = json_member(json_member(profile, "celld"), "credentials");
	buffer_append(into, TEXT(",\"cfm.vpa.state\":"));
	json_print(state, into);
	buffer_append(into, TEXT(",\"cfm.vpa.credentials\":"));
	if (credentials == NULL)
		buffer_append(into, TEXT("[]"));
	else
		json_print(credentials, into);
	for (const struct json *member = json_first(state); member != NULL; member = json_next(member)) {
		struct text name = text_of(json_name(member));
		if (text_starts_with(name, TEXT("cfm.vpa.")) || text_equals(name, TEXT("cfm.participant.id")))
			continue;
		buffer_append_byte(into, ',');
		buffer_append_json(into, name);
		buffer_append_byte(into, ':');
		json_print(member, into);
	}
}

static void store(struct rest_call *call, const struct record *stored, struct json *profile)
{
	char id[UUID_LENGTH + 1];
	struct buffer extra = {0}, manifest = {0}, record = {0}, answer = {0};
	struct json *own = (struct json *)(uintptr_t)json_member(profile, "celld");
	struct transaction *transaction = transaction_new();
	uuid_random(id);
	print_extra(&extra, profile);
	profile_print_manifest(&manifest, profile, text_of(id), TEXT("cfm.orchestration.vpa.dispose"), &extra);
	bool is_made = transaction != NULL && !manifest.failed &&
				   profile_move(profile, VPA_DISPOSE_ASKED, clock_wall_ms(), NULL, NULL);
	if (is_made && own != NULL) {
		json_remove(own, "manifest");
		is_made = json_add_text(own, "manifest", text_of(id));
	}
	json_print(profile, &record);
	enum status status =
		is_made ? manager_put(transaction, RECORD_PARTICIPANT_PROFILE, stored->id, &record, stored->revision)
				: STATUS_NO_MEMORY;
	if (status == STATUS_OK && !manager_order(call, transaction, text_of(id), buffer_text(&manifest)))
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK) {
		rest_submit(call, manager_of(call)->state, transaction, 202, &answer);
	} else {
		transaction_free(transaction);
		rest_refuse(call, status, NULL);
	}
	buffer_free(&extra);
	buffer_free(&manifest);
	buffer_free(&record);
}

static void on_found(void *context, enum status status, const struct record *record)
{
	struct rest_call *call = context;
	struct json *profile = NULL;
	struct buffer why = {0};
	if (status == STATUS_OK)
		status = json_parse(record->body, NULL, &profile);
	if (status != STATUS_OK)
		rest_refuse(call, status, NULL);
	else if (!may_dispose(profile, &why))
		rest_refuse(call, STATUS_INTERNAL, why.bytes);
	else
		store(call, record, profile);
	json_free(profile);
	buffer_free(&why);
	rest_release(call);
}

void dispose_profile(struct rest_call *call)
{
	const struct profile_row *row = profile_find(manager_of(call), call->arguments[0], call->arguments[1]);
	if (row == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	rest_hold(call);
	profile_read(manager_of(call), row, on_found, call);
}
