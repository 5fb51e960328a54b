/* The chain of the audit: each entry carries its place, the hash of the one before it, and its own hash. Pure functions
 * on texts.
 *
 * A sealed entry, record AUDIT with the id "c" and 14 digits of its sequence:
 *   {"sequence":7,"previous":"<64 hex>","entry":"<id it waited under>","at":...,"what":...,...,"hash":"<64 hex>"}
 * The hash is SHA-256 of the text without its last member: of the stored bytes up to ,"hash": and then }. The first
 * entry follows 64 zeros. Entries with other ids are from before the chain: nothing is known of them. */
#pragma once

#include "server/base/text.h"
#include "tenants/jose/digest.h"

enum { AUDIT_ID_LENGTH = 15 };

/* One entry of the chain, or (sequence 0) what stands before the first. */
struct audit_link {
	int64_t sequence;
	char hash[DIGEST_HEX + 1];
};
struct audit_link audit_link_first(void);
/* 64 lower-case hex characters? Then it is the link's. */
bool audit_link_set(struct audit_link *link, int64_t sequence, struct text hash);
void audit_link_id(int64_t sequence, char into[AUDIT_ID_LENGTH + 1]);
/* Appends the sealed text of the entry that follows `link`, and makes that the link. entry: the id under which it has
 * waited; body: its JSON object; what is none is sealed as a text. */
enum status audit_link_follow(
	struct audit_link *link, struct text entry, struct text body, struct buffer *into) MUST_CHECK;

/* Walks all records in the order of their ids. */
enum { AUDIT_KNOWN_MAX = 3 };
struct audit_check {
	struct audit_link last; /* all up to it are good */
	struct audit_link known[AUDIT_KNOWN_MAX];
	size_t known_count;
	int64_t outside;  /* entries that are not of the chain */
	bool has_no_head; /* for audit_check_end: an entry needs one */
	const char *why;  /* what is wrong with the entry after `last`, as the end of a sentence; NULL: nothing */
};
void audit_check_begin(struct audit_check *check);
/* It must be in the chain: the head, or what somebody has noted. Before the first record. Sequence 0 says nothing. */
void audit_check_expect(struct audit_check *check, const struct audit_link *known);
void audit_check_add(struct audit_check *check, struct text id, struct text body);
/* After the last record: what is known must have come. */
void audit_check_end(struct audit_check *check);
