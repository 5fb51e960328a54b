/* The registered claims of a token against rules (RFC 7519 section 4.1), fail closed. */
#include "tenants/jose/jws.h"

enum { LEEWAY_LOW_S = 5, LEEWAY_HIGH_S = 60 };
#define LATEST_S 253402300799 /* the end of the year 9999 */

enum claim { CLAIM_ABSENT, CLAIM_GOOD, CLAIM_BAD };

static enum claim time_claim(const struct json *claims, const char *name, int64_t *seconds)
{
	const struct json *node = json_member(claims, name);
	if (node == NULL)
		return CLAIM_ABSENT;
	return json_integer(node, seconds) && *seconds >= 0 && *seconds <= LATEST_S ? CLAIM_GOOD : CLAIM_BAD;
}

static bool is_past_or_absent(const struct json *claims, const char *name, int64_t now_s)
{
	int64_t seconds;
	enum claim claim = time_claim(claims, name, &seconds);
	return claim == CLAIM_ABSENT || (claim == CLAIM_GOOD && seconds <= now_s);
}

/* Every member of an array must be a string: a list we only half understand is not for us. */
static bool has_audience(const struct json *aud, struct text audience)
{
	if (json_kind(aud) == JSON_STRING)
		return text_equals(json_text(aud), audience);
	if (json_kind(aud) != JSON_ARRAY)
		return false;
	bool found = false;
	for (const struct json *item = json_first(aud); item != NULL; item = json_next(item)) {
		if (json_kind(item) != JSON_STRING)
			return false;
		found = found || text_equals(json_text(item), audience);
	}
	return found;
}

static bool has_issuer(const struct json *iss, struct text issuer)
{
	return json_kind(iss) == JSON_STRING && text_equals(json_text(iss), issuer);
}

enum status token_check(const struct json *claims, const struct token_rules *rules, int64_t *expires_s)
{
	int64_t leeway_s = rules->leeway_s, expiry_s = INT64_MAX;
	if (leeway_s < LEEWAY_LOW_S || leeway_s > LEEWAY_HIGH_S)
		leeway_s = leeway_s < LEEWAY_LOW_S ? LEEWAY_LOW_S : LEEWAY_HIGH_S;
	if (json_kind(claims) != JSON_OBJECT)
		return STATUS_UNAUTHORIZED;
	enum claim expiry = time_claim(claims, "exp", &expiry_s);
	if (expiry == CLAIM_BAD || (expiry == CLAIM_ABSENT && rules->need_expiry))
		return STATUS_UNAUTHORIZED;
	if (expiry == CLAIM_GOOD && rules->now_s >= expiry_s + leeway_s)
		return STATUS_UNAUTHORIZED;
	if (!is_past_or_absent(claims, "nbf", rules->now_s + leeway_s) ||
		!is_past_or_absent(claims, "iat", rules->now_s + leeway_s))
		return STATUS_UNAUTHORIZED;
	if (rules->issuer.bytes != NULL && !has_issuer(json_member(claims, "iss"), rules->issuer))
		return STATUS_UNAUTHORIZED;
	if (rules->audience.bytes != NULL && !has_audience(json_member(claims, "aud"), rules->audience))
		return STATUS_UNAUTHORIZED;
	*expires_s = expiry_s;
	return STATUS_OK;
}
