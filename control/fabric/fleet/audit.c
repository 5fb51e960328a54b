/* Entries of the audit wait, and are sealed. */
#include "control/fabric/fleet/audit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"

enum { SEAL_MAX = 256, PAUSE_TICKS = 10 };

/* --- what is known */

void audit_waiting_free(struct audit_waiting *waiting)
{
	while (waiting != NULL) {
		struct audit_waiting *next = waiting->next;
		free(waiting->id);
		free(waiting->body);
		free(waiting);
		waiting = next;
	}
}

static struct audit_waiting *waiting_new(struct text id, struct text body, int64_t revision)
{
	struct audit_waiting *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return NULL;
	made->id = text_copy(id);
	made->body = text_copy(body);
	made->revision = revision;
	if (made->id != NULL && made->body != NULL)
		return made;
	audit_waiting_free(made);
	return NULL;
}

struct audit_waiting *audit_waiting_copy(const struct audit *audit, struct text after, bool *is_whole)
{
	struct audit_waiting *copies = NULL, **end = &copies;
	*is_whole = true;
	for (const struct audit_waiting *one = audit->waiting; one != NULL && *is_whole; one = one->next) {
		if (after.bytes != NULL && strcmp(one->id, after.bytes) <= 0)
			continue;
		*end = waiting_new(text_of(one->id), text_of(one->body), one->revision);
		*is_whole = *end != NULL;
		end = *is_whole ? &(*end)->next : end;
	}
	return copies;
}

bool audit_head_read(struct text body, struct audit_link *head)
{
	struct json *root = NULL;
	int64_t sequence = 0;
	bool is_read = json_parse(body, NULL, &root) == STATUS_OK &&
				   json_integer(json_member(root, "sequence"), &sequence) && sequence > 0 &&
				   audit_link_set(head, sequence, json_member_text(root, "hash"));
	json_free(root);
	return is_read;
}

static void on_head(struct audit *audit, const struct record *record)
{
	audit->head_revision = record->body.bytes == NULL ? REVISION_ABSENT : record->revision;
	audit->head = audit_link_first();
	audit->is_bad = record->body.bytes != NULL && !audit_head_read(record->body, &audit->head);
	if (audit->is_bad)
		LOG(ERROR, "audit.bad_head", log_text("body", record->body));
}

static void remove_waiting(struct audit *audit, struct text id)
{
	for (struct audit_waiting **at = &audit->waiting; *at != NULL; at = &(*at)->next) {
		struct audit_waiting *found = *at;
		if (!text_equals(text_of(found->id), id))
			continue;
		*at = found->next;
		if (*at == NULL)
			audit->end = at;
		found->next = NULL;
		audit_waiting_free(found);
		audit->count--;
		return;
	}
}

static void on_record(void *context, const struct record *record)
{
	struct audit *audit = context;
	if (text_equals(record->id, TEXT(AUDIT_HEAD))) {
		on_head(audit, record);
		return;
	}
	remove_waiting(audit, record->id);
	if (record->body.bytes == NULL)
		return;
	*audit->end = waiting_new(record->id, record->body, record->revision);
	if (*audit->end == NULL)
		abort(); /* an index that has missed an entry would never seal it */
	audit->end = &(*audit->end)->next;
	audit->count++;
}

enum status audit_open(struct state *state, struct audit **audit)
{
	struct audit *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->state = state;
	made->head = audit_link_first();
	made->head_revision = REVISION_ABSENT;
	made->end = &made->waiting;
	state_watch(state, RECORD_AUDIT_CHAIN, on_record, NULL, made);
	*audit = made;
	return STATUS_OK;
}

void audit_free(struct audit *audit)
{
	if (audit == NULL)
		return;
	audit_waiting_free(audit->waiting);
	free(audit);
}

/* --- sealing */

static void on_sealed(void *context, enum status status, int64_t revision)
{
	struct audit *audit = context;
	(void)revision;
	audit->is_busy = false;
	if (status == STATUS_OK) {
		audit->is_told = false;
		/* a log that is kept elsewhere proves what the database cannot: that the whole chain is not another */
		LOG(INFO, "audit.sealed", log_number("sequence", audit->head.sequence),
			log_text("hash", text_of(audit->head.hash)));
		return;
	}
	audit->pause = PAUSE_TICKS;
	/* refused, and nobody else has sealed: there are entries that the head does not know */
	if (status == STATUS_CONFLICT && audit->head_revision == audit->sealed_on && !audit->is_told) {
		audit->is_told = true;
		LOG(ERROR, "audit.cannot_be_sealed", log_number("sequence", audit->head.sequence),
			log_text("why", TEXT("there are entries behind the head of the chain: cellctl fabric audit verify")));
	}
}

static bool seal_one(struct transaction *transaction, const struct audit_waiting *waiting, struct audit_link *link)
{
	struct buffer body = {0};
	char id[AUDIT_ID_LENGTH + 1];
	enum status status = audit_link_follow(link, text_of(waiting->id), text_of(waiting->body), &body);
	audit_link_id(link->sequence, id);
	bool is_put = status == STATUS_OK &&
				  state_put(transaction, RECORD_AUDIT, text_of(id), buffer_text(&body), REVISION_ABSENT) &&
				  state_delete(transaction, RECORD_AUDIT_CHAIN, text_of(waiting->id), waiting->revision);
	buffer_free(&body);
	return is_put;
}

static bool put_head(const struct audit *audit, struct transaction *transaction, const struct audit_link *link)
{
	char body[128];
	int length =
		snprintf(body, sizeof(body), "{\"sequence\":%lld,\"hash\":\"%s\"}", (long long)link->sequence, link->hash);
	return state_put(
		transaction, RECORD_AUDIT_CHAIN, TEXT(AUDIT_HEAD), (struct text){body, (size_t)length}, audit->head_revision);
}

void audit_tick(struct audit *audit)
{
	struct audit_link link = audit->head;
	size_t count = 0;
	if (audit->pause > 0)
		audit->pause--;
	if (audit->is_busy || audit->is_bad || audit->pause > 0 || audit->waiting == NULL)
		return;
	struct transaction *transaction = transaction_new();
	bool is_made = transaction != NULL;
	for (const struct audit_waiting *one = audit->waiting; is_made && one != NULL && count < SEAL_MAX;
		 one = one->next) {
		is_made = seal_one(transaction, one, &link);
		count++;
	}
	if (!is_made || !put_head(audit, transaction, &link)) {
		transaction_free(transaction);
		return;
	}
	audit->is_busy = true;
	audit->sealed_on = audit->head_revision;
	state_submit(audit->state, transaction, on_sealed, audit);
}
