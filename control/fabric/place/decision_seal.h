/* What the audit keeps of the decisions of one commit, so that it is seen when one is changed, taken away or added: how
 * many records they are in, the first and the last decision, and a digest of the records as they are stored. Pure
 * functions on texts; fleet/audit_decisions.h compares.
 *
 * The ids of a commit's records begin with the same DECISION_BATCH characters, and no other's do. The digest is SHA-256
 * of a line for each record in the order of their ids: the id, a space, SHA-256 of the body in hex, a line feed.
 *
 * Entries of the audit:
 *   "what":"placement.decided","cell":"","first":"<decision>","last":"<decision>","decisions":n,"records":n,
 *     "digest":"<64 hex>"
 *   "what":"placement.dropped","cell":"","upTo":"<record>": records up to this id were let go, for they were old */
#pragma once

#include "server/base/text.h"
#include "tenants/jose/digest.h"

enum { DECISION_BATCH = 26 };
#define DECISION_ENTRY "placement.decided"
#define DECISION_ENTRY_DROPPED "placement.dropped"

struct decision_seal {
	struct buffer lines;
	unsigned records;
};
/* In the order of their ids. What fails is said at the end. */
void decision_seal_add(struct decision_seal *seal, struct text id, struct text body);
/* Of what was added; it is empty again. NO_MEMORY. */
enum status decision_seal_end(struct decision_seal *seal, char digest[DIGEST_HEX + 1]) MUST_CHECK;
/* Are the two records, by their ids, of one commit? */
bool decision_seal_is_same(struct text one, struct text other);
