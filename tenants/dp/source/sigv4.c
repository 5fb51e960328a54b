/* Signature Version 4: canonical request, string to sign, derived key, signature. */
#include "tenants/dp/source/sigv4.h"

#include <time.h>

#include "server/base/secret.h"
#include "tenants/jose/digest.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
enum { DATE_LENGTH = 8 };

void sigv4_time(int64_t now_s, char into[SIGV4_TIME_LENGTH + 1])
{
	struct tm parts = {0};
	time_t moment = (time_t)now_s;
	gmtime_r(&moment, &parts);
	if (strftime(into, SIGV4_TIME_LENGTH + 1, "%Y%m%dT%H%M%SZ", &parts) == 0)
		into[0] = 0;
}

static bool is_unreserved(char byte)
{
	return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
		   byte == '-' || byte == '.' || byte == '_' || byte == '~';
}

void sigv4_escape(struct text text, bool keep_slash, struct buffer *into)
{
	for (size_t i = 0; i < text.length; i++) {
		char byte = text.bytes[i];
		if (is_unreserved(byte) || (keep_slash && byte == '/'))
			buffer_append_byte(into, byte);
		else
			buffer_printf(into, "%%%02X", (unsigned char)byte);
	}
}

/* Outer spaces go, inner runs become one. */
static void append_value(struct text value, struct buffer *into)
{
	struct text trimmed = text_trim(value);
	for (size_t i = 0; i < trimmed.length; i++) {
		if (trimmed.bytes[i] != ' ' || trimmed.bytes[i - 1] != ' ')
			buffer_append_byte(into, trimmed.bytes[i]);
	}
}

static void append_names(const struct sigv4_request *request, struct buffer *into)
{
	for (size_t i = 0; i < request->header_count; i++) {
		if (i > 0)
			buffer_append_byte(into, ';');
		buffer_append(into, request->headers[i].name);
	}
}

static void append_canonical(const struct sigv4_request *request, struct buffer *into)
{
	buffer_append(into, request->method);
	buffer_append_byte(into, '\n');
	buffer_append(into, request->path);
	buffer_append_byte(into, '\n');
	buffer_append(into, request->query);
	buffer_append_byte(into, '\n');
	for (size_t i = 0; i < request->header_count; i++) {
		buffer_append(into, request->headers[i].name);
		buffer_append_byte(into, ':');
		append_value(request->headers[i].value, into);
		buffer_append_byte(into, '\n');
	}
	buffer_append_byte(into, '\n');
	append_names(request, into);
	buffer_append_byte(into, '\n');
	buffer_append(into, request->payload);
}

static void append_scope(const struct sigv4_request *request, const char *time, struct buffer *into)
{
	buffer_append(into, (struct text){time, DATE_LENGTH});
	buffer_append_byte(into, '/');
	buffer_append(into, request->region);
	buffer_append_byte(into, '/');
	buffer_append(into, request->service);
	buffer_append(into, TEXT("/aws4_request"));
}

static enum status derive_key(
	const struct sigv4_request *request, const struct sigv4_keys *keys, const char *time, uint8_t key[DIGEST_BYTES])
{
	const struct text steps[] = {{time, DATE_LENGTH}, request->region, request->service, TEXT("aws4_request")};
	struct buffer first = {0};
	buffer_append(&first, TEXT("AWS4"));
	buffer_append(&first, keys->secret_key);
	enum status status = first.failed ? STATUS_NO_MEMORY : digest_hmac(buffer_text(&first), steps[0], key);
	buffer_wipe(&first);
	for (size_t i = 1; i < sizeof(steps) / sizeof(steps[0]) && status == STATUS_OK; i++)
		status = digest_hmac((struct text){(const char *)key, DIGEST_BYTES}, steps[i], key);
	return status;
}

enum status sigv4_sign(const struct sigv4_request *request, const struct sigv4_keys *keys,
	const char time[SIGV4_TIME_LENGTH + 1], struct buffer *into)
{
	uint8_t hash[DIGEST_BYTES], key[DIGEST_BYTES];
	char hex[DIGEST_HEX + 1];
	struct buffer text = {0};
	append_canonical(request, &text);
	enum status status = text.failed ? STATUS_NO_MEMORY : digest_of(buffer_text(&text), hash);
	if (status == STATUS_OK) {
		digest_hex(hash, hex);
		buffer_clear(&text);
		buffer_printf(&text, ALGORITHM "\n%s\n", time);
		append_scope(request, time, &text);
		buffer_printf(&text, "\n%s", hex);
		status = text.failed ? STATUS_NO_MEMORY : derive_key(request, keys, time, key);
	}
	if (status == STATUS_OK)
		status = digest_hmac((struct text){(const char *)key, DIGEST_BYTES}, buffer_text(&text), hash);
	wipe(key, sizeof(key));
	buffer_free(&text);
	if (status != STATUS_OK)
		return status;
	digest_hex(hash, hex);
	buffer_append(into, TEXT(ALGORITHM " Credential="));
	buffer_append(into, keys->access_key);
	buffer_append_byte(into, '/');
	append_scope(request, time, into);
	buffer_append(into, TEXT(", SignedHeaders="));
	append_names(request, into);
	buffer_printf(into, ", Signature=%s", hex);
	return into->failed ? STATUS_NO_MEMORY : STATUS_OK;
}
