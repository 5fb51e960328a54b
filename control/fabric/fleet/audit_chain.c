/* Links of the audit, made and judged. */
#include "control/fabric/fleet/audit_chain.h"

#include <stdio.h>
#include <string.h>

#include "server/base/json.h"

#define HASH_MEMBER ",\"hash\":\""
enum { HASH_TAIL = sizeof(HASH_MEMBER) - 1 + DIGEST_HEX + 2 }; /* with the quote and the brace behind it */

struct audit_link audit_link_first(void)
{
	struct audit_link link = {.sequence = 0};
	memset(link.hash, '0', DIGEST_HEX);
	return link;
}

bool audit_link_set(struct audit_link *link, int64_t sequence, struct text hash)
{
	if (sequence < 0 || hash.length != DIGEST_HEX)
		return false;
	for (size_t i = 0; i < hash.length; i++) {
		if ((hash.bytes[i] < '0' || hash.bytes[i] > '9') && (hash.bytes[i] < 'a' || hash.bytes[i] > 'f'))
			return false;
	}
	*link = (struct audit_link){.sequence = sequence};
	memcpy(link->hash, hash.bytes, DIGEST_HEX);
	return true;
}

void audit_link_id(int64_t sequence, char into[AUDIT_ID_LENGTH + 1])
{
	snprintf(into, AUDIT_ID_LENGTH + 1, "c%014llu", (unsigned long long)sequence % 100000000000000U);
}

/* How the text of what follows the link begins. */
static void print_beginning(const struct audit_link *link, struct buffer *into)
{
	buffer_printf(into, "{\"sequence\":%lld,\"previous\":\"%s\",", (long long)link->sequence + 1, link->hash);
}

/* Of a text that lacks only its hash: without the brace at its end, which is put there for the digest alone. */
static enum status digest_text(struct text unended, char hash[DIGEST_HEX + 1])
{
	struct buffer whole = {0};
	buffer_append(&whole, unended);
	buffer_append_byte(&whole, '}');
	enum status status = whole.failed ? STATUS_NO_MEMORY : digest_hex_of(buffer_text(&whole), hash);
	buffer_free(&whole);
	return status;
}

static bool is_object(struct text body)
{
	return body.length > 2 && body.bytes[0] == '{' && body.bytes[body.length - 1] == '}' &&
		   json_check(body, NULL, NULL) == STATUS_OK;
}

enum status audit_link_follow(struct audit_link *link, struct text entry, struct text body, struct buffer *into)
{
	struct audit_link next = {.sequence = link->sequence + 1};
	size_t start = into->length;
	print_beginning(link, into);
	buffer_append(into, TEXT("\"entry\":"));
	buffer_append_json(into, entry);
	if (is_object(body)) {
		buffer_append_byte(into, ',');
		buffer_append(into, text_slice(body, 1, body.length - 1));
	} else {
		buffer_append(into, TEXT(",\"unreadable\":"));
		buffer_append_json(into, body);
	}
	if (into->failed)
		return STATUS_NO_MEMORY;
	enum status status = digest_text(text_slice(buffer_text(into), start, into->length), next.hash);
	if (status != STATUS_OK)
		return status;
	buffer_printf(into, HASH_MEMBER "%s\"}", next.hash);
	if (into->failed)
		return STATUS_NO_MEMORY;
	*link = next;
	return STATUS_OK;
}

/* --- checking */

void audit_check_begin(struct audit_check *check)
{
	*check = (struct audit_check){.last = audit_link_first()};
}

void audit_check_expect(struct audit_check *check, const struct audit_link *known)
{
	if (known->sequence > 0 && check->known_count < AUDIT_KNOWN_MAX)
		check->known[check->known_count++] = *known;
}

/* NULL: it is the text it was sealed as; *hash is its own. */
static const char *judge_text(struct text body, struct audit_link *found)
{
	char hash[DIGEST_HEX + 1];
	if (body.length <= HASH_TAIL)
		return "has been changed";
	struct text inner = text_slice(body, 0, body.length - HASH_TAIL);
	struct text tail = text_slice(body, inner.length, body.length);
	struct text stored = text_slice(tail, sizeof(HASH_MEMBER) - 1, HASH_TAIL - 2);
	if (!text_starts_with(tail, TEXT(HASH_MEMBER)) || !text_ends_with(tail, TEXT("\"}")) ||
		!audit_link_set(found, found->sequence, stored))
		return "has been changed";
	if (digest_text(inner, hash) != STATUS_OK)
		return "cannot be judged: out of memory";
	return strcmp(hash, found->hash) == 0 ? NULL : "has been changed";
}

static const char *judge_place(const struct audit_link *last, struct text body)
{
	struct buffer beginning = {0};
	print_beginning(last, &beginning);
	const char *why = beginning.failed                                  ? "cannot be judged: out of memory"
					  : text_starts_with(body, buffer_text(&beginning)) ? NULL
																		: "does not follow the one before it";
	buffer_free(&beginning);
	return why;
}

static const char *judge_known(const struct audit_check *check, const struct audit_link *found)
{
	for (size_t i = 0; i < check->known_count; i++) {
		if (check->known[i].sequence == found->sequence && strcmp(check->known[i].hash, found->hash) != 0)
			return "is another than the one that is known";
	}
	return NULL;
}

void audit_check_add(struct audit_check *check, struct text id, struct text body)
{
	struct audit_link found = {.sequence = check->last.sequence + 1};
	char wanted[AUDIT_ID_LENGTH + 1];
	if (check->why != NULL)
		return;
	if (!text_starts_with(id, TEXT("c"))) {
		check->outside++;
		return;
	}
	audit_link_id(found.sequence, wanted);
	if (!text_equals(id, text_of(wanted)))
		check->why = "is missing";
	if (check->why == NULL)
		check->why = judge_text(body, &found);
	if (check->why == NULL)
		check->why = judge_place(&check->last, body);
	if (check->why == NULL)
		check->why = judge_known(check, &found);
	if (check->why == NULL)
		check->last = found;
}

void audit_check_end(struct audit_check *check)
{
	for (size_t i = 0; i < check->known_count && check->why == NULL; i++) {
		if (check->known[i].sequence > check->last.sequence)
			check->why = "is missing";
	}
	if (check->why == NULL && check->has_no_head && check->last.sequence > 0)
		check->why = "cannot be known: the head of the chain is missing";
}
