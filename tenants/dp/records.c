/* From records to what workers read: the store's listener, flows and control planes, and the cutting of live streams.
 * Everything here runs on the store's thread (or the loading one) but for the cuts themselves. */
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/worker_pool.h"
#include "tenants/dp/contract/agreement_records.h"
#include "tenants/dp/contract/books.h"
#include "tenants/dp/contract/contract.h"
#include "tenants/dp/documents.h"
#include "tenants/dp/opaque_token.h"
#include "tenants/dp/pull.h"
#include "tenants/dp/signaling/control_plane.h"
#include "tenants/dp/signaling/outbox.h"
#include "tenants/dp/sink/push.h"
#include "tenants/dp/versions.h"

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

static void flow_gone(struct dp *dp, const struct record *record)
{
	struct flow *flow = dp_find(dp, DP_FLOWS, record->ctx, record->id);
	if (flow == NULL || dp_publish(dp, DP_FLOWS, record->ctx, record->id, NULL) != STATUS_OK)
		return;
	cut_everywhere(dp, flow);
	pushes_flow_gone(dp, flow);
	struct agreement *agreement = atomic_load_explicit(&flow->agreement, memory_order_relaxed);
	dp_retire(dp, flow_free, flow); /* it may be gone at once */
	agreement_leave(dp, agreement);
	outbox_wake(dp, record->ctx, record->id);
}

static enum status on_flow(struct dp *dp, const struct record *record, const struct json *body, struct buffer *error)
{
	struct flow_terms *terms;
	enum status status = flow_terms_parse(body, false, &terms, error);
	if (status != STATUS_OK)
		return status;
	terms->revision = record->revision;
	struct flow *flow = dp_find(dp, DP_FLOWS, record->ctx, record->id);
	struct agreement *agreement = agreement_join(dp, record->ctx, text_of(terms->agreement));
	if (agreement == NULL) {
		flow_terms_free(terms);
		return STATUS_NO_MEMORY;
	}
	if (flow == NULL) {
		flow = flow_new(record->ctx, record->id, terms, dp->workers);
		if (flow == NULL) {
			flow_terms_free(terms);
			agreement_leave(dp, agreement);
			return STATUS_NO_MEMORY;
		}
		atomic_store_explicit(&flow->agreement, agreement, memory_order_relaxed);
		status = dp_publish(dp, DP_FLOWS, record->ctx, record->id, flow);
		if (status != STATUS_OK) {
			flow_free(flow);
			agreement_leave(dp, agreement);
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
	dp_retire(dp, flow_terms_free, old);
	agreement_leave(dp, other);
	outbox_wake(dp, record->ctx, record->id);
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
		status = dp_publish(dp, DP_CONTROL_PLANES, record->ctx, TEXT(""), next);
	if (status != STATUS_OK) {
		control_planes_free(next);
		return status;
	}
	dp_retire(dp, control_planes_free, old);
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
	const struct document_kind *kind = document_kind_of(record->kind);
	if (kind != NULL)
		document_on_gone(dp, kind, record);
	else if (record->kind == RECORD_FLOW)
		flow_gone(dp, record);
	else if (record->kind == RECORD_AGREEMENT)
		agreement_on_gone(dp, record);
	else if (record->kind == RECORD_BOOK)
		books_on_gone(dp->books, record);
	else if (change_planes(dp, record, NULL) != STATUS_OK)
		LOG(ERROR, "dp.record", log_text("tenant", record->ctx), log_text("error", TEXT("out of memory")));
}

static enum status take(struct dp *dp, const struct document_kind *kind, const struct record *record,
	const struct json *body, struct buffer *error)
{
	if (kind != NULL)
		return document_on_record(dp, kind, record, body, error);
	return record->kind == RECORD_FLOW        ? on_flow(dp, record, body, error)
		   : record->kind == RECORD_AGREEMENT ? agreement_on_record(dp, record, body, error)
		   : record->kind == RECORD_BOOK      ? books_on_record(dp->books, record, body)
											  : on_control_plane(dp, record, body, error);
}

/* Later ones are our own. */
static void load_push(struct dp *dp, const struct record *record)
{
	struct flow *flow = dp_find(dp, DP_FLOWS, record->ctx, record->id);
	struct json *body = NULL;
	if (flow != NULL && json_parse(record->body, NULL, &body) == STATUS_OK)
		pushes_load_progress(flow, body);
	json_free(body);
}

static void on_record(void *context, const struct record *record)
{
	struct dp *dp = context;
	const struct document_kind *kind = document_kind_of(record->kind);
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
	documents_free(dp);
	for (int i = 0; i < DP_MAP_COUNT; i++)
		map_free(maps[i]);
}
