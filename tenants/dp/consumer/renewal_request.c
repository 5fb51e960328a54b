/* Renewal, the consumer's half. */
#include "tenants/dp/consumer/renewal_request.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/secret.h"
#include "server/fetch.h"
#include "tenants/dp/form.h"
#include "tenants/dp/signer.h"
#include "tenants/dp/state.h"

enum { PROOF_LIFETIME_S = 300, ANSWER_MAX = 65536, SILENCE_MS = 10000, TOKEN_MAX = 16384 };

struct renewal_request {
	struct dp *dp;
	struct worker *worker;
	char ctx[ID_LENGTH + 1];
	struct buffer endpoint, form;
	bool is_signing, is_cancelled;
	struct fetch *fetch;
	struct renewal_request **handle; /* the holder's pointer to this */
	renewal_done *done;
	void *context;
};

static void request_free(struct renewal_request *request)
{
	fetch_cancel(request->fetch);
	buffer_free(&request->endpoint);
	buffer_wipe(&request->form);
	free(request);
}

static void finish(struct renewal_request *request, enum status status, const struct renewal_answer *answer)
{
	*request->handle = NULL;
	request->done(request->context, status, answer);
	request_free(request);
}

/* Where it would be renewed; INVALID: nowhere, or not by https while `clear` is false. */
static enum status find_endpoint(const struct data_address *address, bool clear, struct buffer *into)
{
	struct text given = data_address_property(address, "refreshEndpoint");
	struct text endpoint = given.length > 0 ? given : data_address_endpoint(address);
	struct url url;
	if (data_address_property(address, "refreshToken").length == 0 || url_parse(endpoint, &url) != STATUS_OK ||
		(!url.tls && !clear))
		return STATUS_INVALID;
	buffer_append(into, endpoint);
	/* the Tractus-X profile alone names an audience: its endpoint is that of the data (dataplane.md 1.4) */
	bool is_base = data_address_property(address, "refreshAudience").length > 0 && url.query.bytes == NULL &&
				   !text_ends_with(endpoint, TEXT("/token"));
	if (is_base)
		buffer_append(into, text_ends_with(endpoint, TEXT("/")) ? TEXT("token") : TEXT("/token"));
	return into->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

/* --- the answer */

static bool is_token(struct text token)
{
	for (size_t i = 0; i < token.length; i++) {
		if (token.bytes[i] <= 0x20 || token.bytes[i] >= 0x7f)
			return false;
	}
	return token.length > 0 && token.length <= TOKEN_MAX;
}

static void read_answer(struct renewal_request *request, struct text body)
{
	static const struct json_limits limits = {ANSWER_MAX, 8, 256};
	struct json *root = NULL;
	enum status status = json_parse(body, &limits, &root);
	struct renewal_answer answer = {.access_token = json_member_text(root, "access_token"),
		.refresh_token = json_member_text(root, "refresh_token")};
	if (!json_integer(json_member(root, "expires_in"), &answer.lifetime_s) &&
		!json_integer(json_member(root, "expires"), &answer.lifetime_s))
		answer.lifetime_s = 0;
	bool is_good = status == STATUS_OK && is_token(answer.access_token) && answer.lifetime_s >= 0 &&
				   answer.lifetime_s <= INT32_MAX &&
				   (answer.refresh_token.bytes == NULL || is_token(answer.refresh_token));
	/* a provider that answers nonsense may do better next time */
	finish(request, is_good ? STATUS_OK : STATUS_PROTOCOL, is_good ? &answer : NULL);
	json_free(root);
}

static void on_answer(void *context, enum status status, const struct fetch_answer *answer)
{
	struct renewal_request *request = context;
	int http = answer->http;
	request->fetch = NULL;
	if (status != STATUS_OK)
		finish(request, status, NULL);
	else if (http >= 200 && http < 300)
		read_answer(request, answer->body);
	else
		finish(request, http >= 500 || http == 429 || http == 408 ? STATUS_UNAVAILABLE : STATUS_UNAUTHORIZED, NULL);
}

/* --- the question */

static void on_proof(void *context, enum status status, struct text token)
{
	struct renewal_request *request = context;
	const struct participant *participant = registry_find(request->dp->registry, text_of(request->ctx));
	request->is_signing = false;
	if (request->is_cancelled) {
		request_free(request);
		return;
	}
	struct buffer authorization = {0};
	buffer_append(&authorization, TEXT("Bearer "));
	buffer_append(&authorization, token);
	if (status == STATUS_OK && participant == NULL)
		status = STATUS_NOT_FOUND;
	if (status == STATUS_OK && (authorization.failed || request->form.failed))
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK) {
		struct address_rules addresses = participant_address_rules(participant);
		const struct fetch_order order = {.tenant = text_of(request->ctx),
			.address = buffer_text(&request->endpoint),
			.method = TEXT("POST"),
			.accept = TEXT("application/json"),
			.authorization = buffer_text(&authorization),
			.content_type = TEXT("application/x-www-form-urlencoded"),
			.body = buffer_text(&request->form),
			.rules = &addresses,
			.timeout_ms = SILENCE_MS,
			.answer_max = ANSWER_MAX};
		status = fetch_start(request->worker, &order, on_answer, request, &request->fetch);
	}
	buffer_wipe(&authorization);
	if (status != STATUS_OK)
		finish(request, status, NULL);
}

static void print_claims(const struct participant *participant, const struct data_address *address,
	struct text provider, int64_t now_ms, struct buffer *claims)
{
	char jti[ID_LENGTH + 1];
	struct text audience = data_address_property(address, "refreshAudience");
	id_random(jti);
	buffer_append(claims, TEXT("{\"iat\":"));
	buffer_append_number(claims, now_ms / 1000);
	buffer_append(claims, TEXT(",\"exp\":"));
	buffer_append_number(claims, now_ms / 1000 + PROOF_LIFETIME_S);
	buffer_append_member(claims, "iss", text_of(participant->identity));
	buffer_append_member(claims, "sub", text_of(participant->identity));
	buffer_append_member(claims, "aud", audience.length > 0 ? audience : provider);
	buffer_append_member(claims, "jti", text_of(jti));
	buffer_append_member(claims, "token", data_address_property(address, "authorization"));
	buffer_append_byte(claims, '}');
}

void renewal_request_start(struct dp *dp, struct worker *worker, struct text ctx, const struct data_address *address,
	struct text provider, renewal_done *done, void *context, struct renewal_request **handle)
{
	const struct participant *participant = registry_find(dp->registry, ctx);
	struct renewal_request *request = participant == NULL ? NULL : calloc(1, sizeof(*request));
	*handle = NULL;
	if (request == NULL) {
		done(context, participant == NULL ? STATUS_NOT_FOUND : STATUS_NO_MEMORY, NULL);
		return;
	}
	*request = (struct renewal_request){
		.dp = dp, .worker = worker, .handle = handle, .done = done, .context = context, .is_signing = true};
	memcpy(request->ctx, participant->ctx, sizeof(request->ctx));
	*handle = request;
	enum status status = find_endpoint(address, participant->signaling.allows_clear, &request->endpoint);
	struct buffer claims = {0};
	form_append(&request->form, "grant_type", TEXT("refresh_token"));
	form_append(&request->form, "refresh_token", data_address_property(address, "refreshToken"));
	print_claims(participant, address, provider, worker_wall_ms(worker), &claims);
	if (status == STATUS_OK && (claims.failed || request->form.failed))
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		signer_prove(dp, worker, ctx, buffer_text(&claims), on_proof, request);
	else
		finish(request, status, NULL);
	buffer_wipe(&claims);
}

void renewal_request_cancel(struct renewal_request *request)
{
	if (request != NULL && request->is_signing)
		request->is_cancelled = true;
	else if (request != NULL)
		request_free(request);
}
