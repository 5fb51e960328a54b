/* Predicates over JSON: one walk to match. */
#include "control/fabric/query_private.h"

#include <stdlib.h>

/* What JSON's scalars are as text: of a number and a truth value into `room`. */
enum { SCALAR_MAX = 48 };
static struct text scalar_text(const struct json *node, char room[SCALAR_MAX])
{
	struct buffer printed = {0};
	if (json_kind(node) == JSON_STRING)
		return json_text(node);
	json_print(node, &printed);
	size_t length = printed.length < SCALAR_MAX ? printed.length : SCALAR_MAX - 1;
	if (length > 0)
		memcpy(room, printed.bytes, length);
	room[length] = 0;
	buffer_free(&printed);
	return (struct text){room, length};
}

static int text_order(struct text a, struct text b)
{
	size_t common = a.length < b.length ? a.length : b.length;
	int order = common == 0 ? 0 : memcmp(a.bytes, b.bytes, common);
	if (order != 0)
		return order;
	return a.length < b.length ? -1 : a.length > b.length;
}

/* The number a text is, whole. */
static bool text_number(struct text text, double *number)
{
	char copy[SCALAR_MAX], *end;
	if (text.length == 0 || text.length >= sizeof(copy) || strspn(text.bytes, "0123456789.-+eE") < text.length)
		return false;
	memcpy(copy, text.bytes, text.length);
	copy[text.length] = 0;
	*number = strtod(copy, &end);
	return *end == 0;
}

/* False: they cannot be compared. */
static bool compare(const struct json *node, const struct value *value, int *order)
{
	char room[SCALAR_MAX];
	double number;
	enum json_kind kind = json_kind(node);
	if (kind == JSON_ARRAY || kind == JSON_OBJECT || kind == JSON_NULL || value->kind == JSON_NULL)
		return false;
	struct text text = scalar_text(node, room);
	if (value->kind == JSON_NUMBER) {
		if (kind == JSON_BOOL || !text_number(text, &number))
			return false;
		*order = number < value->number ? -1 : number > value->number;
		return true;
	}
	if (value->kind == JSON_BOOL && kind != JSON_BOOL)
		return false;
	*order = text_order(text, value->text);
	return true;
}

static bool is_equal(const struct json *node, const struct value *value)
{
	int order;
	return compare(node, value, &order) && order == 0;
}

/* One wildcard at a time: when what follows a % does not fit, the % takes one byte more. */
static bool is_like(struct text text, struct text pattern)
{
	size_t at = 0, want = 0, retry_at = 0, retry_want = SIZE_MAX;
	while (at < text.length) {
		bool is_escaped = want + 1 < pattern.length && pattern.bytes[want] == '\\';
		if (!is_escaped && want < pattern.length && pattern.bytes[want] == '%') {
			retry_want = ++want;
			retry_at = at;
			continue;
		}
		if (want < pattern.length &&
			((!is_escaped && pattern.bytes[want] == '_') || pattern.bytes[want + is_escaped] == text.bytes[at])) {
			want += 1 + (size_t)is_escaped;
			at++;
			continue;
		}
		if (retry_want == SIZE_MAX)
			return false;
		want = retry_want;
		at = ++retry_at;
	}
	while (want < pattern.length && pattern.bytes[want] == '%')
		want++;
	return want == pattern.length;
}

static bool test_text(enum operation operation, const struct json *node, struct text wanted)
{
	char room[SCALAR_MAX];
	if (json_kind(node) == JSON_ARRAY || json_kind(node) == JSON_OBJECT)
		return false;
	struct text text = scalar_text(node, room);
	if (operation == OPERATOR_LIKE || operation == OPERATOR_NOT_LIKE)
		return is_like(text, wanted) == (operation == OPERATOR_LIKE);
	if (operation == OPERATOR_STARTS_WITH)
		return text_starts_with(text, wanted);
	if (operation == OPERATOR_ENDS_WITH)
		return text_ends_with(text, wanted);
	return wanted.length == 0 || memmem(text.bytes, text.length, wanted.bytes, wanted.length) != NULL;
}

static bool test_contains(const struct json *node, const struct value *value)
{
	for (const struct json *child = json_first(node); child != NULL; child = json_next(child)) {
		if (json_kind(node) == JSON_ARRAY ? is_equal(child, value)
										  : text_equals(text_of(json_name(child)), value->text))
			return true;
	}
	return test_text(OPERATOR_CONTAINS, node, value->text);
}

static bool test_order(enum operation operation, const struct json *node, const struct value *value)
{
	enum { LESS = 1, SAME = 2, MORE = 4 };
	static const unsigned allowed[] = {[OPERATOR_EQUAL] = SAME,
		[OPERATOR_UNEQUAL] = LESS | MORE,
		[OPERATOR_GREATER_OR_EQUAL] = MORE | SAME,
		[OPERATOR_LESS_OR_EQUAL] = LESS | SAME,
		[OPERATOR_GREATER] = MORE,
		[OPERATOR_LESS] = LESS};
	int order;
	if (!compare(node, value, &order))
		return operation == OPERATOR_UNEQUAL; /* another kind is another value */
	return (allowed[operation] & (order < 0 ? LESS : order > 0 ? MORE : SAME)) != 0;
}

static bool test_in(const struct json *node, const struct value *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (is_equal(node, &values[i]))
			return true;
	}
	return false;
}

/* node: there, and not null. */
static bool test(const struct query *query, const struct node *condition, const struct json *node)
{
	enum operation operation = condition->operation;
	if (operation == OPERATOR_IS_NULL || operation == OPERATOR_IS_NOT_NULL)
		return true;
	const struct value *values = &query->values[condition->value];
	if (operation == OPERATOR_IN || operation == OPERATOR_NOT_IN)
		return test_in(node, values, condition->value_count) == (operation == OPERATOR_IN);
	if (operation <= OPERATOR_LESS)
		return test_order(operation, node, values);
	if (values->kind == JSON_NULL)
		return false;
	return operation == OPERATOR_CONTAINS ? test_contains(node, values) : test_text(operation, node, values->text);
}

static const struct json *find_member(const struct json *object, struct text name)
{
	for (const struct json *member = json_kind(object) == JSON_OBJECT ? json_first(object) : NULL; member != NULL;
		 member = json_next(member)) {
		if (text_equals(text_of(json_name(member)), name))
			return member;
	}
	return NULL;
}

/* Does a value at the rest of the path, from segment `at` on, satisfy it? */
static bool walk(const struct query *query, const struct node *condition, size_t at, const struct json *node)
{
	bool is_end = at == condition->segment_count;
	if (node == NULL || json_kind(node) == JSON_NULL)
		return false;
	if (is_end && (json_kind(node) != JSON_ARRAY || condition->operation == OPERATOR_CONTAINS))
		return test(query, condition, node);
	if (json_kind(node) != JSON_ARRAY)
		return walk(query, condition, at + 1, find_member(node, query->segments[condition->segment + at]));
	for (const struct json *child = json_first(node); child != NULL; child = json_next(child)) {
		if (walk(query, condition, at, child))
			return true;
	}
	return false;
}

static bool matches_condition(const struct query *query, const struct node *node, const struct json *record)
{
	bool is_null = node->operation <= OPERATOR_UNEQUAL && query->values[node->value].kind == JSON_NULL;
	struct node asked = *node;
	if (node->operation == OPERATOR_IS_NULL || (is_null && node->operation == OPERATOR_EQUAL)) {
		asked.operation = OPERATOR_IS_NOT_NULL;
		return !walk(query, &asked, 0, record);
	}
	if (is_null)
		asked.operation = OPERATOR_IS_NOT_NULL;
	return walk(query, &asked, 0, record);
}

static bool matches(const struct query *query, int index, const struct json *record)
{
	const struct node *node = &query->nodes[index];
	if (node->kind == NODE_ALL)
		return true;
	if (node->kind == NODE_CONDITION)
		return matches_condition(query, node, record);
	bool is_and = node->kind == NODE_AND;
	for (int child = node->first; child != NONE; child = query->nodes[child].next) {
		if (matches(query, child, record) != is_and)
			return !is_and;
	}
	return is_and;
}

bool query_matches(const struct query *query, const struct json *record)
{
	return matches(query, query->root, record);
}
