/* Management of flows: their life until control planes drive it by Data Plane Signaling. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/data_address.h"
#include "tenants/dp/operation.h"

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
static void store(struct operation *operation, const struct flow_terms *terms, struct text id, int64_t expected)
{
	flow_terms_print(terms, id, &operation->answer);
	buffer_append_byte(&operation->answer, '}');
	struct transaction *transaction = transaction_new();
	if (transaction != NULL &&
		!transaction_put(transaction, operation->ctx, RECORD_FLOW, id, buffer_text(&operation->answer), expected)) {
		transaction_free(transaction);
		transaction = NULL;
	}
	operation_submit(operation, transaction);
}

/* A record is no place for secrets: they are put into the vault first. */
static bool has_secrets(const struct flow_terms *terms)
{
	struct json *root = NULL;
	struct data_address *address = NULL;
	struct buffer error = {0};
	bool has = terms->address != NULL && json_parse(text_of(terms->address), NULL, &root) == STATUS_OK &&
			   (data_address_parse(root, &address, &error) != STATUS_OK || data_address_has_secrets(address));
	data_address_free(address);
	buffer_free(&error);
	json_free(root);
	return has;
}

static void create(struct operation *operation, struct flow_terms *terms, struct text id)
{
	if (!name_is_valid(id, MANAGE_ID_MAX)) {
		operation_refuse(operation, 400, "id: must be 1 to 128 of A-Z a-z 0-9 - _ . :");
		return;
	}
	if (has_secrets(terms)) {
		operation_refuse(operation, 400,
			"dataAddress: must be a DataAddress without secrets; the whole one is put as secret flow:<id>:address");
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
	terms->created_ms = worker_wall_ms(operation->worker);
	if (flow_terms_move(terms, FLOW_STARTED, terms->created_ms) != STATUS_OK) {
		operation_refuse(operation, 409, NULL);
		return;
	}
	operation->status = 201;
	store(operation, terms, id, REVISION_ABSENT);
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
		enum flow_state state;
	} moves[] = {{"suspend", FLOW_SUSPENDED}, {"resume", FLOW_STARTED}, {"terminate", FLOW_TERMINATED},
		{"complete", FLOW_COMPLETED}};
	const struct flow *flow = find(operation);
	enum flow_state to = FLOW_TERMINATED;
	(void)body;
	if (flow == NULL)
		return;
	for (size_t i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
		if (text_equals(operation->verb, text_of(moves[i].verb)))
			to = moves[i].state;
	}
	/* a copy with borrowed texts, printed before this returns */
	struct flow_terms terms = *atomic_load_explicit(&flow->terms, memory_order_acquire);
	if (terms.state == to) { /* the same final state asked for again: nothing to do (dps.md) */
		print(flow, &operation->answer);
		operation_answer(operation, 200);
		return;
	}
	if (flow_terms_move(&terms, to, worker_wall_ms(operation->worker)) != STATUS_OK) {
		struct buffer detail = {0};
		buffer_printf(&detail, "a flow in state %.*s cannot be %.*s", TEXT_ARGUMENTS(flow_state_name(terms.state)),
			TEXT_ARGUMENTS(flow_state_name(to)));
		operation_refuse(operation, 409, detail.bytes);
		buffer_free(&detail);
		return;
	}
	operation->status = 200;
	store(operation, &terms, text_of(flow->id), terms.revision);
}

void flows_delete(struct operation *operation, struct text body)
{
	(void)body;
	if (find(operation) == NULL)
		return;
	struct transaction *transaction = transaction_new();
	if (transaction != NULL &&
		!transaction_delete(transaction, operation->ctx, RECORD_FLOW, operation->id, REVISION_ANY)) {
		transaction_free(transaction);
		transaction = NULL;
	}
	operation->status = 204;
	operation_submit(operation, transaction);
}
