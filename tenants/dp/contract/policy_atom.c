/* Atomic constraints: which operands and operators mean what. */
#include <string.h>

#include "server/base/timestamp.h"
#include "tenants/dp/contract/policy_compiler.h"
#include "tenants/dp/contract/policy_value.h"

enum { VALUE_MAX = 512, OPERATOR_MAX = 96, DAY_MS = 86400000 };

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
	unsigned spaces; /* bits of enum odrl_space, besides bare */
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
	char name[OPERATOR_MAX];
	struct buffer both = {0};
	buffer_printf(&both, "%.*s %.*s", TEXT_ARGUMENTS(atom->left), TEXT_ARGUMENTS(atom->operator_name));
	struct text text = both.failed ? atom->left : buffer_text(&both);
	size_t length = text.length < sizeof(name) ? text.length : sizeof(name);
	memcpy(name, text.bytes, length);
	buffer_free(&both);
	return compiler_unenforceable(compiler, "constraint", (struct text){name, length});
}

static uint16_t wrong_value(struct compiler *compiler, const struct atom *atom, const char *what)
{
	compiler_fail(compiler, STATUS_INVALID, atom->operand->name, what);
	return 0;
}

static uint16_t time_rule(struct compiler *compiler, int64_t from_ms, int64_t until_ms, bool is_negated)
{
	struct rule rule = {.kind = RULE_TIME, .reason = POLICY_TIME, .from_ms = from_ms, .until_ms = until_ms};
	if (is_negated) { /* one end is open: the other side is left */
		rule.from_ms = until_ms == INT64_MAX ? INT64_MIN : until_ms;
		rule.until_ms = until_ms == INT64_MAX ? from_ms : INT64_MAX;
	}
	return compiler_add_rule(compiler, rule);
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
	if (time_parse(odrl_scalar(atom->right, room), &moment_ms, &is_day) != STATUS_OK)
		return wrong_value(compiler, atom, "must be a date like 2026-12-31T23:59:59Z");
	return compare_time(compiler, atom, moment_ms, is_day ? DAY_MS : 1);
}

static uint16_t build_since_agreement(struct compiler *compiler, const struct atom *atom, int64_t span_ms)
{
	if (compiler->signed_ms == 0)
		return compiler_unenforceable(compiler, "constraint", TEXT("since the agreement, which has no date"));
	return compare_time(compiler, atom, compiler->signed_ms + span_ms, 1);
}

/* EDC's: a date, or contractAgreement+SPAN */
static uint16_t build_in_force(struct compiler *compiler, const struct atom *atom)
{
	const struct text start = TEXT("contractAgreement");
	char room[24];
	struct text value = odrl_scalar(atom->right, room);
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
	if (span_parse(odrl_scalar(atom->right, room), &span_ms) != STATUS_OK)
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
	return compiler_add_rule(compiler,
		(struct rule){.kind = kind, .reason = atom->operand->reason, .is_negated = atom->is_negated, .limit = limit});
}

static uint16_t build_count(struct compiler *compiler, const struct atom *atom)
{
	char room[24];
	uint64_t count;
	if (count_parse(odrl_scalar(atom->right, room), &count) != STATUS_OK)
		return wrong_value(compiler, atom, "must be a whole number");
	return at_most(compiler, atom, RULE_COUNT, count);
}

static uint16_t build_volume(struct compiler *compiler, const struct atom *atom)
{
	char room[24], unit_room[24];
	uint64_t bytes;
	if (bytes_parse(odrl_scalar(atom->right, room), odrl_scalar(atom->unit, unit_room), &bytes) != STATUS_OK)
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
	for (const struct json *item = odrl_first(atom->right); item != NULL; item = odrl_next(atom->right, item)) {
		char room[24];
		struct text value = odrl_scalar(item, room);
		if (value.length == 0 || value.length > VALUE_MAX)
			return wrong_value(compiler, atom, "must be a text of at most 512 bytes, or a list of such");
		if (!compiler_add_value(compiler, value))
			return 0;
	}
	policy->asked |= 1U << rule.reason;
	rule.value_count = (uint16_t)(policy->value_count - rule.value);
	if (rule.value_count == 0)
		return wrong_value(compiler, atom, "must name something");
	return compiler_add_rule(compiler, rule);
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
	enum odrl_space space;
	struct text name = odrl_local_name(left, &space);
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

uint16_t compile_atom(struct compiler *compiler, const struct json *constraint, bool is_negated)
{
	static const char *const known[] = {"leftOperand", "operator", "rightOperand", "rightOperandReference", "unit",
		"dataType", "datatype", "status", "uid", "id", "type", NULL};
	char left_room[24], operator_room[24];
	struct text left = odrl_name(odrl_scalar(odrl_member(constraint, "leftOperand"), left_room));
	struct atom atom = {.operand = find_operand(left),
		.left = left,
		.operator_name = odrl_name(odrl_scalar(odrl_member(constraint, "operator"), operator_room)),
		.right = odrl_member(constraint, "rightOperand"),
		.unit = odrl_member(constraint, "unit"),
		.is_negated = is_negated};
	if (left.length == 0 || atom.operator_name.length == 0) {
		compiler_fail(compiler, STATUS_INVALID, left.length == 0 ? "leftOperand" : "operator", "is missing");
		return 0;
	}
	compiler_check_members(compiler, constraint, known);
	if (atom.operand == NULL)
		return compiler_unenforceable(compiler, "leftOperand", left);
	if (atom.right == NULL && odrl_member(constraint, "rightOperandReference") != NULL)
		return compiler_unenforceable(compiler, "rightOperandReference of", left);
	if (atom.right == NULL) {
		compiler_fail(compiler, STATUS_INVALID, "rightOperand", "is missing");
		return 0;
	}
	if (atom.unit != NULL && atom.operand->build != build_volume)
		return compiler_unenforceable(compiler, "unit of", left);
	atom.operator= find_operator(atom.operator_name);
	return atom.operand->build(compiler, &atom);
}

uint16_t compile_party(struct compiler *compiler, const struct json *owner, const char *name, bool is_negated)
{
	static const struct operand operands_of[] = {
		{"assignee", 0, POLICY_RECIPIENT, build_match}, {"target", 0, POLICY_DATASET, build_match}};
	const struct json *value = odrl_member(owner, name);
	char room[24];
	if (value == NULL)
		return 0;
	if (odrl_scalar(value, room).length == 0)
		return compiler_unenforceable(compiler, "member", text_of(name));
	const struct atom atom = {.operand = &operands_of[strcmp(name, "target") == 0],
		.operator= EQ,
		.left = text_of(name),
		.right = value,
		.is_negated = is_negated};
	return build_match(compiler, &atom);
}
