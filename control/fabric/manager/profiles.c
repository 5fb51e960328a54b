/* Participant profiles: showing and finding them. */
#include "control/fabric/manager/deploy.h"

static void list(struct rest_call *call)
{
	struct buffer prefix = {0};
	buffer_append(&prefix, call->arguments[0]);
	buffer_append_byte(&prefix, '/');
	if (prefix.failed)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else
		listing_all(call, &manager_of(call)->profile_list, buffer_text(&prefix));
	buffer_free(&prefix);
}

static void query(struct rest_call *call)
{
	struct manager *manager = manager_of(call);
	listing_query(call, &manager->profile_list, "/participant-profiles/query", state_worker(manager->state));
}

/* NULL: none of this tenant, it has answered. */
static const struct record_item *find(struct rest_call *call)
{
	const struct record_item *item = profile_find(manager_of(call), call->arguments[0], call->arguments[1]);
	if (item == NULL)
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
	return item;
}

static void show(struct rest_call *call)
{
	struct buffer answer = {0};
	const struct record_item *item = find(call);
	if (item == NULL)
		return;
	if (profile_print(manager_of(call)->cells, item, &answer))
		rest_answer(call, 200, buffer_text(&answer));
	else
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	buffer_free(&answer);
}

const struct record_item *profile_find(const struct manager *manager, struct text tenant, struct text profile)
{
	const struct record_item *item = record_index_find(manager->profiles, profile);
	bool is_owner =
		item != NULL && item->id.length == tenant.length + 1 + profile.length && text_starts_with(item->id, tenant);
	return is_owner ? item : NULL;
}

const struct rest_endpoint profile_endpoints[] = {
	{"GET", "/tenants/{tenantID}/participant-profiles", MANAGER_READ, false, list},
	{"POST", "/tenants/{tenantID}/participant-profiles", MANAGER_WRITE, true, deploy_profile},
	{"GET", "/tenants/{tenantID}/participant-profiles/{participantID}", MANAGER_READ, false, show},
	{"DELETE", "/tenants/{tenantID}/participant-profiles/{participantID}", MANAGER_WRITE, false, dispose_profile},
	{"POST", "/participant-profiles/query", MANAGER_READ, true, query},
};
const size_t profile_endpoint_count = sizeof(profile_endpoints) / sizeof(profile_endpoints[0]);
