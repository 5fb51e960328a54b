/* Claims of access tokens. */
#include "tenants/dp/access_claims.h"

static void append_text(struct buffer *into, const char *name, struct text value)
{
	buffer_printf(into, ",\"%s\":", name);
	buffer_append_json(into, value);
}

enum status access_claims_print(const struct participant *participant, const struct flow *flow,
	const struct flow_terms *terms, int64_t lifetime_s, int64_t now_ms, char jti[ID_LENGTH + 1], int64_t *expires_s,
	struct buffer *into)
{
	int64_t end_s = now_ms / 1000 + lifetime_s;
	if (terms->expires_ms != 0 && end_s > terms->expires_ms / 1000)
		end_s = terms->expires_ms / 1000;
	id_random(jti);
	buffer_printf(into, "{\"iat\":%lld,\"exp\":%lld", (long long)(now_ms / 1000), (long long)end_s);
	append_text(into, "iss", text_of(participant->identity));
	append_text(into, "sub", text_of(participant->identity));
	append_text(into, "aud", text_of(terms->counter_party));
	append_text(into, "jti", text_of(jti));
	append_text(into, "ctx", text_of(participant->ctx));
	append_text(into, "flow", text_of(flow->id));
	buffer_append_byte(into, '}');
	*expires_s = end_s;
	return into->failed ? STATUS_NO_MEMORY : STATUS_OK;
}
