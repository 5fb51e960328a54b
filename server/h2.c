/* HTTP/2: a connection's session, from its beginning to its end, and its deadlines. Nothing is sent while input is
 * read: flushing waits until all that has come is read, so that its answers leave together. */
#include <stdlib.h>

#include "server/h2_head.h"
#include "server/h2_private.h"

enum { REST_MS = 2000 }; /* how long the rest of an answered request may take */

static enum status h2_open(struct connection *connection)
{
	struct h2 *h2 = calloc(1, sizeof(*h2));
	if (h2 == NULL)
		return STATUS_NO_MEMORY;
	h2->connection = connection;
	h2->send_window = h2->stream_send_window = h2->stream_receive_window = H2_WINDOW;
	h2->frame_limit = FRAME_PAYLOAD_MAX;
	h2->table_limit = HEADER_TABLE_SIZE;
	header_decoder_open(&h2->decoder);
	connection->session = h2;
	h2_send_settings(h2);
	return STATUS_OK;
}

static void h2_drain(struct connection *connection)
{
	h2_announce_last(connection->session);
	connection_flush_later(connection);
}

static void check_stream(struct h2 *h2, struct stream *stream, uint64_t now_ms)
{
	const struct limits *limits = h2->connection->limits;
	const struct exchange *exchange = &stream->exchange;
	uint64_t idle = now_ms - (uint64_t)stream->progress_ms;
	if (stream->is_counted) { /* the rest of its request has not come */
		if (stream_age_ms(stream, now_ms) >= REST_MS)
			h2_reset_stream(h2, stream, H2_NO_ERROR);
		return;
	}
	if (stream->is_responded && !stream->is_deferred && idle >= (uint64_t)limits->stream_idle_ms) {
		h2_abort_stream(&stream->exchange, STATUS_TIMEOUT); /* the peer takes nothing */
		return;
	}
	uint64_t age = stream_age_ms(stream, now_ms);
	bool is_waiting_for_body = stream->is_receiving && !stream->is_body_over && stream->window_held == 0;
	if (is_waiting_for_body && age >= (uint64_t)limits->body_grace_ms &&
		exchange->bytes_received < (uint64_t)limits->body_rate * (age / 1000))
		h2_abort_stream(&stream->exchange, STATUS_TIMEOUT);
}

static void end_slow_head(struct h2 *h2)
{
	(void)h2_terminate(h2, H2_ENHANCE_YOUR_CALM);
	connection_close_later(h2->connection, STATUS_TIMEOUT);
}

static bool is_head_late(const struct h2 *h2, uint64_t now_ms)
{
	bool is_waiting = frame_reader_is_waiting(&h2->reader) || h2->block.id != 0;
	return is_waiting && now_ms > h2->waiting_ms &&
		   now_ms - h2->waiting_ms >= (uint64_t)h2->connection->limits->header_ms;
}

static void h2_check(struct connection *connection, uint64_t now_ms)
{
	struct h2 *h2 = connection->session;
	const struct limits *limits = connection->limits;
	if (!h2->has_settings && now_ms - connection->phase_ms >= (uint64_t)limits->preface_ms) {
		connection_close_later(connection, STATUS_TIMEOUT);
		return;
	}
	if (is_head_late(h2, now_ms)) {
		end_slow_head(h2);
		return;
	}
	for (struct stream *stream = h2->streams; stream != NULL; stream = stream->next) {
		if (!stream->is_dispatched && stream_age_ms(stream, now_ms) >= (uint64_t)limits->header_ms) {
			end_slow_head(h2);
			return;
		}
		if (stream->is_dispatched && !stream->is_finished)
			check_stream(h2, stream, now_ms);
	}
}

static void h2_close(struct connection *connection, enum status why)
{
	struct h2 *h2 = connection->session;
	while (h2->streams != NULL) {
		struct stream *stream = h2->streams;
		stream_finish(stream, stream->is_abort_pending ? stream->abort_why : why == STATUS_OK ? STATUS_CLOSED : why);
		h2_free_stream(h2, stream);
	}
	header_decoder_close(&h2->decoder);
	frame_reader_close(&h2->reader);
	buffer_free(&h2->control);
	buffer_free(&h2->postponed);
	free(h2);
	connection->session = NULL;
}

const struct protocol protocol_h2 = {"h2", h2_open, h2_receive, h2_flush, h2_drain, h2_check, h2_close};
