/* Callers: which keys a token must be checked with, and what it must say. */
#include "tenants/dp/signaling/caller.h"

#include <stdio.h>

#include "tenants/dp/signaling/control_plane.h"
#include "tenants/dp/signaling/replay.h"

enum { LEEWAY_S = 30 };

/* One check. */
struct check {
	struct dp_worker *home;
	const struct participant *participant;
	struct exchange *exchange;
	const struct caller_need *need;
	const struct jws *jws;
	struct caller *caller;
	int64_t expires_s;
};

static struct control_planes *planes_of(const struct check *check)
{
	return dp_find(check->home->dp, DP_CONTROL_PLANES, text_of(check->participant->ctx), TEXT(""));
}

/* --- tokens of the cell and its identity provider: scopes say what, the subject says where */

static enum caller_verdict check_access(const struct check *check)
{
	bool everywhere;
	struct text subject = json_member_text(check->jws->claims, "sub"), ctx = text_of(check->participant->ctx);
	bool satisfied = scope_satisfies(json_member_text(check->jws->claims, "scope"), TEXT("signaling"),
		check->need->resource, check->need->action, &everywhere);
	const struct control_plane *plane = control_planes_find(planes_of(check), subject);
	if (plane != NULL)
		check->caller->control_plane = exchange_copy(check->exchange, subject);
	return satisfied && (everywhere || plane != NULL || text_equals(subject, ctx)) ? CALLER_GOOD : CALLER_FORBIDDEN;
}

/* --- tokens of control planes */

static bool has_key_for(const struct key *key, struct text kid)
{
	return kid.bytes == NULL || text_equals(key_id(key), kid);
}

static bool is_signed(const struct jws *jws, struct key *const *keys, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (has_key_for(keys[i], jws->kid) && jws_verify(jws, keys[i]) == STATUS_OK)
			return true;
	}
	return false;
}

static enum caller_verdict check_signature(const struct check *check, const struct control_plane *plane)
{
	const struct jwks_set *set;
	if (plane->jwks_uri == NULL && plane->key_count == 0) /* the protocol lets it pass; we do not, unless told to */
		return check->home->dp->settings.unverified_control_planes ? CALLER_GOOD : CALLER_UNKNOWN;
	if (plane->jwks_uri == NULL)
		return is_signed(check->jws, plane->keys, plane->key_count) ? CALLER_GOOD : CALLER_UNKNOWN;
	switch (jwks_find(
		check->home->jwks, text_of(check->participant->ctx), text_of(plane->jwks_uri), check->jws->kid, &set)) {
	case STATUS_OK:
		return is_signed(check->jws, set->keys, set->count) ? CALLER_GOOD : CALLER_UNKNOWN;
	case STATUS_UNAVAILABLE:
		check->caller->jwks_uri = exchange_copy(check->exchange, text_of(plane->jwks_uri));
		return CALLER_WAITS;
	default:
		return CALLER_UNKNOWN;
	}
}

/* The participant, by any of the names it has as a receiver; its data plane as the fabric's agent registers it. */
static bool is_for_us(struct check *check, const struct token_rules *given)
{
	char siglet[ID_LENGTH + 16];
	const struct participant *participant = check->participant;
	snprintf(siglet, sizeof(siglet), "%s-siglet", participant->ctx);
	const char *others = participant->signaling.participants;
	struct text names = text_of(others == NULL ? "" : others), part;
	struct token_rules rules = *given;
	const struct text audiences[] = {text_of(participant->identity), text_of(participant->ctx), text_of(siglet)};
	for (size_t i = 0; i < sizeof(audiences) / sizeof(audiences[0]); i++) {
		rules.audience = audiences[i];
		if (token_check(check->jws->claims, &rules, &check->expires_s) == STATUS_OK)
			return true;
	}
	for (bool done = others == NULL; text_next_part(&names, ',', &part, &done);) {
		rules.audience = text_trim(part);
		if (token_check(check->jws->claims, &rules, &check->expires_s) == STATUS_OK)
			return true;
	}
	return false;
}

static bool has_scope(const struct check *check)
{
	struct text scopes = json_member_text(check->jws->claims, "scope"), rest = scopes, part;
	bool everywhere, done = false;
	char plain[64];
	snprintf(plain, sizeof(plain), "signaling:%.*s", TEXT_ARGUMENTS(check->need->resource));
	while (scopes.length > 0 && text_next_part(&rest, ' ', &part, &done)) {
		if (text_equals(part, text_of(plain)))
			return true;
	}
	return scope_satisfies(scopes, TEXT("signaling"), check->need->resource, check->need->action, &everywhere);
}

static bool is_new(const struct check *check, const struct control_plane *plane)
{
	struct text id = json_member_text(check->jws->claims, "jti");
	if (check->home->dp->replays == NULL || id.length == 0)
		return true;
	return replays_note(check->home->dp->replays, text_of(check->participant->ctx), text_of(plane->id), id,
		(check->expires_s + LEEWAY_S) * 1000, worker_wall_ms(check->home->worker));
}

/* What the profiles want of claims (dps.md 4.4). */
static enum caller_verdict check_claims(struct check *check, const struct control_plane *plane)
{
	const struct json *claims = check->jws->claims;
	bool is_exchange = plane->authorization == AUTHORIZATION_TOKEN_EXCHANGE;
	const struct token_rules rules = {.issuer = is_exchange ? text_of(plane->issuer) : TEXT_NONE,
		.need_expiry = true,
		.leeway_s = LEEWAY_S,
		.now_s = worker_wall_ms(check->home->worker) / 1000};
	if (!is_for_us(check, &rules) || json_member_text(claims, "sub").length == 0)
		return CALLER_UNKNOWN;
	if (is_exchange &&
		(!text_equals(json_member_text(claims, "participant_context"), text_of(check->participant->ctx)) ||
			!has_scope(check)))
		return CALLER_FORBIDDEN;
	return is_new(check, plane) ? CALLER_GOOD : CALLER_UNKNOWN;
}

static bool may_be_of(const struct jws *jws, const struct control_plane *plane)
{
	switch (plane->authorization) {
	case AUTHORIZATION_CLIENT_CREDENTIALS:
		return text_equals(json_member_text(jws->claims, "sub"), text_of(plane->id));
	case AUTHORIZATION_TOKEN_EXCHANGE:
		return text_equals(json_member_text(jws->claims, "iss"), text_of(plane->issuer));
	case AUTHORIZATION_NONE:
	case AUTHORIZATION_COUNT:
		break;
	}
	return false;
}

static enum caller_verdict check_control_planes(struct check *check)
{
	const struct control_planes *planes = planes_of(check);
	enum caller_verdict verdict = CALLER_UNKNOWN;
	for (size_t i = 0; planes != NULL && i < planes->count; i++) {
		const struct control_plane *plane = planes->items[i];
		if (!may_be_of(check->jws, plane))
			continue;
		verdict = check_signature(check, plane);
		if (verdict == CALLER_GOOD)
			verdict = check_claims(check, plane);
		if (verdict == CALLER_GOOD)
			check->caller->control_plane = exchange_copy(check->exchange, text_of(plane->id));
		if (verdict != CALLER_UNKNOWN)
			break;
	}
	return verdict;
}

enum caller_verdict caller_check(struct dp_worker *home, const struct participant *participant,
	struct exchange *exchange, const struct caller_need *need, struct caller *caller)
{
	struct text token = access_bearer(exchange);
	struct jws jws;
	*caller = (struct caller){.control_plane = TEXT_NONE};
	struct check check = {
		.home = home, .participant = participant, .exchange = exchange, .need = need, .jws = &jws, .caller = caller};
	if (token.length == 0 || token.length > TOKEN_BYTES_MAX)
		return CALLER_UNKNOWN;
	enum status status = access_verify(home->dp->access, token, &jws);
	enum caller_verdict verdict;
	if (status == STATUS_OK) {
		verdict = check_access(&check);
	} else {
		status = status == STATUS_NO_MEMORY ? status : jws_parse(token, &jws);
		if (status != STATUS_OK)
			return status == STATUS_NO_MEMORY ? CALLER_UNAVAILABLE : CALLER_UNKNOWN;
		verdict = check_control_planes(&check);
	}
	jws_free(&jws);
	return verdict;
}
