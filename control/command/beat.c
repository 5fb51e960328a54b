/* Heartbeats: the parser, and the other way round. */
#include "control/command/beat.h"

#include "server/base/json.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A figure above it is no figure. */
static const int64_t figure_max = 4000000000;
static const struct json_limits limits = {BEAT_BYTES_MAX, 6, 400};

static const char *const component_names[] = {
#define COMPONENT_NAME(name, text, title) text,
	BEAT_COMPONENT_LIST(COMPONENT_NAME)
#undef COMPONENT_NAME
};
static const char *const component_titles[] = {
#define COMPONENT_TITLE(name, text, title) title,
	BEAT_COMPONENT_LIST(COMPONENT_TITLE)
#undef COMPONENT_TITLE
};
static const char *const store_names[] = {
#define STORE_NAME(name, text, title) text,
	BEAT_STORE_LIST(STORE_NAME)
#undef STORE_NAME
};
static const char *const store_titles[] = {
#define STORE_TITLE(name, text, title) title,
	BEAT_STORE_LIST(STORE_TITLE)
#undef STORE_TITLE
};
static const char *const store_state_names[] = {
#define STORE_STATE_NAME(name, text) text,
	BEAT_STORE_STATE_LIST(STORE_STATE_NAME)
#undef STORE_STATE_NAME
};
static const char *const state_names[] = {
#define STATE_NAME(name, text) text,
	BEAT_STATE_LIST(STATE_NAME)
#undef STATE_NAME
};
static const char *const vpa_names[] = {
#define VPA_NAME(name, text) text,
	VPA_LIST(VPA_NAME)
#undef VPA_NAME
};

const char *beat_component_title(enum beat_component component)
{
	return component_titles[component];
}

const char *beat_component_name(enum beat_component component)
{
	return component_names[component];
}

const char *beat_store_title(enum beat_store store)
{
	return store_titles[store];
}

const char *beat_store_name(enum beat_store store)
{
	return store_names[store];
}

const char *beat_store_state_name(enum beat_store_state state)
{
	return store_state_names[state];
}

const char *beat_state_name(enum beat_state state)
{
	return state_names[state];
}

/* --- parsing. Each reader has its index in the figures, and says whether the value is one. */

static bool read_number(const struct json *node, int64_t maximum, uint32_t *into)
{
	int64_t value;
	if (!json_integer(node, &value) || value < 0 || value > maximum)
		return false;
	*into = (uint32_t)value;
	return true;
}

/* The numbers of an array of exactly `count`. */
static bool read_numbers(const struct json *array, int64_t maximum, uint32_t *into, size_t count)
{
	const struct json *item = json_first(array);
	if (json_kind(array) != JSON_ARRAY || json_count(array) != count)
		return false;
	for (size_t i = 0; i < count; i++, item = json_next(item)) {
		if (!read_number(item, maximum, &into[i]))
			return false;
	}
	return true;
}

static bool read_vpas(struct beat_figures *figures, size_t index, const struct json *value)
{
	return read_number(value, figure_max, &figures->vpas[index]);
}

static bool read_replicas(struct beat_figures *figures, size_t index, const struct json *value)
{
	uint32_t pair[2];
	if (!read_numbers(value, UINT16_MAX, pair, 2))
		return false;
	figures->ready[index] = (uint16_t)pair[0];
	figures->desired[index] = (uint16_t)pair[1];
	return true;
}

static bool read_rate(struct beat_figures *figures, size_t index, const struct json *value)
{
	return read_number(value, figure_max, &figures->rate[index]);
}

static bool read_latency(struct beat_figures *figures, size_t index, const struct json *value)
{
	return read_numbers(value, figure_max, figures->latency_us[index], 3);
}

static bool read_errors(struct beat_figures *figures, size_t index, const struct json *value)
{
	return read_number(value, 1000000, &figures->errors_ppm[index]);
}

static bool read_store(struct beat_figures *figures, size_t index, const struct json *value)
{
	const struct json *state = json_first(value);
	if (json_kind(value) != JSON_ARRAY || json_count(value) != 2 ||
		!read_number(json_next(state), figure_max, &figures->store_us[index]))
		return false;
	int found = text_find_word(json_text(state), store_state_names, COUNT(store_state_names));
	if (found < 0)
		return false;
	figures->store_state[index] = (uint8_t)found;
	return true;
}

enum load { LOAD_CPU, LOAD_MEMORY, LOAD_REQUESTS, LOAD_MEGABITS, LOAD_CONNECTIONS };
static const char *const load_names[] = {"cpu", "mem", "rps", "mbps", "conn"};

static bool read_load(struct beat_figures *figures, size_t index, const struct json *value)
{
	uint32_t number = 0;
	if (!read_number(value, index <= LOAD_MEMORY ? 100 : figure_max, &number))
		return false;
	switch ((enum load)index) {
	case LOAD_CPU:
		figures->cpu = (uint8_t)number;
		break;
	case LOAD_MEMORY:
		figures->memory = (uint8_t)number;
		break;
	case LOAD_REQUESTS:
		figures->requests = number;
		break;
	case LOAD_MEGABITS:
		figures->megabits = number;
		break;
	case LOAD_CONNECTIONS:
		figures->connections = number;
		break;
	}
	return true;
}

static const struct group {
	const char *name;
	const char *const *members;
	size_t count;
	bool (*read)(struct beat_figures *figures, size_t index, const struct json *value);
} groups[] = {
	{"vpas", vpa_names, COUNT(vpa_names), read_vpas},
	{"comp", component_names, COUNT(component_names), read_replicas},
	{"infra", store_names, COUNT(store_names), read_store},
	{"load", load_names, COUNT(load_names), read_load},
	{"rate", component_names, COUNT(component_names), read_rate},
	{"lat", component_names, COUNT(component_names), read_latency},
	{"err", component_names, COUNT(component_names), read_errors},
};

static bool read_group(const struct group *group, const struct json *object, struct beat_figures *figures)
{
	if (json_kind(object) != JSON_OBJECT)
		return false;
	for (const struct json *member = json_first(object); member != NULL; member = json_next(member)) {
		for (size_t i = 0; i < group->count; i++) {
			if (strcmp(json_name(member), group->members[i]) == 0 && !group->read(figures, i, member))
				return false;
		}
	}
	return true;
}

static bool read_state(const struct json *root, struct beat_figures *figures)
{
	const struct json *state = json_member(root, "st");
	if (state == NULL)
		return true;
	int found = text_find_word(json_text(state), state_names, COUNT(state_names));
	if (found < 0)
		return false;
	figures->state = (uint8_t)found;
	return true;
}

static bool read_count(const struct json *node, int64_t *into)
{
	return json_integer(node, into) && *into >= 0 && *into <= BEAT_COUNT_MAX;
}

static bool read_orders(const struct json *orders, struct beat *beat)
{
	const struct json *term = json_member(orders, "term"), *seq = json_member(orders, "seq");
	return orders == NULL || (json_kind(orders) == JSON_OBJECT && (term == NULL || read_count(term, &beat->term)) &&
								 (seq == NULL || read_count(seq, &beat->applied)));
}

static bool read_beat(const struct json *root, struct beat *beat)
{
	struct text cell = json_member_text(root, "c"), incarnation = json_member_text(root, "inc");
	int64_t version;
	if (!json_integer(json_member(root, "v"), &version) || version != 1 || !name_is_valid(cell, BEAT_CELL_MAX) ||
		!id_is_valid(incarnation) || !read_count(json_member(root, "ep"), &beat->epoch) ||
		!json_integer(json_member(root, "n"), &beat->number) || beat->number < 0 ||
		!read_orders(json_member(root, "cmd"), beat) || !read_state(root, &beat->figures))
		return false;
	memcpy(beat->cell, cell.bytes, cell.length);
	memcpy(beat->incarnation, incarnation.bytes, incarnation.length);
	for (size_t i = 0; i < COUNT(groups); i++) {
		const struct json *object = json_member(root, groups[i].name);
		if (object != NULL && !read_group(&groups[i], object, &beat->figures))
			return false;
	}
	return true;
}

enum status beat_parse(struct text text, struct beat *beat)
{
	struct json *root;
	enum status status = json_parse(text, &limits, &root);
	if (status != STATUS_OK)
		return status;
	*beat = (struct beat){.epoch = 0};
	bool is_read = read_beat(root, beat);
	json_free(root);
	return is_read ? STATUS_OK : STATUS_INVALID;
}

/* --- printing */

static void print_components(const struct beat_figures *figures, struct buffer *into, const char *name,
	void (*print)(const struct beat_figures *figures, size_t index, struct buffer *into))
{
	bool is_first = true;
	buffer_printf(into, ",\"%s\":{", name);
	for (size_t i = 0; i < BEAT_COMPONENT_COUNT; i++) {
		if (figures->desired[i] == 0)
			continue;
		buffer_printf(into, "%s\"%s\":", is_first ? "" : ",", component_names[i]);
		print(figures, i, into);
		is_first = false;
	}
	buffer_append_byte(into, '}');
}

static void print_replicas(const struct beat_figures *figures, size_t index, struct buffer *into)
{
	buffer_printf(into, "[%u,%u]", figures->ready[index], figures->desired[index]);
}

static void print_rate(const struct beat_figures *figures, size_t index, struct buffer *into)
{
	buffer_append_number(into, figures->rate[index]);
}

static void print_latency(const struct beat_figures *figures, size_t index, struct buffer *into)
{
	const uint32_t *latency = figures->latency_us[index];
	buffer_printf(into, "[%u,%u,%u]", latency[0], latency[1], latency[2]);
}

static void print_errors(const struct beat_figures *figures, size_t index, struct buffer *into)
{
	buffer_append_number(into, figures->errors_ppm[index]);
}

void beat_print(const struct beat *beat, struct buffer *into)
{
	const struct beat_figures *figures = &beat->figures;
	buffer_printf(into, "{\"v\":1,\"c\":\"%s\",\"inc\":\"%s\",\"ep\":%lld,\"n\":%lld,\"st\":\"%s\",\"vpas\":{",
		beat->cell, beat->incarnation, (long long)beat->epoch, (long long)beat->number, state_names[figures->state]);
	for (size_t i = 0; i < VPA_TYPE_COUNT; i++)
		buffer_printf(into, "%s\"%s\":%u", i == 0 ? "" : ",", vpa_names[i], figures->vpas[i]);
	buffer_append_byte(into, '}');
	print_components(figures, into, "comp", print_replicas);
	for (size_t i = 0; i < BEAT_STORE_COUNT; i++)
		buffer_printf(into, "%s\"%s\":[\"%s\",%u]", i == 0 ? ",\"infra\":{" : ",", store_names[i],
			store_state_names[figures->store_state[i]], figures->store_us[i]);
	buffer_printf(into, "},\"load\":{\"cpu\":%u,\"mem\":%u,\"rps\":%u,\"mbps\":%u,\"conn\":%u}", figures->cpu,
		figures->memory, figures->requests, figures->megabits, figures->connections);
	buffer_printf(into, ",\"cmd\":{\"term\":%lld,\"seq\":%lld}", (long long)beat->term, (long long)beat->applied);
	print_components(figures, into, "rate", print_rate);
	print_components(figures, into, "lat", print_latency);
	print_components(figures, into, "err", print_errors);
	buffer_append_byte(into, '}');
}
