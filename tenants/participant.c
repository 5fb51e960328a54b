/* Participants: states, VPA types, and what their configuration entries mean. */
#include "tenants/participant.h"

#include <stdlib.h>
#include <string.h>

#include "tenants/participant_build.h"

enum { NETWORKS_MAX = 64, HOSTS_MAX = 32, HOST_LENGTH_MAX = 253, LIST_MAX = 8192 };

static const char *const state_names[] = {
#define STATE_NAME(name, number, text) text,
	PARTICIPANT_STATE_LIST(STATE_NAME)
#undef STATE_NAME
};
static const char *const vpa_names[] = {
#define VPA_NAME(name, text) text,
	VPA_LIST(VPA_NAME)
#undef VPA_NAME
};

const char *participant_state_name(enum participant_state state)
{
	return state_names[state];
}

bool participant_state_parse(struct text text, enum participant_state *state)
{
	int found = text_find_word(text, state_names, sizeof(state_names) / sizeof(state_names[0]));
	if (found < 0)
		return false;
	*state = (enum participant_state)found;
	return true;
}

const char *vpa_type_name(enum vpa_type type)
{
	return vpa_names[type];
}

bool vpa_type_parse(struct text text, enum vpa_type *type)
{
	int found = text_find_word(text, vpa_names, VPA_TYPE_COUNT);
	if (found < 0)
		return false;
	*type = (enum vpa_type)found;
	return true;
}

struct address_rules participant_address_rules(const struct participant *participant)
{
	return (struct address_rules){participant->allowed_networks, participant->allowed_network_count};
}

/* --- configuration entries: each is a text; `error` gets one line that names the entry */

static const struct {
	const char *entry;
	size_t offset;
} limit_entries[] = {
	{"celld.limits.requestsPerSecond", offsetof(struct tenant_limits, requests_per_second)},
	{"celld.limits.bytesPerSecond", offsetof(struct tenant_limits, bytes_per_second)},
	{"celld.limits.streams", offsetof(struct tenant_limits, streams)},
	{"celld.limits.connections", offsetof(struct tenant_limits, connections)},
	{"celld.weight", offsetof(struct tenant_limits, weight)},
};

static enum status read_limits(const struct json *entries, struct tenant_limits *limits, struct buffer *error)
{
	for (size_t i = 0; i < sizeof(limit_entries) / sizeof(limit_entries[0]); i++) {
		struct text value = json_member_text(entries, limit_entries[i].entry);
		uint64_t number;
		if (value.bytes == NULL)
			continue;
		if (text_to_unsigned(value, (uint64_t)1 << 50, &number) != STATUS_OK || number == 0)
			return buffer_invalid(error, limit_entries[i].entry, "must be a decimal number above 0");
		*(int64_t *)(void *)((char *)limits + limit_entries[i].offset) = (int64_t)number;
	}
	if (limits->weight > 1000)
		return buffer_invalid(error, "celld.weight", "must be 1 to 1000");
	return STATUS_OK;
}

static enum status read_networks(const struct json *entries, struct participant *participant, struct buffer *error)
{
	struct network networks[NETWORKS_MAX];
	struct text rest = json_member_text(entries, "celld.http.allow"), part;
	size_t count = 0;
	for (bool done = rest.length == 0; text_next_part(&rest, ',', &part, &done);) {
		if (count == NETWORKS_MAX || network_parse(text_trim(part), &networks[count]) != STATUS_OK)
			return buffer_invalid(
				error, "celld.http.allow", "must be a comma list of at most 64 networks like 10.1.0.0/16");
		count++;
	}
	if (count == 0)
		return STATUS_OK;
	participant->allowed_networks = malloc(count * sizeof(networks[0]));
	if (participant->allowed_networks == NULL)
		return STATUS_NO_MEMORY;
	memcpy(participant->allowed_networks, networks, count * sizeof(networks[0]));
	participant->allowed_network_count = count;
	return STATUS_OK;
}

static bool is_host(struct text host)
{
	for (size_t i = 0; i < host.length; i++) {
		char byte = host.bytes[i];
		if (!((byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' || byte == '.'))
			return false;
	}
	return host.length > 0 && host.length <= HOST_LENGTH_MAX;
}

static enum status read_hosts(const struct json *entries, struct participant *participant, struct buffer *error)
{
	struct text rest = json_member_text(entries, "celld.hosts"), part;
	if (rest.length == 0)
		return STATUS_OK;
	participant->hosts = calloc(HOSTS_MAX, sizeof(char *));
	if (participant->hosts == NULL)
		return STATUS_NO_MEMORY;
	for (bool done = false; text_next_part(&rest, ',', &part, &done);) {
		part = text_trim(part);
		if (participant->host_count == HOSTS_MAX || !is_host(part))
			return buffer_invalid(error, "celld.hosts", "must be a comma list of at most 32 lower-case host names");
		participant->hosts[participant->host_count] = text_copy(part);
		if (participant->hosts[participant->host_count++] == NULL)
			return STATUS_NO_MEMORY;
	}
	return STATUS_OK;
}

static enum status read_vpas(const struct json *entries, struct participant *participant, struct buffer *error)
{
	struct text rest = json_member_text(entries, "celld.vpas"), part;
	participant->vpas = (1U << VPA_TYPE_COUNT) - 1;
	if (rest.length == 0)
		return STATUS_OK;
	participant->vpas = 0;
	for (bool done = false; text_next_part(&rest, ',', &part, &done);) {
		enum vpa_type type;
		if (!vpa_type_parse(text_trim(part), &type))
			return buffer_invalid(error, "celld.vpas",
				"must be a comma list of cfm.connector, cfm.credentialservice, cfm.dataplane, cfm.issuer");
		participant->vpas |= 1U << type;
	}
	return STATUS_OK;
}

static enum status read_flag(const struct json *entries, const char *entry, bool *flag, struct buffer *error)
{
	struct text value = json_member_text(entries, entry);
	*flag = text_equals(value, TEXT("true"));
	return value.bytes == NULL || *flag || text_equals(value, TEXT("false"))
			   ? STATUS_OK
			   : buffer_invalid(error, entry, "must be \"true\" or \"false\"");
}

/* A comma list of words. */
static enum status read_list(const struct json *entries, const char *entry, char **list, struct buffer *error)
{
	struct text value = json_member_text(entries, entry), rest = value, part;
	if (value.bytes == NULL)
		return STATUS_OK;
	bool is_good = value.length <= LIST_MAX;
	for (bool done = false; is_good && text_next_part(&rest, ',', &part, &done);)
		is_good = text_trim(part).length > 0;
	if (!is_good)
		return buffer_invalid(error, entry, "must be a comma list of at most 8192 bytes");
	*list = text_copy(value);
	return *list == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status read_signaling(const struct json *entries, struct signaling_rules *rules, struct buffer *error)
{
	enum status status = read_flag(entries, "celld.dps.clear", &rules->allows_clear, error);
	if (status == STATUS_OK)
		status = read_flag(entries, "celld.dps.renewal.required", &rules->needs_renewal, error);
	if (status == STATUS_OK)
		status = read_list(entries, "celld.dps.profiles", &rules->profiles, error);
	if (status == STATUS_OK)
		status = read_list(entries, "celld.dps.participant.ids", &rules->participants, error);
	return status;
}

static bool is_listed(const char *list, struct text wanted)
{
	struct text rest = text_of(list), part;
	for (bool done = false; text_next_part(&rest, ',', &part, &done);) {
		if (wanted.length > 0 && text_equals(text_trim(part), wanted))
			return true;
	}
	return false;
}

bool participant_has_profile(const struct participant *participant, struct text profile)
{
	const char *list = participant->signaling.profiles;
	return list != NULL && is_listed(list, profile);
}

bool participant_is_named(const struct participant *participant, struct text name)
{
	const char *list = participant->signaling.participants;
	return text_equals(name, text_of(participant->identity)) || (list != NULL && is_listed(list, name));
}

static enum status read_region(const struct json *entries, struct participant *participant, struct buffer *error)
{
	struct text region = json_member_text(entries, "celld.region");
	if (region.length == 0)
		return STATUS_OK;
	for (size_t i = 0; i < region.length; i++) {
		if ((unsigned char)region.bytes[i] < 0x21 || (unsigned char)region.bytes[i] > 0x7e || region.length > 128)
			return buffer_invalid(error, "celld.region", "must be 1 to 128 visible ASCII characters");
	}
	participant->region = text_copy(region);
	return participant->region == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status read_entries(const struct json *entries, struct participant *participant, struct buffer *error)
{
	enum status status = read_limits(entries, &participant->limits, error);
	if (status == STATUS_OK)
		status = read_networks(entries, participant, error);
	if (status == STATUS_OK)
		status = read_hosts(entries, participant, error);
	if (status == STATUS_OK)
		status = read_vpas(entries, participant, error);
	if (status == STATUS_OK)
		status = read_signaling(entries, &participant->signaling, error);
	if (status == STATUS_OK)
		status = read_region(entries, participant, error);
	return status;
}

/* Frees what it holds, not the struct. */
static void drop(struct participant *participant)
{
	for (size_t i = 0; i < participant->host_count; i++)
		free(participant->hosts[i]);
	free(participant->hosts);
	for (size_t i = 0; i < participant->key_count; i++)
		key_free(participant->keys[i]);
	free(participant->keys);
	free(participant->allowed_networks);
	free(participant->signaling.profiles);
	free(participant->signaling.participants);
	free(participant->identity);
	free(participant->region);
	free(participant->body);
	free(participant->config);
}

enum status participant_check_config(const struct json *config, struct buffer *error)
{
	struct participant scratch = {0};
	enum status status = read_entries(json_member(config, "entries"), &scratch, error);
	drop(&scratch);
	return status;
}

/* --- snapshots */

void participant_free(void *object)
{
	if (object == NULL)
		return;
	drop(object);
	free(object);
}

static enum status read_body(struct participant *participant, struct text body)
{
	struct json *root = NULL;
	enum status status = json_parse(body, NULL, &root);
	if (status != STATUS_OK)
		return status;
	struct text identity = json_member_text(root, "identity");
	participant->identity = text_copy(identity.bytes == NULL ? TEXT("") : identity);
	participant->body = text_copy(body);
	json_integer(json_member(root, "createdAt"), &participant->created_ms);
	if (!participant_state_parse(json_member_text(root, "state"), &participant->state))
		status = STATUS_INVALID;
	json_free(root);
	return participant->identity == NULL || participant->body == NULL ? STATUS_NO_MEMORY : status;
}

static enum status read_config(struct participant *participant, struct text config)
{
	struct json *root = NULL;
	struct buffer ignored = {0};
	enum status status = config.bytes == NULL ? STATUS_OK : json_parse(config, NULL, &root);
	if (status == STATUS_OK)
		status = read_entries(json_member(root, "entries"), participant, &ignored);
	json_free(root);
	buffer_free(&ignored);
	if (status == STATUS_OK && config.bytes != NULL) {
		participant->config = text_copy(config);
		status = participant->config == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	}
	return status;
}

enum status participant_build(struct text ctx, struct text body, struct text config, struct key *const *keys,
	size_t key_count, struct participant **participant)
{
	struct participant *made = calloc(1, sizeof(*made));
	if (made == NULL || ctx.length != ID_LENGTH) {
		free(made);
		return made == NULL ? STATUS_NO_MEMORY : STATUS_INVALID;
	}
	memcpy(made->ctx, ctx.bytes, ID_LENGTH);
	enum status status = read_body(made, body);
	if (status == STATUS_OK)
		status = read_config(made, config);
	if (status == STATUS_OK && key_count > 0) {
		made->keys = calloc(key_count, sizeof(struct key *));
		status = made->keys == NULL ? STATUS_NO_MEMORY : STATUS_OK;
		for (size_t i = 0; i < key_count && status == STATUS_OK; i++) {
			key_ref(keys[i]);
			made->keys[made->key_count++] = keys[i];
		}
	}
	if (status != STATUS_OK) {
		participant_free(made);
		return status;
	}
	*participant = made;
	return STATUS_OK;
}
