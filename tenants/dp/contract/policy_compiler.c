/* The growing rule. */
#include "tenants/dp/contract/policy_compiler.h"

#include <stdlib.h>
#include <string.h>

enum { FLAG_MAX = 96 };

/* --- failing, and naming what cannot be enforced */

void compiler_fail(struct compiler *compiler, enum status status, const char *member, const char *what)
{
	if (compiler->status != STATUS_OK)
		return;
	compiler->status = status;
	buffer_printf(compiler->error, "%s: %s", member, what);
}

void compiler_flag(struct compiler *compiler, const char *what, struct text name)
{
	struct policy *policy = compiler->policy;
	struct buffer line = {0};
	if (policy->flag_count == FLAGS_MAX)
		return; /* the last says that there are more */
	if (policy->flag_count == FLAGS_MAX - 1)
		buffer_append(&line, TEXT("and more"));
	else
		buffer_printf(&line, "%s%s%.*s", what, name.length > 0 ? " " : "",
			(int)(name.length > FLAG_MAX ? FLAG_MAX : name.length), name.length > 0 ? name.bytes : "");
	for (size_t i = 0; i < line.length; i++) { /* it goes into receipts, whose text is plain */
		if (line.bytes[i] < 0x20 || line.bytes[i] > 0x7e)
			line.bytes[i] = '?';
	}
	for (size_t i = 0; i < policy->flag_count && !line.failed; i++) {
		if (strcmp(policy->flags[i], line.bytes) == 0) {
			buffer_free(&line);
			return;
		}
	}
	if (line.failed) {
		buffer_free(&line);
		compiler_fail(compiler, STATUS_NO_MEMORY, "policy", "out of memory");
		return;
	}
	policy->flags[policy->flag_count++] = buffer_take(&line);
}

void compiler_check_members(struct compiler *compiler, const struct json *object, const char *const *known)
{
	for (const struct json *at = json_first(object); at != NULL; at = json_next(at)) {
		struct text name = odrl_name(text_of(json_name(at)));
		bool is_known = text_starts_with(name, TEXT("@"));
		for (size_t i = 0; known[i] != NULL && !is_known; i++)
			is_known = text_equals(name, text_of(known[i]));
		if (!is_known)
			compiler_flag(compiler, "member", name);
		for (const struct json *other = json_next(at); other != NULL; other = json_next(other)) {
			if (text_equals(odrl_name(text_of(json_name(other))), name))
				compiler_fail(compiler, STATUS_INVALID, json_name(other), "is given twice");
		}
	}
}

/* --- rules */

uint16_t compiler_add_rule(struct compiler *compiler, struct rule rule)
{
	struct policy *policy = compiler->policy;
	if (compiler->status != STATUS_OK)
		return 0;
	if (policy->rule_count == RULES_MAX) {
		compiler_fail(compiler, STATUS_TOO_LARGE, "policy", "has too many constraints");
		return 0;
	}
	if (policy->rule_count == policy->rule_room) {
		size_t room = policy->rule_room == 0 ? 8 : policy->rule_room * 2;
		struct rule *grown = realloc(policy->rules, room * sizeof(*grown));
		if (grown == NULL) {
			compiler_fail(compiler, STATUS_NO_MEMORY, "policy", "out of memory");
			return 0;
		}
		policy->rules = grown;
		policy->rule_room = room;
	}
	policy->rules[policy->rule_count] = rule;
	return (uint16_t)policy->rule_count++;
}

uint16_t compiler_add_group(struct compiler *compiler, bool is_all)
{
	return compiler_add_rule(compiler,
		(struct rule){.kind = is_all ? RULE_ALL : RULE_ANY, .reason = is_all ? POLICY_NONE : POLICY_PROHIBITED});
}

void compiler_adopt(struct compiler *compiler, uint16_t parent, uint16_t child)
{
	if (compiler->status != STATUS_OK || child == 0)
		return;
	struct rule *rules = compiler->policy->rules;
	uint16_t *at = &rules[parent].first;
	while (*at != 0)
		at = &rules[*at].next;
	*at = child;
}

uint16_t compiler_unenforceable(struct compiler *compiler, const char *what, struct text name)
{
	compiler_flag(compiler, what, name);
	return compiler_add_group(compiler, true);
}

bool compiler_add_value(struct compiler *compiler, struct text value)
{
	struct policy *policy = compiler->policy;
	if (policy->value_count == VALUES_MAX) {
		compiler_fail(compiler, STATUS_TOO_LARGE, "policy", "has too many values");
		return false;
	}
	if (policy->value_count == policy->value_room) {
		size_t room = policy->value_room == 0 ? 8 : policy->value_room * 2;
		char **grown = realloc(policy->values, room * sizeof(*grown));
		if (grown == NULL) {
			compiler_fail(compiler, STATUS_NO_MEMORY, "policy", "out of memory");
			return false;
		}
		policy->values = grown;
		policy->value_room = room;
	}
	char *copy = text_copy(value);
	if (copy == NULL) {
		compiler_fail(compiler, STATUS_NO_MEMORY, "policy", "out of memory");
		return false;
	}
	policy->values[policy->value_count++] = copy;
	return true;
}
