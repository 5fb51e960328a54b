/* Request bodies of the Tenant Manager: which members have which shape. As the existing one does, unknown members are
 * ignored and null is the same as absent; a member of another kind is 400 "Invalid JSON: ...". */
#pragma once

#include "control/fabric/rest.h"

enum wire_kind {
	WIRE_TEXT,
	WIRE_OBJECT,
	WIRE_TEXTS,    /* an array of texts */
	WIRE_TEXT_MAP, /* an object of arrays of texts */
	WIRE_MAP,      /* an object of objects */
	WIRE_OBJECTS,  /* an array of objects */
};
struct wire_member {
	const char *name;
	enum wire_kind kind;
	bool is_required; /* a text that is not empty, else 400 "Invalid payload: ..." */
};

/* path: of the object, "" or "dataspaceSpec."; for messages. False: it has answered. */
bool wire_check(struct rest_call *call, const struct json *object, const char *path, const struct wire_member *members,
	size_t count);
/* The member, NULL when absent or null. */
const struct json *wire_member(const struct json *object, const char *name);

/* ,"name":<value> when the value is an object or array with something in it, as the existing managers leave out what is
 * empty. */
void wire_print_filled(struct buffer *into, const char *name, const struct json *value);
