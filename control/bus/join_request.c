/* A join as it is sent: read and verified. */
#include "control/bus/join_request.h"

#include "server/base/id.h"
#include "tenants/jose/jws.h"

static bool is_cell_id(struct text text)
{
	return name_is_valid(text, JOIN_CELL_MAX) && text_find(text, '.') == text.length &&
		   text_find(text, ':') == text.length;
}

static bool is_nkey(struct text text)
{
	struct nkey *nkey = NULL;
	bool is_valid = nkey_from_public(text, NKEY_USER, &nkey) == STATUS_OK;
	nkey_free(nkey);
	return is_valid;
}

static bool is_nonce(struct text text)
{
	return text.length > 0 && text.length <= JOIN_NONCE_MAX && text_is_printable(text, '"', '\\');
}

static bool is_token(struct text text)
{
	return text.length <= JOIN_NONCE_MAX;
}

static bool is_signature(struct text text)
{
	uint8_t bytes[NKEY_SIGNATURE_BYTES];
	size_t length;
	return base64url_decode(text, bytes, sizeof(bytes), &length) == STATUS_OK && length == sizeof(bytes);
}

static const struct member {
	const char *name;
	size_t offset;
	bool (*is_valid)(struct text text);
	bool is_optional;
	const char *what;
} members[] = {
	{"cellId", offsetof(struct join_request, cell_id), is_cell_id, false, "must be 1 to 64 letters, digits, - and _"},
	{"nkey", offsetof(struct join_request, nkey), is_nkey, false, "must be a public NATS key of a user"},
	{"incarnation", offsetof(struct join_request, incarnation), id_is_valid, false, "must be 32 hex digits"},
	{"nonce", offsetof(struct join_request, nonce), is_nonce, false, "must be one of GET .../join/nonce"},
	{"signature", offsetof(struct join_request, signature), is_signature, false, "must be 64 bytes in base64url"},
	{"token", offsetof(struct join_request, token), is_token, true, "must be a join token"},
};

/* 0 when it is not there. */
static bool read_epoch(const struct json *node, int64_t *epoch)
{
	*epoch = 0;
	return node == NULL || (json_integer(node, epoch) && *epoch >= 0 && *epoch < (int64_t)1 << 52);
}

static bool speaks(const struct json *versions)
{
	int64_t version;
	for (const struct json *item = json_first(versions); item != NULL; item = json_next(item)) {
		if (json_integer(item, &version) && version == JOIN_PROTOCOL)
			return true;
	}
	return false;
}

enum status join_request_read(const struct json *body, struct join_request *request, struct buffer *error)
{
	*request = (struct join_request){.definition = json_member(body, "definition")};
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
		const struct json *value = json_member(body, members[i].name);
		struct text text = json_text(value);
		if (value == NULL && members[i].is_optional)
			continue;
		if (text.bytes == NULL || !members[i].is_valid(text))
			return buffer_invalid(error, members[i].name, members[i].what);
		memcpy((char *)request + members[i].offset, &text, sizeof(text));
	}
	if (json_kind(request->definition) != JSON_OBJECT)
		return buffer_invalid(error, "definition", "must be an object");
	if (!speaks(json_member(body, "protocolVersions")))
		return buffer_invalid(error, "protocolVersions", "must hold 1");
	if (!read_epoch(json_member(body, "epoch"), &request->epoch))
		return buffer_invalid(error, "epoch", "must be a number of 0 or more");
	if (!read_epoch(json_member(body, "lastEpoch"), &request->last_epoch))
		return buffer_invalid(error, "lastEpoch", "must be a number of 0 or more");
	return STATUS_OK;
}

void join_signed_text(
	struct text cell_id, struct text incarnation, struct text nkey, struct text nonce, struct buffer *into)
{
	const struct text lines[] = {TEXT("celld-join-1"), cell_id, incarnation, nkey, nonce};
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		buffer_append(into, lines[i]);
		buffer_append_byte(into, '\n');
	}
}

enum status join_request_verify(const struct join_request *request)
{
	uint8_t bytes[NKEY_SIGNATURE_BYTES];
	size_t length;
	struct nkey *nkey = NULL;
	struct buffer text = {0};
	enum status status = base64url_decode(request->signature, bytes, sizeof(bytes), &length);
	if (status == STATUS_OK)
		status = nkey_from_public(request->nkey, NKEY_USER, &nkey);
	join_signed_text(request->cell_id, request->incarnation, request->nkey, request->nonce, &text);
	if (status == STATUS_OK)
		status = text.failed ? STATUS_NO_MEMORY
							 : nkey_verify(nkey, buffer_text(&text), (struct text){(const char *)bytes, length});
	buffer_free(&text);
	nkey_free(nkey);
	return status == STATUS_INVALID ? STATUS_UNAUTHORIZED : status;
}
