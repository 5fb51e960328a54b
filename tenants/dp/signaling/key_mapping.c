/* Key mappings: read, printed, found. */
#include "tenants/dp/signaling/key_mapping.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/id.h"
#include "tenants/dp/state.h"

enum { ALIAS_MAX = 256, KID_MAX = 512 };

static bool is_visible(struct text text, size_t limit)
{
	for (size_t i = 0; i < text.length; i++) {
		if ((unsigned char)text.bytes[i] < 0x21 || (unsigned char)text.bytes[i] > 0x7e)
			return false;
	}
	return text.length > 0 && text.length <= limit;
}

static enum status read_text(const struct json *body, const char *name, size_t limit, char **into, struct buffer *error)
{
	struct text value = json_member_text(body, name);
	if (!is_visible(value, limit)) {
		buffer_printf(error, "%s: must be 1 to %zu visible ASCII characters", name, limit);
		return STATUS_INVALID;
	}
	*into = text_copy(value);
	return *into == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status check_members(const struct json *body, bool strict, struct buffer *error)
{
	static const char *const known[] = {"participantContextId", "keyName", "kid"};
	for (const struct json *value = json_first(body); value != NULL; value = json_next(value)) {
		bool is_known = !strict && strcmp(json_name(value), "createdAt") == 0;
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
			is_known |= strcmp(json_name(value), known[i]) == 0;
		if (!is_known) {
			buffer_printf(error, "%s: unknown member", json_name(value));
			return STATUS_INVALID;
		}
	}
	if (id_is_valid(json_member_text(body, "participantContextId")))
		return STATUS_OK;
	buffer_printf(error, "participantContextId: must be 32 lower-case hex characters");
	return STATUS_INVALID;
}

enum status key_mapping_build(const struct json *body, bool strict, struct key_mapping **mapping, struct buffer *error)
{
	if (body == NULL || json_kind(body) != JSON_OBJECT) {
		buffer_printf(error, "body: must be a JSON object");
		return STATUS_INVALID;
	}
	enum status status = check_members(body, strict, error);
	if (status != STATUS_OK)
		return status;
	struct key_mapping *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->ctx = text_copy(json_member_text(body, "participantContextId"));
	status = made->ctx == NULL ? STATUS_NO_MEMORY : read_text(body, "keyName", ALIAS_MAX, &made->key_name, error);
	if (status == STATUS_OK)
		status = read_text(body, "kid", KID_MAX, &made->kid, error);
	if (status != STATUS_OK) {
		key_mapping_free(made);
		return status;
	}
	json_integer(json_member(body, "createdAt"), &made->created_ms);
	*mapping = made;
	return STATUS_OK;
}

void key_mapping_free(void *object)
{
	struct key_mapping *mapping = object;
	if (mapping == NULL)
		return;
	free(mapping->ctx);
	free(mapping->key_name);
	free(mapping->kid);
	free(mapping);
}

void key_mapping_print(const struct key_mapping *mapping, bool is_record, struct buffer *into)
{
	buffer_append(into, TEXT("{\"participantContextId\":"));
	buffer_append_json(into, text_of(mapping->ctx));
	buffer_append(into, TEXT(",\"keyName\":"));
	buffer_append_json(into, text_of(mapping->key_name));
	buffer_append(into, TEXT(",\"kid\":"));
	buffer_append_json(into, text_of(mapping->kid));
	if (is_record) {
		buffer_append(into, TEXT(",\"createdAt\":"));
		buffer_append_number(into, mapping->created_ms);
	}
	buffer_append_byte(into, '}');
}

const struct key_mapping *key_mapping_find(const struct dp *dp, struct text ctx)
{
	const struct key_mapping *own = dp_find(dp, DP_KEY_MAPPINGS, ctx, KEY_MAPPING_ID);
	return own != NULL ? own : dp_find(dp, DP_KEY_MAPPINGS, KEY_MAPPING_WAITING, ctx);
}
