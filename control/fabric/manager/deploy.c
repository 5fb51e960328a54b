/* A participant is deployed: its cells are chosen, its profile and the manifest for the Provision Manager are written
 * in one transaction; the manifest is published after it. */
#include <stdlib.h>

#include "control/fabric/commands.h"
#include "control/fabric/manager/deploy.h"
#include "control/fabric/manager/profile.h"
#include "control/fabric/manager/vpa_plan.h"
#include "control/fabric/manager/wire.h"
#include "server/base/clock.h"

enum { DATASPACES_MAX = PLAN_LAYERS_MAX - 2, CHANGES_MAX = 5 };

/* On its way from the call to the answer. */
struct deployment {
	struct rest_call *call;
	struct manager *manager;
	struct pending *pending;
	struct json *tenant;
	struct json *dataspaces[DATASPACES_MAX];
	struct text dataspace_ids[DATASPACES_MAX]; /* into dataspaces */
	size_t dataspace_count;
	bool is_selected; /* the request names them: a cell must have all of them; else one, as in the existing manager */
	size_t attempt;
	unsigned changes;          /* of the tenant, while we were at it */
	enum status tenant_status; /* why nothing can be built for it; OK: it can */
	char *cell;                /* what the request pins; NULL: nothing */
	char profile_id[UUID_LENGTH + 1], manifest_id[UUID_LENGTH + 1];
	struct vpa_plan plan;
	struct buffer answer, line;
};

static void deployment_free(struct deployment *deployment)
{
	pending_remove(&deployment->manager->profiles_coming, deployment->pending);
	vpa_plan_free(&deployment->plan);
	for (size_t i = 0; i < deployment->dataspace_count; i++)
		json_free(deployment->dataspaces[i]);
	json_free(deployment->tenant);
	buffer_free(&deployment->answer);
	buffer_free(&deployment->line);
	free(deployment->cell);
	rest_release(deployment->call);
	free(deployment);
}

/* --- what is written */

/* Of the selected profiles, those for everybody and those for the participant's roles. With `role`, may be empty. */
static void print_credentials(struct buffer *into, const struct deployment *deployment)
{
	static const char *const names[] = {"id", "type", "issuer", "format", "role"};
	const struct json *roles = wire_member(deployment->call->body, "participantRoles");
	size_t count = 0;
	buffer_append_byte(into, '[');
	for (size_t i = 0; i < deployment->dataspace_count; i++) {
		const struct json *own = json_member(roles, deployment->dataspace_ids[i].bytes);
		const struct json *spec =
			json_first(json_member(json_member(deployment->dataspaces[i], "dataspaceSpec"), "credentialSpecs"));
		for (; spec != NULL; spec = json_next(spec)) {
			struct text role = json_member_text(spec, "role");
			const struct json *one = json_first(own);
			while (one != NULL && !text_equals(json_text(one), role))
				one = json_next(one);
			if (role.length > 0 && one == NULL)
				continue;
			for (size_t j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
				buffer_append(into, j > 0 ? TEXT(",") : count > 0 ? TEXT(",{") : TEXT("{"));
				buffer_printf(into, "\"%s\":", names[j]);
				buffer_append_json(into, json_member_text(spec, names[j]));
			}
			buffer_append_byte(into, '}');
			count++;
		}
	}
	buffer_append_byte(into, ']');
}

static void print_demand(struct buffer *into, const int64_t *demand)
{
	static const char *const names[] = {
#define RESOURCE_NAME(name, text) text,
		CELL_RESOURCE_LIST(RESOURCE_NAME)
#undef RESOURCE_NAME
	};
	size_t count = 0;
	for (size_t i = 0; i < CELL_RESOURCE_COUNT; i++) {
		if (demand[i] > 0)
			buffer_printf(into, "%s\"%s\":%lld", count++ == 0 ? ",\"demand\":{" : ",", names[i], (long long)demand[i]);
	}
	if (count > 0)
		buffer_append_byte(into, '}');
}

static void print_vpa(
	struct buffer *into, const struct planned_vpa *vpa, const struct cell_record *cell, const char *now)
{
	buffer_printf(into, "{\"id\":\"%s\",\"version\":0,\"state\":\"pending\",\"stateTimestamp\":\"%s\",\"type\":\"%s\"",
		vpa->id, now, vpa_type_name(vpa->type));
	buffer_append_member(into, "cellId", text_of(cell->id));
	buffer_append_member(into, "externalCellId", text_of(cell->external_id));
	wire_print_filled(into, "properties", vpa->properties);
	buffer_append(into, TEXT(",\"celld\":{\"epoch\":1"));
	print_demand(into, place_request_demand(vpa->request));
	buffer_append(into, TEXT("}}"));
}

static void print_profile(struct buffer *into, const struct deployment *deployment,
	const struct cell_record *const *choices, const struct buffer *credentials)
{
	const struct json *body = deployment->call->body, *roles = wire_member(body, "participantRoles");
	char now[25];
	clock_format(clock_wall_ms(), now);
	buffer_printf(into, "{\"id\":\"%s\",\"version\":0", deployment->profile_id);
	buffer_append_member(into, "identifier", json_member_text(body, "identifier"));
	buffer_append_member(into, "tenantId", deployment->call->arguments[0]);
	buffer_append(into, TEXT(",\"participantRoles\":"));
	if (roles == NULL)
		buffer_append(into, TEXT("{}"));
	else
		json_print(roles, into);
	buffer_append(into, TEXT(",\"dataspaceProfileIds\":["));
	for (size_t i = 0; i < deployment->dataspace_count; i++) {
		buffer_append(into, i == 0 ? TEXT("") : TEXT(","));
		buffer_append_json(into, deployment->dataspace_ids[i]);
	}
	buffer_append(into, TEXT("],\"vpas\":["));
	for (size_t i = 0; i < deployment->plan.count; i++) {
		buffer_append(into, i == 0 ? TEXT("") : TEXT(","));
		print_vpa(into, &deployment->plan.vpas[i], choices[i], now);
	}
	buffer_append_byte(into, ']');
	wire_print_filled(into, "properties", wire_member(body, "properties"));
	buffer_printf(into, ",\"error\":false,\"celld\":{\"manifest\":\"%s\",\"credentials\":", deployment->manifest_id);
	buffer_append(into, buffer_text(credentials));
	buffer_append(into, TEXT("}}"));
	into->failed |= credentials->failed;
}

/* The cells that take commands are told what is to live in them. */
static bool write_commands(const struct deployment *deployment, const struct cell_record *const *choices,
	const struct json *profile, struct transaction *transaction)
{
	struct buffer args = {0};
	bool is_written = true;
	for (size_t i = 0; i < deployment->plan.count && is_written; i++) {
		const struct planned_vpa *vpa = &deployment->plan.vpas[i];
		if (choices[i]->epoch == 0)
			continue;
		buffer_clear(&args);
		buffer_printf(&args, "{\"type\":\"%s\"", vpa_type_name(vpa->type));
		buffer_append_member(&args, "participant", json_member_text(profile, "identifier"));
		buffer_append_member(&args, "tenant", json_member_text(profile, "tenantId"));
		buffer_append_member(&args, "profile", json_member_text(profile, "id"));
		buffer_append_byte(&args, '}');
		is_written = !args.failed && commands_add(transaction, choices[i], text_of(vpa->id), 1, COMMAND_VPA_PREPARE,
										 buffer_text(&args));
	}
	buffer_free(&args);
	return is_written;
}

static bool write_records(struct deployment *deployment, const struct buffer *record, const struct json *profile,
	const struct buffer *credentials, struct transaction *transaction)
{
	struct buffer id = {0}, extra = {0}, manifest = {0};
	buffer_append(&id, deployment->call->arguments[0]);
	buffer_printf(&id, "/%s", deployment->profile_id);
	buffer_append(&extra, TEXT(",\"cfm.vpa.credentials\":"));
	buffer_append(&extra, buffer_text(credentials));
	profile_print_manifest(
		&manifest, profile, text_of(deployment->manifest_id), TEXT("cfm.orchestration.vpa.deploy"), &extra);
	bool is_written =
		!id.failed && !manifest.failed &&
		manager_put(transaction, RECORD_PARTICIPANT_PROFILE, buffer_text(&id), record, REVISION_ABSENT) == STATUS_OK &&
		manager_order(deployment->call, transaction, text_of(deployment->manifest_id), buffer_text(&manifest));
	buffer_free(&id);
	buffer_free(&extra);
	buffer_free(&manifest);
	return is_written;
}

/* For these cells; again, when another placer was faster. */
static bool build(void *context, const struct cell_record *const *choices, struct transaction *transaction)
{
	struct deployment *deployment = context;
	struct buffer credentials = {0}, record = {0};
	struct json *profile = NULL;
	deployment->tenant_status = manager_expect_tenant(deployment->manager, deployment->call->arguments[0], transaction);
	if (deployment->tenant_status != STATUS_OK)
		return false;
	print_credentials(&credentials, deployment);
	print_profile(&record, deployment, choices, &credentials);
	bool is_built = !record.failed && json_parse(buffer_text(&record), NULL, &profile) == STATUS_OK &&
					write_records(deployment, &record, profile, &credentials, transaction) &&
					write_commands(deployment, choices, profile, transaction);
	if (is_built) {
		buffer_clear(&deployment->answer);
		profile_print_shown(&deployment->answer, profile);
		is_built = !deployment->answer.failed;
	}
	json_free(profile);
	buffer_free(&record);
	buffer_free(&credentials);
	return is_built;
}

/* --- placing */

static void place(struct deployment *deployment);

/* With the tenant as it is now: what it says of placement may have changed. False: it is gone. */
static bool read_tenant(struct deployment *deployment)
{
	json_free(deployment->tenant);
	deployment->tenant = manager_tenant(deployment->manager, deployment->call->arguments[0]);
	return deployment->tenant != NULL;
}

static void answer(struct deployment *deployment, enum status status, struct text line)
{
	struct buffer why = {0};
	if (status == STATUS_OK) {
		rest_answer(deployment->call, 202, buffer_text(&deployment->answer));
	} else if (deployment->tenant_status == STATUS_INVALID) {
		rest_refuse(deployment->call, STATUS_CONFLICT, NULL); /* the tenant is about to go */
	} else if (record_index_find(deployment->manager->tenants, deployment->call->arguments[0]) == NULL) {
		rest_refuse(deployment->call, STATUS_NOT_FOUND, NULL);
	} else if (status == STATUS_NOT_FOUND) {
		buffer_append(&why, TEXT("no active cell found: "));
		buffer_append(&why, line);
		rest_refuse(deployment->call, STATUS_INTERNAL, why.failed ? "no active cell found" : why.bytes);
	} else {
		rest_refuse(deployment->call, status, NULL);
	}
	buffer_free(&why);
}

static void done(void *context, enum status status, struct text decision_id, struct text explain, struct text line)
{
	struct deployment *deployment = context;
	(void)decision_id;
	(void)explain;
	bool has_more = !deployment->is_selected && deployment->dataspace_count > 1 &&
					deployment->attempt < deployment->dataspace_count;
	bool is_again = status == STATUS_NOT_FOUND && has_more;
	deployment->attempt += is_again;
	if (status == STATUS_CONFLICT && ++deployment->changes < CHANGES_MAX)
		is_again = read_tenant(deployment);
	if (is_again) {
		place(deployment);
		return;
	}
	answer(deployment, status, line);
	deployment_free(deployment);
}

/* Ends the deployment with what went wrong before anything was placed. */
static void give_up(struct deployment *deployment, enum status status, const struct buffer *error)
{
	rest_refuse(deployment->call, status, status == STATUS_INVALID ? error->bytes : NULL);
	deployment_free(deployment);
}

/* The first attempt asks for cells with all the dataspace profiles, the next ones for one of them each. */
static void place(struct deployment *deployment)
{
	const struct rest_call *call = deployment->call;
	const struct place_request *requests[PLAN_VPAS_MAX];
	struct buffer error = {0};
	struct vpa_plan_sources sources = {.vpa_properties = wire_member(call->body, "vpaProperties"),
		.participant = text_of(deployment->profile_id),
		.tenant = call->arguments[0],
		.cell = deployment->cell == NULL ? TEXT_NONE : text_of(deployment->cell),
		.profiles = deployment->dataspace_ids,
		.profile_count = deployment->dataspace_count};
	if (deployment->attempt > 0) {
		sources.profiles = &deployment->dataspace_ids[deployment->attempt - 1];
		sources.profile_count = 1;
	}
	for (size_t i = 0; i < deployment->dataspace_count; i++)
		sources.layers[sources.layer_count++] = json_member(deployment->dataspaces[i], "properties");
	sources.layers[sources.layer_count++] = json_member(deployment->tenant, "properties");
	sources.layers[sources.layer_count++] = wire_member(call->body, "properties");
	vpa_plan_free(&deployment->plan);
	enum status status = vpa_plan_make(&sources, &deployment->plan, &error);
	for (size_t i = 0; i < deployment->plan.count && status == STATUS_OK; i++)
		requests[i] = deployment->plan.vpas[i].request;
	if (status == STATUS_OK)
		placer_place(deployment->manager->placer, &(struct placement){.requests = requests,
													  .count = deployment->plan.count,
													  .build = build,
													  .done = done,
													  .context = deployment});
	else
		give_up(deployment, status, &error);
	buffer_free(&error);
}

/* --- beginning */

static bool is_selected(const struct json *ids, struct text id)
{
	const struct json *one = json_first(ids);
	if (one == NULL)
		return true;
	while (one != NULL && !text_equals(json_text(one), id))
		one = json_next(one);
	return one != NULL;
}

/* INVALID: too many. */
static enum status select_dataspaces(struct deployment *deployment)
{
	const struct record_index *index = deployment->manager->dataspaces;
	const struct json *ids = wire_member(deployment->call->body, "dataspaceProfileIds");
	deployment->is_selected = json_count(ids) > 0;
	for (size_t i = 0; i < record_index_count(index); i++) {
		const struct record_item *item = record_index_at(index, i);
		if (!is_selected(ids, item->id))
			continue;
		if (deployment->dataspace_count == DATASPACES_MAX)
			return STATUS_INVALID;
		struct json *dataspace = record_item_json(item);
		if (dataspace == NULL)
			return STATUS_NO_MEMORY;
		deployment->dataspaces[deployment->dataspace_count] = dataspace;
		deployment->dataspace_ids[deployment->dataspace_count++] = json_member_text(dataspace, "id");
	}
	return STATUS_OK;
}

/* Known by either id; the existing manager ignores it. False: there is no such cell. */
static bool pin_cell(struct deployment *deployment)
{
	struct text wanted = json_member_text(deployment->call->body, "cellId");
	if (wanted.length == 0)
		return true;
	const struct cell_record *cell = cells_find(deployment->manager->cells, wanted);
	if (cell == NULL)
		cell = cells_find_external(deployment->manager->cells, wanted);
	deployment->cell = cell == NULL ? NULL : text_copy(text_of(cell->id));
	return deployment->cell != NULL;
}

void deploy_profile(struct rest_call *call)
{
	static const struct wire_member members[] = {{"identifier", WIRE_TEXT, true}, {"cellId", WIRE_TEXT, false},
		{"dataspaceProfileIds", WIRE_TEXTS, false}, {"participantRoles", WIRE_TEXT_MAP, false},
		{"vpaProperties", WIRE_MAP, false}, {"properties", WIRE_OBJECT, false}};
	struct manager *manager = manager_of(call);
	if (!wire_check(call, call->body, "", members, sizeof(members) / sizeof(members[0])))
		return;
	if (record_index_find(manager->tenants, call->arguments[0]) == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	struct deployment *deployment = calloc(1, sizeof(*deployment));
	if (deployment == NULL) {
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		return;
	}
	deployment->call = call;
	deployment->manager = manager;
	rest_hold(call);
	uuid_random(deployment->profile_id);
	uuid_random(deployment->manifest_id);
	deployment->tenant = manager_tenant(manager, call->arguments[0]);
	deployment->pending = pending_add(&manager->profiles_coming, call->arguments[0]);
	enum status status =
		deployment->tenant == NULL || deployment->pending == NULL ? STATUS_NO_MEMORY : select_dataspaces(deployment);
	struct buffer error = {0};
	if (status == STATUS_INVALID)
		buffer_printf(&error, "dataspaceProfileIds: at most %d dataspace profiles", DATASPACES_MAX);
	if (status == STATUS_OK && !pin_cell(deployment)) {
		status = STATUS_INVALID;
		buffer_append(&error, TEXT("cellId: there is no such cell"));
	}
	if (status == STATUS_OK && deployment->dataspace_count == 0) {
		rest_refuse(call, STATUS_INTERNAL, "no dataspace profiles found");
		deployment_free(deployment);
	} else if (status == STATUS_OK) {
		place(deployment);
	} else {
		give_up(deployment, status, &error);
	}
	buffer_free(&error);
}
