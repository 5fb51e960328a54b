/* Flows: states, terms and their JSON. */
#include "tenants/dp/flow.h"

#include <stdlib.h>
#include <string.h>

static const char *const state_names[] = {
#define FLOW_STATE_NAME(name) #name,
	FLOW_STATE_LIST(FLOW_STATE_NAME)
#undef FLOW_STATE_NAME
};

#define TO(name) (1U << FLOW_##name)
static const unsigned transitions[FLOW_STATE_COUNT] = {
	[FLOW_INITIALIZED] = TO(PREPARING) | TO(PREPARED) | TO(STARTING) | TO(STARTED) | TO(TERMINATED),
	[FLOW_PREPARING] = TO(PREPARED) | TO(TERMINATED),
	[FLOW_PREPARED] = TO(STARTING) | TO(STARTED) | TO(TERMINATED),
	[FLOW_STARTING] = TO(STARTED) | TO(SUSPENDED) | TO(TERMINATED),
	[FLOW_STARTED] = TO(SUSPENDED) | TO(COMPLETED) | TO(TERMINATED),
	[FLOW_SUSPENDED] = TO(STARTING) | TO(STARTED) | TO(TERMINATED),
	[FLOW_COMPLETED] = 0,
	[FLOW_TERMINATED] = 0,
};
#undef TO

struct text flow_state_name(enum flow_state state)
{
	return text_of(state_names[state]);
}

bool flow_state_parse(struct text text, enum flow_state *state)
{
	for (int i = 0; i < FLOW_STATE_COUNT; i++) {
		if (text_equals(text, text_of(state_names[i]))) {
			*state = (enum flow_state)i;
			return true;
		}
	}
	return false;
}

bool flow_may_move(enum flow_state from, enum flow_state to)
{
	return (transitions[from] >> to & 1U) != 0;
}

/* --- terms */

enum member_kind { MEMBER_TEXT, MEMBER_TIME, MEMBER_STATE, MEMBER_ID };
static const struct member {
	const char *name;
	enum member_kind kind;
	size_t offset;
	bool required;
	bool ours; /* set by the cell alone */
} members[] = {
	{"id", MEMBER_ID, 0, false, false},
	{"datasetId", MEMBER_TEXT, offsetof(struct flow_terms, dataset), true, false},
	{"agreementId", MEMBER_TEXT, offsetof(struct flow_terms, agreement), true, false},
	{"counterParty", MEMBER_TEXT, offsetof(struct flow_terms, counter_party), true, false},
	{"state", MEMBER_STATE, 0, false, true},
	{"notBefore", MEMBER_TIME, offsetof(struct flow_terms, not_before_ms), false, false},
	{"expiresAt", MEMBER_TIME, offsetof(struct flow_terms, expires_ms), false, false},
	{"createdAt", MEMBER_TIME, offsetof(struct flow_terms, created_ms), false, true},
	{"stateChangedAt", MEMBER_TIME, offsetof(struct flow_terms, changed_ms), false, true},
};
enum { MEMBER_COUNT = sizeof(members) / sizeof(members[0]), TEXT_MAX = 512 };

static bool is_printable(struct text text)
{
	for (size_t i = 0; i < text.length; i++) {
		if ((unsigned char)text.bytes[i] < 0x21 || (unsigned char)text.bytes[i] > 0x7e)
			return false;
	}
	return text.length > 0 && text.length <= TEXT_MAX;
}

static enum status read_text(const struct member *member, const struct json *value, char **into, struct buffer *error)
{
	if (!is_printable(json_text(value))) {
		buffer_printf(error, "%s: must be 1 to %d visible ASCII characters", member->name, TEXT_MAX);
		return STATUS_INVALID;
	}
	*into = text_copy(json_text(value));
	return *into == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status read_member(
	const struct member *member, const struct json *value, struct flow_terms *terms, struct buffer *error)
{
	char *base = (char *)terms;
	switch (member->kind) {
	case MEMBER_ID:
		return STATUS_OK; /* the caller's */
	case MEMBER_TEXT:
		return read_text(member, value, (char **)(void *)(base + member->offset), error);
	case MEMBER_TIME: {
		int64_t time;
		if (!json_integer(value, &time) || time < 0) {
			buffer_printf(error, "%s: must be milliseconds since 1970 as an integer", member->name);
			return STATUS_INVALID;
		}
		*(int64_t *)(void *)(base + member->offset) = time;
		return STATUS_OK;
	}
	case MEMBER_STATE:
		if (flow_state_parse(json_text(value), &terms->state))
			return STATUS_OK;
		buffer_printf(error, "%s: unknown state", member->name);
		return STATUS_INVALID;
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
		if (strict && (member == NULL || member->ours)) {
			buffer_printf(error, "%s: %s", json_name(value), member == NULL ? "unknown member" : "is set by the cell");
			return STATUS_INVALID;
		}
		enum status status = member == NULL ? STATUS_OK : read_member(member, value, terms, error);
		if (status != STATUS_OK)
			return status;
	}
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		if (members[i].required && json_member(body, members[i].name) == NULL) {
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
	if (status != STATUS_OK) {
		flow_terms_free(read);
		return status;
	}
	*terms = read;
	return STATUS_OK;
}

void flow_terms_print(const struct flow_terms *terms, struct text id, struct buffer *into)
{
	buffer_append(into, TEXT("{\"id\":"));
	buffer_append_json(into, id);
	for (size_t i = 0; i < MEMBER_COUNT; i++) {
		const char *field = (const char *)terms + members[i].offset;
		if (members[i].kind == MEMBER_ID ||
			(members[i].kind == MEMBER_TIME && *(const int64_t *)(const void *)field == 0))
			continue;
		buffer_append_byte(into, ',');
		buffer_append_json(into, text_of(members[i].name));
		buffer_append_byte(into, ':');
		if (members[i].kind == MEMBER_TIME)
			buffer_append_number(into, *(const int64_t *)(const void *)field);
		else if (members[i].kind == MEMBER_STATE)
			buffer_append_json(into, flow_state_name(terms->state));
		else
			buffer_append_json(into, text_of(*(char *const *)(const void *)field));
	}
}

enum status flow_terms_move(struct flow_terms *terms, enum flow_state to, int64_t now_ms)
{
	if (!flow_may_move(terms->state, to))
		return STATUS_CONFLICT;
	terms->state = to;
	terms->changed_ms = now_ms;
	return STATUS_OK;
}

void flow_terms_free(void *object)
{
	struct flow_terms *terms = object;
	if (terms == NULL)
		return;
	free(terms->dataset);
	free(terms->agreement);
	free(terms->counter_party);
	free(terms);
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
