/* Kinds whose record becomes one object, replaced whole: datasets, revocations, transfer types, key mappings, renewals,
 * letters, opaque tokens. On the store's thread, or the loading one. */
#pragma once

#include "tenants/dp/state.h"

struct document_kind;
/* NULL: this kind is none of them. Static. */
const struct document_kind *document_kind_of(enum record_kind record);
/* A failure (INVALID with one line in `error`) leaves what was there. */
enum status document_on_record(struct dp *dp, const struct document_kind *kind, const struct record *record,
	const struct json *body, struct buffer *error) MUST_CHECK;
void document_on_gone(struct dp *dp, const struct document_kind *kind, const struct record *record);
/* At the end, the objects; the maps stay. */
void documents_free(struct dp *dp);
