/* Heads of HTTP/2 requests. */
#include "server/h2_head.h"

#include <string.h>

enum { AUTHORITY_MAX = 255 + 6, TARGET_MAX = 16 * 1024 };

static bool set_pseudo_field(struct exchange *exchange, struct text name, struct text value)
{
	const struct {
		struct text name;
		struct text *into;
	} fields[] = {{TEXT(":method"), &exchange->method}, {TEXT(":path"), &exchange->target},
		{TEXT(":authority"), &exchange->authority}, {TEXT(":scheme"), &exchange->scheme}};
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (!text_equals(fields[i].name, name))
			continue;
		*fields[i].into = value;
		return true;
	}
	return false;
}

static struct text text_in(nghttp2_rcbuf *buffer)
{
	nghttp2_vec bytes = nghttp2_rcbuf_get_buf(buffer);
	return (struct text){(const char *)bytes.base, bytes.len};
}

static bool hold(struct stream *stream, nghttp2_rcbuf *buffer)
{
	if (nghttp2_rcbuf_is_static(buffer))
		return true;
	if (stream->held_count == stream->held_room) {
		uint16_t room = stream->held_room == 0 ? 32 : (uint16_t)(stream->held_room * 2);
		void **more = exchange_allocate(&stream->exchange, room * sizeof(*more));
		if (more == NULL)
			return false;
		if (stream->held_count > 0)
			memcpy(more, stream->held, stream->held_count * sizeof(*more));
		stream->held = more;
		stream->held_room = room;
	}
	nghttp2_rcbuf_incref(buffer);
	stream->held[stream->held_count++] = buffer;
	return true;
}

void h2_head_release(struct stream *stream)
{
	while (stream->held_count > 0)
		nghttp2_rcbuf_decref(stream->held[--stream->held_count]);
	if (!stream->is_refused)
		return;
	stream->header_count = 0;
	stream->exchange.authority = stream->exchange.target = TEXT_NONE;
	stream->exchange.method = TEXT("GET"); /* only the refusal asks, and it has a body */
}

struct h2_field h2_field_of(nghttp2_rcbuf *name, nghttp2_rcbuf *value)
{
	return (struct h2_field){name, value, text_in(name), text_in(value), nghttp2_rcbuf_is_static(name) != 0};
}

enum status h2_head_add(struct stream *stream, const struct h2_field *field)
{
	enum status status = stream_count_header(stream, field->name, field->value);
	if (status != STATUS_OK)
		return status;
	bool is_pseudo = field->name.length > 0 && field->name.bytes[0] == ':';
	if (!hold(stream, field->value_buffer) || (!is_pseudo && !field->is_known && !hold(stream, field->name_buffer)))
		return STATUS_NO_MEMORY;
	if (!is_pseudo)
		return stream_list_header(stream, field->name, field->value);
	if (!set_pseudo_field(&stream->exchange, field->name, field->value))
		stream->refusal = 400;
	return STATUS_OK;
}

/* --- checks: 0, or the status that refuses */

static int check_method(struct text method)
{
	if (method.length == 0 || method.length > 32 || text_equals(method, TEXT("PRI")))
		return 400;
	for (size_t i = 0; i < method.length; i++) {
		if (!((method.bytes[i] >= 'A' && method.bytes[i] <= 'Z') || method.bytes[i] == '-'))
			return 400;
	}
	return text_equals(method, TEXT("CONNECT")) || text_equals(method, TEXT("TRACE")) ? 405 : 0;
}

static int check_target(const struct exchange *exchange)
{
	struct text target = exchange->target;
	if (text_equals(target, TEXT("*")) && text_equals(exchange->method, TEXT("OPTIONS")))
		return 0;
	if (target.length == 0 || target.bytes[0] != '/' || target.length > TARGET_MAX)
		return 400;
	if (!text_is_printable(target, '#', '\\') || text_find(target, ' ') < target.length)
		return 400;
	size_t escape = text_find(target, '%'); /* most have none */
	return memmem(target.bytes + escape, target.length - escape, "%00", 3) == NULL ? 0 : 400;
}

static bool is_host_byte(unsigned char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == ':' ||
		   byte == '[' || byte == ']' || byte == '_';
}

static int take_authority(struct exchange *exchange)
{
	unsigned hosts = exchange_header_count(exchange, TEXT("host"));
	struct text host = exchange_header(exchange, TEXT("host"));
	if (hosts > 1 ||
		(hosts == 1 && exchange->authority.bytes != NULL && !text_equals_ignoring_case(host, exchange->authority)))
		return 400;
	struct text authority = exchange->authority.bytes == NULL ? host : exchange->authority;
	if (authority.length == 0 || authority.length > AUTHORITY_MAX)
		return 400;
	authority = exchange_copy(exchange, authority);
	char *bytes = (char *)(uintptr_t)authority.bytes;
	if (bytes == NULL)
		return 503;
	exchange->authority = authority;
	for (size_t i = 0; i < authority.length; i++) {
		if (bytes[i] >= 'A' && bytes[i] <= 'Z')
			bytes[i] = (char)(bytes[i] + ('a' - 'A'));
		if (!is_host_byte((unsigned char)bytes[i]))
			return 400;
	}
	return 0;
}

static int check_fields(const struct exchange *exchange)
{
	for (unsigned i = 0; i < exchange->header_count; i++) {
		struct text name = exchange->headers[i].name;
		/* '_' and '-' become one on the way to many a backend */
		if (memchr(name.bytes, '_', name.length) != NULL || text_equals(name, TEXT("http2-settings")))
			return 400;
	}
	return 0;
}

int head_check(struct exchange *exchange)
{
	int refusal = check_method(exchange->method);
	if (refusal == 0)
		refusal = check_target(exchange);
	if (refusal == 0 && !text_equals(exchange->scheme, TEXT("https")) && !text_equals(exchange->scheme, TEXT("http")))
		refusal = 400;
	if (refusal == 0)
		refusal = take_authority(exchange);
	return refusal == 0 ? check_fields(exchange) : refusal;
}

static int64_t body_length(const struct exchange *exchange, bool is_end)
{
	uint64_t length;
	if (is_end)
		return 0;
	struct text given = exchange_header(exchange, TEXT("content-length"));
	if (given.bytes == NULL || text_to_unsigned(given, INT64_MAX, &length) != STATUS_OK)
		return -1;
	return (int64_t)length;
}

void h2_head_complete(struct stream *stream, bool is_end)
{
	struct exchange *exchange = &stream->exchange;
	exchange->headers = stream->headers;
	exchange->header_count = stream->header_count;
	if (stream->is_refused)
		stream->refusal = 431;
	else if (stream->refusal == 0)
		stream->refusal = (uint16_t)head_check(exchange);
	exchange->scheme = stream->connection->ssl != NULL ? TEXT("https") : TEXT("http");
	exchange->request_length = body_length(exchange, is_end);
	if (exchange->request_length > stream->connection->limits->request_body && stream->refusal == 0)
		stream->refusal = 413;
}
