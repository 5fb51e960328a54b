/* Tokens: whatever parses must print back as itself, must not verify, and its claims must not break the rules' check.
 */
#include <stdlib.h>

#include "tenants/jose/jws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct key *key_of(enum key_kind kind)
{
	static struct key *keys[2];
	if (keys[kind] == NULL && key_generate(kind, TEXT_NONE, &keys[kind]) != STATUS_OK)
		abort();
	return keys[kind];
}

static void check_claims(const struct json *claims)
{
	int64_t expires_s = -1;
	const struct token_rules rules = {
		.issuer = TEXT("joe"), .audience = TEXT("me"), .need_expiry = true, .leeway_s = 5, .now_s = 1300819380};
	if (token_check(claims, &rules, &expires_s) == STATUS_OK && expires_s + rules.leeway_s <= rules.now_s)
		abort();
}

/* The input as a token, and as the claims of one. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct text input = {(const char *)data, size};
	struct buffer token = {.bytes = NULL};
	struct jws jws;
	if (jws_parse(input, &jws) == STATUS_OK) {
		buffer_append(&token, jws.signing_input);
		if (jws_append_signature(&token, (struct text){(const char *)jws.signature, jws.signature_length}) ==
				STATUS_OK &&
			!text_equals(buffer_text(&token), input))
			abort();
		if (jws_verify(&jws, key_of(KEY_ES256)) == STATUS_OK || jws_verify(&jws, key_of(KEY_EDDSA)) == STATUS_OK)
			abort();
		check_claims(jws.claims);
		jws_free(&jws);
	}
	buffer_clear(&token);
	const uint8_t signature[64] = {0};
	if (jws_input(TEXT("{\"alg\":\"ES256\"}"), input, &token) == STATUS_OK &&
		jws_append_signature(&token, (struct text){(const char *)signature, 64}) == STATUS_OK &&
		jws_parse(buffer_text(&token), &jws) == STATUS_OK) {
		check_claims(jws.claims);
		jws_free(&jws);
	}
	buffer_free(&token);
	return 0;
}
