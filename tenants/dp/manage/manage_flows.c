/* Management of flows: the life of those that no control plane drives. */
#include <stdlib.h>
#include <string.h>

#include "server/base/secret.h"
#include "tenants/dp/contract/agreement_record.h"
#include "tenants/dp/data_address.h"
#include "tenants/dp/manage/operation.h"
#include "tenants/dp/renewal.h"
#include "tenants/dp/signaling/flow_moves.h"

static void print(const void *value, struct buffer *into)
{
	const struct flow *flow = value;
	flow_terms_print(atomic_load_explicit(&flow->terms, memory_order_acquire), text_of(flow->id), into);
	buffer_append(into, TEXT(",\"bytesSent\":"));
	buffer_append_number(into, (int64_t)flow_bytes(flow));
	buffer_append(into, TEXT(",\"requests\":"));
	buffer_append_number(into, (int64_t)flow_requests(flow));
	buffer_append_byte(into, '}');
}

void flows_list(struct operation *operation, struct text body)
{
	(void)body;
	manage_list(operation, DP_FLOWS, print);
}

/* NULL: answered 404. */
static struct flow *find(struct operation *operation)
{
	struct flow *flow = dp_find(operation->dp, DP_FLOWS, operation->ctx, operation->id);
	if (flow == NULL)
		operation_refuse(operation, 404, NULL);
	return flow;
}

void flows_show(struct operation *operation, struct text body)
{
	const struct flow *flow = find(operation);
	(void)body;
	if (flow == NULL)
		return;
	print(flow, &operation->answer);
	operation_answer(operation, 200);
}

/* The answer is the record as it will be stored. */
static void print_record(struct operation *operation, const struct flow_terms *terms, struct text id)
{
	flow_terms_print(terms, id, &operation->answer);
	buffer_append_byte(&operation->answer, '}');
}

static void store_answer(struct operation *operation, struct text id, int64_t expected, bool is_over)
{
	struct transaction *transaction = transaction_new();
	if (transaction != NULL &&
		(!transaction_put(transaction, operation->ctx, RECORD_FLOW, id, buffer_text(&operation->answer), expected) ||
			(is_over && !renewal_end(operation->dp, transaction, operation->ctx, id)))) {
		transaction_free(transaction);
		transaction = NULL;
	}
	operation_submit(operation, transaction);
}

static void store(struct operation *operation, const struct flow_terms *terms, struct text id, int64_t expected)
{
	print_record(operation, terms, id);
	store_answer(operation, id, expected, terms->state == FLOW_TERMINATED || terms->state == FLOW_COMPLETED);
}

/* --- the address this side was given: its secrets go to the vault, the record has the rest */

static void on_address_kept(void *context, enum status status, struct text result)
{
	struct operation *operation = context;
	(void)result;
	if (!operation_resumes(operation))
		return;
	if (status == STATUS_OK)
		store_answer(operation, operation->id, REVISION_ABSENT, false);
	else
		operation_refuse(operation, status_to_http(status), NULL);
}

/* Takes the secrets out of terms->address; `whole` is to be kept, or stays empty. */
static enum status split_address(struct flow_terms *terms, struct buffer *whole, struct buffer *error)
{
	struct data_address *address = NULL;
	struct json *root = NULL;
	enum status status = json_parse(text_of(terms->address), NULL, &root);
	if (status == STATUS_OK)
		status = data_address_parse(root, &address, error);
	if (status == STATUS_OK && data_address_endpoint(address).length == 0) {
		buffer_printf(error, "dataAddress.endpoint: is missing");
		status = STATUS_INVALID;
	}
	if (status == STATUS_OK && data_address_has_secrets(address)) {
		struct buffer rest = {0};
		data_address_print(address, true, whole);
		data_address_print(address, false, &rest);
		free(terms->address);
		terms->address = buffer_take(&rest);
		status = whole->failed || terms->address == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	}
	data_address_free(address);
	json_free(root);
	return status;
}

static void store_with_address(struct operation *operation, struct flow_terms *terms, struct text id)
{
	struct buffer whole = {0}, error = {0};
	char alias[FLOW_ALIAS_MAX];
	enum status status = terms->address == NULL ? STATUS_OK : split_address(terms, &whole, &error);
	operation->id = exchange_copy(operation->exchange, id);
	flow_alias(id, "address", alias);
	if (status == STATUS_OK && operation->id.bytes == NULL)
		status = STATUS_NO_MEMORY;
	if (status != STATUS_OK) {
		operation_refuse(operation, status_to_http(status), error.bytes);
	} else if (whole.length == 0) {
		store(operation, terms, id, REVISION_ABSENT);
	} else {
		print_record(operation, terms, id);
		operation->is_pending = true;
		vault_secret_put(operation->dp->vault, operation->ctx, text_of(alias), buffer_text(&whole), operation->worker,
			on_address_kept, operation);
	}
	buffer_wipe(&whole);
	buffer_free(&error);
}

static void create(struct operation *operation, struct flow_terms *terms, struct text id)
{
	if (!name_is_valid(id, MANAGE_ID_MAX)) {
		operation_refuse(operation, 400, "id: must be 1 to 128 of A-Z a-z 0-9 - _ . :");
		return;
	}
	/* what a consumer receives needs no dataset of its own */
	if (terms->role == FLOW_PROVIDER &&
		dp_find(operation->dp, DP_DATASETS, operation->ctx, text_of(terms->dataset)) == NULL) {
		operation_refuse(operation, 400, "datasetId: there is no such dataset");
		return;
	}
	if (dp_find(operation->dp, DP_FLOWS, operation->ctx, id) != NULL) {
		operation_refuse(operation, 409, "there is a flow with this id");
		return;
	}
	const char *obstacle = agreement_obstacle(operation->dp, operation->ctx, text_of(terms->agreement));
	if (obstacle != NULL) {
		operation_refuse(operation, 409, obstacle);
		return;
	}
	terms->created_ms = worker_wall_ms(operation->worker);
	if (flow_terms_move(terms, FLOW_ON_START, terms->created_ms) != STATUS_OK) {
		operation_refuse(operation, 409, NULL);
		return;
	}
	operation->status = 201;
	store_with_address(operation, terms, id);
}

void flows_create(struct operation *operation, struct text body)
{
	struct json *root = manage_parse(operation, body);
	if (root == NULL)
		return;
	struct flow_terms *terms = NULL;
	struct buffer error = {0};
	char random[ID_LENGTH + 1];
	enum status status = flow_terms_parse(root, true, &terms, &error);
	if (status == STATUS_OK) {
		id_random(random);
		create(operation, terms, json_member(root, "id") == NULL ? text_of(random) : json_member_text(root, "id"));
	} else {
		operation_refuse(operation, status_to_http(status), error.bytes);
	}
	buffer_free(&error);
	flow_terms_free(terms);
	json_free(root);
}

void flows_move(struct operation *operation, struct text body)
{
	static const struct {
		const char *verb;
		enum flow_event event;
		enum flow_state state;
	} moves[] = {{"suspend", FLOW_ON_SUSPEND, FLOW_SUSPENDED}, {"resume", FLOW_ON_RESUME, FLOW_STARTED},
		{"terminate", FLOW_ON_TERMINATE, FLOW_TERMINATED}, {"complete", FLOW_ON_COMPLETE, FLOW_COMPLETED}};
	const struct flow *flow = find(operation);
	size_t move = 0;
	(void)body;
	if (flow == NULL)
		return;
	while (!text_equals(operation->verb, text_of(moves[move].verb)))
		move++; /* the endpoint's verb is one of them */
	/* a copy with borrowed texts, printed before this returns */
	struct flow_terms terms = *atomic_load_explicit(&flow->terms, memory_order_acquire);
	if (terms.state == moves[move].state) { /* asked for again: nothing to do */
		print(flow, &operation->answer);
		operation_answer(operation, 200);
		return;
	}
	if (flow_terms_move(&terms, moves[move].event, worker_wall_ms(operation->worker)) != STATUS_OK) {
		struct buffer detail = {0};
		buffer_printf(&detail, "a flow in state %.*s cannot be %.*s", TEXT_ARGUMENTS(flow_state_name(terms.state)),
			TEXT_ARGUMENTS(flow_state_name(moves[move].state)));
		operation_refuse(operation, 409, detail.bytes);
		buffer_free(&detail);
		return;
	}
	const char *obstacle = moves[move].state == FLOW_STARTED
							   ? agreement_obstacle(operation->dp, operation->ctx, text_of(terms.agreement))
							   : NULL;
	if (obstacle != NULL) {
		operation_refuse(operation, 409, obstacle);
		return;
	}
	operation->status = 200;
	store(operation, &terms, text_of(flow->id), terms.revision);
}

void flows_delete(struct operation *operation, struct text body)
{
	const struct flow *flow = find(operation);
	(void)body;
	if (flow == NULL)
		return;
	/* before the record: what is left behind would have no owner */
	flow_forget_secrets(operation->dp, operation->worker, operation->ctx, operation->id, true);
	struct transaction *transaction = transaction_new();
	if (transaction != NULL &&
		(!transaction_delete(transaction, operation->ctx, RECORD_FLOW, operation->id, REVISION_ANY) ||
			!renewal_end(operation->dp, transaction, operation->ctx, operation->id))) {
		transaction_free(transaction);
		transaction = NULL;
	}
	operation->status = 204;
	operation_submit(operation, transaction);
}
