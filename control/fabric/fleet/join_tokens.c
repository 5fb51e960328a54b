/* Tokens for joining: a short list, searched from end to end. */
#include "control/fabric/fleet/join_tokens.h"

#include <stdlib.h>

#include "server/base/id.h"
#include "server/base/json.h"
#include "server/base/log.h"
#include "server/base/secret.h"
#include "tenants/jose/digest.h"
#include "tenants/jose/jws.h"

enum { TOKEN_BYTES = 32 };

struct join_tokens {
	struct join_token *items;
	size_t count, room;
};

static void token_clear(struct join_token *token)
{
	free(token->id);
	free(token->cell_id);
}

static bool token_read(const struct record *record, struct join_token *token)
{
	struct json *root = NULL;
	*token = (struct join_token){.revision = record->revision};
	bool is_read = json_parse(record->body, NULL, &root) == STATUS_OK &&
				   json_integer(json_member(root, "expiresAt"), &token->expires_ms) &&
				   json_integer(json_member(root, "createdAt"), &token->created_ms) &&
				   json_bool(json_member(root, "approved"), &token->is_approved) &&
				   json_member_text(root, "cellId").length > 0;
	if (is_read) {
		token->id = text_copy(record->id);
		token->cell_id = text_copy(json_member_text(root, "cellId"));
	}
	json_free(root);
	if (is_read && token->id != NULL && token->cell_id != NULL)
		return true;
	token_clear(token);
	return false;
}

static struct join_token *find(const struct join_tokens *tokens, struct text id)
{
	for (size_t i = 0; i < tokens->count; i++) {
		if (text_equals(text_of(tokens->items[i].id), id))
			return &tokens->items[i];
	}
	return NULL;
}

static void on_record(void *context, const struct record *record)
{
	struct join_tokens *tokens = context;
	struct join_token read, *token = find(tokens, record->id);
	if (token != NULL) {
		token_clear(token);
		*token = tokens->items[--tokens->count];
	}
	if (record->body.bytes == NULL)
		return;
	if (tokens->count == tokens->room) {
		size_t room = tokens->room == 0 ? 16 : 2 * tokens->room;
		struct join_token *grown = realloc(tokens->items, room * sizeof(*grown));
		if (grown == NULL)
			return; /* this token will be refused: no harm but a new one */
		tokens->items = grown;
		tokens->room = room;
	}
	if (token_read(record, &read))
		tokens->items[tokens->count++] = read;
	else
		LOG(ERROR, "join_token.unreadable", log_text("id", record->id));
}

enum status join_tokens_open(struct state *state, struct join_tokens **tokens)
{
	struct join_tokens *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	state_watch(state, RECORD_JOIN_TOKEN, on_record, NULL, made);
	*tokens = made;
	return STATUS_OK;
}

void join_tokens_free(struct join_tokens *tokens)
{
	if (tokens == NULL)
		return;
	for (size_t i = 0; i < tokens->count; i++)
		token_clear(&tokens->items[i]);
	free(tokens->items);
	free(tokens);
}

enum status join_token_create(struct transaction *transaction, struct text cell_id, bool is_approved,
	int64_t lifetime_s, int64_t wall_ms, struct buffer *token)
{
	uint8_t bytes[TOKEN_BYTES];
	char text[JOIN_TOKEN_LENGTH + 1], id[DIGEST_HEX + 1];
	struct buffer body = {0};
	int64_t expires_ms = wall_ms + lifetime_s * 1000;
	if (lifetime_s < 1 || lifetime_s > JOIN_TOKEN_LIFETIME_MAX_S)
		return STATUS_INVALID;
	random_bytes(bytes, sizeof(bytes));
	const struct text made = {text, base64url_encode((struct text){(const char *)bytes, sizeof(bytes)}, text)};
	enum status status = digest_hex_of(made, id);
	buffer_append(&body, TEXT("{\"cellId\":"));
	buffer_append_json(&body, cell_id);
	buffer_printf(&body, ",\"expiresAt\":%lld,\"approved\":%s,\"createdAt\":%lld}", (long long)expires_ms,
		is_approved ? "true" : "false", (long long)wall_ms);
	if (status == STATUS_OK &&
		(body.failed || !state_put(transaction, RECORD_JOIN_TOKEN, text_of(id), buffer_text(&body), REVISION_ABSENT)))
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		buffer_append(token, made);
	wipe(bytes, sizeof(bytes));
	wipe(text, sizeof(text));
	buffer_free(&body);
	return status == STATUS_OK && token->failed ? STATUS_NO_MEMORY : status;
}

const struct join_token *join_tokens_check(
	const struct join_tokens *tokens, struct text token, struct text cell_id, int64_t wall_ms, const char **why)
{
	char id[DIGEST_HEX + 1];
	*why = "the join token is unknown, or has been used";
	if (token.length != JOIN_TOKEN_LENGTH || digest_hex_of(token, id) != STATUS_OK)
		return NULL;
	const struct join_token *found = find(tokens, text_of(id));
	if (found == NULL)
		return NULL;
	if (!text_equals(text_of(found->cell_id), cell_id))
		*why = "the join token is for another cell";
	else if (wall_ms >= found->expires_ms)
		*why = "the join token has expired";
	else
		return found;
	return NULL;
}

const struct join_token *join_tokens_find(const struct join_tokens *tokens, struct text id)
{
	return find(tokens, id);
}

size_t join_tokens_count(const struct join_tokens *tokens)
{
	return tokens->count;
}

const struct join_token *join_tokens_at(const struct join_tokens *tokens, size_t index)
{
	return &tokens->items[index];
}
