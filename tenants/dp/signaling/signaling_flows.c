/* The verbs of Data Plane Signaling: what a message does to a flow. */
#include <stdlib.h>
#include <string.h>

#include "server/base/secret.h"
#include "tenants/dp/signaling/flow_moves.h"
#include "tenants/dp/signaling/offer.h"
#include "tenants/dp/signaling/outbox.h"
#include "tenants/dp/signaling/signaling.h"
#include "tenants/dp/signaling/signaling_draft.h"
#include "tenants/dp/signaling/transfer_types.h"

enum { ATTEMPTS_MAX = 5 };

static const struct flow_terms *terms_of(const struct flow *flow)
{
	return atomic_load_explicit(&flow->terms, memory_order_acquire);
}

static struct flow *find_flow(const struct signal *signal)
{
	return dp_find(signal->home->dp, DP_FLOWS, text_of(signal->ctx), text_of(signal->id));
}

/* --- answers */

/* DataFlowStatusMessage (dps.md 1.2), strictly: nothing is null. */
static void answer_state(struct signal *signal, enum flow_state state)
{
	struct buffer body = {0};
	char message[ID_LENGTH + 1];
	bool is_later = state == FLOW_PREPARING || state == FLOW_STARTING;
	id_random(message);
	buffer_printf(&body, "{\"messageId\":\"%s\",\"dataFlowId\":", message);
	buffer_append_json(&body, text_of(signal->id));
	buffer_append(&body, TEXT(",\"state\":"));
	buffer_append_json(&body, flow_state_name(state));
	if (signal->offer.length > 0) {
		buffer_append(&body, TEXT(",\"dataAddress\":"));
		buffer_append(&body, buffer_text(&signal->offer));
	}
	buffer_append_byte(&body, '}');
	if (is_later) {
		struct buffer location = {0};
		buffer_printf(&location, "/dataflows/%s/status", signal->id);
		if (!location.failed)
			exchange_add_header_copy(signal->exchange, TEXT("location"), buffer_text(&location));
		buffer_free(&location);
	}
	if (body.failed || signal->offer.failed)
		signal_refuse(signal, 503, NULL);
	else
		answer_json(signal->exchange, is_later ? 202 : 200, buffer_text(&body));
	buffer_wipe(&body);
}

static bool wants_state(enum signaling_verb verb)
{
	return verb == SIGNALING_PREPARE || verb == SIGNALING_START || verb == SIGNALING_RESUME;
}

static void answer_verb(struct signal *signal, enum flow_state state)
{
	if (wants_state(signal->verb))
		answer_state(signal, state);
	else
		answer_empty(signal->exchange, 200);
}

void signal_status(struct signal *signal, struct text body)
{
	const struct flow *flow = find_flow(signal);
	struct buffer answer = {0};
	(void)body;
	if (flow == NULL) {
		signal_refuse(signal, 404, NULL);
		return;
	}
	buffer_append(&answer, TEXT("{\"dataFlowId\":"));
	buffer_append_json(&answer, text_of(signal->id));
	buffer_append(&answer, TEXT(",\"state\":"));
	buffer_append_json(&answer, flow_state_name(terms_of(flow)->state));
	buffer_append_byte(&answer, '}');
	if (answer.failed)
		signal_refuse(signal, 503, NULL);
	else
		answer_json(signal->exchange, 200, buffer_text(&answer));
	buffer_free(&answer);
}

/* --- storing: secrets, then the offer, then the record; then the answer */

static void store(struct signal *signal);

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct signal *signal = context;
	(void)revision;
	if (!signal_resumes(signal))
		return;
	const struct flow *flow = find_flow(signal);
	if (status == STATUS_CONFLICT && ++signal->attempts < ATTEMPTS_MAX) {
		signal_begin(signal); /* somebody was faster: judge the message by what is there now */
	} else if (status != STATUS_OK) {
		signal_refuse_status(signal, status == STATUS_NOT_FOUND ? STATUS_UNAVAILABLE : status);
	} else if (flow == NULL) {
		signal_refuse(signal, 404, NULL);
	} else {
		if (flow_is_final(flow))
			flow_forget_secrets(
				signal->home->dp, signal->home->worker, text_of(signal->ctx), text_of(signal->id), true);
		answer_verb(signal, signal->state);
	}
}

static void on_offer(void *context, enum status status, struct text address)
{
	struct signal *signal = context;
	if (!signal_resumes(signal))
		return;
	if (status != STATUS_OK) {
		signal_refuse(signal, 503, "the key is not available");
		return;
	}
	buffer_append(&signal->offer, address);
	struct transaction *transaction = signal->transaction;
	signal->transaction = NULL;
	signal->is_pending = true;
	store_submit(signal->home->dp->store, transaction, signal->home->worker, on_stored, signal);
}

static void refuse_move(struct signal *signal, const struct flow *flow)
{
	struct buffer detail = {0};
	struct text state = flow_state_name(flow == NULL ? FLOW_INITIALIZED : terms_of(flow)->state);
	buffer_printf(&detail, "a flow in state %.*s does not take this message", TEXT_ARGUMENTS(state));
	signal_refuse(signal, 409, detail.bytes);
	buffer_free(&detail);
}

/* The record, and before it the offer where this side gives the address. */
static void store(struct signal *signal)
{
	struct dp *dp = signal->home->dp;
	struct text ctx = text_of(signal->ctx), id = text_of(signal->id);
	const struct flow *flow = find_flow(signal);
	struct draft draft;
	enum status status = draft_make(signal, flow, &draft);
	signal->transaction = status == STATUS_OK ? transaction_new() : NULL;
	if (status == STATUS_OK &&
		(signal->transaction == NULL || !flow_store_into(dp, signal->transaction, ctx, id, &draft.terms,
											flow == NULL ? REVISION_ABSENT : terms_of(flow)->revision)))
		status = STATUS_NO_MEMORY;
	bool is_ready = draft.terms.state == FLOW_PREPARED || draft.terms.state == FLOW_STARTED;
	if (status == STATUS_CONFLICT) {
		refuse_move(signal, flow);
	} else if (status != STATUS_OK) {
		signal_refuse_status(signal, status);
	} else {
		signal->is_pending = true;
		signal->state = draft.terms.state;
		buffer_clear(&signal->offer);
		if (wants_state(signal->verb) && is_ready && flow_terms_offers(&draft.terms)) {
			offer_make(signal->home, ctx, id, &draft.terms, signal->transaction, on_offer, signal);
		} else {
			struct transaction *transaction = signal->transaction;
			signal->transaction = NULL;
			store_submit(dp->store, transaction, signal->home->worker, on_stored, signal);
		}
	}
	draft_free(&draft);
}

static void on_secrets_kept(void *context, enum status status, struct text result)
{
	struct signal *signal = context;
	(void)result;
	if (!signal_resumes(signal))
		return;
	if (status == STATUS_OK)
		store(signal);
	else
		signal_refuse(signal, 503, "the vault is not available");
}

/* The address as received goes to the vault whole, before the record names what is left of it. */
static void keep_secrets(struct signal *signal)
{
	char alias[FLOW_ALIAS_MAX];
	struct buffer whole = {0};
	if (signal->address == NULL) {
		store(signal);
		return;
	}
	data_address_print(signal->address, true, &whole);
	flow_alias(text_of(signal->id), "address", alias);
	if (whole.failed) {
		signal_refuse(signal, 503, NULL);
	} else {
		signal->is_pending = true;
		vault_secret_put(signal->home->dp->vault, text_of(signal->ctx), text_of(alias), buffer_text(&whole),
			signal->home->worker, on_secrets_kept, signal);
	}
	buffer_wipe(&whole);
}

/* --- messages that came before */

/* A repeated message is answered as the first time, and changes nothing (dps.md 9.4). */
static void answer_again(struct signal *signal, const struct flow *flow)
{
	const struct flow_terms *terms = terms_of(flow);
	bool is_ready = terms->state == FLOW_PREPARED || terms->state == FLOW_STARTED;
	buffer_clear(&signal->offer);
	signal->state = terms->state;
	if (!wants_state(signal->verb) || !is_ready || !flow_terms_offers(terms)) {
		answer_verb(signal, signal->state);
		return;
	}
	signal->transaction = transaction_new(); /* for the token that renews; the flow stays as it is */
	if (signal->transaction == NULL) {
		signal_refuse(signal, 503, NULL);
		return;
	}
	signal->is_pending = true;
	offer_make(signal->home, text_of(signal->ctx), text_of(signal->id), terms, signal->transaction, on_offer, signal);
}

static bool is_repeated(const struct signal *signal, const struct flow_terms *terms)
{
	struct buffer message = {0};
	struct json *messages = NULL;
	bool is_there = false;
	if (terms->messages != NULL && signal_message_key(signal, &message) &&
		json_parse(text_of(terms->messages), NULL, &messages) == STATUS_OK) {
		for (const struct json *item = json_first(messages); item != NULL && !is_there; item = json_next(item))
			is_there = text_equals(json_text(item), buffer_text(&message));
	}
	buffer_free(&message);
	json_free(messages);
	return is_there;
}

/* --- new flows */

/* The tenant's own document decides alone; else the list of its configuration; else the usual profiles. */
static bool takes_profile(const struct signal *signal, const struct participant *participant, struct text profile)
{
	struct text ctx = text_of(signal->ctx);
	if (participant->signaling.profiles != NULL &&
		dp_find(signal->home->dp, DP_TRANSFER_TYPES, ctx, TRANSFER_TYPES_ID) == NULL)
		return participant_has_profile(participant, profile);
	return transfer_types_find(signal->home->dp, ctx, profile) != NULL;
}

static enum flow_event new_event(const struct signal *signal)
{
	const struct flow_terms starting = {
		.state = FLOW_STARTING, .dataset = (char *)(uintptr_t)signal_field(signal, MESSAGE_FIELD_DATASET).bytes};
	bool is_later = flow_due(signal->home->dp, text_of(signal->ctx), &starting, 1) != 0;
	if (signal->verb == SIGNALING_START)
		return is_later ? FLOW_ON_START_LATER : FLOW_ON_START;
	return is_later ? FLOW_ON_PREPARE_LATER : FLOW_ON_PREPARE;
}

/* What is wrong with a first message, whatever flows there are. True: refused. */
static bool refuse_sender(struct signal *signal, const struct participant *participant)
{
	if (!participant_is_named(participant, signal_field(signal, MESSAGE_FIELD_PARTICIPANT)))
		signal_refuse(signal, 403, "participantId: is not this participant");
	else if (!takes_profile(signal, participant, signal_field(signal, MESSAGE_FIELD_PROFILE)))
		signal_refuse(signal, 400, "profile: is not one of this participant's");
	else
		return false;
	return true;
}

/* A provider gives what it has. True: refused. */
static bool refuse_dataset(struct signal *signal)
{
	struct text dataset = signal_field(signal, MESSAGE_FIELD_DATASET);
	if (signal->verb != SIGNALING_START ||
		dp_find(signal->home->dp, DP_DATASETS, text_of(signal->ctx), dataset) != NULL)
		return false;
	signal_refuse(signal, 404, "datasetId: there is no such dataset");
	return true;
}

/* The address is read once, however often the message is looked at. */
static bool has_good_address(
	struct signal *signal, const struct participant *participant, const struct flow_terms *terms)
{
	return signal->attempts > 0 || signal->has_asked || signal_check_address(signal, participant, terms);
}

static void create(struct signal *signal)
{
	const struct participant *participant = signal_participant(signal);
	const struct flow *flow = find_flow(signal);
	if (participant == NULL || refuse_sender(signal, participant))
		return;
	if (flow != NULL && is_repeated(signal, terms_of(flow))) {
		answer_again(signal, flow);
	} else if (flow != NULL) {
		signal_refuse(signal, 409, "processId: there is a flow with this id");
	} else if (!refuse_dataset(signal)) {
		const struct flow_terms terms = {.role = signal->verb == SIGNALING_START ? FLOW_PROVIDER : FLOW_CONSUMER,
			.profile = (char *)(uintptr_t)signal_field(signal, MESSAGE_FIELD_PROFILE).bytes,
			.agreement = (char *)(uintptr_t)signal_field(signal, MESSAGE_FIELD_AGREEMENT).bytes,
			.counter_party = (char *)(uintptr_t)signal_field(signal, MESSAGE_FIELD_COUNTER_PARTY).bytes,
			.control_plane = signal->control_plane};
		signal->event = new_event(signal);
		if (has_good_address(signal, participant, &terms) && signal_has_agreement(signal, &terms))
			keep_secrets(signal);
	}
}

/* --- flows that exist */

static const enum flow_event events[SIGNALING_VERB_COUNT] = {[SIGNALING_STARTED] = FLOW_ON_STARTED,
	[SIGNALING_SUSPEND] = FLOW_ON_SUSPEND,
	[SIGNALING_RESUME] = FLOW_ON_RESUME,
	[SIGNALING_TERMINATE] = FLOW_ON_TERMINATE,
	[SIGNALING_COMPLETED] = FLOW_ON_COMPLETE};

static void move(struct signal *signal)
{
	const struct participant *participant = signal_participant(signal);
	const struct flow *flow = find_flow(signal);
	enum flow_state to;
	if (participant == NULL)
		return;
	if (flow == NULL) {
		signal_refuse(signal, 404, NULL);
		return;
	}
	const struct flow_terms *terms = terms_of(flow);
	signal->event = events[signal->verb];
	if (is_repeated(signal, terms))
		answer_again(signal, flow);
	else if (!flow_may_move(terms->state, signal->event, &to))
		refuse_move(signal, flow);
	else if (to == terms->state)
		answer_verb(signal, to);
	else if (signal->verb == SIGNALING_RESUME && terms->role == FLOW_PROVIDER &&
			 signal_refuse_agreement(signal, text_of(terms->agreement)))
		return;
	else if (has_good_address(signal, participant, terms) &&
			 (signal->verb != SIGNALING_STARTED || signal_has_agreement(signal, terms)))
		keep_secrets(signal);
}

/* --- */

void signal_begin(struct signal *signal)
{
	transaction_free(signal->transaction);
	signal->transaction = NULL;
	if (signal->verb == SIGNALING_PREPARE || signal->verb == SIGNALING_START)
		create(signal);
	else
		move(signal);
}

/* False: answered. */
static bool parse(struct signal *signal, struct text body)
{
	struct buffer error = {0};
	enum status status = signaling_message_parse(signal->verb, body, &signal->message, &error);
	if (status != STATUS_OK)
		signal_refuse(signal, status_to_http(status), error.bytes);
	buffer_free(&error);
	return status == STATUS_OK;
}

void signal_create(struct signal *signal, struct text body)
{
	if (!parse(signal, body))
		return;
	signal->id = text_copy(signal_field(signal, MESSAGE_FIELD_PROCESS));
	if (signal->id == NULL)
		signal_refuse(signal, 503, NULL);
	else
		signal_begin(signal);
}

void signal_move(struct signal *signal, struct text body)
{
	if (parse(signal, body))
		signal_begin(signal);
}
