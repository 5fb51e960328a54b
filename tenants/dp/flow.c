/* Flows: states, terms and their JSON. */
#include "tenants/dp/flow.h"

#include <stdlib.h>
#include <string.h>

#include "tenants/dp/dataset.h"
#include "tenants/dp/sink/push.h"

static const char *const state_names[] = {
#define FLOW_STATE_NAME(name) #name,
	FLOW_STATE_LIST(FLOW_STATE_NAME)
#undef FLOW_STATE_NAME
};

/* A cell is the next state + 1; 0: refused. */
#define TO(state) (FLOW_##state + 1)
static const unsigned char transitions[FLOW_STATE_COUNT][FLOW_EVENT_COUNT] = {
	[FLOW_INITIALIZED] = {[FLOW_ON_PREPARE] = TO(PREPARED),
		[FLOW_ON_PREPARE_LATER] = TO(PREPARING),
		[FLOW_ON_START] = TO(STARTED),
		[FLOW_ON_START_LATER] = TO(STARTING),
		[FLOW_ON_TERMINATE] = TO(TERMINATED)},
	[FLOW_PREPARING] = {[FLOW_ON_READY] = TO(PREPARED), [FLOW_ON_TERMINATE] = TO(TERMINATED)},
	[FLOW_PREPARED] = {[FLOW_ON_STARTED] = TO(STARTED), [FLOW_ON_TERMINATE] = TO(TERMINATED)},
	[FLOW_STARTING] = {[FLOW_ON_READY] = TO(STARTED), [FLOW_ON_TERMINATE] = TO(TERMINATED)},
	[FLOW_STARTED] = {[FLOW_ON_SUSPEND] = TO(SUSPENDED),
		[FLOW_ON_COMPLETE] = TO(COMPLETED),
		[FLOW_ON_FINISH] = TO(COMPLETED),
		[FLOW_ON_TERMINATE] = TO(TERMINATED)},
	/* an acknowledged end counts even if the suspension overtook it */
	[FLOW_SUSPENDED] =
		{[FLOW_ON_RESUME] = TO(STARTED), [FLOW_ON_FINISH] = TO(COMPLETED), [FLOW_ON_TERMINATE] = TO(TERMINATED)},
	[FLOW_COMPLETED] = {[FLOW_ON_COMPLETE] = TO(COMPLETED), [FLOW_ON_FINISH] = TO(COMPLETED)},
	[FLOW_TERMINATED] = {[FLOW_ON_TERMINATE] = TO(TERMINATED)},
};
#undef TO

struct text flow_state_name(enum flow_state state)
{
	return text_of(state_names[state]);
}

static bool state_parse(struct text text, enum flow_state *state)
{
	int found = text_find_word(text, state_names, FLOW_STATE_COUNT);
	if (found < 0)
		return false;
	*state = (enum flow_state)found;
	return true;
}

bool flow_may_move(enum flow_state from, enum flow_event event, enum flow_state *to)
{
	if (transitions[from][event] == 0)
		return false;
	*to = (enum flow_state)(transitions[from][event] - 1);
	return true;
}

bool flow_state_is_final(enum flow_state state)
{
	return state == FLOW_COMPLETED || state == FLOW_TERMINATED;
}

/* --- terms */

/* WORD: visible ASCII; PROSE: any text; OBJECT, ARRAY: kept as JSON text */
enum member_kind {
	MEMBER_WORD,
	MEMBER_PROSE,
	MEMBER_OBJECT,
	MEMBER_ARRAY,
	MEMBER_TIME,
	MEMBER_STATE,
	MEMBER_ROLE,
	MEMBER_ID
};
enum member_owner { NEEDED, FREE, OURS }; /* OURS: set by the cell alone */
#define AT(name) offsetof(struct flow_terms, name)
static const struct member {
	const char *name;
	enum member_kind kind;
	size_t offset;
	enum member_owner owner;
} members[] = {
	{"id", MEMBER_ID, 0, FREE},
	{"datasetId", MEMBER_WORD, AT(dataset), NEEDED},
	{"agreementId", MEMBER_WORD, AT(agreement), NEEDED},
	{"counterParty", MEMBER_WORD, AT(counter_party), NEEDED},
	{"role", MEMBER_ROLE, AT(role), FREE},
	{"participantId", MEMBER_WORD, AT(participant), FREE},
	{"profile", MEMBER_WORD, AT(profile), FREE},
	{"dataspaceContext", MEMBER_WORD, AT(dataspace), FREE},
	{"controlPlaneId", MEMBER_WORD, AT(control_plane), OURS},
	{"messageIds", MEMBER_ARRAY, AT(messages), OURS},
	{"state", MEMBER_STATE, AT(state), OURS},
	{"reason", MEMBER_PROSE, AT(reason), OURS},
	{"dataAddress", MEMBER_OBJECT, AT(address), FREE},
	{"publicUrl", MEMBER_WORD, AT(public_url), OURS},
	{"claims", MEMBER_OBJECT, AT(claims), FREE},
	{"labels", MEMBER_ARRAY, AT(labels), FREE},
	{"metadata", MEMBER_OBJECT, AT(metadata), FREE},
	{"notBefore", MEMBER_TIME, AT(not_before_ms), FREE},
	{"expiresAt", MEMBER_TIME, AT(expires_ms), FREE},
	{"dueAt", MEMBER_TIME, AT(due_ms), OURS},
	{"createdAt", MEMBER_TIME, AT(created_ms), OURS},
	{"stateChangedAt", MEMBER_TIME, AT(changed_ms), OURS},
};
#undef AT
enum { MEMBER_COUNT = sizeof(members) / sizeof(members[0]), TEXT_MAX = 512, PROSE_MAX = 4096, JSON_MAX = 65536 };

static const char *const role_names[] = {
#define FLOW_ROLE_NAME(name, text) text,
	FLOW_ROLE_LIST(FLOW_ROLE_NAME)
#undef FLOW_ROLE_NAME
};
enum { ROLE_COUNT = sizeof(role_names) / sizeof(role_names[0]) };

static bool is_printable(struct text text)
{
	for (size_t i = 0; i < text.length; i++) {
		if ((unsigned char)text.bytes[i] < 0x21 || (unsigned char)text.bytes[i] > 0x7e)
			return false;
	}
	return text.length > 0 && text.length <= TEXT_MAX;
}

static enum status wrong(const struct member *member, struct buffer *error, const char *what)
{
	buffer_printf(error, "%s: %s", member->name, what);
	return STATUS_INVALID;
}

static enum status keep(struct text text, char **into)
{
	free(*into);
	*into = text_copy(text);
	return *into == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status read_json(
	const struct member *member, const struct json *value, enum json_kind kind, char **into, struct buffer *error)
{
	struct buffer text = {0};
	if (json_kind(value) != kind)
		return wrong(member, error, kind == JSON_OBJECT ? "must be an object" : "must be an array");
	json_print(value, &text);
	enum status status = text.failed ? STATUS_NO_MEMORY : STATUS_OK;
	if (status == STATUS_OK && text.length > JSON_MAX)
		status = wrong(member, error, "must be at most 65536 bytes of JSON");
	if (status == STATUS_OK)
		status = keep(buffer_text(&text), into);
	buffer_free(&text);
	return status;
}

static enum status read_role(
	const struct member *member, const struct json *value, enum flow_role *role, struct buffer *error)
{
	for (int i = 0; i < ROLE_COUNT; i++) {
		if (text_equals(json_text(value), text_of(role_names[i]))) {
			*role = (enum flow_role)i;
			return STATUS_OK;
		}
	}
	return wrong(member, error, "must be \"provider\" or \"consumer\"");
}

static enum status read_member(
	const struct member *member, const struct json *value, struct flow_terms *terms, struct buffer *error)
{
	void *at = (char *)terms + member->offset;
	struct text text = json_text(value);
	switch (member->kind) {
	case MEMBER_ID:
		return STATUS_OK; /* the caller's */
	case MEMBER_WORD:
		return is_printable(text) ? keep(text, at) : wrong(member, error, "must be 1 to 512 visible ASCII characters");
	case MEMBER_PROSE:
		return text.bytes != NULL && text.length <= PROSE_MAX
				   ? keep(text, at)
				   : wrong(member, error, "must be a text of at most 4096 bytes");
	case MEMBER_OBJECT:
		return read_json(member, value, JSON_OBJECT, at, error);
	case MEMBER_ARRAY:
		return read_json(member, value, JSON_ARRAY, at, error);
	case MEMBER_TIME:
		return json_integer(value, at) && *(int64_t *)at >= 0
				   ? STATUS_OK
				   : wrong(member, error, "must be milliseconds since 1970 as an integer");
	case MEMBER_STATE:
		return state_parse(text, at) ? STATUS_OK : wrong(member, error, "unknown state");
	case MEMBER_ROLE:
		return read_role(member, value, at, error);
	}
	return STATUS_INTERNAL;
}

static const struct member *find_member(const char *name)
{
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		if (strcmp(members[i].name, name) == 0)
			return &members[i];
	}
	return NULL;
}

static enum status read_members(const struct json *body, bool strict, struct flow_terms *terms, struct buffer *error)
{
	for (const struct json *value = json_first(body); value != NULL; value = json_next(value)) {
		const struct member *member = find_member(json_name(value));
		if (strict && (member == NULL || member->owner == OURS)) {
			buffer_printf(error, "%s: %s", json_name(value), member == NULL ? "unknown member" : "is set by the cell");
			return STATUS_INVALID;
		}
		enum status status = member == NULL ? STATUS_OK : read_member(member, value, terms, error);
		if (status != STATUS_OK)
			return status;
	}
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		if (members[i].owner == NEEDED && json_member(body, members[i].name) == NULL) {
			buffer_printf(error, "%s: is missing", members[i].name);
			return STATUS_INVALID;
		}
	}
	if (terms->expires_ms != 0 && terms->expires_ms <= terms->not_before_ms) {
		buffer_printf(error, "expiresAt: must be after notBefore");
		return STATUS_INVALID;
	}
	return STATUS_OK;
}

/* What the flow says of itself, for its policy: a label "NAME=value", else the claim NAME; of several labels the first.
 * Owned by the caller; NULL: nothing (or out of memory, which *failed says). */
static char *fact_of(const struct json *labels, const struct json *claims, const char *name, bool *failed)
{
	struct text found = json_member_text(claims, name), wanted = text_of(name);
	for (const struct json *label = json_first(labels); label != NULL; label = json_next(label)) {
		struct text text = json_text(label);
		size_t equals = text_find(text, '=');
		if (equals == text.length || !text_equals(text_slice(text, 0, equals), wanted))
			continue;
		found = text_slice(text, equals + 1, text.length);
		break;
	}
	if (found.length == 0)
		return NULL;
	char *copy = text_copy(found);
	*failed = *failed || copy == NULL;
	return copy;
}

static enum status read_facts(const struct json *body, struct flow_terms *terms)
{
	const struct json *labels = json_member(body, "labels"), *claims = json_member(body, "claims");
	bool failed = false;
	terms->region = fact_of(labels, claims, "celld.region", &failed);
	terms->purpose = fact_of(labels, claims, "purpose", &failed);
	terms->industry = fact_of(labels, claims, "industry", &failed);
	return failed ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status flow_terms_parse(const struct json *body, bool strict, struct flow_terms **terms, struct buffer *error)
{
	if (body == NULL || json_kind(body) != JSON_OBJECT) {
		buffer_printf(error, "the body must be a JSON object");
		return STATUS_INVALID;
	}
	struct flow_terms *read = calloc(1, sizeof(*read));
	if (read == NULL)
		return STATUS_NO_MEMORY;
	enum status status = read_members(body, strict, read, error);
	if (status == STATUS_OK)
		status = read_facts(body, read);
	if (status != STATUS_OK) {
		flow_terms_free(read);
		return status;
	}
	*terms = read;
	return STATUS_OK;
}

static void print_member(const struct member *member, const struct flow_terms *terms, struct buffer *into)
{
	const void *at = (const char *)terms + member->offset;
	switch (member->kind) {
	case MEMBER_ID:
		break;
	case MEMBER_WORD:
	case MEMBER_PROSE:
		buffer_append_json(into, text_of(*(char *const *)at));
		break;
	case MEMBER_OBJECT:
	case MEMBER_ARRAY:
		buffer_append(into, text_of(*(char *const *)at));
		break;
	case MEMBER_TIME:
		buffer_append_number(into, *(const int64_t *)at);
		break;
	case MEMBER_STATE:
		buffer_append_json(into, flow_state_name(terms->state));
		break;
	case MEMBER_ROLE:
		buffer_append_json(into, text_of(role_names[terms->role]));
		break;
	}
}

static bool is_there(const struct member *member, const struct flow_terms *terms)
{
	const void *at = (const char *)terms + member->offset;
	switch (member->kind) {
	case MEMBER_ID:
		return false;
	case MEMBER_WORD:
	case MEMBER_PROSE:
	case MEMBER_OBJECT:
	case MEMBER_ARRAY:
		return *(char *const *)at != NULL;
	case MEMBER_TIME:
		return *(const int64_t *)at != 0;
	case MEMBER_STATE:
	case MEMBER_ROLE:
		return true;
	}
	return false;
}

void flow_terms_print(const struct flow_terms *terms, struct text id, struct buffer *into)
{
	buffer_append(into, TEXT("{\"id\":"));
	buffer_append_json(into, id);
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		if (!is_there(&members[i], terms))
			continue;
		buffer_append_byte(into, ',');
		buffer_append_json(into, text_of(members[i].name));
		buffer_append_byte(into, ':');
		print_member(&members[i], terms, into);
	}
}

enum status flow_terms_move(struct flow_terms *terms, enum flow_event event, int64_t now_ms)
{
	enum flow_state to;
	if (!flow_may_move(terms->state, event, &to))
		return STATUS_CONFLICT;
	if (terms->state != to)
		terms->changed_ms = now_ms;
	terms->state = to;
	return STATUS_OK;
}

void flow_terms_free(void *object)
{
	struct flow_terms *terms = object;
	if (terms == NULL)
		return;
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		if (members[i].kind <= MEMBER_ARRAY)
			free(*(char **)(void *)((char *)terms + members[i].offset));
	}
	free(terms->region);
	free(terms->purpose);
	free(terms->industry);
	free(terms);
}

bool flow_terms_is_push(const struct flow_terms *terms)
{
	struct text profile = text_of(terms->profile == NULL ? "" : terms->profile), suffix = TEXT("-push");
	return profile.length >= suffix.length &&
		   text_equals_ignoring_case(text_slice(profile, profile.length - suffix.length, profile.length), suffix);
}

bool flow_terms_admit(const struct flow_terms *terms, int64_t now_ms)
{
	return terms->state == FLOW_STARTED && now_ms >= terms->not_before_ms &&
		   (terms->expires_ms == 0 || now_ms < terms->expires_ms);
}

/* --- flow */

struct flow *flow_new(struct text ctx, struct text id, struct flow_terms *terms, unsigned workers)
{
	struct flow *flow = calloc(1, sizeof(*flow));
	if (flow == NULL || ctx.length > ID_LENGTH)
		goto failed;
	memcpy(flow->ctx, ctx.bytes, ctx.length);
	flow->id = text_copy(id);
	flow->lane_count = workers;
	flow->lanes = aligned_alloc(_Alignof(struct flow_lane), workers * sizeof(struct flow_lane));
	if (flow->id == NULL || flow->lanes == NULL)
		goto failed;
	memset(flow->lanes, 0, workers * sizeof(struct flow_lane));
	atomic_store_explicit(&flow->terms, terms, memory_order_release);
	return flow;
failed:
	flow_free(flow);
	return NULL;
}

void flow_free(void *object)
{
	struct flow *flow = object;
	if (flow == NULL)
		return;
	flow_terms_free(atomic_load_explicit(&flow->terms, memory_order_acquire));
	push_unref(flow->push);
	for (unsigned i = 0; flow->lanes != NULL && i < flow->lane_count; i++)
		dataset_unref(flow->lanes[i].dataset);
	free(flow->lanes);
	free(flow->id);
	free(flow);
}

uint64_t flow_bytes(const struct flow *flow)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < flow->lane_count; i++)
		sum += atomic_load_explicit(&flow->lanes[i].bytes, memory_order_relaxed);
	return sum;
}

uint64_t flow_requests(const struct flow *flow)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < flow->lane_count; i++)
		sum += atomic_load_explicit(&flow->lanes[i].requests, memory_order_relaxed);
	return sum;
}
