/* What the client's HTTP/2 files share: a connection with its session, what it tells of answers, and the bodies of its
 * calls. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "server/client_private.h"

enum {
	H2_CALLS_MAX = 100,
	H2_CONNECTION_WINDOW = 8 * 1024 * 1024,
	H2_HELD_MAX =
		16 * 1024 * 1024,       /* unread by all calls of a connection; beyond it, the connection's window shrinks */
	H2_FRAMES_BURST = 1000,     /* frames that bring nothing, at once ... */
	H2_FRAMES_PER_SECOND = 100, /* ... and for long */
};

struct h2_session {
	struct upstream *upstream;
	nghttp2_session *session;
	struct client_call *calls;
	unsigned call_count;
	bool has_settings, is_draining, is_receiving;
	uint64_t received_ms;
	size_t held;     /* body bytes received and not read */
	size_t in_block; /* of those, in the block */
	size_t owed;     /* bytes whose connection window was not given back */
	unsigned frames;
	uint64_t frames_ms;
};

/* client_h2_body.c */
/* Bytes of a DATA frame, inside the block. False: out of memory. */
bool h2_body_add(struct client_call *call, const uint8_t *bytes, size_t length);
/* The block's bytes move to memory of the calls that did not read them. */
void h2_body_keep_all(struct h2_session *h2);
/* Nobody needs the block. */
void h2_block_release(struct h2_session *h2);
void h2_body_drop(struct client_call *call);
/* What came and was not read. */
size_t h2_body_held(const struct client_call *call);
/* Gives the connection's window back. */
void h2_body_settle(struct h2_session *h2);
void h2_body_credit(struct h2_session *h2, size_t length);
enum body_state h2_body_read(struct client_call *call, uint8_t *into, size_t room, size_t *count);
size_t h2_body_write(struct client_call *call, const uint8_t *bytes, size_t length, bool ended);
ssize_t h2_body_send(nghttp2_session *session, int32_t id, uint8_t *into, size_t room, uint32_t *flags,
	nghttp2_data_source *source, void *context);

/* client_h2.c */
/* The call ends for the connection: a stream that is still open is reset. */
void h2_call_leave(struct client_call *call, uint32_t error_code);
void h2_call_fail(struct client_call *call, uint32_t error_code, enum status why);
/* The peer has not processed it, or it may be repeated: it waits for a connection again. */
bool h2_call_retry(struct client_call *call);

/* client_h2_answer.c: for every session. */
extern nghttp2_session_callbacks *client_h2_callbacks;
extern nghttp2_option *client_h2_options;
