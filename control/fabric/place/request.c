/* Requests for placement, read by tables. */
#include "control/fabric/place/request.h"

#include <stddef.h>
#include <stdlib.h>

enum { WANTS_MAX = 64, ID_MAX = 512, DEMAND_MAX = 1000000000, TEXT_MAX = 16 * 1024 };

enum place_attribute place_key_attribute(enum place_key key)
{
	static const enum place_attribute attributes[] = {
#define PLACE_KEY_ATTRIBUTE(name, text, attribute) attribute,
		PLACE_KEY_LIST(PLACE_KEY_ATTRIBUTE)
#undef PLACE_KEY_ATTRIBUTE
	};
	return attributes[key];
}

uint64_t place_hash(struct text text)
{
	uint64_t hash = 0xcbf29ce484222325U;
	for (size_t i = 0; i < text.length; i++)
		hash = (hash ^ (unsigned char)text.bytes[i]) * 0x100000001b3U;
	hash = (hash ^ hash >> 32) * 0xd6e8feb86659fd93U;
	return hash ^ hash >> 32;
}

/* --- wants */

static enum status add_want(struct wants *wants, enum place_attribute kind, struct text text)
{
	struct want *more = realloc(wants->items, (wants->count + 1) * sizeof(*more));
	if (more == NULL)
		return STATUS_NO_MEMORY;
	wants->items = more;
	more[wants->count] = (struct want){kind, text_copy(text), attribute_hash(kind, text)};
	return more[wants->count++].text != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

static void wants_free(struct wants *wants)
{
	for (size_t i = 0; i < wants->count; i++)
		free(wants->items[i].text);
	free(wants->items);
}

/* An array of texts, or one text. */
static enum status read_wants(
	const struct json *value, const char *path, enum place_attribute kind, struct wants *wants, struct buffer *error)
{
	const struct json *item = json_kind(value) == JSON_ARRAY ? json_first(value) : value;
	if ((json_kind(value) != JSON_ARRAY && json_kind(value) != JSON_STRING) || json_count(value) > WANTS_MAX)
		return field_wrong(error, path, "must be a text or an array of at most 64 texts");
	enum status status = STATUS_OK;
	for (; item != NULL && status == STATUS_OK; item = item == value ? NULL : json_next(item)) {
		struct text text = json_text(item);
		if (text.length == 0 || text.length > ID_MAX || !text_is_line(text))
			return field_wrong(error, path, "each must be a text of 1 to 512 bytes");
		status = add_want(wants, kind, text);
	}
	return status;
}

static bool add_label(void *context, struct text key, struct text text)
{
	struct buffer pair = {0};
	buffer_printf(&pair, "%s=%s", key.bytes, text.bytes);
	bool is_added = !pair.failed && add_want(context, PLACE_LABEL, buffer_text(&pair)) == STATUS_OK;
	buffer_free(&pair);
	return is_added;
}

static enum status read_labels(const struct json *value, const char *path, struct wants *wants, struct buffer *error)
{
	return fields_each_text(value, path, ID_MAX, add_label, wants, error);
}

#define READ_WANTS(function, member, kind)                                                                             \
	static enum status function(const struct json *value, const char *path, void *target, struct buffer *error)        \
	{                                                                                                                  \
		struct place_request *request = target;                                                                        \
		return read_wants(value, path, kind, &request->member, error);                                                 \
	}
READ_WANTS(read_regions, regions, PLACE_REGION)
READ_WANTS(read_providers, providers, PLACE_PROVIDER)
READ_WANTS(read_zones, zones, PLACE_ZONE)
READ_WANTS(read_sites, sites, PLACE_SITE)
READ_WANTS(read_cell_types, types, PLACE_TYPE)
READ_WANTS(read_jurisdictions, jurisdictions, PLACE_JURISDICTION)
READ_WANTS(read_compliance, compliance, PLACE_COMPLIANCE)
READ_WANTS(read_profiles, profiles, PLACE_PROFILE)
READ_WANTS(read_preferred_regions, preferred_regions, PLACE_REGION)
READ_WANTS(read_near_sites, near, PLACE_SITE)
READ_WANTS(read_near_zones, near, PLACE_ZONE)
#undef READ_WANTS

static enum status read_required_labels(const struct json *value, const char *path, void *target, struct buffer *error)
{
	return read_labels(value, path, &((struct place_request *)target)->labels, error);
}

static enum status read_forbidden_labels(const struct json *value, const char *path, void *target, struct buffer *error)
{
	return read_labels(value, path, &((struct place_request *)target)->forbidden, error);
}

static enum status read_preferred_labels(const struct json *value, const char *path, void *target, struct buffer *error)
{
	return read_labels(value, path, &((struct place_request *)target)->preferred_labels, error);
}

/* --- words */

static enum status read_type(const struct json *value, const char *path, void *target, struct buffer *error)
{
	struct place_request *request = target;
	return vpa_type_parse(json_text(value), &request->type) ? STATUS_OK
															: field_wrong(error, path,
																  "must be cfm.connector, cfm.credentialservice, "
																  "cfm.dataplane or cfm.issuer");
}

static enum status read_components(const struct json *value, const char *path, void *target, struct buffer *error)
{
	return cell_types_read(value, path, &((struct place_request *)target)->components, error);
}

static enum status read_class(const struct json *value, const char *path, void *target, struct buffer *error)
{
	static const char *const words[] = {"pinned", "leased", "replicated"};
	int found = text_find_word(json_text(value), words, 3);
	if (found < 0)
		return field_wrong(error, path, "must be pinned, leased or replicated");
	((struct place_request *)target)->class = (enum place_class)found;
	return STATUS_OK;
}

static enum status read_strategy(const struct json *value, const char *path, void *target, struct buffer *error)
{
	static const char *const words[] = {"spread", "pack", "balanced"};
	int found = text_find_word(json_text(value), words, 3);
	if (found < 0)
		return field_wrong(error, path, "must be spread, pack or balanced");
	((struct place_request *)target)->strategy = (enum place_strategy)found;
	return STATUS_OK;
}

/* --- the tables */

#define AT(member) .is_kept = true, .offset = offsetof(struct place_request, member)
#define LINE(name_, ...)                                                                                               \
	{                                                                                                                  \
		.name = name_, .kind = FIELD_LINE, .minimum = 1, .maximum = ID_MAX, __VA_ARGS__                                \
	}
#define NUMBER(name_, high, ...)                                                                                       \
	{                                                                                                                  \
		.name = name_, .kind = FIELD_INTEGER, .minimum = 0, .maximum = high, __VA_ARGS__                               \
	}
#define OBJECT(name_, fields_)                                                                                         \
	{                                                                                                                  \
		.name = (name_), .kind = FIELD_OBJECT, .fields = (fields_),                                                    \
		.field_count = sizeof(fields_) / sizeof((fields_)[0])                                                          \
	}
#define READ(name_, read_, ...)                                                                                        \
	{                                                                                                                  \
		.name = name_, .kind = FIELD_READ, .read = read_, __VA_ARGS__                                                  \
	}

static const struct field require[] = {
	LINE("cell", AT(cell)),
	READ("region", read_regions),
	READ("provider", read_providers),
	READ("zone", read_zones),
	READ("site", read_sites),
	READ("type", read_cell_types),
	READ("jurisdictions", read_jurisdictions),
	READ("compliance", read_compliance),
	READ("labels", read_required_labels),
	READ("withoutLabels", read_forbidden_labels),
	READ("components", read_components),
	READ("profiles", read_profiles),
	NUMBER("protocol", 1000000, AT(min_protocol)),
};
static const struct field near_fields[] = {READ("site", read_near_sites), READ("zone", read_near_zones)};
static const struct field prefer[] = {
	READ("labels", read_preferred_labels), READ("region", read_preferred_regions), OBJECT("near", near_fields)};
static const struct field demand[] = {
#define DEMAND(name, text) NUMBER(text, DEMAND_MAX, AT(demand[CELL_RESOURCE_##name])),
	CELL_RESOURCE_LIST(DEMAND)
#undef DEMAND
};
static const struct field members[] = {
	LINE("vpaId", AT(vpa_id)),
	LINE("participant", AT(participant)),
	LINE("tenant", AT(tenant)),
	READ("type", read_type, .is_required = true),
	READ("class", read_class),
	OBJECT("require", require),
	READ("tolerations", request_read_tolerations),
	OBJECT("prefer", prefer),
	READ("affinity", request_read_affinity),
	READ("antiAffinity", request_read_anti_affinity),
	READ("spread", request_read_spread),
	OBJECT("demand", demand),
	LINE("current", AT(current)),
	NUMBER("standby", 8, AT(standby)),
	READ("strategy", read_strategy),
	READ("weights", request_read_weights),
};
enum { MEMBER_COUNT = sizeof(members) / sizeof(members[0]) };

static uint64_t hash_of(const char *text)
{
	uint64_t hash = text == NULL ? 0 : place_hash(text_of(text));
	return text != NULL && hash == 0 ? 1 : hash;
}

/* What is said besides the members. */
static enum status finish(const struct json *object, struct place_request *request, struct buffer *error)
{
	struct buffer text = {0};
	json_print(object, &text);
	if (text.failed) {
		buffer_free(&text);
		return STATUS_NO_MEMORY;
	}
	if (text.length > TEXT_MAX) {
		buffer_free(&text);
		return field_wrong(error, "body", "must have at most 16384 bytes");
	}
	request->text = buffer_take(&text);
	request->components |= 1U << request->type;
	request->vpa_hash = request->vpa_id == NULL ? 0 : place_hash(text_of(request->vpa_id));
	request->participant_hash = hash_of(request->participant);
	request->tenant_hash = hash_of(request->tenant);
	return STATUS_OK;
}

enum status place_request_parse(const struct json *object, struct place_request **request, struct buffer *error)
{
	struct place_request *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->references = 1;
	enum status status = fields_read(members, MEMBER_COUNT, object, "", made, error);
	if (status == STATUS_OK)
		status = finish(object, made, error);
	if (status == STATUS_OK)
		*request = made;
	else
		place_request_free(made);
	return status;
}

struct place_request *place_request_ref(struct place_request *request)
{
	request->references++;
	return request;
}

void place_request_free(struct place_request *request)
{
	if (request == NULL || --request->references > 0)
		return;
	struct wants *const all[] = {&request->regions, &request->providers, &request->zones, &request->sites,
		&request->types, &request->jurisdictions, &request->compliance, &request->labels, &request->profiles,
		&request->forbidden, &request->preferred_labels, &request->preferred_regions, &request->near};
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		wants_free(all[i]);
	for (size_t i = 0; i < request->toleration_count; i++) {
		free(request->tolerations[i].key);
		free(request->tolerations[i].value);
	}
	for (size_t i = 0; i < request->weight_count; i++)
		free(request->weights[i].name);
	free(request->weights);
	free(request->tolerations);
	free(request->affinities);
	free(request->spreads);
	free(request->text);
	fields_free(members, MEMBER_COUNT, request);
	free(request);
}

enum vpa_type place_request_type(const struct place_request *request)
{
	return request->type;
}

struct text place_request_text(const struct place_request *request)
{
	return text_of(request->text);
}

const int64_t *place_request_demand(const struct place_request *request)
{
	return request->demand;
}
