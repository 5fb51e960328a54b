/* Which transfer profiles a tenant serves and what its addresses say: the document of siglet's /transfer-type-mappings
 * (cfm.md 4.4 F), compiled once from its record. A tenant's document replaces the built-in list completely. */
#pragma once

#include "server/base/json.h"

struct dp;

/* Who makes the access token that stands in the address. */
enum token_source { TOKEN_SOURCE_PROVIDER, TOKEN_SOURCE_CLIENT };

/* Chosen when the flow's metadata has a text `key` of this value. */
struct endpoint_choice {
	const char *key, *value, *endpoint;
};

struct transfer_type {
	const char *profile, *endpoint_type;
	const char *endpoint; /* NULL: the cell's own */
	const struct endpoint_choice *choices;
	size_t choice_count;
	enum token_source token_source;
	bool has_tx_renewal; /* addresses also carry the Tractus-X spellings of the renewal properties */
};

struct transfer_types {
	char *ctx, *body; /* body: the document, as it was given */
	size_t count;
	struct transfer_type *items;
};

enum { TRANSFER_TYPES_MAX = 64, ENDPOINT_CHOICES_MAX = 64 };
/* The id of the record: a tenant has one. */
#define TRANSFER_TYPES_ID TEXT("transfer-types")

/* {"participantContextId","mappings":{profile:{"transferType","endpointType","tokenSource"?,"endpoint"?,
 * "endpointMappings"?:[{"key","value","endpoint"}],"txRenewalSupport"?}}}. Unknown members are INVALID; `error` gets
 * one line that names the member. An optional member may be null. */
enum status transfer_types_build(
	const struct json *body, struct transfer_types **types, struct buffer *error) MUST_CHECK;
void transfer_types_free(void *types);

/* On a worker, valid until it returns to its loop. NULL: the tenant does not serve this profile. Profiles are compared
 * byte by byte. */
const struct transfer_type *transfer_types_find(const struct dp *dp, struct text ctx, struct text profile);
/* What the address names: the first choice that the metadata (an object or NULL) meets, else `endpoint`; TEXT_NONE: the
 * cell's own. */
struct text transfer_type_endpoint(const struct transfer_type *type, const struct json *metadata);

struct transaction;
/* Adds the tenant's document to the transaction (an agent of a fabric sets it without HTTP). INVALID with one line in
 * `error`; NO_MEMORY. */
enum status transfer_types_add(
	struct transaction *transaction, struct text ctx, const struct json *body, struct buffer *error) MUST_CHECK;
