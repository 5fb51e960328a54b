/* Compact JWS: parsing, verification with a given key, and building. */
#include "tenants/jose/jws.h"

#include <string.h>

enum { SIGNATURE_BYTES = 64, CHUNK = 3 * 1024, TOKEN_DEPTH = 16, TOKEN_NODES = 1000 };

static const struct json_limits token_limits = {TOKEN_BYTES_MAX, TOKEN_DEPTH, TOKEN_NODES};

/* What a header must not say: all of these would change what is verified, or with which key. */
static const char *const forbidden[] = {"crit", "jku", "jwk", "x5u", "x5c", "b64", "zip"};

static const struct {
	struct text name;
	enum key_kind kind;
} algorithms[] = {
	{{"ES256", 5}, KEY_ES256},
	{{"EdDSA", 5}, KEY_EDDSA},
	{{"RS256", 5}, KEY_RS256},
};

static bool algorithm_find(struct text name, enum key_kind *kind)
{
	for (size_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]); i++) {
		if (text_equals(name, algorithms[i].name)) {
			*kind = algorithms[i].kind;
			return true;
		}
	}
	return false;
}

static enum status parse_object(struct text encoded, struct json **object)
{
	uint8_t bytes[TOKEN_BYTES_MAX];
	size_t length;
	struct json *root;
	enum status status = base64url_decode(encoded, bytes, sizeof(bytes), &length);
	if (status == STATUS_OK)
		status = json_parse((struct text){(const char *)bytes, length}, &token_limits, &root);
	if (status != STATUS_OK)
		return status == STATUS_NO_MEMORY ? status : STATUS_INVALID;
	if (json_kind(root) != JSON_OBJECT) {
		json_free(root);
		return STATUS_INVALID;
	}
	*object = root;
	return STATUS_OK;
}

static enum status read_header(struct jws *jws)
{
	enum key_kind kind;
	jws->algorithm = json_member_text(jws->header, "alg");
	jws->kid = json_member_text(jws->header, "kid");
	if (!algorithm_find(jws->algorithm, &kind))
		return STATUS_INVALID;
	if (json_member(jws->header, "kid") != NULL && jws->kid.bytes == NULL)
		return STATUS_INVALID;
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		if (json_member(jws->header, forbidden[i]) != NULL)
			return STATUS_INVALID;
	}
	/* that of an RSA key is as long as the key: compared when verifying */
	return kind == KEY_RS256 || jws->signature_length == SIGNATURE_BYTES ? STATUS_OK : STATUS_INVALID;
}

/* Exactly three parts. */
static bool split(struct text token, struct text parts[3])
{
	for (int i = 0; i < 2; i++) {
		size_t dot = text_find(token, '.');
		if (dot == token.length)
			return false;
		parts[i] = text_slice(token, 0, dot);
		token = text_slice(token, dot + 1, token.length);
	}
	parts[2] = token;
	return text_find(token, '.') == token.length;
}

enum status jws_parse(struct text token, struct jws *jws)
{
	*jws = (struct jws){.header = NULL};
	struct text parts[3];
	if (token.bytes == NULL || token.length > TOKEN_BYTES_MAX || !split(token, parts))
		return STATUS_INVALID;
	if (base64url_decode(parts[2], jws->signature, sizeof(jws->signature), &jws->signature_length) != STATUS_OK)
		return STATUS_INVALID;
	enum status status = parse_object(parts[0], &jws->header);
	if (status == STATUS_OK)
		status = read_header(jws);
	if (status == STATUS_OK)
		status = parse_object(parts[1], &jws->claims);
	if (status != STATUS_OK) {
		jws_free(jws);
		return status;
	}
	jws->signing_input = text_slice(token, 0, parts[0].length + 1 + parts[1].length);
	return STATUS_OK;
}

void jws_free(struct jws *jws)
{
	json_free(jws->header);
	json_free(jws->claims);
	*jws = (struct jws){.header = NULL};
}

enum status jws_verify(const struct jws *jws, const struct key *key)
{
	enum key_kind kind;
	if (!algorithm_find(jws->algorithm, &kind) || kind != key_kind(key))
		return STATUS_UNAUTHORIZED;
	return key_verify(key, jws->signing_input, (struct text){(const char *)jws->signature, jws->signature_length});
}

static void append_encoded(struct buffer *into, struct text bytes)
{
	char encoded[CHUNK / 3 * 4];
	for (size_t at = 0; at < bytes.length; at += CHUNK) {
		struct text chunk = text_slice(bytes, at, bytes.length - at > CHUNK ? at + CHUNK : bytes.length);
		buffer_append(into, (struct text){encoded, base64url_encode(chunk, encoded)});
	}
}

enum status jws_input(struct text header, struct text claims, struct buffer *into)
{
	append_encoded(into, header);
	buffer_append_byte(into, '.');
	append_encoded(into, claims);
	return into->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status jws_append_signature(struct buffer *input, struct text signature)
{
	buffer_append_byte(input, '.');
	append_encoded(input, signature);
	return input->failed ? STATUS_NO_MEMORY : STATUS_OK;
}
