/* A key under a name of the caller's choice in a participant's vault, made there or brought from elsewhere: what a key
 * mapping can name. */
#include <string.h>

#include "tenants/dp/manage/operation.h"
#include "tenants/dp/signaling/key_mapping.h"

/* What was signed under the mapping's kid before was signed by another key: the next signature shows the new one. */
static void forget_public(struct operation *operation)
{
	const struct key_mapping *mapping = key_mapping_find(operation->dp, operation->ctx);
	const struct participant *participant = registry_find(operation->dp->registry, operation->ctx);
	struct transaction *transaction = NULL;
	bool is_known = false;
	for (size_t i = 0; mapping != NULL && participant != NULL && i < participant->key_count; i++)
		is_known |= text_equals(key_id(participant->keys[i]), text_of(mapping->kid));
	if (!is_known || !text_equals(text_of(mapping->key_name), operation->id)) {
		operation_answer(operation, operation->status);
		return;
	}
	transaction = transaction_new();
	if (transaction != NULL &&
		!transaction_delete(transaction, operation->ctx, RECORD_KEY, text_of(mapping->kid), REVISION_ANY)) {
		transaction_free(transaction);
		transaction = NULL;
	}
	operation_submit(operation, transaction);
}

static void on_key(void *context, enum status status, struct text jwk)
{
	struct operation *operation = context;
	if (!operation_resumes(operation))
		return;
	if (status != STATUS_OK) {
		operation_refuse(operation, status_to_http(status),
			status == STATUS_CONFLICT  ? "there is something under this alias"
			: status == STATUS_INVALID ? "privateKey: must be a P-256 or Ed25519 key, PKCS#8 in PEM, unencrypted"
									   : NULL);
		return;
	}
	buffer_append(&operation->answer, jwk);
	forget_public(operation);
}

static void refuse_member(struct operation *operation, const char *name, const char *what)
{
	struct buffer detail = {0};
	buffer_printf(&detail, "%s: %s", name, what);
	operation_refuse(operation, 400, detail.bytes);
	buffer_free(&detail);
}

/* {"algorithm":"ES256"|"EdDSA"} makes one, {"privateKey":PEM} brings one. */
void keys_put(struct operation *operation, struct text body)
{
	struct json *root = manage_parse(operation, body);
	if (root == NULL)
		return;
	const struct json *first = json_first(root);
	struct text algorithm = json_member_text(root, "algorithm"), private = json_member_text(root, "privateKey");
	bool is_eddsa = text_equals(algorithm, TEXT("EdDSA"));
	operation->status = 201;
	if (manage_is_reserved(operation, operation->id)) {
		operation_refuse(operation, 409, "the alias belongs to a key");
	} else if (first == NULL || json_next(first) != NULL) {
		refuse_member(operation, "algorithm", "or privateKey must be given, and nothing else");
	} else if (private.length > 0) {
		operation->is_pending = true;
		vault_key_import(
			operation->dp->vault, operation->ctx, operation->id, private, operation->worker, on_key, operation);
	} else if (is_eddsa || text_equals(algorithm, TEXT("ES256"))) {
		operation->is_pending = true;
		vault_key_create(operation->dp->vault, operation->ctx, operation->id, is_eddsa ? KEY_EDDSA : KEY_ES256,
			operation->worker, on_key, operation);
	} else {
		refuse_member(operation, json_name(first), "must be algorithm (ES256, EdDSA) or privateKey");
	}
	json_free(root);
}
