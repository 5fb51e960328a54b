/* What a flow's agreement says to its start: a record that is missing is asked of the control plane. */
#include <stdlib.h>

#include "tenants/dp/contract/agreement_record.h"
#include "tenants/dp/signaling/flow_moves.h"
#include "tenants/dp/signaling/signaling.h"

bool signal_refuse_agreement(struct signal *signal, struct text agreement)
{
	const char *obstacle = agreement_obstacle(signal->home->dp, text_of(signal->ctx), agreement);
	if (obstacle != NULL)
		signal_refuse(signal, 409, obstacle);
	return obstacle != NULL;
}

static bool has_record(const struct signal *signal, const struct flow_terms *terms)
{
	const struct agreement *agreement =
		dp_find(signal->home->dp, DP_AGREEMENTS, text_of(signal->ctx), text_of(terms->agreement));
	return agreement != NULL && atomic_load_explicit(&agreement->terms, memory_order_acquire) != NULL;
}

static void refuse_now(struct signal *signal, const char *why)
{
	exchange_add_header(signal->exchange, TEXT("retry-after"), TEXT("2"));
	signal_refuse(signal, 503, why);
}

static bool is_required(const struct signal *signal)
{
	return signal->home->dp->settings.agreement_from_control_plane == AGREEMENT_FETCH_REQUIRED;
}

/* With the setting `optional` a flow goes on without what cannot be had; but a provider that refuses what it cannot
 * enforce does not give the data because it never stored what it has read. */
static void on_agreement(struct agreement_waiter *waiter, enum status status, const char *why)
{
	struct signal *signal = (struct signal *)(void *)((char *)waiter - offsetof(struct signal, agreement_waiter));
	bool is_refused = status == STATUS_REFUSED && signal->verb == SIGNALING_START;
	bool is_away = status != STATUS_NOT_FOUND && status != STATUS_INVALID && status != STATUS_REFUSED;
	signal->has_asked = true;
	if (status == STATUS_OK || (!is_required(signal) && !is_refused))
		signal_begin(signal); /* all has to be looked at again: it took a while */
	else if (is_away)
		refuse_now(signal, why);
	else
		signal_refuse(signal, 409, why);
}

static void ask(struct signal *signal, const struct flow_terms *terms, struct control_plane *plane)
{
	const struct agreement_question question = {.ctx = text_of(signal->ctx),
		.flow = text_of(signal->id),
		.agreement = text_of(terms->agreement),
		.counter_party = text_of(terms->counter_party),
		.is_provider = terms->role == FLOW_PROVIDER,
		.plane = plane};
	signal->agreement_waiter.ready = on_agreement;
	if (agreement_fetch_join(signal->home, &question, &signal->agreement_waiter) != STATUS_OK)
		refuse_now(signal, NULL);
}

bool signal_has_agreement(struct signal *signal, const struct flow_terms *terms)
{
	const struct dp *dp = signal->home->dp;
	if (dp->settings.agreement_from_control_plane != AGREEMENT_FETCH_NEVER && !has_record(signal, terms)) {
		struct control_plane *plane = signal->has_asked ? NULL : flow_control_plane(dp, text_of(signal->ctx), terms);
		if (plane != NULL) {
			ask(signal, terms, plane);
			return false;
		}
		if (is_required(signal)) {
			signal_refuse(
				signal, 409, "agreementId: there is no record of this agreement, and no control plane to ask for it");
			return false;
		}
	}
	return terms->role != FLOW_PROVIDER || !signal_refuse_agreement(signal, text_of(terms->agreement));
}
