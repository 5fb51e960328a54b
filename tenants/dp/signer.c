/* Signing: find the key, or make it; then let the vault sign. */
#include "tenants/dp/signer.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "tenants/dp/signaling/key_mapping.h"
#include "tenants/dp/state.h"
#include "tenants/dp/token.h"
#include "tenants/jose/jws.h"

enum { KEY_WAIT_MS = 1000 };

/* One signature under way. */
struct signing {
	struct dp *dp;
	struct worker *worker;
	char ctx[ID_LENGTH + 1];
	struct buffer claims, input; /* input: of the signature, then the token */
	bool has_waited, is_proof;
	bool is_unmapped; /* the vault does not have the key that the tenant's mapping names */
	struct timer *timer;
	signed_done *done;
	void *context;
};

static void sign(struct signing *signing);

static void finish(struct signing *signing, enum status status)
{
	signing->done(signing->context, status, status == STATUS_OK ? buffer_text(&signing->input) : TEXT_NONE);
	timer_free(signing->timer);
	buffer_free(&signing->claims);
	buffer_free(&signing->input);
	free(signing);
}

/* The mapping names a key that is elsewhere: tokens that this cell checks itself are as good with its own. */
static void sign_unmapped(struct signing *signing)
{
	LOG(WARNING, "dp.key_mapping", log_text("tenant", text_of(signing->ctx)),
		log_text("error", TEXT("the vault has no key under the mapped name: the cell's own signs")));
	signing->is_unmapped = true;
	sign(signing);
}

static const struct key_mapping *mapping_of(const struct signing *signing)
{
	return signing->is_unmapped ? NULL : key_mapping_find(signing->dp, text_of(signing->ctx));
}

static void on_signature(void *context, enum status status, struct text signature)
{
	struct signing *signing = context;
	if (status == STATUS_NOT_FOUND && mapping_of(signing) != NULL) {
		sign_unmapped(signing);
		return;
	}
	if (status == STATUS_OK)
		status = jws_append_signature(&signing->input, signature);
	finish(signing, status == STATUS_OK || status == STATUS_NO_MEMORY ? status : STATUS_UNAVAILABLE);
}

/* NULL: none yet. Until the worker returns to its loop. */
static const struct key *public_key(const struct participant *participant)
{
	/* kid = "<ctx>#dataplane-<8 hex>" */
	for (size_t i = 0; i < participant->key_count; i++) {
		struct text kid = key_id(participant->keys[i]);
		if (text_starts_with(text_slice(kid, text_find(kid, '#'), kid.length), TEXT("#dataplane-")))
			return participant->keys[i];
	}
	return NULL;
}

/* "<did>#<fragment>": the key as the participant's own DID document has it (did_document_print). */
static void print_method(const struct participant *participant, const struct key *key, struct buffer *into)
{
	struct text kid = key_id(key);
	size_t mark = text_find(kid, '#');
	buffer_append(into, text_of(participant->identity));
	buffer_append(into, text_slice(kid, mark, kid.length));
}

/* A mapped key is known everywhere by the kid of its mapping. */
static enum status make_input(
	struct signing *signing, const struct participant *participant, const struct key *key, bool is_mapped)
{
	struct buffer header = {0}, kid = {0};
	if (signing->is_proof && !is_mapped)
		print_method(participant, key, &kid);
	else
		buffer_append(&kid, key_id(key));
	header.failed = kid.failed;
	buffer_printf(&header, "{\"alg\":\"%s\",\"typ\":\"JWT\",\"kid\":", key_kind(key) == KEY_ES256 ? "ES256" : "EdDSA");
	buffer_append_json(&header, buffer_text(&kid));
	buffer_append_byte(&header, '}');
	buffer_clear(&signing->input);
	enum status status = header.failed
							 ? STATUS_NO_MEMORY
							 : jws_input(buffer_text(&header), buffer_text(&signing->claims), &signing->input);
	buffer_free(&header);
	buffer_free(&kid);
	return status;
}

/* --- a participant without a key gets one */

static void on_key_stored(void *context, enum status status, int64_t revision)
{
	struct signing *signing = context;
	(void)revision;
	const struct participant *participant = registry_find(signing->dp->registry, text_of(signing->ctx));
	if (status != STATUS_OK)
		finish(signing, status == STATUS_NOT_FOUND || status == STATUS_NO_MEMORY ? status : STATUS_UNAVAILABLE);
	else if (participant == NULL || public_key(participant) == NULL)
		finish(signing, STATUS_UNAVAILABLE);
	else
		sign(signing);
}

static void store_key(struct signing *signing, struct text jwk)
{
	struct transaction *transaction = transaction_new();
	if (transaction == NULL ||
		!transaction_put(transaction, text_of(signing->ctx), RECORD_KEY, SIGNER_ALIAS, jwk, REVISION_ANY)) {
		transaction_free(transaction);
		finish(signing, STATUS_NO_MEMORY);
		return;
	}
	store_submit(signing->dp->store, transaction, signing->worker, on_key_stored, signing);
}

static void on_key(void *context, enum status status, struct text jwk);

static void make_key(struct signing *signing)
{
	vault_key_create(
		signing->dp->vault, text_of(signing->ctx), SIGNER_ALIAS, KEY_ES256, signing->worker, on_key, signing);
}

static void on_old_key_gone(void *context, enum status status, struct text result)
{
	struct signing *signing = context;
	(void)result;
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		finish(signing, STATUS_UNAVAILABLE);
	else
		make_key(signing);
}

/* The vault has a key that no record tells of. Either its record is on its way, or a crash came between the two: then
 * that key never signed anything, and a new one takes its place. */
static void on_waited(void *context)
{
	struct signing *signing = context;
	const struct participant *participant = registry_find(signing->dp->registry, text_of(signing->ctx));
	if (participant == NULL || public_key(participant) != NULL)
		sign(signing);
	else
		vault_delete(
			signing->dp->vault, text_of(signing->ctx), SIGNER_ALIAS, signing->worker, on_old_key_gone, signing);
}

static void on_key(void *context, enum status status, struct text jwk)
{
	struct signing *signing = context;
	if (status == STATUS_OK) {
		store_key(signing, jwk);
		return;
	}
	if (status == STATUS_CONFLICT && !signing->has_waited) {
		signing->has_waited = true;
		signing->timer = timer_new(signing->worker, on_waited, signing);
		if (signing->timer != NULL) {
			timer_set(signing->timer, KEY_WAIT_MS);
			return;
		}
	}
	finish(signing, STATUS_UNAVAILABLE);
}

/* --- the key of the tenant's mapping: its public half becomes a record under the mapping's kid, so that what it signs
 * can be checked */

static void on_public_stored(void *context, enum status status, int64_t revision)
{
	struct signing *signing = context;
	const struct participant *participant = registry_find(signing->dp->registry, text_of(signing->ctx));
	const struct key_mapping *mapping = mapping_of(signing);
	(void)revision;
	if (status != STATUS_OK)
		finish(signing, status == STATUS_NOT_FOUND || status == STATUS_NO_MEMORY ? status : STATUS_UNAVAILABLE);
	else if (participant != NULL && mapping != NULL && token_key(participant, text_of(mapping->kid)) == NULL)
		finish(signing, STATUS_UNAVAILABLE); /* it did not become one of his */
	else
		sign(signing);
}

static void on_public(void *context, enum status status, struct text result)
{
	struct signing *signing = context;
	const struct key_mapping *mapping = mapping_of(signing);
	struct json *jwk = NULL;
	struct buffer record = {0};
	if (status == STATUS_NOT_FOUND) {
		sign_unmapped(signing);
		return;
	}
	if (status == STATUS_OK)
		status = json_parse(result, NULL, &jwk);
	if (status == STATUS_OK && mapping == NULL) { /* taken back meanwhile */
		json_free(jwk);
		sign(signing);
		return;
	}
	struct transaction *transaction = transaction_new();
	bool is_made = status == STATUS_OK && transaction != NULL && json_add_text(jwk, "kid", text_of(mapping->kid));
	json_print(jwk, &record);
	is_made = is_made && !record.failed &&
			  transaction_put(transaction, text_of(signing->ctx), RECORD_KEY, text_of(mapping->kid),
				  buffer_text(&record), REVISION_ANY);
	json_free(jwk);
	buffer_free(&record);
	if (is_made) {
		store_submit(signing->dp->store, transaction, signing->worker, on_public_stored, signing);
		return;
	}
	transaction_free(transaction);
	finish(signing, status == STATUS_OK ? STATUS_NO_MEMORY : STATUS_UNAVAILABLE);
}

static void sign_mapped(
	struct signing *signing, const struct participant *participant, const struct key_mapping *mapping)
{
	struct text ctx = text_of(signing->ctx), alias = text_of(mapping->key_name);
	const struct key *key = token_key(participant, text_of(mapping->kid));
	enum status status = key == NULL ? STATUS_OK : make_input(signing, participant, key, true);
	if (status != STATUS_OK)
		finish(signing, status);
	else if (key == NULL)
		vault_key_public(signing->dp->vault, ctx, alias, signing->worker, on_public, signing);
	else
		vault_sign(
			signing->dp->vault, ctx, alias, buffer_text(&signing->input), signing->worker, on_signature, signing);
}

/* --- signing */

static void sign(struct signing *signing)
{
	const struct participant *participant = registry_find(signing->dp->registry, text_of(signing->ctx));
	const struct key_mapping *mapping = mapping_of(signing);
	if (participant != NULL && mapping != NULL) {
		sign_mapped(signing, participant, mapping);
		return;
	}
	const struct key *key = participant == NULL ? NULL : public_key(participant);
	enum status status = participant == NULL ? STATUS_NOT_FOUND : STATUS_OK;
	if (status == STATUS_OK && key == NULL) {
		make_key(signing);
		return;
	}
	if (status == STATUS_OK)
		status = make_input(signing, participant, key, false);
	if (status != STATUS_OK)
		finish(signing, status);
	else
		vault_sign(signing->dp->vault, text_of(signing->ctx), SIGNER_ALIAS, buffer_text(&signing->input),
			signing->worker, on_signature, signing);
}

static void start(struct dp *dp, struct worker *worker, struct text ctx, struct text claims, bool is_proof,
	signed_done *done, void *context)
{
	struct signing *signing = calloc(1, sizeof(*signing));
	if (signing == NULL || ctx.length > ID_LENGTH) {
		free(signing);
		done(context, signing == NULL ? STATUS_NO_MEMORY : STATUS_NOT_FOUND, TEXT_NONE);
		return;
	}
	*signing = (struct signing){.dp = dp, .worker = worker, .is_proof = is_proof, .done = done, .context = context};
	memcpy(signing->ctx, ctx.bytes, ctx.length);
	buffer_append(&signing->claims, claims);
	if (signing->claims.failed)
		finish(signing, STATUS_NO_MEMORY);
	else
		sign(signing);
}

void signer_sign(
	struct dp *dp, struct worker *worker, struct text ctx, struct text claims, signed_done *done, void *context)
{
	start(dp, worker, ctx, claims, false, done, context);
}

void signer_prove(
	struct dp *dp, struct worker *worker, struct text ctx, struct text claims, signed_done *done, void *context)
{
	start(dp, worker, ctx, claims, true, done, context);
}
