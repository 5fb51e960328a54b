/* From an ODRL document to rules. Negation is pushed down to the leaves and exclusive or is spelled out, so that
 * judging knows only "all" and "any". */
#include <stdlib.h>
#include <string.h>

#include "server/base/timestamp.h"
#include "tenants/dp/contract/policy_compiler.h"
#include "tenants/dp/contract/policy_value.h"

static uint16_t compile_constraint(struct compiler *compiler, const struct json *constraint, bool is_negated);

/* --- logical constraints */

/* Every item, or every item's opposite, in one group. */
static uint16_t compile_list(struct compiler *compiler, const struct json *list, bool is_all, bool is_negated)
{
	uint16_t group = compiler_add_group(compiler, is_all);
	for (const struct json *item = odrl_first(list); item != NULL && compiler->status == STATUS_OK;
		 item = odrl_next(list, item))
		compiler_adopt(compiler, group, compile_constraint(compiler, item, is_negated));
	return group;
}

/* Exactly one: any of "this one, and none of the others"; negated, all of the opposites. */
static uint16_t compile_one_of(struct compiler *compiler, const struct json *list, bool is_negated)
{
	uint16_t outer = compiler_add_group(compiler, is_negated);
	for (const struct json *one = odrl_first(list); one != NULL; one = odrl_next(list, one)) {
		uint16_t inner = compiler_add_group(compiler, !is_negated);
		for (const struct json *item = odrl_first(list); item != NULL && compiler->status == STATUS_OK;
			 item = odrl_next(list, item))
			compiler_adopt(compiler, inner, compile_constraint(compiler, item, (item == one) == is_negated));
		compiler_adopt(compiler, outer, inner);
	}
	return outer;
}

static uint16_t compile_constraint(struct compiler *compiler, const struct json *constraint, bool is_negated)
{
	static const char *const logical[] = {"and", "andSequence", "or", "xone"};
	if (json_kind(constraint) != JSON_OBJECT) {
		compiler_fail(compiler, STATUS_INVALID, "constraint", "must be an object");
		return 0;
	}
	for (size_t i = 0; i < sizeof(logical) / sizeof(logical[0]); i++) {
		const struct json *list = odrl_member(constraint, logical[i]);
		if (list == NULL)
			continue;
		const char *const known[] = {logical[i], "uid", "id", "type", NULL};
		compiler_check_members(compiler, constraint, known);
		if (odrl_first(list) == NULL) {
			compiler_fail(compiler, STATUS_INVALID, logical[i], "must hold constraints");
			return 0;
		}
		return i == 3 ? compile_one_of(compiler, list, is_negated)
					  : compile_list(compiler, list, (i < 2) != is_negated, is_negated);
	}
	return compile_atom(compiler, constraint, is_negated);
}

/* --- permissions, prohibitions, duties */

/* Uses that are a transfer. */
static const char *const transfer_actions[] = {"use", "transfer", "read", "stream", "reproduce", "extract"};

static struct text action_name(const struct json *action, char room[24])
{
	struct text name = odrl_scalar(action, room);
	static const char *const members[] = {"type", "@type", "rdf:value"};
	const struct json *one = odrl_first(action);
	for (size_t i = 0; name.length == 0 && one != NULL && i < sizeof(members) / sizeof(members[0]); i++)
		name = odrl_scalar(i == 0 ? odrl_member(one, members[i]) : json_member(one, members[i]), room);
	return odrl_name(name);
}

static bool is_transfer(struct text action)
{
	for (size_t i = 0; i < sizeof(transfer_actions) / sizeof(transfer_actions[0]); i++) {
		if (text_equals_ignoring_case(action, text_of(transfer_actions[i])))
			return true;
	}
	return false;
}

/* Duties are for people and control planes. */
static void flag_duties(struct compiler *compiler, const struct json *duties, const char *what)
{
	for (const struct json *duty = odrl_first(duties); duty != NULL; duty = odrl_next(duties, duty)) {
		char room[24];
		compiler_flag(compiler, what, action_name(odrl_member(duty, "action"), room));
	}
}

/* The refinements of an action bind as the constraints do. */
static void compile_conditions(
	struct compiler *compiler, uint16_t group, const struct json *rule, const struct json *action, bool is_negated)
{
	const struct json *one = odrl_first(action);
	const struct json *lists[] = {odrl_member(rule, "constraint"),
		one == NULL || json_kind(one) != JSON_OBJECT ? NULL : odrl_member(one, "refinement"),
		odrl_member(rule, "refinement")};
	compiler_adopt(compiler, group, compile_party(compiler, rule, "assignee", is_negated));
	compiler_adopt(compiler, group, compile_party(compiler, rule, "target", is_negated));
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (odrl_first(lists[i]) != NULL)
			compiler_adopt(compiler, group, compile_list(compiler, lists[i], !is_negated, is_negated));
	}
}

/* A prohibition is met by the opposite of one of its conditions; without conditions, by nothing. 0: of no concern. */
static uint16_t compile_rule(struct compiler *compiler, const struct json *rule, bool is_prohibition)
{
	static const char *const known[] = {"action", "constraint", "refinement", "duty", "remedy", "consequence", "target",
		"assigner", "assignee", "uid", "id", "type", NULL};
	char room[24];
	const struct json *action = odrl_member(rule, "action");
	struct text name = action_name(action, room);
	if (json_kind(rule) != JSON_OBJECT || name.length == 0) {
		compiler_fail(
			compiler, STATUS_INVALID, is_prohibition ? "prohibition" : "permission", "must be objects with an action");
		return 0;
	}
	compiler_check_members(compiler, rule, known);
	flag_duties(compiler, odrl_member(rule, "duty"), "duty");
	flag_duties(compiler, odrl_member(rule, "remedy"), "remedy");
	flag_duties(compiler, odrl_member(rule, "consequence"), "consequence");
	if (!is_transfer(name)) {
		compiler_flag(compiler, is_prohibition ? "prohibition of" : "permission of", name);
		if (is_prohibition)
			return 0;
	}
	uint16_t group = compiler_add_group(compiler, !is_prohibition);
	compile_conditions(compiler, group, rule, action, is_prohibition);
	return group;
}

static void compile_rules(struct compiler *compiler, const struct json *document)
{
	const struct json *permissions = odrl_member(document, "permission"),
					  *prohibitions = odrl_member(document, "prohibition");
	if (odrl_first(permissions) == NULL && odrl_first(prohibitions) == NULL) {
		compiler_fail(compiler, STATUS_INVALID, "policy", "a permission or a prohibition is needed");
		return;
	}
	if (odrl_first(permissions) != NULL) {
		uint16_t any = compiler_add_group(compiler, false);
		for (const struct json *rule = odrl_first(permissions); rule != NULL; rule = odrl_next(permissions, rule))
			compiler_adopt(compiler, any, compile_rule(compiler, rule, false));
		compiler_adopt(compiler, 0, any);
	}
	for (const struct json *rule = odrl_first(prohibitions); rule != NULL; rule = odrl_next(prohibitions, rule))
		compiler_adopt(compiler, 0, compile_rule(compiler, rule, true));
}

static void compile_document(struct compiler *compiler, const struct json *document)
{
	static const char *const known[] = {"permission", "prohibition", "obligation", "assigner", "assignee", "target",
		"profile", "conflict", "inheritFrom", "timestamp", "uid", "id", "type", NULL};
	char room[24];
	bool is_day;
	int64_t signed_ms;
	compiler_add_group(compiler, true);
	if (time_parse(odrl_scalar(odrl_member(document, "timestamp"), room), &signed_ms, &is_day) == STATUS_OK)
		compiler->signed_ms = signed_ms;
	compiler_check_members(compiler, document, known);
	flag_duties(compiler, odrl_member(document, "obligation"), "obligation");
	if (odrl_first(odrl_member(document, "inheritFrom")) != NULL)
		compiler_flag(compiler, "member", TEXT("inheritFrom"));
	if (text_equals(odrl_name(odrl_scalar(odrl_member(document, "conflict"), room)), TEXT("perm")))
		compiler_flag(compiler, "member", TEXT("conflict"));
	compiler_adopt(compiler, 0, compile_party(compiler, document, "assignee", false));
	compiler_adopt(compiler, 0, compile_party(compiler, document, "target", false));
	compile_rules(compiler, document);
}

enum status policy_compile(const struct json *document, int64_t signed_ms, struct policy **policy, struct buffer *error)
{
	if (document == NULL || json_kind(document) != JSON_OBJECT) {
		buffer_printf(error, "policy: must be an object");
		return STATUS_INVALID;
	}
	struct compiler compiler = {.policy = calloc(1, sizeof(struct policy)), .error = error, .signed_ms = signed_ms};
	if (compiler.policy == NULL)
		return STATUS_NO_MEMORY;
	compile_document(&compiler, document);
	if (compiler.status == STATUS_OK)
		*policy = compiler.policy;
	else
		policy_free(compiler.policy);
	return compiler.status;
}
