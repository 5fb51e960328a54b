/* Management of agreements: what a flow is bound by. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/contract/agreement_record.h"
#include "tenants/dp/manage/operation.h"

/* --- the record */

static enum status check(const struct dp *dp, const struct json *root, struct buffer *error)
{
	struct agreement_terms *terms = NULL;
	enum status status = agreement_terms_parse(root, &terms, error);
	if (status == STATUS_OK && dp->settings.policy_unenforceable == POLICY_REFUSE &&
		policy_unenforceable_count(terms->policy) > 0) {
		buffer_printf(error, "policy: this cannot be enforced here: ");
		for (size_t i = 0; i < policy_unenforceable_count(terms->policy); i++)
			buffer_printf(error, "%s%s", i == 0 ? "" : ", ", policy_unenforceable(terms->policy, i));
		status = STATUS_REFUSED;
	}
	agreement_terms_free(terms);
	return status;
}

/* What a view adds is not part of the record. */
static enum status print_record(struct json *root, struct text id, struct buffer *into)
{
	static const char *const added[] = {"@id", "id", "unenforceable", "isServed"};
	for (size_t i = 0; i < sizeof(added) / sizeof(added[0]); i++)
		json_remove(root, added[i]);
	if (!json_add_text(root, "id", id))
		return STATUS_NO_MEMORY;
	json_print(root, into);
	return into->failed ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status agreement_put(struct dp *dp, struct worker *worker, struct text ctx, struct text id, struct text body,
	int64_t expected, void (*done)(void *context, enum status status, int64_t revision), void *context,
	struct buffer *error)
{
	struct json *root = NULL;
	struct buffer record = {0};
	enum status status = json_parse(body, NULL, &root);
	if (status != STATUS_OK || json_kind(root) != JSON_OBJECT) {
		json_free(root);
		buffer_printf(error, "the agreement must be one JSON object");
		return status == STATUS_NO_MEMORY ? status : STATUS_INVALID;
	}
	status = check(dp, root, error);
	if (status == STATUS_OK)
		status = print_record(root, id, &record);
	json_free(root);
	struct transaction *transaction = status == STATUS_OK ? transaction_new() : NULL;
	if (status == STATUS_OK && (transaction == NULL || !transaction_put(transaction, ctx, RECORD_AGREEMENT, id,
														   buffer_text(&record), expected))) {
		transaction_free(transaction);
		status = STATUS_NO_MEMORY;
	}
	buffer_free(&record);
	if (status == STATUS_OK)
		store_submit(dp->store, transaction, worker, done, context);
	return status;
}

const char *agreement_obstacle(const struct dp *dp, struct text ctx, struct text id)
{
	const struct agreement *agreement = dp_find(dp, DP_AGREEMENTS, ctx, id);
	const struct agreement_terms *terms =
		agreement == NULL ? NULL : atomic_load_explicit(&agreement->terms, memory_order_acquire);
	if (terms == NULL)
		return dp->settings.agreement_required ? "agreementId: there is no record of this agreement" : NULL;
	if (dp->settings.policy_unenforceable == POLICY_REFUSE && policy_unenforceable_count(terms->policy) > 0)
		return "agreementId: its policy cannot be enforced here";
	return NULL;
}

/* --- the calls */

static void print(const void *value, struct buffer *into)
{
	const struct agreement *agreement = value;
	const struct agreement_terms *terms = atomic_load_explicit(&agreement->terms, memory_order_acquire);
	struct text body = terms == NULL ? TEXT("{}") : text_of(terms->body);
	buffer_append(into, text_slice(body, 0, body.length - 1));
	buffer_append(into, body.length > 2 ? TEXT(",\"unenforceable\":[") : TEXT("\"unenforceable\":["));
	for (size_t i = 0; terms != NULL && i < policy_unenforceable_count(terms->policy); i++) {
		buffer_append(into, i == 0 ? TEXT("") : TEXT(","));
		buffer_append_json(into, text_of(policy_unenforceable(terms->policy, i)));
	}
	buffer_append(into, TEXT("]}"));
}

void agreements_list(struct operation *operation, struct text body)
{
	(void)body;
	manage_list(operation, DP_AGREEMENTS, print);
}

/* NULL: answered 404. */
static struct agreement *find(struct operation *operation)
{
	struct agreement *agreement = dp_find(operation->dp, DP_AGREEMENTS, operation->ctx, operation->id);
	if (agreement == NULL || atomic_load_explicit(&agreement->terms, memory_order_acquire) == NULL) {
		operation_refuse(operation, 404, NULL);
		return NULL;
	}
	return agreement;
}

void agreements_show(struct operation *operation, struct text body)
{
	const struct agreement *agreement = find(operation);
	(void)body;
	if (agreement == NULL)
		return;
	print(agreement, &operation->answer);
	operation_answer(operation, 200);
}

void agreements_put(struct operation *operation, struct text body)
{
	struct buffer error = {0};
	operation->status = 204;
	operation->is_pending = true;
	enum status status = agreement_put(operation->dp, operation->worker, operation->ctx, operation->id, body,
		REVISION_ANY, operation_stored, operation, &error);
	if (status != STATUS_OK) {
		operation->is_pending = false;
		operation_refuse(operation, status_to_http(status == STATUS_REFUSED ? STATUS_INVALID : status), error.bytes);
	}
	buffer_free(&error);
}

static bool is_bound(void *context, struct text key, void *value)
{
	struct {
		const struct agreement *agreement;
		bool found;
	} *search = context;
	const struct flow *flow = value;
	const struct flow_terms *terms = atomic_load_explicit(&flow->terms, memory_order_acquire);
	(void)key;
	search->found = atomic_load_explicit(&flow->agreement, memory_order_acquire) == search->agreement &&
					terms->state != FLOW_COMPLETED && terms->state != FLOW_TERMINATED;
	return !search->found;
}

/* Without its record a flow would be unlimited: first the flows end, then the agreement goes. */
void agreements_delete(struct operation *operation, struct text body)
{
	struct {
		const struct agreement *agreement;
		bool found;
	} search = {find(operation), false};
	(void)body;
	if (search.agreement == NULL)
		return;
	map_each(atomic_load_explicit(&operation->dp->maps[DP_FLOWS], memory_order_acquire), is_bound, &search);
	if (search.found) {
		operation_refuse(operation, 409, "flows of this agreement have not ended");
		return;
	}
	struct transaction *transaction = transaction_new();
	if (transaction != NULL &&
		!transaction_delete(transaction, operation->ctx, RECORD_AGREEMENT, operation->id, REVISION_ANY)) {
		transaction_free(transaction);
		transaction = NULL;
	}
	operation->status = 204;
	operation_submit(operation, transaction);
}

/* What is durable, over all cells. */
void agreements_book(struct operation *operation, struct text body)
{
	const struct agreement *agreement = dp_find(operation->dp, DP_AGREEMENTS, operation->ctx, operation->id);
	struct book_totals totals;
	(void)body;
	if (agreement == NULL) {
		operation_refuse(operation, 404, NULL);
		return;
	}
	for (int i = 0; i < BOOK_ENTRY_COUNT; i++)
		totals.of[i] = atomic_load_explicit(&agreement->booked[i], memory_order_relaxed);
	buffer_append(&operation->answer, TEXT("{\"agreementId\":"));
	buffer_append_json(&operation->answer, text_of(agreement->id));
	buffer_append_byte(&operation->answer, ',');
	book_totals_print(&totals, &operation->answer);
	buffer_append_byte(&operation->answer, '}');
	operation_answer(operation, 200);
}
