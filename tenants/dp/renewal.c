/* Refresh tokens: what is stored, and which token is good for what. */
#include "tenants/dp/renewal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/secret.h"
#include "tenants/dp/data_address.h"
#include "tenants/dp/state.h"
#include "tenants/jose/jws.h"

#define EDC "https://w3id.org/edc/v0.0.1/ns/"
#define TRACTUS "https://w3id.org/tractusx/auth/"

/* --- the record */

static int hex_value(char byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static bool read_digest(const struct json *body, const char *name, uint8_t into[DIGEST_BYTES])
{
	struct text hex = json_member_text(body, name);
	for (size_t i = 0; i < DIGEST_BYTES && hex.length == DIGEST_HEX; i++) {
		int high = hex_value(hex.bytes[2 * i]), low = hex_value(hex.bytes[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		into[i] = (uint8_t)(high * 16 + low);
	}
	return hex.length == DIGEST_HEX;
}

static void append_digest(struct buffer *into, const char *name, const uint8_t bytes[DIGEST_BYTES])
{
	char hex[DIGEST_HEX + 1];
	digest_hex(bytes, hex);
	buffer_printf(into, ",\"%s\":\"%s\"", name, hex);
}

enum status renewal_parse(struct text ctx, struct text flow, const struct json *body, struct renewal **renewal)
{
	struct renewal *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	struct text party = json_member_text(body, "counterParty");
	made->has_previous = json_member(body, "previous") != NULL;
	const struct json *acknowledged = json_member(body, "acknowledgedAt");
	bool is_good = ctx.length == ID_LENGTH && party.length > 0 && read_digest(body, "current", made->current) &&
				   json_integer(json_member(body, "issuedAt"), &made->issued_ms) &&
				   (acknowledged == NULL || json_integer(acknowledged, &made->acknowledged_s)) &&
				   (!made->has_previous ||
					   (read_digest(body, "previous", made->previous) && read_digest(body, "nonce", made->nonce)));
	if (is_good) {
		memcpy(made->ctx, ctx.bytes, ID_LENGTH);
		made->flow = text_copy(flow);
		made->counter_party = text_copy(party);
	}
	if (made->flow == NULL || made->counter_party == NULL) {
		renewal_free(made);
		return is_good ? STATUS_NO_MEMORY : STATUS_INVALID;
	}
	*renewal = made;
	return STATUS_OK;
}

void renewal_free(void *object)
{
	struct renewal *renewal = object;
	if (renewal == NULL)
		return;
	free(renewal->flow);
	free(renewal->counter_party);
	free(renewal);
}

static enum status put(
	struct transaction *transaction, const struct renewal *renewal, struct text ctx, int64_t expected)
{
	struct buffer body = {0};
	buffer_printf(&body, "{\"issuedAt\":%lld,\"counterParty\":", (long long)renewal->issued_ms);
	buffer_append_json(&body, text_of(renewal->counter_party));
	if (renewal->acknowledged_s != 0)
		buffer_printf(&body, ",\"acknowledgedAt\":%lld", (long long)renewal->acknowledged_s);
	append_digest(&body, "current", renewal->current);
	if (renewal->has_previous) {
		append_digest(&body, "previous", renewal->previous);
		append_digest(&body, "nonce", renewal->nonce);
	}
	buffer_append_byte(&body, '}');
	bool is_put = !body.failed && transaction_put(transaction, ctx, RECORD_RENEWAL, text_of(renewal->flow),
									  buffer_text(&body), expected);
	buffer_free(&body);
	return is_put ? STATUS_OK : STATUS_NO_MEMORY;
}

/* --- tokens */

enum status renewal_issue(struct transaction *transaction, struct text ctx, struct text flow, struct text counter_party,
	int64_t now_ms, char token[REFRESH_TOKEN_LENGTH + 1])
{
	struct renewal first = {.issued_ms = now_ms, .flow = text_copy(flow), .counter_party = text_copy(counter_party)};
	opaque_token_make(token);
	enum status status = first.flow == NULL || first.counter_party == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	if (status == STATUS_OK)
		status = digest_of(text_of(token), first.current);
	if (status == STATUS_OK)
		status = put(transaction, &first, ctx, REVISION_ANY);
	free(first.flow);
	free(first.counter_party);
	return status;
}

bool renewal_end(const struct dp *dp, struct transaction *transaction, struct text ctx, struct text flow)
{
	return dp_find(dp, DP_RENEWALS, ctx, flow) == NULL ||
		   transaction_delete(transaction, ctx, RECORD_RENEWAL, flow, REVISION_ANY);
}

static bool is_digest(const uint8_t a[DIGEST_BYTES], const uint8_t b[DIGEST_BYTES])
{
	return text_equals_secretly(
		(struct text){(const char *)a, DIGEST_BYTES}, (struct text){(const char *)b, DIGEST_BYTES});
}

enum renewal_verdict renewal_judge(const struct renewal *renewal, struct text token)
{
	uint8_t digest[DIGEST_BYTES];
	if (token.length != REFRESH_TOKEN_LENGTH || digest_of(token, digest) != STATUS_OK)
		return RENEWAL_UNKNOWN;
	if (is_digest(digest, renewal->current))
		return RENEWAL_CURRENT;
	return renewal->has_previous && is_digest(digest, renewal->previous) ? RENEWAL_REPLAYED : RENEWAL_UNKNOWN;
}

/* label: so that the two differ */
static enum status derive(
	struct text token, const uint8_t nonce[DIGEST_BYTES], struct text label, char next[OPAQUE_TOKEN_LENGTH + 1])
{
	uint8_t bytes[DIGEST_BYTES];
	struct buffer seed = {0};
	buffer_append(&seed, (struct text){(const char *)nonce, DIGEST_BYTES});
	buffer_append(&seed, label);
	enum status status = seed.failed ? STATUS_NO_MEMORY : digest_hmac(token, buffer_text(&seed), bytes);
	if (status == STATUS_OK)
		opaque_token_print(bytes, next);
	buffer_free(&seed);
	wipe(bytes, sizeof(bytes));
	return status;
}

enum status renewal_rotate(const struct renewal *renewal, struct text token, int64_t issued_s,
	struct transaction *transaction, struct renewal_tokens *next)
{
	struct renewal rotated = *renewal; /* with borrowed texts */
	rotated.has_previous = true;
	if (issued_s > rotated.acknowledged_s)
		rotated.acknowledged_s = issued_s;
	memcpy(rotated.previous, renewal->current, DIGEST_BYTES);
	random_bytes(rotated.nonce, sizeof(rotated.nonce));
	enum status status = renewal_repeat(&rotated, token, next);
	if (status == STATUS_OK)
		status = digest_of(text_of(next->refresh), rotated.current);
	return status == STATUS_OK ? put(transaction, &rotated, text_of(renewal->ctx), renewal->revision) : status;
}

enum status renewal_repeat(const struct renewal *renewal, struct text token, struct renewal_tokens *current)
{
	enum status status = derive(token, renewal->nonce, TEXT(""), current->refresh);
	return status == STATUS_OK ? derive(token, renewal->nonce, TEXT("access"), current->access) : status;
}

/* --- the offer */

bool renewal_offer_add(const struct renewal_offer *offer, struct data_address *address)
{
	char seconds[24];
	int length = snprintf(seconds, sizeof(seconds), "%lld", (long long)offer->lifetime_s);
	const struct text expires = {seconds, (size_t)length}, type = TEXT("bearer");
	const struct {
		const char *name, *legacy;
		struct text value;
		bool is_renewal;
	} properties[] = {
		{"authorization", EDC "authorization", offer->access_token, false},
		{"authType", TRACTUS "authType", type, false},
		{"refreshToken", TRACTUS "refreshToken", offer->refresh_token, true},
		{"expiresIn", TRACTUS "expiresIn", expires, true},
		{"refreshEndpoint", TRACTUS "refreshEndpoint", offer->endpoint, true},
		{NULL, TRACTUS "refreshAudience", offer->audience, true},
	};
	for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
		if (properties[i].is_renewal && offer->refresh_token.bytes == NULL)
			continue;
		if (properties[i].name != NULL && !data_address_add(address, text_of(properties[i].name), properties[i].value))
			return false;
		if (offer->legacy && !data_address_add(address, text_of(properties[i].legacy), properties[i].value))
			return false;
	}
	return true;
}
