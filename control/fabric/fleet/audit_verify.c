/* The audit over REST: verified. The chain's head is read first, then every record of a decision, then what waits, then
 * every entry: so the head can only be older than the entries, and whatever it stands for had its decisions stored. */
#include <stdlib.h>
#include <string.h>

#include "control/fabric/fleet/audit.h"
#include "control/fabric/fleet/audit_decisions.h"

enum { PAGE = 256, DECISIONS_PAGE = 64 };

struct verification {
	struct audit *audit;
	struct rest_call *call;
	struct audit_check check;
	struct decision_check decisions;
};

static void verification_end(struct verification *verification, enum status status)
{
	if (status != STATUS_OK)
		rest_refuse(verification->call, status, NULL);
	rest_release(verification->call);
	decision_check_free(&verification->decisions);
	free(verification);
}

static void list(struct verification *verification, enum record_kind kind, struct text after, size_t count,
	void (*done)(void *context, enum status status, const struct record *records, size_t count))
{
	struct state *state = verification->audit->state;
	store_list(state_store(state), TEXT(""), kind, after, count, state_worker(state), done, verification);
}

/* --- the verdict */

static void print_decisions(const struct decision_check *check, struct buffer *body)
{
	const struct decision_fault *fault = &check->fault;
	buffer_printf(body, ",\"decisions\":{\"whole\":%zu,\"noLongerKept\":%zu,\"outside\":%zu", check->whole,
		check->dropped, check->outside);
	if (fault->why != NULL) {
		buffer_append(body, TEXT(",\"firstBad\":{\"first\":"));
		buffer_append_json(body, text_of(fault->first));
		if (fault->last[0] != 0) {
			buffer_append(body, TEXT(",\"last\":"));
			buffer_append_json(body, text_of(fault->last));
		}
		if (fault->entry > 0)
			buffer_printf(body, ",\"entry\":%lld", (long long)fault->entry);
		buffer_printf(body, ",\"why\":\"%s\"}", fault->why);
	}
	buffer_append_byte(body, '}');
}

/* Of a chain that is broken nothing is said of the decisions. */
static void print_verdict(const struct verification *verification)
{
	const struct audit_check *check = &verification->check;
	const struct decision_check *decisions = &verification->decisions;
	struct buffer body = {0};
	buffer_printf(&body, "{\"isWhole\":%s,\"good\":%lld",
		check->why == NULL && decisions->fault.why == NULL ? "true" : "false", (long long)check->last.sequence);
	if (check->why != NULL)
		buffer_printf(
			&body, ",\"firstBad\":{\"sequence\":%lld,\"why\":\"%s\"}", (long long)check->last.sequence + 1, check->why);
	buffer_printf(&body, ",\"last\":{\"sequence\":%lld,\"hash\":\"%s\"},\"waiting\":%zu,\"outside\":%lld",
		(long long)check->last.sequence, check->last.hash, verification->audit->count, (long long)check->outside);
	if (check->why == NULL)
		print_decisions(decisions, &body);
	buffer_append_byte(&body, '}');
	if (body.failed)
		rest_refuse(verification->call, STATUS_NO_MEMORY, NULL);
	else
		rest_answer(verification->call, 200, buffer_text(&body));
	buffer_free(&body);
}

/* --- reading */

static void on_entries(void *context, enum status status, const struct record *records, size_t count)
{
	struct verification *verification = context;
	struct audit_check *check = &verification->check;
	for (size_t i = 0; i < count && check->why == NULL; i++) {
		int64_t before = check->last.sequence;
		audit_check_add(check, records[i].id, records[i].body);
		if (check->last.sequence > before)
			decision_check_entry(&verification->decisions, check->last.sequence, records[i].body);
	}
	if (status == STATUS_OK && count == PAGE && check->why == NULL) {
		list(verification, RECORD_AUDIT, records[count - 1].id, PAGE, on_entries);
		return;
	}
	audit_check_end(check);
	decision_check_end(&verification->decisions);
	if (status == STATUS_OK && verification->decisions.has_failed)
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		print_verdict(verification);
	verification_end(verification, status);
}

static void on_waiting(void *context, enum status status, const struct record *records, size_t count)
{
	struct verification *verification = context;
	if (status != STATUS_OK) {
		verification_end(verification, status);
		return;
	}
	for (size_t i = 0; i < count; i++)
		decision_check_entry(&verification->decisions, 0, records[i].body);
	if (count == PAGE)
		list(verification, RECORD_AUDIT_CHAIN, records[count - 1].id, PAGE, on_waiting);
	else
		list(verification, RECORD_AUDIT, TEXT_NONE, PAGE, on_entries);
}

static void on_decisions(void *context, enum status status, const struct record *records, size_t count)
{
	struct verification *verification = context;
	if (status != STATUS_OK) {
		verification_end(verification, status);
		return;
	}
	for (size_t i = 0; i < count; i++)
		decision_check_record(&verification->decisions, records[i].id, records[i].body);
	if (count == DECISIONS_PAGE)
		list(verification, RECORD_DECISION, records[count - 1].id, DECISIONS_PAGE, on_decisions);
	else
		list(verification, RECORD_AUDIT_CHAIN, TEXT_NONE, PAGE, on_waiting);
}

static void on_head(void *context, enum status status, const struct record *records, size_t count)
{
	struct verification *verification = context;
	struct audit_check *check = &verification->check;
	struct audit_link head = audit_link_first();
	if (status != STATUS_OK) {
		verification_end(verification, status);
		return;
	}
	if (count == 1 && audit_head_read(records[0].body, &head))
		audit_check_expect(check, &head);
	else
		check->has_no_head = true;
	decision_check_begin(&verification->decisions, head.sequence);
	list(verification, RECORD_DECISION, TEXT_NONE, DECISIONS_PAGE, on_decisions);
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
