/* What the compiling of a policy shares: the growing rule, its first failure, what cannot be enforced. Private to
 * policy_compile.c, policy_compiler.c and policy_atom.c. */
#pragma once

#include "tenants/dp/contract/odrl.h"
#include "tenants/dp/contract/policy_rule.h"

struct compiler {
	struct policy *policy;
	struct buffer *error;
	enum status status; /* the first failure; afterwards nothing is added */
	int64_t signed_ms;
};

void compiler_fail(struct compiler *compiler, enum status status, const char *member, const char *what);
/* Names what cannot be enforced, once. */
void compiler_flag(struct compiler *compiler, const char *what, struct text name);
/* Members that nobody has thought of may be conditions: they are named. Two spellings of one are none. `known` ends
 * with NULL. */
void compiler_check_members(struct compiler *compiler, const struct json *object, const char *const *known);
/* These return 0 when it has failed. */
uint16_t compiler_add_rule(struct compiler *compiler, struct rule rule);
uint16_t compiler_add_group(struct compiler *compiler, bool is_all);
/* What cannot be enforced holds, negated or not. */
uint16_t compiler_unenforceable(struct compiler *compiler, const char *what, struct text name);
/* Behind the children there are: the first that fails is the reason given. */
void compiler_adopt(struct compiler *compiler, uint16_t parent, uint16_t child);
bool compiler_add_value(struct compiler *compiler, struct text value);

/* --- policy_atom.c */
uint16_t compile_atom(struct compiler *compiler, const struct json *constraint, bool is_negated);
/* assignee, target: of the policy or of one rule; 0: not there. */
uint16_t compile_party(struct compiler *compiler, const struct json *owner, const char *name, bool is_negated);
