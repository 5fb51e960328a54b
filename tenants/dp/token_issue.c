/* Access tokens of either form. */
#include "tenants/dp/token_issue.h"

#include "server/base/secret.h"
#include "tenants/dp/opaque_token.h"
#include "tenants/dp/state.h"

bool token_issue_is_opaque(const struct dp *dp)
{
	return dp->settings.token_form == TOKEN_FORM_OPAQUE;
}

static void issue_opaque(
	const struct access_claims *claims, struct transaction *transaction, signed_done *done, void *context)
{
	char token[OPAQUE_TOKEN_LENGTH + 1];
	opaque_token_make(token);
	enum status status = opaque_token_put(transaction, claims, text_of(token));
	done(context, status, status == STATUS_OK ? text_of(token) : TEXT_NONE);
	wipe(token, sizeof(token));
}

static void issue_signed(
	struct dp *dp, struct worker *worker, const struct access_claims *claims, signed_done *done, void *context)
{
	struct buffer print = {0};
	enum status status = access_claims_print(claims, &print);
	if (status == STATUS_OK)
		signer_sign(dp, worker, claims->ctx, buffer_text(&print), done, context);
	else
		done(context, status, TEXT_NONE);
	buffer_free(&print);
}

void token_issue(struct dp *dp, struct worker *worker, const struct access_claims *claims,
	struct transaction *transaction, signed_done *done, void *context)
{
	if (token_issue_is_opaque(dp))
		issue_opaque(claims, transaction, done, context);
	else
		issue_signed(dp, worker, claims, done, context);
}
