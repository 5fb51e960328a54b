/* What a control plane answers that is asked for an agreement (dps.md 1.4): the DSP Agreement itself, with @context. A
 * pure function over a peer's bytes. */
#pragma once

#include "server/base/json.h"
#include "tenants/participant.h"

enum { AGREEMENT_ANSWER_MAX = 256 * 1024 };

/* Of which flow it has to be. */
struct agreement_expected {
	struct text id, counter_party;
	const struct participant *participant;
	bool is_provider; /* the participant is */
};

/* An Agreement of this @id; its assigner is the provider and its assignee the consumer, where it names them. Appends
 * what agreement_put takes. INVALID, TOO_LARGE: `error` gets one line. Its rules are not looked at. */
enum status agreement_answer_read(struct text answer, const struct agreement_expected *expected, struct buffer *record,
	struct buffer *error) MUST_CHECK;
