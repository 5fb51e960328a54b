/* Offers: a token, and the address around it. */
#include "tenants/dp/offer.h"

#include <stdlib.h>
#include <string.h>

#include "tenants/dp/access_claims.h"
#include "tenants/dp/data_address.h"
#include "tenants/dp/fetch.h"
#include "tenants/dp/signer.h"
#include "tenants/dp/source_external.h"

/* One offer in the making. */
struct offer {
	struct dp_worker *home;
	struct transaction *transaction;
	struct data_address *address;
	offer_done *done;
	void *context;
};

bool flow_terms_offers(const struct flow_terms *terms)
{
	return flow_terms_is_push(terms) == (terms->role == FLOW_CONSUMER);
}

struct text offer_type(struct text profile)
{
	static const struct {
		const char *profile, *type;
	} types[] = {{"HttpData-PULL", "https://w3id.org/idsa/v4.1/HTTP"},
		{"HttpData-PUSH", "https://w3id.org/idsa/v4.1/HTTP"},
		{"http-pull", "https://w3id.org/dspace-sig/profile/http-pull"},
		{"http-push", "https://w3id.org/dspace-sig/profile/http-push"}};
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (text_equals(profile, text_of(types[i].profile)))
			return text_of(types[i].type);
	}
	return profile;
}

static void finish(struct offer *offer, enum status status)
{
	struct buffer text = {0};
	if (status == STATUS_OK) {
		data_address_print(offer->address, true, &text);
		status = text.failed ? STATUS_NO_MEMORY : STATUS_OK;
	}
	offer->done(offer->context, status, status == STATUS_OK ? buffer_text(&text) : TEXT_NONE);
	buffer_wipe(&text);
	data_address_free(offer->address);
	free(offer);
}

static void on_token(void *context, enum status status, struct text token)
{
	struct offer *offer = context;
	if (status == STATUS_OK && (!data_address_add(offer->address, TEXT("authorization"), token) ||
								   !data_address_add(offer->address, TEXT("authType"), TEXT("bearer"))))
		status = STATUS_NO_MEMORY;
	finish(offer, status);
}

static void make_pull(
	struct offer *offer, const struct participant *participant, struct text flow, const struct flow_terms *terms)
{
	struct dp *dp = offer->home->dp;
	struct buffer claims = {0};
	char jti[ID_LENGTH + 1];
	int64_t expires_s, now_ms = worker_wall_ms(offer->home->worker);
	struct flow shell = {.id = text_copy(flow)}; /* it is stored only after its token is made */
	memcpy(shell.ctx, participant->ctx, sizeof(shell.ctx));
	enum status status = shell.id == NULL
							 ? STATUS_NO_MEMORY
							 : access_claims_print(participant, &shell, terms, dp->settings.token_lifetime_ms / 1000,
								   now_ms, jti, &expires_s, &claims);
	if (status == STATUS_OK)
		signer_sign(dp, offer->home->worker, text_of(participant->ctx), buffer_text(&claims), on_token, offer);
	else
		finish(offer, status);
	free(shell.id);
	buffer_free(&claims);
}

static struct data_address *make_address(
	const struct dp *dp, struct text ctx, struct text flow, const struct flow_terms *terms)
{
	const struct external_source *external = dataset_external(dp_find(dp, DP_DATASETS, ctx, text_of(terms->dataset)));
	struct buffer endpoint = {0};
	if (external != NULL && external->endpoint != NULL)
		buffer_append(&endpoint, text_of(external->endpoint));
	else if (flow_terms_is_push(terms))
		buffer_printf(
			&endpoint, "%s/api/ingest/%.*s/%.*s", terms->public_url, TEXT_ARGUMENTS(ctx), TEXT_ARGUMENTS(flow));
	else
		buffer_printf(&endpoint, "%s/api/public/%.*s", terms->public_url, TEXT_ARGUMENTS(ctx));
	struct data_address *address =
		endpoint.failed ? NULL : data_address_new(offer_type(text_of(terms->profile)), buffer_text(&endpoint));
	buffer_free(&endpoint);
	return address;
}

void offer_make(struct dp_worker *home, struct text ctx, struct text flow, const struct flow_terms *terms,
	struct transaction *transaction, offer_done *done, void *context)
{
	const struct participant *participant = registry_find(home->dp->registry, ctx);
	struct offer *offer = calloc(1, sizeof(*offer));
	if (offer == NULL || participant == NULL) {
		free(offer);
		done(context, offer == NULL ? STATUS_NO_MEMORY : STATUS_NOT_FOUND, TEXT_NONE);
		return;
	}
	*offer = (struct offer){.home = home, .transaction = transaction, .done = done, .context = context};
	offer->address = make_address(home->dp, ctx, flow, terms);
	if (offer->address == NULL)
		finish(offer, STATUS_NO_MEMORY);
	else if (flow_terms_is_push(terms))
		finish(offer, STATUS_OK);
	else
		make_pull(offer, participant, flow, terms);
}
