/* Who may call the management APIs. */
#include "tenants/access.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/answer.h"
#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/secret.h"
#include "tenants/jose/jws.h"
#include "tenants/vault/safe_file.h"

enum { KEY_BYTES_MAX = 16 * 1024, LEEWAY_S = 30, SUBJECT_SHOWN = 128 };
#define LIFETIME_MAX_S ((int64_t)366 * 24 * 3600)

static const struct text cell_issuer = {"urn:celld:cell", 14};
static const struct text bearer = {"bearer", 6};

const struct setting access_settings_table[] = {
	{.key = "jwks_file",
		.kind = SETTING_TEXT,
		.offset = offsetof(struct access_settings, provider.jwks_file),
		.help = "JWK set of the identity provider whose tokens are accepted; read at start and on SIGHUP"},
	{.key = "jwks_url",
		.kind = SETTING_TEXT,
		.offset = offsetof(struct access_settings, provider.jwks_url),
		.help = "instead of jwks_file: the set's address, fetched at start, every refresh_ms, and for unknown keys"},
	{.key = "discovery_url",
		.kind = SETTING_TEXT,
		.offset = offsetof(struct access_settings, provider.discovery_url),
		.help = "instead of both: the address of the provider's discovery document, which names issuer and key set"},
	{.key = "issuer",
		.kind = SETTING_TEXT,
		.offset = offsetof(struct access_settings, provider.issuer),
		.help = "the iss these tokens must have; required with jwks_file and jwks_url"},
	{.key = "audience",
		.kind = SETTING_TEXT,
		.offset = offsetof(struct access_settings, provider.audience),
		.help = "what these tokens must be meant for; null: it is not looked at"},
	{.key = "audience_claim",
		.kind = SETTING_TEXT,
		.offset = offsetof(struct access_settings, provider.audience_claim),
		.preset = "aud",
		.minimum = 1,
		.maximum = 64,
		.help = "the claim that must be or hold the audience"},
	{.key = "refresh_ms",
		.kind = SETTING_MILLISECONDS,
		.offset = offsetof(struct access_settings, provider.refresh_ms),
		.preset = "5 min",
		.minimum = 1000,
		.maximum = (int64_t)24 * 3600 * 1000,
		.help = "how often keys are fetched again"},
	{.key = "key_file",
		.kind = SETTING_TEXT,
		.offset = offsetof(struct access_settings, key_file),
		.help = "the cell's own signing key, PKCS#8 as PEM or DER, mode 0400, made on first start; default: "
				"<state directory>/cell.key"},
};
const size_t access_settings_count = sizeof(access_settings_table) / sizeof(access_settings_table[0]);

struct access {
	struct key *own;
	struct provider *provider;
	bool (*is_participant)(void *context, struct text sub);
	void *participants;
};

/* --- opening */

static enum status create_key(const char *file)
{
	int folder;
	const char *name;
	struct key *key = NULL;
	struct buffer der = {.bytes = NULL};
	enum status status = safe_file_split(file, &folder, &name);
	if (status != STATUS_OK)
		return status;
	status = key_generate(KEY_EDDSA, TEXT_NONE, &key);
	if (status == STATUS_OK)
		status = key_to_private_der(key, &der);
	if (status == STATUS_OK)
		status = safe_file_create(folder, name, 0400, buffer_text(&der));
	close(folder);
	key_free(key);
	buffer_wipe(&der);
	return status == STATUS_CONFLICT ? STATUS_OK : status; /* another start was faster */
}

static enum status parse_key(struct text content, struct text kid, struct key **key)
{
	return text_starts_with(text_trim(content), TEXT("-----BEGIN")) ? key_from_private_pem(content, kid, key)
																	: key_from_private_der(content, kid, key);
}

/* The kid is the thumbprint, so that everyone who holds the file uses the same. */
static enum status name_key(struct text content, struct key **key)
{
	char thumbprint[KEY_THUMBPRINT_LENGTH + 1];
	struct key *nameless = NULL;
	enum status status = parse_key(content, TEXT_NONE, &nameless);
	if (status == STATUS_OK)
		status = key_thumbprint(nameless, thumbprint);
	key_free(nameless);
	return status == STATUS_OK ? parse_key(content, text_of(thumbprint), key) : status;
}

static enum status own_key_load(const char *file, bool create, struct key **key, struct buffer *error)
{
	struct buffer content = {.bytes = NULL};
	if (file == NULL) {
		buffer_append(error, TEXT("access.key_file: not set"));
		return STATUS_INVALID;
	}
	enum status status = safe_file_load(file, KEY_BYTES_MAX, true, &content);
	if (status == STATUS_NOT_FOUND && create) {
		status = create_key(file);
		if (status == STATUS_OK)
			status = safe_file_load(file, KEY_BYTES_MAX, true, &content);
	}
	if (status == STATUS_OK)
		status = name_key(buffer_text(&content), key);
	buffer_wipe(&content);
	if (status == STATUS_FORBIDDEN)
		buffer_printf(error, "access.key_file: %s must be readable by its owner alone (mode 0400)", file);
	else if (status != STATUS_OK)
		buffer_printf(error, "access.key_file: %s: %s", file, status_text(status));
	return status;
}

enum status access_open(
	const struct access_settings *settings, struct worker_pool *pool, struct access **access, struct buffer *error)
{
	const char *issuer = settings->provider.issuer;
	if (issuer != NULL && text_equals(text_of(issuer), cell_issuer)) {
		buffer_append(error, TEXT("access.issuer: the cell's own issuer cannot be the identity provider's"));
		return STATUS_INVALID;
	}
	struct access *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = own_key_load(settings->key_file, pool != NULL, &made->own, error);
	if (status == STATUS_OK)
		status = provider_open(&settings->provider, pool, &made->provider, error);
	if (status == STATUS_OK)
		*access = made;
	else
		access_close(made);
	return status;
}

void access_know_participants(
	struct access *access, bool (*is_participant)(void *context, struct text sub), void *context)
{
	access->is_participant = is_participant;
	access->participants = context;
}

enum status access_reload(struct access *access, struct buffer *error)
{
	return provider_reload(access->provider, error);
}

void access_close(struct access *access)
{
	if (access == NULL)
		return;
	provider_close(access->provider);
	key_free(access->own);
	free(access);
}

/* --- requests */

static void refuse_token(struct exchange *exchange)
{
	exchange_add_header(exchange, TEXT("www-authenticate"), TEXT("Bearer"));
	answer_json(exchange, 401, TEXT("{\"error\":\"missing or invalid token\"}"));
}

static void refuse_scope(struct exchange *exchange, struct text api, struct text resource, enum access_action action)
{
	static const char *const actions[] = {[ACCESS_READ] = "read", [ACCESS_WRITE] = "write", [ACCESS_ADMIN] = "admin"};
	struct buffer body = {.bytes = NULL};
	buffer_printf(&body, "Required scope '%.*s:", TEXT_ARGUMENTS(api));
	if (resource.length > 0)
		buffer_printf(&body, "%.*s:", TEXT_ARGUMENTS(resource));
	buffer_printf(&body, "%s' missing", actions[action]);
	answer(exchange, 403, TEXT("text/plain"), buffer_text(&body));
	buffer_free(&body);
}

static void refuse_stranger(struct exchange *exchange, struct text sub)
{
	struct buffer body = {.bytes = NULL};
	buffer_printf(&body, "Not authorized: No participant for 'sub = %.*s' found",
		TEXT_ARGUMENTS(text_slice(sub, 0, SUBJECT_SHOWN)));
	answer(exchange, 401, TEXT("text/plain"), buffer_text(&body));
	buffer_free(&body);
}

/* The same for a participant that is not the caller and for one that does not exist. */
static void refuse_participant(struct exchange *exchange)
{
	answer_json(exchange, 403,
		TEXT("[{\"message\":\"not authorized for this participant\",\"type\":\"NotAuthorized\",\"path\":null,"
			 "\"invalidValue\":null}]"));
}

struct text access_bearer(const struct exchange *exchange)
{
	struct text value = exchange_header(exchange, TEXT("authorization"));
	size_t space = text_find(value, ' ');
	if (exchange_header_count(exchange, TEXT("authorization")) != 1 || space == value.length ||
		!text_equals_ignoring_case(text_slice(value, 0, space), bearer))
		return TEXT_NONE;
	return text_trim(text_slice(value, space, value.length));
}

/* Clients of older connectors know no other header than X-Api-Key (dataplane.md 1.4). */
static struct text caller_token(const struct exchange *exchange)
{
	static const struct text key = {"x-api-key", 9};
	bool is_key =
		exchange_header_count(exchange, TEXT("authorization")) == 0 && exchange_header_count(exchange, key) == 1;
	return is_key ? exchange_header(exchange, key) : access_bearer(exchange);
}

enum status access_verify(struct access *access, struct text token, struct jws *jws)
{
	struct token_rules rules = {.need_expiry = true, .leeway_s = LEEWAY_S, .now_s = clock_wall_ms() / 1000};
	int64_t expires_s;
	enum status status = jws_parse(token, jws);
	if (status != STATUS_OK)
		return status;
	bool is_own = jws->kid.bytes != NULL && text_equals(jws->kid, key_id(access->own));
	const struct key *key = is_own ? access->own : provider_find(access->provider, jws->kid, &rules.issuer);
	if (is_own)
		rules.issuer = cell_issuer;
	status = key == NULL ? STATUS_UNAUTHORIZED : jws_verify(jws, key);
	if (status == STATUS_OK)
		status = token_check(jws->claims, &rules, &expires_s);
	if (status == STATUS_OK && (json_member_text(jws->claims, "sub").length == 0 ||
								   (!is_own && !provider_audience_matches(access->provider, jws->claims))))
		status = STATUS_UNAUTHORIZED;
	if (status != STATUS_OK)
		jws_free(jws);
	return status;
}

/* ctx: of whom; absent: everybody's. `whoever`: the caller's own, whichever that is. */
static bool judge(struct access *access, struct exchange *exchange, struct text api, struct text resource,
	enum access_action action, struct text ctx, bool whoever)
{
	struct jws jws;
	bool everywhere;
	if (access_verify(access, caller_token(exchange), &jws) != STATUS_OK) {
		refuse_token(exchange);
		return false;
	}
	struct text scopes = json_member_text(jws.claims, "scope"), sub = json_member_text(jws.claims, "sub");
	bool satisfied = scope_satisfies(scopes, api, resource, action, &everywhere);
	bool owner = whoever || (ctx.length > 0 && text_equals(sub, ctx));
	/* of the management API alone: a subject of others may be a control plane, or a participant yet to come */
	if (!everywhere && text_equals(api, TEXT("management-api")) && access->is_participant != NULL &&
		!access->is_participant(access->participants, sub)) {
		refuse_stranger(exchange, sub);
		jws_free(&jws);
		return false;
	}
	jws_free(&jws);
	if (satisfied && (everywhere || owner))
		return true;
	if (!satisfied)
		refuse_scope(exchange, api, resource, action);
	else if (ctx.length == 0)
		refuse_scope(exchange, api, TEXT_NONE, ACCESS_ADMIN);
	else
		refuse_participant(exchange);
	return false;
}

bool access_allow(struct access *access, struct exchange *exchange, struct text api, struct text resource,
	enum access_action action, struct text ctx)
{
	return judge(access, exchange, api, resource, action, ctx, false);
}

bool access_allow_scope(
	struct access *access, struct exchange *exchange, struct text api, struct text resource, enum access_action action)
{
	return judge(access, exchange, api, resource, action, TEXT_NONE, true);
}

/* --- minting */

static void append_claims(
	struct buffer *claims, struct text subject, struct text scopes, int64_t now_s, int64_t lifetime_s)
{
	char token_id[ID_LENGTH + 1];
	id_random(token_id);
	buffer_append(claims, TEXT("{\"iss\":"));
	buffer_append_json(claims, cell_issuer);
	buffer_append(claims, TEXT(",\"sub\":"));
	buffer_append_json(claims, subject);
	buffer_append(claims, TEXT(",\"scope\":"));
	buffer_append_json(claims, scopes);
	buffer_append(claims, TEXT(",\"iat\":"));
	buffer_append_number(claims, now_s);
	buffer_append(claims, TEXT(",\"exp\":"));
	buffer_append_number(claims, now_s + lifetime_s);
	buffer_printf(claims, ",\"jti\":\"%s\"}", token_id);
}

enum status access_token(
	struct access *access, struct text subject, struct text scopes, int64_t lifetime_s, struct buffer *token)
{
	struct buffer header = {.bytes = NULL}, claims = {.bytes = NULL}, made = {.bytes = NULL};
	uint8_t signature[64];
	if (subject.length == 0 || lifetime_s < 1 || lifetime_s > LIFETIME_MAX_S)
		return STATUS_INVALID;
	buffer_printf(&header, "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":\"%.*s\"}",
		key_kind(access->own) == KEY_EDDSA ? "EdDSA" : "ES256", TEXT_ARGUMENTS(key_id(access->own)));
	append_claims(&claims, subject, scopes, clock_wall_ms() / 1000, lifetime_s);
	enum status status = header.failed || claims.failed ? STATUS_NO_MEMORY
														: jws_input(buffer_text(&header), buffer_text(&claims), &made);
	if (status == STATUS_OK)
		status = key_sign(access->own, buffer_text(&made), signature);
	if (status == STATUS_OK)
		status = jws_append_signature(&made, (struct text){(const char *)signature, sizeof(signature)});
	if (status == STATUS_OK && made.length > TOKEN_BYTES_MAX)
		status = STATUS_TOO_LARGE;
	if (status == STATUS_OK)
		buffer_append(token, buffer_text(&made));
	buffer_free(&header);
	buffer_free(&claims);
	buffer_free(&made);
	return status == STATUS_OK && token->failed ? STATUS_NO_MEMORY : status;
}
