/* Response bodies as DATA frames. */
#pragma once

#include <nghttp2/nghttp2.h>

#include "server/stream.h"

/* What the callbacks find first behind their context. */
struct h2_output {
	struct connection *connection;
	const uint8_t *lent; /* the payload of the frame that is being made; NULL: it stands in the gather */
	int pipe;            /* ... it stands in this pipe, if has_pipe */
	bool has_pipe;
	size_t frame_room; /* of the frame that is being made, when it is above 16 KiB; else 0 */
	size_t written;    /* in this flush, of frames that are not nghttp2's copies */
	bool is_paused;
};

/* Clear connections let nghttp2 make heads only. */
void h2_body_register(nghttp2_session_callbacks *callbacks);
/* For nghttp2_submit_response. */
nghttp2_data_provider h2_body_provider(struct stream *stream);
