/* The Tenant Manager's indexes, its endpoints, its consumer. */
#include "control/fabric/letters.h"
#include "control/fabric/manager/manager_private.h"
#include "control/fabric/manager/profile.h"
#include "control/fabric/orchestration/pm.h"
#include "control/orchestration/messages.h"
#include "server/base/clock.h"

#include <stdlib.h>

bool record_print(const struct record_item *item, struct buffer *into)
{
	buffer_append(into, item->body);
	return !into->failed;
}

struct pending *pending_add(struct pending **list, struct text name)
{
	struct pending *one = malloc(sizeof(*one));
	char *copy = text_copy(name);
	if (one == NULL || copy == NULL) {
		free(one);
		free(copy);
		return NULL;
	}
	*one = (struct pending){*list, copy};
	*list = one;
	return one;
}

void pending_remove(struct pending **list, struct pending *one)
{
	for (struct pending **at = list; one != NULL && *at != NULL; at = &(*at)->next) {
		if (*at == one) {
			*at = one->next;
			free(one->name);
			free(one);
			return;
		}
	}
}

bool pending_has(const struct pending *list, struct text name)
{
	for (; list != NULL; list = list->next) {
		if (text_equals(name, text_of(list->name)))
			return true;
	}
	return false;
}

enum status manager_put(
	struct transaction *transaction, enum record_kind kind, struct text id, const struct buffer *body, int64_t expected)
{
	if (body->failed)
		return STATUS_NO_MEMORY;
	if (json_check(buffer_text(body), NULL, NULL) != STATUS_OK)
		return STATUS_INVALID;
	return state_put(transaction, kind, id, buffer_text(body), expected) ? STATUS_OK : STATUS_NO_MEMORY;
}

void manager_store(struct rest_call *call, enum record_kind kind, struct text id, struct buffer *record,
	int64_t expected, int http, struct buffer *answer)
{
	struct transaction *transaction = transaction_new();
	enum status status = transaction == NULL ? STATUS_NO_MEMORY : manager_put(transaction, kind, id, record, expected);
	buffer_free(record);
	if (status == STATUS_OK) {
		rest_submit(call, manager_of(call)->state, transaction, http, answer);
		return;
	}
	transaction_free(transaction);
	buffer_free(answer);
	rest_refuse(call, status, status == STATUS_INVALID ? "the record would be too large" : NULL);
}

/* --- orchestrations */

bool manager_order(const struct rest_call *call, struct transaction *transaction, struct text id, struct text text)
{
	const struct trace trace = trace_of(call->traceparent, call->tracestate);
	struct manifest manifest;
	struct buffer error = {0};
	if (!manager_of(call)->settings->has_provision_manager)
		return letters_add_traced(transaction, id, ORCHESTRATION_SUBJECT, text, &trace);
	enum status status = manifest_parse(text, &manifest, &error);
	buffer_free(&error);
	if (status != STATUS_OK)
		return false;
	manifest.trace = trace;
	bool is_ordered = pm_order(transaction, &manifest, clock_wall_ms());
	json_free(manifest.root);
	return is_ordered;
}

bool manager_is_answered(const struct manager *manager, const struct orchestration *orchestration)
{
	const struct profile_row *row = profile_index_find(manager->profiles, orchestration->correlation_id);
	if (row != NULL && text_equals(orchestration->type, ORCHESTRATION_DEPLOY))
		return (row->states & 1U << VPA_STATE_PENDING) == 0;
	if (row == NULL || !text_equals(orchestration->type, ORCHESTRATION_DISPOSE))
		return true;
	return orchestration->state == ORCHESTRATION_COMPLETED ? (row->states & ~(1U << VPA_STATE_DISPOSED)) == 0
														   : (row->states & 1U << VPA_STATE_DISPOSING) == 0;
}

/* --- life */

enum status manager_open(const struct manager_settings *settings, struct state *state, struct cells *cells,
	struct placer *placer, struct manager **manager)
{
	struct manager *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->settings = settings;
	made->state = state;
	made->cells = cells;
	made->placer = placer;
	enum status status = record_index_open(state, RECORD_TENANT, &made->tenants);
	if (status == STATUS_OK)
		status = record_index_open(state, RECORD_DATASPACE_PROFILE, &made->dataspaces);
	if (status == STATUS_OK)
		status = profile_index_open(state, &made->profiles);
	if (status != STATUS_OK) {
		manager_free(made);
		return status;
	}
	made->tenant_list = (struct listing){made->tenants, tenant_fields, "/tenants", tenant_print};
	made->dataspace_list = (struct listing){made->dataspaces, NULL, "/dataspace-profiles", record_print};
	*manager = made;
	return STATUS_OK;
}

enum status manager_serve(struct manager *manager, struct rest *rest)
{
	static const char base[] = "/api/v1alpha1";
	enum status status = rest_add(rest, base, tenant_endpoints, tenant_endpoint_count, manager);
	if (status == STATUS_OK)
		status = rest_add(rest, base, cell_endpoints, cell_endpoint_count, manager);
	if (status == STATUS_OK)
		status = rest_add(rest, base, dataspace_endpoints, dataspace_endpoint_count, manager);
	if (status == STATUS_OK)
		status = rest_add(rest, base, profile_endpoints, profile_endpoint_count, manager);
	return status;
}

/* As the existing manager makes it, and an existing one is used as it is: several replicas and mixed installations read
 * from the same. */
void manager_start(struct manager *manager, struct bus *bus)
{
	const struct bus_consumer_settings settings = {.stream = text_of(manager->settings->stream),
		.durable = TEXT("cfm-orchestration-response"),
		.config = TEXT("{\"filter_subject\":\"event.cfm-orchestration-response\",\"ack_policy\":\"explicit\"}"),
		.batch = 32,
		.is_found_only = true,
		.waits_for_stream = true};
	manager->bus = bus;
	manager->responses = bus_consume(bus, &settings, responses_take, manager);
}

void manager_free(struct manager *manager)
{
	if (manager == NULL)
		return;
	while (manager->cells_coming != NULL)
		pending_remove(&manager->cells_coming, manager->cells_coming);
	while (manager->profiles_coming != NULL)
		pending_remove(&manager->profiles_coming, manager->profiles_coming);
	record_index_free(manager->tenants);
	record_index_free(manager->dataspaces);
	profile_index_free(manager->profiles);
	free(manager);
}
