/* Constraints of several places become one placement request a VPA. */
#include "control/fabric/manager/vpa_plan.h"

#include <stdlib.h>

#define PLACEMENT "celld.placement"

/* RFC 7396. False: out of memory. */
static bool merge(struct json *into, const struct json *over)
{
	for (const struct json *member = json_first(over); member != NULL; member = json_next(member)) {
		const char *name = json_name(member);
		struct json *before = (struct json *)(uintptr_t)json_member(into, name);
		if (json_kind(member) == JSON_NULL)
			json_remove(into, name);
		else if (json_kind(member) == JSON_OBJECT && json_kind(before) == JSON_OBJECT && before != NULL) {
			if (!merge(before, member))
				return false;
		} else {
			struct json *copy = json_copy(member);
			if (!json_set(into, name, copy)) {
				json_free(copy);
				return false;
			}
		}
	}
	return true;
}

/* Is it of all VPAs? Else it belongs to one type, or to the data planes. */
static bool is_common(const char *name)
{
	enum vpa_type type;
	return !vpa_type_parse(text_of(name), &type) && strcmp(name, "dataplanes") != 0;
}

static bool merge_common(struct json *into, const struct json *placement)
{
	struct json *common = json_copy(placement);
	bool is_merged = common != NULL;
	for (const struct json *member = json_first(placement); is_merged && member != NULL; member = json_next(member)) {
		if (!is_common(json_name(member)))
			json_remove(common, json_name(member));
	}
	is_merged = is_merged && merge(into, common);
	json_free(common);
	return is_merged;
}

/* Of the strongest layer that names any; NULL: none does. */
static const struct json *named_dataplanes(const struct vpa_plan_sources *sources)
{
	for (size_t i = sources->layer_count; i > 0; i--) {
		const struct json *dataplanes = json_member(json_member(sources->layers[i - 1], PLACEMENT), "dataplanes");
		if (dataplanes != NULL && json_kind(dataplanes) != JSON_NULL)
			return dataplanes;
	}
	return NULL;
}

/* Those that are not of objects. */
static bool check_layers(const struct vpa_plan_sources *sources, struct buffer *error)
{
	for (size_t i = 0; i < sources->layer_count; i++) {
		const struct json *placement = json_member(sources->layers[i], PLACEMENT);
		if (placement == NULL || json_kind(placement) == JSON_NULL)
			continue;
		for (const struct json *member = json_first(placement); member != NULL; member = json_next(member)) {
			bool is_of_type = !is_common(json_name(member)) && strcmp(json_name(member), "dataplanes") != 0;
			if (is_of_type && json_kind(member) != JSON_OBJECT && json_kind(member) != JSON_NULL) {
				buffer_printf(error, PLACEMENT ".%s: must be an object", json_name(member));
				return false;
			}
		}
		if (json_kind(placement) != JSON_OBJECT) {
			buffer_append(error, TEXT(PLACEMENT ": must be an object"));
			return false;
		}
	}
	return true;
}

static bool check_dataplanes(const struct json *dataplanes, struct buffer *error)
{
	size_t count = json_count(dataplanes);
	bool is_fine =
		dataplanes == NULL || (json_kind(dataplanes) == JSON_ARRAY && count >= 1 && count <= PLAN_DATAPLANES_MAX);
	for (const struct json *one = json_first(dataplanes); is_fine && one != NULL; one = json_next(one)) {
		const struct json *properties = json_member(one, "properties");
		is_fine = json_kind(one) == JSON_OBJECT && (properties == NULL || json_kind(properties) == JSON_OBJECT);
	}
	if (!is_fine)
		buffer_printf(error, PLACEMENT ".dataplanes: must be an array of 1 to %d objects, their properties objects too",
			PLAN_DATAPLANES_MAX);
	return is_fine;
}

/* --- one VPA */

/* The object at `name`, made when it is missing; NULL: out of memory, or it is no object (which the parser tells). */
static struct json *object_at(struct json *parent, const char *name)
{
	if (json_member(parent, name) == NULL && !json_add(parent, name, json_object_new()))
		return NULL;
	return (struct json *)(uintptr_t)json_member(parent, name);
}

/* Together with the connector, unless something else is said. */
static bool bind_to_connector(struct json *request)
{
	struct json *list, *term = json_object_new(), *types = json_array_new();
	if (json_member(request, "affinity") != NULL) {
		json_free(term);
		json_free(types);
		return true;
	}
	list = json_array_new();
	bool is_made = json_add_text(types, NULL, text_of(vpa_type_name(VPA_CONNECTOR))) &&
				   json_add_text(term, "to", TEXT("participant:self")) &&
				   json_add_text(term, "topologyKey", TEXT("cell")) && json_add_bool(term, "hard", true);
	if (!is_made || !json_add(term, "types", types)) {
		json_free(types);
		json_free(term);
		json_free(list);
		return false;
	}
	if (!json_add(list, NULL, term)) {
		json_free(term);
		json_free(list);
		return false;
	}
	return json_add(request, "affinity", list);
}

static bool require(struct json *request, const struct vpa_plan_sources *sources, bool is_pinned)
{
	struct json *require = object_at(request, "require");
	if (json_kind(require) != JSON_OBJECT)
		return require != NULL;
	if (is_pinned && sources->cell.length > 0) {
		json_remove(require, "cell");
		if (!json_add_text(require, "cell", sources->cell))
			return false;
	}
	struct json *profiles = json_array_new();
	bool is_made = profiles != NULL;
	for (size_t i = 0; i < sources->profile_count && is_made; i++)
		is_made = json_add_text(profiles, NULL, sources->profiles[i]);
	if (is_made && json_set(require, "profiles", profiles))
		return true;
	json_free(profiles);
	return false;
}

/* What is ours to say, whatever was sent. */
static bool identify(struct json *request, const struct vpa_plan_sources *sources, const struct planned_vpa *vpa)
{
	static const char *const own[] = {"vpaId", "participant", "tenant", "type", "current", "properties"};
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		json_remove(request, own[i]);
	return json_add_text(request, "vpaId", text_of(vpa->id)) &&
		   json_add_text(request, "participant", sources->participant) &&
		   json_add_text(request, "tenant", sources->tenant) &&
		   json_add_text(request, "type", text_of(vpa_type_name(vpa->type)));
}

/* named: the data plane's own constraints; NULL: one that goes with the others. */
static struct json *request_of(
	const struct vpa_plan_sources *sources, const struct planned_vpa *vpa, const struct json *named)
{
	struct json *request = json_object_new();
	bool is_made = request != NULL;
	for (size_t i = 0; i < sources->layer_count && is_made; i++) {
		const struct json *placement = json_member(sources->layers[i], PLACEMENT);
		is_made =
			placement == NULL || json_kind(placement) == JSON_NULL ||
			(merge_common(request, placement) && merge(request, json_member(placement, vpa_type_name(vpa->type))));
	}
	if (is_made && named != NULL)
		is_made = merge(request, named);
	else if (is_made && vpa->type != VPA_CONNECTOR)
		is_made = bind_to_connector(request);
	is_made = is_made && identify(request, sources, vpa) && require(request, sources, named == NULL);
	if (is_made)
		return request;
	json_free(request);
	return NULL;
}

static enum status add_vpa(const struct vpa_plan_sources *sources, enum vpa_type type, const struct json *named,
	struct vpa_plan *plan, struct buffer *error)
{
	struct planned_vpa *vpa = &plan->vpas[plan->count++];
	const struct json *properties = json_member(sources->vpa_properties, vpa_type_name(type));
	*vpa = (struct planned_vpa){.type = type};
	uuid_random(vpa->id);
	if (properties != NULL || json_member(named, "properties") != NULL) {
		vpa->properties = properties == NULL ? json_object_new() : json_copy(properties);
		if (vpa->properties == NULL || !merge(vpa->properties, json_member(named, "properties")))
			return STATUS_NO_MEMORY;
	}
	struct buffer wrong = {0};
	struct json *request = request_of(sources, vpa, named);
	enum status status = request == NULL ? STATUS_NO_MEMORY : place_request_parse(request, &vpa->request, &wrong);
	json_free(request);
	if (status == STATUS_INVALID)
		buffer_printf(error, PLACEMENT " (%s): %s", vpa_type_name(type), wrong.bytes == NULL ? "" : wrong.bytes);
	buffer_free(&wrong);
	return status;
}

enum status vpa_plan_make(const struct vpa_plan_sources *sources, struct vpa_plan *plan, struct buffer *error)
{
	const struct json *dataplanes = named_dataplanes(sources);
	enum status status =
		check_layers(sources, error) && check_dataplanes(dataplanes, error) ? STATUS_OK : STATUS_INVALID;
	plan->count = 0;
	for (int type = 0; type < VPA_TYPE_COUNT && status == STATUS_OK; type++) {
		const struct json *named = type == VPA_DATAPLANE ? json_first(dataplanes) : NULL;
		do {
			status = add_vpa(sources, (enum vpa_type)type, named, plan, error);
			named = json_next(named);
		} while (named != NULL && status == STATUS_OK);
	}
	if (status != STATUS_OK)
		vpa_plan_free(plan);
	return status;
}

void vpa_plan_free(struct vpa_plan *plan)
{
	for (size_t i = 0; i < plan->count; i++) {
		place_request_free(plan->vpas[i].request);
		json_free(plan->vpas[i].properties);
	}
	plan->count = 0;
}
