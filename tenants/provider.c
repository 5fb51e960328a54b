/* One immutable version of the provider's keys at a time. */
#include "tenants/provider.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "server/url.h"
#include "server/worker_pool.h"
#include "tenants/provider_keys.h"
#include "tenants/vault/safe_file.h"

enum { KEYS_MAX = 64, JWKS_BYTES_MAX = 1024 * 1024 };

struct trust {
	size_t count;
	struct key *keys[KEYS_MAX];
	char *issuer;
};

struct provider {
	struct worker_pool *pool;
	char *jwks_file, *issuer, *audience, *audience_claim;
	_Atomic(struct trust *) trust;
	struct provider_keys *fetched; /* NULL: they come from the file */
};

static void trust_free(void *object)
{
	struct trust *trust = object;
	if (trust == NULL)
		return;
	for (size_t i = 0; i < trust->count; i++)
		key_free(trust->keys[i]);
	free(trust->issuer);
	free(trust);
}

/* jwks absent: no keys. */
static enum status trust_new(struct text jwks, struct text issuer, struct trust **trust)
{
	struct trust *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = jwks.bytes == NULL ? STATUS_OK : keys_from_jwks(jwks, made->keys, KEYS_MAX, &made->count);
	made->issuer = text_copy(issuer.bytes == NULL ? TEXT("") : issuer);
	if (status == STATUS_OK && made->issuer == NULL)
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		*trust = made;
	else
		trust_free(made);
	return status;
}

static void trust_publish(struct provider *provider, struct trust *trust)
{
	struct trust *old = atomic_exchange(&provider->trust, trust);
	if (old != NULL && provider->pool != NULL)
		worker_pool_retire(provider->pool, trust_free, old);
	else
		trust_free(old);
}

/* --- where keys come from */

static enum status load_file(struct provider *provider, struct buffer *error)
{
	struct buffer content = {0};
	struct trust *trust = NULL;
	enum status status =
		provider->jwks_file == NULL ? STATUS_OK : safe_file_load(provider->jwks_file, JWKS_BYTES_MAX, false, &content);
	if (status == STATUS_OK)
		status = trust_new(provider->jwks_file == NULL ? TEXT_NONE : buffer_text(&content),
			provider->issuer == NULL ? TEXT_NONE : text_of(provider->issuer), &trust);
	buffer_free(&content);
	if (status == STATUS_OK)
		trust_publish(provider, trust);
	else
		buffer_printf(error, "access.jwks_file: %s: %s", provider->jwks_file == NULL ? "" : provider->jwks_file,
			status_text(status));
	return status;
}

/* The issuer of the document is believed when the operator names none, since the operator names the document. */
static enum status on_keys(void *context, struct text jwks, struct text issuer, struct buffer *error)
{
	struct provider *provider = context;
	struct trust *trust = NULL;
	struct text wanted = provider->issuer == NULL ? issuer : text_of(provider->issuer);
	if (issuer.bytes != NULL && !text_equals(issuer, wanted)) {
		buffer_append(error, TEXT("the discovery document is of another issuer than access.issuer"));
		return STATUS_INVALID;
	}
	enum status status = trust_new(jwks, wanted, &trust);
	if (status == STATUS_OK)
		trust_publish(provider, trust);
	return status;
}

/* --- opening */

static bool is_address(const char *text)
{
	struct url url;
	return text == NULL || url_parse(text_of(text), &url) == STATUS_OK;
}

static bool is_set(const char *text)
{
	return text != NULL && text[0] != 0;
}

static enum status check(const struct provider_settings *settings, struct buffer *error)
{
	int sources = (settings->jwks_file != NULL) + (settings->jwks_url != NULL) + (settings->discovery_url != NULL);
	if (sources > 1)
		buffer_append(error, TEXT("access: only one of jwks_file, jwks_url and discovery_url"));
	else if (settings->jwks_file != NULL && !is_set(settings->issuer))
		buffer_append(error, TEXT("access.issuer: required with access.jwks_file"));
	else if (settings->jwks_url != NULL && !is_set(settings->issuer))
		buffer_append(error, TEXT("access.issuer: required with access.jwks_url"));
	else if (!is_address(settings->jwks_url))
		buffer_append(error, TEXT("access.jwks_url: must be an address of http or https"));
	else if (!is_address(settings->discovery_url))
		buffer_append(error, TEXT("access.discovery_url: must be an address of http or https"));
	return error->length > 0 ? STATUS_INVALID : STATUS_OK;
}

static bool copy_setting(const char *from, char **into)
{
	*into = is_set(from) ? text_copy(text_of(from)) : NULL;
	return !is_set(from) || *into != NULL;
}

static enum status open_source(
	struct provider *provider, const struct provider_settings *settings, struct buffer *error)
{
	if (settings->jwks_url == NULL && settings->discovery_url == NULL)
		return load_file(provider, error);
	if (provider->pool == NULL)
		return STATUS_OK;
	const struct provider_source source = {settings->discovery_url, settings->jwks_url, (uint64_t)settings->refresh_ms};
	return provider_keys_open(provider->pool, &source, on_keys, provider, &provider->fetched);
}

enum status provider_open(const struct provider_settings *settings, struct worker_pool *pool,
	struct provider **provider, struct buffer *error)
{
	enum status status = check(settings, error);
	struct provider *made = status == STATUS_OK ? calloc(1, sizeof(*made)) : NULL;
	if (made == NULL)
		return status == STATUS_OK ? STATUS_NO_MEMORY : status;
	made->pool = pool;
	atomic_init(&made->trust, NULL);
	if (!copy_setting(settings->jwks_file, &made->jwks_file) || !copy_setting(settings->issuer, &made->issuer) ||
		!copy_setting(settings->audience, &made->audience) ||
		!copy_setting(settings->audience_claim, &made->audience_claim))
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		status = open_source(made, settings, error);
	if (status == STATUS_OK)
		*provider = made;
	else
		provider_close(made);
	return status;
}

enum status provider_reload(struct provider *provider, struct buffer *error)
{
	if (provider->fetched == NULL)
		return load_file(provider, error);
	provider_keys_ask(provider->fetched);
	return STATUS_OK;
}

void provider_close(struct provider *provider)
{
	if (provider == NULL)
		return;
	provider_keys_free(provider->fetched);
	trust_free(atomic_load(&provider->trust));
	free(provider->jwks_file);
	free(provider->issuer);
	free(provider->audience);
	free(provider->audience_claim);
	free(provider);
}

/* --- asking */

static const struct key *find(const struct trust *trust, struct text kid)
{
	if (kid.bytes == NULL)
		return trust->count == 1 ? trust->keys[0] : NULL;
	for (size_t i = 0; i < trust->count; i++) {
		if (text_equals(kid, key_id(trust->keys[i])))
			return trust->keys[i];
	}
	return NULL;
}

const struct key *provider_find(struct provider *provider, struct text kid, struct text *issuer)
{
	const struct trust *trust = atomic_load_explicit(&provider->trust, memory_order_acquire);
	const struct key *key = trust == NULL ? NULL : find(trust, kid);
	if (key != NULL)
		*issuer = text_of(trust->issuer);
	else if (provider->fetched != NULL)
		provider_keys_ask(provider->fetched); /* it may be newer than our set */
	return key;
}

bool provider_audience_matches(const struct provider *provider, const struct json *claims)
{
	if (provider->audience == NULL)
		return true;
	const struct json *claim = json_member(claims, provider->audience_claim == NULL ? "aud" : provider->audience_claim);
	const struct json *one = json_kind(claim) == JSON_ARRAY ? json_first(claim) : NULL;
	if (json_kind(claim) != JSON_ARRAY)
		return text_equals(json_text(claim), text_of(provider->audience));
	while (one != NULL && !text_equals(json_text(one), text_of(provider->audience)))
		one = json_next(one);
	return one != NULL;
}
