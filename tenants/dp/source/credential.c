/* Credentials for HTTP sources: secrets from the vault, tokens from an authorization server. */
#include "tenants/dp/source/credential.h"

#include <ctype.h>
#include <stdlib.h>

enum { ANSWER_MAX = 64 * 1024, EARLY_MS = 30000, DEFAULT_LIFETIME_S = 60 };

struct fetch {
	struct dp_worker *home;
	struct dataset *dataset; /* a reference: rules and lane live in it */
	const struct credential_rules *rules;
	struct credential_lane *lane;
	struct text ctx; /* the dataset's */
	struct secret *value, *bearer;
	int64_t bearer_until_ms;
	uint64_t secrets;
	struct client_call *call;
	struct buffer form, answer;
	size_t sent;
	int status;
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

static void buffer_wipe(struct buffer *buffer)
{
	if (buffer->bytes != NULL)
		wipe(buffer->bytes, buffer->room);
	buffer_free(buffer);
}

static void finish(struct fetch *fetch, enum status status)
{
	struct credential_lane *lane = fetch->lane;
	if (fetch->call != NULL)
		client_call_close(fetch->call);
	lane->is_fetching = false;
	if (status == STATUS_OK) {
		credential_forget(lane);
		lane->value = fetch->value;
		lane->bearer = fetch->bearer;
		lane->bearer_until_ms = fetch->bearer_until_ms;
		lane->secrets = fetch->secrets;
		fetch->value = fetch->bearer = NULL;
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
	secret_free(fetch->value);
	secret_free(fetch->bearer);
	buffer_wipe(&fetch->form);
	buffer_wipe(&fetch->answer);
	dataset_unref(fetch->dataset);
	free(fetch);
}

/* --- the token endpoint */

static void read_token(struct fetch *fetch)
{
	static const struct json_limits limits = {ANSWER_MAX, 8, 256};
	struct json *root = NULL;
	int64_t lifetime_s = DEFAULT_LIFETIME_S;
	enum status status =
		fetch->status == 200 ? json_parse(buffer_text(&fetch->answer), &limits, &root) : STATUS_UNAVAILABLE;
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
		fetch->bearer = header.failed ? NULL : secret_new(buffer_text(&header));
		buffer_wipe(&header);
		/* a token that lives less than the margin is still good for the requests that wait now */
		int64_t margin_ms = lifetime_s * 1000 > 2 * EARLY_MS ? EARLY_MS : lifetime_s * 500;
		fetch->bearer_until_ms = worker_wall_ms(fetch->home->worker) + lifetime_s * 1000 - margin_ms;
	}
	json_free(root);
	finish(fetch, !is_good ? STATUS_UNAVAILABLE : fetch->bearer == NULL ? STATUS_NO_MEMORY : STATUS_OK);
}

static void on_readable(void *state, struct client_call *call)
{
	struct fetch *fetch = state;
	for (;;) {
		uint8_t bytes[4096];
		size_t count = 0;
		enum body_state result = client_call_read(call, bytes, sizeof(bytes), &count);
		if (result == BODY_LATER)
			return;
		buffer_append(&fetch->answer, (struct text){(const char *)bytes, count});
		wipe(bytes, sizeof(bytes));
		if (result == BODY_FAILED || fetch->answer.failed || fetch->answer.length > ANSWER_MAX) {
			finish(fetch, STATUS_UNAVAILABLE);
			return;
		}
		if (result == BODY_END) {
			read_token(fetch);
			return;
		}
	}
}

static void on_head(void *state, struct client_call *call, const struct client_response *response)
{
	((struct fetch *)state)->status = response->status;
	on_readable(state, call);
}

static void on_writable(void *state, struct client_call *call)
{
	struct fetch *fetch = state;
	fetch->sent += client_call_write(
		call, (const uint8_t *)fetch->form.bytes + fetch->sent, fetch->form.length - fetch->sent, true);
}

static void on_failed(void *state, struct client_call *call, enum status why)
{
	(void)call;
	finish(state, why == STATUS_TIMEOUT || why == STATUS_REFUSED ? why : STATUS_UNAVAILABLE);
}

static const struct client_events events = {on_head, on_readable, on_writable, on_failed};

static void append_form(struct buffer *form, const char *name, struct text value)
{
	if (form->length > 0)
		buffer_append_byte(form, '&');
	buffer_append(form, text_of(name));
	buffer_append_byte(form, '=');
	for (size_t i = 0; i < value.length; i++) {
		unsigned char byte = (unsigned char)value.bytes[i];
		if (isalnum(byte) || byte == '-' || byte == '.' || byte == '_' || byte == '*')
			buffer_append_byte(form, (char)byte);
		else
			buffer_printf(form, "%%%02X", byte);
	}
}

static void on_client_secret(void *context, enum status status, struct text secret)
{
	static const struct header headers[] = {
		{{"content-type", 12}, {"application/x-www-form-urlencoded", 33}}, {{"accept", 6}, {"application/json", 16}}};
	struct fetch *fetch = context;
	const struct dp *dp = fetch->home->dp;
	const struct participant *participant = registry_find(dp->registry, fetch->ctx);
	if (status != STATUS_OK || participant == NULL) {
		finish(fetch, STATUS_UNAVAILABLE);
		return;
	}
	append_form(&fetch->form, "grant_type", TEXT("client_credentials"));
	append_form(&fetch->form, "client_id", text_of(fetch->rules->client_id));
	append_form(&fetch->form, "client_secret", secret);
	if (fetch->rules->scope != NULL)
		append_form(&fetch->form, "scope", text_of(fetch->rules->scope));
	struct address_rules addresses = participant_address_rules(participant);
	const struct client_request request = {.tenant = fetch->ctx,
		.url = &fetch->rules->token,
		.method = TEXT("POST"),
		.headers = headers,
		.header_count = 2,
		.body_length = (int64_t)fetch->form.length,
		.rules = &addresses,
		.read_ms = (uint32_t)dp->settings.source_ms};
	status = fetch->form.failed ? STATUS_NO_MEMORY
								: client_call_start(fetch->home->worker, &request, &events, fetch, &fetch->call);
	if (status != STATUS_OK)
		finish(fetch, status);
}

/* --- the vault */

static void fetch_token(struct fetch *fetch)
{
	if (fetch->rules->client_id == NULL)
		finish(fetch, STATUS_OK);
	else
		vault_secret_get(fetch->home->dp->vault, fetch->ctx, text_of(fetch->rules->client_secret_key),
			fetch->home->worker, on_client_secret, fetch);
}

static void on_secret(void *context, enum status status, struct text value)
{
	struct fetch *fetch = context;
	struct json *root = NULL;
	if (status == STATUS_OK && !fetch->rules->is_document && value.length > 0 && value.bytes[0] == '{' &&
		json_parse(value, NULL, &root) == STATUS_OK && json_member_text(root, "token").bytes != NULL)
		value = json_member_text(root, "token");
	bool is_good = status == STATUS_OK && value.length > 0;
	for (size_t i = 0; i < value.length && is_good && !fetch->rules->is_document; i++)
		is_good = (unsigned char)value.bytes[i] >= 0x20 && value.bytes[i] != 0x7f;
	if (is_good)
		fetch->value = secret_new(value);
	json_free(root);
	if (fetch->value == NULL)
		finish(fetch, STATUS_UNAVAILABLE);
	else
		fetch_token(fetch);
}

static bool start(struct pull *pull, const struct credential_rules *rules, struct credential_lane *lane)
{
	struct fetch *fetch = calloc(1, sizeof(*fetch));
	if (fetch == NULL)
		return false;
	struct dp_worker *home = pull->home;
	fetch->home = home;
	fetch->dataset = pull->dataset;
	dataset_ref(pull->dataset);
	fetch->rules = rules;
	fetch->lane = lane;
	fetch->ctx = text_of(pull->dataset->ctx);
	fetch->secrets = atomic_load_explicit(&home->dp->secrets, memory_order_relaxed);
	lane->is_fetching = true;
	if (rules->secret_name != NULL)
		vault_secret_get(home->dp->vault, fetch->ctx, text_of(rules->secret_name), home->worker, on_secret, fetch);
	else
		fetch_token(fetch);
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
