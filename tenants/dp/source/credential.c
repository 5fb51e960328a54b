/* Credentials for HTTP sources: secrets from the vault, tokens from an authorization server. */
#include "tenants/dp/source/credential.h"

#include <stdlib.h>

#include "server/base/secret.h"
#include "server/fetch.h"
#include "tenants/dp/form.h"

enum { ANSWER_MAX = 64 * 1024, EARLY_MS = 30000, DEFAULT_LIFETIME_S = 60 };

/* One fetch into a lane: from the vault, then from the token endpoint. */
struct errand {
	struct dp_worker *home;
	struct dataset *dataset; /* a reference: rules and lane live in it */
	const struct credential_rules *rules;
	struct credential_lane *lane;
	struct text ctx; /* the dataset's */
	struct secret *value, *bearer;
	int64_t bearer_until_ms;
	uint64_t secrets;
	struct fetch *fetch;
};

bool credential_is_ready(
	const struct pull *pull, const struct credential_rules *rules, const struct credential_lane *lane)
{
	bool needs_value = rules->secret_name != NULL, needs_bearer = rules->client_id != NULL;
	if (!needs_value && !needs_bearer)
		return true;
	if (lane->secrets != atomic_load_explicit(&pull->home->dp->secrets, memory_order_relaxed))
		return false;
	return (!needs_value || lane->value != NULL) &&
		   (!needs_bearer || (lane->bearer != NULL && worker_wall_ms(pull->home->worker) < lane->bearer_until_ms));
}

void credential_forget(struct credential_lane *lane)
{
	secret_free(lane->value);
	secret_free(lane->bearer);
	lane->value = lane->bearer = NULL;
}

void credential_leave(struct credential_waiter *waiter)
{
	if (waiter->previous == NULL)
		return;
	*waiter->previous = waiter->next;
	if (waiter->next != NULL)
		waiter->next->previous = waiter->previous;
	waiter->previous = NULL;
}

static void finish(struct errand *errand, enum status status)
{
	struct credential_lane *lane = errand->lane;
	lane->is_fetching = false;
	if (status == STATUS_OK) {
		credential_forget(lane);
		lane->value = errand->value;
		lane->bearer = errand->bearer;
		lane->bearer_until_ms = errand->bearer_until_ms;
		lane->secrets = errand->secrets;
		errand->value = errand->bearer = NULL;
	}
	/* those who wait now; one that is not helped by this fetch may start the next */
	struct credential_waiter *waiters = lane->waiters;
	lane->waiters = NULL;
	if (waiters != NULL)
		waiters->previous = &waiters;
	while (waiters != NULL) {
		struct credential_waiter *waiter = waiters;
		credential_leave(waiter);
		waiter->ready(waiter, status);
	}
	secret_free(errand->value);
	secret_free(errand->bearer);
	dataset_unref(errand->dataset);
	free(errand);
}

/* --- the token endpoint */

static void read_token(struct errand *errand, struct text answer)
{
	static const struct json_limits limits = {ANSWER_MAX, 8, 256};
	struct json *root = NULL;
	int64_t lifetime_s = DEFAULT_LIFETIME_S;
	enum status status = json_parse(answer, &limits, &root);
	struct text token = status == STATUS_OK ? json_member_text(root, "access_token") : TEXT_NONE;
	json_integer(json_member(root, "expires_in"), &lifetime_s);
	if (lifetime_s < 0 || lifetime_s > 86400)
		lifetime_s = lifetime_s < 0 ? 0 : 86400;
	bool is_good = token.length > 0 && token.length <= 16384;
	for (size_t i = 0; i < token.length; i++)
		is_good = is_good && token.bytes[i] > 0x20 && token.bytes[i] < 0x7f;
	if (is_good) {
		struct buffer header = {0};
		buffer_append(&header, TEXT("Bearer "));
		buffer_append(&header, token);
		errand->bearer = header.failed ? NULL : secret_new(buffer_text(&header));
		buffer_wipe(&header);
		/* a token that lives less than the margin is still good for the requests that wait now */
		int64_t margin_ms = lifetime_s * 1000 > 2 * EARLY_MS ? EARLY_MS : lifetime_s * 500;
		errand->bearer_until_ms = worker_wall_ms(errand->home->worker) + lifetime_s * 1000 - margin_ms;
	}
	json_free(root);
	finish(errand, !is_good ? STATUS_UNAVAILABLE : errand->bearer == NULL ? STATUS_NO_MEMORY : STATUS_OK);
}

static void on_answer(void *context, enum status status, const struct fetch_answer *answer)
{
	struct errand *errand = context;
	errand->fetch = NULL;
	if (status == STATUS_OK && answer->http == 200)
		read_token(errand, answer->body);
	else
		finish(errand, status == STATUS_TIMEOUT ? status : STATUS_UNAVAILABLE);
}

static void on_client_secret(void *context, enum status status, struct text secret)
{
	struct errand *errand = context;
	const struct dp *dp = errand->home->dp;
	const struct participant *participant = registry_find(dp->registry, errand->ctx);
	struct buffer form = {0};
	if (status != STATUS_OK || participant == NULL) {
		finish(errand, STATUS_UNAVAILABLE);
		return;
	}
	form_append(&form, "grant_type", TEXT("client_credentials"));
	form_append(&form, "client_id", text_of(errand->rules->client_id));
	form_append(&form, "client_secret", secret);
	if (errand->rules->scope != NULL)
		form_append(&form, "scope", text_of(errand->rules->scope));
	struct address_rules addresses = participant_address_rules(participant);
	const struct fetch_order order = {.tenant = errand->ctx,
		.address = text_of(errand->rules->token_url),
		.method = TEXT("POST"),
		.accept = TEXT("application/json"),
		.content_type = TEXT("application/x-www-form-urlencoded"),
		.body = buffer_text(&form),
		.rules = &addresses,
		.timeout_ms = (uint32_t)dp->settings.source_ms,
		.answer_max = ANSWER_MAX};
	status =
		form.failed ? STATUS_NO_MEMORY : fetch_start(errand->home->worker, &order, on_answer, errand, &errand->fetch);
	buffer_wipe(&form);
	if (status != STATUS_OK)
		finish(errand, status);
}

/* --- the vault */

static void fetch_token(struct errand *errand)
{
	if (errand->rules->client_id == NULL)
		finish(errand, STATUS_OK);
	else
		vault_secret_get(errand->home->dp->vault, errand->ctx, text_of(errand->rules->client_secret_key),
			errand->home->worker, on_client_secret, errand);
}

static void on_secret(void *context, enum status status, struct text value)
{
	struct errand *errand = context;
	struct json *root = NULL;
	if (status == STATUS_OK && !errand->rules->is_document && value.length > 0 && value.bytes[0] == '{' &&
		json_parse(value, NULL, &root) == STATUS_OK && json_member_text(root, "token").bytes != NULL)
		value = json_member_text(root, "token");
	bool is_good = status == STATUS_OK && value.length > 0;
	for (size_t i = 0; i < value.length && is_good && !errand->rules->is_document; i++)
		is_good = (unsigned char)value.bytes[i] >= 0x20 && value.bytes[i] != 0x7f;
	if (is_good)
		errand->value = secret_new(value);
	json_free(root);
	if (errand->value == NULL)
		finish(errand, STATUS_UNAVAILABLE);
	else
		fetch_token(errand);
}

static bool start(struct pull *pull, const struct credential_rules *rules, struct credential_lane *lane)
{
	struct errand *errand = calloc(1, sizeof(*errand));
	if (errand == NULL)
		return false;
	struct dp_worker *home = pull->home;
	errand->home = home;
	errand->dataset = pull->dataset;
	dataset_ref(pull->dataset);
	errand->rules = rules;
	errand->lane = lane;
	errand->ctx = text_of(pull->dataset->ctx);
	errand->secrets = atomic_load_explicit(&home->dp->secrets, memory_order_relaxed);
	lane->is_fetching = true;
	if (rules->secret_name != NULL)
		vault_secret_get(home->dp->vault, errand->ctx, text_of(rules->secret_name), home->worker, on_secret, errand);
	else
		fetch_token(errand);
	return true;
}

void credential_fetch(struct pull *pull, const struct credential_rules *rules, struct credential_lane *lane,
	struct credential_waiter *waiter)
{
	waiter->next = lane->waiters;
	waiter->previous = &lane->waiters;
	if (lane->waiters != NULL)
		lane->waiters->previous = &waiter->next;
	lane->waiters = waiter;
	if (!lane->is_fetching && !start(pull, rules, lane)) {
		credential_leave(waiter);
		waiter->ready(waiter, STATUS_NO_MEMORY);
	}
}
