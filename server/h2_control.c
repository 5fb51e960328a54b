/* HTTP/2: frames without a body, both ways, and what a peer pays for what it provokes. */
#include <string.h>

#include "server/h2_private.h"

enum { SETTING_SIZE = 6, PING_SIZE = 8, GOAWAY_LEAST = 8, PRIORITY_SIZE = 5, SMALL_WINDOW = 1024 };

/* --- out */

void h2_send_control(struct h2 *h2, unsigned type, unsigned flags, int32_t id, struct text payload)
{
	uint8_t head[FRAME_HEAD];
	if (h2->is_terminated)
		return;
	frame_head_write(head, payload.length, type, flags, id);
	buffer_append(&h2->control, (struct text){(const char *)head, sizeof(head)});
	buffer_append(&h2->control, payload);
	h2->control_frames++;
	connection_flush_later(h2->connection);
}

void h2_send_number(struct h2 *h2, unsigned type, int32_t id, uint32_t number)
{
	uint8_t bytes[4];
	h2_put_number(bytes, number);
	h2_send_control(h2, type, 0, id, (struct text){(const char *)bytes, sizeof(bytes)});
}

static void send_goaway(struct h2 *h2, enum h2_error code)
{
	uint8_t bytes[GOAWAY_LEAST];
	h2_put_number(bytes, (uint32_t)h2->last_opened);
	h2_put_number(bytes + 4, code);
	h2_send_control(h2, FRAME_GOAWAY, 0, 0, (struct text){(const char *)bytes, sizeof(bytes)});
	h2->is_told = true;
}

void h2_announce_last(struct h2 *h2)
{
	if (h2->is_last_announced)
		return;
	h2->is_last_announced = true;
	send_goaway(h2, H2_NO_ERROR);
}

enum status h2_terminate(struct h2 *h2, enum h2_error code)
{
	send_goaway(h2, code);
	h2->is_terminated = true;
	return STATUS_PROTOCOL;
}

void h2_charge(struct h2 *h2, unsigned points)
{
	switch (connection_charge(h2->connection, points)) {
	case PENALTY_FINE:
		return;
	case PENALTY_WARN:
		if (!h2->is_warned)
			send_goaway(h2, H2_ENHANCE_YOUR_CALM);
		h2->is_warned = true;
		return;
	case PENALTY_OUT:
		(void)h2_terminate(h2, H2_ENHANCE_YOUR_CALM);
		connection_close_later(h2->connection, STATUS_REFUSED);
		return;
	}
}

static void put_setting(uint8_t *into, unsigned name, uint32_t value)
{
	into[0] = 0;
	into[1] = (uint8_t)name;
	h2_put_number(into + 2, value);
}

void h2_send_settings(struct h2 *h2)
{
	const struct limits *limits = h2->connection->limits;
	uint8_t settings[4 * SETTING_SIZE];
	put_setting(settings, SETTING_MAX_CONCURRENT_STREAMS, (uint32_t)limits->streams_per_connection);
	put_setting(settings + SETTING_SIZE, SETTING_INITIAL_WINDOW_SIZE, (uint32_t)limits->stream_window);
	put_setting(settings + 2 * SETTING_SIZE, SETTING_HEADER_TABLE_SIZE, (uint32_t)limits->header_table_in);
	put_setting(settings + 3 * SETTING_SIZE, SETTING_MAX_HEADER_LIST_SIZE, (uint32_t)limits->header_bytes);
	h2_send_control(h2, FRAME_SETTINGS, 0, 0, (struct text){(const char *)settings, sizeof(settings)});
	h2->receive_window = H2_WINDOW;
	if (limits->connection_window > H2_WINDOW) {
		h2_send_number(h2, FRAME_WINDOW_UPDATE, 0, (uint32_t)(limits->connection_window - H2_WINDOW));
		h2->receive_window = limits->connection_window;
	}
}

/* The answer to SETTINGS or PING, unless too many wait already. */
static enum status acknowledge(struct h2 *h2, unsigned type, struct text payload)
{
	if (h2->control_acks >= (unsigned)h2->connection->limits->queued_acks)
		return h2_terminate(h2, H2_ENHANCE_YOUR_CALM);
	h2->control_acks++;
	h2_send_control(h2, type, FLAG_ACK, 0, payload);
	return STATUS_OK;
}

/* --- in: settings */

static enum status change_windows(struct h2 *h2, uint32_t value)
{
	if (value > H2_WINDOW_MAX)
		return h2_terminate(h2, H2_FLOW_CONTROL_ERROR);
	int64_t more = (int64_t)value - h2->stream_send_window;
	h2->stream_send_window = (int32_t)value;
	for (struct stream *stream = h2->streams; stream != NULL; stream = stream->next) {
		if (stream->send_window + more > H2_WINDOW_MAX)
			return h2_terminate(h2, H2_FLOW_CONTROL_ERROR);
		stream->send_window += more;
		h2_queue_body(h2, stream);
	}
	return STATUS_OK;
}

static enum status take_setting(struct h2 *h2, unsigned name, uint32_t value)
{
	switch (name) {
	case SETTING_HEADER_TABLE_SIZE:
		if (value < h2->table_limit) {
			h2->is_table_due = true;
			h2->table_limit = 0; /* which no later one goes below */
		}
		return STATUS_OK;
	case SETTING_ENABLE_PUSH:
		return value > 1 ? h2_terminate(h2, H2_PROTOCOL_ERROR) : STATUS_OK;
	case SETTING_INITIAL_WINDOW_SIZE:
		return change_windows(h2, value);
	case SETTING_MAX_FRAME_SIZE:
		if (value < FRAME_PAYLOAD_MAX || value > FRAME_SIZE_MAX)
			return h2_terminate(h2, H2_PROTOCOL_ERROR);
		h2->frame_limit = value;
		return STATUS_OK;
	default:
		return STATUS_OK;
	}
}

/* Ours hold from now on. */
static enum status settle(struct h2 *h2)
{
	const struct limits *limits = h2->connection->limits;
	if (h2->is_settled)
		return h2_terminate(h2, H2_PROTOCOL_ERROR);
	h2->is_settled = true;
	header_decoder_allow(&h2->decoder, (size_t)limits->header_table_in);
	for (struct stream *stream = h2->streams; stream != NULL; stream = stream->next)
		stream->receive_window += limits->stream_window - h2->stream_receive_window;
	h2->stream_receive_window = (int32_t)limits->stream_window;
	return STATUS_OK;
}

static enum status take_settings(struct h2 *h2, const struct frame_head *head, const uint8_t *payload)
{
	bool is_ack = (head->flags & FLAG_ACK) != 0;
	if (head->length % SETTING_SIZE != 0 || (is_ack && head->length > 0))
		return h2_terminate(h2, H2_FRAME_SIZE_ERROR);
	if (head->length / SETTING_SIZE > (uint32_t)h2->connection->limits->settings_entries)
		return h2_terminate(h2, H2_ENHANCE_YOUR_CALM);
	if (!is_ack && h2->has_settings)
		h2_charge(h2, COST_SETTINGS);
	h2->has_settings = true;
	if (is_ack)
		return settle(h2);
	enum status status = STATUS_OK;
	for (uint32_t at = 0; at < head->length && status == STATUS_OK; at += SETTING_SIZE)
		status = take_setting(h2, (unsigned)payload[at] << 8 | payload[at + 1], h2_number(payload + at + 2));
	return status == STATUS_OK ? acknowledge(h2, FRAME_SETTINGS, TEXT_NONE) : status;
}

/* --- in: the rest */

static enum status take_ping(struct h2 *h2, const struct frame_head *head, const uint8_t *payload)
{
	h2_charge(h2, COST_CONTROL);
	if ((head->flags & FLAG_ACK) != 0)
		return STATUS_OK;
	return acknowledge(h2, FRAME_PING, (struct text){(const char *)payload, PING_SIZE});
}

bool h2_is_on_itself(const struct frame_head *head, const uint8_t *priority)
{
	return (int32_t)(h2_number(priority) & INT32_MAX) == head->id;
}

static enum status take_priority(struct h2 *h2, const struct frame_head *head, const uint8_t *payload)
{
	h2_charge(h2, COST_CONTROL);
	return h2_is_on_itself(head, payload) ? h2_terminate(h2, H2_PROTOCOL_ERROR) : STATUS_OK;
}

static enum status take_goaway(struct h2 *h2, const struct frame_head *head, const uint8_t *payload)
{
	(void)head, (void)payload;
	h2->is_told = true;
	return STATUS_OK;
}

static enum status take_reset(struct h2 *h2, const struct frame_head *head, const uint8_t *payload)
{
	const struct limits *limits = h2->connection->limits;
	struct stream *stream = h2_find_stream(h2, head->id);
	if (!penalty_add(
			&h2->resets, limits->reset_burst, limits->reset_rate, worker_now_ms(h2->connection->engine->worker), 1))
		return h2_terminate(h2, H2_ENHANCE_YOUR_CALM);
	if (stream != NULL)
		h2_close_stream(h2, stream, h2_number(payload) == H2_NO_ERROR);
	return STATUS_OK;
}

static void open_window(struct h2 *h2, struct stream *stream, uint32_t more)
{
	if (stream->send_window + more > H2_WINDOW_MAX) {
		h2_charge(h2, COST_INVALID);
		h2_reset_stream(h2, stream, H2_FLOW_CONTROL_ERROR);
		return;
	}
	stream->send_window += more;
	h2_queue_body(h2, stream);
}

static enum status take_window(struct h2 *h2, const struct frame_head *head, const uint8_t *payload)
{
	uint32_t more = h2_number(payload) & INT32_MAX;
	struct stream *stream = head->id != 0 ? h2_find_stream(h2, head->id) : NULL;
	if (more < SMALL_WINDOW)
		h2_charge(h2, COST_CONTROL);
	if (more == 0)
		return h2_terminate(h2, H2_PROTOCOL_ERROR);
	if (stream != NULL)
		open_window(h2, stream, more);
	if (head->id != 0)
		return STATUS_OK; /* else it has ended */
	if (h2->send_window + more > H2_WINDOW_MAX)
		return h2_terminate(h2, H2_FLOW_CONTROL_ERROR);
	h2->send_window += more;
	return STATUS_OK;
}

static enum status refuse(struct h2 *h2, const struct frame_head *head, const uint8_t *payload)
{
	(void)head, (void)payload;
	return h2_terminate(h2, H2_PROTOCOL_ERROR);
}

/* Whose a frame may be. */
enum scope { OF_CONNECTION, OF_STREAM, OF_USED_STREAM, OF_BOTH };

static const struct {
	enum scope scope;
	uint32_t least, most;
	enum status (*take)(struct h2 *h2, const struct frame_head *head, const uint8_t *payload);
} frames[] = {
	[FRAME_PRIORITY] = {OF_STREAM, PRIORITY_SIZE, PRIORITY_SIZE, take_priority},
	[FRAME_RST_STREAM] = {OF_USED_STREAM, 4, 4, take_reset},
	[FRAME_SETTINGS] = {OF_CONNECTION, 0, FRAME_PAYLOAD_MAX, take_settings},
	[FRAME_PUSH_PROMISE] = {OF_STREAM, 0, FRAME_PAYLOAD_MAX, refuse},
	[FRAME_PING] = {OF_CONNECTION, PING_SIZE, PING_SIZE, take_ping},
	[FRAME_GOAWAY] = {OF_CONNECTION, GOAWAY_LEAST, FRAME_PAYLOAD_MAX, take_goaway},
	[FRAME_WINDOW_UPDATE] = {OF_BOTH, 4, 4, take_window},
};

static bool is_in_scope(const struct h2 *h2, enum scope scope, int32_t id)
{
	bool is_used = id <= h2->ids.last;
	switch (scope) {
	case OF_CONNECTION:
		return id == 0;
	case OF_STREAM:
		return id != 0;
	case OF_USED_STREAM:
		return id != 0 && is_used;
	case OF_BOTH:
		return is_used;
	}
	return false;
}

enum status h2_take_control(struct h2 *h2, const struct frame_head *head, const uint8_t *payload)
{
	if (!is_in_scope(h2, frames[head->type].scope, head->id))
		return h2_terminate(h2, H2_PROTOCOL_ERROR);
	if (head->length < frames[head->type].least || head->length > frames[head->type].most)
		return h2_terminate(h2, H2_FRAME_SIZE_ERROR);
	return frames[head->type].take(h2, head, payload);
}
