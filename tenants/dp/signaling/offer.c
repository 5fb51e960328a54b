/* Offers: a token, and the address around it. */
#include "tenants/dp/signaling/offer.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/secret.h"
#include "tenants/dp/data_address.h"
#include "tenants/dp/renewal.h"
#include "tenants/dp/signaling/transfer_types.h"
#include "tenants/dp/source/source_external.h"
#include "tenants/dp/token_issue.h"

/* Tokens to push with cannot be renewed, and a push may begin and go on long after its flow was prepared: what bounds
 * them is the state of the flow. */
enum { INGEST_LIFETIME_S = 7 * 24 * 3600 };

/* One offer in the making. */
struct offer {
	struct dp_worker *home;
	struct data_address *address;
	char refresh_token[REFRESH_TOKEN_LENGTH + 1]; /* "": it cannot be renewed */
	char *refresh_endpoint, *audience;
	int64_t lifetime_s;
	bool is_legacy;
	offer_done *done;
	void *context;
};

bool flow_terms_offers(const struct flow_terms *terms)
{
	return flow_terms_is_push(terms) == (terms->role == FLOW_CONSUMER);
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
	wipe(offer->refresh_token, sizeof(offer->refresh_token));
	free(offer->refresh_endpoint);
	free(offer->audience);
	free(offer);
}

static void on_token(void *context, enum status status, struct text token)
{
	struct offer *offer = context;
	const struct renewal_offer renewal = {.access_token = token,
		.refresh_token = offer->refresh_token[0] == 0 ? TEXT_NONE : text_of(offer->refresh_token),
		.endpoint = text_of(offer->refresh_endpoint),
		.audience = text_of(offer->audience),
		.lifetime_s = offer->lifetime_s,
		.legacy = offer->is_legacy};
	if (status == STATUS_OK && !renewal_offer_add(&renewal, offer->address))
		status = STATUS_NO_MEMORY;
	finish(offer, status);
}

static void issue(struct offer *offer, const struct participant *participant, struct text flow,
	const struct flow_terms *terms, struct transaction *transaction)
{
	char jti[ID_LENGTH + 1];
	int64_t now_ms = worker_wall_ms(offer->home->worker);
	const struct access_claims claims = access_claims_of(participant, flow, terms, offer->lifetime_s, now_ms, jti);
	offer->lifetime_s = claims.expires_s - claims.issued_s;
	token_issue(offer->home->dp, offer->home->worker, &claims, transaction, on_token, offer);
}

/* Where the bytes are: the dataset says, or the tenant's transfer types, or they are the cell's own. */
static void print_endpoint(const struct dp *dp, struct text ctx, struct text flow, const struct flow_terms *terms,
	const struct transfer_type *type, struct buffer *into)
{
	const struct external_source *external = dataset_external(dp_find(dp, DP_DATASETS, ctx, text_of(terms->dataset)));
	struct json *metadata = NULL;
	if (terms->metadata != NULL && json_parse(text_of(terms->metadata), NULL, &metadata) != STATUS_OK)
		metadata = NULL;
	struct text chosen = type == NULL ? TEXT_NONE : transfer_type_endpoint(type, metadata);
	if (external != NULL && external->endpoint != NULL)
		buffer_append(into, text_of(external->endpoint));
	else if (chosen.bytes != NULL)
		buffer_append(into, chosen);
	else if (flow_terms_is_push(terms))
		buffer_printf(into, "%s/api/ingest/%.*s/%.*s", terms->public_url, TEXT_ARGUMENTS(ctx), TEXT_ARGUMENTS(flow));
	else
		buffer_printf(into, "%s/api/public/%.*s", terms->public_url, TEXT_ARGUMENTS(ctx));
	json_free(metadata);
}

/* False: out of memory. */
static bool make(struct offer *offer, const struct participant *participant, struct text flow,
	const struct flow_terms *terms, struct transaction *transaction)
{
	const struct dp *dp = offer->home->dp;
	struct text ctx = text_of(participant->ctx), profile = text_of(terms->profile);
	const struct transfer_type *type = transfer_types_find(dp, ctx, profile);
	struct buffer endpoint = {0}, renewal = {0};
	print_endpoint(dp, ctx, flow, terms, type, &endpoint);
	buffer_printf(&renewal, "%s/api/public/%s/token", terms->public_url, participant->ctx);
	if (!endpoint.failed)
		offer->address =
			data_address_new(type == NULL ? profile : text_of(type->endpoint_type), buffer_text(&endpoint));
	buffer_free(&endpoint);
	offer->refresh_endpoint = renewal.failed ? NULL : buffer_take(&renewal);
	buffer_free(&renewal);
	offer->audience = text_copy(text_of(participant->identity));
	offer->is_legacy = type != NULL && type->has_tx_renewal;
	offer->lifetime_s = INGEST_LIFETIME_S;
	if (offer->address == NULL || offer->refresh_endpoint == NULL || offer->audience == NULL)
		return false;
	if (flow_terms_is_push(terms))
		return true;
	offer->lifetime_s = dp->settings.renewal_lifetime_ms / 1000;
	return renewal_issue(transaction, ctx, flow, text_of(terms->counter_party), worker_wall_ms(offer->home->worker),
			   offer->refresh_token) == STATUS_OK;
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
	*offer = (struct offer){.home = home, .done = done, .context = context};
	const struct transfer_type *type = transfer_types_find(home->dp, ctx, text_of(terms->profile));
	if (!make(offer, participant, flow, terms, transaction))
		finish(offer, STATUS_NO_MEMORY);
	else if (type != NULL && type->token_source == TOKEN_SOURCE_CLIENT)
		finish(offer, STATUS_OK); /* the client brings a token of its own */
	else
		issue(offer, participant, flow, terms, transaction);
}
