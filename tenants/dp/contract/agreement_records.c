/* Agreements from records: one for each that is spoken of, by its own record, a flow or a book. */
#include "tenants/dp/contract/agreement_records.h"

#include "tenants/dp/contract/contract.h"
#include "tenants/dp/versions.h"

/* Found, or made and published; NULL: out of memory. */
static struct agreement *obtain_agreement(struct dp *dp, struct text ctx, struct text id)
{
	struct agreement *agreement = dp_find(dp, DP_AGREEMENTS, ctx, id);
	if (agreement != NULL)
		return agreement;
	agreement = agreement_new(ctx, id, dp->workers);
	if (agreement != NULL && dp_publish(dp, DP_AGREEMENTS, ctx, id, agreement) != STATUS_OK) {
		agreement_drop(agreement);
		return NULL;
	}
	return agreement;
}

/* Nobody speaks of it any more. */
static void forget_if_unused(struct dp *dp, struct agreement *agreement)
{
	if (agreement->users == 0 && agreement->slots == NULL &&
		atomic_load_explicit(&agreement->terms, memory_order_relaxed) == NULL &&
		dp_publish(dp, DP_AGREEMENTS, text_of(agreement->ctx), text_of(agreement->id), NULL) == STATUS_OK)
		dp_retire(dp, agreement_drop, agreement);
}

struct agreement *agreement_join(struct dp *dp, struct text ctx, struct text id)
{
	struct agreement *agreement = obtain_agreement(dp, ctx, id);
	if (agreement == NULL)
		return NULL;
	if (!agreement_make_lanes(agreement)) {
		forget_if_unused(dp, agreement);
		return NULL;
	}
	agreement->users++;
	return agreement;
}

void agreement_leave(struct dp *dp, struct agreement *agreement)
{
	agreement->users--;
	forget_if_unused(dp, agreement);
}

enum status agreement_on_record(
	struct dp *dp, const struct record *record, const struct json *body, struct buffer *error)
{
	struct agreement_terms *terms = NULL;
	struct agreement *agreement = obtain_agreement(dp, record->ctx, record->id);
	if (agreement == NULL)
		return STATUS_NO_MEMORY;
	enum status status = agreement_terms_parse(body, &terms, error);
	if (status != STATUS_OK) /* what cannot be read allows nothing, rather than everything */
		terms = agreement_terms_deny();
	if (terms == NULL)
		return STATUS_NO_MEMORY;
	terms->revision = record->revision;
	dp_retire(dp, agreement_terms_free, atomic_exchange_explicit(&agreement->terms, terms, memory_order_acq_rel));
	contract_check_everywhere(dp, agreement);
	return status;
}

enum status agreement_on_book(
	struct dp *dp, struct text ctx, struct text id, struct text cell, const struct book_totals *totals, bool is_counted)
{
	struct agreement *agreement = obtain_agreement(dp, ctx, id);
	return agreement == NULL ? STATUS_NO_MEMORY : agreement_book(agreement, cell, totals, is_counted);
}

void agreement_on_book_gone(struct dp *dp, struct text ctx, struct text id, struct text cell)
{
	struct agreement *agreement = dp_find(dp, DP_AGREEMENTS, ctx, id);
	if (agreement == NULL)
		return;
	agreement_forget_book(agreement, cell);
	forget_if_unused(dp, agreement);
}

void agreement_on_gone(struct dp *dp, const struct record *record)
{
	struct agreement *agreement = dp_find(dp, DP_AGREEMENTS, record->ctx, record->id);
	if (agreement == NULL)
		return;
	dp_retire(dp, agreement_terms_free, atomic_exchange_explicit(&agreement->terms, NULL, memory_order_acq_rel));
	contract_check_everywhere(dp, agreement);
	forget_if_unused(dp, agreement);
}
