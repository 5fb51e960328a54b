/* From an ODRL document to rules. Negation is pushed down to the leaves and exclusive or is spelled out, so that
 * judging knows only "all" and "any". */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/policy_rule.h"
#include "tenants/dp/policy_value.h"

enum { VALUE_MAX = 512, FLAG_MAX = 96, DAY_MS = 86400000 };

struct compiler {
	struct policy *policy;
	struct buffer *error;
	enum status status; /* the first failure; afterwards nothing is added */
	int64_t signed_ms;
};

static uint16_t compile_constraint(struct compiler *compiler, const struct json *constraint, bool is_negated);

/* --- failing, and naming what cannot be enforced */

static void fail(struct compiler *compiler, enum status status, const char *member, const char *what)
{
	if (compiler->status != STATUS_OK)
		return;
	compiler->status = status;
	buffer_printf(compiler->error, "%s: %s", member, what);
}

static void flag(struct compiler *compiler, const char *what, struct text name)
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
	for (size_t i = 0; i < policy->flag_count && !line.failed; i++) {
		if (strcmp(policy->flags[i], line.bytes) == 0) {
			buffer_free(&line);
			return;
		}
	}
	if (line.failed) {
		buffer_free(&line);
		fail(compiler, STATUS_NO_MEMORY, "policy", "out of memory");
		return;
	}
	policy->flags[policy->flag_count++] = buffer_take(&line);
}

/* --- names and values */

enum space { SPACE_BARE, SPACE_ODRL, SPACE_EDC, SPACE_CELLD };
static const struct {
	const char *text;
	enum space space;
} prefixes[] = {
	{"odrl:", SPACE_ODRL},
	{"http://www.w3.org/ns/odrl/2/", SPACE_ODRL},
	{"edc:", SPACE_EDC},
	{"https://w3id.org/edc/v0.0.1/ns/", SPACE_EDC},
	{"celld:", SPACE_CELLD},
};

static struct text local_name(struct text name, enum space *space)
{
	*space = SPACE_BARE;
	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (text_starts_with(name, text_of(prefixes[i].text))) {
			*space = prefixes[i].space;
			return text_slice(name, strlen(prefixes[i].text), name.length);
		}
	}
	return name;
}

/* A term of ODRL, in any spelling; others as they are. */
static struct text odrl_name(struct text name)
{
	enum space space;
	struct text local = local_name(name, &space);
	return space == SPACE_ODRL || space == SPACE_BARE ? local : name;
}

static const struct json *member(const struct json *object, const char *name)
{
	for (const struct json *at = json_first(object); at != NULL; at = json_next(at)) {
		if (text_equals(odrl_name(text_of(json_name(at))), text_of(name)))
			return at;
	}
	return NULL;
}

/* A value alone is a list of one. */
static const struct json *list_first(const struct json *list)
{
	if (list != NULL && json_kind(list) == JSON_OBJECT && json_member(list, "@list") != NULL)
		list = json_member(list, "@list");
	return list != NULL && json_kind(list) == JSON_ARRAY ? json_first(list) : list;
}

static const struct json *list_next(const struct json *list, const struct json *item)
{
	return list_first(list) == list ? NULL : json_next(item);
}

/* What a text, {"@id"}, {"@value"}, or a list of one such says; a whole number too, printed into `room`. */
static struct text scalar(const struct json *value, char room[24])
{
	static const char *const wrappers[] = {"@value", "@id", "uid", "value"};
	const struct json *one = list_first(value);
	int64_t number;
	if (one == NULL || list_next(value, one) != NULL)
		return TEXT_NONE;
	for (size_t i = 0; i < sizeof(wrappers) / sizeof(wrappers[0]) && json_kind(one) == JSON_OBJECT; i++) {
		if (json_member(one, wrappers[i]) != NULL)
			one = json_member(one, wrappers[i]);
	}
	if (json_integer(one, &number) && number >= 0) {
		char *end = room + 23, *at = end;
		do
			*--at = (char)('0' + number % 10);
		while ((number /= 10) > 0);
		return (struct text){at, (size_t)(end - at)};
	}
	return json_text(one);
}

/* Members that nobody has thought of may be conditions: they are named. Two spellings of one are none. `known` ends
 * with NULL. */
static void check_members(struct compiler *compiler, const struct json *object, const char *const *known)
{
	for (const struct json *at = json_first(object); at != NULL; at = json_next(at)) {
		struct text name = odrl_name(text_of(json_name(at)));
		bool is_known = text_starts_with(name, TEXT("@"));
		for (size_t i = 0; known[i] != NULL && !is_known; i++)
			is_known = text_equals(name, text_of(known[i]));
		if (!is_known)
			flag(compiler, "member", name);
		for (const struct json *other = json_next(at); other != NULL; other = json_next(other)) {
			if (text_equals(odrl_name(text_of(json_name(other))), name))
				fail(compiler, STATUS_INVALID, json_name(other), "is given twice");
		}
	}
}

/* --- rules */

/* 0: failed. */
static uint16_t rule_new(struct compiler *compiler, struct rule rule)
{
	struct policy *policy = compiler->policy;
	if (compiler->status != STATUS_OK)
		return 0;
	if (policy->rule_count == RULES_MAX) {
		fail(compiler, STATUS_TOO_LARGE, "policy", "has too many constraints");
		return 0;
	}
	if (policy->rule_count == policy->rule_room) {
		size_t room = policy->rule_room == 0 ? 8 : policy->rule_room * 2;
		struct rule *grown = realloc(policy->rules, room * sizeof(*grown));
		if (grown == NULL) {
			fail(compiler, STATUS_NO_MEMORY, "policy", "out of memory");
			return 0;
		}
		policy->rules = grown;
		policy->rule_room = room;
	}
	policy->rules[policy->rule_count] = rule;
	return (uint16_t)policy->rule_count++;
}

static uint16_t group_new(struct compiler *compiler, bool is_all)
{
	return rule_new(compiler,
		(struct rule){.kind = is_all ? RULE_ALL : RULE_ANY, .reason = is_all ? POLICY_NONE : POLICY_PROHIBITED});
}

/* Behind the children there are: the first that fails is the reason given. */
static void adopt(struct compiler *compiler, uint16_t parent, uint16_t child)
{
	if (compiler->status != STATUS_OK || child == 0)
		return;
	struct rule *rules = compiler->policy->rules;
	uint16_t *at = &rules[parent].first;
	while (*at != 0)
		at = &rules[*at].next;
	*at = child;
}

/* What cannot be enforced holds, negated or not. */
static uint16_t unenforceable(struct compiler *compiler, const char *what, struct text name)
{
	flag(compiler, what, name);
	return group_new(compiler, true);
}

static bool add_value(struct compiler *compiler, struct text value)
{
	struct policy *policy = compiler->policy;
	if (policy->value_count == VALUES_MAX) {
		fail(compiler, STATUS_TOO_LARGE, "policy", "has too many values");
		return false;
	}
	if (policy->value_count == policy->value_room) {
		size_t room = policy->value_room == 0 ? 8 : policy->value_room * 2;
		char **grown = realloc(policy->values, room * sizeof(*grown));
		if (grown == NULL) {
			fail(compiler, STATUS_NO_MEMORY, "policy", "out of memory");
			return false;
		}
		policy->values = grown;
		policy->value_room = room;
	}
	char *copy = text_copy(value);
	if (copy == NULL) {
		fail(compiler, STATUS_NO_MEMORY, "policy", "out of memory");
		return false;
	}
	policy->values[policy->value_count++] = copy;
	return true;
}

/* --- atomic constraints */

enum operator{ EQ, NEQ, LT, LTEQ, GT, GTEQ, ANY_OF, NONE_OF, PART_OF, HAS_PART, OTHER };
static const struct {
	const char *name;
	enum operator operator;
} operators[] = {
	{"eq", EQ},
	{"neq", NEQ},
	{"neg", NEQ}, /* as ODRL's own context misspells it */
	{"lt", LT},
	{"lteq", LTEQ},
	{"term-lteq", LTEQ},
	{"gt", GT},
	{"gteq", GTEQ},
	{"isAnyOf", ANY_OF},
	{"in", ANY_OF},
	{"isNoneOf", NONE_OF},
	{"isPartOf", PART_OF},
	{"hasPart", HAS_PART},
};

struct atom;
struct operand {
	const char *name;
	unsigned spaces; /* bits of enum space, besides bare */
	enum policy_reason reason;
	uint16_t (*build)(struct compiler *compiler, const struct atom *atom);
};

struct atom {
	const struct operand *operand;
	enum operator operator;
	struct text left, operator_name; /* as written, without ODRL's prefix */
	const struct json *right, *unit;
	bool is_negated;
};

static uint16_t refuse_operator(struct compiler *compiler, const struct atom *atom)
{
	char name[FLAG_MAX];
	struct buffer both = {0};
	buffer_printf(&both, "%.*s %.*s", TEXT_ARGUMENTS(atom->left), TEXT_ARGUMENTS(atom->operator_name));
	struct text text = both.failed ? atom->left : buffer_text(&both);
	size_t length = text.length < sizeof(name) ? text.length : sizeof(name);
	memcpy(name, text.bytes, length);
	buffer_free(&both);
	return unenforceable(compiler, "constraint", (struct text){name, length});
}

static uint16_t wrong_value(struct compiler *compiler, const struct atom *atom, const char *what)
{
	fail(compiler, STATUS_INVALID, atom->operand->name, what);
	return 0;
}

static uint16_t time_rule(struct compiler *compiler, int64_t from_ms, int64_t until_ms, bool is_negated)
{
	struct rule rule = {.kind = RULE_TIME, .reason = POLICY_TIME, .from_ms = from_ms, .until_ms = until_ms};
	if (is_negated) { /* one end is open: the other side is left */
		rule.from_ms = until_ms == INT64_MAX ? INT64_MIN : until_ms;
		rule.until_ms = until_ms == INT64_MAX ? from_ms : INT64_MAX;
	}
	return rule_new(compiler, rule);
}

/* width: how long the named moment lasts, 1 ms or a day */
static uint16_t compare_time(struct compiler *compiler, const struct atom *atom, int64_t moment_ms, int64_t width_ms)
{
	switch (atom->operator) {
	case LT:
		return time_rule(compiler, INT64_MIN, moment_ms, atom->is_negated);
	case LTEQ:
		return time_rule(compiler, INT64_MIN, moment_ms + width_ms, atom->is_negated);
	case GT:
		return time_rule(compiler, moment_ms + width_ms, INT64_MAX, atom->is_negated);
	case GTEQ:
		return time_rule(compiler, moment_ms, INT64_MAX, atom->is_negated);
	case EQ:
	case NEQ:
	case ANY_OF:
	case NONE_OF:
	case PART_OF:
	case HAS_PART:
	case OTHER:
		break;
	}
	return refuse_operator(compiler, atom);
}

static uint16_t build_date(struct compiler *compiler, const struct atom *atom)
{
	char room[24];
	int64_t moment_ms = 0;
	bool is_day = false;
	if (time_parse(scalar(atom->right, room), &moment_ms, &is_day) != STATUS_OK)
		return wrong_value(compiler, atom, "must be a date like 2026-12-31T23:59:59Z");
	return compare_time(compiler, atom, moment_ms, is_day ? DAY_MS : 1);
}

static uint16_t build_since_agreement(struct compiler *compiler, const struct atom *atom, int64_t span_ms)
{
	if (compiler->signed_ms == 0)
		return unenforceable(compiler, "constraint", TEXT("since the agreement, which has no date"));
	return compare_time(compiler, atom, compiler->signed_ms + span_ms, 1);
}

/* EDC's: a date, or contractAgreement+SPAN */
static uint16_t build_in_force(struct compiler *compiler, const struct atom *atom)
{
	const struct text start = TEXT("contractAgreement");
	char room[24];
	struct text value = scalar(atom->right, room);
	int64_t span_ms = 0;
	if (!text_starts_with(value, start))
		return build_date(compiler, atom);
	value = text_trim(text_slice(value, start.length, value.length));
	int64_t sign = text_starts_with(value, TEXT("-")) ? -1 : 1;
	if (value.length > 0 &&
		((sign > 0 && value.bytes[0] != '+') || span_parse(text_slice(value, 1, value.length), &span_ms) != STATUS_OK))
		return wrong_value(compiler, atom, "must be a date, or like contractAgreement+30d");
	return build_since_agreement(compiler, atom, sign * span_ms);
}

static uint16_t build_elapsed(struct compiler *compiler, const struct atom *atom)
{
	char room[24];
	int64_t span_ms;
	if (atom->operator!= LT && atom->operator!= LTEQ)
		return refuse_operator(compiler, atom);
	if (span_parse(scalar(atom->right, room), &span_ms) != STATUS_OK)
		return wrong_value(compiler, atom, "must be a duration of days and below, like P30D");
	return build_since_agreement(compiler, atom, span_ms);
}

/* "At most": what is exactly so many times is allowed so often, and no further. */
static uint16_t at_most(struct compiler *compiler, const struct atom *atom, enum rule_kind kind, uint64_t limit)
{
	if (atom->operator!= LT && atom->operator!= LTEQ && atom->operator!= EQ)
		return refuse_operator(compiler, atom);
	if (atom->operator== LT && limit> 0)
		limit--;
	*(kind == RULE_COUNT ? &compiler->policy->has_count : &compiler->policy->has_volume) = true;
	return rule_new(compiler,
		(struct rule){.kind = kind, .reason = atom->operand->reason, .is_negated = atom->is_negated, .limit = limit});
}

static uint16_t build_count(struct compiler *compiler, const struct atom *atom)
{
	char room[24];
	uint64_t count;
	if (count_parse(scalar(atom->right, room), &count) != STATUS_OK)
		return wrong_value(compiler, atom, "must be a whole number");
	return at_most(compiler, atom, RULE_COUNT, count);
}

static uint16_t build_volume(struct compiler *compiler, const struct atom *atom)
{
	char room[24], unit_room[24];
	uint64_t bytes;
	if (bytes_parse(scalar(atom->right, room), scalar(atom->unit, unit_room), &bytes) != STATUS_OK)
		return wrong_value(compiler, atom, "must be an amount of bytes, like 10 GiB");
	return at_most(compiler, atom, RULE_VOLUME, bytes);
}

static uint16_t build_match(struct compiler *compiler, const struct atom *atom)
{
	struct policy *policy = compiler->policy;
	struct rule rule = {.kind = RULE_MATCH,
		.reason = atom->operand->reason,
		.value = (uint16_t)policy->value_count,
		.is_negated = atom->is_negated != (atom->operator== NEQ || atom->operator== NONE_OF)};
	bool is_order = atom->operator== LT || atom->operator== LTEQ || atom->operator== GT || atom->operator== GTEQ;
	bool is_part = atom->operator== PART_OF || atom->operator== HAS_PART;
	if (atom->operator== OTHER || is_order ||(is_part && rule.reason != POLICY_SPATIAL))
		return refuse_operator(compiler, atom);
	if (is_part)
		rule.match = atom->operator== PART_OF ? MATCH_PART : MATCH_WHOLE;
	for (const struct json *item = list_first(atom->right); item != NULL; item = list_next(atom->right, item)) {
		char room[24];
		struct text value = scalar(item, room);
		if (value.length == 0 || value.length > VALUE_MAX)
			return wrong_value(compiler, atom, "must be a text of at most 512 bytes, or a list of such");
		if (!add_value(compiler, value))
			return 0;
	}
	rule.value_count = (uint16_t)(policy->value_count - rule.value);
	if (rule.value_count == 0)
		return wrong_value(compiler, atom, "must name something");
	return rule_new(compiler, rule);
}

#define IN(space) (1U << SPACE_##space)
static const struct operand operands[] = {
	{"dateTime", IN(ODRL), POLICY_TIME, build_date}, {"inForceDate", IN(EDC), POLICY_TIME, build_in_force},
	{"elapsedTime", IN(ODRL), POLICY_TIME, build_elapsed}, {"count", IN(ODRL), POLICY_COUNT, build_count},
	{"volume", IN(CELLD), POLICY_VOLUME, build_volume}, {"recipient", IN(ODRL), POLICY_RECIPIENT, build_match},
	{"spatial", IN(ODRL), POLICY_SPATIAL, build_match}, {"purpose", IN(ODRL), POLICY_PURPOSE, build_match},
	{"industry", IN(ODRL), POLICY_INDUSTRY, build_match},
	{"industry:", IN(ODRL), POLICY_INDUSTRY, build_match}, /* as ODRL's own context expands it */
};
#undef IN

static const struct operand *find_operand(struct text left)
{
	enum space space;
	struct text name = local_name(left, &space);
	for (size_t i = 0; i < sizeof(operands) / sizeof(operands[0]); i++) {
		if (text_equals(name, text_of(operands[i].name)) &&
			(space == SPACE_BARE || (operands[i].spaces >> space & 1U) != 0))
			return &operands[i];
	}
	return NULL;
}

static enum operator find_operator(struct text name)
{
	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
		if (text_equals(name, text_of(operators[i].name)))
			return operators[i].operator;
	}
	return OTHER;
}

static uint16_t compile_atom(struct compiler *compiler, const struct json *constraint, bool is_negated)
{
	static const char *const known[] = {"leftOperand", "operator", "rightOperand", "rightOperandReference", "unit",
		"dataType", "datatype", "status", "uid", "id", "type", NULL};
	char left_room[24], operator_room[24];
	struct text left = odrl_name(scalar(member(constraint, "leftOperand"), left_room));
	struct atom atom = {.operand = find_operand(left),
		.left = left,
		.operator_name = odrl_name(scalar(member(constraint, "operator"), operator_room)),
		.right = member(constraint, "rightOperand"),
		.unit = member(constraint, "unit"),
		.is_negated = is_negated};
	if (left.length == 0 || atom.operator_name.length == 0) {
		fail(compiler, STATUS_INVALID, left.length == 0 ? "leftOperand" : "operator", "is missing");
		return 0;
	}
	check_members(compiler, constraint, known);
	if (atom.operand == NULL)
		return unenforceable(compiler, "leftOperand", left);
	if (atom.right == NULL && member(constraint, "rightOperandReference") != NULL)
		return unenforceable(compiler, "rightOperandReference of", left);
	if (atom.right == NULL) {
		fail(compiler, STATUS_INVALID, "rightOperand", "is missing");
		return 0;
	}
	if (atom.unit != NULL && atom.operand->build != build_volume)
		return unenforceable(compiler, "unit of", left);
	atom.operator= find_operator(atom.operator_name);
	return atom.operand->build(compiler, &atom);
}

/* --- logical constraints */

/* Every item, or every item's opposite, in one group. */
static uint16_t compile_list(struct compiler *compiler, const struct json *list, bool is_all, bool is_negated)
{
	uint16_t group = group_new(compiler, is_all);
	for (const struct json *item = list_first(list); item != NULL && compiler->status == STATUS_OK;
		 item = list_next(list, item))
		adopt(compiler, group, compile_constraint(compiler, item, is_negated));
	return group;
}

/* Exactly one: any of "this one, and none of the others"; negated, all of the opposites. */
static uint16_t compile_one_of(struct compiler *compiler, const struct json *list, bool is_negated)
{
	uint16_t outer = group_new(compiler, is_negated);
	for (const struct json *one = list_first(list); one != NULL; one = list_next(list, one)) {
		uint16_t inner = group_new(compiler, !is_negated);
		for (const struct json *item = list_first(list); item != NULL && compiler->status == STATUS_OK;
			 item = list_next(list, item))
			adopt(compiler, inner, compile_constraint(compiler, item, (item == one) == is_negated));
		adopt(compiler, outer, inner);
	}
	return outer;
}

static uint16_t compile_constraint(struct compiler *compiler, const struct json *constraint, bool is_negated)
{
	static const char *const logical[] = {"and", "andSequence", "or", "xone"};
	if (json_kind(constraint) != JSON_OBJECT) {
		fail(compiler, STATUS_INVALID, "constraint", "must be an object");
		return 0;
	}
	for (size_t i = 0; i < sizeof(logical) / sizeof(logical[0]); i++) {
		const struct json *list = member(constraint, logical[i]);
		if (list == NULL)
			continue;
		const char *const known[] = {logical[i], "uid", "id", "type", NULL};
		check_members(compiler, constraint, known);
		if (list_first(list) == NULL) {
			fail(compiler, STATUS_INVALID, logical[i], "must hold constraints");
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
	struct text name = scalar(action, room);
	static const char *const members[] = {"type", "@type", "rdf:value"};
	const struct json *one = list_first(action);
	for (size_t i = 0; name.length == 0 && one != NULL && i < sizeof(members) / sizeof(members[0]); i++)
		name = scalar(i == 0 ? member(one, members[i]) : json_member(one, members[i]), room);
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
	for (const struct json *duty = list_first(duties); duty != NULL; duty = list_next(duties, duty)) {
		char room[24];
		flag(compiler, what, action_name(member(duty, "action"), room));
	}
}

/* assignee, target: of the policy or of one rule. */
static uint16_t compile_party(struct compiler *compiler, const struct json *owner, const char *name, bool is_negated)
{
	static const struct operand operands_of[] = {
		{"assignee", 0, POLICY_RECIPIENT, build_match}, {"target", 0, POLICY_DATASET, build_match}};
	const struct json *value = member(owner, name);
	char room[24];
	if (value == NULL)
		return 0;
	if (scalar(value, room).length == 0)
		return unenforceable(compiler, "member", text_of(name));
	const struct atom atom = {.operand = &operands_of[strcmp(name, "target") == 0],
		.operator= EQ,
		.left = text_of(name),
		.right = value,
		.is_negated = is_negated};
	return build_match(compiler, &atom);
}

/* The refinements of an action bind as the constraints do. */
static void compile_conditions(
	struct compiler *compiler, uint16_t group, const struct json *rule, const struct json *action, bool is_negated)
{
	const struct json *one = list_first(action);
	const struct json *lists[] = {member(rule, "constraint"),
		one == NULL || json_kind(one) != JSON_OBJECT ? NULL : member(one, "refinement"), member(rule, "refinement")};
	adopt(compiler, group, compile_party(compiler, rule, "assignee", is_negated));
	adopt(compiler, group, compile_party(compiler, rule, "target", is_negated));
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		if (list_first(lists[i]) != NULL)
			adopt(compiler, group, compile_list(compiler, lists[i], !is_negated, is_negated));
	}
}

/* A prohibition is met by the opposite of one of its conditions; without conditions, by nothing. 0: of no concern. */
static uint16_t compile_rule(struct compiler *compiler, const struct json *rule, bool is_prohibition)
{
	static const char *const known[] = {"action", "constraint", "refinement", "duty", "remedy", "consequence", "target",
		"assigner", "assignee", "uid", "id", "type", NULL};
	char room[24];
	const struct json *action = member(rule, "action");
	struct text name = action_name(action, room);
	if (json_kind(rule) != JSON_OBJECT || name.length == 0) {
		fail(compiler, STATUS_INVALID, is_prohibition ? "prohibition" : "permission", "must be objects with an action");
		return 0;
	}
	check_members(compiler, rule, known);
	flag_duties(compiler, member(rule, "duty"), "duty");
	flag_duties(compiler, member(rule, "remedy"), "remedy");
	flag_duties(compiler, member(rule, "consequence"), "consequence");
	if (!is_transfer(name)) {
		flag(compiler, is_prohibition ? "prohibition of" : "permission of", name);
		if (is_prohibition)
			return 0;
	}
	uint16_t group = group_new(compiler, !is_prohibition);
	compile_conditions(compiler, group, rule, action, is_prohibition);
	return group;
}

static void compile_rules(struct compiler *compiler, const struct json *document)
{
	const struct json *permissions = member(document, "permission"), *prohibitions = member(document, "prohibition");
	if (list_first(permissions) == NULL && list_first(prohibitions) == NULL) {
		fail(compiler, STATUS_INVALID, "policy", "a permission or a prohibition is needed");
		return;
	}
	if (list_first(permissions) != NULL) {
		uint16_t any = group_new(compiler, false);
		for (const struct json *rule = list_first(permissions); rule != NULL; rule = list_next(permissions, rule))
			adopt(compiler, any, compile_rule(compiler, rule, false));
		adopt(compiler, 0, any);
	}
	for (const struct json *rule = list_first(prohibitions); rule != NULL; rule = list_next(prohibitions, rule))
		adopt(compiler, 0, compile_rule(compiler, rule, true));
}

static void compile_document(struct compiler *compiler, const struct json *document)
{
	static const char *const known[] = {"permission", "prohibition", "obligation", "assigner", "assignee", "target",
		"profile", "conflict", "inheritFrom", "timestamp", "uid", "id", "type", NULL};
	char room[24];
	bool is_day;
	int64_t signed_ms;
	group_new(compiler, true);
	if (time_parse(scalar(member(document, "timestamp"), room), &signed_ms, &is_day) == STATUS_OK)
		compiler->signed_ms = signed_ms;
	check_members(compiler, document, known);
	flag_duties(compiler, member(document, "obligation"), "obligation");
	if (list_first(member(document, "inheritFrom")) != NULL)
		flag(compiler, "member", TEXT("inheritFrom"));
	if (text_equals(odrl_name(scalar(member(document, "conflict"), room)), TEXT("perm")))
		flag(compiler, "member", TEXT("conflict"));
	adopt(compiler, 0, compile_party(compiler, document, "assignee", false));
	adopt(compiler, 0, compile_party(compiler, document, "target", false));
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
