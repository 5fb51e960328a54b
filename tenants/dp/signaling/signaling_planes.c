/* Registration of control planes (dps.md 2.3): PUT is an upsert with full replace. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/signaling/signaling.h"

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct signal *signal = context;
	(void)revision;
	if (!signal_resumes(signal))
		return;
	if (status == STATUS_OK)
		answer_empty(signal->exchange, signal->plane != NULL ? 200 : 204);
	else
		signal_refuse_status(signal, status);
}

static void submit(struct signal *signal, struct transaction *transaction)
{
	if (transaction == NULL) {
		signal_refuse(signal, 503, NULL);
		return;
	}
	signal->is_pending = true;
	store_submit(signal->home->dp->store, transaction, signal->home->worker, on_stored, signal);
}

static void store(struct signal *signal)
{
	struct transaction *transaction = transaction_new();
	if (transaction != NULL && !transaction_put(transaction, text_of(signal->ctx), RECORD_CONTROL_PLANE,
								   text_of(signal->plane->id), buffer_text(&signal->record), REVISION_ANY)) {
		transaction_free(transaction);
		transaction = NULL;
	}
	submit(signal, transaction);
}

static void on_vault(void *context, enum status status, struct text result)
{
	struct signal *signal = context;
	(void)result;
	if (!signal_resumes(signal))
		return;
	if (status == STATUS_OK || status == STATUS_NOT_FOUND)
		store(signal);
	else
		signal_refuse(signal, 503, "the vault is not available");
}

/* A control plane that calls by its own token speaks for itself alone. */
static bool may_change(const struct signal *signal, struct text id)
{
	return !signal->is_control_plane || text_equals(text_of(signal->control_plane), id);
}

/* The secret to the vault (or what was there before out of it), then the record. */
static void keep_secret(struct signal *signal, struct text secret)
{
	char alias[CONTROL_PLANE_ID_MAX + 32];
	const struct dp *dp = signal->home->dp;
	control_plane_alias(text_of(signal->plane->id), alias);
	signal->is_pending = true;
	if (secret.length > 0)
		vault_secret_put(
			dp->vault, text_of(signal->ctx), text_of(alias), secret, signal->home->worker, on_vault, signal);
	else
		vault_delete(dp->vault, text_of(signal->ctx), text_of(alias), signal->home->worker, on_vault, signal);
}

static const char *forbidden_url(const struct signal *signal, const struct participant *participant)
{
	const struct control_plane *plane = signal->plane;
	const char *const urls[] = {plane->endpoint, plane->token_endpoint, plane->jwks_uri};
	struct address_rules rules = participant_address_rules(participant);
	for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
		struct url url;
		if (urls[i] != NULL && (url_parse(text_of(urls[i]), &url) != STATUS_OK ||
								   client_check_url(signal->home->worker, &url, &rules) != STATUS_OK))
			return urls[i];
	}
	return NULL;
}

void signal_register(struct signal *signal, struct text body)
{
	const struct participant *participant = signal_participant(signal);
	struct json *root = NULL;
	struct text secret = TEXT_NONE;
	struct buffer error = {0};
	if (participant == NULL)
		return;
	enum status status = json_parse(body, NULL, &root);
	if (status == STATUS_OK)
		status = control_plane_parse(root, &signal->plane, &secret, &error);
	else if (status != STATUS_NO_MEMORY)
		buffer_append(&error, TEXT("the body must be one JSON object"));
	if (status == STATUS_OK)
		status = control_plane_check(signal->plane, secret, participant->signaling.allows_clear,
			!signal->home->dp->settings.unverified_control_planes, &error);
	if (status != STATUS_OK) {
		signal_refuse(signal, status == STATUS_NO_MEMORY ? 503 : 400, error.bytes);
	} else if (!may_change(signal, text_of(signal->plane->id))) {
		signal_refuse(signal, 403, "a control plane may change its own registration alone");
	} else if (forbidden_url(signal, participant) != NULL) {
		signal_refuse(signal, 400, "endpoint: leads where this participant may not connect to");
	} else {
		control_plane_print(root, signal->plane, &signal->record);
		if (signal->record.failed)
			signal_refuse(signal, 503, NULL);
		else
			keep_secret(signal, secret);
	}
	buffer_free(&error);
	json_free(root);
}

static void on_secret_gone(void *context, enum status status, struct text result)
{
	(void)context, (void)status, (void)result;
}

void signal_unregister(struct signal *signal, struct text body)
{
	char alias[CONTROL_PLANE_ID_MAX + 32];
	struct dp *dp = signal->home->dp;
	struct text ctx = text_of(signal->ctx), id = text_of(signal->id);
	(void)body;
	if (!may_change(signal, id)) {
		signal_refuse(signal, 403, "a control plane may change its own registration alone");
		return;
	}
	if (control_planes_find(dp_find(dp, DP_CONTROL_PLANES, ctx, TEXT("")), id) == NULL) {
		signal_refuse(signal, 404, NULL);
		return;
	}
	struct transaction *transaction = transaction_new();
	if (transaction != NULL && !transaction_delete(transaction, ctx, RECORD_CONTROL_PLANE, id, REVISION_ANY)) {
		transaction_free(transaction);
		transaction = NULL;
	}
	control_plane_alias(id, alias);
	vault_delete(dp->vault, ctx, text_of(alias), signal->home->worker, on_secret_gone, NULL);
	submit(signal, transaction);
}
