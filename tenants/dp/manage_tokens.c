/* Access tokens: minted with the participant's own key, which the vault keeps; revoked by a record. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/operation.h"

#define KEY_ALIAS TEXT("dataplane")
#define LIFETIME_MAX_S INT64_C(31536000)
enum { SWEEP_MAX = 16, KEY_WAIT_MS = 1000 };

static void make_key(struct operation *operation);

/* --- minting, last step first */

static void on_signature(void *context, enum status status, struct text signature)
{
	struct operation *operation = context;
	if (!operation_resumes(operation))
		return;
	if (status == STATUS_OK)
		status = jws_append_signature(&operation->input, signature);
	if (status != STATUS_OK) {
		operation_refuse(operation, 503, "the key is not available");
		return;
	}
	struct buffer rest = operation->answer; /* from expiresAt on */
	operation->answer = (struct buffer){0};
	buffer_append(&operation->answer, TEXT("{\"token\":"));
	buffer_append_json(&operation->answer, buffer_text(&operation->input));
	buffer_append(&operation->answer, buffer_text(&rest));
	operation->answer.failed = operation->answer.failed || rest.failed;
	buffer_free(&rest);
	operation_answer(operation, 201);
}

static void append_member(struct buffer *into, const char *name, struct text value)
{
	buffer_append_byte(into, into->length == 0 ? '{' : ',');
	buffer_append_json(into, text_of(name));
	buffer_append_byte(into, ':');
	buffer_append_json(into, value);
}

static void append_number(struct buffer *into, const char *name, int64_t value)
{
	buffer_append_byte(into, ',');
	buffer_append_json(into, text_of(name));
	buffer_append_byte(into, ':');
	buffer_append_number(into, value);
}

static enum status make_input(struct operation *operation, const struct participant *participant, const struct key *key,
	const struct flow *flow, const struct flow_terms *terms)
{
	struct buffer header = {0}, claims = {0};
	char jti[ID_LENGTH + 1];
	id_random(jti);
	append_member(&header, "alg", key_kind(key) == KEY_ES256 ? TEXT("ES256") : TEXT("EdDSA"));
	append_member(&header, "typ", TEXT("JWT"));
	append_member(&header, "kid", key_id(key));
	buffer_append_byte(&header, '}');
	int64_t now_ms = worker_wall_ms(operation->worker);
	int64_t expires_s = now_ms / 1000 + operation->lifetime_s;
	if (terms->expires_ms != 0 && expires_s > terms->expires_ms / 1000)
		expires_s = terms->expires_ms / 1000;
	append_member(&claims, "iss", text_of(participant->identity));
	append_member(&claims, "sub", text_of(participant->identity));
	append_member(&claims, "aud", text_of(terms->counter_party));
	append_member(&claims, "jti", text_of(jti));
	append_member(&claims, "ctx", operation->ctx);
	append_member(&claims, "flow", text_of(flow->id));
	append_number(&claims, "iat", now_ms / 1000);
	append_number(&claims, "exp", expires_s);
	buffer_append_byte(&claims, '}');
	buffer_clear(&operation->input);
	enum status status = header.failed || claims.failed
							 ? STATUS_NO_MEMORY
							 : jws_input(buffer_text(&header), buffer_text(&claims), &operation->input);
	append_number(&operation->answer, "expiresAt", expires_s * 1000);
	buffer_printf(&operation->answer, ",\"endpoint\":\"/api/public/%s\",\"authType\":\"bearer\",\"jti\":\"%s\"}",
		participant->ctx, jti);
	buffer_free(&header);
	buffer_free(&claims);
	return status;
}

/* The public half of the key under KEY_ALIAS: kid = "<ctx>#dataplane-<8 hex>". */
static const struct key *find_key(const struct participant *participant)
{
	for (size_t i = 0; i < participant->key_count; i++) {
		struct text kid = key_id(participant->keys[i]);
		if (text_starts_with(text_slice(kid, text_find(kid, '#'), kid.length), TEXT("#dataplane-")))
			return participant->keys[i];
	}
	return NULL;
}

static void mint(struct operation *operation)
{
	const struct participant *participant = registry_find(operation->dp->registry, operation->ctx);
	const struct flow *flow = dp_find(operation->dp, DP_FLOWS, operation->ctx, operation->id);
	if (participant == NULL || flow == NULL) {
		operation_refuse(operation, 404, NULL);
		return;
	}
	const struct flow_terms *terms = atomic_load_explicit(&flow->terms, memory_order_acquire);
	bool has_expired = terms->expires_ms != 0 && terms->expires_ms <= worker_wall_ms(operation->worker);
	if (has_expired || terms->state == FLOW_TERMINATED || terms->state == FLOW_COMPLETED) {
		operation_refuse(operation, 409, "the flow has ended");
		return;
	}
	const struct key *key = find_key(participant);
	if (key == NULL) {
		make_key(operation);
		return;
	}
	if (make_input(operation, participant, key, flow, terms) != STATUS_OK) {
		operation_refuse(operation, 503, NULL);
		return;
	}
	operation->is_pending = true;
	vault_sign(operation->dp->vault, operation->ctx, KEY_ALIAS, buffer_text(&operation->input), operation->worker,
		on_signature, operation);
}

/* --- a participant without a key gets one */

static void on_key_stored(void *context, enum status status, int64_t revision)
{
	struct operation *operation = context;
	(void)revision;
	if (!operation_resumes(operation))
		return;
	const struct participant *participant = registry_find(operation->dp->registry, operation->ctx);
	if (status != STATUS_OK)
		operation_refuse(operation, status_to_http(status), NULL);
	else if (participant == NULL || find_key(participant) == NULL)
		operation_refuse(operation, 503, "the key is not available");
	else
		mint(operation);
}

static void store_key(struct operation *operation, struct text jwk)
{
	struct transaction *transaction = transaction_new();
	if (transaction == NULL ||
		!transaction_put(transaction, operation->ctx, RECORD_KEY, KEY_ALIAS, jwk, REVISION_ANY)) {
		transaction_free(transaction);
		operation_refuse(operation, 503, NULL);
		return;
	}
	operation->is_pending = true;
	store_submit(operation->dp->store, transaction, operation->worker, on_key_stored, operation);
}

static void on_old_key_gone(void *context, enum status status, struct text result)
{
	struct operation *operation = context;
	(void)result;
	if (!operation_resumes(operation))
		return;
	if (status != STATUS_OK && status != STATUS_NOT_FOUND)
		operation_refuse(operation, 503, "the key is not available");
	else
		make_key(operation);
}

/* The vault has a key that no record tells of. Either its record is on its way, or a crash came between the two: then
 * that key never signed anything, and a new one takes its place. */
static void on_waited(void *context)
{
	struct operation *operation = context;
	if (!operation_resumes(operation))
		return;
	const struct participant *participant = registry_find(operation->dp->registry, operation->ctx);
	if (participant == NULL || find_key(participant) != NULL) {
		mint(operation);
		return;
	}
	operation->is_pending = true;
	vault_delete(operation->dp->vault, operation->ctx, KEY_ALIAS, operation->worker, on_old_key_gone, operation);
}

static void on_key(void *context, enum status status, struct text jwk)
{
	struct operation *operation = context;
	if (!operation_resumes(operation)) /* the next call finds the key without a record and replaces it */
		return;
	if (status == STATUS_OK) {
		store_key(operation, jwk);
		return;
	}
	if (status == STATUS_CONFLICT && !operation->has_waited) {
		operation->has_waited = true;
		operation->timer = timer_new(operation->worker, on_waited, operation);
		if (operation->timer != NULL) {
			operation->is_pending = true;
			timer_set(operation->timer, KEY_WAIT_MS);
			return;
		}
	}
	operation_refuse(operation, 503, "the key is not available");
}

static void make_key(struct operation *operation)
{
	operation->is_pending = true;
	vault_key_create(operation->dp->vault, operation->ctx, KEY_ALIAS, KEY_ES256, operation->worker, on_key, operation);
}

/* --- the calls */

void tokens_create(struct operation *operation, struct text body)
{
	struct json *root = NULL;
	operation->lifetime_s = operation->dp->settings.token_lifetime_ms / 1000;
	if (body.length > 0 && (root = manage_parse(operation, body)) == NULL)
		return;
	for (const struct json *item = json_first(root); item != NULL; item = json_next(item)) {
		bool is_known = strcmp(json_name(item), "lifetimeSeconds") == 0;
		if (is_known && json_integer(item, &operation->lifetime_s) && operation->lifetime_s >= 1 &&
			operation->lifetime_s <= LIFETIME_MAX_S)
			continue;
		struct buffer detail = {0};
		buffer_printf(&detail, "%s: %s", json_name(item), is_known ? "must be 1 to 31536000" : "unknown member");
		operation_refuse(operation, 400, detail.bytes);
		buffer_free(&detail);
		json_free(root);
		return;
	}
	json_free(root);
	mint(operation);
}

struct sweep {
	struct operation *operation;
	struct transaction *transaction;
	int64_t now_ms;
	unsigned count;
	bool failed;
};

static bool sweep_one(void *context, struct text key, void *value)
{
	struct sweep *sweep = context;
	const struct revocation *old = value;
	(void)key;
	if (old->expires_ms < sweep->now_ms && text_equals(text_of(old->ctx), sweep->operation->ctx)) {
		sweep->failed |= !transaction_delete(
			sweep->transaction, text_of(old->ctx), RECORD_REVOCATION, text_of(old->jti), REVISION_ANY);
		sweep->count++;
	}
	return sweep->count < SWEEP_MAX && !sweep->failed;
}

void tokens_revoke(struct operation *operation, struct text body)
{
	(void)body;
	if (dp_find(operation->dp, DP_FLOWS, operation->ctx, operation->id) == NULL) {
		operation_refuse(operation, 404, NULL);
		return;
	}
	operation->status = 204;
	if (dp_find(operation->dp, DP_REVOCATIONS, operation->ctx, operation->token) != NULL) {
		operation_answer(operation, 204);
		return;
	}
	/* no token lives longer than LIFETIME_MAX_S: afterwards the record may go, with the next revocation of this
	 * participant */
	int64_t now_ms = worker_wall_ms(operation->worker);
	struct buffer record = {0};
	append_member(&record, "jti", operation->token);
	append_number(&record, "expiresAt", now_ms + (LIFETIME_MAX_S + 60) * 1000);
	buffer_append_byte(&record, '}');
	struct sweep sweep = {.operation = operation, .transaction = transaction_new(), .now_ms = now_ms};
	sweep.failed = record.failed || sweep.transaction == NULL ||
				   !transaction_put(sweep.transaction, operation->ctx, RECORD_REVOCATION, operation->token,
					   buffer_text(&record), REVISION_ANY);
	if (!sweep.failed)
		map_each(atomic_load_explicit(&operation->dp->maps[DP_REVOCATIONS], memory_order_acquire), sweep_one, &sweep);
	if (sweep.failed) {
		transaction_free(sweep.transaction);
		sweep.transaction = NULL;
	}
	buffer_free(&record);
	operation_submit(operation, sweep.transaction);
}
