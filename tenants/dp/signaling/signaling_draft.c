/* Drafts: the message, on top of what was there. */
#include "tenants/dp/signaling/signaling_draft.h"

#include <stdlib.h>

#include "tenants/dp/signaling/flow_moves.h"

enum { MESSAGES_MAX = 16 };

void draft_free(struct draft *draft)
{
	for (unsigned i = 0; i < draft->text_count; i++)
		free(draft->texts[i]);
	buffer_free(&draft->address);
	buffer_free(&draft->claims);
	buffer_free(&draft->labels);
	buffer_free(&draft->metadata);
	buffer_free(&draft->messages);
}

static char *draft_text(struct draft *draft, struct text text)
{
	if (text.bytes == NULL)
		return NULL;
	char *copy = text_copy(text);
	draft->failed = draft->failed || copy == NULL;
	if (copy != NULL)
		draft->texts[draft->text_count++] = copy;
	return copy;
}

static char *draft_json(struct draft *draft, struct buffer *into, const struct json *value)
{
	if (value == NULL)
		return NULL;
	json_print(value, into);
	draft->failed = draft->failed || into->failed;
	return into->bytes;
}

bool signal_message_key(const struct signal *signal, struct buffer *key)
{
	struct text id = signal_field(signal, MESSAGE_FIELD_ID);
	if (id.bytes == NULL)
		return false;
	buffer_append(key, signaling_verb_name(signal->verb));
	buffer_append_byte(key, ' ');
	buffer_append(key, id);
	return !key->failed;
}

/* The last messages, with this one: what is seen again is not obeyed again. */
static void draft_messages(struct draft *draft, const struct signal *signal)
{
	struct json *before = NULL;
	struct buffer message = {0};
	size_t count = 0;
	if (!signal_message_key(signal, &message)) {
		draft->failed = draft->failed || message.failed;
		return;
	}
	if (draft->terms.messages != NULL && json_parse(text_of(draft->terms.messages), NULL, &before) == STATUS_OK)
		count = json_count(before);
	buffer_append_byte(&draft->messages, '[');
	for (const struct json *item = json_first(before); item != NULL; item = json_next(item), count--) {
		if (count >= MESSAGES_MAX)
			continue;
		buffer_append_json(&draft->messages, json_text(item));
		buffer_append_byte(&draft->messages, ',');
	}
	buffer_append_json(&draft->messages, buffer_text(&message));
	buffer_append_byte(&draft->messages, ']');
	buffer_free(&message);
	json_free(before);
	draft->failed = draft->failed || draft->messages.failed;
	draft->terms.messages = draft->messages.bytes;
}

/* A new flow as the message has it (dps.md 1.1). */
static void draft_new(const struct signal *signal, struct draft *draft)
{
	struct flow_terms *terms = &draft->terms;
	const struct json *const *fields = signal->message.fields;
	terms->role = signal->verb == SIGNALING_START ? FLOW_PROVIDER : FLOW_CONSUMER;
	terms->dataset = draft_text(draft, signal_field(signal, MESSAGE_FIELD_DATASET));
	terms->agreement = draft_text(draft, signal_field(signal, MESSAGE_FIELD_AGREEMENT));
	terms->counter_party = draft_text(draft, signal_field(signal, MESSAGE_FIELD_COUNTER_PARTY));
	terms->participant = draft_text(draft, signal_field(signal, MESSAGE_FIELD_PARTICIPANT));
	terms->profile = draft_text(draft, signal_field(signal, MESSAGE_FIELD_PROFILE));
	terms->dataspace = draft_text(draft, signal_field(signal, MESSAGE_FIELD_DATASPACE));
	terms->claims = draft_json(draft, &draft->claims, fields[MESSAGE_FIELD_CLAIMS]);
	terms->labels = draft_json(draft, &draft->labels, fields[MESSAGE_FIELD_LABELS]);
	terms->metadata = draft_json(draft, &draft->metadata, fields[MESSAGE_FIELD_METADATA]);
	terms->control_plane = signal->control_plane;
	terms->public_url = signal->public_url;
	terms->created_ms = worker_wall_ms(signal->home->worker);
}

/* Of a flow whose record names none. */
static char managed_profile[] = "https://w3id.org/dspace-sig/profile/http-pull";

enum status draft_make(const struct signal *signal, const struct flow *flow, struct draft *draft)
{
	struct flow_terms *terms = &draft->terms;
	int64_t now_ms = worker_wall_ms(signal->home->worker);
	*draft = (struct draft){.failed = false};
	if (flow != NULL)
		*terms = *atomic_load_explicit(&flow->terms, memory_order_acquire);
	else
		draft_new(signal, draft);
	/* made by the management API, which asks for neither: an address needs both */
	if (terms->public_url == NULL)
		terms->public_url = signal->public_url;
	if (terms->profile == NULL)
		terms->profile = managed_profile;
	enum status status = flow_terms_move(terms, signal->event, now_ms);
	if (status != STATUS_OK)
		return status;
	draft_messages(draft, signal);
	if (signal->verb == SIGNALING_SUSPEND || signal->verb == SIGNALING_TERMINATE)
		terms->reason = draft_text(draft, signal_field(signal, MESSAGE_FIELD_REASON));
	if (signal->verb == SIGNALING_RESUME)
		terms->reason = NULL;
	if (signal->address != NULL) {
		data_address_print(signal->address, false, &draft->address);
		terms->address = draft->address.bytes;
		draft->failed = draft->failed || draft->address.failed;
	}
	if (draft->failed)
		return STATUS_NO_MEMORY;
	terms->due_ms = flow_due(signal->home->dp, text_of(signal->ctx), terms, now_ms);
	return STATUS_OK;
}
