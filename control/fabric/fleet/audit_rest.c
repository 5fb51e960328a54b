/* The audit over REST: listed, and verified. */
#include <stdlib.h>
#include <string.h>

#include "control/fabric/fleet/audit.h"

enum { PAGE = 1000 };

static void answer(struct rest_call *call, struct buffer *body)
{
	if (body->failed)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else
		rest_answer(call, 200, buffer_text(body));
	buffer_free(body);
}

/* --- listing: what is sealed, and behind it what waits */

struct listing {
	struct rest_call *call;
	struct audit_waiting *waiting; /* as it was when the call came: what is sealed meanwhile is in either */
};

static void append_entry(struct buffer *into, struct text id, struct text body)
{
	buffer_append(into, into->length == 1 ? TEXT("{\"id\":") : TEXT(",{\"id\":"));
	buffer_append_json(into, id);
	buffer_append_byte(into, ',');
	buffer_append(into, text_slice(body, 1, body.length));
}

static bool is_listed(const struct audit_waiting *waiting, const struct record *records, size_t count)
{
	struct buffer member = {0};
	bool is_found = false;
	buffer_printf(&member, "\"entry\":\"%s\"", waiting->id);
	for (size_t i = count; i > 0 && !is_found && !member.failed; i--)
		is_found = memmem(records[i - 1].body.bytes, records[i - 1].body.length, member.bytes, member.length) != NULL;
	buffer_free(&member);
	return is_found;
}

static void on_listed(void *context, enum status status, const struct record *records, size_t count)
{
	struct listing *listing = context;
	struct buffer body = {0};
	buffer_append_byte(&body, '[');
	for (size_t i = 0; i < count; i++)
		append_entry(&body, records[i].id, records[i].body);
	for (const struct audit_waiting *one = listing->waiting; one != NULL && count < PAGE; one = one->next) {
		if (!is_listed(one, records, count))
			append_entry(&body, text_of(one->id), text_of(one->body));
	}
	buffer_append_byte(&body, ']');
	if (status == STATUS_OK) {
		answer(listing->call, &body);
	} else {
		buffer_free(&body);
		rest_refuse(listing->call, status, NULL);
	}
	rest_release(listing->call);
	audit_waiting_free(listing->waiting);
	free(listing);
}

void audit_list(struct audit *audit, struct rest_call *call)
{
	struct listing *listing = calloc(1, sizeof(*listing));
	struct text after = rest_parameter(call, "after");
	bool is_whole = false;
	if (listing != NULL)
		listing->waiting = audit_waiting_copy(audit, after, &is_whole);
	if (!is_whole) {
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		audit_waiting_free(listing == NULL ? NULL : listing->waiting);
		free(listing);
		return;
	}
	listing->call = call;
	rest_hold(call);
	store_list(
		state_store(audit->state), TEXT(""), RECORD_AUDIT, after, PAGE, state_worker(audit->state), on_listed, listing);
}

/* --- verifying: the head first, then every entry, so that the head can only be older than they are */

struct verification {
	struct audit *audit;
	struct rest_call *call;
	struct audit_check check;
};

static void verification_end(struct verification *verification, enum status status)
{
	if (status != STATUS_OK)
		rest_refuse(verification->call, status, NULL);
	rest_release(verification->call);
	free(verification);
}

static void print_verdict(const struct verification *verification)
{
	const struct audit_check *check = &verification->check;
	struct buffer body = {0};
	buffer_printf(
		&body, "{\"isWhole\":%s,\"good\":%lld", check->why == NULL ? "true" : "false", (long long)check->last.sequence);
	if (check->why != NULL)
		buffer_printf(
			&body, ",\"firstBad\":{\"sequence\":%lld,\"why\":\"%s\"}", (long long)check->last.sequence + 1, check->why);
	buffer_printf(&body, ",\"last\":{\"sequence\":%lld,\"hash\":\"%s\"},\"waiting\":%zu,\"outside\":%lld}",
		(long long)check->last.sequence, check->last.hash, verification->audit->count, (long long)check->outside);
	answer(verification->call, &body);
}

static void on_page(void *context, enum status status, const struct record *records, size_t count)
{
	struct verification *verification = context;
	struct audit_check *check = &verification->check;
	for (size_t i = 0; i < count; i++)
		audit_check_add(check, records[i].id, records[i].body);
	if (status == STATUS_OK && count == PAGE && check->why == NULL) {
		struct state *state = verification->audit->state;
		store_list(state_store(state), TEXT(""), RECORD_AUDIT, records[count - 1].id, PAGE, state_worker(state),
			on_page, verification);
		return;
	}
	audit_check_end(check);
	if (status == STATUS_OK)
		print_verdict(verification);
	verification_end(verification, status);
}

static void on_head(void *context, enum status status, const struct record *records, size_t count)
{
	struct verification *verification = context;
	struct audit_check *check = &verification->check;
	struct state *state = verification->audit->state;
	struct audit_link head;
	if (status != STATUS_OK) {
		verification_end(verification, status);
		return;
	}
	if (count == 1 && audit_head_read(records[0].body, &head))
		audit_check_expect(check, &head);
	else
		check->has_no_head = true;
	store_list(state_store(state), TEXT(""), RECORD_AUDIT, TEXT_NONE, PAGE, state_worker(state), on_page, verification);
}

/* "<sequence>:<hash>" of an entry that somebody has noted, or nothing. */
static bool read_noted(struct rest_call *call, struct audit_link *noted)
{
	struct text whole = rest_parameter(call, "noted");
	size_t colon = text_find(whole, ':');
	uint64_t sequence = 0;
	*noted = audit_link_first();
	return whole.bytes == NULL ||
		   (text_to_unsigned(text_slice(whole, 0, colon), INT64_MAX / 2, &sequence) == STATUS_OK && sequence > 0 &&
			   audit_link_set(noted, (int64_t)sequence, text_slice(whole, colon + 1, whole.length)));
}

void audit_verify(struct audit *audit, struct rest_call *call)
{
	const struct text id = TEXT(AUDIT_HEAD);
	struct audit_link noted;
	if (!read_noted(call, &noted)) {
		rest_refuse(call, STATUS_INVALID, "noted: must be the sequence of an entry, a colon, and its hash");
		return;
	}
	struct verification *verification = calloc(1, sizeof(*verification));
	if (verification == NULL) {
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		return;
	}
	verification->audit = audit;
	verification->call = call;
	audit_check_begin(&verification->check);
	audit_check_expect(&verification->check, &audit->head); /* as this process has heard of it */
	audit_check_expect(&verification->check, &noted);
	rest_hold(call);
	store_read(state_store(audit->state), TEXT(""), RECORD_AUDIT_CHAIN, &id, 1, state_worker(audit->state), on_head,
		verification);
}
