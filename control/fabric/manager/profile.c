/* Transitions, and the shapes of a profile. */
#include "control/fabric/manager/profile.h"

#include "control/fabric/manager/manager_private.h"
#include "control/fabric/manager/wire.h"
#include "server/base/clock.h"

const struct query_field profile_fields[] = {{"id", "id"}, {"version", "version"}, {"identifier", "identifier"},
	{"tenantId", "tenantId"}, {"dataspaceProfileIds", "dataspaceProfileIds"}, {"participantRoles", "participantRoles"},
	{"vpas", "vpas"}, {"error", "error"}, {"errorDetail", "errorDetail"}, {"properties", "properties"}, {NULL, NULL}};

static const char *const state_names[] = {
#define STATE_NAME(name, text) text,
	VPA_STATE_LIST(STATE_NAME)
#undef STATE_NAME
};

const char *vpa_state_name(enum vpa_state state)
{
	return state_names[state];
}

enum vpa_state vpa_state_parse(struct text name)
{
	int state = text_find_word(name, state_names, VPA_STATE_COUNT);
	return state < 0 ? VPA_STATE_COUNT : (enum vpa_state)state;
}

enum vpa_state vpa_state_of(const struct json *vpa)
{
	return vpa_state_parse(json_member_text(vpa, "state"));
}

/* Answers may come late, twice, or in another order than they were given: a compensation's success may overtake the
 * failure that caused it. So disposed is the end, and what was deployed is not deployed again. */
enum vpa_state vpa_next_state(enum vpa_state state, enum vpa_event event)
{
#define TO(name) (VPA_STATE_##name + 1) /* 0: stays */
	static const unsigned char next[VPA_STATE_COUNT][VPA_EVENT_COUNT] = {
		[VPA_STATE_PENDING] =
			{[VPA_DEPLOYED] = TO(ACTIVE), [VPA_DEPLOY_FAILED] = TO(ERROR), [VPA_DISPOSED] = TO(DISPOSED)},
		[VPA_STATE_ACTIVE] = {[VPA_DISPOSE_ASKED] = TO(DISPOSING), [VPA_DISPOSED] = TO(DISPOSED)},
		[VPA_STATE_DISPOSING] = {[VPA_DISPOSED] = TO(DISPOSED), [VPA_DISPOSE_FAILED] = TO(ERROR)},
		[VPA_STATE_LOCKED] = {[VPA_DISPOSED] = TO(DISPOSED)},
		[VPA_STATE_OFFLINE] = {[VPA_DISPOSED] = TO(DISPOSED)},
		[VPA_STATE_ERROR] = {[VPA_DISPOSE_ASKED] = TO(DISPOSING), [VPA_DISPOSED] = TO(DISPOSED)}};
#undef TO
	unsigned to = state < VPA_STATE_COUNT ? next[state][event] : 0;
	return to == 0 ? state : (enum vpa_state)(to - 1);
}

static bool set_text(struct json *object, const char *name, const char *text)
{
	json_remove(object, name);
	return json_add_text(object, name, text_of(text));
}

bool profile_move(struct json *profile, enum vpa_event event, int64_t wall_ms,
	bool (*moved)(void *context, const struct json *vpa), void *context)
{
	char now[25];
	clock_format(wall_ms, now);
	const struct json *each = json_first(json_member(profile, "vpas"));
	for (; each != NULL; each = json_next(each)) {
		struct json *vpa = (struct json *)(uintptr_t)each;
		enum vpa_state before = vpa_state_of(vpa), after = vpa_next_state(before, event);
		if (after == before)
			continue;
		if (!set_text(vpa, "state", vpa_state_name(after)) || !set_text(vpa, "stateTimestamp", now))
			return false;
		if (moved != NULL && !moved(context, vpa))
			return false;
	}
	return true;
}

bool profile_stand(struct json *profile, const struct cells *cells)
{
	const struct json *each = json_first(json_member(profile, "vpas"));
	for (; each != NULL; each = json_next(each)) {
		struct json *vpa = (struct json *)(uintptr_t)each;
		const struct cell_record *cell =
			vpa_state_of(vpa) == VPA_STATE_ACTIVE ? cells_find(cells, json_member_text(vpa, "cellId")) : NULL;
		if (cell == NULL || cell->offline_since == NULL)
			continue;
		if (!set_text(vpa, "state", vpa_state_name(VPA_STATE_OFFLINE)) ||
			!set_text(vpa, "stateTimestamp", cell->offline_since))
			return false;
	}
	return true;
}

/* --- shapes */

static void print_vpa_manifest(struct buffer *into, const struct json *vpa)
{
	buffer_append(into, TEXT("{\"id\":"));
	buffer_append_json(into, json_member_text(vpa, "id"));
	buffer_append_member(into, "vpaType", json_member_text(vpa, "type"));
	buffer_append_member(into, "cellId", json_member_text(vpa, "cellId"));
	buffer_append_member(into, "externalCellId", json_member_text(vpa, "externalCellId"));
	wire_print_filled(into, "properties", json_member(vpa, "properties"));
	buffer_append_byte(into, '}');
}

void profile_print_manifest(
	struct buffer *into, const struct json *profile, struct text id, struct text type, const struct buffer *extra)
{
	buffer_append(into, TEXT("{\"id\":"));
	buffer_append_json(into, id);
	buffer_append_member(into, "correlationId", json_member_text(profile, "id"));
	buffer_append_member(into, "orchestrationType", type);
	buffer_append(into, TEXT(",\"payload\":{\"cfm.participant.id\":"));
	buffer_append_json(into, json_member_text(profile, "identifier"));
	buffer_append(into, TEXT(",\"cfm.vpa.data\":["));
	for (const struct json *vpa = json_first(json_member(profile, "vpas")); vpa != NULL; vpa = json_next(vpa)) {
		print_vpa_manifest(into, vpa);
		if (json_next(vpa) != NULL)
			buffer_append_byte(into, ',');
	}
	buffer_append_byte(into, ']');
	buffer_append(into, buffer_text(extra));
	buffer_append(into, TEXT("}}"));
	into->failed |= extra->failed;
}

static void print_members(struct buffer *into, const struct json *object, const char *const *names, size_t count)
{
	buffer_append_byte(into, '{');
	for (size_t i = 0, shown = 0; i < count; i++) {
		const struct json *value = json_member(object, names[i]);
		if (value == NULL)
			continue;
		buffer_printf(into, "%s\"%s\":", shown++ == 0 ? "" : ",", names[i]);
		json_print(value, into);
	}
}

void profile_print_shown(struct buffer *into, const struct json *profile)
{
	static const char *const first[] = {"id", "version", "identifier", "tenantId", "participantRoles"};
	static const char *const of_vpa[] = {"id", "version", "state", "stateTimestamp", "type", "cellId"};
	bool error = false;
	print_members(into, profile, first, sizeof(first) / sizeof(first[0]));
	buffer_append(into, TEXT(",\"vpas\":["));
	for (const struct json *vpa = json_first(json_member(profile, "vpas")); vpa != NULL; vpa = json_next(vpa)) {
		print_members(into, vpa, of_vpa, sizeof(of_vpa) / sizeof(of_vpa[0]));
		wire_print_filled(into, "properties", json_member(vpa, "properties"));
		buffer_append(into, json_next(vpa) == NULL ? TEXT("}") : TEXT("},"));
	}
	buffer_append_byte(into, ']');
	wire_print_filled(into, "properties", json_member(profile, "properties"));
	(void)json_bool(json_member(profile, "error"), &error);
	buffer_append(into, error ? TEXT(",\"error\":true") : TEXT(",\"error\":false"));
	if (json_member_text(profile, "errorDetail").length > 0)
		buffer_append_member(into, "errorDetail", json_member_text(profile, "errorDetail"));
	buffer_append_byte(into, '}');
}

bool profile_print(const struct cells *cells, struct text body, struct buffer *into)
{
	struct json *profile = NULL;
	if (json_parse(body, NULL, &profile) != STATUS_OK)
		return false;
	bool is_printed = profile_stand(profile, cells);
	if (is_printed)
		profile_print_shown(into, profile);
	json_free(profile);
	return is_printed && !into->failed;
}
