/* HTTP/2: nghttp2 between a connection and its streams. Nothing is sent inside nghttp2's callbacks: flushing waits
 * until what has come is read, so that its answers leave together. */
#include <stdlib.h>

#include "server/h2_head.h"
#include "server/h2_private.h"

enum { PREFACE = 24 };
enum { REST_MS = 2000 }; /* how long the rest of an answered request may take */

static nghttp2_option *make_options(const struct limits *limits)
{
	nghttp2_option *option;
	if (nghttp2_option_new(&option) != 0)
		return NULL;
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_max_deflate_dynamic_table_size(option, (size_t)limits->header_table_out);
	nghttp2_option_set_max_send_header_block_length(option, HEAD_OUT_MAX);
	nghttp2_option_set_max_settings(option, (size_t)limits->settings_entries);
	nghttp2_option_set_max_outbound_ack(option, (size_t)limits->queued_acks);
	nghttp2_option_set_max_continuations(option, (size_t)limits->continuations);
	nghttp2_option_set_stream_reset_rate_limit(option, (uint64_t)limits->reset_burst, (uint64_t)limits->reset_rate);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_no_http_messaging(option, 1); /* server/h2_message.h does it */
	return option;
}

static enum status h2_open(struct connection *connection)
{
	const struct limits *limits = connection->limits;
	struct h2 *h2 = calloc(1, sizeof(*h2));
	nghttp2_option *option = make_options(limits);
	nghttp2_mem memory = h2_memory(h2);
	if (connection->drawer == NULL)
		connection->drawer = drawer_new(connection->engine->drawers);
	if (h2 != NULL) {
		h2->connection = h2->output.connection = connection;
		h2->is_opening = true;
	}
	if (h2 == NULL || option == NULL ||
		nghttp2_session_server_new3(&h2->session, h2_callbacks(), h2, option, &memory) != 0) {
		nghttp2_option_del(option);
		free(h2);
		return STATUS_NO_MEMORY;
	}
	nghttp2_option_del(option);
	h2->is_opening = false;
	h2->scan.skip = PREFACE;
	h2->cut.pass = PREFACE;
	header_decoder_open(&h2->decoder);
	connection->session = h2;
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, (uint32_t)limits->streams_per_connection},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)limits->stream_window},
		{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, (uint32_t)limits->header_table_in},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->header_bytes},
	};
	nghttp2_submit_settings(h2->session, NGHTTP2_FLAG_NONE, settings, sizeof(settings) / sizeof(settings[0]));
	nghttp2_session_set_local_window_size(h2->session, NGHTTP2_FLAG_NONE, 0, (int32_t)limits->connection_window);
	return STATUS_OK;
}

static void h2_drain(struct connection *connection)
{
	struct h2 *h2 = connection->session;
	h2_announce_last(h2);
	connection_flush_later(connection);
}

static void check_stream(struct h2 *h2, struct stream *stream, uint64_t now_ms)
{
	const struct limits *limits = h2->connection->limits;
	const struct exchange *exchange = &stream->exchange;
	uint64_t idle = now_ms - (uint64_t)stream->progress_ms;
	if (stream->is_counted) { /* the rest of its request has not come */
		if (stream_age_ms(stream, now_ms) >= REST_MS) {
			nghttp2_submit_rst_stream(h2->session, NGHTTP2_FLAG_NONE, stream->id, NGHTTP2_NO_ERROR);
			connection_flush_later(h2->connection);
		}
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
	nghttp2_session_terminate_session(h2->session, NGHTTP2_ENHANCE_YOUR_CALM);
	connection_close_later(h2->connection, STATUS_TIMEOUT);
}

static void h2_check(struct connection *connection, uint64_t now_ms)
{
	struct h2 *h2 = connection->session;
	const struct limits *limits = connection->limits;
	if (!h2->has_settings && now_ms - connection->phase_ms >= (uint64_t)limits->preface_ms) {
		connection_close_later(connection, STATUS_TIMEOUT);
		return;
	}
	if (frame_cut_is_waiting(&h2->cut) && now_ms - h2->cut_ms >= (uint64_t)limits->header_ms) {
		end_slow_head(h2);
		return;
	}
	for (struct stream *stream = h2->streams, *next; stream != NULL; stream = next) {
		next = stream->next;
		uint64_t age = stream_age_ms(stream, now_ms);
		if (!stream->is_dispatched && age >= (uint64_t)limits->header_ms) {
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
	connection->session = h2; /* what on_close calls may still look at it */
	while (h2->streams != NULL) {
		struct stream *stream = h2->streams;
		stream_finish(stream, stream->is_abort_pending ? stream->abort_why : why == STATUS_OK ? STATUS_CLOSED : why);
		h2_delist(h2, stream);
		nghttp2_session_set_stream_user_data(h2->session, stream->id, NULL);
		h2_head_release(stream);
		stream_free(stream);
	}
	nghttp2_session_del(h2->session);
	header_decoder_close(&h2->decoder);
	frame_cut_close(&h2->cut);
	buffer_free(&h2->postponed);
	free(h2);
	connection->session = NULL;
}

const struct protocol protocol_h2 = {"h2", h2_open, h2_receive, h2_flush, h2_drain, h2_check, h2_close};
