/* Dataspace profiles and the cells they are in. */
#include "control/fabric/place/deployments.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/json.h"

struct deployed {
	struct deployed *next;
	char *id;
	char **cells; /* CFM ids */
	size_t cell_count;
};

static void deployed_free(struct deployed *deployed)
{
	for (size_t i = 0; i < deployed->cell_count; i++)
		free(deployed->cells[i]);
	free(deployed->cells);
	free(deployed->id);
	free(deployed);
}

static struct deployed *deployed_read(const struct record *record)
{
	struct json *root = NULL;
	struct deployed *made = calloc(1, sizeof(*made));
	if (made == NULL || (made->id = text_copy(record->id)) == NULL)
		abort();
	if (json_parse(record->body, NULL, &root) != STATUS_OK)
		return made;
	const struct json *deployments = json_member(root, "deployments");
	made->cells = calloc(json_count(deployments) + 1, sizeof(*made->cells));
	for (const struct json *one = json_first(deployments); made->cells != NULL && one != NULL; one = json_next(one)) {
		if (text_equals(json_member_text(one, "state"), TEXT("active")) &&
			(made->cells[made->cell_count] = text_copy(json_member_text(one, "cellId"))) != NULL)
			made->cell_count++;
	}
	json_free(root);
	return made;
}

void deployments_hear(struct deployments *deployments, const struct record *record)
{
	for (struct deployed **at = &deployments->first; *at != NULL; at = &(*at)->next) {
		struct deployed *old = *at;
		if (!text_equals(text_of(old->id), record->id))
			continue;
		*at = old->next;
		deployed_free(old);
		break;
	}
	if (record->body.bytes != NULL) {
		struct deployed *made = deployed_read(record);
		made->next = deployments->first;
		deployments->first = made;
	}
}

static bool is_deployed(const struct deployed *deployed, const char *cell)
{
	for (size_t i = 0; i < deployed->cell_count; i++) {
		if (strcmp(deployed->cells[i], cell) == 0)
			return true;
	}
	return false;
}

size_t deployments_in(const struct deployments *deployments, const char *cell, struct text **profiles)
{
	size_t room = 0, count = 0;
	for (const struct deployed *one = deployments->first; one != NULL; one = one->next)
		room++;
	*profiles = calloc(room + 1, sizeof(**profiles));
	for (const struct deployed *one = deployments->first; *profiles != NULL && one != NULL; one = one->next) {
		if (is_deployed(one, cell))
			(*profiles)[count++] = text_of(one->id);
	}
	return count;
}

void deployments_free(struct deployments *deployments)
{
	while (deployments->first != NULL) {
		struct deployed *next = deployments->first->next;
		deployed_free(deployments->first);
		deployments->first = next;
	}
}
