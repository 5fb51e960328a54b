/* Access tokens: made in the form the cell is set to; revoked by a record. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/manage/operation.h"
#include "tenants/dp/renewal.h"
#include "tenants/dp/token_issue.h"

#define LIFETIME_MAX_S INT64_C(31536000)
enum { SWEEP_MAX = 16 };

/* --- minting */

/* Into the transaction; false: out of memory. */
static bool add_refresh_token(struct operation *operation)
{
	const struct flow *flow = dp_find(operation->dp, DP_FLOWS, operation->ctx, operation->id);
	char token[REFRESH_TOKEN_LENGTH + 1] = "";
	if (flow == NULL)
		return false;
	const struct flow_terms *terms = atomic_load_explicit(&flow->terms, memory_order_acquire);
	bool is_issued = renewal_issue(operation->transaction, operation->ctx, operation->id, text_of(terms->counter_party),
						 worker_wall_ms(operation->worker), token) == STATUS_OK;
	buffer_printf(&operation->answer, ",\"refreshToken\":\"%s\",\"refreshEndpoint\":\"/api/public/%.*s/token\"", token,
		TEXT_ARGUMENTS(operation->ctx));
	wipe(token, sizeof(token));
	return is_issued;
}

static void on_token(void *context, enum status status, struct text token)
{
	struct operation *operation = context;
	if (!operation_resumes(operation))
		return;
	if (status != STATUS_OK) {
		operation_refuse(operation, status_to_http(status), "the key is not available");
		return;
	}
	buffer_append(&operation->answer, TEXT(",\"token\":"));
	buffer_append_json(&operation->answer, token);
	if (operation->is_renewable && !add_refresh_token(operation)) {
		operation_refuse(operation, 503, NULL);
		return;
	}
	buffer_append_byte(&operation->answer, '}');
	if (!operation->is_renewable && !token_issue_is_opaque(operation->dp)) {
		operation_answer(operation, 201);
		return;
	}
	struct transaction *transaction = operation->transaction;
	operation->transaction = NULL;
	operation->status = 201;
	operation_submit(operation, transaction);
}

static void mint(struct operation *operation, int64_t lifetime_s)
{
	const struct participant *participant = registry_find(operation->dp->registry, operation->ctx);
	const struct flow *flow = dp_find(operation->dp, DP_FLOWS, operation->ctx, operation->id);
	if (participant == NULL || flow == NULL) {
		operation_refuse(operation, 404, NULL);
		return;
	}
	const struct flow_terms *terms = atomic_load_explicit(&flow->terms, memory_order_acquire);
	int64_t now_ms = worker_wall_ms(operation->worker);
	bool has_expired = terms->expires_ms != 0 && terms->expires_ms <= now_ms;
	if (has_expired || terms->state == FLOW_TERMINATED || terms->state == FLOW_COMPLETED) {
		operation_refuse(operation, 409, "the flow has ended");
		return;
	}
	operation->transaction = transaction_new();
	if (operation->transaction == NULL) {
		operation_refuse(operation, 503, NULL);
		return;
	}
	char jti[ID_LENGTH + 1];
	const struct access_claims claims =
		access_claims_of(participant, text_of(flow->id), terms, lifetime_s, now_ms, jti);
	buffer_printf(&operation->answer,
		"{\"expiresAt\":%lld,\"endpoint\":\"/api/public/%s\",\"authType\":\"bearer\",\"jti\":\"%s\"",
		(long long)claims.expires_s * 1000, participant->ctx, jti);
	operation->is_pending = true;
	token_issue(operation->dp, operation->worker, &claims, operation->transaction, on_token, operation);
}

/* --- the calls */

/* NULL: as it should be. */
static const char *read_wish(struct operation *operation, const struct json *wish, int64_t *lifetime_s)
{
	if (strcmp(json_name(wish), "lifetimeSeconds") == 0) {
		bool is_good = json_integer(wish, lifetime_s) && *lifetime_s >= 1 && *lifetime_s <= LIFETIME_MAX_S;
		return is_good ? NULL : "must be 1 to 31536000";
	}
	if (strcmp(json_name(wish), "renewable") == 0)
		return json_bool(wish, &operation->is_renewable) ? NULL : "must be true or false";
	return "unknown member";
}

void tokens_create(struct operation *operation, struct text body)
{
	struct json *root = NULL;
	int64_t lifetime_s = 0;
	if (body.length > 0 && (root = manage_parse(operation, body)) == NULL)
		return;
	for (const struct json *item = json_first(root); item != NULL; item = json_next(item)) {
		const char *what = read_wish(operation, item, &lifetime_s);
		if (what == NULL)
			continue;
		struct buffer detail = {0};
		buffer_printf(&detail, "%s: %s", json_name(item), what);
		operation_refuse(operation, 400, detail.bytes);
		buffer_free(&detail);
		json_free(root);
		return;
	}
	json_free(root);
	const struct dp_settings *settings = &operation->dp->settings;
	if (lifetime_s == 0)
		lifetime_s = (operation->is_renewable ? settings->renewal_lifetime_ms : settings->token_lifetime_ms) / 1000;
	mint(operation, lifetime_s);
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
	buffer_append(&record, TEXT("{\"jti\":"));
	buffer_append_json(&record, operation->token);
	buffer_append(&record, TEXT(",\"expiresAt\":"));
	buffer_append_number(&record, now_ms + (LIFETIME_MAX_S + 60) * 1000);
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
