/* The head of an upstream request, as HTTP/1.1 spells it. */
#include <stdlib.h>
#include <string.h>

#include "server/base/escape.h"
#include "server/client_private.h"

enum { HEAD_USUAL = 1000, NUMBER_ROOM = 24 };

static const struct text version = {" HTTP/1.1\r\nHost: ", 17}, between = {": ", 2}, line_end = {"\r\n", 2};
static const struct text chunked = {"Transfer-Encoding: chunked\r\n", 28}, length_name = {"Content-Length: ", 16};

static bool is_own(struct text name)
{
	static const struct text own[] = {TEXT("host"), TEXT("connection"), TEXT("transfer-encoding"),
		TEXT("content-length"), TEXT("te"), TEXT("keep-alive"), TEXT("proxy-connection"), TEXT("upgrade"),
		TEXT("expect"), TEXT("trailer"), TEXT("http2-settings")};
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		if (text_equals(name, own[i]))
			return true;
	}
	return false;
}

/* At least what print_head writes. */
static size_t head_room(const struct client_request *request)
{
	const struct url *url = request->url;
	size_t room = request->method.length + url->path.length + url->query.length + url->host.length + version.length +
				  chunked.length + 2 * NUMBER_ROOM + sizeof(" ?[]:\r\n\r\n");
	for (size_t i = 0; i < request->header_count; i++)
		room += request->headers[i].name.length + between.length + request->headers[i].value.length + line_end.length;
	return room;
}

static char *put(char *at, struct text text)
{
	if (text.length > 0)
		memcpy(at, text.bytes, text.length);
	return at + text.length;
}

static char *put_host(char *at, const struct url *url)
{
	bool is_v6 = text_find(url->host, ':') < url->host.length;
	at = put(at, is_v6 ? TEXT("[") : TEXT_NONE);
	at = put(at, url->host);
	at = put(at, is_v6 ? TEXT("]") : TEXT_NONE);
	if (url->port == (url->tls ? 443 : 80))
		return at;
	*at++ = ':';
	return at + format_integer(url->port, at);
}

static bool has_length(const struct client_request *request)
{
	return request->body_length > 0 || text_equals(request->method, TEXT("POST")) ||
		   text_equals(request->method, TEXT("PUT")) || text_equals(request->method, TEXT("PATCH"));
}

/* NULL: something in it cannot stand in a line. */
static char *print_head(char *at, const struct client_request *request)
{
	const struct url *url = request->url;
	const char *line = at;
	at = put(at, request->method);
	*at++ = ' ';
	at = put(at, url->path);
	if (url->query.bytes != NULL) {
		*at++ = '?';
		at = put(at, url->query);
	}
	if (!text_is_line((struct text){line, (size_t)(at - line)}))
		return NULL;
	at = put(put_host(put(at, version), url), line_end);
	for (size_t i = 0; i < request->header_count; i++) {
		const struct header *header = &request->headers[i];
		if (is_own(header->name))
			continue;
		line = at;
		at = put(put(put(at, header->name), between), header->value);
		if (!text_is_line((struct text){line, (size_t)(at - line)}))
			return NULL;
		at = put(at, line_end);
	}
	if (request->body_length < 0) {
		at = put(at, chunked);
	} else if (has_length(request)) {
		at = put(at, length_name);
		at = put(at + format_integer(request->body_length, at), line_end);
	}
	return put(at, line_end);
}

enum status call_print_request(struct client_call *call, const struct client_request *request)
{
	size_t room = head_room(request);
	if (room > call->text_room) {
		size_t usual = room < HEAD_USUAL ? HEAD_USUAL : room;
		free(call->text);
		call->text = malloc(usual);
		call->text_room = call->text == NULL ? 0 : usual;
		if (call->text == NULL)
			return STATUS_NO_MEMORY;
	}
	const char *end = print_head(call->text, request);
	if (end == NULL)
		return STATUS_INVALID;
	call->text_length = (size_t)(end - call->text);
	return STATUS_OK;
}
