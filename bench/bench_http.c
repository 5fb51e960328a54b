/* Heads and frames of HTTP/2 as the engine reads and writes them. */
#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

#include "bench/benches.h"
#include "server/answer_head.h"
#include "server/frame_reader.h"
#include "server/header_block.h"

#define FIELD(name, value)                                                                                             \
	{                                                                                                                  \
		(uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, sizeof(name) - 1, sizeof(value) - 1,                  \
			NGHTTP2_NV_FLAG_NONE                                                                                       \
	}

static void take_field(void *context, const struct header_field *field)
{
	(void)context;
	bench_keep(field);
}

/* A pull's head with a token of `argument` bytes, every field literal, as after a new connection; its strings came
 * before. */
static void header_decode(struct bench *bench)
{
	size_t length = (size_t)bench_argument(bench);
	char *token = malloc(length + 1);
	nghttp2_hd_deflater *deflater;
	struct known_strings *known = known_strings_new();
	const struct header_sink sink = {take_field, NULL};
	struct header_decoder decoder;
	uint8_t block[16384];
	if (token == NULL || known == NULL || nghttp2_hd_deflate_new(&deflater, 4096) != 0)
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
	header_decoder_open(&decoder);
	while (bench_continues(bench)) {
		if (header_block_read(&decoder, block, size > 0 ? (size_t)size : 0, true, known, &sink) != STATUS_OK) {
			bench_fail(bench, "the block was refused");
			break;
		}
	}
	header_decoder_close(&decoder);
	known_strings_free(known);
	nghttp2_hd_deflate_del(deflater);
	free(token);
}

/* The head of a pulled file. */
static void answer_head(struct bench *bench)
{
	const struct header fields[] = {{TEXT("date"), TEXT("Thu, 26 Nov 2026 09:00:00 GMT")},
		{TEXT("content-length"), TEXT("1024")}, {TEXT("content-type"), TEXT("application/json")},
		{TEXT("etag"), TEXT("\"0123456789abcdef0123456789abcdef\"")},
		{TEXT("last-modified"), TEXT("Thu, 26 Nov 2026 08:00:00 GMT")}, {TEXT("accept-ranges"), TEXT("bytes")}};
	const size_t count = sizeof(fields) / sizeof(fields[0]);
	uint8_t block[1024];
	if (answer_head_room(fields, count) > sizeof(block))
		abort();
	while (bench_continues(bench)) {
		size_t length = answer_head_write(block, 200, fields, count);
		bench_keep(&length);
	}
}

/* 64 KiB of input that is frames of HEADERS with `argument` bytes. */
static void frame_read(struct bench *bench)
{
	static uint8_t input[64 * 1024];
	size_t payload = (size_t)bench_argument(bench), frames = sizeof(input) / (FRAME_HEAD + payload), seen;
	struct frame_reader reader = {0};
	for (size_t i = 0; i < frames; i++)
		frame_head_write(input + i * (FRAME_HEAD + payload), payload, FRAME_HEADERS, 0, 1);
	bench_set_bytes(bench, (int64_t)(frames * (FRAME_HEAD + payload)));
	while (bench_continues(bench)) {
		struct text left = {(const char *)input, frames * (FRAME_HEAD + payload)}, piece;
		for (seen = 0; frame_reader_next(&reader, &left, &piece) == PIECE_FRAME; seen++)
			bench_keep(piece.bytes);
		if (seen != frames)
			bench_fail(bench, "frames are missing");
	}
	frame_reader_close(&reader);
}

void register_http_benches(void)
{
	static const int64_t tokens[] = {43, 500}, payloads[] = {100, 1000};
	bench_register("header_decode/token", header_decode, tokens, 2);
	bench_register("answer_head", answer_head, NULL, 0);
	bench_register("frame_read/payload", frame_read, payloads, 2);
}

void register_benches(void)
{
	register_route_benches();
	register_token_benches();
	register_http_benches();
	register_place_benches();
	register_beat_benches();
}
