/* Tenants: an id and free properties. */
#include <stdlib.h>

#include "control/fabric/manager/manager_private.h"
#include "control/fabric/manager/wire.h"
#include "server/base/id.h"

const struct query_field tenant_fields[] = {
	{"id", "id"}, {"version", "version"}, {"properties", "properties"}, {NULL, NULL}};

static void print_tenant(struct buffer *into, struct text id, const struct json *properties)
{
	buffer_append(into, TEXT("{\"id\":"));
	buffer_append_json(into, id);
	buffer_append(into, TEXT(",\"version\":0"));
	wire_print_filled(into, "properties", properties);
	buffer_append_byte(into, '}');
}

struct json *manager_tenant(const struct manager *manager, struct text id)
{
	const struct record_item *item = record_index_find(manager->tenants, id);
	return item == NULL ? NULL : record_item_json(item);
}

static void list(struct rest_call *call)
{
	listing_page(call, &manager_of(call)->tenant_list);
}

static void query(struct rest_call *call)
{
	struct manager *manager = manager_of(call);
	listing_query(call, &manager->tenant_list, "/tenants/query", state_worker(manager->state));
}

static void create(struct rest_call *call)
{
	static const struct wire_member members[] = {{"properties", WIRE_OBJECT, false}};
	char id[UUID_LENGTH + 1];
	struct buffer record = {0}, answer = {0};
	if (!wire_check(call, call->body, "", members, 1))
		return;
	uuid_random(id);
	print_tenant(&record, text_of(id), json_member(call->body, "properties"));
	buffer_append(&answer, buffer_text(&record));
	manager_store(call, RECORD_TENANT, text_of(id), &record, REVISION_ABSENT, 201, &answer);
}

static void show(struct rest_call *call)
{
	const struct record_item *item = record_index_find(manager_of(call)->tenants, call->arguments[0]);
	if (item == NULL)
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
	else
		rest_answer(call, 200, item->body);
}

/* `properties` with the changes; NULL: out of memory. */
static struct json *changed(const struct json *properties, const struct json *changes, const struct json *removed)
{
	struct json *made = properties == NULL ? json_object_new() : json_copy(properties);
	for (const struct json *change = json_first(changes); made != NULL && change != NULL; change = json_next(change)) {
		if (json_set(made, json_name(change), json_copy(change)))
			continue;
		json_free(made);
		made = NULL;
	}
	for (const struct json *name = json_first(removed); made != NULL && name != NULL; name = json_next(name))
		json_remove(made, json_text(name).bytes);
	return made;
}

static void change(struct rest_call *call)
{
	static const struct wire_member members[] = {{"properties", WIRE_OBJECT, false}, {"removed", WIRE_TEXTS, false}};
	struct buffer record = {0}, answer = {0};
	if (!wire_check(call, call->body, "", members, 2))
		return;
	const struct record_item *item = record_index_find(manager_of(call)->tenants, call->arguments[0]);
	if (item == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	struct json *before = record_item_json(item);
	struct json *properties = before == NULL
								  ? NULL
								  : changed(json_member(before, "properties"), wire_member(call->body, "properties"),
										wire_member(call->body, "removed"));
	print_tenant(&record, item->id, properties);
	record.failed |= properties == NULL;
	manager_store(call, RECORD_TENANT, item->id, &record, item->revision, 200, &answer);
	json_free(properties);
	json_free(before);
}

static bool found(void *context, const struct record_item *item)
{
	(void)item;
	*(bool *)context = true;
	return false;
}

static bool has_profiles(const struct manager *manager, struct text tenant)
{
	struct buffer prefix = {0};
	bool has = pending_has(manager->profiles_coming, tenant);
	buffer_append(&prefix, tenant);
	buffer_append_byte(&prefix, '/');
	if (!has && !prefix.failed)
		record_index_each(manager->profiles, buffer_text(&prefix), found, &has);
	buffer_free(&prefix);
	return has;
}

static void delete_tenant(struct rest_call *call)
{
	struct manager *manager = manager_of(call);
	const struct record_item *item = record_index_find(manager->tenants, call->arguments[0]);
	struct buffer answer = {0};
	if (item == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	if (has_profiles(manager, item->id)) {
		rest_refuse(call, STATUS_INVALID, "the tenant has participant profiles");
		return;
	}
	struct transaction *transaction = transaction_new();
	if (transaction != NULL && !state_delete(transaction, RECORD_TENANT, item->id, item->revision)) {
		transaction_free(transaction);
		transaction = NULL;
	}
	rest_submit(call, manager->state, transaction, 200, &answer);
}

const struct rest_endpoint tenant_endpoints[] = {
	{"GET", "/tenants", MANAGER_READ, false, list},
	{"POST", "/tenants", MANAGER_WRITE, true, create},
	{"POST", "/tenants/query", MANAGER_READ, true, query},
	{"GET", "/tenants/{tenantID}", MANAGER_READ, false, show},
	{"PATCH", "/tenants/{tenantID}", MANAGER_WRITE, true, change},
	{"DELETE", "/tenants/{tenantID}", MANAGER_WRITE, false, delete_tenant},
};
const size_t tenant_endpoint_count = sizeof(tenant_endpoints) / sizeof(tenant_endpoints[0]);
