/* AWS Signature Version 4 in the Authorization header (AWS, "Authenticating Requests", Signature Version 4). Pure: the
 * clock is passed in. */
#pragma once

#include "server/exchange.h"

#define SIGV4_UNSIGNED "UNSIGNED-PAYLOAD"

struct sigv4_keys {
	struct text access_key, secret_key;
	struct text session_token; /* may be absent: then it is no header either */
};

struct sigv4_request {
	struct text method;
	struct text path;  /* escaped as it is sent: sigv4_escape, with the slashes kept */
	struct text query; /* "a=b&c=", escaped and sorted by name; may be absent */
	/* What is signed: lower-case names in ascending order, "host", "x-amz-date" and "x-amz-content-sha256" among them.
	 */
	const struct header *headers;
	size_t header_count;
	struct text payload; /* hex digest of the body, or SIGV4_UNSIGNED; what x-amz-content-sha256 says */
	struct text region, service;
};

enum { SIGV4_TIME_LENGTH = 16 };

/* "20130524T000000Z" and a NUL. */
void sigv4_time(int64_t now_s, char into[SIGV4_TIME_LENGTH + 1]);
/* The value of Authorization; `time` is that of x-amz-date. */
enum status sigv4_sign(const struct sigv4_request *request, const struct sigv4_keys *keys,
	const char time[SIGV4_TIME_LENGTH + 1], struct buffer *into) MUST_CHECK;
/* Percent-escapes all but A-Z a-z 0-9 - . _ ~ and, when `keep_slash`, '/'. */
void sigv4_escape(struct text text, bool keep_slash, struct buffer *into);
