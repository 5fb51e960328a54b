/* Reading JSON objects into structs by a table: strict, and what is wrong is told in one line that begins with the
 * member's path ("capacity.maxVPAs: must be ..."). null is the same as absent. */
#pragma once

#include "server/base/json.h"

enum field_kind {
	FIELD_NAME,    /* char *: letters, digits, '-', '_', '.', '/', ':' */
	FIELD_LINE,    /* char *: text without control bytes */
	FIELD_URL,     /* char *: absolute http(s) */
	FIELD_INTEGER, /* int64_t */
	FIELD_LINES,   /* struct field_list of lines, none of them empty */
	FIELD_OBJECT,  /* members of the same struct; offset counts on from the struct's begin */
	FIELD_READ,    /* `read` does it */
};

/* At most this many items of a list. */
enum { FIELD_ITEMS_MAX = 64 };

struct field_list {
	char **items;
	size_t count;
};

struct field {
	const char *name;
	enum field_kind kind;
	bool is_required, is_kept; /* not kept: checked only, offset means nothing */
	size_t offset;             /* of the value in the target */
	int64_t minimum, maximum;  /* numbers: bounds; texts: of their length */
	const struct field *fields;
	size_t field_count;
	/* path: of the member, for a message of its own */
	enum status (*read)(const struct json *value, const char *path, void *target, struct buffer *error);
};

/* INVALID with the line in `error`, or NO_MEMORY. What was read so far stays in `target` for the caller to free. */
enum status fields_read(const struct field *fields, size_t count, const struct json *object, const char *path,
	void *target, struct buffer *error) MUST_CHECK;
/* An array of at most `most` objects, each read by `each` until one is wrong. */
enum status fields_each(const struct json *value, const char *path, size_t most,
	enum status (*each)(void *context, const struct json *item, const char *path, struct buffer *error), void *context,
	struct buffer *error) MUST_CHECK;
/* An object of at most FIELD_ITEMS_MAX texts without control bytes, they and their names of at most `longest` bytes;
 * false of `each`: out of memory. */
enum status fields_each_text(const struct json *value, const char *path, size_t longest,
	bool (*each)(void *context, struct text name, struct text text), void *context, struct buffer *error) MUST_CHECK;
/* "PATH: WHAT" into error. Returns INVALID. */
enum status field_wrong(struct buffer *error, const char *path, const char *what);
/* Frees the texts and lists the table keeps. */
void fields_free(const struct field *fields, size_t count, void *target);
