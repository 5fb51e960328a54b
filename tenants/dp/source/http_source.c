/* HTTP sources: checking and compiling the HttpData properties. */
#include "tenants/dp/source/http_source.h"

#include <stdlib.h>
#include <string.h>

#include "tenants/dp/source/headers.h"

enum { URL_MAX = 4096, HEADERS_MAX = 32 };
#define EDC_NAMESPACE "https://w3id.org/edc/v0.0.1/ns/"

/* Copies a property; absent leaves NULL. */
static enum status take(const struct json *properties, const char *name, char **into)
{
	struct text value = property(properties, name);
	if (value.bytes == NULL)
		return STATUS_OK;
	*into = text_copy(value);
	return *into == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static bool is_url_text(struct text text)
{
	for (size_t i = 0; i < text.length; i++) {
		if (text.bytes[i] <= 0x20 || text.bytes[i] >= 0x7f || text.bytes[i] == '#')
			return false;
	}
	return text.length <= URL_MAX;
}

static enum status read_url(const struct json *properties, struct http_source *source, struct buffer *error)
{
	struct text base = property(properties, "baseUrl"), path = property(properties, "path");
	struct text query = property(properties, "queryParams");
	if (base.length == 0 || base.length > URL_MAX)
		return buffer_invalid(error, "baseUrl", "must be an http or https URL");
	source->base_url = text_copy(base);
	if (source->base_url == NULL)
		return STATUS_NO_MEMORY;
	if (url_parse(text_of(source->base_url), &source->url) != STATUS_OK)
		return buffer_invalid(error, "baseUrl", "must be an http or https URL");
	if (!is_url_text(path) || text_find(path, '?') != path.length)
		return buffer_invalid(error, "path", "must be an escaped path without a query");
	if (!is_url_text(query))
		return buffer_invalid(error, "queryParams", "must be an escaped query");
	while (path.length > 0 && (path.bytes[0] == '/' || path.bytes[0] == '\\'))
		path = text_slice(path, 1, path.length);
	source->base = source->url.path;
	if (text_ends_with(source->base, TEXT("/")))
		source->base.length--;
	struct buffer text = {0};
	buffer_append(&text, path.length > 0 ? source->base : source->url.path);
	if (path.length > 0)
		buffer_append_byte(&text, '/');
	buffer_append(&text, path);
	source->path.length = text.length;
	bool failed = text.failed;
	source->path_text = buffer_take(&text);
	source->path.bytes = source->path_text;
	buffer_append(&text, source->url.query);
	if (source->url.query.length > 0 && query.length > 0)
		buffer_append_byte(&text, '&');
	buffer_append(&text, query);
	source->query.length = text.length;
	failed = failed || text.failed;
	source->query_text = buffer_take(&text);
	source->query.bytes = source->query.length > 0 ? source->query_text : NULL;
	return failed || source->path_text == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status read_flags(const struct json *properties, struct http_source *source, struct buffer *error)
{
	const struct {
		const char *name;
		bool *into;
	} flags[] = {{"proxyMethod", &source->proxy_method}, {"proxyPath", &source->proxy_path},
		{"proxyQueryParams", &source->proxy_query}, {"proxyBody", &source->proxy_body}};
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		struct text value = property(properties, flags[i].name);
		*flags[i].into = text_equals_ignoring_case(value, TEXT("true"));
		if (value.bytes != NULL && !*flags[i].into && !text_equals_ignoring_case(value, TEXT("false")))
			return buffer_invalid(error, flags[i].name, "must be \"true\" or \"false\"");
	}
	return STATUS_OK;
}

static enum status read_method(const struct json *properties, struct http_source *source, struct buffer *error)
{
	enum status status = take(properties, "method", &source->method);
	enum method method = METHOD_GET;
	if (status != STATUS_OK)
		return status;
	if (source->method != NULL && !method_parse(text_of(source->method), &method))
		return buffer_invalid(error, "method", "must be GET, HEAD, POST, PUT, DELETE or PATCH");
	if (source->method == NULL && (source->method = text_copy(TEXT("GET"))) == NULL)
		return STATUS_NO_MEMORY;
	if (source->proxy_method)
		source->methods = (1U << METHOD_COUNT) - 1;
	else /* a GET asks for what the dataset's method brings; HEAD can only be asked of a GET */
		source->methods = 1U << METHOD_GET | 1U << method | (method == METHOD_GET ? 1U << METHOD_HEAD : 0);
	status = take(properties, "contentType", &source->content_type);
	if (status == STATUS_OK && source->content_type != NULL && !header_value_is_valid(text_of(source->content_type)))
		return buffer_invalid(error, "contentType", "must be a media type");
	return status;
}

static enum status copy_lower(struct text name, char **into)
{
	char *copy = text_copy(name);
	if (copy == NULL)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < name.length; i++) {
		if (copy[i] >= 'A' && copy[i] <= 'Z')
			copy[i] = (char)(copy[i] + ('a' - 'A'));
	}
	*into = copy;
	return STATUS_OK;
}

static enum status add_header(
	struct http_source *source, const struct json *item, struct text name, struct buffer *error)
{
	char *lower;
	if (source->header_count == HEADERS_MAX)
		return buffer_invalid(error, json_name(item), "too many headers");
	enum status status = copy_lower(name, &lower);
	if (status != STATUS_OK)
		return status;
	struct header *header = &source->headers[source->header_count++];
	header->name = (struct text){lower, name.length};
	if (!header_may_be_set(header->name) || !header_value_is_valid(json_text(item)) ||
		text_equals(header->name, TEXT("content-type")))
		return buffer_invalid(error, json_name(item), "is no header a dataset may set");
	char *value = text_copy(json_text(item));
	header->value = (struct text){value, json_text(item).length};
	return value == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status read_headers(const struct json *properties, struct http_source *source, struct buffer *error)
{
	source->headers = calloc(HEADERS_MAX, sizeof(source->headers[0]));
	if (source->headers == NULL)
		return STATUS_NO_MEMORY;
	for (const struct json *item = json_first(properties); item != NULL; item = json_next(item)) {
		struct text name = text_of(json_name(item));
		if (text_starts_with(name, TEXT(EDC_NAMESPACE)))
			name = text_slice(name, sizeof(EDC_NAMESPACE) - 1, name.length);
		if (!text_starts_with(name, TEXT("header:")))
			continue;
		enum status status = add_header(source, item, text_slice(name, 7, name.length), error);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

static enum status read_key(const struct json *properties, struct credential_rules *rules, struct buffer *error)
{
	struct text key = property(properties, "authKey"), code = property(properties, "authCode");
	if (key.bytes == NULL)
		return STATUS_OK;
	enum status status = copy_lower(key, &rules->header);
	if (status != STATUS_OK)
		return status;
	if (!header_may_be_set(text_of(rules->header)))
		return buffer_invalid(error, "authKey", "is no header a dataset may set");
	if (code.bytes != NULL) {
		if (!header_value_is_valid(code))
			return buffer_invalid(error, "authCode", "must be a header value");
		rules->literal = secret_new(code);
		return rules->literal == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	}
	status = take(properties, "secretName", &rules->secret_name);
	if (status == STATUS_OK && rules->secret_name == NULL)
		return buffer_invalid(error, "authKey", "needs authCode or secretName");
	return status;
}

static enum status read_oauth2(const struct json *properties, struct credential_rules *rules, struct buffer *error)
{
	static const char key_name[] = "oauth2:clientSecretKey";
	if (property(properties, "oauth2:tokenUrl").bytes == NULL && property(properties, "oauth2:clientId").bytes == NULL)
		return STATUS_OK;
	const struct {
		const char *name;
		char **into;
		bool required;
	} fields[] = {{"oauth2:clientId", &rules->client_id, true}, {key_name, &rules->client_secret_key, true},
		{"oauth2:tokenUrl", &rules->token_url, true}, {"oauth2:scope", &rules->scope, false}};
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		enum status status = take(properties, fields[i].name, fields[i].into);
		if (status != STATUS_OK)
			return status;
		if (fields[i].required && (*fields[i].into == NULL || **fields[i].into == 0))
			return buffer_invalid(error, fields[i].name, "is missing");
	}
	struct url url;
	if (url_parse(text_of(rules->token_url), &url) != STATUS_OK)
		return buffer_invalid(error, "oauth2:tokenUrl", "must be an http or https URL");
	return STATUS_OK;
}

enum status http_source_build(const struct json *properties, unsigned workers, void **source, struct buffer *error)
{
	struct http_source *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->lane_count = workers;
	made->lanes = calloc(workers, sizeof(made->lanes[0]));
	enum status status = made->lanes == NULL ? STATUS_NO_MEMORY : read_url(properties, made, error);
	if (status == STATUS_OK)
		status = read_flags(properties, made, error);
	if (status == STATUS_OK)
		status = read_method(properties, made, error);
	if (status == STATUS_OK)
		status = read_headers(properties, made, error);
	if (status == STATUS_OK)
		status = read_key(properties, &made->credential, error);
	if (status == STATUS_OK)
		status = read_oauth2(properties, &made->credential, error);
	if (status != STATUS_OK) {
		http_source_free(made);
		return status;
	}
	*source = made;
	return STATUS_OK;
}

size_t http_source_headers(const struct http_source *source, const struct credential_lane *lane, struct header *headers)
{
	size_t count = 0;
	for (size_t i = 0; i < source->header_count; i++)
		headers[count++] = source->headers[i];
	if (source->credential.header != NULL) {
		const struct secret *value = source->credential.literal != NULL ? source->credential.literal : lane->value;
		if (value != NULL)
			headers[count++] = (struct header){text_of(source->credential.header), secret_expose(value)};
	}
	if (lane->bearer != NULL)
		headers[count++] = (struct header){TEXT("authorization"), secret_expose(lane->bearer)};
	return count;
}

static void free_rules(struct credential_rules *rules)
{
	char *const texts[] = {
		rules->header, rules->secret_name, rules->client_id, rules->client_secret_key, rules->scope, rules->token_url};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		free(texts[i]);
	secret_free(rules->literal);
}

void http_source_free(void *object)
{
	struct http_source *source = object;
	if (source == NULL)
		return;
	for (size_t i = 0; i < source->header_count; i++) {
		free((char *)(uintptr_t)source->headers[i].name.bytes);
		free((char *)(uintptr_t)source->headers[i].value.bytes);
	}
	for (unsigned i = 0; source->lanes != NULL && i < source->lane_count; i++)
		credential_forget(&source->lanes[i]);
	char *const texts[] = {
		source->base_url, source->path_text, source->query_text, source->method, source->content_type};
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		free(texts[i]);
	free_rules(&source->credential);
	free(source->headers);
	free(source->lanes);
	free(source);
}
