/* Makes access tokens in the form the cell is set to (dp.token_form): a JWT signed with the participant's key, or an
 * opaque token, whose record goes into the transaction. */
#pragma once

#include "tenants/dp/access_claims.h"
#include "tenants/dp/signer.h"

struct transaction;
bool token_issue_is_opaque(const struct dp *dp);
/* On `worker`. claims: borrowed for the call. `transaction` is committed by the caller before anybody hears of the
 * token. `done` as in signer.h, but may run before this returns, whatever the status. */
void token_issue(struct dp *dp, struct worker *worker, const struct access_claims *claims,
	struct transaction *transaction, signed_done *done, void *context);
