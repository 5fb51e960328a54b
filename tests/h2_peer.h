/* A peer of HTTP/2 on a connection of the engine: it sends frame by frame, and tells what it gets in a shorthand (see
 * `peer_hears`). Include it after cmocka. */
#pragma once

#include <nghttp2/nghttp2.h>
#include <stdio.h>

#include "tests/handler_fixture.h"

enum { HEAD = 9, END = 1, HEADERS_END = 4, ACK = 1 };

struct frame {
	uint8_t type, flags;
	int32_t id;
	struct text payload;
};

struct peer {
	int descriptor;
	nghttp2_hd_inflater *inflater;
	struct buffer input;
	struct buffer seen;  /* in shorthand */
	struct buffer block; /* of a head that goes on in another frame */
	int32_t data_id;     /* DATA frames in a row are told as one */
	size_t data_length;
	size_t digits[8]; /* of the streams up to 15, when their bodies are digits */
	bool has_digits;
	bool is_closed;
};

static inline void turn(void)
{
	for (int i = 0; i < 4; i++)
		fixture_turn(&fixture);
}

static inline void send_bytes(struct peer *peer, struct text bytes)
{
	while (bytes.length > 0) {
		ssize_t count = send(peer->descriptor, bytes.bytes, bytes.length, MSG_NOSIGNAL);
		if (count < 0)
			return; /* closed: what it said counts */
		bytes = text_slice(bytes, (size_t)count, bytes.length);
		fixture_turn(&fixture);
	}
}

static inline void send_frame(struct peer *peer, uint8_t type, uint8_t flags, int32_t id, struct text payload)
{
	struct buffer frame = {0};
	const uint8_t head[HEAD] = {(uint8_t)(payload.length >> 16), (uint8_t)(payload.length >> 8),
		(uint8_t)payload.length, type, flags, (uint8_t)((uint32_t)id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8),
		(uint8_t)id};
	buffer_append(&frame, (struct text){(const char *)head, HEAD});
	buffer_append(&frame, payload);
	send_bytes(peer, buffer_text(&frame));
	buffer_free(&frame);
}

static inline void send_number(struct peer *peer, uint8_t type, int32_t id, uint32_t number)
{
	const char bytes[] = {(char)(number >> 24), (char)(number >> 16), (char)(number >> 8), (char)number};
	send_frame(peer, type, 0, id, (struct text){bytes, sizeof(bytes)});
}

static inline void peer_open(struct peer *peer)
{
	*peer = (struct peer){.descriptor = fixture_connect(&fixture)};
	assert_int_equal(nghttp2_hd_inflate_new(&peer->inflater), 0);
	send_bytes(peer, TEXT("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
	send_frame(peer, NGHTTP2_SETTINGS, 0, 0, TEXT(""));
	send_frame(peer, NGHTTP2_SETTINGS, ACK, 0, TEXT("")); /* as if it had seen ours: they hold from now on */
}

static inline void peer_leave(struct peer *peer)
{
	nghttp2_hd_inflate_del(peer->inflater);
	buffer_free(&peer->input);
	buffer_free(&peer->seen);
	buffer_free(&peer->block);
	close(peer->descriptor);
	turn();
}

/* The last one's: nothing is left behind. */
static inline void peer_close(struct peer *peer)
{
	peer_leave(peer);
	assert_int_equal(fixture.engine.connection_count, 0);
	assert_int_equal(opened, closed);
}

/* --- what it gets: "H1 :status=200 a=b." (with '.': the stream's end), "D1:5." bytes of DATA, "R1:8" reset, "G3:0"
 * GOAWAY, "W1:5" WINDOW_UPDATE, "A" the answer to a PING. Settings, their answers and the date are left out. */

static inline uint32_t read_number(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline void note_fields(struct peer *peer, const uint8_t *block, size_t length)
{
	for (;;) {
		nghttp2_nv field;
		int flags = 0;
		ssize_t used = nghttp2_hd_inflate_hd2(peer->inflater, &field, &flags, block, length, 1);
		assert_true(used >= 0);
		block += used;
		length -= (size_t)used;
		if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0 && memcmp(field.name, "date", 4) != 0)
			buffer_printf(&peer->seen, " %s=%s", (const char *)field.name, (const char *)field.value);
		if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0)
			break;
	}
	nghttp2_hd_inflate_end_headers(peer->inflater);
}

static inline void note_block(struct peer *peer, const uint8_t *head, const uint8_t *payload, size_t length)
{
	buffer_append(&peer->block, (struct text){(const char *)payload, length});
	if ((head[4] & HEADERS_END) == 0)
		return;
	note_fields(peer, (const uint8_t *)peer->block.bytes, peer->block.length);
	buffer_clear(&peer->block);
}

/* Each byte is in its place, whatever was sent between the frames. */
static inline void check_digits(struct peer *peer, int32_t id, const uint8_t *bytes, size_t length)
{
	size_t *at = &peer->digits[id / 2 % 8];
	for (size_t i = 0; i < length; i++)
		assert_int_equal(bytes[i], '0' + (*at)++ % 10);
}

static inline void note_data(struct peer *peer, bool is_end)
{
	if (peer->data_id != 0)
		buffer_printf(&peer->seen, "D%d:%zu%s ", peer->data_id, peer->data_length, is_end ? "." : "");
	peer->data_id = 0;
	peer->data_length = 0;
}

static inline void note(struct peer *peer, const uint8_t *head, const uint8_t *payload, size_t length)
{
	int32_t id = (int32_t)(read_number(head + 5) & INT32_MAX);
	bool is_end = (head[4] & END) != 0;
	if (peer->data_id != 0 && (head[3] != NGHTTP2_DATA || id != peer->data_id))
		note_data(peer, false);
	switch ((nghttp2_frame_type)head[3]) {
	case NGHTTP2_HEADERS:
		buffer_printf(&peer->seen, "H%d", id);
		note_block(peer, head, payload, length);
		buffer_append(&peer->seen, is_end ? TEXT(". ") : TEXT(" "));
		break;
	case NGHTTP2_CONTINUATION:
		assert_true(peer->block.length > 0);
		note_block(peer, head, payload, length);
		break;
	case NGHTTP2_DATA:
		peer->data_id = id;
		peer->data_length += length;
		if (peer->has_digits)
			check_digits(peer, id, payload, length);
		if (is_end)
			note_data(peer, true);
		break;
	case NGHTTP2_RST_STREAM:
		buffer_printf(&peer->seen, "R%d:%u ", id, read_number(payload));
		break;
	case NGHTTP2_GOAWAY:
		buffer_printf(&peer->seen, "G%u:%u ", read_number(payload), read_number(payload + 4));
		break;
	case NGHTTP2_WINDOW_UPDATE:
		buffer_printf(&peer->seen, "W%d:%u ", id, read_number(payload));
		break;
	case NGHTTP2_PING:
		buffer_append(&peer->seen, TEXT("A "));
		break;
	default:
		break;
	}
}

/* The shorthand of all that has come since the last call; "end" when the connection is closed. */
static const char *peer_hears(struct peer *peer)
{
	static char block[65536];
	ssize_t count;
	turn();
	buffer_clear(&peer->seen);
	while ((count = recv(peer->descriptor, block, sizeof(block), 0)) > 0) {
		buffer_append(&peer->input, (struct text){block, (size_t)count});
		fixture_turn(&fixture);
	}
	const uint8_t *at = (const uint8_t *)peer->input.bytes;
	size_t left = peer->input.length;
	while (left >= HEAD) {
		size_t length = (size_t)at[0] << 16 | (size_t)at[1] << 8 | at[2];
		if (left < HEAD + length)
			break;
		note(peer, at, at + HEAD, length);
		at += HEAD + length;
		left -= HEAD + length;
	}
	struct buffer rest = {0};
	buffer_append(&rest, (struct text){(const char *)at, left});
	buffer_free(&peer->input);
	peer->input = rest;
	note_data(peer, false);
	if (count == 0)
		buffer_append(&peer->seen, TEXT("end "));
	buffer_append(&peer->seen, TEXT(""));
	return peer->seen.bytes == NULL ? "" : peer->seen.bytes;
}

/* --- what is sent and heard often */

#define LITERAL(literal) ((struct text)FIELDS(literal))
#define FIELDS(literal)                                                                                                \
	{                                                                                                                  \
		literal, sizeof(literal) - 1                                                                                   \
	}
#define GET                                                                                                            \
	"\x82\x86\x01\x01"                                                                                                 \
	"a" /* method, scheme, authority "a" */
#define POST                                                                                                           \
	"\x83\x86\x01\x01"                                                                                                 \
	"a"
#define REQUEST(id, flags, fields)                                                                                     \
	{                                                                                                                  \
		NGHTTP2_HEADERS, HEADERS_END | (flags), id, FIELDS(fields)                                                     \
	}
#define HELLO "\x04\x06/hello"
#define EMPTY "\x04\x06/empty"
#define ECHO "\x04\x05/echo"
#define GOT_HELLO(id) "H" #id " :status=200 content-length=5 content-type=text/plain D" #id ":5. "
#define GOT_PROBLEM(id, status, length)                                                                                \
	"H" #id " :status=" #status " content-length=" #length " content-type=application/problem+json D" #id ":" #length  \
	". "
#define WINDOW "W0:983041 " /* the connection's window is larger than the protocol's */
