/* Claims of access tokens. */
#include "tenants/dp/access_claims.h"

struct access_claims access_claims_of(const struct participant *participant, struct text flow,
	const struct flow_terms *terms, int64_t lifetime_s, int64_t now_ms, char jti[ID_LENGTH + 1])
{
	int64_t end_s = now_ms / 1000 + lifetime_s;
	if (terms->expires_ms != 0 && end_s > terms->expires_ms / 1000)
		end_s = terms->expires_ms / 1000;
	id_random(jti);
	return (struct access_claims){.identity = text_of(participant->identity),
		.audience = text_of(terms->counter_party),
		.ctx = text_of(participant->ctx),
		.flow = flow,
		.jti = text_of(jti),
		.issued_s = now_ms / 1000,
		.expires_s = end_s};
}

enum status access_claims_print(const struct access_claims *claims, struct buffer *into)
{
	buffer_printf(into, "{\"iat\":%lld,\"exp\":%lld", (long long)claims->issued_s, (long long)claims->expires_s);
	buffer_append_member(into, "iss", claims->identity);
	buffer_append_member(into, "sub", claims->identity);
	buffer_append_member(into, "aud", claims->audience);
	buffer_append_member(into, "jti", claims->jti);
	buffer_append_member(into, "ctx", claims->ctx);
	buffer_append_member(into, "flow", claims->flow);
	buffer_append_byte(into, '}');
	return into->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

bool access_claims_read(const struct json *json, struct access_claims *claims)
{
	*claims = (struct access_claims){.identity = json_member_text(json, "iss"),
		.audience = json_member_text(json, "aud"),
		.ctx = json_member_text(json, "ctx"),
		.flow = json_member_text(json, "flow"),
		.jti = json_member_text(json, "jti")};
	return claims->flow.length > 0 && claims->jti.length > 0 && claims->audience.length > 0 &&
		   json_integer(json_member(json, "iat"), &claims->issued_s) &&
		   json_integer(json_member(json, "exp"), &claims->expires_s) &&
		   text_equals(json_member_text(json, "sub"), claims->identity);
}
