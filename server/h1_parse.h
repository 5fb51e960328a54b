/* HTTP/1.1 heads and chunked bodies, strictly (RFC 9112): CRLF only, no folding, no space before ':', one framing.
 * Pure: bytes in, structures out; used by the server (requests) and by the client (responses). */
#pragma once

#include "server/exchange.h"

struct h1_limits {
	size_t bytes; /* of the whole head */
	unsigned fields;
};

struct h1_head {
	struct text method, target; /* requests */
	int status;                 /* responses */
	int minor_version;          /* 0 or 1 */
	struct header *headers;     /* the caller's array; names lower-cased in place inside `bytes` */
	unsigned header_count;
	int64_t content_length; /* -1: none */
	bool chunked;           /* transfer-encoding is exactly "chunked" */
	bool keep_alive;        /* by version and Connection */
	bool expect_continue;
	bool upgrade;
};

/* *used = 0 and OK: more bytes are needed. `bytes` is written to (names are lower-cased) and lent by `head`. INVALID:
 * malformed, ambiguous framing (content-length with transfer-encoding, two different or malformed lengths, other
 * codings), missing or repeated Host; PROTOCOL: neither HTTP/1.0 nor 1.1 (505); TOO_LARGE: limits (431). The scan may
 * be repeated from the start with more bytes: once per line end that arrives is enough. */
enum status h1_parse_request(char *bytes, size_t length, const struct h1_limits *limits, struct header *headers,
	struct h1_head *head, size_t *used) MUST_CHECK;
/* 1xx heads are returned like others. Lenient only where RFC 9112 says so for user agents: never with line ends. */
enum status h1_parse_response(char *bytes, size_t length, const struct h1_limits *limits, struct header *headers,
	struct h1_head *head, size_t *used) MUST_CHECK;

/* Chunked body, incrementally. All-zero starts. */
struct h1_chunks {
	int state;
	uint64_t left;           /* bytes of the current chunk still to come */
	uint32_t overhead;       /* bytes of size lines, extensions and trailers so far: limited */
	struct buffer *trailers; /* gets the trailer section, at most 8 KiB; NULL: it is discarded */
};
/* Consumes from `bytes`: *used in all; a run of data, if any, is (*data_at, *data_length) inside it (one run a call).
 * *ended: the last chunk and the trailer section are complete (at most 8 KiB). */
enum status h1_chunks_take(struct h1_chunks *chunks, const char *bytes, size_t length, size_t *used, size_t *data_at,
	size_t *data_length, bool *ended) MUST_CHECK;
/* The fields of a complete trailer section, at most `room`, lent by `bytes`; names are lower-cased there. Returns how
 * many. */
unsigned h1_trailers(char *bytes, size_t length, struct header *headers, unsigned room);
