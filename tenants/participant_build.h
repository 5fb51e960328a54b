/* Making snapshots of participants from their records: for the registry, and for who checks a configuration before
 * storing it. */
#pragma once

#include "tenants/jose/jwk.h"
#include "tenants/participant.h"

/* body: the participant record; config: its configuration record or TEXT_NONE. Keys are referenced. */
enum status participant_build(struct text ctx, struct text body, struct text config, struct key *const *keys,
	size_t key_count, struct participant **participant) MUST_CHECK;
void participant_free(void *participant);
/* {"entries": {...}}: are the entries this cell reads well-formed? `error` gets one line that names the entry. */
enum status participant_check_config(const struct json *config, struct buffer *error) MUST_CHECK;
