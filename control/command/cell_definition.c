/* The definition of a cell, read by tables. */
#include "control/command/cell_definition.h"

#include <stddef.h>
#include <stdlib.h>

#include "control/command/fields.h"
#include "server/base/id.h"
#include "server/base/timestamp.h"

enum { TEXT_MAX = 16 * 1024, NAME_MAX_BYTES = 128, LONG_MAX_BYTES = 512 };
#define CAPACITY_MAX 2000000000

#define AT(member) .is_kept = true, .offset = offsetof(struct cell_definition, member)
#define NAME(name_, ...)                                                                                               \
	{                                                                                                                  \
		.name = name_, .kind = FIELD_NAME, .minimum = 1, .maximum = NAME_MAX_BYTES, __VA_ARGS__                        \
	}
#define LINE(name_, ...)                                                                                               \
	{                                                                                                                  \
		.name = name_, .kind = FIELD_LINE, .maximum = LONG_MAX_BYTES, __VA_ARGS__                                      \
	}
#define URL(name_, ...)                                                                                                \
	{                                                                                                                  \
		.name = name_, .kind = FIELD_URL, .minimum = 1, .maximum = LONG_MAX_BYTES, __VA_ARGS__                         \
	}
#define NUMBER(name_, low, high, ...)                                                                                  \
	{                                                                                                                  \
		.name = name_, .kind = FIELD_INTEGER, .minimum = low, .maximum = high, __VA_ARGS__                             \
	}
#define LINES(name_, ...)                                                                                              \
	{                                                                                                                  \
		.name = name_, .kind = FIELD_LINES, .maximum = NAME_MAX_BYTES, __VA_ARGS__                                     \
	}
#define OBJECT(name_, fields_, ...)                                                                                    \
	{                                                                                                                  \
		.name = name_, .kind = FIELD_OBJECT, .fields = fields_, .field_count = sizeof(fields_) / sizeof((fields_)[0]), \
		__VA_ARGS__                                                                                                    \
	}
#define READ(name_, read_, ...)                                                                                        \
	{                                                                                                                  \
		.name = name_, .kind = FIELD_READ, .read = read_, __VA_ARGS__                                                  \
	}

/* a list of the tables is the pair of members as they stand */
_Static_assert(offsetof(struct cell_definition, jurisdiction_count) - offsetof(struct cell_definition, jurisdictions) ==
				   offsetof(struct field_list, count),
	"jurisdictions and jurisdiction_count are a struct field_list");

/* --- members that are not plain */

/* An id is one token of a subject and the end of an activity's type, so no '.'. */
static enum status read_cell_id(const struct json *value, const char *path, void *target, struct buffer *error)
{
	struct cell_definition *definition = target;
	struct text text = json_text(value);
	bool is_good = text.length > 0 && text.length <= 64;
	for (size_t i = 0; i < text.length; i++) {
		char byte = text.bytes[i];
		is_good = is_good && ((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
								 (byte >= '0' && byte <= '9') || byte == '-' || byte == '_');
	}
	if (!is_good)
		return field_wrong(error, path, "must be 1 to 64 letters, digits, - and _");
	definition->cell_id = text_copy(text);
	return definition->cell_id != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

/* At least one. */
static size_t room_of(const struct json *list)
{
	size_t count = json_count(list);
	return count < FIELD_ITEMS_MAX ? count + 1 : FIELD_ITEMS_MAX;
}

static bool add_label(void *context, struct text key, struct text text)
{
	struct cell_definition *definition = context;
	struct cell_label *label = &definition->labels[definition->label_count++];
	*label = (struct cell_label){text_copy(key), text_copy(text)};
	return label->key != NULL && label->value != NULL;
}

static enum status read_labels(const struct json *value, const char *path, void *target, struct buffer *error)
{
	struct cell_definition *definition = target;
	definition->labels = calloc(room_of(value), sizeof(*definition->labels));
	if (definition->labels == NULL)
		return STATUS_NO_MEMORY;
	return fields_each_text(value, path, NAME_MAX_BYTES, add_label, definition, error);
}

struct attestation_fields {
	char *id, *valid_until;
};
static const struct field attestation_fields[] = {
	NAME("id", .is_required = true, .is_kept = true, .offset = offsetof(struct attestation_fields, id)),
	LINE("attestedBy"),
	LINE("validUntil", .is_kept = true, .offset = offsetof(struct attestation_fields, valid_until)),
	LINE("evidence"),
};

/* A day is good until it is over. */
static bool until_of(const char *text, int64_t *wall_ms)
{
	bool is_day = false;
	*wall_ms = INT64_MAX;
	if (text == NULL)
		return true;
	if (time_parse(text_of(text), wall_ms, &is_day) != STATUS_OK)
		return false;
	*wall_ms += is_day ? 24 * 3600 * 1000 : 0;
	return true;
}

static enum status read_attestation(void *context, const struct json *item, const char *path, struct buffer *error)
{
	struct cell_definition *definition = context;
	struct cell_attestation *into = &definition->compliance[definition->compliance_count];
	struct attestation_fields read = {0};
	size_t count = sizeof(attestation_fields) / sizeof(attestation_fields[0]);
	enum status status = fields_read(attestation_fields, count, item, path, &read, error);
	if (status == STATUS_OK && !until_of(read.valid_until, &into->valid_until_ms)) {
		buffer_printf(error, "%s.validUntil: must be a date or a time of ISO 8601", path);
		status = STATUS_INVALID;
	}
	if (status == STATUS_OK) {
		into->id = read.id;
		read.id = NULL;
		definition->compliance_count++;
	}
	fields_free(attestation_fields, count, &read);
	return status;
}

static enum status read_compliance(const struct json *value, const char *path, void *target, struct buffer *error)
{
	struct cell_definition *definition = target;
	definition->compliance = calloc(room_of(value), sizeof(*definition->compliance));
	if (definition->compliance == NULL)
		return STATUS_NO_MEMORY;
	return fields_each(value, path, FIELD_ITEMS_MAX, read_attestation, definition, error);
}

struct taint_fields {
	char *key, *value, *effect;
};
static const struct field taint_fields[] = {
	NAME("key", .is_required = true, .is_kept = true, .offset = offsetof(struct taint_fields, key)),
	LINE("value", .is_kept = true, .offset = offsetof(struct taint_fields, value)),
	NAME("effect", .is_required = true, .is_kept = true, .offset = offsetof(struct taint_fields, effect)),
};

static enum status read_taint(void *context, const struct json *item, const char *path, struct buffer *error)
{
	struct cell_definition *definition = context;
	struct taint_fields read = {0};
	size_t count = sizeof(taint_fields) / sizeof(taint_fields[0]);
	enum status status = fields_read(taint_fields, count, item, path, &read, error);
	if (status == STATUS_OK && strcmp(read.effect, "NoPlace") != 0) {
		buffer_printf(error, "%s.effect: must be \"NoPlace\"", path);
		status = STATUS_INVALID;
	}
	if (status == STATUS_OK) {
		struct cell_taint *into = &definition->taints[definition->taint_count++];
		*into = (struct cell_taint){read.key, read.value != NULL ? read.value : text_copy(TEXT(""))};
		read.key = read.value = NULL;
		status = into->value != NULL ? STATUS_OK : STATUS_NO_MEMORY;
	}
	fields_free(taint_fields, count, &read);
	return status;
}

static enum status read_taints(const struct json *value, const char *path, void *target, struct buffer *error)
{
	struct cell_definition *definition = target;
	definition->taints = calloc(room_of(value), sizeof(*definition->taints));
	if (definition->taints == NULL)
		return STATUS_NO_MEMORY;
	return fields_each(value, path, FIELD_ITEMS_MAX, read_taint, definition, error);
}

bool cell_score_name_is_valid(struct text name)
{
	static const struct text external = {"external.", 9};
	return text_equals(name, TEXT("cost")) ||
		   (text_starts_with(name, external) &&
			   name_is_valid(text_slice(name, external.length, name.length), NAME_MAX_BYTES));
}

static enum status read_scores(const struct json *value, const char *path, void *target, struct buffer *error)
{
	struct cell_definition *definition = target;
	size_t room = json_count(value);
	if (json_kind(value) != JSON_OBJECT || room > CELL_SCORES_MAX)
		return field_wrong(error, path, "must be an object of at most 16 numbers");
	definition->scores = calloc(room + 1, sizeof(*definition->scores));
	if (definition->scores == NULL)
		return STATUS_NO_MEMORY;
	for (const struct json *item = json_first(value); item != NULL; item = json_next(item)) {
		struct cell_score *score = &definition->scores[definition->score_count];
		if (!cell_score_name_is_valid(text_of(json_name(item))))
			return field_wrong(error, path, "each must be called cost, or external. and a name");
		if (!json_integer(item, &score->value) || score->value < 0 || score->value > 1000) {
			buffer_printf(error, "%s.%s: must be a number from 0 to 1000", path, json_name(item));
			return STATUS_INVALID;
		}
		score->name = text_copy(text_of(json_name(item)));
		if (score->name == NULL)
			return STATUS_NO_MEMORY;
		definition->score_count++;
	}
	return STATUS_OK;
}

enum status cell_types_read(const struct json *value, const char *path, unsigned *types, struct buffer *error)
{
	*types = 0;
	for (const struct json *item = json_first(value); item != NULL; item = json_next(item)) {
		enum vpa_type type;
		if (!vpa_type_parse(json_text(item), &type))
			return field_wrong(
				error, path, "each must be cfm.connector, cfm.credentialservice, cfm.dataplane or cfm.issuer");
		*types |= 1U << type;
	}
	if (json_kind(value) != JSON_ARRAY || *types == 0)
		return field_wrong(error, path, "must be an array with at least one type of VPA");
	return STATUS_OK;
}

static enum status read_components(const struct json *value, const char *path, void *target, struct buffer *error)
{
	return cell_types_read(value, path, &((struct cell_definition *)target)->components, error);
}

static enum status read_geo(const struct json *value, const char *path, void *target, struct buffer *error)
{
	(void)target;
	const struct json *first = json_first(value);
	if (json_kind(value) != JSON_ARRAY || json_count(value) != 2 || json_kind(first) != JSON_NUMBER ||
		json_kind(json_next(first)) != JSON_NUMBER)
		return field_wrong(error, path, "must be [latitude, longitude]");
	return STATUS_OK;
}

static enum status read_connectivity(const struct json *value, const char *path, void *target, struct buffer *error)
{
	struct cell_definition *definition = target;
	definition->is_intermittent = text_equals(json_text(value), TEXT("intermittent"));
	if (!definition->is_intermittent && !text_equals(json_text(value), TEXT("always")))
		return field_wrong(error, path, "must be \"always\" or \"intermittent\"");
	return STATUS_OK;
}

/* --- the tables */

static const struct field per_type[] = {
#define PER_TYPE(name, text) NUMBER(text, 0, CAPACITY_MAX, AT(max_per_type[VPA_##name])),
	VPA_LIST(PER_TYPE)
#undef PER_TYPE
};
static const struct field resources[] = {
#define RESOURCE(name, text) NUMBER(text, 0, CAPACITY_MAX, AT(resources[CELL_RESOURCE_##name])),
	CELL_RESOURCE_LIST(RESOURCE)
#undef RESOURCE
};
static const struct field overcommit[] = {
#define OVERCOMMIT(name, text) NUMBER(text, 1, 1000, AT(overcommit[CELL_RESOURCE_##name])),
	CELL_RESOURCE_LIST(OVERCOMMIT)
#undef OVERCOMMIT
};
static const struct field capacity[] = {
	NUMBER("maxVPAs", 0, CAPACITY_MAX, .is_required = true, AT(max_vpas)),
	NUMBER("currentVPAs", 0, CAPACITY_MAX),
	OBJECT("perType", per_type),
	OBJECT("resources", resources),
	OBJECT("overcommitPct", overcommit),
	NUMBER("failoverReservePct", 0, 90, AT(failover_reserve_pct)),
};
static const struct field kubernetes[] = {LINE("cluster"), LINE("namespace"), LINE("apiServer"), LINE("gatewayClass")};
static const struct field vault[] = {LINE("address"), LINE("path"), LINE("namespace"), LINE("kind")};
static const struct field database[] = {LINE("host"), LINE("database")};
static const struct field dns[] = {LINE("zone"), LINES("servers"), LINE("tsigKey")};
static const struct field nats[] = {LINE("mode"), LINE("domain")};
static const struct field infrastructure[] = {OBJECT("kubernetes", kubernetes), OBJECT("vault", vault),
	OBJECT("database", database), OBJECT("dns", dns), OBJECT("nats", nats)};
static const struct field topology[] = {
	NAME("zone", AT(zone)), NAME("powerDomain", AT(power_domain)), NAME("site", AT(site)), READ("geo", read_geo)};
static const struct field endpoints[] = {URL("ingress", AT(ingress)), URL("peer"), URL("health")};
static const struct field versions[] = {LINE("cell"), NUMBER("protocol", 0, 1000000, AT(protocol))};

static const struct field members[] = {
	READ("cellId", read_cell_id, .is_required = true),
	LINE("name", .minimum = 1, .is_required = true, AT(name)),
	NAME("type", .is_required = true, AT(type)),
	NAME("region", .is_required = true, AT(region)),
	NAME("provider", .is_required = true, AT(provider)),
	OBJECT("capacity", capacity, .is_required = true),
	OBJECT("infrastructure", infrastructure),
	READ("labels", read_labels),
	OBJECT("topology", topology),
	LINES("jurisdictions", AT(jurisdictions)),
	READ("compliance", read_compliance),
	READ("taints", read_taints),
	READ("scores", read_scores),
	READ("components", read_components),
	OBJECT("endpoints", endpoints),
	READ("connectivity", read_connectivity),
	NAME("failoverGroup", AT(failover_group)),
	OBJECT("versions", versions),
};
enum { MEMBER_COUNT = sizeof(members) / sizeof(members[0]) };

static struct cell_definition *definition_new(void)
{
	struct cell_definition *definition = calloc(1, sizeof(*definition));
	if (definition == NULL)
		return NULL;
	for (int i = 0; i < VPA_TYPE_COUNT; i++)
		definition->max_per_type[i] = -1;
	for (int i = 0; i < CELL_RESOURCE_COUNT; i++) {
		definition->resources[i] = -1;
		definition->overcommit[i] = 100;
	}
	definition->components = (1U << VPA_TYPE_COUNT) - 1;
	return definition;
}

/* The stored text, and what there is to say of currentVPAs. */
static enum status write_text(
	const struct json *object, struct cell_definition *definition, struct buffer *error, struct buffer *warning)
{
	struct buffer text = {0};
	struct json *copy = json_copy(object);
	struct json *room = json_copy(json_member(copy, "capacity"));
	int64_t sent;
	if (json_integer(json_member(room, "currentVPAs"), &sent))
		buffer_printf(warning, "capacity.currentVPAs: is counted by the fabric; %lld was not taken", (long long)sent);
	json_remove(room, "currentVPAs");
	enum status status = json_set(copy, "capacity", room) ? STATUS_OK : STATUS_NO_MEMORY;
	json_print(copy, &text);
	json_free(copy);
	if (status == STATUS_OK && text.length > TEXT_MAX)
		status = field_wrong(error, "body", "must have at most 16384 bytes");
	if (status == STATUS_OK && (text.failed || warning->failed))
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		definition->text = buffer_take(&text);
	buffer_free(&text);
	return status;
}

enum status cell_definition_parse(
	const struct json *object, struct cell_definition **definition, struct buffer *error, struct buffer *warning)
{
	struct cell_definition *made = definition_new();
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = fields_read(members, MEMBER_COUNT, object, "", made, error);
	if (status == STATUS_OK)
		status = write_text(object, made, error, warning);
	if (status == STATUS_OK)
		*definition = made;
	else
		cell_definition_free(made);
	return status;
}

void cell_definition_free(struct cell_definition *definition)
{
	if (definition == NULL)
		return;
	for (size_t i = 0; i < definition->label_count; i++) {
		free(definition->labels[i].key);
		free(definition->labels[i].value);
	}
	for (size_t i = 0; i < definition->compliance_count; i++)
		free(definition->compliance[i].id);
	for (size_t i = 0; i < definition->taint_count; i++) {
		free(definition->taints[i].key);
		free(definition->taints[i].value);
	}
	for (size_t i = 0; i < definition->score_count; i++)
		free(definition->scores[i].name);
	free(definition->scores);
	free(definition->labels);
	free(definition->compliance);
	free(definition->taints);
	free(definition->cell_id);
	free(definition->text);
	fields_free(members, MEMBER_COUNT, definition);
	free(definition);
}
