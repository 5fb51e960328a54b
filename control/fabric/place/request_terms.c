/* Terms of a request: what is tolerated, near to what and apart from what, how evenly, how much of what cells say. */
#include "control/fabric/place/request.h"

#include <stddef.h>
#include <stdlib.h>

enum { TERMS_MAX = 16, ID_MAX = 512 };

/* A text of a term, kept; one that is needed is not empty. */
#define TERM_LINE(struct_, name_, member, ...)                                                                         \
	{                                                                                                                  \
		.name = name_, .kind = FIELD_LINE, .maximum = ID_MAX, .is_kept = true,                                         \
		.offset = offsetof(struct struct_, member), __VA_ARGS__                                                        \
	}
#define NEEDED .is_required = true, .minimum = 1

/* INVALID, with the line: no such key. */
static enum status read_key(struct text text, const char *path, enum place_key *key, struct buffer *error)
{
	static const char *const names[] = {
#define PLACE_KEY_NAME(name, text, attribute) text,
		PLACE_KEY_LIST(PLACE_KEY_NAME)
#undef PLACE_KEY_NAME
	};
	int found = text_find_word(text, names, PLACE_KEY_COUNT);
	if (found < 0) {
		buffer_printf(error, "%s.topologyKey: must be cell, region, provider, zone, site or powerDomain", path);
		return STATUS_INVALID;
	}
	*key = (enum place_key)found;
	return STATUS_OK;
}

/* Room for one more of `size` bytes; NULL: out of memory. Zeroed. */
static void *add_term(void **items, size_t *count, size_t size)
{
	char *more = realloc(*items, (*count + 1) * size);
	if (more == NULL)
		return NULL;
	*items = more;
	return memset(more + size * (*count)++, 0, size);
}

static enum status read_toleration(void *context, const struct json *item, const char *path, struct buffer *error)
{
	static const struct field fields[] = {
		TERM_LINE(toleration, "key", key, NEEDED),
		TERM_LINE(toleration, "value", value, .minimum = 0),
	};
	struct place_request *request = context;
	struct toleration *made =
		add_term((void **)&request->tolerations, &request->toleration_count, sizeof(*request->tolerations));
	return made == NULL ? STATUS_NO_MEMORY : fields_read(fields, 2, item, path, made, error);
}

enum status request_read_tolerations(const struct json *value, const char *path, void *target, struct buffer *error)
{
	return fields_each(value, path, TERMS_MAX, read_toleration, target, error);
}

struct affinity_fields {
	char *to, *key;
	struct affinity made;
};

static enum status read_affinity_types(const struct json *value, const char *path, void *target, struct buffer *error)
{
	return cell_types_read(value, path, &((struct affinity_fields *)target)->made.types, error);
}

static enum status read_hard(const struct json *value, const char *path, void *target, struct buffer *error)
{
	return json_bool(value, &((struct affinity_fields *)target)->made.is_hard)
			   ? STATUS_OK
			   : field_wrong(error, path, "must be true or false");
}

static const struct field affinity_fields[] = {
	TERM_LINE(affinity_fields, "to", to, NEEDED),
	TERM_LINE(affinity_fields, "topologyKey", key, NEEDED),
	{.name = "types", .kind = FIELD_READ, .read = read_affinity_types},
	{.name = "hard", .kind = FIELD_READ, .read = read_hard},
};

static enum status judge_affinity(struct affinity_fields *read, const char *path, struct buffer *error)
{
	static const char *const whose[] = {"participant:self", "tenant:self", "standby:self"};
	int found = text_find_word(text_of(read->to), whose, 3);
	if (found < 0) {
		buffer_printf(error, "%s.to: must be participant:self, tenant:self or standby:self", path);
		return STATUS_INVALID;
	}
	read->made.whose = (enum place_whose)found;
	return read_key(text_of(read->key), path, &read->made.key, error);
}

static enum status read_affinity_term(
	const struct json *item, const char *path, struct place_request *request, bool is_anti, struct buffer *error)
{
	enum { COUNT = sizeof(affinity_fields) / sizeof(affinity_fields[0]) };
	struct affinity_fields read = {.made = {.types = (1U << VPA_TYPE_COUNT) - 1, .is_anti = is_anti}};
	enum status status = fields_read(affinity_fields, COUNT, item, path, &read, error);
	if (status == STATUS_OK)
		status = judge_affinity(&read, path, error);
	if (status == STATUS_OK) {
		struct affinity *made =
			add_term((void **)&request->affinities, &request->affinity_count, sizeof(*request->affinities));
		status = made == NULL ? STATUS_NO_MEMORY : STATUS_OK;
		if (made != NULL)
			*made = read.made;
	}
	fields_free(affinity_fields, COUNT, &read);
	return status;
}

static enum status read_near_term(void *request, const struct json *item, const char *path, struct buffer *error)
{
	return read_affinity_term(item, path, request, false, error);
}

static enum status read_apart_term(void *request, const struct json *item, const char *path, struct buffer *error)
{
	return read_affinity_term(item, path, request, true, error);
}

enum status request_read_affinity(const struct json *value, const char *path, void *target, struct buffer *error)
{
	return fields_each(value, path, TERMS_MAX, read_near_term, target, error);
}

enum status request_read_anti_affinity(const struct json *value, const char *path, void *target, struct buffer *error)
{
	return fields_each(value, path, TERMS_MAX, read_apart_term, target, error);
}

struct spread_fields {
	char *key, *when;
	int64_t max_skew;
};
static const struct field spread_fields[] = {
	TERM_LINE(spread_fields, "topologyKey", key, NEEDED),
	{.name = "maxSkew",
		.kind = FIELD_INTEGER,
		.minimum = 1,
		.maximum = 1000,
		.is_kept = true,
		.offset = offsetof(struct spread_fields, max_skew)},
	TERM_LINE(spread_fields, "when", when, .minimum = 1),
};

static enum status judge_spread(
	const struct spread_fields *read, const char *path, struct spread *made, struct buffer *error)
{
	static const char *const words[] = {"ScheduleAnyway", "DoNotSchedule"};
	int when = read->when == NULL ? 0 : text_find_word(text_of(read->when), words, 2);
	if (when < 0) {
		buffer_printf(error, "%s.when: must be DoNotSchedule or ScheduleAnyway", path);
		return STATUS_INVALID;
	}
	made->max_skew = read->max_skew;
	made->is_hard = when == 1;
	return read_key(text_of(read->key), path, &made->key, error);
}

static enum status read_spread_term(void *context, const struct json *item, const char *path, struct buffer *error)
{
	enum { COUNT = sizeof(spread_fields) / sizeof(spread_fields[0]) };
	struct place_request *request = context;
	struct spread_fields read = {.max_skew = 1};
	struct spread *made = add_term((void **)&request->spreads, &request->spread_count, sizeof(*request->spreads));
	enum status status = made == NULL ? STATUS_NO_MEMORY : fields_read(spread_fields, COUNT, item, path, &read, error);
	if (status == STATUS_OK)
		status = judge_spread(&read, path, made, error);
	fields_free(spread_fields, COUNT, &read);
	return status;
}

/* {"cost": 2, "external.gpu": 1} */
enum status request_read_weights(const struct json *value, const char *path, void *target, struct buffer *error)
{
	struct place_request *request = target;
	int64_t sum = 0;
	if (json_kind(value) != JSON_OBJECT)
		return field_wrong(error, path, "must be an object of numbers");
	for (const struct json *item = json_first(value); item != NULL; item = json_next(item)) {
		struct text name = text_of(json_name(item));
		int64_t weight;
		if (!cell_score_name_is_valid(name))
			return field_wrong(error, path, "each must be called cost, or external. and a name");
		if (!json_integer(item, &weight) || weight < 1 || weight > PLACE_WEIGHTS_MAX)
			return field_wrong(error, path, "each must be a number from 1 to 11");
		sum += weight;
		struct weigh *made = add_term((void **)&request->weights, &request->weight_count, sizeof(*request->weights));
		if (made == NULL)
			return STATUS_NO_MEMORY;
		*made = (struct weigh){text_copy(name), place_hash(name), (int)weight};
		if (made->name == NULL)
			return STATUS_NO_MEMORY;
	}
	return sum <= PLACE_WEIGHTS_MAX ? STATUS_OK : field_wrong(error, path, "must be 11 in all at most");
}

enum status request_read_spread(const struct json *value, const char *path, void *target, struct buffer *error)
{
	return fields_each(value, path, TERMS_MAX, read_spread_term, target, error);
}
