/* Transfer types: strict in what a document may hold, since addresses are made of it. */
#include "tenants/dp/signaling/transfer_types.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/id.h"
#include "server/url.h"
#include "tenants/dp/state.h"

enum { NAME_MAX_BYTES = 256, VALUE_MAX = 1024, URL_MAX = 2048 };
#define HTTP_PROFILE "https://w3id.org/dspace-sig/profile/http"
#define LEGACY_TYPE "https://w3id.org/idsa/v4.1/HTTP"

/* What a tenant without a document serves: the HTTP profile, its short names, and the names of EDC and CFM (dps.md
 * 4.1). */
static const struct transfer_type built_in[] = {
	{.profile = HTTP_PROFILE "-pull", .endpoint_type = HTTP_PROFILE "-pull"},
	{.profile = HTTP_PROFILE "-push", .endpoint_type = HTTP_PROFILE "-push"},
	{.profile = "http-pull", .endpoint_type = HTTP_PROFILE "-pull"},
	{.profile = "http-push", .endpoint_type = HTTP_PROFILE "-push"},
	{.profile = "HttpData-PULL", .endpoint_type = LEGACY_TYPE, .has_tx_renewal = true},
	{.profile = "HttpData-PUSH", .endpoint_type = LEGACY_TYPE},
	{.profile = "https://w3id.org/dspace-sig/profile/s3-push",
		.endpoint_type = "https://w3id.org/dspace-sig/profile/s3-push"},
	{.profile = "AmazonS3-PUSH", .endpoint_type = "AmazonS3"},
};

/* --- reading one document */

/* The members of one object: each reads its value into the object under construction. */
struct member {
	const char *name;
	bool is_required;
	enum status (*read)(const struct json *value, void *into, struct buffer *error);
};

static enum status wrong(const char *member, const char *what, struct buffer *error)
{
	buffer_printf(error, "%s: %s", member, what);
	return STATUS_INVALID;
}

static bool is_given(const struct json *value)
{
	return value != NULL && json_kind(value) != JSON_NULL;
}

static enum status read_object(
	const struct json *object, const struct member *members, size_t count, void *into, struct buffer *error)
{
	for (const struct json *value = json_first(object); value != NULL; value = json_next(value)) {
		size_t i = 0;
		while (i < count && strcmp(members[i].name, json_name(value)) != 0)
			i++;
		if (i == count)
			return wrong(json_name(value), "unknown member", error);
	}
	for (size_t i = 0; i < count; i++) {
		const struct json *value = json_member(object, members[i].name);
		if (!is_given(value) && members[i].is_required)
			return wrong(members[i].name, "is missing", error);
		enum status status = is_given(value) ? members[i].read(value, into, error) : STATUS_OK;
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

static bool is_plain(struct text text, size_t limit)
{
	for (size_t i = 0; i < text.length; i++) {
		if ((unsigned char)text.bytes[i] < 0x20 || (unsigned char)text.bytes[i] == 0x7f)
			return false;
	}
	return text.length > 0 && text.length <= limit;
}

static enum status keep(struct text text, const char **into)
{
	*into = text_copy(text);
	return *into == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status keep_url(const struct json *value, const char **into, struct buffer *error)
{
	struct url url;
	if (json_text(value).length > URL_MAX || url_parse(json_text(value), &url) != STATUS_OK)
		return wrong(json_name(value), "must be an http or https URL", error);
	return keep(json_text(value), into);
}

/* --- {"key","value","endpoint"} */

static enum status read_key(const struct json *value, void *into, struct buffer *error)
{
	struct endpoint_choice *choice = into;
	if (!is_plain(json_text(value), NAME_MAX_BYTES))
		return wrong("key", "must be 1 to 256 bytes of text", error);
	return keep(json_text(value), &choice->key);
}

static enum status read_value(const struct json *value, void *into, struct buffer *error)
{
	struct endpoint_choice *choice = into;
	if (!is_plain(json_text(value), VALUE_MAX))
		return wrong("value", "must be 1 to 1024 bytes of text", error);
	return keep(json_text(value), &choice->value);
}

static enum status read_choice_endpoint(const struct json *value, void *into, struct buffer *error)
{
	return keep_url(value, &((struct endpoint_choice *)into)->endpoint, error);
}

static const struct member choice_members[] = {
	{"key", true, read_key}, {"value", true, read_value}, {"endpoint", true, read_choice_endpoint}};

/* --- one transfer type */

static enum status read_type(const struct json *value, void *into, struct buffer *error)
{
	const struct transfer_type *type = into;
	return text_equals(json_text(value), text_of(type->profile))
			   ? STATUS_OK
			   : wrong("transferType", "must be the name its mapping stands under", error);
}

static enum status read_endpoint_type(const struct json *value, void *into, struct buffer *error)
{
	struct transfer_type *type = into;
	if (!is_plain(json_text(value), NAME_MAX_BYTES))
		return wrong("endpointType", "must be 1 to 256 bytes of text", error);
	return keep(json_text(value), &type->endpoint_type);
}

static enum status read_token_source(const struct json *value, void *into, struct buffer *error)
{
	struct transfer_type *type = into;
	bool is_client = text_equals(json_text(value), TEXT("client"));
	if (!is_client && !text_equals(json_text(value), TEXT("provider")))
		return wrong("tokenSource", "must be \"provider\" or \"client\"", error);
	type->token_source = is_client ? TOKEN_SOURCE_CLIENT : TOKEN_SOURCE_PROVIDER;
	return STATUS_OK;
}

static enum status read_endpoint(const struct json *value, void *into, struct buffer *error)
{
	return keep_url(value, &((struct transfer_type *)into)->endpoint, error);
}

static enum status read_choices(const struct json *value, void *into, struct buffer *error)
{
	struct transfer_type *type = into;
	size_t count = json_count(value);
	if (json_kind(value) != JSON_ARRAY || count > ENDPOINT_CHOICES_MAX)
		return wrong("endpointMappings", "must be an array of at most 64 objects", error);
	if (count == 0)
		return STATUS_OK;
	struct endpoint_choice *choices = calloc(count, sizeof(*choices));
	if (choices == NULL)
		return STATUS_NO_MEMORY;
	type->choices = choices;
	for (const struct json *item = json_first(value); item != NULL; item = json_next(item)) {
		if (json_kind(item) != JSON_OBJECT)
			return wrong("endpointMappings", "must hold objects", error);
		enum status status = read_object(item, choice_members, sizeof(choice_members) / sizeof(choice_members[0]),
			&choices[type->choice_count++], error);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

static enum status read_renewal(const struct json *value, void *into, struct buffer *error)
{
	return json_bool(value, &((struct transfer_type *)into)->has_tx_renewal)
			   ? STATUS_OK
			   : wrong("txRenewalSupport", "must be true or false", error);
}

static const struct member type_members[] = {{"transferType", true, read_type},
	{"endpointType", true, read_endpoint_type}, {"tokenSource", false, read_token_source},
	{"endpoint", false, read_endpoint}, {"endpointMappings", false, read_choices},
	{"txRenewalSupport", false, read_renewal}};

/* --- the document */

static enum status read_context(const struct json *value, void *into, struct buffer *error)
{
	struct transfer_types *types = into;
	if (!id_is_valid(json_text(value)))
		return wrong("participantContextId", "must be 32 lower-case hex characters", error);
	types->ctx = text_copy(json_text(value));
	return types->ctx == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status read_mappings(const struct json *value, void *into, struct buffer *error)
{
	struct transfer_types *types = into;
	size_t count = json_count(value);
	if (json_kind(value) != JSON_OBJECT || count > TRANSFER_TYPES_MAX)
		return wrong("mappings", "must be an object of at most 64 transfer types", error);
	types->items = calloc(count + 1, sizeof(types->items[0]));
	if (types->items == NULL)
		return STATUS_NO_MEMORY;
	for (const struct json *item = json_first(value); item != NULL; item = json_next(item)) {
		struct transfer_type *type = &types->items[types->count++];
		if (json_kind(item) != JSON_OBJECT || !is_plain(text_of(json_name(item)), NAME_MAX_BYTES))
			return wrong("mappings", "must hold objects under names of 1 to 256 bytes", error);
		enum status status = keep(text_of(json_name(item)), &type->profile);
		if (status == STATUS_OK)
			status = read_object(item, type_members, sizeof(type_members) / sizeof(type_members[0]), type, error);
		if (status != STATUS_OK)
			return status;
	}
	return STATUS_OK;
}

static const struct member members[] = {
	{"participantContextId", true, read_context}, {"mappings", true, read_mappings}};

enum status transfer_types_build(const struct json *body, struct transfer_types **types, struct buffer *error)
{
	if (body == NULL || json_kind(body) != JSON_OBJECT)
		return wrong("body", "must be a JSON object", error);
	struct transfer_types *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = read_object(body, members, sizeof(members) / sizeof(members[0]), made, error);
	struct buffer print = {0};
	json_print(body, &print);
	made->body = print.failed ? NULL : buffer_take(&print);
	buffer_free(&print);
	if (status == STATUS_OK && made->body == NULL)
		status = STATUS_NO_MEMORY;
	if (status != STATUS_OK) {
		transfer_types_free(made);
		return status;
	}
	*types = made;
	return STATUS_OK;
}

static void release(const char *text)
{
	free((char *)(uintptr_t)text);
}

void transfer_types_free(void *object)
{
	struct transfer_types *types = object;
	if (types == NULL)
		return;
	for (size_t i = 0; i < types->count; i++) {
		const struct transfer_type *type = &types->items[i];
		for (size_t k = 0; k < type->choice_count; k++) {
			release(type->choices[k].key);
			release(type->choices[k].value);
			release(type->choices[k].endpoint);
		}
		free((struct endpoint_choice *)(uintptr_t)type->choices);
		release(type->profile);
		release(type->endpoint_type);
		release(type->endpoint);
	}
	free(types->items);
	free(types->ctx);
	free(types->body);
	free(types);
}

/* --- looking up */

const struct transfer_type *transfer_types_find(const struct dp *dp, struct text ctx, struct text profile)
{
	const struct transfer_types *own = dp_find(dp, DP_TRANSFER_TYPES, ctx, TRANSFER_TYPES_ID);
	const struct transfer_type *items = own != NULL ? own->items : built_in;
	size_t count = own != NULL ? own->count : sizeof(built_in) / sizeof(built_in[0]);
	for (size_t i = 0; i < count; i++) {
		if (text_equals(text_of(items[i].profile), profile))
			return &items[i];
	}
	return NULL;
}

struct text transfer_type_endpoint(const struct transfer_type *type, const struct json *metadata)
{
	for (size_t i = 0; i < type->choice_count; i++) {
		struct text value = json_member_text(metadata, type->choices[i].key);
		if (value.bytes != NULL && text_equals(value, text_of(type->choices[i].value)))
			return text_of(type->choices[i].endpoint);
	}
	return type->endpoint == NULL ? TEXT_NONE : text_of(type->endpoint);
}

enum status transfer_types_add(
	struct transaction *transaction, struct text ctx, const struct json *body, struct buffer *error)
{
	struct transfer_types *types = NULL;
	enum status status = transfer_types_build(body, &types, error);
	if (status == STATUS_OK && !transaction_put(transaction, ctx, RECORD_TRANSFER_TYPES, TRANSFER_TYPES_ID,
								   text_of(types->body), REVISION_ANY))
		status = STATUS_NO_MEMORY;
	transfer_types_free(types);
	return status;
}
