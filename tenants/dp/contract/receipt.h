/* A receipt: what one cell says it sent of one flow within one flush interval. Its text is canonical JSON (RFC 8785),
 * its hash is SHA-256 of that text, each names the hash of the one before it of the same cell and participant, and a
 * detached JWS (RFC 7515 appendix F) over the text is made with the participant's data plane key. Pure functions:
 * printing for the cell, checking for whoever has the lines and nothing else.
 *
 * A line: {"hash","receipt":{...},"signature"}; signature null: the key could not be reached, a later one covers it.
 * Other lines: {"jwk":{...}} gives a public key, {"export":{"ctx","flow"?}} says what was asked for. */
#pragma once

#include "server/base/json.h"
#include "tenants/dp/contract/tally.h"
#include "tenants/jose/digest.h"
#include "tenants/jose/jwk.h"

/* The end of a chain so far. */
struct receipt_link {
	uint64_t sequence;
	char hash[DIGEST_HEX + 1];
};
extern const struct receipt_link receipt_link_first;

/* The canonical text of the receipt behind `link`. */
void receipt_print(const struct tally *tally, struct text cell, const struct receipt_link *link, struct buffer *into);
/* Of the text: the next link. False: out of memory. */
bool receipt_advance(struct receipt_link *link, struct text receipt) MUST_CHECK;
/* The line. token: the JWS with its payload, or absent. */
void receipt_line_print(const struct receipt_link *link, struct text receipt, struct text token, struct buffer *into);

/* --- checking */

struct receipt_check;
/* trusted: the one key that counts (a reference is taken), or NULL: keys are taken from the lines. NULL: out of memory.
 */
struct receipt_check *receipt_check_new(struct key *trusted);
void receipt_check_free(struct receipt_check *check);
/* One line, in the order of the export. INVALID: it breaks the chain, `problem` says why. */
enum status receipt_check_line(struct receipt_check *check, struct text line, struct buffer *problem) MUST_CHECK;
/* After the last line. INVALID: the end is not signed. Writes what has been proven, in lines for people, to `summary`.
 */
enum status receipt_check_end(struct receipt_check *check, struct buffer *problem, struct buffer *summary) MUST_CHECK;
