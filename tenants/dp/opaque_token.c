/* Opaque tokens: the record, and its end. */
#include "tenants/dp/opaque_token.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/clock.h"
#include "server/base/secret.h"
#include "tenants/dp/renewal.h"
#include "tenants/dp/state.h"
#include "tenants/jose/digest.h"
#include "tenants/jose/jws.h"

enum { SWEEP_MAX = 256, SWEEP_PAUSE_MS = 5000 };

/* --- tokens */

bool opaque_token_fits(struct text token)
{
	return token.length == OPAQUE_TOKEN_LENGTH;
}

void opaque_token_print(const uint8_t bytes[OPAQUE_TOKEN_BYTES], char token[OPAQUE_TOKEN_LENGTH + 1])
{
	token[base64url_encode((struct text){(const char *)bytes, OPAQUE_TOKEN_BYTES}, token)] = 0;
}

void opaque_token_make(char token[OPAQUE_TOKEN_LENGTH + 1])
{
	uint8_t bytes[OPAQUE_TOKEN_BYTES];
	random_bytes(bytes, sizeof(bytes));
	opaque_token_print(bytes, token);
	wipe(bytes, sizeof(bytes));
}

/* --- the record */

enum status opaque_token_put(struct transaction *transaction, const struct access_claims *claims, struct text token)
{
	char id[DIGEST_HEX + 1];
	struct buffer body = {0};
	enum status status = digest_hex_of(token, id);
	if (status == STATUS_OK)
		status = access_claims_print(claims, &body);
	if (status == STATUS_OK &&
		!transaction_put(transaction, claims->ctx, RECORD_TOKEN, text_of(id), buffer_text(&body), REVISION_ANY))
		status = STATUS_NO_MEMORY;
	buffer_free(&body);
	return status;
}

static void place(char **at, struct text *text)
{
	if (text->length > 0)
		memcpy(*at, text->bytes, text->length);
	text->bytes = *at;
	*at += text->length;
}

enum status opaque_token_build(struct text ctx, const struct json *body, struct opaque_token **token)
{
	struct access_claims claims;
	if (!access_claims_read(body, &claims) || !text_equals(claims.ctx, ctx) || claims.expires_s < 0)
		return STATUS_INVALID;
	struct text *const texts[] = {&claims.identity, &claims.audience, &claims.ctx, &claims.flow, &claims.jti};
	size_t room = 0;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		room += texts[i]->length;
	struct opaque_token *made = malloc(sizeof(*made) + room);
	if (made == NULL)
		return STATUS_NO_MEMORY;
	char *at = made->bytes;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		place(&at, texts[i]);
	made->claims = claims;
	*token = made;
	return STATUS_OK;
}

void opaque_token_free(void *token)
{
	free(token);
}

enum status opaque_token_find(
	const struct dp *dp, struct text ctx, struct text token, const struct opaque_token **found)
{
	char id[DIGEST_HEX + 1];
	enum status status = digest_hex_of(token, id);
	if (status != STATUS_OK)
		return status;
	const struct opaque_token *known = dp_find(dp, DP_TOKENS, ctx, text_of(id));
	if (known == NULL)
		return STATUS_NOT_FOUND;
	*found = known;
	return STATUS_OK;
}

uint64_t opaque_token_epoch(const struct dp *dp)
{
	return atomic_load_explicit(&dp->token_epoch, memory_order_acquire);
}

/* --- the end */

bool opaque_token_is_over(const struct dp *dp, const struct opaque_token *token, int64_t now_ms)
{
	const struct access_claims *claims = &token->claims;
	const struct flow *flow = dp_find(dp, DP_FLOWS, claims->ctx, claims->flow);
	const struct flow_terms *terms = flow == NULL ? NULL : atomic_load_explicit(&flow->terms, memory_order_acquire);
	if (terms == NULL || claims->issued_s < terms->created_ms / 1000)
		return true;
	int64_t now_s = now_ms / 1000;
	if (claims->expires_s > now_s)
		return false;
	const struct renewal *renewal = dp_find(dp, DP_RENEWALS, claims->ctx, claims->flow);
	return renewal == NULL || claims->issued_s < renewal->acknowledged_s ||
		   claims->expires_s + dp->settings.renewal_grace_ms / 1000 < now_s;
}

struct sweep {
	const struct dp *dp;
	struct transaction *transaction;
	int64_t now_ms;
	unsigned count;
	bool failed;
};

static bool sweep_one(void *context, struct text key, void *value)
{
	struct sweep *sweep = context;
	const struct opaque_token *token = value;
	if (!opaque_token_is_over(sweep->dp, token, sweep->now_ms))
		return true;
	if (sweep->transaction == NULL)
		sweep->transaction = transaction_new();
	/* the key ends with the record's id */
	struct text id = text_slice(key, key.length - DIGEST_HEX, key.length);
	sweep->failed = sweep->transaction == NULL ||
					!transaction_delete(sweep->transaction, token->claims.ctx, RECORD_TOKEN, id, REVISION_ANY);
	return ++sweep->count < SWEEP_MAX && !sweep->failed;
}

static void on_swept(void *context, enum status status, int64_t revision)
{
	(void)context, (void)status, (void)revision; /* what is still there is found again */
}

void opaque_tokens_sweep(struct dp *dp)
{
	const struct map *tokens = atomic_load_explicit(&dp->maps[DP_TOKENS], memory_order_relaxed);
	struct sweep sweep = {.dp = dp, .now_ms = clock_wall_ms()};
	if (map_count(tokens) == 0 || sweep.now_ms < dp->token_sweep_ms)
		return;
	/* before the submission, which may come back here */
	dp->token_sweep_ms = sweep.now_ms + SWEEP_PAUSE_MS;
	map_each(tokens, sweep_one, &sweep);
	if (sweep.count == SWEEP_MAX)
		dp->token_sweep_ms = sweep.now_ms; /* there may be more: with the next batch, which this one makes */
	if (sweep.transaction != NULL && !sweep.failed)
		store_submit(dp->store, sweep.transaction, NULL, on_swept, NULL);
	else
		transaction_free(sweep.transaction);
}
