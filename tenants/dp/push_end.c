/* The end of a push where no control plane asks to be told. */
#include <stdlib.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "tenants/dp/push.h"

static void on_stored(void *context, enum status status, int64_t revision)
{
	(void)context, (void)revision;
	if (status != STATUS_OK) /* the push says so again after the next start */
		LOG(WARNING, "flow.finish", log_text("error", text_of(status_text(status))));
}

void flow_finish(struct dp *dp, struct text ctx, struct text flow_id)
{
	const struct flow *flow = dp_find(dp, DP_FLOWS, ctx, flow_id);
	if (flow == NULL)
		return;
	/* a copy with borrowed texts, printed before this returns */
	struct flow_terms terms = *atomic_load_explicit(&flow->terms, memory_order_acquire);
	if (flow_terms_move(&terms, FLOW_COMPLETED, clock_wall_ms()) != STATUS_OK)
		return;
	struct buffer body = {0};
	flow_terms_print(&terms, flow_id, &body);
	buffer_append_byte(&body, '}');
	struct transaction *transaction = body.failed ? NULL : transaction_new();
	if (transaction != NULL &&
		transaction_put(transaction, ctx, RECORD_FLOW, flow_id, buffer_text(&body), terms.revision))
		store_submit(dp->store, transaction, NULL, on_stored, NULL);
	else
		transaction_free(transaction);
	buffer_free(&body);
}

void flow_fail(struct dp *dp, struct text ctx, struct text flow_id, struct text error)
{
	(void)dp;
	LOG(WARNING, "flow.failed", log_text("tenant", ctx), log_text("flow", flow_id), log_text("error", error));
}
