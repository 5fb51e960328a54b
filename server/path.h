/* Request targets: one canonical form, used for routing, authorization and forwarding alike. Pure functions. */
#pragma once

#include "server/base/text.h"

/* Checks and normalises an origin-form path (no query) into `into` (at least path.length bytes): percent-encoded
 * unreserved characters are decoded, other escapes keep upper-case hex; empty segments and dot segments, encoded or
 * not, "%00", "%2f", "%5c", backslash, ';' in dot segments, control and non-ASCII bytes are INVALID; so are escapes
 * that are no UTF-8 and escapes of dangerous escapes ("%252e"). A final slash is kept: "/a/" is not "/a". A path that
 * passes twice is unchanged. */
enum status path_canonical(struct text path, char *into, size_t room, struct text *canonical) MUST_CHECK;
/* Splits "/a/b/c" into its first segment ("a") and the rest ("/b/c" or ""). */
bool path_next(struct text *rest, struct text *segment);
/* Percent-decodes one segment or query value into `into` (length bytes suffice); INVALID on bad escapes or NUL. */
enum status percent_decode(struct text encoded, char *into, size_t room, struct text *decoded) MUST_CHECK;
