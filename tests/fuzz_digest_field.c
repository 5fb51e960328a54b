/* Any bytes as Want-*-Digest and *-Digest; what is found is printed and found again. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/source/digest_field.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct text field = {(const char *)bytes, length};
	enum hash_kind kind;
	if (digest_is_wanted(field, &kind) && (unsigned)kind >= HASH_COUNT)
		abort();
	for (int i = 0; i < HASH_COUNT; i++) {
		uint8_t digest[HASH_BYTES_MAX], again[HASH_BYTES_MAX];
		struct buffer print = {0};
		if (!digest_find(field, (enum hash_kind)i, digest))
			continue;
		digest_print((enum hash_kind)i, digest, &print);
		if (!print.failed && (!digest_find(buffer_text(&print), (enum hash_kind)i, again) ||
								 memcmp(digest, again, hash_bytes((enum hash_kind)i)) != 0))
			abort();
		buffer_free(&print);
	}
	return 0;
}
