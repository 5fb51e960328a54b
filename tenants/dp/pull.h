/* One pull: a consumer's exchange, admitted to a flow, served by a source. Lives in the exchange's memory. */
#pragma once

#include "server/exchange.h"
#include "tenants/dp/state.h"

struct pull {
	struct exchange *exchange;
	struct dp_worker *home;
	struct flow *flow; /* alive while this stands in its lane */
	struct pull *next, **previous;
	struct pull *expiring_next, **expiring_previous; /* when the flow expires */
	struct dataset *dataset;                         /* a reference */
	const struct dataset_part *part;
	struct text below;     /* canonical path below the part: "" or "/..." */
	struct text agreement; /* the exchange's */
	enum method method;
	void *source_state; /* the driver's */
	uint64_t counted;
};

/* Admits an exchange to a flow: from now on it stands in its lane and is cut with it; its on_close is the pull's. NULL:
 * out of memory. */
struct pull *pull_admit(struct dp_worker *home, struct exchange *exchange, struct flow *flow);
/* The verdict on the exchange's token: UNAUTHORIZED, FORBIDDEN (another tenant's), NO_MEMORY. Valid until the next
 * look. */
enum status pull_check_token(struct dp_worker *home, const struct participant *participant, struct exchange *exchange,
	const struct verdict **verdict) MUST_CHECK;
/* Books bytes to the flow: called by what produces them. */
void pull_count(struct pull *pull, size_t bytes);
/* Answers a problem and counts it. */
void pull_refuse(struct pull *pull, int status, struct text detail);
/* On the flow's worker: stops every live pull of the flow there. */
void pull_cut(struct dp_worker *home, struct flow *flow);
void pull_tick(void *home);
