/* The compiled form of a policy: shared by what compiles (policy_compile.c) and what judges (policy.c). */
#pragma once

#include "tenants/dp/contract/policy.h"

enum rule_kind {
	RULE_ALL,   /* every child holds; none: it holds */
	RULE_ANY,   /* one child holds; none: it does not */
	RULE_TIME,  /* from_ms <= now < until_ms */
	RULE_COUNT, /* requests < limit */
	RULE_VOLUME,
	RULE_MATCH, /* the fact is one of the values */
};
enum rule_match { MATCH_EQUAL, MATCH_PART, MATCH_WHOLE }; /* the fact: equals; is a part of; contains */

/* Children are a list by index, 0 ends it: rule 0 is never a child. */
struct rule {
	enum rule_kind kind;
	enum rule_match match;
	enum policy_reason reason; /* when it does not hold; of a match also: which fact */
	bool is_negated;           /* of RULE_COUNT, RULE_VOLUME and RULE_MATCH */
	uint16_t first, next;
	uint16_t value, value_count; /* into policy.values */
	int64_t from_ms, until_ms;
	uint64_t limit;
};

enum { RULES_MAX = 1024, VALUES_MAX = 1024, FLAGS_MAX = 32 };

struct policy {
	struct rule *rules; /* rule 0 is the whole policy */
	size_t rule_count, rule_room;
	char **values;
	size_t value_count, value_room;
	char *flags[FLAGS_MAX];
	size_t flag_count;
	unsigned asked; /* bits of enum policy_reason: facts that are compared */
	bool has_count, has_volume;
};
