/* JWTs of NATS' operator mode. */
#include "control/bus/nats_jwt.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "server/base/id.h"
#include "server/base/json.h"
#include "tenants/jose/jws.h"

void nats_subjects_add(struct nats_subjects *subjects, const char *format, ...)
{
	char *made = NULL;
	va_list arguments;
	va_start(arguments, format);
	if (subjects->count == NATS_SUBJECTS_MAX || vasprintf(&made, format, arguments) < 0)
		subjects->failed = true;
	else
		subjects->items[subjects->count++] = made;
	va_end(arguments);
}

void nats_subjects_free(struct nats_subjects *subjects)
{
	for (size_t i = 0; i < subjects->count; i++)
		free(subjects->items[i]);
	*subjects = (struct nats_subjects){0};
}

/* --- making */

/* The members every one has; the caller goes on with "nats". */
static void begin(
	struct buffer *claims, const struct nkey *signer, struct text subject, struct text name, int64_t issued_s)
{
	char id[ID_LENGTH + 1];
	id_random(id);
	buffer_printf(
		claims, "{\"jti\":\"%s\",\"iat\":%lld,\"iss\":\"%s\",\"sub\":", id, (long long)issued_s, nkey_public(signer));
	buffer_append_json(claims, subject);
	buffer_append(claims, TEXT(",\"name\":"));
	buffer_append_json(claims, name);
}

/* Frees the claims. */
static enum status finish(const struct nkey *signer, struct buffer *claims, struct buffer *jwt)
{
	uint8_t signature[NKEY_SIGNATURE_BYTES];
	struct buffer made = {0};
	enum status status =
		claims->failed ? STATUS_NO_MEMORY
					   : jws_input(TEXT("{\"typ\":\"JWT\",\"alg\":\"ed25519-nkey\"}"), buffer_text(claims), &made);
	if (status == STATUS_OK)
		status = nkey_sign(signer, buffer_text(&made), signature);
	if (status == STATUS_OK)
		status = jws_append_signature(&made, (struct text){(const char *)signature, sizeof(signature)});
	if (status == STATUS_OK && made.length > NATS_JWT_MAX)
		status = STATUS_TOO_LARGE;
	if (status == STATUS_OK)
		buffer_append(jwt, buffer_text(&made));
	buffer_free(&made);
	buffer_free(claims);
	return status == STATUS_OK && jwt->failed ? STATUS_NO_MEMORY : status;
}

static void append_permission(struct buffer *claims, const char *name, const struct nats_subjects *subjects)
{
	buffer_printf(claims, "\"%s\":{", name);
	for (size_t i = 0; subjects != NULL && i < subjects->count; i++) {
		buffer_append(claims, i == 0 ? TEXT("\"allow\":[") : TEXT(","));
		buffer_append_json(claims, text_of(subjects->items[i]));
	}
	buffer_append(claims, subjects != NULL && subjects->count > 0 ? TEXT("]},") : TEXT("},"));
}

enum status nats_jwt_user(const struct nkey *signer, const struct nats_user *user, struct buffer *jwt)
{
	struct buffer claims = {0};
	if ((user->publish != NULL && user->publish->failed) || (user->subscribe != NULL && user->subscribe->failed))
		return STATUS_NO_MEMORY;
	begin(&claims, signer, text_of(user->public), user->name, user->issued_s);
	if (user->expires_s != 0)
		buffer_printf(&claims, ",\"exp\":%lld", (long long)user->expires_s);
	buffer_append(&claims, TEXT(",\"nats\":{"));
	append_permission(&claims, "pub", user->publish);
	append_permission(&claims, "sub", user->subscribe);
	if (user->account.bytes != NULL && !text_equals(user->account, text_of(nkey_public(signer))))
		buffer_printf(&claims, "\"issuer_account\":\"%.*s\",", TEXT_ARGUMENTS(user->account));
	buffer_append(&claims, TEXT("\"subs\":-1,\"data\":-1,\"payload\":-1,\"type\":\"user\",\"version\":2}}"));
	return finish(signer, &claims, jwt);
}

enum status nats_jwt_account(const struct nkey *operator, const char * account, struct text name, const char *signer,
	bool has_jetstream, int64_t issued_s, struct buffer *jwt)
{
	struct buffer claims = {0};
	begin(&claims, operator, text_of(account), name, issued_s);
	buffer_append(
		&claims, TEXT(",\"nats\":{\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,\"exports\":-1,"
					  "\"wildcards\":true,\"conn\":-1,\"leaf\":-1"));
	if (has_jetstream)
		buffer_append(&claims,
			TEXT(",\"mem_storage\":-1,\"disk_storage\":-1,\"streams\":-1,\"consumer\":-1,\"max_ack_pending\":-1"));
	buffer_append(&claims, TEXT("},\"default_permissions\":{\"pub\":{},\"sub\":{}}"));
	if (signer != NULL)
		buffer_printf(&claims, ",\"signing_keys\":[\"%s\"]", signer);
	buffer_append(&claims, TEXT(",\"type\":\"account\",\"version\":2}}"));
	return finish(operator, & claims, jwt);
}

enum status nats_jwt_operator(
	const struct nkey *operator, struct text name, const char *system_account, int64_t issued_s, struct buffer *jwt)
{
	struct buffer claims = {0};
	begin(&claims, operator, text_of(nkey_public(operator)), name, issued_s);
	buffer_printf(
		&claims, ",\"nats\":{\"system_account\":\"%s\",\"type\":\"operator\",\"version\":2}}", system_account);
	return finish(operator, & claims, jwt);
}

/* --- reading */

/* The claims of a JWT of this type; NULL: it is none. */
static struct json *read_claims(struct text jwt, const char *type)
{
	size_t dot = text_find(jwt, '.'), length = 0;
	struct text rest = text_slice(jwt, dot + 1, jwt.length), part = text_slice(rest, 0, text_find(rest, '.'));
	struct json *root = NULL;
	uint8_t *decoded = jwt.length > NATS_JWT_MAX || part.length == 0 ? NULL : malloc(part.length);
	if (decoded != NULL && base64url_decode(part, decoded, part.length, &length) == STATUS_OK &&
		json_parse((struct text){(const char *)decoded, length}, NULL, &root) != STATUS_OK)
		root = NULL;
	free(decoded);
	if (root != NULL && text_equals(json_member_text(json_member(root, "nats"), "type"), text_of(type)))
		return root;
	json_free(root);
	return NULL;
}

enum status nats_jwt_account_read(struct text jwt, const char *signer, struct buffer *account)
{
	struct json *claims = read_claims(jwt, "account");
	struct text subject = json_member_text(claims, "sub");
	struct nkey *nkey = NULL;
	bool is_known = text_equals(subject, text_of(signer));
	const struct json *keys = json_member(json_member(claims, "nats"), "signing_keys");
	for (const struct json *key = json_first(keys); key != NULL && !is_known; key = json_next(key))
		is_known = text_equals(json_text(key), text_of(signer));
	enum status status = is_known ? nkey_from_public(subject, NKEY_ACCOUNT, &nkey) : STATUS_INVALID;
	if (status == STATUS_OK)
		buffer_append(account, subject);
	nkey_free(nkey);
	json_free(claims);
	return status;
}

enum status nats_jwt_user_read(struct text jwt, struct buffer *public, int64_t *expires_s)
{
	struct json *claims = read_claims(jwt, "user");
	const struct json *expiry = json_member(claims, "exp");
	struct nkey *nkey = NULL;
	int64_t expires = 0;
	enum status status = nkey_from_public(json_member_text(claims, "sub"), NKEY_USER, &nkey);
	if (status == STATUS_OK && expiry != NULL && !json_integer(expiry, &expires))
		status = STATUS_INVALID;
	if (status == STATUS_OK) {
		buffer_append(public, text_of(nkey_public(nkey)));
		*expires_s = expires;
	}
	nkey_free(nkey);
	json_free(claims);
	return status;
}

enum status nats_credentials_print(struct text jwt, const struct nkey *user, struct buffer *into)
{
	buffer_append(into, TEXT("-----BEGIN NATS USER JWT-----\n"));
	buffer_append(into, jwt);
	buffer_append(into, TEXT("\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n"));
	enum status status = nkey_seed(user, into);
	buffer_append(into, TEXT("\n------END USER NKEY SEED------\n"));
	return status == STATUS_OK && into->failed ? STATUS_NO_MEMORY : status;
}
