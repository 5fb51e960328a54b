/* What a cell sends to join (POST /api/celld/v1/join):
 *
 *   {"cellId","nkey":"U...","incarnation":"<32 hex>","definition":{...},"protocolVersions":[1],
 *    "epoch":0, "lastEpoch":7, "token":"...", "nonce":"...","signature":"<base64url>"}
 *
 * epoch: what this very process was given before, 0 at its first join; lastEpoch: the highest this cell ever had.
 * token: only the first time. The signature is the cell's nkey's over join_signed_text. */
#pragma once

#include "control/bus/nkey.h"
#include "server/base/json.h"

enum { JOIN_PROTOCOL = 1, JOIN_CELL_MAX = 64, JOIN_NONCE_MAX = 2048 };

struct join_request { /* texts point into the JSON */
	struct text cell_id, nkey, incarnation, token, nonce, signature;
	const struct json *definition;
	int64_t epoch, last_epoch;
};
/* INVALID with one line that names the member. */
enum status join_request_read(const struct json *body, struct join_request *request, struct buffer *error) MUST_CHECK;
/* What is signed: a cell that holds the key of `nkey` answers this nonce. */
void join_signed_text(
	struct text cell_id, struct text incarnation, struct text nkey, struct text nonce, struct buffer *into);
/* UNAUTHORIZED: the signature is not of that key. */
enum status join_request_verify(const struct join_request *request) MUST_CHECK;
