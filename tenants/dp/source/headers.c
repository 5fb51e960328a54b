/* Header filters: RFC 9110 section 7.6.1, and what the data plane keeps to itself. */
#include "tenants/dp/source/headers.h"

#include <string.h>

static const struct text to_source[] = {TEXT("range"), TEXT("if-range"), TEXT("if-none-match"), TEXT("if-match"),
	TEXT("if-modified-since"), TEXT("if-unmodified-since"), TEXT("accept"), TEXT("accept-encoding"),
	TEXT("accept-language"), TEXT("tracestate"), TEXT("want-repr-digest"), TEXT("want-content-digest")};
static const struct text hop_by_hop[] = {TEXT("connection"), TEXT("keep-alive"), TEXT("proxy-connection"),
	TEXT("proxy-authenticate"), TEXT("proxy-authorization"), TEXT("proxy-authentication-info"), TEXT("te"),
	TEXT("trailer"), TEXT("transfer-encoding"), TEXT("upgrade")};
static const struct text engine[] = {TEXT("content-length"), TEXT("date")};
static const struct text clients_own[] = {TEXT("host"), TEXT("content-length"), TEXT("expect"), TEXT("connection"),
	TEXT("keep-alive"), TEXT("proxy-connection"), TEXT("te"), TEXT("trailer"), TEXT("transfer-encoding"),
	TEXT("upgrade")};

static const struct text not_in_trailers[] = {TEXT("age"), TEXT("authorization"), TEXT("cache-control"), TEXT("cookie"),
	TEXT("expires"), TEXT("host"), TEXT("location"), TEXT("pragma"), TEXT("range"), TEXT("retry-after"),
	TEXT("set-cookie"), TEXT("vary"), TEXT("warning"), TEXT("www-authenticate")};

static bool is_in(struct text name, const struct text *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (text_equals(name, list[i]))
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
	return value.length > 0 && value.length <= 8192 && text_is_line(value);
}
