/* Words, quotes and brackets of a predicate, and room for what is read. */
#include "control/fabric/query_private.h"

#include <stdlib.h>

/* --- tokens */

bool parser_wrong(struct parser *parser, size_t at, const char *what)
{
	if (parser->status == STATUS_OK) {
		parser->status = STATUS_INVALID;
		buffer_printf(parser->error, "line 1:%zu %s", at, what);
	}
	return false;
}

void parser_skip_blanks(struct parser *parser)
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

struct text parser_peek_word(struct parser *parser)
{
	parser_skip_blanks(parser);
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

bool parser_take_keyword(struct parser *parser, struct text upper)
{
	struct text word = parser_peek_word(parser);
	if (!is_keyword(word, upper))
		return false;
	parser->at += word.length;
	return true;
}

bool parser_take_byte(struct parser *parser, char byte)
{
	parser_skip_blanks(parser);
	if (parser->at == parser->length || parser->query->text[parser->at] != byte)
		return false;
	parser->at++;
	return true;
}

bool parser_take_quoted(struct parser *parser, char quote, struct text *text)
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
	return parser_wrong(parser, open, "a quote that does not end");
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

int parser_add_node(struct parser *parser, enum node_kind kind)
{
	struct query *query = parser->query;
	void *nodes = query->nodes;
	if (!grow(parser, &nodes, query->node_count, &query->node_room, sizeof(struct node)))
		return NONE;
	query->nodes = nodes;
	query->nodes[query->node_count] = (struct node){.kind = kind, .first = NONE, .next = NONE};
	return (int)query->node_count++;
}

bool parser_add_segment(struct parser *parser, struct text name)
{
	struct query *query = parser->query;
	void *segments = query->segments;
	if (!grow(parser, &segments, query->segment_count, &query->segment_room, sizeof(struct text)))
		return false;
	query->segments = segments;
	query->segments[query->segment_count++] = name;
	return true;
}

bool parser_add_value(struct parser *parser, const struct value *value)
{
	struct query *query = parser->query;
	void *values = query->values;
	if (query->value_count == QUERY_VALUES_MAX)
		return parser_wrong(parser, parser->at, "too many values");
	if (!grow(parser, &values, query->value_count, &query->value_room, sizeof(struct value)))
		return false;
	query->values = values;
	query->values[query->value_count++] = *value;
	return true;
}
