/* A cell joins (control.md 2.3): GET /join/nonce, then POST /join until it is let in. */
#include <stdlib.h>

#include "control/fabric/fleet/join_private.h"
#include "server/base/clock.h"
#include "server/base/id.h"
#include "server/base/log.h"
#include "tenants/jose/digest.h"

#define NONCE_SCOPE "celld-fabric:join"
enum { NONCE_S = 120, PENDING_MS = 2000 };

/* --- the nonce: a short-lived token of ours, so that every replica knows it and nobody remembers it */

static void give_nonce(struct rest_call *call)
{
	struct fleet *fleet = call->context;
	struct text cell_id = rest_parameter(call, "cellId");
	struct buffer nonce = {0}, answer = {0};
	if (!name_is_valid(cell_id, JOIN_CELL_MAX)) {
		rest_refuse_with(call, 400, "cellId: must be 1 to 64 letters, digits, - and _");
		return;
	}
	enum status status = access_token(fleet->uses.access, cell_id, TEXT(NONCE_SCOPE), NONCE_S, &nonce);
	if (status == STATUS_OK)
		buffer_printf(&answer, "{\"nonce\":\"%s\",\"serverTime\":%lld}", nonce.bytes, (long long)clock_wall_ms());
	if (status == STATUS_OK && !answer.failed)
		rest_answer(call, 200, buffer_text(&answer));
	else
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	buffer_free(&nonce);
	buffer_free(&answer);
}

static bool is_own_nonce(const struct fleet *fleet, const struct join_request *request)
{
	struct jws jws;
	if (access_verify(fleet->uses.access, request->nonce, &jws) != STATUS_OK)
		return false;
	bool is_own = text_equals(json_member_text(jws.claims, "scope"), TEXT(NONCE_SCOPE)) &&
				  text_equals(json_member_text(jws.claims, "sub"), request->cell_id);
	jws_free(&jws);
	return is_own;
}

/* --- one attempt */

static bool refuse(struct attempt *attempt, int status, const char *message)
{
	LOG(WARNING, "cell.join_refused", log_text("cell", attempt->request.cell_id), log_text("why", text_of(message)));
	rest_refuse_with(attempt->call, status, message);
	return false;
}

static void on_audited(void *context, enum status status, int64_t revision)
{
	(void)context, (void)revision;
	if (status != STATUS_OK)
		LOG(ERROR, "audit.lost", log_text("what", TEXT("join.refused")), log_text("why", text_of(status_text(status))));
}

/* A refusal that somebody should look at. */
static bool refuse_audited(struct attempt *attempt, int status, const char *message)
{
	struct transaction *transaction = transaction_new();
	if (transaction != NULL && fleet_audit(transaction, "join.refused", attempt->request.cell_id, message))
		state_submit(attempt->fleet->uses.state, transaction, on_audited, attempt->fleet);
	else
		transaction_free(transaction);
	return refuse(attempt, status, message);
}

/* A new cell's id follows from its name. */
static bool make_id(struct text cell_id, char id[UUID_LENGTH + 1])
{
	uint8_t digest[DIGEST_BYTES];
	char hex[DIGEST_HEX + 1];
	struct buffer text = {0};
	buffer_append(&text, TEXT("celld cell "));
	buffer_append(&text, cell_id);
	bool is_made = !text.failed && digest_of(buffer_text(&text), digest) == STATUS_OK;
	buffer_free(&text);
	if (!is_made)
		return false;
	digest[6] = (uint8_t)((digest[6] & 0x0f) | 0x80); /* RFC 9562: version 8, variant */
	digest[8] = (uint8_t)((digest[8] & 0x3f) | 0x80);
	digest_hex(digest, hex);
	snprintf(id, UUID_LENGTH + 1, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
	return true;
}

static bool matches(const char *pattern, struct text name)
{
	size_t length = strlen(pattern);
	if (length > 0 && pattern[length - 1] == '*')
		return text_starts_with(name, (struct text){pattern, length - 1});
	return text_equals(name, text_of(pattern));
}

static bool is_approved_by_rule(const struct fleet *fleet, struct text cell_id)
{
	for (size_t i = 0; i < fleet->settings->auto_approve.count; i++) {
		if (matches(fleet->settings->auto_approve.items[i], cell_id))
			return true;
	}
	return false;
}

static bool own_bool(const struct cell_record *cell, const char *name)
{
	struct json *root = NULL;
	bool value = false;
	if (cell != NULL && json_parse(text_of(cell->body), NULL, &root) == STATUS_OK &&
		!json_bool(json_member(json_member(root, "celld"), name), &value))
		value = false;
	json_free(root);
	return value;
}

/* Who asks: the holder of the key that is known, or who brings a token. False: it has answered. */
static bool authenticate(struct attempt *attempt)
{
	const struct join_request *request = &attempt->request;
	const struct cell_record *cell = attempt->cell;
	bool is_known_key = cell != NULL && cell->key != NULL && text_equals(text_of(cell->key), request->nkey);
	const char *why;
	if (!is_own_nonce(attempt->fleet, request))
		return refuse(attempt, 401, "the nonce is none of ours, or has expired");
	if (join_request_verify(request) != STATUS_OK)
		return refuse_audited(attempt, 401, "the signature is not of this key");
	if (is_known_key)
		return true;
	if (request->token.length == 0)
		return cell != NULL && cell->key != NULL
				   ? refuse_audited(attempt, 409, "the cell has another key; an operator may allow a new one")
				   : refuse(attempt, 401, "a join token is needed");
	attempt->token = join_tokens_check(attempt->fleet->tokens, request->token, request->cell_id, clock_wall_ms(), &why);
	if (attempt->token == NULL)
		return refuse_audited(attempt, 401, why);
	if (cell != NULL && cell->key != NULL)
		return refuse_audited(attempt, 409, "the cell has another key; an operator may allow a new one");
	return true;
}

/* A process that has joined once does not follow the one that has followed it. */
static bool is_current(struct attempt *attempt)
{
	const struct cell_record *cell = attempt->cell;
	bool is_same = cell != NULL && cell->incarnation != NULL &&
				   text_equals(text_of(cell->incarnation), attempt->request.incarnation);
	if (cell != NULL && (cell->mode == CELL_DECOMMISSIONING || cell->mode == CELL_GONE))
		return refuse(attempt, 403, "the cell has been removed");
	if (attempt->request.epoch > 0 && !is_same)
		return refuse_audited(attempt, 409, "STALE_EPOCH: another process of this cell has joined since");
	return true;
}

/* What the operator attests, and what he has defined, a cell does not change by itself. */
static bool read_definition(struct attempt *attempt)
{
	struct cell_definition *parsed = NULL;
	struct buffer error = {0}, warning = {0};
	enum status status = cell_definition_parse(attempt->request.definition, &parsed, &error, &warning);
	bool is_read = status == STATUS_OK;
	if (is_read && !text_equals(text_of(parsed->cell_id), attempt->request.cell_id)) {
		buffer_append(&error, TEXT("cellId: must be the one that joins"));
		is_read = false;
	}
	if (!is_read) {
		struct buffer message = {0};
		buffer_append(&message, TEXT("definition."));
		buffer_append(&message, buffer_text(&error));
		refuse(attempt, 400, error.length == 0 || message.failed ? "the definition cannot be read" : message.bytes);
		buffer_free(&message);
	} else {
		is_read = json_parse(text_of(parsed->text), NULL, &attempt->definition) == STATUS_OK;
		json_remove(attempt->definition, "compliance");
	}
	cell_definition_free(parsed);
	buffer_free(&error);
	buffer_free(&warning);
	return is_read;
}

/* --- the answer */

static void append_urls(const struct setting_texts *urls, struct buffer *into)
{
	buffer_append(into, TEXT(",\"natsUrls\":["));
	for (size_t i = 0; i < urls->count; i++) {
		if (i > 0)
			buffer_append_byte(into, ',');
		buffer_append_json(into, text_of(urls->items[i]));
	}
	buffer_append_byte(into, ']');
}

static void welcome(struct attempt *attempt, const struct cell_record *cell)
{
	struct fleet *fleet = attempt->fleet;
	const struct setting_texts *urls =
		fleet->settings->nats_urls.count > 0 ? &fleet->settings->nats_urls : fleet->own_nats_urls;
	struct buffer answer = {0};
	buffer_printf(&answer,
		"{\"status\":\"joined\",\"id\":\"%s\",\"mode\":\"%s\",\"cellEpoch\":%lld,\"cfmTerm\":%lld,\"hbIntervalMs\":%"
		"llu,"
		"\"leaseTtlMs\":%llu,\"marginMs\":%lld,\"serverTime\":%lld,\"inboxPrefix\":\"_INBOX_%s\"",
		cell->id, cell_mode_name(cell->mode), (long long)cell->epoch, (long long)fleet_term(fleet),
		(unsigned long long)monitor_interval_ms(fleet->monitor, cell),
		(unsigned long long)monitor_ttl_ms(fleet->monitor, cell), (long long)fleet->settings->margin_ms,
		(long long)clock_wall_ms(), cell->external_id);
	append_urls(urls, &answer);
	bool is_made = renewal_append(fleet, cell, cell->key, &answer);
	buffer_append_byte(&answer, '}');
	if (is_made && !answer.failed)
		rest_answer(attempt->call, 200, buffer_text(&answer));
	else
		rest_refuse(attempt->call, STATUS_NO_MEMORY, NULL);
	buffer_free(&answer);
}

static void wait_for_approval(struct attempt *attempt)
{
	struct buffer answer = {0};
	buffer_printf(&answer, "{\"status\":\"pending\",\"retryAfterMs\":%d}", PENDING_MS);
	rest_answer(attempt->call, 202, buffer_text(&answer));
	buffer_free(&answer);
}

/* --- the commit */

static void attempt_free(struct attempt *attempt)
{
	json_free(attempt->definition);
	free(attempt);
}

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct attempt *attempt = context;
	struct rest_call *call = attempt->call;
	const struct cell_record *cell = cells_find_external(attempt->fleet->uses.cells, attempt->request.cell_id);
	(void)revision;
	if (status == STATUS_CONFLICT || status == STATUS_NOT_FOUND || (status == STATUS_OK && cell == NULL)) {
		rest_refuse_with(call, 503, "the cell's record has changed in the meantime: try again");
	} else if (status != STATUS_OK) {
		rest_refuse(call, status, NULL);
	} else if (attempt->is_approved) {
		LOG(INFO, "cell.joined", log_text("cell", text_of(cell->external_id)), log_number("epoch", cell->epoch));
		welcome(attempt, cell);
	} else {
		LOG(INFO, "cell.waits_for_approval", log_text("cell", text_of(cell->external_id)));
		wait_for_approval(attempt);
	}
	attempt_free(attempt);
	rest_release(call);
}

static bool build(struct attempt *attempt, struct transaction *transaction)
{
	const struct cell_record *cell = attempt->cell;
	char *body = join_body(attempt);
	bool has_name = cell != NULL || cells_take_name(attempt->fleet->uses.cells, transaction, attempt->request.cell_id,
										text_of(attempt->id));
	bool is_built = body != NULL && has_name &&
					state_put(transaction, RECORD_CELL, text_of(cell == NULL ? attempt->id : cell->id), text_of(body),
						cell == NULL ? REVISION_ABSENT : cell->revision) &&
					fleet_audit(transaction, attempt->is_approved ? "cell.joined" : "cell.registered",
						attempt->request.cell_id, NULL);
	if (is_built && attempt->token != NULL)
		is_built = state_delete(transaction, RECORD_JOIN_TOKEN, text_of(attempt->token->id), attempt->token->revision);
	free(body);
	return is_built;
}

static void store(struct attempt *attempt)
{
	struct transaction *transaction = transaction_new();
	if (transaction == NULL || !make_id(attempt->request.cell_id, attempt->id) || !build(attempt, transaction)) {
		transaction_free(transaction);
		rest_refuse(attempt->call, STATUS_NO_MEMORY, NULL);
		attempt_free(attempt);
		return;
	}
	rest_hold(attempt->call);
	state_submit(attempt->fleet->uses.state, transaction, on_stored, attempt);
}

/* Its own answer was lost, or it waits: nothing is to be written. */
static bool is_stored(const struct attempt *attempt)
{
	const struct cell_record *cell = attempt->cell;
	if (cell == NULL || attempt->token != NULL)
		return false;
	if (!attempt->is_approved)
		return cell->key != NULL;
	return cell->incarnation != NULL && cell->mode != CELL_FENCED && cell->mode != CELL_REGISTERING &&
		   text_equals(text_of(cell->incarnation), attempt->request.incarnation);
}

static void decide(struct attempt *attempt)
{
	const struct cell_record *cell = attempt->cell;
	int64_t known = cell == NULL ? 0 : cell->epoch, last = attempt->request.last_epoch;
	attempt->is_approved =
		own_bool(cell, "approved") || (attempt->token != NULL && attempt->token->is_approved) ||
		(is_approved_by_rule(attempt->fleet, attempt->request.cell_id) && (cell == NULL || cell->mode != CELL_FENCED));
	attempt->epoch = (last > known ? last : known) + 1;
	if (last > known)
		LOG(ERROR, "cell.epoch_ahead", log_text("cell", attempt->request.cell_id), log_number("cell", last),
			log_number("record", known));
	if (!is_stored(attempt)) {
		store(attempt);
		return;
	}
	if (attempt->is_approved)
		welcome(attempt, cell);
	else
		wait_for_approval(attempt);
	attempt_free(attempt);
}

static void join(struct rest_call *call)
{
	struct buffer error = {0};
	struct attempt *attempt = calloc(1, sizeof(*attempt));
	if (attempt == NULL) {
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		return;
	}
	attempt->call = call;
	attempt->fleet = call->context;
	if (brakes_refusal(attempt->fleet) != NULL) {
		rest_refuse_with(call, 503, brakes_refusal(attempt->fleet));
		attempt_free(attempt);
	} else if (join_request_read(call->body, &attempt->request, &error) != STATUS_OK) {
		rest_refuse_with(call, 400, error.bytes == NULL ? "the request cannot be read" : error.bytes);
		attempt_free(attempt);
	} else {
		attempt->cell = cells_find_external(attempt->fleet->uses.cells, attempt->request.cell_id);
		if (authenticate(attempt) && is_current(attempt) && read_definition(attempt))
			decide(attempt);
		else
			attempt_free(attempt);
	}
	buffer_free(&error);
}

const struct rest_endpoint join_endpoints[] = {
	{"GET", "/join/nonce", NULL, false, give_nonce},
	{"POST", "/join", NULL, true, join},
};
const size_t join_endpoint_count = sizeof(join_endpoints) / sizeof(join_endpoints[0]);
