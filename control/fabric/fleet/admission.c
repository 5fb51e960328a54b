/* What lets somebody in: tokens for cells, credentials for agents. */
#include "control/bus/join_request.h"
#include "control/fabric/fleet/fleet_private.h"
#include "control/fabric/rest_submit.h"
#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/secret.h"

enum { TOKEN_S = 3600, AGENT_LIFETIME_S = 30 * 86400, AGENT_LIFETIME_MAX_S = 366 * 86400 };

/* --- tokens */

/* A positive number of the body, or the preset; false: it is none. */
static bool read_seconds(const struct rest_call *call, int64_t preset, int64_t maximum, int64_t *seconds)
{
	const struct json *value = json_member(call->body, "lifetimeSeconds");
	*seconds = preset;
	return value == NULL || (json_integer(value, seconds) && *seconds >= 1 && *seconds <= maximum);
}

static void create_token(struct rest_call *call)
{
	struct fleet *fleet = call->context;
	struct text cell_id = json_member_text(call->body, "cellId");
	const struct json *approve = json_member(call->body, "approve");
	int64_t lifetime_s, wall_ms = clock_wall_ms();
	bool is_approved = false;
	struct buffer token = {0}, answer = {0};
	if (!name_is_valid(cell_id, JOIN_CELL_MAX) || text_find(cell_id, '.') < cell_id.length) {
		rest_refuse(call, STATUS_INVALID, "cellId: must be 1 to 64 letters, digits, - and _");
		return;
	}
	if (!read_seconds(call, TOKEN_S, JOIN_TOKEN_LIFETIME_MAX_S, &lifetime_s)) {
		rest_refuse(call, STATUS_INVALID, "lifetimeSeconds: must be 1 to 86400");
		return;
	}
	if (approve != NULL && !json_bool(approve, &is_approved)) {
		rest_refuse(call, STATUS_INVALID, "approve: must be true or false");
		return;
	}
	int64_t expires_ms = wall_ms + lifetime_s * 1000;
	struct transaction *transaction = transaction_new();
	if (transaction == NULL || !fleet_audit_call(transaction, call, "join_token.created", cell_id, NULL) ||
		join_token_create(transaction, cell_id, is_approved, lifetime_s, wall_ms, &token) != STATUS_OK) {
		transaction_free(transaction);
		transaction = NULL;
	}
	buffer_append(&answer, TEXT("{\"cellId\":"));
	buffer_append_json(&answer, cell_id);
	buffer_printf(&answer, ",\"token\":\"%s\",\"expiresAt\":%lld,\"approved\":%s}",
		token.bytes == NULL ? "" : token.bytes, (long long)expires_ms, is_approved ? "true" : "false");
	buffer_wipe(&token);
	rest_submit(call, fleet->uses.state, transaction, 201, &answer);
}

static void list_tokens(struct rest_call *call)
{
	struct fleet *fleet = call->context;
	struct buffer answer = {0};
	buffer_append_byte(&answer, '[');
	for (size_t i = 0; i < join_tokens_count(fleet->tokens); i++) {
		const struct join_token *token = join_tokens_at(fleet->tokens, i);
		buffer_printf(&answer,
			"%s{\"id\":\"%s\",\"cellId\":\"%s\",\"approved\":%s,\"createdAt\":%lld,\"expiresAt\":%lld}",
			i == 0 ? "" : ",", token->id, token->cell_id, token->is_approved ? "true" : "false",
			(long long)token->created_ms, (long long)token->expires_ms);
	}
	buffer_append_byte(&answer, ']');
	fleet_answer(call, 200, &answer);
}

static void delete_token(struct rest_call *call)
{
	struct fleet *fleet = call->context;
	const struct join_token *token = join_tokens_find(fleet->tokens, call->arguments[0]);
	struct buffer answer = {0};
	if (token == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	struct transaction *transaction = transaction_new();
	if (transaction != NULL &&
		(!state_delete(transaction, RECORD_JOIN_TOKEN, text_of(token->id), token->revision) ||
			!fleet_audit_call(transaction, call, "join_token.withdrawn", text_of(token->cell_id), NULL))) {
		transaction_free(transaction);
		transaction = NULL;
	}
	rest_submit(call, fleet->uses.state, transaction, 204, &answer);
}

/* --- credentials of agents: {"name","nkey","lifetimeSeconds"} */

static void issue(struct rest_call *call)
{
	struct fleet *fleet = call->context;
	struct text name = json_member_text(call->body, "name"), key = json_member_text(call->body, "nkey");
	struct nkey *nkey = NULL;
	int64_t lifetime_s, expires_ms;
	struct buffer jwt = {0}, answer = {0};
	if (fleet->credentials == NULL) {
		rest_refuse_with(call, 409, "no credentials are issued: cells.signing_key_file is not set");
		return;
	}
	if (!name_is_valid(name, 128) || !read_seconds(call, AGENT_LIFETIME_S, AGENT_LIFETIME_MAX_S, &lifetime_s) ||
		nkey_from_public(key, NKEY_USER, &nkey) != STATUS_OK) {
		rest_refuse(
			call, STATUS_INVALID, "needs name, nkey (a public NATS key of a user), and lifetimeSeconds up to a year");
		return;
	}
	enum status status = credentials_issue(
		fleet->credentials, ROLE_AGENT, name, nkey_public(nkey), clock_wall_ms(), lifetime_s * 1000, &jwt, &expires_ms);
	if (status == STATUS_OK)
		buffer_printf(&answer, "{\"natsUserJwt\":\"%s\",\"natsExpiresAt\":%lld}", jwt.bytes, (long long)expires_ms);
	nkey_free(nkey);
	buffer_free(&jwt);
	if (status != STATUS_OK)
		answer.failed = true;
	fleet_answer(call, 201, &answer);
}

const struct rest_endpoint admission_endpoints[] = {
	{"GET", "/join-tokens", FLEET_READ, false, list_tokens},
	{"POST", "/join-tokens", FLEET_WRITE, true, create_token},
	{"DELETE", "/join-tokens/{id}", FLEET_WRITE, false, delete_token},
	{"POST", "/credentials", FLEET_WRITE, true, issue},
};
const size_t admission_endpoint_count = sizeof(admission_endpoints) / sizeof(admission_endpoints[0]);
