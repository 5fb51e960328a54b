/* A participant profile's record: how its VPAs move from state to state, and how it is written down and shown. */
#pragma once

#include "control/fabric/cells.h"

/* cfm.md 1.3; locked and offline come from elsewhere (control.md 2.2.2) */
#define VPA_STATE_LIST(X)                                                                                              \
	X(PENDING, "pending")                                                                                              \
	X(ACTIVE, "active")                                                                                                \
	X(DISPOSING, "disposing")                                                                                          \
	X(DISPOSED, "disposed")                                                                                            \
	X(LOCKED, "locked")                                                                                                \
	X(OFFLINE, "offline")                                                                                              \
	X(ERROR, "error")
enum vpa_state {
#define VPA_STATE_MEMBER(name, text) VPA_STATE_##name,
	VPA_STATE_LIST(VPA_STATE_MEMBER)
#undef VPA_STATE_MEMBER
		VPA_STATE_COUNT
};
const char *vpa_state_name(enum vpa_state state);
/* VPA_STATE_COUNT: none of these. */
enum vpa_state vpa_state_parse(struct text name);
enum vpa_state vpa_state_of(const struct json *vpa);

/* What happens to a participant's VPAs. */
enum vpa_event {
	VPA_DEPLOYED,
	VPA_DEPLOY_FAILED,
	VPA_DISPOSE_ASKED,
	VPA_DISPOSED,
	VPA_DISPOSE_FAILED,
	VPA_EVENT_COUNT
};
/* The one table of transitions; the same state: the event means nothing to such a VPA (it came late, or twice). */
enum vpa_state vpa_next_state(enum vpa_state state, enum vpa_event event);

/* Moves every VPA of the record's tree; `moved` (may be NULL) is told of each that is in another state by it. False:
 * out of memory, or `moved` says so. */
bool profile_move(struct json *profile, enum vpa_event event, int64_t wall_ms,
	bool (*moved)(void *context, const struct json *vpa), void *context);

/* As it stands now: a VPA that is active is shown offline, since when its cell is unreachable or fenced (control.md
 * 2.2.2, 2.5). Never stored, so a cell that comes and goes writes nothing of what lives there. False: out of memory. */
bool profile_stand(struct json *profile, const struct cells *cells) MUST_CHECK;

/* The manifest of an orchestration (cfm.md 3.2), with "cfm.vpa.data" and "cfm.participant.id" of this record. extra:
 * more members of its payload, with a comma before each; may be empty. */
void profile_print_manifest(
	struct buffer *into, const struct json *profile, struct text id, struct text type, const struct buffer *extra);
/* As clients see it; `profile_print`: the record's body. */
void profile_print_shown(struct buffer *into, const struct json *profile);
bool profile_print(const struct cells *cells, struct text body, struct buffer *into);
