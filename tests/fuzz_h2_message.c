/* Any fields as the head and the trailers of an HTTP/2 request, with a body of any length: server/h2_message.h and
 * nghttp2 say the same of it.
 *
 * Input: a byte of flags, two of the body's length; then fields, each a byte of kind and the lengths of its name and
 * value, and their bytes. A kind chooses a name (and perhaps its value) that means something. */
#include "tests/h2_message_peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum {
	FIELDS_MAX = 12,
	FLAG_BODY = 1,
	FLAG_TRAILERS = 2,
	FLAG_OPEN = 4,
	FLAG_USUAL = 8,
	OWN_VALUE = 0x80,
	TRAILER = 0x40
};

static const struct header known[] = {
	{{":method", 7}, {"GET", 3}},
	{{":method", 7}, {"CONNECT", 7}},
	{{":method", 7}, {"OPTIONS", 7}},
	{{":path", 5}, {"/", 1}},
	{{":path", 5}, {"*", 1}},
	{{":scheme", 7}, {"https", 5}},
	{{":scheme", 7}, {"HtTp", 4}},
	{{":authority", 10}, {"a", 1}},
	{{":protocol", 9}, {"a", 1}},
	{{":status", 7}, {"200", 3}},
	{{"host", 4}, {"a", 1}},
	{{"te", 2}, {"trailers", 8}},
	{{"content-length", 14}, {"5", 1}},
	{{"content-length", 14}, {"0", 1}},
	{{"connection", 10}, {"close", 5}},
	{{"keep-alive", 10}, {"1", 1}},
	{{"proxy-connection", 16}, {"close", 5}},
	{{"transfer-encoding", 17}, {"chunked", 7}},
	{{"upgrade", 7}, {"h2c", 3}},
	{{"priority", 8}, {"u=1", 3}},
};
enum { KNOWN = sizeof(known) / sizeof(known[0]) };

static struct text take(const uint8_t **at, const uint8_t *end, size_t length)
{
	struct text text = {(const char *)*at, length < (size_t)(end - *at) ? length : (size_t)(end - *at)};
	*at += text.length;
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	const uint8_t *at = bytes, *end = bytes + length;
	struct header head[FIELDS_MAX + 4], trailers[FIELDS_MAX];
	struct message_input input = {.head = head, .trailers = trailers};
	if (length < 3)
		return 0;
	unsigned flags = *at++;
	input.body = ((size_t)at[0] << 8 | at[1]) % 16384;
	at += 2;
	input.has_body = (flags & FLAG_BODY) != 0;
	input.has_trailers = (flags & FLAG_TRAILERS) != 0;
	input.is_open = (flags & FLAG_OPEN) != 0;
	if ((flags & FLAG_USUAL) != 0) {
		static const uint8_t usual[] = {0, 3, 5, 7};
		for (size_t i = 0; i < sizeof(usual); i++)
			head[input.head_count++] = known[usual[i]];
	}
	for (size_t i = 0; i < FIELDS_MAX && end - at >= 3; i++) {
		unsigned kind = at[0], name_length = at[1], value_length = at[2];
		at += 3;
		struct header field = {take(&at, end, name_length), take(&at, end, value_length)};
		if ((kind & 0x3f) < KNOWN) {
			field.name = known[kind & 0x3f].name;
			if ((kind & OWN_VALUE) == 0)
				field.value = known[kind & 0x3f].value;
		}
		if ((kind & TRAILER) == 0)
			head[input.head_count++] = field;
		else if (input.has_trailers)
			trailers[input.trailer_count++] = field;
	}
	if (message_is_fine(&input) != message_is_fine_to_nghttp2(&input))
		abort();
	return 0;
}
