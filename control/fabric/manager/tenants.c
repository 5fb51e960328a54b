/* Tenants: an id and free properties. */
#include <stdlib.h>

#include "control/fabric/manager/manager_private.h"
#include "control/fabric/manager/wire.h"
#include "server/base/clock.h"
#include "server/base/id.h"

enum { GOING_MS = 60 * 1000 /* older marks are those of a process that has died */ };

const struct query_field tenant_fields[] = {
	{"id", "id"}, {"version", "version"}, {"properties", "properties"}, {NULL, NULL}};

/* going_ms: see manager.h; 0: it stays. */
static void print_record(struct buffer *into, struct text id, const struct json *properties, int64_t going_ms)
{
	buffer_append(into, TEXT("{\"id\":"));
	buffer_append_json(into, id);
	buffer_append(into, TEXT(",\"version\":0"));
	wire_print_filled(into, "properties", properties);
	if (going_ms > 0)
		buffer_printf(into, ",\"celld\":{\"going\":%lld}", (long long)going_ms);
	buffer_append_byte(into, '}');
}

static void print_tenant(struct buffer *into, struct text id, const struct json *properties)
{
	print_record(into, id, properties, 0);
}

bool tenant_print(const struct record_item *item, struct buffer *into)
{
	static const char mark[] = "\"celld\"";
	if (memmem(item->body.bytes, item->body.length, mark, sizeof(mark) - 1) == NULL)
		return record_print(item, into);
	struct json *tenant = record_item_json(item);
	if (tenant == NULL)
		return false;
	print_tenant(into, item->id, json_member(tenant, "properties"));
	json_free(tenant);
	return !into->failed;
}

static bool is_going(const struct json *tenant)
{
	int64_t going_ms = 0;
	return json_integer(json_member(json_member(tenant, "celld"), "going"), &going_ms) &&
		   clock_wall_ms() - going_ms < GOING_MS;
}

enum status manager_expect_tenant(const struct manager *manager, struct text id, struct transaction *transaction)
{
	const struct record_item *item = record_index_find(manager->tenants, id);
	struct json *tenant = item == NULL ? NULL : record_item_json(item);
	enum status status = item == NULL ? STATUS_NOT_FOUND : STATUS_NO_MEMORY;
	if (tenant != NULL && is_going(tenant))
		status = STATUS_INVALID;
	else if (tenant != NULL && transaction_expect(transaction, TEXT(""), RECORD_TENANT, item->id, item->revision))
		status = STATUS_OK;
	json_free(tenant);
	return status;
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
	struct buffer answer = {0};
	if (item == NULL)
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
	else if (tenant_print(item, &answer))
		rest_answer(call, 200, buffer_text(&answer));
	else
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	buffer_free(&answer);
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

static bool has_profiles(const struct manager *manager, struct text tenant)
{
	return pending_has(manager->profiles_coming, tenant) || profile_index_count_of(manager->profiles, tenant) > 0;
}

/* The same record, marked or not. NULL: out of memory. */
static struct transaction *mark(const struct record_item *item, int64_t going_ms)
{
	struct transaction *transaction = transaction_new();
	struct json *tenant = record_item_json(item);
	struct buffer record = {0};
	print_record(&record, item->id, json_member(tenant, "properties"), going_ms);
	bool is_put = transaction != NULL && tenant != NULL &&
				  manager_put(transaction, RECORD_TENANT, item->id, &record, item->revision) == STATUS_OK;
	json_free(tenant);
	buffer_free(&record);
	if (is_put)
		return transaction;
	transaction_free(transaction);
	return NULL;
}

static void on_unmarked(void *context, enum status status, int64_t revision)
{
	(void)context, (void)status, (void)revision; /* it grows old by itself */
}

static void refuse_delete(struct rest_call *call)
{
	rest_refuse(call, STATUS_INVALID, "the tenant has participant profiles");
}

/* All participants that were there before the mark are known by now, those of other replicas too. */
static void delete_marked(struct rest_call *call)
{
	struct manager *manager = manager_of(call);
	const struct record_item *item = record_index_find(manager->tenants, call->arguments[0]);
	struct json *tenant = item == NULL ? NULL : record_item_json(item);
	struct buffer answer = {0};
	struct transaction *transaction = NULL;
	if (item == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
	} else if (!is_going(tenant)) { /* changed meanwhile */
		if (!rest_again(call))
			rest_refuse(call, STATUS_CONFLICT, NULL);
	} else if (has_profiles(manager, item->id)) {
		transaction = mark(item, 0);
		if (transaction != NULL)
			state_submit(manager->state, transaction, on_unmarked, NULL);
		refuse_delete(call);
	} else {
		transaction = transaction_new();
		if (transaction != NULL && !state_delete(transaction, RECORD_TENANT, item->id, item->revision)) {
			transaction_free(transaction);
			transaction = NULL;
		}
		rest_submit(call, manager->state, transaction, 200, &answer);
	}
	json_free(tenant);
}

static void on_marked(void *context, enum status status, int64_t revision)
{
	struct rest_call *call = context;
	(void)revision;
	if (status == STATUS_OK)
		delete_marked(call);
	else if (status != STATUS_CONFLICT || !rest_again(call))
		rest_refuse(call, status, NULL);
	rest_release(call);
}

/* In two commits. Another replica may deploy a participant at this moment: it expects the tenant as it has read it
 * (manager_expect_tenant), so it is there before the mark, and then is seen, or is refused. */
static void delete_tenant(struct rest_call *call)
{
	struct manager *manager = manager_of(call);
	const struct record_item *item = record_index_find(manager->tenants, call->arguments[0]);
	if (item == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	if (has_profiles(manager, item->id)) {
		refuse_delete(call);
		return;
	}
	struct transaction *transaction = mark(item, clock_wall_ms());
	if (transaction == NULL) {
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		return;
	}
	rest_hold(call);
	state_submit(manager->state, transaction, on_marked, call);
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
