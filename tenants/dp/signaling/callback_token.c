/* Tokens for callbacks: a list, one fetch at a time for each. */
#include "tenants/dp/signaling/callback_token.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/secret.h"
#include "server/fetch.h"
#include "tenants/dp/form.h"
#include "tenants/vault/safe_file.h"

enum { ANSWER_MAX = 64 * 1024, TOKEN_MAX = 16384, SUBJECT_MAX = 16384, EARLY_MS = 30000, DEFAULT_LIFETIME_S = 60 };

/* One control plane's. */
struct callback_tokens {
	struct callback_tokens *next;
	struct dp_worker *home;
	char ctx[ID_LENGTH + 1];
	struct control_plane *plane; /* a reference: as it was registered when the token was fetched */
	struct secret *bearer;
	int64_t until_ms;
	bool is_fetching;
	struct fetch *fetch;
	struct callback_token_waiter *waiters;
};

static void token_free(struct callback_tokens *token)
{
	fetch_cancel(token->fetch);
	secret_free(token->bearer);
	control_plane_unref(token->plane);
	free(token);
}

void callback_tokens_free(struct callback_tokens *tokens)
{
	while (tokens != NULL) {
		struct callback_tokens *next = tokens->next;
		token_free(tokens);
		tokens = next;
	}
}

static struct callback_tokens *token_find(
	const struct dp_worker *home, struct text ctx, const struct control_plane *plane)
{
	struct callback_tokens *token = home->callback_tokens;
	while (token != NULL && (!text_equals(text_of(token->ctx), ctx) || strcmp(token->plane->id, plane->id) != 0 ||
								token->plane->revision != plane->revision))
		token = token->next;
	return token;
}

static bool is_good(const struct callback_tokens *token)
{
	return token->bearer != NULL && worker_wall_ms(token->home->worker) < token->until_ms;
}

const struct secret *callback_token_now(struct dp_worker *home, struct text ctx, const struct control_plane *plane)
{
	const struct callback_tokens *token = token_find(home, ctx, plane);
	return token != NULL && is_good(token) ? token->bearer : NULL;
}

void callback_token_forget(struct dp_worker *home, struct text ctx, const struct control_plane *plane)
{
	struct callback_tokens *token = token_find(home, ctx, plane);
	if (token != NULL)
		token->until_ms = 0;
}

void callback_token_leave(struct callback_token_waiter *waiter)
{
	if (waiter->previous == NULL)
		return;
	*waiter->previous = waiter->next;
	if (waiter->next != NULL)
		waiter->next->previous = waiter->previous;
	waiter->previous = NULL;
}

/* --- fetching */

static void finish(struct callback_tokens *token, enum status status, int http)
{
	struct callback_token_waiter *waiters = token->waiters;
	token->is_fetching = false;
	token->waiters = NULL;
	if (waiters != NULL)
		waiters->previous = &waiters;
	while (waiters != NULL) {
		struct callback_token_waiter *waiter = waiters;
		callback_token_leave(waiter);
		waiter->ready(waiter, status, http);
	}
}

static enum status keep(struct callback_tokens *token, struct text bytes, int64_t lifetime_s)
{
	struct buffer header = {0};
	buffer_append(&header, TEXT("Bearer "));
	buffer_append(&header, bytes);
	secret_free(token->bearer);
	token->bearer = header.failed ? NULL : secret_new(buffer_text(&header));
	buffer_wipe(&header);
	/* a token that lives less than the margin is still good for the calls that wait now */
	int64_t margin_ms = lifetime_s * 1000 > INT64_C(2) * EARLY_MS ? EARLY_MS : lifetime_s * 500;
	token->until_ms = worker_wall_ms(token->home->worker) + lifetime_s * 1000 - margin_ms;
	return token->bearer == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status read_answer(struct callback_tokens *token, struct text answer)
{
	static const struct json_limits limits = {ANSWER_MAX, 8, 256};
	struct json *root = NULL;
	int64_t lifetime_s = DEFAULT_LIFETIME_S;
	enum status status = json_parse(answer, &limits, &root);
	struct text bytes = status == STATUS_OK ? json_member_text(root, "access_token") : TEXT_NONE;
	json_integer(json_member(root, "expires_in"), &lifetime_s);
	lifetime_s = lifetime_s < 1 ? 1 : lifetime_s > 86400 ? 86400 : lifetime_s;
	bool is_token = bytes.length > 0 && bytes.length <= TOKEN_MAX;
	for (size_t i = 0; i < bytes.length; i++)
		is_token = is_token && bytes.bytes[i] > 0x20 && bytes.bytes[i] < 0x7f;
	status = is_token ? keep(token, bytes, lifetime_s) : STATUS_UNAUTHORIZED;
	json_free(root);
	return status;
}

static void on_answer(void *context, enum status status, const struct fetch_answer *answer)
{
	struct callback_tokens *token = context;
	token->fetch = NULL;
	if (status == STATUS_OK)
		status = answer->http == 200 ? read_answer(token, answer->body) : STATUS_UNAUTHORIZED;
	finish(token, status, answer->http);
}

static void ask(struct callback_tokens *token, struct buffer *form)
{
	const struct dp *dp = token->home->dp;
	const struct participant *participant = registry_find(dp->registry, text_of(token->ctx));
	struct address_rules rules =
		participant == NULL ? (struct address_rules){0} : participant_address_rules(participant);
	const struct fetch_order order = {.tenant = text_of(token->ctx),
		.address = text_of(token->plane->token_endpoint),
		.method = TEXT("POST"),
		.accept = TEXT("application/json"),
		.content_type = TEXT("application/x-www-form-urlencoded"),
		.body = buffer_text(form),
		.rules = &rules,
		.timeout_ms = (uint32_t)dp->settings.callback_timeout_ms,
		.answer_max = ANSWER_MAX};
	enum status status =
		form->failed ? STATUS_NO_MEMORY : fetch_start(token->home->worker, &order, on_answer, token, &token->fetch);
	buffer_wipe(form);
	if (status != STATUS_OK)
		finish(token, status, 0);
}

static void on_client_secret(void *context, enum status status, struct text secret)
{
	struct callback_tokens *token = context;
	const struct control_plane *plane = token->plane;
	struct buffer form = {0};
	if (status != STATUS_OK) {
		finish(token, STATUS_UNAUTHORIZED, 0);
		return;
	}
	form_append(&form, "grant_type", TEXT("client_credentials"));
	form_append(&form, "client_id", text_of(plane->client_id));
	form_append(&form, "client_secret", secret);
	if (plane->scope != NULL)
		form_append(&form, "scope", text_of(plane->scope));
	if (plane->audience != NULL)
		form_append(&form, "audience", text_of(plane->audience));
	ask(token, &form);
}

/* The workload's own token: the file is replaced under us now and then, so it is read for each exchange. It is small
 * and local (a projected volume), and this is not the data path. */
static enum status read_subject(const char *path, struct buffer *content)
{
	return path == NULL ? STATUS_NOT_FOUND : safe_file_load(path, SUBJECT_MAX, false, content);
}

static void exchange(struct callback_tokens *token)
{
	const struct control_plane *plane = token->plane;
	struct buffer subject = {0}, form = {0};
	if (read_subject(token->home->dp->settings.subject_token_file, &subject) != STATUS_OK) {
		buffer_wipe(&subject);
		finish(token, STATUS_UNAUTHORIZED, 0);
		return;
	}
	struct text own = buffer_text(&subject);
	while (own.length > 0 && (unsigned char)own.bytes[own.length - 1] <= ' ')
		own.length--;
	form_append(&form, "grant_type", TEXT("urn:ietf:params:oauth:grant-type:token-exchange"));
	form_append(&form, "subject_token", own);
	form_append(&form, "subject_token_type", TEXT("urn:ietf:params:oauth:token-type:jwt"));
	form_append(&form, "requested_token_type", TEXT("urn:ietf:params:oauth:token-type:jwt"));
	form_append(&form, "resource", text_of(plane->resource != NULL ? plane->resource : token->ctx));
	form_append(&form, "audience", text_of(plane->audience != NULL ? plane->audience : plane->id));
	form_append(&form, "scope", text_of(plane->scope != NULL ? plane->scope : "signaling:dataflow"));
	buffer_wipe(&subject);
	ask(token, &form);
}

static void start(struct callback_tokens *token)
{
	char alias[CONTROL_PLANE_ID_MAX + 32];
	token->is_fetching = true;
	if (token->plane->authorization == AUTHORIZATION_TOKEN_EXCHANGE) {
		exchange(token);
		return;
	}
	control_plane_alias(text_of(token->plane->id), alias);
	vault_secret_get(
		token->home->dp->vault, text_of(token->ctx), text_of(alias), token->home->worker, on_client_secret, token);
}

/* Those of earlier registrations, and what has expired. */
static void sweep(struct dp_worker *home)
{
	struct callback_tokens **at = &home->callback_tokens;
	while (*at != NULL) {
		struct callback_tokens *token = *at;
		if (token->is_fetching || token->waiters != NULL || is_good(token)) {
			at = &token->next;
			continue;
		}
		*at = token->next;
		token_free(token);
	}
}

static struct callback_tokens *token_new(struct dp_worker *home, struct text ctx, struct control_plane *plane)
{
	sweep(home);
	struct callback_tokens *token = calloc(1, sizeof(*token));
	if (token == NULL || ctx.length != ID_LENGTH) {
		free(token);
		return NULL;
	}
	token->home = home;
	memcpy(token->ctx, ctx.bytes, ID_LENGTH);
	control_plane_ref(plane);
	token->plane = plane;
	token->next = home->callback_tokens;
	home->callback_tokens = token;
	return token;
}

void callback_token_fetch(
	struct dp_worker *home, struct text ctx, struct control_plane *plane, struct callback_token_waiter *waiter)
{
	struct callback_tokens *token = token_find(home, ctx, plane);
	if (token == NULL)
		token = token_new(home, ctx, plane);
	if (token == NULL) {
		waiter->previous = NULL;
		waiter->ready(waiter, STATUS_NO_MEMORY, 0);
		return;
	}
	waiter->next = token->waiters;
	waiter->previous = &token->waiters;
	if (token->waiters != NULL)
		token->waiters->previous = &waiter->next;
	token->waiters = waiter;
	if (!token->is_fetching)
		start(token);
}
