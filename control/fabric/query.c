/* Conditions over JSON: one pass to parse, one walk to match. */
#include "control/fabric/query.h"

#include <stdlib.h>

enum { NONE = -1 };

/* spelling, and what it is called */
#define OPERATOR_LIST(X)                                                                                               \
	X(EQUAL, "=")                                                                                                      \
	X(UNEQUAL, "!=")                                                                                                   \
	X(GREATER_OR_EQUAL, ">=")                                                                                          \
	X(LESS_OR_EQUAL, "<=")                                                                                             \
	X(GREATER, ">")                                                                                                    \
	X(LESS, "<")                                                                                                       \
	X(LIKE, "LIKE")                                                                                                    \
	X(NOT_LIKE, "NOT LIKE")                                                                                            \
	X(CONTAINS, "CONTAINS")                                                                                            \
	X(STARTS_WITH, "STARTS_WITH")                                                                                      \
	X(ENDS_WITH, "ENDS_WITH")                                                                                          \
	X(IN, "IN")                                                                                                        \
	X(NOT_IN, "NOT IN")                                                                                                \
	X(IS_NULL, "IS NULL")                                                                                              \
	X(IS_NOT_NULL, "IS NOT NULL")
enum operation {
#define OPERATOR_MEMBER(name, text) OPERATOR_##name,
	OPERATOR_LIST(OPERATOR_MEMBER)
#undef OPERATOR_MEMBER
};

struct value {
	enum json_kind kind; /* null, bool, number or string */
	bool truth;
	double number;
	struct text text; /* as written; of a string: unescaped */
};

enum node_kind { NODE_ALL, NODE_AND, NODE_OR, NODE_CONDITION };
struct node {
	enum node_kind kind;
	int first, next;          /* children of a list; next in the same list */
	bool is_group, is_or;     /* stood in parentheses; OR stood before it */
	enum operation operation; /* of a condition, and what follows */
	size_t segment, segment_count, value, value_count;
};

struct query {
	char *text; /* names and values point into it; unescaped in place */
	struct node *nodes;
	struct value *values;
	struct text *segments;
	size_t node_count, value_count, segment_count;
	size_t node_room, value_room, segment_room;
	int root;
};

struct parser {
	struct query *query;
	const struct query_field *fields;
	size_t at, length, conditions;
	unsigned depth;
	struct buffer *error;
	enum status status;
};

/* --- tokens */

/* The first thing that is wrong is told. Returns false. */
static bool wrong(struct parser *parser, size_t at, const char *what)
{
	if (parser->status == STATUS_OK) {
		parser->status = STATUS_INVALID;
		buffer_printf(parser->error, "line 1:%zu %s", at, what);
	}
	return false;
}

static void skip_blanks(struct parser *parser)
{
	static const char blanks[] = " \t\r\n";
	while (parser->at < parser->length && memchr(blanks, parser->query->text[parser->at], 4) != NULL)
		parser->at++;
}

static bool is_name_byte(char byte, bool is_first)
{
	char lower = (char)(byte | 0x20);
	return (lower >= 'a' && lower <= 'z') || byte == '_' || (!is_first && byte >= '0' && byte <= '9');
}

/* The word that begins here, not taken; empty: none does. */
static struct text peek_word(struct parser *parser)
{
	skip_blanks(parser);
	size_t end = parser->at;
	while (end < parser->length && is_name_byte(parser->query->text[end], end == parser->at))
		end++;
	return (struct text){parser->query->text + parser->at, end - parser->at};
}

/* All upper or all lower. */
static bool is_keyword(struct text word, struct text upper)
{
	bool is_upper = text_equals(word, upper), is_lower = word.length == upper.length;
	for (size_t i = 0; i < word.length && is_lower; i++)
		is_lower = word.bytes[i] == (char)(upper.bytes[i] == '_' ? '_' : upper.bytes[i] | 0x20);
	return is_upper || is_lower;
}

static bool take_keyword(struct parser *parser, struct text upper)
{
	struct text word = peek_word(parser);
	if (!is_keyword(word, upper))
		return false;
	parser->at += word.length;
	return true;
}

static bool take_byte(struct parser *parser, char byte)
{
	skip_blanks(parser);
	if (parser->at == parser->length || parser->query->text[parser->at] != byte)
		return false;
	parser->at++;
	return true;
}

/* What stands between quotes, a doubled quote being one: unescaped in place. */
static bool take_quoted(struct parser *parser, char quote, struct text *text)
{
	char *bytes = parser->query->text;
	size_t open = parser->at++, from = parser->at, into = from;
	for (; parser->at < parser->length; parser->at++) {
		if (bytes[parser->at] == quote) {
			if (parser->at + 1 == parser->length || bytes[parser->at + 1] != quote) {
				*text = (struct text){bytes + from, into - from};
				parser->at++;
				return true;
			}
			parser->at++;
		}
		bytes[into++] = bytes[parser->at];
	}
	return wrong(parser, open, "a quote that does not end");
}

/* --- room. Growing by doubling; false: out of memory. */

static bool grow(struct parser *parser, void **items, size_t count, size_t *room, size_t size)
{
	if (count < *room)
		return true;
	size_t more = *room == 0 ? 8 : *room * 2;
	void *grown = realloc(*items, more * size);
	if (grown == NULL) {
		parser->status = STATUS_NO_MEMORY;
		return false;
	}
	*items = grown;
	*room = more;
	return true;
}

static int node_new(struct parser *parser, enum node_kind kind)
{
	struct query *query = parser->query;
	void *nodes = query->nodes;
	if (!grow(parser, &nodes, query->node_count, &query->node_room, sizeof(struct node)))
		return NONE;
	query->nodes = nodes;
	query->nodes[query->node_count] = (struct node){.kind = kind, .first = NONE, .next = NONE};
	return (int)query->node_count++;
}

static bool add_segment(struct parser *parser, struct text name)
{
	struct query *query = parser->query;
	void *segments = query->segments;
	if (!grow(parser, &segments, query->segment_count, &query->segment_room, sizeof(struct text)))
		return false;
	query->segments = segments;
	query->segments[query->segment_count++] = name;
	return true;
}

static bool add_value(struct parser *parser, const struct value *value)
{
	struct query *query = parser->query;
	void *values = query->values;
	if (query->value_count == QUERY_VALUES_MAX)
		return wrong(parser, parser->at, "too many values");
	if (!grow(parser, &values, query->value_count, &query->value_room, sizeof(struct value)))
		return false;
	query->values = values;
	query->values[query->value_count++] = *value;
	return true;
}

/* --- conditions */

static bool take_name(struct parser *parser, struct text *name)
{
	*name = peek_word(parser);
	if (name->length > 0) {
		parser->at += name->length;
		return true;
	}
	if (parser->at < parser->length && parser->query->text[parser->at] == '"')
		return take_quoted(parser, '"', name);
	return wrong(parser, parser->at, "a field is expected");
}

static bool take_field(struct parser *parser, struct node *node)
{
	struct text name;
	skip_blanks(parser);
	size_t start = parser->at;
	node->segment = parser->query->segment_count;
	do {
		if (node->segment_count == QUERY_SEGMENTS_MAX)
			return wrong(parser, parser->at, "a field of too many names");
		if (!take_name(parser, &name) || !add_segment(parser, name))
			return false;
		node->segment_count++;
	} while (take_byte(parser, '.'));
	struct text *first = &parser->query->segments[node->segment];
	for (const struct query_field *field = parser->fields; field->name != NULL; field++) {
		if (text_equals(*first, text_of(field->name))) {
			*first = text_of(field->member);
			return true;
		}
	}
	return wrong(parser, start, "no such field");
}

/* digits ["." digits], with or without a sign. */
static bool take_number(struct parser *parser, struct value *value)
{
	enum { NUMBER_MAX = 40 };
	const char *bytes = parser->query->text;
	char copy[NUMBER_MAX + 1];
	size_t from = parser->at, end = from, digits = 0, points = 0;
	if (end < parser->length && bytes[end] == '-')
		end++;
	for (; end < parser->length; end++) {
		if (bytes[end] >= '0' && bytes[end] <= '9')
			digits++;
		else if (bytes[end] == '.' && points == 0 && digits > 0)
			points++;
		else
			break;
	}
	if (digits == 0 || bytes[end - 1] == '.' || end - from > NUMBER_MAX)
		return wrong(parser, from, "a value is expected: 'text', a number, true, false or null");
	memcpy(copy, bytes + from, end - from);
	copy[end - from] = 0;
	*value = (struct value){.kind = JSON_NUMBER, .number = strtod(copy, NULL), .text = {bytes + from, end - from}};
	parser->at = end;
	return true;
}

static bool take_value(struct parser *parser)
{
	struct value value = {.kind = JSON_NULL};
	skip_blanks(parser);
	if (parser->at < parser->length && parser->query->text[parser->at] == '\'') {
		value.kind = JSON_STRING;
		if (!take_quoted(parser, '\'', &value.text))
			return false;
	} else if (take_keyword(parser, TEXT("TRUE"))) {
		value = (struct value){.kind = JSON_BOOL, .truth = true, .text = TEXT("true")};
	} else if (take_keyword(parser, TEXT("FALSE"))) {
		value = (struct value){.kind = JSON_BOOL, .text = TEXT("false")};
	} else if (!take_keyword(parser, TEXT("NULL")) && !take_number(parser, &value)) {
		return false;
	}
	return add_value(parser, &value);
}

static bool take_list_of_values(struct parser *parser)
{
	if (!take_byte(parser, '('))
		return wrong(parser, parser->at, "( is expected");
	do {
		if (!take_value(parser))
			return false;
	} while (take_byte(parser, ','));
	return take_byte(parser, ')') || wrong(parser, parser->at, ") is expected");
}

/* Two-byte operators stand before their beginnings in the list. */
static bool take_symbol(struct parser *parser, enum operation *operation)
{
	static const char *const symbols[] = {
#define OPERATOR_TEXT(name, text) text,
		OPERATOR_LIST(OPERATOR_TEXT)
#undef OPERATOR_TEXT
	};
	struct text rest = {parser->query->text + parser->at, parser->length - parser->at};
	for (size_t i = OPERATOR_EQUAL; i <= OPERATOR_LESS; i++) {
		if (text_starts_with(rest, text_of(symbols[i]))) {
			*operation = (enum operation)i;
			parser->at += text_of(symbols[i]).length;
			return true;
		}
	}
	return false;
}

/* "LIKE", "NOT IN", "IS NOT NULL", "=", ... */
static bool take_operator(struct parser *parser, enum operation *operation)
{
	static const struct {
		struct text word;
		enum operation operation;
	} words[] = {{{"LIKE", 4}, OPERATOR_LIKE}, {{"CONTAINS", 8}, OPERATOR_CONTAINS},
		{{"STARTS_WITH", 11}, OPERATOR_STARTS_WITH}, {{"ENDS_WITH", 9}, OPERATOR_ENDS_WITH}, {{"IN", 2}, OPERATOR_IN}};
	if (take_keyword(parser, TEXT("IS"))) {
		*operation = take_keyword(parser, TEXT("NOT")) ? OPERATOR_IS_NOT_NULL : OPERATOR_IS_NULL;
		return take_keyword(parser, TEXT("NULL")) || wrong(parser, parser->at, "NULL is expected");
	}
	if (take_keyword(parser, TEXT("NOT"))) {
		*operation = take_keyword(parser, TEXT("LIKE")) ? OPERATOR_NOT_LIKE : OPERATOR_NOT_IN;
		return *operation == OPERATOR_NOT_LIKE || take_keyword(parser, TEXT("IN")) ||
			   wrong(parser, parser->at, "IN or LIKE is expected");
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (take_keyword(parser, words[i].word)) {
			*operation = words[i].operation;
			return true;
		}
	}
	skip_blanks(parser);
	return take_symbol(parser, operation) || wrong(parser, parser->at, "an operator is expected");
}

static int parse_condition(struct parser *parser)
{
	struct node made = {.kind = NODE_CONDITION, .first = NONE, .next = NONE};
	if (++parser->conditions > QUERY_CONDITIONS_MAX) {
		wrong(parser, parser->at, "too many conditions");
		return NONE;
	}
	if (!take_field(parser, &made) || !take_operator(parser, &made.operation))
		return NONE;
	made.value = parser->query->value_count;
	bool is_taken =
		made.operation == OPERATOR_IN || made.operation == OPERATOR_NOT_IN
			? take_list_of_values(parser)
			: made.operation == OPERATOR_IS_NULL || made.operation == OPERATOR_IS_NOT_NULL || take_value(parser);
	if (!is_taken)
		return NONE;
	made.value_count = parser->query->value_count - made.value;
	bool is_pattern = made.operation == OPERATOR_LIKE || made.operation == OPERATOR_NOT_LIKE;
	if (is_pattern && parser->query->values[made.value].text.length > QUERY_PATTERN_MAX) {
		wrong(parser, parser->at, "the pattern is too long");
		return NONE;
	}
	int node = node_new(parser, NODE_CONDITION);
	if (node != NONE)
		parser->query->nodes[node] = made;
	return node;
}

/* --- lists */

static int parse_list(struct parser *parser);

static int parse_term(struct parser *parser)
{
	if (!take_byte(parser, '('))
		return parse_condition(parser);
	if (++parser->depth > QUERY_DEPTH_MAX) {
		wrong(parser, parser->at, "too many parentheses within each other");
		return NONE;
	}
	int node = parse_list(parser);
	parser->depth--;
	if (node == NONE)
		return NONE;
	if (!take_byte(parser, ')')) {
		wrong(parser, parser->at, ") is expected");
		return NONE;
	}
	parser->query->nodes[node].is_group = true;
	return node;
}

/* The terms from `first` on become one list of lists: each AND of an OR. */
static int bind_and_first(struct parser *parser, int first)
{
	int whole = node_new(parser, NODE_OR), before = NONE;
	for (int term = first; whole != NONE && term != NONE;) {
		int list = node_new(parser, NODE_AND), end = term;
		struct node *nodes = parser->query->nodes;
		if (list == NONE)
			return NONE;
		*(before == NONE ? &nodes[whole].first : &nodes[before].next) = list;
		before = list;
		nodes[list].first = term;
		while (nodes[end].next != NONE && !nodes[nodes[end].next].is_or)
			end = nodes[end].next;
		term = nodes[end].next;
		nodes[end].next = NONE;
	}
	return whole;
}

static int parse_list(struct parser *parser)
{
	size_t ands = 0, ors = 0, groups = 0;
	int first = parse_term(parser), last = first;
	while (last != NONE) {
		groups += parser->query->nodes[last].is_group;
		bool is_or = take_keyword(parser, TEXT("OR"));
		if (!is_or && !take_keyword(parser, TEXT("AND")))
			break;
		int next = parse_term(parser);
		if (next == NONE)
			return NONE;
		parser->query->nodes[next].is_or = is_or;
		parser->query->nodes[last].next = next;
		ors += is_or;
		ands += !is_or;
		last = next;
	}
	if (last == NONE || ands + ors == 0)
		return first;
	if (ands > 0 && ors > 0 && groups > 0)
		return bind_and_first(parser, first);
	int list = node_new(parser, ands > 0 ? NODE_AND : NODE_OR);
	if (list != NONE)
		parser->query->nodes[list].first = first;
	return list;
}

static int parse_whole(struct parser *parser)
{
	size_t start = parser->at;
	bool is_all = take_keyword(parser, TEXT("TRUE"));
	skip_blanks(parser);
	if (parser->at == parser->length)
		return node_new(parser, NODE_ALL);
	if (is_all) /* a field of that name */
		parser->at = start;
	int root = parse_list(parser);
	skip_blanks(parser);
	if (root != NONE && parser->at < parser->length) {
		wrong(parser, parser->at, "AND, OR or the end is expected");
		return NONE;
	}
	return root;
}

enum status query_parse(
	struct text predicate, const struct query_field *fields, struct query **query, struct buffer *error)
{
	struct query *made = calloc(1, sizeof(*made));
	struct parser parser = {.query = made, .fields = fields, .length = predicate.length, .error = error};
	if (predicate.length > QUERY_BYTES_MAX)
		wrong(&parser, QUERY_BYTES_MAX, "the predicate is too long");
	else if (made != NULL)
		made->text = text_copy(predicate.bytes == NULL ? TEXT("") : predicate);
	if (parser.status == STATUS_OK && (made == NULL || made->text == NULL))
		parser.status = STATUS_NO_MEMORY;
	if (parser.status == STATUS_OK)
		made->root = parse_whole(&parser);
	if (parser.status == STATUS_OK) {
		*query = made;
		return STATUS_OK;
	}
	query_free(made);
	return parser.status;
}

void query_free(struct query *query)
{
	if (query == NULL)
		return;
	free(query->nodes);
	free(query->values);
	free(query->segments);
	free(query->text);
	free(query);
}

bool query_is_all(const struct query *query)
{
	return query->nodes[query->root].kind == NODE_ALL;
}

/* --- matching */

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
