/* Header filters: RFC 9110 section 7.6.1, and what the data plane keeps to itself. */
#include "tenants/dp/source/headers.h"

#include <string.h>

static const char *const to_source[] = {"range", "if-range", "if-none-match", "if-match", "if-modified-since",
	"if-unmodified-since", "accept", "accept-encoding", "accept-language", "tracestate", "want-repr-digest",
	"want-content-digest"};
static const char *const hop_by_hop[] = {"connection", "keep-alive", "proxy-connection", "proxy-authenticate",
	"proxy-authorization", "proxy-authentication-info", "te", "trailer", "transfer-encoding", "upgrade"};
static const char *const engine[] = {"content-length", "date"};
static const char *const clients_own[] = {"host", "content-length", "expect", "connection", "keep-alive",
	"proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"};

static const char *const not_in_trailers[] = {"age", "authorization", "cache-control", "cookie", "expires", "host",
	"location", "pragma", "range", "retry-after", "set-cookie", "vary", "warning", "www-authenticate"};

static bool is_in(struct text name, const char *const *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (text_equals(name, text_of(list[i])))
			return true;
	}
	return false;
}
#define IS_IN(name, list) is_in(name, list, sizeof(list) / sizeof((list)[0]))

bool header_goes_to_source(struct text name)
{
	return IS_IN(name, to_source);
}

static bool is_named_by_connection(struct text name, const struct header *headers, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!text_equals(headers[i].name, TEXT("connection")))
			continue;
		struct text rest = headers[i].value, part;
		for (bool done = false; text_next_part(&rest, ',', &part, &done);) {
			if (text_equals_ignoring_case(text_trim(part), name))
				return true;
		}
	}
	return false;
}

bool header_goes_to_consumer(struct text name, const struct header *headers, size_t count)
{
	if (name.length == 0 || name.bytes[0] == ':' || IS_IN(name, hop_by_hop) || IS_IN(name, engine))
		return false;
	return !is_named_by_connection(name, headers, count);
}

bool trailer_goes_to_consumer(struct text name)
{
	return header_goes_to_consumer(name, NULL, 0) && !text_starts_with(name, TEXT("content-")) &&
		   !IS_IN(name, not_in_trailers);
}

bool header_may_be_set(struct text name)
{
	for (size_t i = 0; i < name.length; i++) {
		char byte = name.bytes[i];
		bool is_token = (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
						(byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
		if (!is_token)
			return false;
	}
	return name.length > 0 && name.length <= 128 && !IS_IN(name, clients_own);
}

bool header_value_is_valid(struct text value)
{
	for (size_t i = 0; i < value.length; i++) {
		unsigned char byte = (unsigned char)value.bytes[i];
		if ((byte < 0x20 && byte != '\t') || byte == 0x7f)
			return false;
	}
	return value.length > 0 && value.length <= 8192;
}
