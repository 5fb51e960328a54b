/* The JSON tree: cJSON behind the strict scan, and a printer of our own that keeps every integer exact. */
#include "server/base/json.h"

#include <cjson/cJSON.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXACT_INTEGER 9007199254740992.0 /* 2^53 */

static cJSON *tree(const struct json *node)
{
	return (cJSON *)(uintptr_t)node;
}

static struct json *node_of(const cJSON *item)
{
	return (struct json *)(uintptr_t)item;
}

enum status json_parse(struct text text, const struct json_limits *limits, struct json **root)
{
	*root = NULL;
	enum status status = json_check(text, limits, NULL);
	if (status != STATUS_OK)
		return status;
	*root = node_of(cJSON_ParseWithLength(text.bytes, text.length));
	return *root ? STATUS_OK : STATUS_NO_MEMORY; /* the scan has left it no other reason */
}

void json_free(struct json *root)
{
	cJSON_Delete(tree(root));
}

enum json_kind json_kind(const struct json *node)
{
	static const struct {
		int type;
		enum json_kind kind;
	} kinds[] = {{cJSON_False, JSON_BOOL}, {cJSON_True, JSON_BOOL}, {cJSON_Number, JSON_NUMBER},
		{cJSON_String, JSON_STRING}, {cJSON_Array, JSON_ARRAY}, {cJSON_Object, JSON_OBJECT}};
	for (size_t i = 0; node && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if ((tree(node)->type & 0xff) == kinds[i].type)
			return kinds[i].kind;
	return JSON_NULL;
}

static bool is_container(const struct json *node)
{
	return node && (cJSON_IsArray(tree(node)) || cJSON_IsObject(tree(node)));
}

const struct json *json_member(const struct json *object, const char *name)
{
	return cJSON_IsObject(tree(object)) ? node_of(cJSON_GetObjectItemCaseSensitive(tree(object), name)) : NULL;
}

const char *json_name(const struct json *member)
{
	return member ? tree(member)->string : NULL;
}

const struct json *json_first(const struct json *parent)
{
	return is_container(parent) ? node_of(tree(parent)->child) : NULL;
}

const struct json *json_next(const struct json *child)
{
	return child ? node_of(tree(child)->next) : NULL;
}

size_t json_count(const struct json *parent)
{
	size_t count = 0;
	for (const struct json *child = json_first(parent); child; child = json_next(child))
		count++;
	return count;
}

struct text json_text(const struct json *node)
{
	return cJSON_IsString(tree(node)) ? text_of(tree(node)->valuestring) : TEXT_NONE;
}

struct text json_member_text(const struct json *object, const char *name)
{
	return json_text(json_member(object, name));
}

static bool is_exact_integer(double number)
{
	return number >= -EXACT_INTEGER && number <= EXACT_INTEGER && number == trunc(number);
}

bool json_integer(const struct json *node, int64_t *value)
{
	if (!cJSON_IsNumber(tree(node)) || !is_exact_integer(tree(node)->valuedouble))
		return false;
	*value = (int64_t)tree(node)->valuedouble;
	return true;
}

bool json_bool(const struct json *node, bool *value)
{
	if (!cJSON_IsBool(tree(node)))
		return false;
	*value = cJSON_IsTrue(tree(node));
	return true;
}

struct json *json_object_new(void)
{
	return node_of(cJSON_CreateObject());
}

struct json *json_array_new(void)
{
	return node_of(cJSON_CreateArray());
}

struct json *json_copy(const struct json *node)
{
	return node_of(cJSON_Duplicate(tree(node), true));
}

bool json_add(struct json *parent, const char *name_or_null, struct json *child)
{
	if (!child || child == parent)
		return false;
	if (cJSON_IsArray(tree(parent)))
		return !name_or_null && cJSON_AddItemToArray(tree(parent), tree(child));
	return cJSON_IsObject(tree(parent)) && name_or_null &&
		   cJSON_AddItemToObject(tree(parent), name_or_null, tree(child));
}

/* For nodes nobody else holds: what cannot be added is freed. */
static bool add_or_free(struct json *parent, const char *name, cJSON *child)
{
	if (json_add(parent, name, node_of(child)))
		return true;
	cJSON_Delete(child);
	return false;
}

bool json_add_text(struct json *parent, const char *name_or_null, struct text value)
{
	if (text_find(value, 0) < value.length)
		return false; /* a NUL would cut the text short */
	cJSON *child = cJSON_CreateNull();
	char *copy = cJSON_malloc(value.length + 1);
	if (!child || !copy) {
		cJSON_Delete(child);
		cJSON_free(copy);
		return false;
	}
	if (value.length > 0)
		memcpy(copy, value.bytes, value.length);
	copy[value.length] = 0;
	child->type = cJSON_String;
	child->valuestring = copy;
	return add_or_free(parent, name_or_null, child);
}

bool json_add_integer(struct json *parent, const char *name_or_null, int64_t value)
{
	if (value < -(int64_t)EXACT_INTEGER || value > (int64_t)EXACT_INTEGER)
		return false;
	return add_or_free(parent, name_or_null, cJSON_CreateNumber((double)value));
}

bool json_add_bool(struct json *parent, const char *name_or_null, bool value)
{
	return add_or_free(parent, name_or_null, cJSON_CreateBool(value));
}

bool json_add_null(struct json *parent, const char *name_or_null)
{
	return add_or_free(parent, name_or_null, cJSON_CreateNull());
}

bool json_set(struct json *object, const char *name, struct json *child)
{
	if (!child || !cJSON_IsObject(tree(object)))
		return false;
	if (!json_member(object, name))
		return json_add(object, name, child);
	return cJSON_ReplaceItemInObjectCaseSensitive(tree(object), name, tree(child));
}

void json_remove(struct json *object, const char *name)
{
	if (cJSON_IsObject(tree(object)))
		cJSON_DeleteItemFromObjectCaseSensitive(tree(object), name);
}

/* The shortest of 15 to 17 digits that reads back as the same number. */
static void print_number(double number, struct buffer *into)
{
	char digits[40];
	if (is_exact_integer(number)) {
		buffer_append_number(into, (int64_t)number);
		return;
	}
	if (!isfinite(number)) {
		buffer_append(into, TEXT("null"));
		return;
	}
	for (int precision = DBL_DIG; precision <= 17; precision++) {
		snprintf(digits, sizeof(digits), "%.*g", precision, number);
		if (strtod(digits, NULL) == number)
			break;
	}
	buffer_append(into, text_of(digits));
	if (strpbrk(digits, ".e") == NULL) /* beyond 2^53 only as a fraction: the scan would refuse the bare digits */
		buffer_append(into, TEXT(".0"));
}

static void print_children(const struct json *node, bool named, struct buffer *into)
{
	buffer_append_byte(into, named ? '{' : '[');
	for (const struct json *child = json_first(node); child; child = json_next(child)) {
		if (child != json_first(node))
			buffer_append_byte(into, ',');
		if (named) {
			buffer_append_json(into, text_of(json_name(child)));
			buffer_append_byte(into, ':');
		}
		json_print(child, into);
	}
	buffer_append_byte(into, named ? '}' : ']');
}

/* Recursion is as deep as the tree: parsed ones are bounded by the scan, built ones by the program. */
void json_print(const struct json *node, struct buffer *into)
{
	bool value = false;
	switch (json_kind(node)) {
	case JSON_NULL:
		buffer_append(into, TEXT("null"));
		break;
	case JSON_BOOL:
		(void)json_bool(node, &value);
		buffer_append(into, value ? TEXT("true") : TEXT("false"));
		break;
	case JSON_NUMBER:
		print_number(tree(node)->valuedouble, into);
		break;
	case JSON_STRING:
		buffer_append_json(into, json_text(node));
		break;
	case JSON_ARRAY:
		print_children(node, false, into);
		break;
	case JSON_OBJECT:
		print_children(node, true, into);
		break;
	}
}
