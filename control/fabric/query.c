/* Predicates are read in one pass. */
#include "control/fabric/query_private.h"

#include <stdlib.h>

/* --- conditions */

static bool take_name(struct parser *parser, struct text *name)
{
	*name = parser_peek_word(parser);
	if (name->length > 0) {
		parser->at += name->length;
		return true;
	}
	if (parser->at < parser->length && parser->query->text[parser->at] == '"')
		return parser_take_quoted(parser, '"', name);
	return parser_wrong(parser, parser->at, "a field is expected");
}

static bool take_field(struct parser *parser, struct node *node)
{
	struct text name;
	parser_skip_blanks(parser);
	size_t start = parser->at;
	node->segment = parser->query->segment_count;
	do {
		if (node->segment_count == QUERY_SEGMENTS_MAX)
			return parser_wrong(parser, parser->at, "a field of too many names");
		if (!take_name(parser, &name) || !parser_add_segment(parser, name))
			return false;
		node->segment_count++;
	} while (parser_take_byte(parser, '.'));
	struct text *first = &parser->query->segments[node->segment];
	for (const struct query_field *field = parser->fields; field->name != NULL; field++) {
		if (text_equals(*first, text_of(field->name))) {
			*first = text_of(field->member);
			return true;
		}
	}
	return parser_wrong(parser, start, "no such field");
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
		return parser_wrong(parser, from, "a value is expected: 'text', a number, true, false or null");
	memcpy(copy, bytes + from, end - from);
	copy[end - from] = 0;
	*value = (struct value){.kind = JSON_NUMBER, .number = strtod(copy, NULL), .text = {bytes + from, end - from}};
	parser->at = end;
	return true;
}

static bool take_value(struct parser *parser)
{
	struct value value = {.kind = JSON_NULL};
	parser_skip_blanks(parser);
	if (parser->at < parser->length && parser->query->text[parser->at] == '\'') {
		value.kind = JSON_STRING;
		if (!parser_take_quoted(parser, '\'', &value.text))
			return false;
	} else if (parser_take_keyword(parser, TEXT("TRUE"))) {
		value = (struct value){.kind = JSON_BOOL, .truth = true, .text = TEXT("true")};
	} else if (parser_take_keyword(parser, TEXT("FALSE"))) {
		value = (struct value){.kind = JSON_BOOL, .text = TEXT("false")};
	} else if (!parser_take_keyword(parser, TEXT("NULL")) && !take_number(parser, &value)) {
		return false;
	}
	return parser_add_value(parser, &value);
}

static bool take_list_of_values(struct parser *parser)
{
	if (!parser_take_byte(parser, '('))
		return parser_wrong(parser, parser->at, "( is expected");
	do {
		if (!take_value(parser))
			return false;
	} while (parser_take_byte(parser, ','));
	return parser_take_byte(parser, ')') || parser_wrong(parser, parser->at, ") is expected");
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
	if (parser_take_keyword(parser, TEXT("IS"))) {
		*operation = parser_take_keyword(parser, TEXT("NOT")) ? OPERATOR_IS_NOT_NULL : OPERATOR_IS_NULL;
		return parser_take_keyword(parser, TEXT("NULL")) || parser_wrong(parser, parser->at, "NULL is expected");
	}
	if (parser_take_keyword(parser, TEXT("NOT"))) {
		*operation = parser_take_keyword(parser, TEXT("LIKE")) ? OPERATOR_NOT_LIKE : OPERATOR_NOT_IN;
		return *operation == OPERATOR_NOT_LIKE || parser_take_keyword(parser, TEXT("IN")) ||
			   parser_wrong(parser, parser->at, "IN or LIKE is expected");
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (parser_take_keyword(parser, words[i].word)) {
			*operation = words[i].operation;
			return true;
		}
	}
	parser_skip_blanks(parser);
	return take_symbol(parser, operation) || parser_wrong(parser, parser->at, "an operator is expected");
}

static int parse_condition(struct parser *parser)
{
	struct node made = {.kind = NODE_CONDITION, .first = NONE, .next = NONE};
	if (++parser->conditions > QUERY_CONDITIONS_MAX) {
		parser_wrong(parser, parser->at, "too many conditions");
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
		parser_wrong(parser, parser->at, "the pattern is too long");
		return NONE;
	}
	int node = parser_add_node(parser, NODE_CONDITION);
	if (node != NONE)
		parser->query->nodes[node] = made;
	return node;
}

/* --- lists */

static int parse_list(struct parser *parser);

static int parse_term(struct parser *parser)
{
	if (!parser_take_byte(parser, '('))
		return parse_condition(parser);
	if (++parser->depth > QUERY_DEPTH_MAX) {
		parser_wrong(parser, parser->at, "too many parentheses within each other");
		return NONE;
	}
	int node = parse_list(parser);
	parser->depth--;
	if (node == NONE)
		return NONE;
	if (!parser_take_byte(parser, ')')) {
		parser_wrong(parser, parser->at, ") is expected");
		return NONE;
	}
	parser->query->nodes[node].is_group = true;
	return node;
}

/* The terms from `first` on become one list of lists: each AND of an OR. */
static int bind_and_first(struct parser *parser, int first)
{
	int whole = parser_add_node(parser, NODE_OR), before = NONE;
	for (int term = first; whole != NONE && term != NONE;) {
		int list = parser_add_node(parser, NODE_AND), end = term;
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
		bool is_or = parser_take_keyword(parser, TEXT("OR"));
		if (!is_or && !parser_take_keyword(parser, TEXT("AND")))
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
	int list = parser_add_node(parser, ands > 0 ? NODE_AND : NODE_OR);
	if (list != NONE)
		parser->query->nodes[list].first = first;
	return list;
}

static int parse_whole(struct parser *parser)
{
	size_t start = parser->at;
	bool is_all = parser_take_keyword(parser, TEXT("TRUE"));
	parser_skip_blanks(parser);
	if (parser->at == parser->length)
		return parser_add_node(parser, NODE_ALL);
	if (is_all) /* a field of that name */
		parser->at = start;
	int root = parse_list(parser);
	parser_skip_blanks(parser);
	if (root != NONE && parser->at < parser->length) {
		parser_wrong(parser, parser->at, "AND, OR or the end is expected");
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
		parser_wrong(&parser, QUERY_BYTES_MAX, "the predicate is too long");
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
