/* Dataspace profiles: which protocols and credentials a dataspace asks for, and in which cells it is deployed. */
#include "control/fabric/manager/manager_private.h"
#include "control/fabric/manager/wire.h"
#include "server/base/id.h"
#include "server/base/timestamp.h"

static void list(struct rest_call *call)
{
	listing_all(call, &manager_of(call)->dataspace_list, TEXT_NONE);
}

static void show(struct rest_call *call)
{
	const struct record_item *item = record_index_find(manager_of(call)->dataspaces, call->arguments[0]);
	if (item == NULL)
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
	else
		rest_answer(call, 200, item->body);
}

/* --- creating */

static const char *const credential_members[] = {"id", "type", "issuer", "format"};
enum { CREDENTIAL_MEMBERS = sizeof(credential_members) / sizeof(credential_members[0]) };

/* False: it has answered. */
static bool check(struct rest_call *call)
{
	static const struct wire_member members[] = {
		{"dataspaceSpec", WIRE_OBJECT, false}, {"artifacts", WIRE_TEXTS, false}, {"properties", WIRE_OBJECT, false}};
	static const struct wire_member spec_members[] = {
		{"protocolStack", WIRE_TEXTS, false}, {"credentialSpecs", WIRE_OBJECTS, false}};
	static const struct wire_member credential[] = {{"id", WIRE_TEXT, false}, {"type", WIRE_TEXT, false},
		{"issuer", WIRE_TEXT, false}, {"format", WIRE_TEXT, false}, {"role", WIRE_TEXT, false}};
	const struct json *spec = wire_member(call->body, "dataspaceSpec");
	if (!wire_check(call, call->body, "", members, 3) || !wire_check(call, spec, "dataspaceSpec.", spec_members, 2))
		return false;
	const struct json *one = json_first(wire_member(spec, "credentialSpecs"));
	for (; one != NULL; one = json_next(one)) {
		if (!wire_check(call, one, "dataspaceSpec.credentialSpecs[].", credential, 5))
			return false;
	}
	return true;
}

static void print_spec(struct buffer *into, const struct json *spec)
{
	struct buffer members = {0};
	const struct json *credentials = wire_member(spec, "credentialSpecs");
	wire_print_filled(&members, "protocolStack", wire_member(spec, "protocolStack"));
	if (json_count(credentials) > 0)
		buffer_append(&members, TEXT(",\"credentialSpecs\":["));
	for (const struct json *one = json_first(credentials); one != NULL; one = json_next(one)) {
		for (size_t i = 0; i < CREDENTIAL_MEMBERS; i++) {
			buffer_append_byte(&members, i == 0 ? '{' : ',');
			buffer_append_json(&members, text_of(credential_members[i]));
			buffer_append_byte(&members, ':');
			buffer_append_json(&members, json_member_text(one, credential_members[i]));
		}
		if (json_member_text(one, "role").length > 0)
			buffer_append_member(&members, "role", json_member_text(one, "role"));
		buffer_append(&members, json_next(one) == NULL ? TEXT("}]") : TEXT("},"));
	}
	buffer_append_byte(into, '{');
	buffer_append(into, text_slice(buffer_text(&members), 1, members.length));
	buffer_append_byte(into, '}');
	into->failed |= members.failed;
	buffer_free(&members);
}

static void create(struct rest_call *call)
{
	char id[UUID_LENGTH + 1];
	struct buffer record = {0}, answer = {0};
	if (!check(call))
		return;
	uuid_random(id);
	buffer_printf(&record, "{\"id\":\"%s\",\"version\":0,\"dataspaceSpec\":", id);
	print_spec(&record, wire_member(call->body, "dataspaceSpec"));
	wire_print_filled(&record, "artifacts", wire_member(call->body, "artifacts"));
	wire_print_filled(&record, "properties", wire_member(call->body, "properties"));
	buffer_append_byte(&record, '}');
	buffer_append(&answer, buffer_text(&record));
	answer.failed |= record.failed;
	manager_store(call, RECORD_DATASPACE_PROFILE, text_of(id), &record, REVISION_ABSENT, 201, &answer);
}

static void delete_profile(struct rest_call *call)
{
	struct manager *manager = manager_of(call);
	const struct record_item *item = record_index_find(manager->dataspaces, call->arguments[0]);
	struct buffer answer = {0};
	if (item == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	struct transaction *transaction = transaction_new();
	if (transaction != NULL && !state_delete(transaction, RECORD_DATASPACE_PROFILE, item->id, item->revision)) {
		transaction_free(transaction);
		transaction = NULL;
	}
	rest_submit(call, manager->state, transaction, 200, &answer);
}

/* --- deploying */

static bool is_deployed(const struct json *profile, struct text cell)
{
	const struct json *one = json_first(json_member(profile, "deployments"));
	for (; one != NULL; one = json_next(one)) {
		if (text_equals(json_member_text(one, "cellId"), cell) &&
			text_equals(json_member_text(one, "state"), TEXT("active")))
			return true;
	}
	return false;
}

static struct json *deployment_new(const struct cell_record *cell)
{
	char id[UUID_LENGTH + 1];
	struct json *made = json_object_new();
	uuid_random(id);
	if (json_add_text(made, "id", text_of(id)) && json_add_integer(made, "version", 0) &&
		json_add_text(made, "state", TEXT("active")) && json_add_text(made, "stateTimestamp", TEXT(TIMESTAMP_NEVER)) &&
		json_add_text(made, "cellId", text_of(cell->id)) &&
		json_add_text(made, "externalCellId", text_of(cell->external_id)))
		return made;
	json_free(made);
	return NULL;
}

/* The profile with one more deployment, its members in the order the existing manager has them. */
static void print_deployed(struct buffer *into, const struct json *profile, const struct cell_record *cell)
{
	static const char *const names[] = {"id", "version", "dataspaceSpec", "artifacts", "deployments", "properties"};
	const struct json *before = json_member(profile, "deployments");
	struct json *deployments = before == NULL ? json_array_new() : json_copy(before);
	bool is_made = json_add(deployments, NULL, deployment_new(cell));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct json *value = i == 4 ? deployments : json_member(profile, names[i]);
		if (value == NULL)
			continue;
		buffer_printf(into, "%s\"%s\":", into->length == 0 ? "{" : ",", names[i]);
		json_print(value, into);
	}
	buffer_append_byte(into, '}');
	into->failed |= !is_made;
	json_free(deployments);
}

/* The body says which, as in the existing manager; the path does when it does not. A cell is known by either id. */
static void deploy(struct rest_call *call)
{
	static const struct wire_member members[] = {{"profileId", WIRE_TEXT, false}, {"cellId", WIRE_TEXT, false}};
	struct manager *manager = manager_of(call);
	struct buffer record = {0}, answer = {0};
	if (!wire_check(call, call->body, "", members, 2))
		return;
	struct text profile_id = json_member_text(call->body, "profileId"),
				cell_id = json_member_text(call->body, "cellId");
	const struct record_item *item =
		record_index_find(manager->dataspaces, profile_id.length > 0 ? profile_id : call->arguments[0]);
	const struct cell_record *cell = cells_find(manager->cells, cell_id);
	if (cell == NULL && cell_id.length > 0)
		cell = cells_find_external(manager->cells, cell_id);
	if (item == NULL || cell == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	struct json *profile = record_item_json(item);
	if (profile == NULL) {
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	} else if (is_deployed(profile, text_of(cell->id))) {
		rest_answer(call, 202, TEXT_NONE);
	} else {
		print_deployed(&record, profile, cell);
		manager_store(call, RECORD_DATASPACE_PROFILE, item->id, &record, item->revision, 202, &answer);
	}
	json_free(profile);
}

const struct rest_endpoint dataspace_endpoints[] = {
	{"GET", "/dataspace-profiles", MANAGER_READ, false, list},
	{"POST", "/dataspace-profiles", MANAGER_WRITE, true, create},
	{"GET", "/dataspace-profiles/{id}", MANAGER_READ, false, show},
	{"DELETE", "/dataspace-profiles/{profileID}", MANAGER_WRITE, false, delete_profile},
	{"POST", "/dataspace-profiles/{id}/deployments", MANAGER_WRITE, true, deploy},
};
const size_t dataspace_endpoint_count = sizeof(dataspace_endpoints) / sizeof(dataspace_endpoints[0]);
