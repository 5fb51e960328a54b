/* One-time tokens with which a cell joins first: only their digests are kept (JOIN_TOKEN records, id: SHA-256 in hex,
 * body {"cellId","expiresAt","approved","createdAt"}), each for one cellId, at most 24 hours. Whoever uses one deletes
 * it in the transaction that lets the cell in. On the fabric's worker. */
#pragma once

#include "control/state/state.h"

enum { JOIN_TOKEN_LENGTH = 43, JOIN_TOKEN_LIFETIME_MAX_S = 86400 };

struct join_token {
	char *id, *cell_id;
	int64_t expires_ms, created_ms, revision;
	bool is_approved; /* the operator has approved the cell by making it */
};

struct join_tokens;
/* Before store_load. */
enum status join_tokens_open(struct state *state, struct join_tokens **tokens) MUST_CHECK;
void join_tokens_free(struct join_tokens *tokens);

/* Adds one to the transaction; `token` is the only copy: a secret. */
enum status join_token_create(struct transaction *transaction, struct text cell_id, bool is_approved,
	int64_t lifetime_s, int64_t wall_ms, struct buffer *token) MUST_CHECK;
/* The token of this text if it is for this cell and still good; else NULL with *why, a literal. */
const struct join_token *join_tokens_check(
	const struct join_tokens *tokens, struct text token, struct text cell_id, int64_t wall_ms, const char **why);
const struct join_token *join_tokens_find(const struct join_tokens *tokens, struct text id);
size_t join_tokens_count(const struct join_tokens *tokens);
const struct join_token *join_tokens_at(const struct join_tokens *tokens, size_t index);
