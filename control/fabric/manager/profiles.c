/* Participant profiles: showing and finding them. */
#include "control/fabric/manager/deploy.h"
#include "control/fabric/manager/profile_list.h"

static void on_found(void *context, enum status status, const struct record *record)
{
	struct rest_call *call = context;
	struct buffer answer = {0};
	if (status == STATUS_OK && !profile_print(manager_of(call)->cells, record->body, &answer))
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		rest_answer(call, 200, buffer_text(&answer));
	else
		rest_refuse(call, status, NULL);
	buffer_free(&answer);
	rest_release(call);
}

static void show(struct rest_call *call)
{
	const struct profile_row *row = profile_find(manager_of(call), call->arguments[0], call->arguments[1]);
	if (row == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	rest_hold(call);
	profile_read(manager_of(call), row, on_found, call);
}

const struct profile_row *profile_find(const struct manager *manager, struct text tenant, struct text profile)
{
	const struct profile_row *row = profile_index_find(manager->profiles, profile);
	return row != NULL && text_equals(profile_row_tenant(manager->profiles, row), tenant) ? row : NULL;
}

const struct rest_endpoint profile_endpoints[] = {
	{"GET", "/tenants/{tenantID}/participant-profiles", MANAGER_READ, false, profile_list},
	{"POST", "/tenants/{tenantID}/participant-profiles", MANAGER_WRITE, true, deploy_profile},
	{"GET", "/tenants/{tenantID}/participant-profiles/{participantID}", MANAGER_READ, false, show},
	{"DELETE", "/tenants/{tenantID}/participant-profiles/{participantID}", MANAGER_WRITE, false, dispose_profile},
	{"POST", "/participant-profiles/query", MANAGER_READ, true, profile_query},
};
const size_t profile_endpoint_count = sizeof(profile_endpoints) / sizeof(profile_endpoints[0]);
