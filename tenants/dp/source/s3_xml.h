/* The little of an S3 store's XML that uploads need: elements without attributes, found by name. Pure functions. */
#pragma once

#include "server/base/text.h"

/* The content of the next <name>...</name> in `rest`, which moves behind it. An element of the same name inside another
 * is not looked for: stores have none. False: there is none. */
bool s3_xml_next(struct text *rest, const char *name, struct text *content);
/* The first one's text, "&quot;" and its like put right; at most room - 1 bytes and a NUL. False: none, or too long, or
 * not plain text. */
bool s3_xml_text(struct text element, const char *name, char *into, size_t room);
/* As decimal digits. */
bool s3_xml_number(struct text element, const char *name, int64_t *number);
/* Text as an element's content. */
void s3_xml_escape(struct text text, struct buffer *into);
