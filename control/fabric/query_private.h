/* The inside of predicates: conditions in a tree, and how they are read. */
#pragma once

#include "control/fabric/query.h"

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

/* --- query_tokens.c */

/* The first thing that is wrong is told. Returns false. */
bool parser_wrong(struct parser *parser, size_t at, const char *what);
void parser_skip_blanks(struct parser *parser);
/* The word that begins here, not taken; empty: none does. */
struct text parser_peek_word(struct parser *parser);
/* All upper or all lower. */
bool parser_take_keyword(struct parser *parser, struct text upper);
bool parser_take_byte(struct parser *parser, char byte);
/* What stands between quotes, a doubled quote being one: unescaped in place. */
bool parser_take_quoted(struct parser *parser, char quote, struct text *text);
/* What is read; NONE, false: out of memory, or too many. */
int parser_add_node(struct parser *parser, enum node_kind kind);
bool parser_add_segment(struct parser *parser, struct text name);
bool parser_add_value(struct parser *parser, const struct value *value);
