/* Which key of its vault a tenant's tokens are signed with, and the kid they name: the document of siglet's
 * /key-mappings (cfm.md 4.4 G).
 *
 * The fabric tells of a key as soon as the participant's identity exists, which may be before its participant context
 * exists here: such a mapping waits as a record of the cell itself, and counts from the moment the participant is
 * there.
 */
#pragma once

#include "server/base/json.h"

struct dp;

struct key_mapping {
	char *ctx, *key_name, *kid;
	int64_t created_ms; /* 0: not said */
};

/* Ids of the record: in the tenant's ctx there is one; one that waits has the ctx as its id. */
#define KEY_MAPPING_ID TEXT("key-mapping")
#define KEY_MAPPING_WAITING TEXT("")

/* {"participantContextId","keyName","kid"}, in records also "createdAt", which `strict` refuses like every other
 * member. `error` gets one line that names the member. */
enum status key_mapping_build(
	const struct json *body, bool strict, struct key_mapping **mapping, struct buffer *error) MUST_CHECK;
void key_mapping_free(void *mapping);
/* The document; with createdAt for a record. */
void key_mapping_print(const struct key_mapping *mapping, bool is_record, struct buffer *into);

/* NULL: none. On a worker, valid until it returns to its loop. */
const struct key_mapping *key_mapping_find(const struct dp *dp, struct text ctx);
