/* Judging by a compiled policy. */
#include "tenants/dp/contract/policy.h"

#include <stddef.h>
#include <stdlib.h>

#include "tenants/dp/contract/policy_rule.h"

const char *policy_reason_name(enum policy_reason reason)
{
	static const char *const names[] = {
#define POLICY_REASON_NAME(name, text) text,
		POLICY_REASON_LIST(POLICY_REASON_NAME)
#undef POLICY_REASON_NAME
	};
	return names[reason];
}

struct policy *policy_deny(void)
{
	struct policy *policy = calloc(1, sizeof(*policy));
	struct rule *rule = calloc(1, sizeof(*rule));
	if (policy == NULL || rule == NULL) {
		free(policy);
		free(rule);
		return NULL;
	}
	*rule = (struct rule){.kind = RULE_ANY, .reason = POLICY_UNENFORCEABLE};
	policy->rules = rule;
	policy->rule_count = policy->rule_room = 1;
	return policy;
}

void policy_free(struct policy *policy)
{
	if (policy == NULL)
		return;
	for (size_t i = 0; i < policy->value_count; i++)
		free(policy->values[i]);
	for (size_t i = 0; i < policy->flag_count; i++)
		free(policy->flags[i]);
	free(policy->values);
	free(policy->rules);
	free(policy);
}

size_t policy_unenforceable_count(const struct policy *policy)
{
	return policy->flag_count;
}

const char *policy_unenforceable(const struct policy *policy, size_t at)
{
	return policy->flags[at];
}

bool policy_asks(const struct policy *policy, enum policy_reason about)
{
	return (policy->asked >> about & 1U) != 0;
}

bool policy_has_count(const struct policy *policy)
{
	return policy->has_count;
}

bool policy_has_volume(const struct policy *policy)
{
	return policy->has_volume;
}

/* --- judging */

/* Which fact a match is about. */
static struct text fact_of(const struct policy_facts *facts, enum policy_reason reason)
{
	static const size_t places[POLICY_REASON_COUNT] = {[POLICY_RECIPIENT] = offsetof(struct policy_facts, recipient),
		[POLICY_DATASET] = offsetof(struct policy_facts, dataset),
		[POLICY_SPATIAL] = offsetof(struct policy_facts, region),
		[POLICY_PURPOSE] = offsetof(struct policy_facts, purpose),
		[POLICY_INDUSTRY] = offsetof(struct policy_facts, industry)};
	return places[reason] == 0 ? TEXT_NONE : *(const struct text *)(const void *)((const char *)facts + places[reason]);
}

/* Regions are case-insensitive paths: "eu-de" lies in "eu", and in itself. */
static bool is_part(struct text part, struct text whole)
{
	if (whole.length == 0 || part.length < whole.length ||
		!text_equals_ignoring_case(text_slice(part, 0, whole.length), whole))
		return false;
	if (part.length == whole.length)
		return true;
	char next = part.bytes[whole.length];
	return next == '-' || next == '.' || next == '/';
}

static bool matches(const struct policy *policy, const struct rule *rule, struct text fact)
{
	for (size_t i = rule->value; i < (size_t)rule->value + rule->value_count; i++) {
		struct text value = text_of(policy->values[i]);
		bool is_match = rule->match == MATCH_PART        ? is_part(fact, value)
						: rule->match == MATCH_WHOLE     ? is_part(value, fact)
						: rule->reason == POLICY_SPATIAL ? text_equals_ignoring_case(fact, value)
														 : text_equals(fact, value);
		if (is_match)
			return true;
	}
	return false;
}

static bool judge_count(const struct rule *rule, uint64_t used, uint64_t *granted)
{
	bool is_left = used < rule->limit;
	if (is_left && !rule->is_negated && rule->limit < *granted)
		*granted = rule->limit;
	return is_left != rule->is_negated;
}

static bool judge_time(const struct rule *rule, int64_t now_ms, struct policy_grant *grant)
{
	if (rule->until_ms < grant->until_ms)
		grant->until_ms = rule->until_ms;
	return now_ms >= rule->from_ms && now_ms < rule->until_ms;
}

static bool judge_leaf(
	const struct policy *policy, const struct rule *rule, const struct policy_facts *facts, struct policy_grant *grant)
{
	switch (rule->kind) {
	case RULE_TIME:
		return judge_time(rule, facts->now_ms, grant);
	case RULE_COUNT:
		return judge_count(rule, facts->requests, &grant->requests);
	case RULE_VOLUME:
		return judge_count(rule, facts->bytes, &grant->bytes);
	case RULE_MATCH: {
		struct text fact = fact_of(facts, rule->reason);
		return fact.bytes != NULL && matches(policy, rule, fact) != rule->is_negated;
	}
	case RULE_ALL:
	case RULE_ANY:
		break;
	}
	return false;
}

/* False: *grant's reason says why, its limits are without meaning. As deep as the document was, which is limited. */
static bool judge(
	const struct policy *policy, const struct rule *rule, const struct policy_facts *facts, struct policy_grant *grant)
{
	if (rule->kind != RULE_ALL && rule->kind != RULE_ANY) {
		bool holds = judge_leaf(policy, rule, facts, grant);
		if (!holds)
			grant->reason = rule->reason;
		return holds;
	}
	enum policy_reason first = POLICY_NONE;
	for (uint16_t at = rule->first; at != 0; at = policy->rules[at].next) {
		struct policy_grant trial = *grant;
		if (judge(policy, &policy->rules[at], facts, &trial)) {
			*grant = trial;
			if (rule->kind == RULE_ANY)
				return true;
			continue;
		}
		first = first == POLICY_NONE ? trial.reason : first;
		if (rule->kind == RULE_ALL)
			break;
	}
	if (rule->kind == RULE_ALL && first == POLICY_NONE)
		return true;
	grant->reason = first == POLICY_NONE ? rule->reason : first;
	return false;
}

struct policy_grant policy_judge(const struct policy *policy, const struct policy_facts *facts)
{
	const struct policy_grant all = {POLICY_NONE, INT64_MAX, UINT64_MAX, UINT64_MAX};
	struct policy_grant grant = all;
	if (judge(policy, &policy->rules[0], facts, &grant))
		return grant;
	return (struct policy_grant){.reason = grant.reason};
}
