/* Kinds whose record becomes one object: how each is built, and what hears of it. */
#include "tenants/dp/documents.h"

#include <stdlib.h>

#include "tenants/dp/opaque_token.h"
#include "tenants/dp/renewal.h"
#include "tenants/dp/signaling/key_mapping.h"
#include "tenants/dp/signaling/outbox.h"
#include "tenants/dp/signaling/transfer_types.h"
#include "tenants/dp/versions.h"

struct document_kind {
	enum record_kind record;
	enum dp_map map;
	enum status (*build)(
		struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error);
	void (*release)(void *object);
	void (*on_published)(struct dp *dp, const void *object); /* may be NULL */
	void (*on_left)(struct dp *dp);                          /* one is replaced or gone; may be NULL */
};

static enum status build_dataset(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct dataset *dataset;
	enum status status = dataset_build(record->ctx, record->id, body, dp->workers, &dataset, error);
	if (status != STATUS_OK)
		return status;
	dataset->revision = record->revision;
	*object = dataset;
	return STATUS_OK;
}

static void revocation_free(void *object)
{
	struct revocation *revocation = object;
	if (revocation != NULL) {
		free(revocation->ctx);
		free(revocation->jti);
		free(revocation);
	}
}

static enum status build_revocation(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct revocation *revocation = calloc(1, sizeof(*revocation));
	(void)dp, (void)error;
	if (revocation == NULL)
		return STATUS_NO_MEMORY;
	revocation->ctx = text_copy(record->ctx);
	revocation->jti = text_copy(record->id);
	if (!json_integer(json_member(body, "expiresAt"), &revocation->expires_ms))
		revocation->expires_ms = INT64_MAX;
	if (revocation->ctx == NULL || revocation->jti == NULL) {
		revocation_free(revocation);
		return STATUS_NO_MEMORY;
	}
	*object = revocation;
	return STATUS_OK;
}

static enum status build_transfer_types(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct transfer_types *types = NULL;
	enum status status = transfer_types_build(body, &types, error);
	(void)dp, (void)record;
	*object = types;
	return status;
}

static enum status build_key_mapping(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct key_mapping *mapping = NULL;
	enum status status = key_mapping_build(body, false, &mapping, error);
	(void)dp, (void)record;
	*object = mapping;
	return status;
}

static enum status build_renewal(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct renewal *renewal;
	enum status status = renewal_parse(record->ctx, record->id, body, &renewal);
	(void)dp, (void)error;
	if (status != STATUS_OK)
		return status;
	renewal->revision = record->revision;
	*object = renewal;
	return STATUS_OK;
}

static enum status build_letter(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct letter *letter;
	enum status status = letter_parse(record->ctx, body, &letter);
	(void)dp, (void)error;
	if (status != STATUS_OK)
		return status;
	letter->revision = record->revision;
	*object = letter;
	return STATUS_OK;
}

static enum status build_token(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct opaque_token *token = NULL;
	enum status status =
		record->id.length != DIGEST_HEX ? STATUS_INVALID : opaque_token_build(record->ctx, body, &token);
	(void)dp, (void)error;
	*object = token;
	return status;
}

static void token_left(struct dp *dp)
{
	atomic_fetch_add_explicit(&dp->token_epoch, 1, memory_order_release);
}

static void wake_letter(struct dp *dp, const void *object)
{
	const struct letter *letter = object;
	outbox_wake(dp, text_of(letter->ctx), text_of(letter->flow));
}

static const struct document_kind documents[] = {
	{RECORD_DATASET, DP_DATASETS, build_dataset, dataset_unref, NULL, NULL},
	{RECORD_REVOCATION, DP_REVOCATIONS, build_revocation, revocation_free, NULL, NULL},
	{RECORD_TRANSFER_TYPES, DP_TRANSFER_TYPES, build_transfer_types, transfer_types_free, NULL, NULL},
	{RECORD_KEY_MAPPING, DP_KEY_MAPPINGS, build_key_mapping, key_mapping_free, NULL, NULL},
	{RECORD_RENEWAL, DP_RENEWALS, build_renewal, renewal_free, NULL, NULL},
	{RECORD_OUTBOX, DP_LETTERS, build_letter, letter_free, wake_letter, NULL},
	{RECORD_TOKEN, DP_TOKENS, build_token, opaque_token_free, NULL, token_left},
};
enum { DOCUMENT_COUNT = sizeof(documents) / sizeof(documents[0]) };

const struct document_kind *document_kind_of(enum record_kind record)
{
	for (size_t i = 0; i < DOCUMENT_COUNT; i++) {
		if (documents[i].record == record)
			return &documents[i];
	}
	return NULL;
}

/* `old` is not found any more. */
static void left(struct dp *dp, const struct document_kind *kind, void *old)
{
	if (old != NULL && kind->on_left != NULL)
		kind->on_left(dp);
	dp_retire(dp, kind->release, old);
}

enum status document_on_record(struct dp *dp, const struct document_kind *kind, const struct record *record,
	const struct json *body, struct buffer *error)
{
	void *old = dp_find(dp, kind->map, record->ctx, record->id), *object = NULL;
	enum status status = kind->build(dp, record, body, &object, error);
	if (status != STATUS_OK)
		return status;
	status = dp_publish(dp, kind->map, record->ctx, record->id, object);
	if (status != STATUS_OK) {
		kind->release(object);
		return status;
	}
	left(dp, kind, old);
	if (kind->on_published != NULL)
		kind->on_published(dp, object);
	return STATUS_OK;
}

void document_on_gone(struct dp *dp, const struct document_kind *kind, const struct record *record)
{
	void *old = dp_find(dp, kind->map, record->ctx, record->id);
	if (old != NULL && dp_publish(dp, kind->map, record->ctx, record->id, NULL) == STATUS_OK)
		left(dp, kind, old);
}

static bool free_document(void *context, struct text key, void *value)
{
	(void)key;
	((const struct document_kind *)context)->release(value);
	return true;
}

void documents_free(struct dp *dp)
{
	for (size_t i = 0; i < DOCUMENT_COUNT; i++) {
		struct map *map = atomic_load_explicit(&dp->maps[documents[i].map], memory_order_relaxed);
		if (map != NULL)
			map_each(map, free_document, (void *)(uintptr_t)&documents[i]);
	}
}
