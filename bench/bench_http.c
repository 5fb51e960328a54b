/* Header decoding and body frames, with nghttp2 as the engine uses it. */
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "bench/benches.h"

#define FIELD(name, value)                                                                                             \
	{                                                                                                                  \
		(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, sizeof(name) - 1, sizeof(value) - 1,                  \
			NGHTTP2_NV_FLAG_NONE                                                                                       \
	}

/* A pull's head with a token of `argument` bytes, every field literal, as after a new connection. */
static void header_decode(struct bench *bench)
{
	size_t length = (size_t)bench_argument(bench);
	char *token = malloc(length + 1);
	nghttp2_hd_deflater *deflater;
	nghttp2_hd_inflater *inflater;
	uint8_t block[16384];
	if (token == NULL || nghttp2_hd_deflate_new(&deflater, 4096) != 0 || nghttp2_hd_inflate_new(&inflater) != 0)
		abort();
	memset(token, 'x', length);
	const nghttp2_nv fields[] = {FIELD(":method", "GET"), FIELD(":scheme", "https"),
		FIELD(":authority", "localhost:8443"),
		FIELD(":path", "/api/public/0123456789abcdef0123456789abcdef/files/measurements.bin"),
		FIELD("user-agent", "bench/1"),
		{(uint8_t *)(uintptr_t) "authorization", (uint8_t *)token, 13, length, NGHTTP2_NV_FLAG_NO_INDEX}};
	/* no table: the same block can be decoded again and again */
	if (nghttp2_hd_deflate_change_table_size(deflater, 0) != 0)
		abort();
	ssize_t size = nghttp2_hd_deflate_hd(deflater, block, sizeof(block), fields, sizeof(fields) / sizeof(fields[0]));
	while (bench_continues(bench)) {
		const uint8_t *at = block;
		size_t left = size > 0 ? (size_t)size : 0;
		nghttp2_nv field;
		for (int flags = 0; left > 0 && (flags & NGHTTP2_HD_INFLATE_FINAL) == 0;) {
			ssize_t used = nghttp2_hd_inflate_hd2(inflater, &field, &flags, at, left, 1);
			if (used < 0) {
				bench_fail(bench, "the block was refused");
				break;
			}
			at += used;
			left -= (size_t)used;
			bench_keep(&field);
		}
		nghttp2_hd_inflate_end_headers(inflater);
	}
	nghttp2_hd_inflate_del(inflater);
	nghttp2_hd_deflate_del(deflater);
	free(token);
}

struct wire {
	nghttp2_session *client, *server;
	size_t payload;
	uint8_t *source;
};

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *into, size_t room, uint32_t *flags,
	nghttp2_data_source *source, void *context)
{
	const struct wire *wire = context;
	(void)session, (void)id, (void)flags, (void)source;
	size_t count = room < wire->payload ? room : wire->payload;
	memcpy(into, wire->source, count);
	return (ssize_t)count;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	const nghttp2_data_provider provider = {.read_callback = on_read};
	const nghttp2_nv status[] = {FIELD(":status", "200")};
	(void)context;
	if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
		nghttp2_submit_response(session, frame->hd.stream_id, status, 1, &provider);
	return 0;
}

static void pass(nghttp2_session *from, nghttp2_session *to)
{
	const uint8_t *bytes;
	for (ssize_t length; (length = nghttp2_session_mem_send(from, &bytes)) > 0;) {
		if (nghttp2_session_mem_recv(to, bytes, (size_t)length) < 0)
			abort();
	}
}

/* One DATA frame of `argument` bytes, produced in place by the session as on a TLS connection. */
static void body_frame(struct bench *bench)
{
	static uint8_t payload[16384];
	struct wire wire = {.payload = (size_t)bench_argument(bench), .source = payload};
	nghttp2_session_callbacks *callbacks;
	const nghttp2_nv request[] = {
		FIELD(":method", "GET"), FIELD(":scheme", "https"), FIELD(":authority", "a"), FIELD(":path", "/")};
	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		abort();
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	if (nghttp2_session_server_new(&wire.server, callbacks, &wire) != 0 ||
		nghttp2_session_client_new(&wire.client, callbacks, &wire) != 0)
		abort();
	nghttp2_submit_settings(wire.client, NGHTTP2_FLAG_NONE, NULL, 0);
	nghttp2_submit_settings(wire.server, NGHTTP2_FLAG_NONE, NULL, 0);
	nghttp2_submit_request(wire.client, NULL, request, 4, NULL, NULL);
	pass(wire.client, wire.server);
	bench_set_bytes(bench, (int64_t)wire.payload);
	size_t sent = 0;
	while (bench_continues(bench)) {
		const uint8_t *bytes;
		ssize_t length = nghttp2_session_mem_send(wire.server, &bytes);
		if (length <= 0) {
			bench_fail(bench, "no frame was produced");
			break;
		}
		bench_keep(bytes);
		sent += bytes[3] == NGHTTP2_DATA ? (size_t)length - 9 : 0;
		if (sent >= 32768) { /* the client gives back what it got */
			uint8_t update[26] = {0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 8, 0, 0, 0, 0, 1};
			update[11] = update[24] = (uint8_t)(sent >> 8);
			update[12] = update[25] = (uint8_t)sent;
			if (nghttp2_session_mem_recv(wire.server, update, sizeof(update)) != sizeof(update)) {
				bench_fail(bench, "the windows could not be opened");
				break;
			}
			sent = 0;
		}
	}
	nghttp2_session_del(wire.client);
	nghttp2_session_del(wire.server);
	nghttp2_session_callbacks_del(callbacks);
}

void register_http_benches(void)
{
	static const int64_t tokens[] = {43, 500}, payloads[] = {1024, 4096, 16375};
	bench_register("header_decode/token", header_decode, tokens, 2);
	bench_register("body_frame/payload", body_frame, payloads, 3);
}

void register_benches(void)
{
	register_route_benches();
	register_token_benches();
	register_http_benches();
	register_place_benches();
	register_beat_benches();
}
