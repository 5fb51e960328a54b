/* From records to what workers read: the store's listener, publication, and the cutting of live streams. Everything
 * here runs on the store's thread (or the loading one) but for the cuts themselves. */
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "tenants/dp/contract/books.h"
#include "tenants/dp/contract/contract.h"
#include "tenants/dp/opaque_token.h"
#include "tenants/dp/pull.h"
#include "tenants/dp/renewal.h"
#include "tenants/dp/signaling/control_plane.h"
#include "tenants/dp/signaling/key_mapping.h"
#include "tenants/dp/signaling/outbox.h"
#include "tenants/dp/signaling/transfer_types.h"
#include "tenants/dp/sink/push.h"

/* --- old versions are freed in the order they were replaced: a version shares memory with the one made from it */

struct grave {
	void (*release)(void *object);
	void *object;
	struct dp *dp;
	bool is_ready;
	struct grave *next;
};

static void on_grace(void *object)
{
	struct grave *grave = object, *ready = NULL, **end = &ready;
	struct dp *dp = grave->dp;
	pthread_mutex_lock(&dp->graves_lock);
	grave->is_ready = true;
	while (dp->graves != NULL && dp->graves->is_ready) {
		*end = dp->graves;
		end = &dp->graves->next;
		dp->graves = dp->graves->next;
	}
	*end = NULL;
	if (dp->graves == NULL)
		dp->graves_end = &dp->graves;
	/* released under the lock: the next batch must not overtake this one */
	while (ready != NULL) {
		struct grave *next = ready->next;
		ready->release(ready->object);
		free(ready);
		ready = next;
	}
	pthread_mutex_unlock(&dp->graves_lock);
}

static void retire(struct dp *dp, void (*release)(void *object), void *object)
{
	if (object == NULL)
		return;
	if (dp->loading) {
		release(object);
		return;
	}
	struct grave *grave = malloc(sizeof(*grave));
	if (grave == NULL) {
		LOG(ERROR, "dp.retire", log_text("error", TEXT("out of memory: an old version is never freed")));
		return;
	}
	*grave = (struct grave){.release = release, .object = object, .dp = dp};
	pthread_mutex_lock(&dp->graves_lock);
	*dp->graves_end = grave;
	dp->graves_end = &grave->next;
	pthread_mutex_unlock(&dp->graves_lock);
	worker_pool_retire(dp->pool, on_grace, grave);
}

static void retire_map(void *map)
{
	map_retire(map);
}

/* value NULL: removes */
static enum status publish(struct dp *dp, enum dp_map which, struct text ctx, struct text id, void *value)
{
	char room[1024];
	struct text key = map_key(room, sizeof(room), (const struct text[]){ctx, id}, 2);
	struct map *old = atomic_load_explicit(&dp->maps[which], memory_order_relaxed), *next = old;
	if (key.length == 0)
		return STATUS_TOO_LARGE;
	if (dp->loading && value != NULL)
		return map_load(old, key, value);
	enum status status = value != NULL ? map_put(old, key, value, &next) : map_remove(old, key, &next);
	if (status == STATUS_OK && next != old) {
		atomic_store_explicit(&dp->maps[which], next, memory_order_release);
		retire(dp, retire_map, old);
	}
	return status;
}

/* --- cuts */

struct cut {
	struct task task;
	struct dp_worker *home;
	struct dp *dp;
	unsigned index;
	struct flow *flow;
};

static void run_cut(struct task *task)
{
	struct cut *cut = (struct cut *)task;
	struct dp_worker *home = dp_here(cut->dp, worker_pool_at(cut->dp->pool, cut->index));
	if (home != NULL)
		pull_cut(home, cut->flow);
	free(cut);
}

/* The flow stays alive until these have run: it is retired, if at all, behind them. */
static void cut_everywhere(struct dp *dp, struct flow *flow)
{
	for (unsigned i = 0; i < dp->workers && !dp->loading; i++) {
		struct cut *cut = malloc(sizeof(*cut));
		if (cut == NULL) { /* the contract's end outranks this process: better restarted than leaking bytes */
			LOG(ERROR, "dp.cut", log_text("error", TEXT("out of memory")));
			abort();
		}
		*cut = (struct cut){.task = {.run = run_cut}, .dp = dp, .index = i, .flow = flow};
		worker_post(worker_pool_at(dp->pool, i), &cut->task);
	}
}

struct search {
	struct dp *dp;
	const char *ctx;
	bool is_serving;
};

static bool tell_flow_of(void *context, struct text key, void *value)
{
	const struct search *search = context;
	struct flow *flow = value;
	(void)key;
	if (strcmp(flow->ctx, search->ctx) != 0)
		return true;
	if (search->is_serving) {
		pushes_flow_changed(search->dp, flow, atomic_load_explicit(&flow->terms, memory_order_relaxed));
	} else {
		cut_everywhere(search->dp, flow);
		pushes_flow_held(search->dp, flow);
	}
	return true;
}

/* --- agreements: one for each that is spoken of */

/* Found, or made and published; NULL: out of memory. */
static struct agreement *obtain_agreement(struct dp *dp, struct text ctx, struct text id)
{
	struct agreement *agreement = dp_find(dp, DP_AGREEMENTS, ctx, id);
	if (agreement != NULL)
		return agreement;
	agreement = agreement_new(ctx, id, dp->workers);
	if (agreement != NULL && publish(dp, DP_AGREEMENTS, ctx, id, agreement) != STATUS_OK) {
		agreement_drop(agreement);
		return NULL;
	}
	return agreement;
}

/* Nobody speaks of it any more. */
static void forget_if_unused(struct dp *dp, struct agreement *agreement)
{
	if (agreement->users == 0 && agreement->slots == NULL &&
		atomic_load_explicit(&agreement->terms, memory_order_relaxed) == NULL &&
		publish(dp, DP_AGREEMENTS, text_of(agreement->ctx), text_of(agreement->id), NULL) == STATUS_OK)
		retire(dp, agreement_drop, agreement);
}

static struct agreement *use_agreement(struct dp *dp, struct text ctx, struct text id)
{
	struct agreement *agreement = obtain_agreement(dp, ctx, id);
	if (agreement == NULL)
		return NULL;
	if (!agreement_make_lanes(agreement)) {
		forget_if_unused(dp, agreement);
		return NULL;
	}
	agreement->users++;
	return agreement;
}

static void leave_agreement(struct dp *dp, struct agreement *agreement)
{
	agreement->users--;
	forget_if_unused(dp, agreement);
}

static enum status on_agreement(
	struct dp *dp, const struct record *record, const struct json *body, struct buffer *error)
{
	struct agreement_terms *terms = NULL;
	struct agreement *agreement = obtain_agreement(dp, record->ctx, record->id);
	if (agreement == NULL)
		return STATUS_NO_MEMORY;
	enum status status = agreement_terms_parse(body, &terms, error);
	if (status != STATUS_OK) /* what cannot be read allows nothing, rather than everything */
		terms = agreement_terms_deny();
	if (terms == NULL)
		return STATUS_NO_MEMORY;
	terms->revision = record->revision;
	retire(dp, agreement_terms_free, atomic_exchange_explicit(&agreement->terms, terms, memory_order_acq_rel));
	contract_check_everywhere(dp, agreement);
	return status;
}

enum status records_book(
	struct dp *dp, struct text ctx, struct text id, struct text cell, const struct book_totals *totals, bool is_counted)
{
	struct agreement *agreement = obtain_agreement(dp, ctx, id);
	return agreement == NULL ? STATUS_NO_MEMORY : agreement_book(agreement, cell, totals, is_counted);
}

void records_forget_book(struct dp *dp, struct text ctx, struct text id, struct text cell)
{
	struct agreement *agreement = dp_find(dp, DP_AGREEMENTS, ctx, id);
	if (agreement == NULL)
		return;
	agreement_forget_book(agreement, cell);
	forget_if_unused(dp, agreement);
}

static void agreement_gone(struct dp *dp, const struct record *record)
{
	struct agreement *agreement = dp_find(dp, DP_AGREEMENTS, record->ctx, record->id);
	if (agreement == NULL)
		return;
	retire(dp, agreement_terms_free, atomic_exchange_explicit(&agreement->terms, NULL, memory_order_acq_rel));
	contract_check_everywhere(dp, agreement);
	forget_if_unused(dp, agreement);
}

bool dp_serves(const struct participant *participant)
{
	return participant != NULL && participant->state == PARTICIPANT_ACTIVATED &&
		   (participant->vpas >> VPA_DATAPLANE & 1U) != 0;
}

static bool check_if_of(void *context, struct text key, void *value)
{
	const struct search *search = context;
	struct agreement *agreement = value;
	(void)key;
	if (strcmp(agreement->ctx, search->ctx) == 0)
		contract_check_everywhere(search->dp, agreement);
	return true;
}

static bool is_same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void on_participant(
	void *context, const char *ctx, const struct participant *participant, const struct participant *previous)
{
	struct dp *dp = context;
	bool serves = dp_serves(participant);
	struct search search = {dp, ctx, serves};
	if (dp->loading)
		return;
	if (participant == NULL)
		books_forget(dp->books, text_of(ctx));
	if (dp_serves(previous) != serves)
		map_each(atomic_load_explicit(&dp->maps[DP_FLOWS], memory_order_relaxed), tell_flow_of, &search);
	else if (serves && !is_same(previous->region, participant->region))
		map_each(atomic_load_explicit(&dp->maps[DP_AGREEMENTS], memory_order_relaxed), check_if_of, &search);
}

/* --- records */

static void *find_own(struct dp *dp, enum dp_map which, const struct record *record)
{
	return dp_find(dp, which, record->ctx, record->id);
}

static void flow_gone(struct dp *dp, const struct record *record)
{
	struct flow *flow = find_own(dp, DP_FLOWS, record);
	if (flow == NULL || publish(dp, DP_FLOWS, record->ctx, record->id, NULL) != STATUS_OK)
		return;
	cut_everywhere(dp, flow);
	pushes_flow_gone(dp, flow);
	struct agreement *agreement = atomic_load_explicit(&flow->agreement, memory_order_relaxed);
	retire(dp, flow_free, flow); /* it may be gone at once */
	leave_agreement(dp, agreement);
	outbox_wake(dp, record->ctx, record->id);
}

static enum status on_flow(struct dp *dp, const struct record *record, const struct json *body, struct buffer *error)
{
	struct flow_terms *terms;
	enum status status = flow_terms_parse(body, false, &terms, error);
	if (status != STATUS_OK)
		return status;
	terms->revision = record->revision;
	struct flow *flow = find_own(dp, DP_FLOWS, record);
	struct agreement *agreement = use_agreement(dp, record->ctx, text_of(terms->agreement));
	if (agreement == NULL) {
		flow_terms_free(terms);
		return STATUS_NO_MEMORY;
	}
	if (flow == NULL) {
		flow = flow_new(record->ctx, record->id, terms, dp->workers);
		if (flow == NULL) {
			flow_terms_free(terms);
			leave_agreement(dp, agreement);
			return STATUS_NO_MEMORY;
		}
		atomic_store_explicit(&flow->agreement, agreement, memory_order_relaxed);
		status = publish(dp, DP_FLOWS, record->ctx, record->id, flow);
		if (status != STATUS_OK) {
			flow_free(flow);
			leave_agreement(dp, agreement);
			return status;
		}
		pushes_flow_changed(dp, flow, terms);
		outbox_wake(dp, record->ctx, record->id);
		return STATUS_OK;
	}
	struct agreement *other = atomic_exchange_explicit(&flow->agreement, agreement, memory_order_acq_rel);
	struct flow_terms *old = atomic_exchange_explicit(&flow->terms, terms, memory_order_acq_rel);
	if (terms->state != FLOW_STARTED || strcmp(old->dataset, terms->dataset) != 0 ||
		strcmp(old->counter_party, terms->counter_party) != 0 || other != agreement)
		cut_everywhere(dp, flow);
	else if (!is_same(old->region, terms->region) || !is_same(old->purpose, terms->purpose) ||
			 !is_same(old->industry, terms->industry))
		contract_check_everywhere(dp, agreement);
	pushes_flow_changed(dp, flow, terms);
	retire(dp, flow_terms_free, old);
	leave_agreement(dp, other);
	outbox_wake(dp, record->ctx, record->id);
	return STATUS_OK;
}

/* --- kinds whose record becomes one object, replaced whole */

struct document_kind {
	enum record_kind record;
	enum dp_map map;
	enum status (*build)(
		struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error);
	void (*release)(void *object);
	void (*on_published)(struct dp *dp, const void *object); /* may be NULL */
	void (*on_left)(struct dp *dp);                          /* one is replaced or gone; may be NULL */
};

static enum status build_dataset(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct dataset *dataset;
	enum status status = dataset_build(record->ctx, record->id, body, dp->workers, &dataset, error);
	if (status != STATUS_OK)
		return status;
	dataset->revision = record->revision;
	*object = dataset;
	return STATUS_OK;
}

static void revocation_free(void *object)
{
	struct revocation *revocation = object;
	if (revocation != NULL) {
		free(revocation->ctx);
		free(revocation->jti);
		free(revocation);
	}
}

static enum status build_revocation(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct revocation *revocation = calloc(1, sizeof(*revocation));
	(void)dp, (void)error;
	if (revocation == NULL)
		return STATUS_NO_MEMORY;
	revocation->ctx = text_copy(record->ctx);
	revocation->jti = text_copy(record->id);
	if (!json_integer(json_member(body, "expiresAt"), &revocation->expires_ms))
		revocation->expires_ms = INT64_MAX;
	if (revocation->ctx == NULL || revocation->jti == NULL) {
		revocation_free(revocation);
		return STATUS_NO_MEMORY;
	}
	*object = revocation;
	return STATUS_OK;
}

static enum status build_transfer_types(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct transfer_types *types = NULL;
	enum status status = transfer_types_build(body, &types, error);
	(void)dp, (void)record;
	*object = types;
	return status;
}

static enum status build_key_mapping(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct key_mapping *mapping = NULL;
	enum status status = key_mapping_build(body, false, &mapping, error);
	(void)dp, (void)record;
	*object = mapping;
	return status;
}

static enum status build_renewal(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct renewal *renewal;
	enum status status = renewal_parse(record->ctx, record->id, body, &renewal);
	(void)dp, (void)error;
	if (status != STATUS_OK)
		return status;
	renewal->revision = record->revision;
	*object = renewal;
	return STATUS_OK;
}

static enum status build_letter(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct letter *letter;
	enum status status = letter_parse(record->ctx, body, &letter);
	(void)dp, (void)error;
	if (status != STATUS_OK)
		return status;
	letter->revision = record->revision;
	*object = letter;
	return STATUS_OK;
}

static enum status build_token(
	struct dp *dp, const struct record *record, const struct json *body, void **object, struct buffer *error)
{
	struct opaque_token *token = NULL;
	enum status status =
		record->id.length != DIGEST_HEX ? STATUS_INVALID : opaque_token_build(record->ctx, body, &token);
	(void)dp, (void)error;
	*object = token;
	return status;
}

static void token_left(struct dp *dp)
{
	atomic_fetch_add_explicit(&dp->token_epoch, 1, memory_order_release);
}

static void wake_letter(struct dp *dp, const void *object)
{
	const struct letter *letter = object;
	outbox_wake(dp, text_of(letter->ctx), text_of(letter->flow));
}

static const struct document_kind documents[] = {
	{RECORD_DATASET, DP_DATASETS, build_dataset, dataset_unref, NULL, NULL},
	{RECORD_REVOCATION, DP_REVOCATIONS, build_revocation, revocation_free, NULL, NULL},
	{RECORD_TRANSFER_TYPES, DP_TRANSFER_TYPES, build_transfer_types, transfer_types_free, NULL, NULL},
	{RECORD_KEY_MAPPING, DP_KEY_MAPPINGS, build_key_mapping, key_mapping_free, NULL, NULL},
	{RECORD_RENEWAL, DP_RENEWALS, build_renewal, renewal_free, NULL, NULL},
	{RECORD_OUTBOX, DP_LETTERS, build_letter, letter_free, wake_letter, NULL},
	{RECORD_TOKEN, DP_TOKENS, build_token, opaque_token_free, NULL, token_left},
};
enum { DOCUMENT_COUNT = sizeof(documents) / sizeof(documents[0]) };

/* NULL: a flow, or none of ours. */
static const struct document_kind *document_of(enum record_kind record)
{
	for (size_t i = 0; i < DOCUMENT_COUNT; i++) {
		if (documents[i].record == record)
			return &documents[i];
	}
	return NULL;
}

/* `old` is not found any more. */
static void left(struct dp *dp, const struct document_kind *kind, void *old)
{
	if (old != NULL && kind->on_left != NULL)
		kind->on_left(dp);
	retire(dp, kind->release, old);
}

static enum status on_document(struct dp *dp, const struct document_kind *kind, const struct record *record,
	const struct json *body, struct buffer *error)
{
	void *old = find_own(dp, kind->map, record), *object = NULL;
	enum status status = kind->build(dp, record, body, &object, error);
	if (status != STATUS_OK)
		return status;
	status = publish(dp, kind->map, record->ctx, record->id, object);
	if (status != STATUS_OK) {
		kind->release(object);
		return status;
	}
	left(dp, kind, old);
	if (kind->on_published != NULL)
		kind->on_published(dp, object);
	return STATUS_OK;
}

/* All control planes of a participant are one list: `plane` (taken over) takes the place of the one with its id, NULL
 * removes it. */
static enum status change_planes(struct dp *dp, const struct record *record, struct control_plane *plane)
{
	struct control_planes *old = dp_find(dp, DP_CONTROL_PLANES, record->ctx, TEXT("")), *next = NULL;
	enum status status = control_planes_change(old, record->ctx, record->id, plane, &next);
	if (status != STATUS_OK) {
		control_plane_unref(plane);
		return status;
	}
	if (old != NULL || next != NULL)
		status = publish(dp, DP_CONTROL_PLANES, record->ctx, TEXT(""), next);
	if (status != STATUS_OK) {
		control_planes_free(next);
		return status;
	}
	retire(dp, control_planes_free, old);
	outbox_wake_all(dp, record->ctx);
	return STATUS_OK;
}

static enum status on_control_plane(
	struct dp *dp, const struct record *record, const struct json *body, struct buffer *error)
{
	struct control_plane *plane = NULL;
	struct text secret;
	enum status status = control_plane_parse(body, &plane, &secret, error);
	if (status != STATUS_OK)
		return status;
	plane->revision = record->revision;
	return change_planes(dp, record, plane);
}

static void on_gone(struct dp *dp, const struct record *record)
{
	const struct document_kind *kind = document_of(record->kind);
	if (record->kind == RECORD_FLOW)
		flow_gone(dp, record);
	else if (record->kind == RECORD_AGREEMENT)
		agreement_gone(dp, record);
	else if (record->kind == RECORD_BOOK)
		books_on_gone(dp->books, record);
	else if (kind == NULL && change_planes(dp, record, NULL) != STATUS_OK)
		LOG(ERROR, "dp.record", log_text("tenant", record->ctx), log_text("error", TEXT("out of memory")));
	if (kind == NULL)
		return;
	void *old = find_own(dp, kind->map, record);
	if (old != NULL && publish(dp, kind->map, record->ctx, record->id, NULL) == STATUS_OK)
		left(dp, kind, old);
}

static enum status take(struct dp *dp, const struct document_kind *kind, const struct record *record,
	const struct json *body, struct buffer *error)
{
	if (kind != NULL)
		return on_document(dp, kind, record, body, error);
	return record->kind == RECORD_FLOW        ? on_flow(dp, record, body, error)
		   : record->kind == RECORD_AGREEMENT ? on_agreement(dp, record, body, error)
		   : record->kind == RECORD_BOOK      ? books_on_record(dp->books, record, body)
											  : on_control_plane(dp, record, body, error);
}

/* Later ones are our own. */
static void load_push(struct dp *dp, const struct record *record)
{
	struct flow *flow = find_own(dp, DP_FLOWS, record);
	struct json *body = NULL;
	if (flow != NULL && json_parse(record->body, NULL, &body) == STATUS_OK)
		pushes_load_progress(flow, body);
	json_free(body);
}

static void on_record(void *context, const struct record *record)
{
	struct dp *dp = context;
	const struct document_kind *kind = document_of(record->kind);
	if (record->kind == RECORD_PUSH && dp->loading && record->body.bytes != NULL)
		load_push(dp, record);
	if (kind == NULL && record->kind != RECORD_FLOW && record->kind != RECORD_CONTROL_PLANE &&
		record->kind != RECORD_AGREEMENT && record->kind != RECORD_BOOK)
		return;
	if (record->body.bytes == NULL) {
		on_gone(dp, record);
		return;
	}
	struct json *body = NULL;
	struct buffer error = {0};
	enum status status = json_parse(record->body, NULL, &body);
	if (status == STATUS_OK)
		status = take(dp, kind, record, body, &error);
	if (status != STATUS_OK) { /* a record nobody understands admits nothing */
		LOG(ERROR, "dp.record", log_text("tenant", record->ctx),
			log_text("kind", text_of(record_kind_name(record->kind))), log_text("id", record->id),
			log_text("error", error.length > 0 ? buffer_text(&error) : text_of(status_text(status))));
		if (record->kind != RECORD_REVOCATION && record->kind != RECORD_AGREEMENT && record->kind != RECORD_BOOK)
			on_gone(dp, record);
	}
	buffer_free(&error);
	json_free(body);
}

static void on_batch(void *context)
{
	struct dp *dp = context;
	if (!dp->loading)
		opaque_tokens_sweep(dp);
	dp->loading = false;
}

void records_listen(struct dp *dp)
{
	const struct store_listener listener = {.on_record = on_record, .on_batch = on_batch, .context = dp};
	store_listen(dp->store, &listener);
	registry_observe(dp->registry, on_participant, NULL, dp);
}

static bool free_document(void *context, struct text key, void *value)
{
	(void)key;
	((const struct document_kind *)context)->release(value);
	return true;
}

static bool free_flow(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	flow_free(value);
	return true;
}

static bool free_agreement(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	agreement_drop(value);
	return true;
}

static bool free_planes(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	control_planes_free(value);
	return true;
}

void records_free(struct dp *dp)
{
	struct map *maps[DP_MAP_COUNT];
	for (int i = 0; i < DP_MAP_COUNT; i++)
		maps[i] = atomic_load_explicit(&dp->maps[i], memory_order_relaxed);
	if (maps[DP_FLOWS] != NULL)
		map_each(maps[DP_FLOWS], free_flow, NULL);
	if (maps[DP_AGREEMENTS] != NULL)
		map_each(maps[DP_AGREEMENTS], free_agreement, NULL);
	if (maps[DP_CONTROL_PLANES] != NULL)
		map_each(maps[DP_CONTROL_PLANES], free_planes, NULL);
	for (size_t i = 0; i < DOCUMENT_COUNT; i++) {
		if (maps[documents[i].map] != NULL)
			map_each(maps[documents[i].map], free_document, (void *)(uintptr_t)&documents[i]);
	}
	for (int i = 0; i < DP_MAP_COUNT; i++)
		map_free(maps[i]);
}
