/* Entity tags and the conditions made of them (RFC 9110 §8.8.3, §13.1). Pure functions. Tags are written with their
 * quotes:
 * "\"abc\"" or "W/\"abc\"". An absent tag (the representation has none) matches nothing. */
#pragma once

#include "server/base/text.h"

bool etag_is_valid(struct text tag);
/* Strong comparison: equal, and neither weak. Weak comparison: equal but for "W/". */
bool etag_equals_strongly(struct text a, struct text b);

/* If-None-Match: true = some tag of the list (or "*") matches weakly: answer 304 to GET and HEAD, 412 to others. */
bool if_none_match(struct text value, struct text tag);
/* If-Match: true = some tag of the list (or "*") matches strongly: go on; else 412. */
bool if_match(struct text value, struct text tag);
/* If-Modified-Since, for GET and HEAD without If-None-Match: true = not modified since: answer 304. Seconds since 1970;
 * last_modified < 0: unknown. A malformed date is ignored. */
bool if_not_modified_since(struct text value, int64_t last_modified, int64_t now);
/* If-Range: true = the Range header counts; else answer with the whole. Absent (TEXT_NONE): true. A tag matches
 * strongly, a date exactly, and only one older than a minute: a younger one is no strong validator (§8.8.2.2). */
bool if_range(struct text value, struct text tag, int64_t last_modified, int64_t now);
