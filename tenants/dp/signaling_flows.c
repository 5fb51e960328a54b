/* The verbs of Data Plane Signaling: what a message does to a flow. */
#include <stdlib.h>
#include <string.h>

#include "tenants/dp/fetch.h"
#include "tenants/dp/flow_moves.h"
#include "tenants/dp/offer.h"
#include "tenants/dp/outbox.h"
#include "tenants/dp/signaling.h"

enum { ATTEMPTS_MAX = 5, MESSAGES_MAX = 16, LIFETIME_MAX_S = 366 * 24 * 3600 };

static struct text profile_http_pull(void)
{
	return TEXT("https://w3id.org/dspace-sig/profile/http-pull");
}

static const struct flow_terms *terms_of(const struct flow *flow)
{
	return atomic_load_explicit(&flow->terms, memory_order_acquire);
}

static struct flow *find_flow(const struct signal *signal)
{
	return dp_find(signal->home->dp, DP_FLOWS, text_of(signal->ctx), text_of(signal->id));
}

static struct text field(const struct signal *signal, enum message_field name)
{
	return message_text(&signal->message, name);
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
			exchange_add_header(
				signal->exchange, TEXT("location"), exchange_copy(signal->exchange, buffer_text(&location)));
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

/* --- addresses */

static bool wrong(struct signal *signal, const char *detail)
{
	signal_refuse(signal, 400, detail);
	return false;
}

static bool check_url(
	struct signal *signal, const struct participant *participant, struct text text, const char *detail)
{
	struct url url;
	if (url_parse(text, &url) != STATUS_OK || (!url.tls && !participant->signaling.allows_clear))
		return wrong(signal, detail);
	struct address_rules rules = participant_address_rules(participant);
	if (client_check_url(signal->home->worker, &url, &rules) != STATUS_OK)
		return wrong(signal, "dataAddress.endpoint: leads where this participant may not connect to");
	return true;
}

/* What the renewal of tokens needs (dps.md 4.3); its endpoint may be the data's own. */
static bool is_renewable(const struct data_address *address)
{
	uint64_t lifetime_s;
	return data_address_property(address, "authorization").length > 0 &&
		   text_equals_ignoring_case(data_address_property(address, "authType"), TEXT("bearer")) &&
		   data_address_property(address, "refreshToken").length > 0 &&
		   text_to_unsigned(data_address_property(address, "expiresIn"), LIFETIME_MAX_S, &lifetime_s) == STATUS_OK;
}

/* The HTTP profile's addresses are of its own type and direction (dps.md 4.2); older profiles name no type. */
static bool has_right_type(const struct data_address *address, struct text profile)
{
	struct text http = TEXT("https://w3id.org/dspace-sig/profile/"), type = data_address_type(address);
	if (text_starts_with(profile, http))
		return text_equals(type, profile);
	bool is_push = text_ends_with(type, TEXT("-push"));
	return !text_starts_with(type, http) ||
		   is_push == flow_terms_is_push(&(struct flow_terms){.profile = (char *)(uintptr_t)profile.bytes});
}

/* Reads the message's address into signal->address. False: answered. */
static bool read_address(struct signal *signal)
{
	const struct json *body = signal->message.fields[MESSAGE_FIELD_ADDRESS];
	struct buffer error = {0};
	if (body == NULL || json_count(body) == 0) /* {}: an example of the specification has it so */
		return true;
	enum status status = data_address_parse(body, &signal->address, &error);
	if (status != STATUS_OK)
		signal_refuse(signal, status_to_http(status), error.bytes);
	buffer_free(&error);
	return status == STATUS_OK;
}

/* Is an address there exactly where one belongs, and is it one we may use? False: answered. */
static bool check_address(struct signal *signal, const struct participant *participant, const struct flow_terms *terms)
{
	bool is_push = flow_terms_is_push(terms), is_http_pull = text_equals(text_of(terms->profile), profile_http_pull());
	bool needs_renewal = is_http_pull && participant->signaling.needs_renewal;
	if (!read_address(signal))
		return false;
	const struct data_address *address = signal->address;
	if (address != NULL && flow_terms_offers(terms))
		return wrong(signal, "dataAddress: this side of the flow gives the address");
	if (address == NULL && signal->verb == SIGNALING_START && is_push)
		return wrong(signal, "dataAddress: is missing");
	if (address == NULL && signal->verb == SIGNALING_STARTED && !is_push && is_http_pull)
		return wrong(signal, "dataAddress: is missing");
	if (address == NULL)
		return true;
	if (!has_right_type(address, text_of(terms->profile)))
		return wrong(signal, "dataAddress.endpointType: is not that of the profile");
	if (needs_renewal && !is_renewable(address))
		return wrong(signal, "dataAddress: lacks properties for renewal");
	struct text refresh = data_address_property(address, "refreshEndpoint");
	return check_url(
			   signal, participant, data_address_endpoint(address), "dataAddress.endpoint: must be an https URL") &&
		   (refresh.bytes == NULL ||
			   check_url(signal, participant, refresh, "dataAddress.refreshEndpoint: must be an https URL"));
}

/* --- storing: secrets, then the offer, then the record; then the answer */

static void store(struct signal *signal);
static void begin(struct signal *signal);

static void on_stored(void *context, enum status status, int64_t revision)
{
	struct signal *signal = context;
	(void)revision;
	if (!signal_resumes(signal))
		return;
	const struct flow *flow = find_flow(signal);
	if (status == STATUS_CONFLICT && ++signal->attempts < ATTEMPTS_MAX) {
		begin(signal); /* somebody was faster: judge the message by what is there now */
	} else if (status != STATUS_OK) {
		signal_refuse_status(signal, status == STATUS_NOT_FOUND ? STATUS_UNAVAILABLE : status);
	} else if (flow == NULL) {
		signal_refuse(signal, 404, NULL);
	} else {
		if (flow_is_final(flow))
			flow_forget_secrets(signal->home->dp, signal->home->worker, text_of(signal->ctx), text_of(signal->id));
		answer_verb(signal, terms_of(flow)->state);
	}
}

/* Borrows from the message, the signal and `old`; of those that outlive the message it says more than before. */
struct draft {
	struct flow_terms terms;
	struct buffer address, claims, labels, metadata, messages;
	char *texts[8];
	unsigned text_count;
	bool failed;
};

static void draft_free(struct draft *draft)
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

/* The ids of the last messages, with this one: what is seen again is not obeyed again. */
static void draft_messages(struct draft *draft, struct text message)
{
	struct json *before = NULL;
	size_t count = 0;
	if (message.bytes == NULL)
		return;
	if (draft->terms.messages != NULL && json_parse(text_of(draft->terms.messages), NULL, &before) == STATUS_OK)
		count = json_count(before);
	buffer_append_byte(&draft->messages, '[');
	for (const struct json *item = json_first(before); item != NULL; item = json_next(item), count--) {
		if (count >= MESSAGES_MAX)
			continue;
		buffer_append_json(&draft->messages, json_text(item));
		buffer_append_byte(&draft->messages, ',');
	}
	buffer_append_json(&draft->messages, message);
	buffer_append_byte(&draft->messages, ']');
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
	terms->dataset = draft_text(draft, field(signal, MESSAGE_FIELD_DATASET));
	terms->agreement = draft_text(draft, field(signal, MESSAGE_FIELD_AGREEMENT));
	terms->counter_party = draft_text(draft, field(signal, MESSAGE_FIELD_COUNTER_PARTY));
	terms->participant = draft_text(draft, field(signal, MESSAGE_FIELD_PARTICIPANT));
	terms->profile = draft_text(draft, field(signal, MESSAGE_FIELD_PROFILE));
	terms->dataspace = draft_text(draft, field(signal, MESSAGE_FIELD_DATASPACE));
	terms->claims = draft_json(draft, &draft->claims, fields[MESSAGE_FIELD_CLAIMS]);
	terms->labels = draft_json(draft, &draft->labels, fields[MESSAGE_FIELD_LABELS]);
	terms->metadata = draft_json(draft, &draft->metadata, fields[MESSAGE_FIELD_METADATA]);
	terms->control_plane = signal->control_plane;
	terms->public_url = signal->public_url;
	terms->created_ms = worker_wall_ms(signal->home->worker);
}

/* What the record will say. CONFLICT: the table refuses. */
static enum status draft_make(const struct signal *signal, const struct flow *flow, struct draft *draft)
{
	struct flow_terms *terms = &draft->terms;
	int64_t now_ms = worker_wall_ms(signal->home->worker);
	*draft = (struct draft){.failed = false};
	if (flow != NULL)
		*terms = *terms_of(flow);
	else
		draft_new(signal, draft);
	enum status status = flow_terms_move(terms, signal->event, now_ms);
	if (status != STATUS_OK)
		return status;
	draft_messages(draft, field(signal, MESSAGE_FIELD_ID));
	if (signal->verb == SIGNALING_SUSPEND || signal->verb == SIGNALING_TERMINATE)
		terms->reason = draft_text(draft, field(signal, MESSAGE_FIELD_REASON));
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
	if (transaction != NULL)
		store_submit(signal->home->dp->store, transaction, signal->home->worker, on_stored, signal);
	else
		on_stored(signal, STATUS_OK, 0); /* said again: nothing changes */
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
	if (!wants_state(signal->verb) || !is_ready || !flow_terms_offers(terms)) {
		answer_verb(signal, terms->state);
		return;
	}
	signal->is_pending = true;
	offer_make(signal->home, text_of(signal->ctx), text_of(signal->id), terms, NULL, on_offer, signal);
}

static bool is_repeated(const struct signal *signal, const struct flow_terms *terms)
{
	struct text message = field(signal, MESSAGE_FIELD_ID);
	struct json *messages = NULL;
	if (message.bytes == NULL || terms->messages == NULL ||
		json_parse(text_of(terms->messages), NULL, &messages) != STATUS_OK)
		return false;
	bool is_there = false;
	for (const struct json *item = json_first(messages); item != NULL && !is_there; item = json_next(item))
		is_there = text_equals(json_text(item), message);
	json_free(messages);
	return is_there;
}

/* --- new flows */

static enum flow_event new_event(const struct signal *signal)
{
	const struct flow_terms starting = {
		.state = FLOW_STARTING, .dataset = (char *)(uintptr_t)field(signal, MESSAGE_FIELD_DATASET).bytes};
	bool is_later = flow_due(signal->home->dp, text_of(signal->ctx), &starting, 1) != 0;
	if (signal->verb == SIGNALING_START)
		return is_later ? FLOW_ON_START_LATER : FLOW_ON_START;
	return is_later ? FLOW_ON_PREPARE_LATER : FLOW_ON_PREPARE;
}

static void create(struct signal *signal)
{
	const struct participant *participant = signal_participant(signal);
	const struct flow *flow = find_flow(signal);
	struct text dataset = field(signal, MESSAGE_FIELD_DATASET);
	if (participant == NULL)
		return;
	if (!participant_is_named(participant, field(signal, MESSAGE_FIELD_PARTICIPANT))) {
		signal_refuse(signal, 403, "participantId: is not this participant");
	} else if (!participant_has_profile(participant, field(signal, MESSAGE_FIELD_PROFILE))) {
		signal_refuse(signal, 400, "profile: is not one of this participant's");
	} else if (flow != NULL && is_repeated(signal, terms_of(flow))) {
		answer_again(signal, flow);
	} else if (flow != NULL) {
		signal_refuse(signal, 409, "processId: there is a flow with this id");
	} else if (signal->verb == SIGNALING_START &&
			   dp_find(signal->home->dp, DP_DATASETS, text_of(signal->ctx), dataset) == NULL) {
		signal_refuse(signal, 404, "datasetId: there is no such dataset");
	} else {
		const struct flow_terms terms = {.role = signal->verb == SIGNALING_START ? FLOW_PROVIDER : FLOW_CONSUMER,
			.profile = (char *)(uintptr_t)field(signal, MESSAGE_FIELD_PROFILE).bytes};
		signal->event = new_event(signal);
		if (signal->attempts > 0 || check_address(signal, participant, &terms))
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
	else if (signal->attempts > 0 || check_address(signal, participant, terms))
		keep_secrets(signal);
}

/* --- */

static void begin(struct signal *signal)
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
	signal->id = text_copy(field(signal, MESSAGE_FIELD_PROCESS));
	if (signal->id == NULL)
		signal_refuse(signal, 503, NULL);
	else
		begin(signal);
}

void signal_move(struct signal *signal, struct text body)
{
	if (parse(signal, body))
		begin(signal);
}
