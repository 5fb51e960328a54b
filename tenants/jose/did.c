/* did:web: mapping to URLs, documents in and out. */
#include "tenants/jose/did.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/json.h"

enum { METHODS_MAX = 64 };
static const struct text prefix = {"did:web:", 8};

struct did_document {
	size_t count;
	struct method {
		char *fragment;
		struct key *key;
	} methods[METHODS_MAX];
	char did[];
};

/* --- identifiers */

static int hex_value(char byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	if (byte >= 'a' && byte <= 'f')
		return byte - 'a' + 10;
	return byte >= 'A' && byte <= 'F' ? byte - 'A' + 10 : -1;
}

static bool is_unreserved(char byte)
{
	return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
		   (byte != 0 && strchr("-._~", byte) != NULL);
}

/* The byte of the escape at `at`, or -1. */
static int escaped(struct text text, size_t at)
{
	if (at + 3 > text.length || text.bytes[at] != '%')
		return -1;
	int high = hex_value(text.bytes[at + 1]), low = hex_value(text.bytes[at + 2]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool append_host(struct text host, struct buffer *url)
{
	size_t i = 0, start = url->length;
	for (; i < host.length && host.bytes[i] != '%'; i++) {
		char byte = host.bytes[i];
		if (!is_unreserved(byte) || byte == '_' || byte == '~')
			return false;
		buffer_append_byte(url, byte >= 'A' && byte <= 'Z' ? (char)(byte - 'A' + 'a') : byte);
	}
	if (url->length == start)
		return false;
	if (i == host.length)
		return true;
	uint64_t port;
	struct text digits = text_slice(host, i + 3 < host.length ? i + 3 : host.length, host.length);
	if (escaped(host, i) != ':' || text_to_unsigned(digits, 65535, &port) != STATUS_OK || port == 0)
		return false;
	buffer_append_byte(url, ':');
	buffer_append_number(url, (int64_t)port);
	return true;
}

/* Escapes of unreserved bytes are undone, all others stay: no escape may become a separator. */
static bool append_segment(struct text segment, struct buffer *url)
{
	char plain[DID_LENGTH_MAX];
	size_t length = 0;
	buffer_append_byte(url, '/');
	for (size_t i = 0; i < segment.length; i++) {
		int byte = (unsigned char)segment.bytes[i];
		if (byte == '%') {
			byte = escaped(segment, i);
			i += 2;
			if (byte < 0x21 || byte > 0x7e || byte == '/' || byte == '\\' || byte == '%')
				return false;
		} else if (!is_unreserved((char)byte)) {
			return false;
		}
		plain[length++] = (char)byte;
		if (is_unreserved((char)byte))
			buffer_append_byte(url, (char)byte);
		else
			buffer_printf(url, "%%%02X", (unsigned)byte);
	}
	struct text whole = {plain, length};
	return length > 0 && !text_equals(whole, TEXT(".")) && !text_equals(whole, TEXT(".."));
}

enum status did_web_url(struct text did, bool clear, struct buffer *url)
{
	if (did.length > DID_LENGTH_MAX || !text_starts_with(did, prefix))
		return STATUS_INVALID;
	struct text rest = text_slice(did, prefix.length, did.length), part;
	bool done = false;
	buffer_append(url, clear ? TEXT("http://") : TEXT("https://"));
	if (!text_next_part(&rest, ':', &part, &done) || !append_host(part, url))
		return url->failed ? STATUS_NO_MEMORY : STATUS_INVALID;
	if (done)
		buffer_append(url, TEXT("/.well-known"));
	while (text_next_part(&rest, ':', &part, &done)) {
		if (!append_segment(part, url))
			return STATUS_INVALID;
	}
	buffer_append(url, TEXT("/did.json"));
	return url->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

bool did_equals(struct text a, struct text b)
{
	if (a.length != b.length)
		return false;
	for (size_t i = 0; i < a.length; i++) {
		if (a.bytes[i] == '%' && escaped(a, i) >= 0 && escaped(a, i) == escaped(b, i))
			i += 2;
		else if (a.bytes[i] != b.bytes[i])
			return false;
	}
	return true;
}

/* --- documents */

/* Of an id in the document or a header's kid; TEXT_NONE: it is another DID's. */
static struct text fragment_of(struct text id, struct text did)
{
	size_t mark = text_find(id, '#');
	if (mark == id.length)
		return text_starts_with(id, TEXT("did:")) ? TEXT_NONE : id;
	struct text before = text_slice(id, 0, mark);
	if (text_starts_with(before, TEXT("did:")) && !did_equals(before, did))
		return TEXT_NONE;
	return text_slice(id, mark + 1, id.length);
}

static const struct key *find(const struct did_document *document, struct text fragment)
{
	for (size_t i = 0; fragment.length > 0 && i < document->count; i++) {
		if (text_equals(text_of(document->methods[i].fragment), fragment))
			return document->methods[i].key;
	}
	return NULL;
}

static bool is_usable(const struct json *method, struct text did)
{
	struct text type = json_member_text(method, "type"), controller = json_member_text(method, "controller");
	return (text_equals(type, TEXT("JsonWebKey2020")) || text_equals(type, TEXT("JsonWebKey"))) &&
		   (json_member(method, "controller") == NULL || did_equals(controller, did)) &&
		   json_kind(json_member(method, "publicKeyJwk")) == JSON_OBJECT;
}

static enum status add_method(struct did_document *document, const struct json *method, struct text did)
{
	struct text id = json_member_text(method, "id"), fragment = fragment_of(id, did);
	if (fragment.length == 0 || text_find(id, '#') == id.length || text_find(fragment, '#') < fragment.length ||
		!is_usable(method, did))
		return STATUS_OK;
	if (find(document, fragment) != NULL)
		return STATUS_INVALID;
	struct buffer jwk = {0};
	struct key *key = NULL;
	json_print(json_member(method, "publicKeyJwk"), &jwk);
	enum status status = jwk.failed ? STATUS_NO_MEMORY : key_from_public_jwk(buffer_text(&jwk), &key);
	buffer_free(&jwk);
	if (status != STATUS_OK)
		return status == STATUS_NO_MEMORY ? status : STATUS_OK; /* a kind of key that is not for us */
	char *copy = text_copy(fragment);
	if (copy == NULL) {
		key_free(key);
		return STATUS_NO_MEMORY;
	}
	document->methods[document->count++] = (struct method){copy, key};
	return STATUS_OK;
}

enum status did_document_parse(struct text json, struct text did, struct did_document **document)
{
	static const struct json_limits limits = {DID_DOCUMENT_MAX, 16, 4000};
	struct json *root = NULL;
	enum status status = json_parse(json, &limits, &root);
	if (status != STATUS_OK)
		return status == STATUS_NO_MEMORY ? status : STATUS_INVALID;
	struct did_document *made = calloc(1, sizeof(*made) + did.length + 1);
	const struct json *methods = json_member(root, "verificationMethod");
	if (made == NULL)
		status = STATUS_NO_MEMORY;
	else if (did.length == 0 || !did_equals(json_member_text(root, "id"), did) ||
			 (methods != NULL && json_kind(methods) != JSON_ARRAY))
		status = STATUS_INVALID;
	if (status == STATUS_OK)
		memcpy(made->did, did.bytes, did.length);
	size_t seen = 0;
	for (const struct json *item = json_first(methods); status == STATUS_OK && item != NULL && seen < METHODS_MAX;
		 item = json_next(item), seen++)
		status = add_method(made, item, did);
	json_free(root);
	if (status != STATUS_OK) {
		did_document_free(made);
		return status;
	}
	*document = made;
	return STATUS_OK;
}

size_t did_document_count(const struct did_document *document)
{
	return document->count;
}

const struct key *did_document_find(const struct did_document *document, struct text kid)
{
	return find(document, fragment_of(kid, text_of(document->did)));
}

void did_document_free(struct did_document *document)
{
	for (size_t i = 0; document != NULL && i < document->count; i++) {
		free(document->methods[i].fragment);
		key_free(document->methods[i].key);
	}
	free(document);
}

/* --- our own */

static void append_id(struct text did, const struct key *key, struct buffer *into)
{
	struct buffer id = {0};
	struct text kid = key_id(key);
	size_t mark = text_find(kid, '#');
	buffer_append(&id, did);
	buffer_append_byte(&id, '#');
	buffer_append(&id, mark == kid.length ? kid : text_slice(kid, mark + 1, kid.length));
	into->failed = into->failed || id.failed;
	buffer_append_json(into, buffer_text(&id));
	buffer_free(&id);
}

static void append_relation(
	const char *name, struct text did, struct key *const *keys, size_t count, struct buffer *into)
{
	buffer_printf(into, ",\"%s\":[", name);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			buffer_append_byte(into, ',');
		append_id(did, keys[i], into);
	}
	buffer_append_byte(into, ']');
}

/* The key's own text, but under the method's id. */
static enum status append_method(struct text did, const struct key *key, struct buffer *into)
{
	struct buffer jwk = {0};
	struct json *root = NULL;
	enum status status = key_to_public_jwk(key, &jwk);
	if (status == STATUS_OK)
		status = json_parse(buffer_text(&jwk), NULL, &root);
	if (status == STATUS_OK) {
		json_remove(root, "kid");
		buffer_append(into, TEXT("{\"id\":"));
		append_id(did, key, into);
		buffer_append(into, TEXT(",\"type\":\"JsonWebKey2020\",\"controller\":"));
		buffer_append_json(into, did);
		buffer_append(into, TEXT(",\"publicKeyJwk\":"));
		json_print(root, into);
		buffer_append_byte(into, '}');
	}
	json_free(root);
	buffer_free(&jwk);
	return status;
}

enum status did_document_print(struct text did, struct key *const *keys, size_t count, struct buffer *into)
{
	enum status status = STATUS_OK;
	buffer_append(into, TEXT("{\"@context\":[\"https://www.w3.org/ns/did/v1\","
							 "\"https://w3id.org/security/suites/jws-2020/v1\"],\"id\":"));
	buffer_append_json(into, did);
	buffer_append(into, TEXT(",\"verificationMethod\":["));
	for (size_t i = 0; i < count && status == STATUS_OK; i++) {
		if (i > 0)
			buffer_append_byte(into, ',');
		status = append_method(did, keys[i], into);
	}
	buffer_append_byte(into, ']');
	append_relation("authentication", did, keys, count, into);
	append_relation("assertionMethod", did, keys, count, into);
	append_relation("capabilityInvocation", did, keys, count, into);
	buffer_append_byte(into, '}');
	return status == STATUS_OK && into->failed ? STATUS_NO_MEMORY : status;
}
