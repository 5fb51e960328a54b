/* ODRL in JSON and JSON-LD, as the field writes it: names in full, with a prefix, or bare; values alone, in a list of
 * one, or wrapped. Pure functions. */
#pragma once

#include "server/base/json.h"

enum odrl_space { SPACE_BARE, SPACE_ODRL, SPACE_EDC, SPACE_CELLD };
/* Without the prefix or namespace, if it is one of these. */
struct text odrl_local_name(struct text name, enum odrl_space *space);
/* A term of ODRL, in any spelling; others as they are. */
struct text odrl_name(struct text name);
/* NULL: not there. */
const struct json *odrl_member(const struct json *object, const char *name);
/* For loops over a list; a value alone, and {"@list"}, are lists too. */
const struct json *odrl_first(const struct json *list);
const struct json *odrl_next(const struct json *list, const struct json *item);
/* What a text, {"@id"}, {"@value"}, or a list of one such says; a whole number too, printed into `room`. */
struct text odrl_scalar(const struct json *value, char room[24]);
