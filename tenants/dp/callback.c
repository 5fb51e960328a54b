/* Callbacks: token, body, call. */
#include "tenants/dp/callback.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tenants/dp/control_plane.h"
#include "tenants/dp/fetch.h"
#include "tenants/dp/flow_moves.h"
#include "tenants/dp/offer.h"
#include "tenants/vault/safe_file.h"

enum { ANSWER_MAX = 64 * 1024, TOKEN_MAX = 16384, SUBJECT_MAX = 16384, EARLY_MS = 30000, DEFAULT_LIFETIME_S = 60 };

struct callback_tokens {
	struct callback_tokens *next;
	char *ctx, *id;        /* the control plane's */
	int64_t revision;      /* of its registration */
	struct secret *bearer; /* "Bearer ..." */
	int64_t until_ms;
};

struct callback {
	struct dp_worker *home;
	char ctx[ID_LENGTH + 1];
	char *flow, *error;
	enum letter_kind kind;
	char message[ID_LENGTH + 1];
	struct control_plane *plane; /* a reference */
	struct fetch *fetch;
	struct buffer body;
	bool is_waiting; /* for the vault, which cannot be called off */
	bool is_cancelled;
	bool has_token; /* the call carries one of ours */
	callback_done *done;
	void *context;
};

static void callback_free(struct callback *callback)
{
	fetch_cancel(callback->fetch);
	control_plane_unref(callback->plane);
	buffer_wipe(&callback->body);
	free(callback->flow);
	free(callback->error);
	free(callback);
}

static void finish(struct callback *callback, enum status status, int http)
{
	callback->done(callback->context, status, http);
	callback_free(callback);
}

/* Back from the vault; false: nobody waits any more. */
static bool resumes(struct callback *callback)
{
	callback->is_waiting = false;
	if (!callback->is_cancelled)
		return true;
	callback_free(callback);
	return false;
}

void callback_cancel(struct callback *callback)
{
	if (callback == NULL)
		return;
	callback->is_cancelled = true;
	if (!callback->is_waiting)
		callback_free(callback);
}

/* --- tokens */

static struct callback_tokens **token_find(const struct callback *callback)
{
	struct callback_tokens **at = &callback->home->callback_tokens;
	while (*at != NULL && (strcmp((*at)->ctx, callback->ctx) != 0 || strcmp((*at)->id, callback->plane->id) != 0))
		at = &(*at)->next;
	return at;
}

static void token_free(struct callback_tokens *token)
{
	if (token == NULL)
		return;
	secret_free(token->bearer);
	free(token->ctx);
	free(token->id);
	free(token);
}

static void token_forget(const struct callback *callback)
{
	struct callback_tokens **at = token_find(callback), *token = *at;
	if (token == NULL)
		return;
	*at = token->next;
	token_free(token);
}

void callback_tokens_free(struct callback_tokens *tokens)
{
	while (tokens != NULL) {
		struct callback_tokens *next = tokens->next;
		token_free(tokens);
		tokens = next;
	}
}

/* NULL: fetch one. */
static struct secret *token_now(const struct callback *callback)
{
	const struct callback_tokens *token = *token_find(callback);
	return token != NULL && token->revision == callback->plane->revision &&
				   worker_wall_ms(callback->home->worker) < token->until_ms
			   ? token->bearer
			   : NULL;
}

static enum status token_keep(const struct callback *callback, struct text bytes, int64_t lifetime_s)
{
	struct callback_tokens *token = calloc(1, sizeof(*token));
	struct buffer header = {0};
	buffer_append(&header, TEXT("Bearer "));
	buffer_append(&header, bytes);
	token_forget(callback);
	if (token != NULL) {
		token->ctx = text_copy(text_of(callback->ctx));
		token->id = text_copy(text_of(callback->plane->id));
		token->revision = callback->plane->revision;
		token->bearer = header.failed ? NULL : secret_new(buffer_text(&header));
		/* a token that lives less than the margin is still good for the call that waits now */
		int64_t margin_ms = lifetime_s * 1000 > INT64_C(2) * EARLY_MS ? EARLY_MS : lifetime_s * 500;
		token->until_ms = worker_wall_ms(callback->home->worker) + lifetime_s * 1000 - margin_ms;
	}
	buffer_wipe(&header);
	if (token == NULL || token->ctx == NULL || token->id == NULL || token->bearer == NULL) {
		token_free(token);
		return STATUS_NO_MEMORY;
	}
	token->next = callback->home->callback_tokens;
	callback->home->callback_tokens = token;
	return STATUS_OK;
}

static enum status token_read(const struct callback *callback, struct text answer)
{
	static const struct json_limits limits = {ANSWER_MAX, 8, 256};
	struct json *root = NULL;
	int64_t lifetime_s = DEFAULT_LIFETIME_S;
	enum status status = json_parse(answer, &limits, &root);
	struct text token = status == STATUS_OK ? json_member_text(root, "access_token") : TEXT_NONE;
	json_integer(json_member(root, "expires_in"), &lifetime_s);
	lifetime_s = lifetime_s < 0 ? 0 : lifetime_s > 86400 ? 86400 : lifetime_s;
	bool is_good = token.length > 0 && token.length <= TOKEN_MAX;
	for (size_t i = 0; i < token.length; i++)
		is_good = is_good && token.bytes[i] > 0x20 && token.bytes[i] < 0x7f;
	status = is_good ? token_keep(callback, token, lifetime_s) : STATUS_UNAUTHORIZED;
	json_free(root);
	return status;
}

/* --- the call */

static struct address_rules rules_of(const struct callback *callback)
{
	const struct participant *participant = registry_find(callback->home->dp->registry, text_of(callback->ctx));
	return participant == NULL ? (struct address_rules){0} : participant_address_rules(participant);
}

static void on_answer(void *context, enum status status, int http, struct text body)
{
	struct callback *callback = context;
	(void)body;
	callback->fetch = NULL;
	bool has_answer = status == STATUS_OK || status == STATUS_TOO_LARGE; /* what it says is of no interest */
	if (http == 401 && callback->has_token)
		token_forget(callback);
	if (has_answer && http >= 200 && http < 300)
		finish(callback, STATUS_OK, http);
	else
		finish(callback, has_answer ? STATUS_REFUSED : status, has_answer ? http : 0);
}

static void call(struct callback *callback)
{
	const struct secret *bearer = token_now(callback);
	struct address_rules rules = rules_of(callback);
	struct buffer url = {0};
	buffer_printf(
		&url, "%s/transfers/%s/dataflow/%s", callback->plane->endpoint, callback->flow, letter_segment(callback->kind));
	callback->has_token = bearer != NULL;
	const struct fetch_order order = {.tenant = text_of(callback->ctx),
		.url = url.bytes,
		.method = TEXT("POST"),
		.authorization = bearer == NULL ? TEXT_NONE : secret_expose(bearer),
		.content_type = TEXT("application/json"),
		.body = buffer_text(&callback->body),
		.rules = &rules,
		.timeout_ms = (uint32_t)callback->home->dp->settings.callback_timeout_ms,
		.answer_max = ANSWER_MAX};
	enum status status = url.failed || callback->body.failed
							 ? STATUS_NO_MEMORY
							 : fetch_start(callback->home->worker, &order, on_answer, callback, &callback->fetch);
	buffer_free(&url);
	if (status != STATUS_OK)
		finish(callback, status, 0);
}

/* --- getting a token */

static void on_token(void *context, enum status status, int http, struct text answer)
{
	struct callback *callback = context;
	callback->fetch = NULL;
	if (status == STATUS_OK)
		status = http == 200 ? token_read(callback, answer) : STATUS_UNAUTHORIZED;
	if (status == STATUS_OK)
		call(callback);
	else
		finish(callback, status, http);
}

static void ask_for_token(struct callback *callback, struct buffer *form)
{
	struct address_rules rules = rules_of(callback);
	const struct fetch_order order = {.tenant = text_of(callback->ctx),
		.url = callback->plane->token_endpoint,
		.method = TEXT("POST"),
		.content_type = TEXT("application/x-www-form-urlencoded"),
		.body = buffer_text(form),
		.rules = &rules,
		.timeout_ms = (uint32_t)callback->home->dp->settings.callback_timeout_ms,
		.answer_max = ANSWER_MAX};
	enum status status = form->failed
							 ? STATUS_NO_MEMORY
							 : fetch_start(callback->home->worker, &order, on_token, callback, &callback->fetch);
	buffer_wipe(form);
	if (status != STATUS_OK)
		finish(callback, status, 0);
}

static void on_client_secret(void *context, enum status status, struct text secret)
{
	struct callback *callback = context;
	if (!resumes(callback))
		return;
	if (status != STATUS_OK) {
		finish(callback, STATUS_UNAUTHORIZED, 0);
		return;
	}
	const struct control_plane *plane = callback->plane;
	struct buffer form = {0};
	form_append(&form, "grant_type", TEXT("client_credentials"));
	form_append(&form, "client_id", text_of(plane->client_id));
	form_append(&form, "client_secret", secret);
	if (plane->scope != NULL)
		form_append(&form, "scope", text_of(plane->scope));
	if (plane->audience != NULL)
		form_append(&form, "audience", text_of(plane->audience));
	ask_for_token(callback, &form);
}

/* The workload's own token: the file is replaced under us now and then, so it is read for each exchange. It is small,
 * local (a projected volume), and this is not the data path. */
static enum status read_subject(const char *path, struct buffer *content)
{
	int folder;
	const char *name;
	if (path == NULL)
		return STATUS_NOT_FOUND;
	enum status status = safe_file_split(path, &folder, &name);
	if (status != STATUS_OK)
		return status;
	status = safe_file_read(folder, name, SUBJECT_MAX, false, content);
	close(folder);
	return status;
}

static void exchange_token(struct callback *callback)
{
	const struct control_plane *plane = callback->plane;
	const struct participant *participant = registry_find(callback->home->dp->registry, text_of(callback->ctx));
	struct buffer subject = {0}, form = {0};
	enum status status = read_subject(callback->home->dp->settings.subject_token_file, &subject);
	if (status != STATUS_OK || participant == NULL) {
		buffer_wipe(&subject);
		finish(callback, STATUS_UNAUTHORIZED, 0);
		return;
	}
	struct text token = buffer_text(&subject);
	while (token.length > 0 && (unsigned char)token.bytes[token.length - 1] <= ' ')
		token.length--;
	form_append(&form, "grant_type", TEXT("urn:ietf:params:oauth:grant-type:token-exchange"));
	form_append(&form, "subject_token", token);
	form_append(&form, "subject_token_type", TEXT("urn:ietf:params:oauth:token-type:jwt"));
	form_append(&form, "requested_token_type", TEXT("urn:ietf:params:oauth:token-type:jwt"));
	form_append(&form, "resource", text_of(plane->resource != NULL ? plane->resource : participant->ctx));
	form_append(&form, "audience", text_of(plane->audience != NULL ? plane->audience : plane->id));
	form_append(&form, "scope", text_of(plane->scope != NULL ? plane->scope : "signaling:dataflow"));
	buffer_wipe(&subject);
	ask_for_token(callback, &form);
}

static void authorize(struct callback *callback)
{
	char alias[CONTROL_PLANE_ID_MAX + 32];
	const struct control_plane *plane = callback->plane;
	if (plane->token_endpoint == NULL || token_now(callback) != NULL) {
		call(callback);
	} else if (plane->authorization == AUTHORIZATION_TOKEN_EXCHANGE) {
		exchange_token(callback);
	} else {
		control_plane_alias(text_of(plane->id), alias);
		callback->is_waiting = true;
		vault_secret_get(callback->home->dp->vault, text_of(callback->ctx), text_of(alias), callback->home->worker,
			on_client_secret, callback);
	}
}

/* --- the body */

static void on_offer(void *context, enum status status, struct text address)
{
	struct callback *callback = context;
	if (!resumes(callback))
		return;
	if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
		finish(callback, status, 0);
		return;
	}
	if (status == STATUS_OK) {
		buffer_append(&callback->body, TEXT(",\"dataAddress\":"));
		buffer_append(&callback->body, address);
	}
	buffer_append_byte(&callback->body, '}');
	authorize(callback);
}

/* The state it tells is the one it was written for: COMPLETED is only reached when the control plane has heard of it.
 */
static struct text told_state(enum letter_kind kind, const struct flow_terms *terms)
{
	switch (kind) {
	case LETTER_PREPARED:
		return flow_state_name(FLOW_PREPARED);
	case LETTER_STARTED:
		return flow_state_name(FLOW_STARTED);
	case LETTER_COMPLETED:
		return flow_state_name(FLOW_COMPLETED);
	case LETTER_ERRORED:
	case LETTER_COUNT:
		break;
	}
	return flow_state_name(terms->state);
}

static void begin(struct callback *callback, const struct flow_terms *terms)
{
	char alias[FLOW_ALIAS_MAX];
	buffer_printf(&callback->body, "{\"messageId\":\"%s\",\"dataFlowId\":", callback->message);
	buffer_append_json(&callback->body, text_of(callback->flow));
	buffer_append(&callback->body, TEXT(",\"state\":"));
	buffer_append_json(&callback->body, told_state(callback->kind, terms));
	if (callback->error != NULL) {
		buffer_append(&callback->body, TEXT(",\"error\":"));
		buffer_append_json(&callback->body, text_of(callback->error));
	}
	bool is_ready = callback->kind == LETTER_PREPARED || callback->kind == LETTER_STARTED;
	if (!is_ready || !flow_terms_offers(terms)) {
		buffer_append_byte(&callback->body, '}');
		authorize(callback);
		return;
	}
	flow_alias(text_of(callback->flow), "offer", alias);
	callback->is_waiting = true;
	vault_secret_get(
		callback->home->dp->vault, text_of(callback->ctx), text_of(alias), callback->home->worker, on_offer, callback);
}

/* --- from the worker's next turn on, so that `done` never runs inside callback_start */

struct departure {
	struct task task; /* first */
	struct callback *callback;
};

static void on_departure(struct task *task)
{
	struct callback *callback = ((struct departure *)task)->callback;
	free(task);
	if (!resumes(callback))
		return;
	struct dp *dp = callback->home->dp;
	const struct flow *flow = dp_find(dp, DP_FLOWS, text_of(callback->ctx), text_of(callback->flow));
	const struct flow_terms *terms = flow == NULL ? NULL : atomic_load_explicit(&flow->terms, memory_order_acquire);
	callback->plane = terms == NULL ? NULL : flow_control_plane(dp, text_of(callback->ctx), terms);
	if (callback->plane == NULL) {
		finish(callback, STATUS_NOT_FOUND, 0);
		return;
	}
	control_plane_ref(callback->plane);
	begin(callback, terms);
}

enum status callback_start(struct dp_worker *home, const struct callback_order *order, callback_done *done,
	void *context, struct callback **callback)
{
	struct callback *made = calloc(1, sizeof(*made));
	struct departure *departure = calloc(1, sizeof(*departure));
	if (made != NULL && departure != NULL) {
		*made = (struct callback){
			.home = home, .kind = order->letter->kind, .is_waiting = true, .done = done, .context = context};
		memcpy(made->ctx, order->ctx.bytes, order->ctx.length < ID_LENGTH ? order->ctx.length : ID_LENGTH);
		memcpy(made->message, order->letter->message, sizeof(made->message));
		made->flow = text_copy(order->flow);
		made->error = order->letter->error == NULL ? NULL : text_copy(text_of(order->letter->error));
	}
	if (made == NULL || departure == NULL || made->flow == NULL ||
		(order->letter->error != NULL && made->error == NULL)) {
		free(departure);
		if (made != NULL)
			callback_free(made);
		return STATUS_NO_MEMORY;
	}
	*departure = (struct departure){.task = {.run = on_departure}, .callback = made};
	*callback = made;
	worker_post(home->worker, &departure->task);
	return STATUS_OK;
}
