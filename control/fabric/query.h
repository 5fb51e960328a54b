/* The predicate language of the existing managers (cfm.md 2.5), parsed strictly and evaluated over JSON records.
 *
 *   predicate := "" | true | list
 *   list      := term ((AND | OR) term)*
 *   term      := condition | "(" list ")"
 *   condition := field op value | field IS [NOT] NULL | field [NOT] IN "(" value ("," value)* ")"
 *   op        := = != > >= < <= LIKE, NOT LIKE, CONTAINS, STARTS_WITH, ENDS_WITH
 *   field     := name ("." name)*     name: [A-Za-z_][A-Za-z0-9_]*, or "anything" in double quotes ("" for a quote)
 *   value     := 'text' ('' for a quote) | decimal number | true | false | null
 *
 * Keywords are all upper or all lower case. Beyond the existing grammar are groups within lists, one condition in
 * parentheses, and quoted names (keys with dots and dashes). What the existing grammar takes means what it means there:
 * a list of conditions alone that mixes AND and OR is one AND of all of them. In a list with a group, which it does not
 * take, AND binds tighter than OR.
 *
 * A field that leads through an array means any of its elements, each condition for itself. An absent field and null
 * satisfy IS NULL and "= null" alone. Text compares bytewise; a text literal meets a number or truth value as JSON
 * writes it; a number meets a text that is one. CONTAINS: a part of a text, an element of an array, a key of an object.
 * LIKE: % and _, \ before either. */
#pragma once

#include "server/base/json.h"

enum { QUERY_BYTES_MAX = 16 * 1024, QUERY_CONDITIONS_MAX = 512, QUERY_VALUES_MAX = 2048, QUERY_DEPTH_MAX = 32 };
enum { QUERY_SEGMENTS_MAX = 16 /* of one field */, QUERY_PATTERN_MAX = 256 /* bytes, of LIKE */ };

/* What a field's first name may be, and the record's member it stands for; a table ends with {NULL, NULL}. */
struct query_field {
	const char *name, *member;
};

struct query;
/* INVALID: one line "line 1:COLUMN what is wrong" in `error`, columns counted from 0. `fields` outlives the query. */
enum status query_parse(
	struct text predicate, const struct query_field *fields, struct query **query, struct buffer *error) MUST_CHECK;
void query_free(struct query *query);
/* Does every record match? Then none need be read. */
bool query_is_all(const struct query *query);
bool query_matches(const struct query *query, const struct json *record);
