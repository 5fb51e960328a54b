/* What an agreement allows, as far as this cell can enforce it: the ODRL subset below, compiled once into an immutable
 * rule, judged at each request and again when a limit it gave has been reached. Pure functions.
 *
 * Rules: at least one permission must hold (when there are any), no prohibition may. A rule holds when all its
 * constraints do; and, or, xone, andSequence nest. Names in full (http://www.w3.org/ns/odrl/2/...), with odrl:, or
 * bare; values plain or as {"@value"}, {"@id"}, lists of them.
 *
 *   leftOperand            operators                          compared with
 *   dateTime, inForceDate  lt lteq gt gteq                    the clock; inForceDate also "contractAgreement+30d"
 *   elapsedTime            lt lteq                            the time since the agreement was signed
 *   count                  lt lteq eq                         requests made under the agreement; HEAD is not counted
 *   celld:volume, volume   lt lteq eq                         bytes of bodies sent under the agreement; `unit`
 *   recipient              eq neq isAnyOf isNoneOf in         the flow's counter party
 *   spatial                these, isPartOf, hasPart           the flow's region: label celld.region, else the
 *                                                             participant's entry celld.region; "DE-BY" is part of "DE"
 *   purpose                eq neq isAnyOf isNoneOf in         the flow's label "purpose", else the request's header
 *                                                             celld-purpose
 *   industry               these                              the flow's label "industry"
 *
 * The policy's own assignee and target are compared with the flow's counter party and dataset. What is not known at the
 * time never satisfies a constraint, nor its opposite. Everything else (other operands and operators, duties,
 * obligations, other actions, refinements that are no such constraint) is named as unenforceable and counts as met:
 * whether it may be used so is the caller's to decide. */
#pragma once

#include "server/base/json.h"
#include "server/base/text.h"

/* name, spelling in metrics and views */
#define POLICY_REASON_LIST(X)                                                                                          \
	X(NONE, "none")                                                                                                    \
	X(TIME, "time")                                                                                                    \
	X(COUNT, "count")                                                                                                  \
	X(VOLUME, "volume")                                                                                                \
	X(RECIPIENT, "recipient")                                                                                          \
	X(SPATIAL, "spatial")                                                                                              \
	X(PURPOSE, "purpose")                                                                                              \
	X(INDUSTRY, "industry")                                                                                            \
	X(DATASET, "dataset")                                                                                              \
	X(PROHIBITED, "prohibited")                                                                                        \
	X(UNENFORCEABLE, "unenforceable")                                                                                  \
	X(MISSING, "missing")
enum policy_reason {
#define POLICY_REASON_MEMBER(name, text) POLICY_##name,
	POLICY_REASON_LIST(POLICY_REASON_MEMBER)
#undef POLICY_REASON_MEMBER
		POLICY_REASON_COUNT
};
const char *policy_reason_name(enum policy_reason reason);

struct policy;

/* `document`: an ODRL Agreement, Offer or Set. signed_ms: when it was agreed, unless the policy's own timestamp says;
 * 0: unknown. INVALID: it is no policy, `error` gets one line that names the member. */
enum status policy_compile(
	const struct json *document, int64_t signed_ms, struct policy **policy, struct buffer *error) MUST_CHECK;
/* Allows nothing: what stands for a policy that can no longer be read. NULL: out of memory. */
struct policy *policy_deny(void);
void policy_free(struct policy *policy);
/* What cannot be enforced, one short text each, as "leftOperand payAmount". */
size_t policy_unenforceable_count(const struct policy *policy);
const char *policy_unenforceable(const struct policy *policy, size_t at);
/* Does anything count requests or bytes? */
bool policy_has_count(const struct policy *policy);
bool policy_has_volume(const struct policy *policy);

/* Does it compare this fact with anything? Others need not be found out. */
bool policy_asks(const struct policy *policy, enum policy_reason about);

/* What is known at the time of judging; absent texts are not known. */
struct policy_facts {
	int64_t now_ms;
	uint64_t requests, bytes; /* already made and sent, without what is asked for */
	struct text recipient, dataset, region, purpose, industry;
};

/* What is allowed, until one of these is reached: then judge again. */
struct policy_grant {
	enum policy_reason reason; /* NONE: allowed */
	int64_t until_ms;          /* first moment it is not; INT64_MAX: none */
	uint64_t requests, bytes;  /* totals that may be reached; UINT64_MAX: none */
};
struct policy_grant policy_judge(const struct policy *policy, const struct policy_facts *facts);
