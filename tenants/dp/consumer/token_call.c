/* GET /tokens/{ctx}/{flow}: the token a participant holds of a flow, for its own applications (cfm.md, siglet). */
#include <stdlib.h>

#include "server/answer.h"
#include "server/base/secret.h"
#include "server/path.h"
#include "tenants/dp/consumer/held_token.h"
#include "tenants/dp/manage/operation.h"

/* Freed when both the exchange and the answer are over. */
struct token_call {
	struct exchange *exchange; /* NULL: the caller has gone */
	bool is_pending;
};

static void on_close(struct exchange *exchange, enum status outcome)
{
	struct token_call *call = exchange->state;
	(void)outcome;
	call->exchange = NULL;
	if (!call->is_pending)
		free(call);
}

bool held_token_allow(const struct dp *dp, struct exchange *exchange, struct text ctx)
{
	static const struct text resource = {"tokens", 6};
	struct jws jws;
	bool everywhere, is_siglets = false;
	if (access_verify(dp->access, access_bearer(exchange), &jws) == STATUS_OK) {
		struct text scopes = json_member_text(jws.claims, "scope");
		is_siglets = scope_satisfies(scopes, TEXT("siglet-mgmt-api"), resource, ACCESS_READ, &everywhere) &&
					 (everywhere || text_equals(json_member_text(jws.claims, "sub"), ctx));
		jws_free(&jws);
	}
	return is_siglets || access_allow(dp->access, exchange, TEXT("management-api"), resource, ACCESS_READ, ctx);
}

void held_token_refuse(struct exchange *exchange, enum status status)
{
	static const struct {
		enum status status;
		int http;
		const char *detail;
	} answers[] = {{STATUS_NOT_FOUND, 404, NULL}, {STATUS_CONFLICT, 409, "no data can be pulled by this flow now"},
		{STATUS_UNAUTHORIZED, 502, "the provider renews the token no more"},
		{STATUS_FORBIDDEN, 502, "the provider's address is not allowed"},
		{STATUS_TIMEOUT, 504, "the provider did not answer in time"}};
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (answers[i].status == status) {
			answer_problem(
				exchange, answers[i].http, answers[i].detail == NULL ? TEXT_NONE : text_of(answers[i].detail));
			return;
		}
	}
	answer_problem(exchange, 503, TEXT("the token cannot be had now"));
}

static void on_held(void *context, enum status status, const struct held_token *token)
{
	struct token_call *call = context;
	struct exchange *exchange = call->exchange;
	struct buffer body = {0};
	call->is_pending = false;
	if (exchange == NULL) {
		free(call);
		return;
	}
	if (status != STATUS_OK) {
		held_token_refuse(exchange, status);
		return;
	}
	buffer_append(&body, TEXT("{\"endpoint\":"));
	buffer_append_json(&body, token->endpoint);
	buffer_append(&body, TEXT(",\"endpointType\":"));
	buffer_append_json(&body, token->endpoint_type);
	if (token->token.bytes != NULL) {
		buffer_append(&body, TEXT(",\"authType\":\"bearer\",\"token\":"));
		buffer_append_json(&body, token->token);
	}
	if (token->expires_ms != 0) {
		int64_t left_ms = token->expires_ms - worker_wall_ms(exchange->worker);
		buffer_printf(&body, ",\"expiresAt\":%lld,\"expiresIn\":%lld", (long long)token->expires_ms,
			(long long)(left_ms > 0 ? left_ms / 1000 : 0));
	}
	buffer_append_byte(&body, '}');
	exchange_add_header(exchange, TEXT("cache-control"), TEXT("no-store"));
	if (body.failed)
		answer_problem(exchange, 503, TEXT_NONE);
	else
		answer_json(exchange, 200, buffer_text(&body));
	buffer_wipe(&body);
}

void dp_token(void *context, struct exchange *exchange, const struct route *route)
{
	struct dp *dp = context;
	struct text rest = route->rest, flow = TEXT_NONE, ctx = text_of(route->participant->ctx);
	if (!path_next(&rest, &flow) || rest.length > 0 || !name_is_valid(flow, MANAGE_ID_MAX)) {
		answer_problem(exchange, 404, TEXT_NONE);
		return;
	}
	if (!text_equals(exchange->method, TEXT("GET"))) {
		exchange_add_header(exchange, TEXT("allow"), TEXT("GET"));
		answer_problem(exchange, 405, TEXT_NONE);
		return;
	}
	if (!held_token_allow(dp, exchange, ctx))
		return;
	struct token_call *call = calloc(1, sizeof(*call));
	if (call == NULL) {
		answer_problem(exchange, 503, TEXT_NONE);
		return;
	}
	call->exchange = exchange;
	call->is_pending = true;
	exchange->state = call;
	exchange->on_close = on_close;
	held_token_get(dp, exchange->worker, ctx, flow, TEXT_NONE, on_held, call);
}
