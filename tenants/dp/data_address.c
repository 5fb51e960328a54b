/* DataAddress: reading and printing. */
#include "tenants/dp/data_address.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/secret.h"

enum { PROPERTIES_MAX = 64, NAME_MAX_LENGTH = 256, VALUE_MAX = 16384, ENDPOINT_MAX = 4096 };

struct data_address {
	char *type, *endpoint;
	struct {
		char *name, *value;
	} properties[PROPERTIES_MAX];
	size_t count;
};

/* name on the wire: its other spellings end in it, behind one of these */
static const char *const namespaces[] = {
	"https://w3id.org/edc/v0.0.1/ns/", "https://w3id.org/tractusx/auth/", "tx-auth:", "edc:"};
static const char *const secrets[] = {"authorization", "refreshToken"};

static bool is_named(struct text spelling, struct text name)
{
	if (text_equals(spelling, name))
		return true;
	for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++) {
		struct text start = text_of(namespaces[i]);
		if (text_starts_with(spelling, start) && text_equals(text_slice(spelling, start.length, spelling.length), name))
			return true;
	}
	return false;
}

static bool is_secret(struct text spelling)
{
	for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
		if (is_named(spelling, text_of(secrets[i])))
			return true;
	}
	return false;
}

static enum status wrong(struct buffer *error, const char *member, const char *what)
{
	buffer_printf(error, "dataAddress.%s: %s", member, what);
	return STATUS_INVALID;
}

static bool has_control(struct text text)
{
	for (size_t i = 0; i < text.length; i++) {
		if ((unsigned char)text.bytes[i] < 0x20 || text.bytes[i] == 0x7f)
			return true;
	}
	return false;
}

static void free_secretly(char *text)
{
	if (text != NULL)
		wipe(text, strlen(text));
	free(text);
}

bool data_address_add(struct data_address *address, struct text name, struct text value)
{
	if (address->count == PROPERTIES_MAX)
		return false;
	char *name_copy = text_copy(name), *value_copy = text_copy(value);
	if (name_copy == NULL || value_copy == NULL) {
		free(name_copy);
		free_secretly(value_copy);
		return false;
	}
	address->properties[address->count].name = name_copy;
	address->properties[address->count++].value = value_copy;
	return true;
}

bool data_address_set(struct data_address *address, const char *name, struct text value)
{
	bool is_there = false;
	for (size_t i = 0; i < address->count; i++) {
		if (!is_named(text_of(address->properties[i].name), text_of(name)))
			continue;
		char *copy = text_copy(value);
		if (copy == NULL)
			return false;
		free_secretly(address->properties[i].value);
		address->properties[i].value = copy;
		is_there = true;
	}
	return is_there || data_address_add(address, text_of(name), value);
}

struct data_address *data_address_new(struct text endpoint_type, struct text endpoint)
{
	struct data_address *address = calloc(1, sizeof(*address));
	if (address == NULL)
		return NULL;
	address->type = text_copy(endpoint_type);
	address->endpoint = endpoint.bytes == NULL ? NULL : text_copy(endpoint);
	if (address->type != NULL && (endpoint.bytes == NULL || address->endpoint != NULL))
		return address;
	data_address_free(address);
	return NULL;
}

static enum status read_properties(const struct json *list, struct data_address *address, struct buffer *error)
{
	if (list == NULL)
		return STATUS_OK;
	if (json_kind(list) != JSON_ARRAY || json_count(list) > PROPERTIES_MAX)
		return wrong(error, "endpointProperties", "must be an array of at most 64 objects");
	for (const struct json *item = json_first(list); item != NULL; item = json_next(item)) {
		struct text name = json_member_text(item, "name"), value = json_member_text(item, "value");
		if (name.length == 0 || name.length > NAME_MAX_LENGTH || has_control(name))
			return wrong(error, "endpointProperties", "each needs a name");
		if (value.bytes == NULL || value.length > VALUE_MAX || has_control(value))
			return wrong(error, "endpointProperties", "each needs a value, a text of at most 16384 bytes");
		if (!data_address_add(address, name, value))
			return STATUS_NO_MEMORY;
	}
	return STATUS_OK;
}

enum status data_address_parse(const struct json *body, struct data_address **address, struct buffer *error)
{
	if (body == NULL || json_kind(body) != JSON_OBJECT) {
		buffer_printf(error, "dataAddress: must be an object");
		return STATUS_INVALID;
	}
	struct text type = json_member_text(body, "endpointType"), endpoint = json_member_text(body, "endpoint");
	if (type.length == 0 || type.length > NAME_MAX_LENGTH || has_control(type))
		return wrong(error, "endpointType", "must be a text");
	if (json_member(body, "endpoint") != NULL &&
		(endpoint.length == 0 || endpoint.length > ENDPOINT_MAX || has_control(endpoint)))
		return wrong(error, "endpoint", "must be a URL");
	struct data_address *made = data_address_new(type, endpoint);
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = read_properties(json_member(body, "endpointProperties"), made, error);
	if (status != STATUS_OK) {
		data_address_free(made);
		return status;
	}
	*address = made;
	return STATUS_OK;
}

struct text data_address_type(const struct data_address *address)
{
	return text_of(address->type);
}

struct text data_address_endpoint(const struct data_address *address)
{
	return address->endpoint == NULL ? TEXT_NONE : text_of(address->endpoint);
}

struct text data_address_property(const struct data_address *address, const char *name)
{
	for (size_t i = 0; i < address->count; i++) {
		if (is_named(text_of(address->properties[i].name), text_of(name)))
			return text_of(address->properties[i].value);
	}
	return TEXT_NONE;
}

bool data_address_has_secrets(const struct data_address *address)
{
	for (size_t i = 0; i < address->count; i++) {
		if (is_secret(text_of(address->properties[i].name)))
			return true;
	}
	return false;
}

void data_address_print(const struct data_address *address, bool with_secrets, struct buffer *into)
{
	const char *separator = ",\"endpointProperties\":[";
	bool has_list = false;
	buffer_append(into, TEXT("{\"@type\":\"DataAddress\",\"endpointType\":"));
	buffer_append_json(into, text_of(address->type));
	if (address->endpoint != NULL) {
		buffer_append(into, TEXT(",\"endpoint\":"));
		buffer_append_json(into, text_of(address->endpoint));
	}
	for (size_t i = 0; i < address->count; i++) {
		if (!with_secrets && is_secret(text_of(address->properties[i].name)))
			continue;
		buffer_append(into, text_of(separator));
		buffer_append(into, TEXT("{\"@type\":\"EndpointProperty\",\"name\":"));
		buffer_append_json(into, text_of(address->properties[i].name));
		buffer_append(into, TEXT(",\"value\":"));
		buffer_append_json(into, text_of(address->properties[i].value));
		buffer_append_byte(into, '}');
		separator = ",";
		has_list = true;
	}
	buffer_append(into, has_list ? TEXT("]}") : TEXT("}"));
}

void data_address_free(struct data_address *address)
{
	if (address == NULL)
		return;
	for (size_t i = 0; i < address->count; i++) {
		free(address->properties[i].name);
		free_secretly(address->properties[i].value);
	}
	free(address->type);
	free(address->endpoint);
	free(address);
}
