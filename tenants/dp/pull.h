/* One pull: a consumer's exchange, admitted to a flow, served by a source. Lives in the exchange's memory. */
#pragma once

#include "server/exchange.h"
#include "tenants/dp/state.h"

struct pull {
	struct exchange *exchange;
	struct dp_worker *home;
	struct flow *flow; /* alive while this stands in its lane */
	struct pull *next, **previous;
	struct pull *expiring_next, **expiring_previous; /* when the flow expires or its policy's time ends */
	struct dataset *dataset;                         /* a reference, its own or its flow's lane's; NULL: none */
	const struct dataset_part *part;
	struct text below;     /* canonical path below the part: "" or "/..." */
	struct text agreement; /* the exchange's */
	enum method method;
	void *source_state; /* the driver's */
	uint64_t counted;

	/* the contract's (contract.c) */
	struct agreement *contract;
	struct pull *contract_next, **contract_previous; /* in the agreement's lane */
	struct pull *sending_next, **sending_previous;   /* when the kernel sends the body */
	struct policy_grant grant;
	uint64_t ordinal; /* uses before this one */
	bool is_push;     /* of a flow that pushes: booked apart */
	bool is_metered;  /* its body is read through the quota */
	bool continues;   /* a use that was counted before: no new one */
	bool has_use;     /* of an agreement that counts them */
	bool is_reader;   /* the reference is the lane's */
	enum body_state (*read_body)(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count);
};

/* Admits an exchange to a flow, if its contract allows: from now on it stands in its lane and is cut with it; its
 * on_close is the pull's. NULL: answered. continues: it goes on with a use of the data that was counted before. */
struct pull *pull_admit(struct dp_worker *home, struct exchange *exchange, struct flow *flow, bool continues);
/* From now on it reads this dataset, whatever becomes of the record. May be NULL. */
void pull_take_dataset(struct pull *pull, struct dataset *dataset);
/* The verdict on the exchange's token: UNAUTHORIZED, FORBIDDEN (another tenant's), NO_MEMORY. Valid until the next
 * look. */
enum status pull_check_token(struct dp_worker *home, const struct participant *participant, struct exchange *exchange,
	const struct verdict **verdict) MUST_CHECK;
/* Books bytes to the flow: called by what produces them. */
void pull_count(struct pull *pull, size_t bytes);
/* What a source calls instead of exchange_respond when the head is complete. */
void pull_respond(struct pull *pull);
/* In a source's close: bytes of this version of the data that have left, by place; tag absent: not known. */
void pull_sent(struct pull *pull, struct text tag, struct text digest, uint64_t first, uint64_t length);
/* Answers a problem and counts it. */
void pull_refuse(struct pull *pull, int status, struct text detail);
/* On the flow's worker: stops every live pull of the flow there. */
void pull_cut(struct dp_worker *home, struct flow *flow);
/* Ends a live pull, which its contract no longer allows. Outside every callback of its exchange. */
void pull_stop(struct pull *pull, enum policy_reason reason);
/* What was granted has changed: the clock may end it. */
void pull_expect(struct pull *pull);
void pull_tick(void *home);
