/* Forms (application/x-www-form-urlencoded), as OAuth 2 speaks them. */
#pragma once

#include "server/base/text.h"

/* The decoded value of the one field of this name, into `room`. NOT_FOUND; INVALID: given twice, broken escapes, or
 * larger than `size`. */
enum status form_find(struct text form, struct text name, char *room, size_t size, struct text *value) MUST_CHECK;
/* name=value, escaped, with '&' before all but the first. */
void form_append(struct buffer *form, const char *name, struct text value);
