/* Dates of HTTP header fields (RFC 9110 §5.6.7), in seconds since 1970-01-01 UTC. Pure functions. */
#pragma once

#include "server/base/text.h"

enum { HTTP_DATE_LENGTH = 29 };

/* "Sun, 06 Nov 1994 08:49:37 GMT" and a NUL. Years 0 to 9999; what lies outside is written as the nearest of these. */
void http_date_format(int64_t seconds, char into[HTTP_DATE_LENGTH + 1]);
/* The three forms recipients must take; strict within them, except that the day's name is not compared with the date.
 * `now` (seconds) places the two-digit years of RFC 850. */
enum status http_date_parse(struct text text, int64_t now, int64_t *seconds) MUST_CHECK;
