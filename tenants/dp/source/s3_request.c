/* S3: where a bucket is, and what a request to it looks like. */
#include "tenants/dp/source/s3_request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/secret.h"
#include "tenants/dp/source/source.h"

enum { BUCKET_MIN = 3, BUCKET_MAX = 63, REGION_MAX = 64, ALIAS_MAX = 256, KEY_TEXT_MAX = 8192 };

static bool is_lower_or_digit(char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9');
}

/* Letters and digits with single marks between them: fit for a host name. */
static bool is_label(struct text text, const char *marks, size_t minimum, size_t maximum)
{
	if (text.length < minimum || text.length > maximum)
		return false;
	bool was_mark = true;
	for (size_t i = 0; i < text.length; i++) {
		bool is_mark = text.bytes[i] != 0 && strchr(marks, text.bytes[i]) != NULL;
		if (!is_mark && !is_lower_or_digit(text.bytes[i]))
			return false;
		if (is_mark && text.bytes[i] == '.' && was_mark)
			return false;
		was_mark = is_mark;
		if (is_mark && (i == 0 || i + 1 == text.length))
			return false;
	}
	return true;
}

static enum status refuse_inline_secrets(const struct json *properties, struct buffer *error)
{
	static const char *const names[] = {"accessKeyId", "secretAccessKey", "sessionToken", "secret"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (property(properties, names[i]).bytes != NULL)
			return buffer_invalid(
				error, names[i], "a secret is not kept in a record: put it into the vault, name it in keyName");
	}
	return STATUS_OK;
}

static enum status read_secret_name(const struct json *properties, struct s3_bucket *bucket, struct buffer *error)
{
	struct text name = property(properties, "keyName");
	if (name.bytes == NULL)
		name = property(properties, "secretName");
	if (name.length == 0 || name.length > ALIAS_MAX)
		return buffer_invalid(error, "keyName", "must name a secret of the vault");
	bucket->secret_name = text_copy(name);
	return bucket->secret_name == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

/* The style of addressing: true is the bucket in the path. */
static enum status read_style(const struct json *properties, struct text bucket, bool *in_path, struct buffer *error)
{
	struct text style = property(properties, "addressingStyle");
	*in_path = property(properties, "endpointOverride").bytes != NULL;
	if (style.bytes != NULL) {
		*in_path = text_equals(style, TEXT("path"));
		if (!*in_path && !text_equals(style, TEXT("virtual")))
			return buffer_invalid(error, "addressingStyle", "must be \"path\" or \"virtual\"");
	} else if (text_find(bucket, '.') < bucket.length) {
		*in_path = true; /* no certificate of a store covers two labels */
	}
	return STATUS_OK;
}

static enum status read_origin(
	const struct json *properties, struct text bucket, bool in_path, struct s3_bucket *into, struct buffer *error)
{
	struct text endpoint = property(properties, "endpointOverride");
	struct buffer text = {0};
	if (endpoint.bytes == NULL)
		buffer_printf(&text, "https://s3.%s.amazonaws.com", into->region);
	else
		buffer_append(&text, endpoint);
	struct url given;
	if (text.failed || url_parse(buffer_text(&text), &given) != STATUS_OK || !text_equals(given.path, TEXT("/")) ||
		given.query.bytes != NULL) {
		bool failed = text.failed;
		buffer_free(&text);
		return failed ? STATUS_NO_MEMORY
					  : buffer_invalid(error, "endpointOverride", "must be an http or https URL without a path");
	}
	struct buffer origin = {0}, host = {0};
	bool is_v6 = text_find(given.host, ':') < given.host.length;
	buffer_printf(&origin, "%s://%.*s%s%s%.*s%s:%u", given.tls ? "https" : "http", in_path ? 0 : (int)bucket.length,
		bucket.bytes, in_path ? "" : ".", is_v6 ? "[" : "", TEXT_ARGUMENTS(given.host), is_v6 ? "]" : "", given.port);
	buffer_free(&text);
	bool failed = origin.failed;
	into->origin = buffer_take(&origin);
	if (failed || into->origin == NULL)
		return STATUS_NO_MEMORY;
	if (url_parse(text_of(into->origin), &into->url) != STATUS_OK)
		return buffer_invalid(
			error, "endpointOverride", "gives no host with the bucket before it: use addressingStyle \"path\"");
	buffer_printf(&host, is_v6 ? "[%.*s]" : "%.*s", TEXT_ARGUMENTS(into->url.host));
	if (into->url.port != (into->url.tls ? 443 : 80))
		buffer_printf(&host, ":%u", into->url.port);
	failed = host.failed;
	into->host = buffer_take(&host);
	return failed ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status s3_bucket_build(const struct json *properties, struct s3_bucket *bucket, struct buffer *error)
{
	struct text name = property(properties, "bucketName"), region = property(properties, "region");
	bool in_path = false;
	*bucket = (struct s3_bucket){0};
	enum status status = refuse_inline_secrets(properties, error);
	if (status == STATUS_OK && !is_label(name, ".-", BUCKET_MIN, BUCKET_MAX))
		status = buffer_invalid(error, "bucketName", "must be the name of a bucket");
	if (status == STATUS_OK && !is_label(region, "-", 1, REGION_MAX))
		status = buffer_invalid(error, "region", "must be the name of a region");
	if (status == STATUS_OK)
		status = read_secret_name(properties, bucket, error);
	if (status == STATUS_OK)
		status = read_style(properties, name, &in_path, error);
	if (status == STATUS_OK && (bucket->region = text_copy(region)) == NULL)
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		status = read_origin(properties, name, in_path, bucket, error);
	if (status == STATUS_OK &&
		asprintf(&bucket->base, "%s%.*s", in_path ? "/" : "", in_path ? (int)name.length : 0, name.bytes) < 0) {
		bucket->base = NULL;
		status = STATUS_NO_MEMORY;
	}
	if (status != STATUS_OK)
		s3_bucket_clear(bucket);
	return status;
}

void s3_bucket_clear(struct s3_bucket *bucket)
{
	char *const texts[] = {bucket->origin, bucket->host, bucket->base, bucket->region, bucket->secret_name};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		free(texts[i]);
	*bucket = (struct s3_bucket){0};
}

/* --- requests */

static bool is_key_text(struct text text)
{
	for (size_t i = 0; i < text.length; i++) {
		if (text.bytes[i] <= 0x20 || text.bytes[i] >= 0x7f)
			return false;
	}
	return text.length > 0 && text.length <= KEY_TEXT_MAX;
}

static enum status read_keys(struct text secret, struct s3_call *call, struct sigv4_keys *keys)
{
	static const struct json_limits limits = {65536, 4, 64};
	enum status status = json_parse(secret, &limits, &call->keys);
	if (status != STATUS_OK)
		return status == STATUS_NO_MEMORY ? status : STATUS_UNAUTHORIZED;
	keys->access_key = json_member_text(call->keys, "accessKeyId");
	keys->secret_key = json_member_text(call->keys, "secretAccessKey");
	keys->session_token = json_member_text(call->keys, "sessionToken");
	bool is_good = is_key_text(keys->access_key) && text_find(keys->access_key, '/') == keys->access_key.length &&
				   is_key_text(keys->secret_key) &&
				   (keys->session_token.bytes == NULL || is_key_text(keys->session_token));
	return is_good ? STATUS_OK : STATUS_UNAUTHORIZED;
}

enum status s3_call_build(const struct s3_bucket *bucket, const struct s3_request *request, struct text secret,
	int64_t now_s, struct s3_call *call)
{
	struct sigv4_keys keys;
	if (request->key.length > S3_KEY_MAX || request->header_count > S3_HEADERS_MAX - 6)
		return STATUS_TOO_LARGE;
	enum status status = read_keys(secret, call, &keys);
	if (status != STATUS_OK)
		return status;
	sigv4_time(now_s, call->time);
	buffer_append(&call->path, text_of(bucket->base));
	buffer_append_byte(&call->path, '/');
	sigv4_escape(request->key, true, &call->path);
	call->headers[call->header_count++] = (struct header){TEXT("host"), text_of(bucket->host)};
	call->headers[call->header_count++] = (struct header){TEXT("x-amz-content-sha256"), request->payload};
	call->headers[call->header_count++] = (struct header){TEXT("x-amz-date"), text_of(call->time)};
	if (keys.session_token.bytes != NULL)
		call->headers[call->header_count++] = (struct header){TEXT("x-amz-security-token"), keys.session_token};
	const struct sigv4_request to_sign = {.method = request->method,
		.path = buffer_text(&call->path),
		.query = request->query,
		.headers = call->headers,
		.header_count = call->header_count,
		.payload = request->payload,
		.region = text_of(bucket->region),
		.service = TEXT("s3")};
	status = call->path.failed ? STATUS_NO_MEMORY : sigv4_sign(&to_sign, &keys, call->time, &call->authorization);
	if (status != STATUS_OK)
		return status;
	call->headers[call->header_count++] = (struct header){TEXT("authorization"), buffer_text(&call->authorization)};
	for (size_t i = 0; i < request->header_count; i++)
		call->headers[call->header_count++] = request->headers[i];
	call->url = bucket->url;
	call->url.path = buffer_text(&call->path);
	call->url.query = request->query;
	return STATUS_OK;
}

void s3_call_clear(struct s3_call *call)
{
	json_free(call->keys);
	buffer_free(&call->path);
	buffer_free(&call->authorization);
	*call = (struct s3_call){0};
}
