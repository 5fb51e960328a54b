/* Checks of heads: 0, or the status that refuses. */
#include "server/head_check.h"

#include <string.h>

enum { AUTHORITY_MAX = 255 + 6, TARGET_MAX = 16 * 1024 };

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

bool head_method_is_clean(struct text method)
{
	return check_method(method) == 0;
}

bool head_target_is_clean(struct text target)
{
	return target.length > 0 && target.bytes[0] == '/' && target.length <= TARGET_MAX &&
		   text_is_printable(target, '#', '\\') && text_find(target, ' ') == target.length &&
		   text_find(target, '%') == target.length;
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

bool head_authority_is_clean(struct text authority)
{
	for (size_t i = 0; i < authority.length; i++) {
		if (!is_host_byte((unsigned char)authority.bytes[i]))
			return false;
	}
	return authority.length > 0 && authority.length <= AUTHORITY_MAX;
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

bool head_scheme_is_clean(struct text scheme)
{
	return text_equals(scheme, TEXT("https")) || text_equals(scheme, TEXT("http"));
}

int head_check_fields(const struct exchange *exchange)
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
	if (refusal == 0 && !head_scheme_is_clean(exchange->scheme))
		refusal = 400;
	if (refusal == 0)
		refusal = take_authority(exchange);
	return refusal == 0 ? head_check_fields(exchange) : refusal;
}
