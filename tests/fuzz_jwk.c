/* Keys: a JWK that is taken must print, and be taken again as the same key. Sets and private forms ride along. */
#include <stdlib.h>

#include "tenants/jose/jwk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_key(const struct key *key)
{
	struct buffer once = {.bytes = NULL}, twice = {.bytes = NULL};
	struct key *again = NULL;
	if (key_to_public_jwk(key, &once) != STATUS_OK || key_from_public_jwk(buffer_text(&once), &again) != STATUS_OK ||
		key_to_public_jwk(again, &twice) != STATUS_OK || !text_equals(buffer_text(&once), buffer_text(&twice)))
		abort();
	key_free(again);
	buffer_free(&once);
	buffer_free(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct text input = {(const char *)data, size};
	struct key *key = NULL, *keys[4];
	size_t count;
	if (key_from_public_jwk(input, &key) == STATUS_OK) {
		check_key(key);
		key_free(key);
	}
	if (keys_from_jwks(input, keys, sizeof(keys) / sizeof(keys[0]), &count) == STATUS_OK) {
		for (size_t i = 0; i < count; i++) {
			check_key(keys[i]);
			key_free(keys[i]);
		}
	}
	if (key_from_private_der(input, TEXT_NONE, &key) == STATUS_OK)
		key_free(key);
	if (key_from_private_pem(input, TEXT_NONE, &key) == STATUS_OK)
		key_free(key);
	return 0;
}
