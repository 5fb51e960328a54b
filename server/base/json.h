/* JSON: a strict scan first (RFC 8259 grammar, UTF-8, depth, nodes, no duplicate keys, no NUL, integers within 2^53),
 * and only then a tree. Look-ups are case-sensitive. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/text.h"

struct json; /* a node of a parsed or built tree; borrowed from its root */

struct json_limits {
	size_t bytes, depth, nodes;
};

/* The scan alone: what fuzzers and hot paths use. On failure *offset (may be NULL) is the offending byte. */
enum status json_check(struct text text, const struct json_limits *limits, size_t *offset) MUST_CHECK;
/* Scan, then tree. Owned by the caller: json_free. limits NULL: 1 MiB, depth 32, 50,000 nodes. */
enum status json_parse(struct text text, const struct json_limits *limits, struct json **root) MUST_CHECK;
void json_free(struct json *root);

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };
enum json_kind json_kind(const struct json *node);
/* NULL when absent or `object` is no object (NULL included: calls can be chained). */
const struct json *json_member(const struct json *object, const char *name);
const char *json_name(const struct json *member);
/* First child of an array or object, next sibling: for loops; NULL at the end. */
const struct json *json_first(const struct json *parent);
const struct json *json_next(const struct json *child);
size_t json_count(const struct json *parent);
/* TEXT_NONE when not a string. */
struct text json_text(const struct json *node);
struct text json_member_text(const struct json *object, const char *name);
bool json_integer(const struct json *node, int64_t *value);
bool json_bool(const struct json *node, bool *value);

/* Building. NULL results mean out of memory; adding to or of NULL does nothing and returns false. Added nodes are owned
 * by their parent. */
struct json *json_object_new(void);
struct json *json_array_new(void);
struct json *json_copy(const struct json *node);
bool json_add(struct json *parent, const char *name_or_null, struct json *child);
bool json_add_text(struct json *parent, const char *name_or_null, struct text value);
bool json_add_integer(struct json *parent, const char *name_or_null, int64_t value);
bool json_add_bool(struct json *parent, const char *name_or_null, bool value);
bool json_add_null(struct json *parent, const char *name_or_null);
/* Replaces or adds. */
bool json_set(struct json *object, const char *name, struct json *child);
void json_remove(struct json *object, const char *name);
/* Compact text appended to `into`. */
void json_print(const struct json *node, struct buffer *into);
