/* Control planes: registrations checked and compiled. */
#include "tenants/dp/signaling/control_plane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { URL_MAX = 2048, WORD_MAX = 512, SECRET_MAX = 4096 };

static const char *const type_names[] = {
#define TYPE_NAME(name, text) text,
	AUTHORIZATION_LIST(TYPE_NAME)
#undef TYPE_NAME
};

/* Members of the authorization entry: which profiles know them, which need them, and where they go. Both profiles' way
 * to a token is one field. */
#define IN(name) (1U << AUTHORIZATION_##name)
#define AT(name) offsetof(struct control_plane, name)
static const struct entry {
	const char *name;
	unsigned known, needed;
	bool is_url;
	size_t offset;
} entries[] = {
	{"tokenEndpoint", IN(CLIENT_CREDENTIALS), IN(CLIENT_CREDENTIALS), true, AT(token_endpoint)},
	{"clientId", IN(CLIENT_CREDENTIALS), IN(CLIENT_CREDENTIALS), false, AT(client_id)},
	{"tokenExchangeEndpoint", IN(TOKEN_EXCHANGE), IN(TOKEN_EXCHANGE), true, AT(token_endpoint)},
	{"issuer", IN(TOKEN_EXCHANGE), IN(TOKEN_EXCHANGE), false, AT(issuer)},
	{"resource", IN(TOKEN_EXCHANGE), 0, false, AT(resource)},
	{"audience", IN(CLIENT_CREDENTIALS) | IN(TOKEN_EXCHANGE), 0, false, AT(audience)},
	{"scope", IN(CLIENT_CREDENTIALS) | IN(TOKEN_EXCHANGE), 0, false, AT(scope)},
	{"jwksUri", IN(CLIENT_CREDENTIALS) | IN(TOKEN_EXCHANGE), IN(TOKEN_EXCHANGE), true, AT(jwks_uri)},
};
#undef IN
#undef AT

static enum status keep(struct text text, char **into)
{
	*into = text_copy(text);
	return *into == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static bool is_visible(struct text text)
{
	for (size_t i = 0; i < text.length; i++) {
		if ((unsigned char)text.bytes[i] < 0x20 || (unsigned char)text.bytes[i] > 0x7e)
			return false;
	}
	return text.length > 0 && text.length <= WORD_MAX;
}

static bool is_url(struct text text)
{
	struct url url;
	return text.length <= URL_MAX && url_parse(text, &url) == STATUS_OK;
}

static enum status read_endpoint(const struct json *body, struct control_plane *plane, struct buffer *error)
{
	struct text id = json_member_text(body, "controlplaneId"), endpoint = json_member_text(body, "endpoint");
	if (id.bytes == NULL)
		id = json_member_text(body, "id");
	if (!name_is_valid(id, CONTROL_PLANE_ID_MAX))
		return buffer_invalid(error, "controlplaneId", "must be 1 to 128 of A-Z a-z 0-9 - _ . :");
	struct url url;
	if (!is_url(endpoint) || url_parse(endpoint, &url) != STATUS_OK || url.query.bytes != NULL)
		return buffer_invalid(error, "endpoint", "must be an http or https URL without a query");
	while (endpoint.length > 0 && endpoint.bytes[endpoint.length - 1] == '/')
		endpoint.length--;
	enum status status = keep(id, &plane->id);
	return status == STATUS_OK ? keep(endpoint, &plane->endpoint) : status;
}

static enum status read_entry(
	const struct json *entry, const struct entry *rule, struct control_plane *plane, struct buffer *error)
{
	const struct json *member = json_member(entry, rule->name);
	if ((rule->known >> plane->authorization & 1U) == 0)
		return STATUS_OK;
	if (member == NULL || json_kind(member) == JSON_NULL)
		return (rule->needed >> plane->authorization & 1U) != 0 ? buffer_invalid(error, rule->name, "is missing")
																: STATUS_OK;
	struct text value = json_text(member);
	if (rule->is_url ? !is_url(value) : !is_visible(value))
		return buffer_invalid(error, rule->name,
			rule->is_url ? "must be an http or https URL" : "must be 1 to 512 printable ASCII characters");
	return keep(value, (char **)(void *)((char *)plane + rule->offset));
}

static enum status read_keys(const struct json *entry, struct control_plane *plane, struct buffer *error)
{
	const struct json *jwks = json_member(entry, "jwks");
	if (jwks == NULL || json_kind(jwks) == JSON_NULL)
		return STATUS_OK;
	if (plane->authorization == AUTHORIZATION_TOKEN_EXCHANGE)
		return buffer_invalid(error, "jwks", "must not be there: this profile has jwksUri");
	if (plane->jwks_uri != NULL)
		return buffer_invalid(error, "jwks", "must not be there beside jwksUri");
	struct buffer text = {0};
	if (json_kind(jwks) == JSON_STRING)
		buffer_append(&text, json_text(jwks));
	else
		json_print(jwks, &text);
	enum status status = text.failed
							 ? STATUS_NO_MEMORY
							 : keys_from_jwks(buffer_text(&text), plane->keys, CONTROL_PLANE_KEYS, &plane->key_count);
	buffer_free(&text);
	if (status == STATUS_OK && plane->key_count == 0)
		status = STATUS_INVALID;
	return status == STATUS_INVALID ? buffer_invalid(error, "jwks", "must be a JWK set with keys for ES256 or EdDSA")
									: status;
}

static enum status read_authorization(
	const struct json *entry, struct control_plane *plane, struct text *secret, struct buffer *error)
{
	*secret = TEXT_NONE;
	if (entry == NULL || json_kind(entry) == JSON_NULL || (json_kind(entry) == JSON_OBJECT && json_count(entry) == 0))
		return STATUS_OK;
	struct text type = json_member_text(entry, "type");
	int number = AUTHORIZATION_COUNT;
	for (int i = AUTHORIZATION_NONE + 1; i < AUTHORIZATION_COUNT; i++) {
		if (text_equals(type, text_of(type_names[i])))
			number = i;
	}
	if (number == AUTHORIZATION_COUNT)
		return buffer_invalid(
			error, "authorization.type", "must be oauth2_client_credentials or oauth2_token_exchange");
	plane->authorization = (enum authorization_type)number;
	enum status status = STATUS_OK;
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]) && status == STATUS_OK; i++)
		status = read_entry(entry, &entries[i], plane, error);
	if (status == STATUS_OK)
		status = read_keys(entry, plane, error);
	if (status != STATUS_OK || plane->authorization != AUTHORIZATION_CLIENT_CREDENTIALS)
		return status;
	*secret = json_member_text(entry, "clientSecret");
	return secret->length > SECRET_MAX ? buffer_invalid(error, "clientSecret", "must be at most 4096 bytes")
									   : STATUS_OK;
}

enum status control_plane_parse(
	const struct json *body, struct control_plane **plane, struct text *secret, struct buffer *error)
{
	if (body == NULL || json_kind(body) != JSON_OBJECT)
		return buffer_invalid(error, "body", "must be one JSON object");
	struct control_plane *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	atomic_init(&made->references, 1);
	enum status status = read_endpoint(body, made, error);
	if (status == STATUS_OK)
		status = read_authorization(json_member(body, "authorization"), made, secret, error);
	if (status != STATUS_OK) {
		control_plane_unref(made);
		return status;
	}
	*plane = made;
	return STATUS_OK;
}

void control_plane_print(const struct json *body, const struct control_plane *plane, struct buffer *into)
{
	const struct json *jwks = json_member(json_member(body, "authorization"), "jwks");
	buffer_append(into, TEXT("{\"controlplaneId\":"));
	buffer_append_json(into, text_of(plane->id));
	buffer_append(into, TEXT(",\"endpoint\":"));
	buffer_append_json(into, text_of(plane->endpoint));
	if (plane->authorization == AUTHORIZATION_NONE) {
		buffer_append(into, TEXT(",\"authorization\":{}}"));
		return;
	}
	buffer_printf(into, ",\"authorization\":{\"type\":\"%s\"", type_names[plane->authorization]);
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		const char *value = *(char *const *)(const void *)((const char *)plane + entries[i].offset);
		if ((entries[i].known >> plane->authorization & 1U) == 0 || value == NULL)
			continue;
		buffer_printf(into, ",\"%s\":", entries[i].name);
		buffer_append_json(into, text_of(value));
	}
	if (plane->key_count > 0) {
		buffer_append(into, TEXT(",\"jwks\":"));
		json_print(jwks, into);
	}
	buffer_append(into, TEXT("}}"));
}

enum status control_plane_check(
	const struct control_plane *plane, struct text secret, bool allows_clear, bool needs_keys, struct buffer *error)
{
	bool is_of_client = plane->authorization == AUTHORIZATION_CLIENT_CREDENTIALS;
	if (is_of_client && secret.length == 0)
		return buffer_invalid(error, "clientSecret", "is missing");
	if (is_of_client && needs_keys && plane->jwks_uri == NULL && plane->key_count == 0)
		return buffer_invalid(error, "jwks", "is missing, and so is jwksUri");
	const struct {
		const char *member, *url;
	} urls[] = {{"endpoint", plane->endpoint}, {"tokenEndpoint", plane->token_endpoint}, {"jwksUri", plane->jwks_uri}};
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]) && !allows_clear; i++) {
		struct url url;
		if (urls[i].url != NULL && (url_parse(text_of(urls[i].url), &url) != STATUS_OK || !url.tls))
			return buffer_invalid(error, urls[i].member, "must be https");
	}
	return STATUS_OK;
}

void control_plane_ref(struct control_plane *plane)
{
	atomic_fetch_add_explicit(&plane->references, 1, memory_order_relaxed);
}

void control_plane_unref(void *object)
{
	struct control_plane *plane = object;
	if (plane == NULL || atomic_fetch_sub_explicit(&plane->references, 1, memory_order_acq_rel) != 1)
		return;
	for (size_t i = 0; i < plane->key_count; i++)
		key_free(plane->keys[i]);
	free(plane->id);
	free(plane->endpoint);
	free(plane->token_endpoint);
	free(plane->client_id);
	free(plane->issuer);
	free(plane->resource);
	free(plane->audience);
	free(plane->scope);
	free(plane->jwks_uri);
	free(plane);
}

void control_plane_alias(struct text id, char into[CONTROL_PLANE_ID_MAX + 32])
{
	snprintf(into, CONTROL_PLANE_ID_MAX + 32, "controlplane:%.*s:secret", TEXT_ARGUMENTS(id));
}

/* --- all of one participant */

enum status control_planes_change(const struct control_planes *old, struct text ctx, struct text id,
	struct control_plane *plane, struct control_planes **next)
{
	size_t count = old == NULL ? 0 : old->count;
	struct control_planes *made =
		calloc(1, sizeof(*made) + (count + 1) * sizeof(struct control_plane *)); /* one may come */
	if (made == NULL || ctx.length > ID_LENGTH) {
		free(made);
		return made == NULL ? STATUS_NO_MEMORY : STATUS_INVALID;
	}
	memcpy(made->ctx, ctx.bytes, ctx.length);
	for (size_t i = 0; i < count; i++) {
		if (text_equals(text_of(old->items[i]->id), id))
			continue;
		control_plane_ref(old->items[i]);
		made->items[made->count++] = old->items[i];
	}
	if (plane != NULL)
		made->items[made->count++] = plane;
	if (made->count == 0) {
		free(made);
		made = NULL;
	}
	*next = made;
	return STATUS_OK;
}

void control_planes_free(void *object)
{
	struct control_planes *planes = object;
	for (size_t i = 0; planes != NULL && i < planes->count; i++)
		control_plane_unref(planes->items[i]);
	free(planes);
}

struct control_plane *control_planes_find(const struct control_planes *planes, struct text id)
{
	for (size_t i = 0; planes != NULL && i < planes->count; i++) {
		if (text_equals(text_of(planes->items[i]->id), id))
			return planes->items[i];
	}
	return NULL;
}
