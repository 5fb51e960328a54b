/* Digests of the records of decisions. */
#include "control/fabric/place/decision_seal.h"

#include <string.h>

void decision_seal_add(struct decision_seal *seal, struct text id, struct text body)
{
	uint8_t digest[DIGEST_BYTES];
	char hex[DIGEST_HEX + 1];
	if (digest_of(body, digest) != STATUS_OK) {
		seal->lines.failed = true;
		return;
	}
	digest_hex(digest, hex);
	buffer_append(&seal->lines, id);
	buffer_append_byte(&seal->lines, ' ');
	buffer_append(&seal->lines, (struct text){hex, DIGEST_HEX});
	buffer_append_byte(&seal->lines, '\n');
	seal->records++;
}

enum status decision_seal_end(struct decision_seal *seal, char digest[DIGEST_HEX + 1])
{
	uint8_t bytes[DIGEST_BYTES];
	enum status status = seal->lines.failed ? STATUS_NO_MEMORY : digest_of(buffer_text(&seal->lines), bytes);
	if (status == STATUS_OK)
		digest_hex(bytes, digest);
	buffer_free(&seal->lines);
	seal->records = 0;
	return status;
}

bool decision_seal_is_same(struct text one, struct text other)
{
	return one.length >= DECISION_BATCH && other.length >= DECISION_BATCH &&
		   memcmp(one.bytes, other.bytes, DECISION_BATCH) == 0;
}
