/* From records to what workers read: the store's listener, publication, and the cutting of live streams. Everything
 * here runs on the store's thread (or the loading one) but for the cuts themselves. */
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "tenants/dp/control_plane.h"
#include "tenants/dp/outbox.h"
#include "tenants/dp/pull.h"

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

static bool cut_if_of(void *context, struct text key, void *value)
{
	struct {
		struct dp *dp;
		const char *ctx;
	} *search = context;
	struct flow *flow = value;
	(void)key;
	if (strcmp(flow->ctx, search->ctx) == 0)
		cut_everywhere(search->dp, flow);
	return true;
}

static bool is_serving(const struct participant *participant)
{
	return participant != NULL && participant->state == PARTICIPANT_ACTIVATED &&
		   (participant->vpas >> VPA_DATAPLANE & 1U) != 0;
}

static void on_participant(
	void *context, const char *ctx, const struct participant *participant, const struct participant *previous)
{
	struct dp *dp = context;
	if (!is_serving(previous) || is_serving(participant) || dp->loading)
		return;
	struct {
		struct dp *dp;
		const char *ctx;
	} search = {dp, ctx};
	map_each(atomic_load_explicit(&dp->maps[DP_FLOWS], memory_order_relaxed), cut_if_of, &search);
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
	retire(dp, flow_free, flow);
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
	if (flow == NULL) {
		flow = flow_new(record->ctx, record->id, terms, dp->workers);
		if (flow == NULL) {
			flow_terms_free(terms);
			return STATUS_NO_MEMORY;
		}
		status = publish(dp, DP_FLOWS, record->ctx, record->id, flow);
		if (status != STATUS_OK)
			flow_free(flow);
		else
			outbox_wake(dp, record->ctx, record->id);
		return status;
	}
	struct flow_terms *old = atomic_exchange_explicit(&flow->terms, terms, memory_order_acq_rel);
	if (terms->state != FLOW_STARTED || strcmp(old->dataset, terms->dataset) != 0 ||
		strcmp(old->counter_party, terms->counter_party) != 0)
		cut_everywhere(dp, flow);
	retire(dp, flow_terms_free, old);
	outbox_wake(dp, record->ctx, record->id);
	return STATUS_OK;
}

static enum status on_dataset(struct dp *dp, const struct record *record, const struct json *body, struct buffer *error)
{
	struct dataset *dataset, *old = find_own(dp, DP_DATASETS, record);
	enum status status = dataset_build(record->ctx, record->id, body, dp->workers, &dataset, error);
	if (status != STATUS_OK)
		return status;
	dataset->revision = record->revision;
	status = publish(dp, DP_DATASETS, record->ctx, record->id, dataset);
	if (status == STATUS_OK)
		retire(dp, dataset_unref, old);
	else
		dataset_unref(dataset);
	return status;
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

static enum status on_revocation(struct dp *dp, const struct record *record, const struct json *body)
{
	struct revocation *revocation = calloc(1, sizeof(*revocation)), *old = find_own(dp, DP_REVOCATIONS, record);
	enum status status = STATUS_NO_MEMORY;
	if (revocation != NULL) {
		revocation->ctx = text_copy(record->ctx);
		revocation->jti = text_copy(record->id);
		if (!json_integer(json_member(body, "expiresAt"), &revocation->expires_ms))
			revocation->expires_ms = INT64_MAX;
		if (revocation->ctx != NULL && revocation->jti != NULL)
			status = publish(dp, DP_REVOCATIONS, record->ctx, record->id, revocation);
	}
	if (status == STATUS_OK)
		retire(dp, revocation_free, old);
	else
		revocation_free(revocation);
	return status;
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

static enum status on_letter(struct dp *dp, const struct record *record, const struct json *body)
{
	struct letter *letter = NULL, *old = find_own(dp, DP_LETTERS, record);
	enum status status = letter_parse(record->ctx, body, &letter);
	if (status != STATUS_OK)
		return status;
	letter->revision = record->revision;
	status = publish(dp, DP_LETTERS, record->ctx, record->id, letter);
	if (status == STATUS_OK) {
		retire(dp, letter_free, old);
		outbox_wake(dp, record->ctx, text_of(letter->flow));
	} else {
		letter_free(letter);
	}
	return status;
}

/* Kinds that are one object each in one map. */
static const struct index {
	enum record_kind kind;
	enum dp_map map;
	void (*release)(void *object);
} indexes[] = {{RECORD_DATASET, DP_DATASETS, dataset_unref}, {RECORD_REVOCATION, DP_REVOCATIONS, revocation_free},
	{RECORD_OUTBOX, DP_LETTERS, letter_free}};

static void on_gone(struct dp *dp, const struct record *record)
{
	if (record->kind == RECORD_FLOW)
		flow_gone(dp, record);
	else if (record->kind == RECORD_CONTROL_PLANE && change_planes(dp, record, NULL) != STATUS_OK)
		LOG(ERROR, "dp.record", log_text("tenant", record->ctx), log_text("error", TEXT("out of memory")));
	for (size_t i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++) {
		void *old = record->kind == indexes[i].kind ? find_own(dp, indexes[i].map, record) : NULL;
		if (old != NULL && publish(dp, indexes[i].map, record->ctx, record->id, NULL) == STATUS_OK)
			retire(dp, indexes[i].release, old);
	}
}

static bool is_ours(enum record_kind kind)
{
	static const enum record_kind ours[] = {
		RECORD_DATASET, RECORD_FLOW, RECORD_REVOCATION, RECORD_CONTROL_PLANE, RECORD_OUTBOX};
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		if (ours[i] == kind)
			return true;
	}
	return false;
}

static enum status take(struct dp *dp, const struct record *record, const struct json *body, struct buffer *error)
{
	switch (record->kind) {
	case RECORD_DATASET:
		return on_dataset(dp, record, body, error);
	case RECORD_FLOW:
		return on_flow(dp, record, body, error);
	case RECORD_REVOCATION:
		return on_revocation(dp, record, body);
	case RECORD_CONTROL_PLANE:
		return on_control_plane(dp, record, body, error);
	case RECORD_OUTBOX:
		return on_letter(dp, record, body);
	default:
		return STATUS_INTERNAL;
	}
}

static void on_record(void *context, const struct record *record)
{
	struct dp *dp = context;
	if (!is_ours(record->kind))
		return;
	if (record->body.bytes == NULL) {
		on_gone(dp, record);
		return;
	}
	struct json *body = NULL;
	struct buffer error = {0};
	enum status status = json_parse(record->body, NULL, &body);
	if (status == STATUS_OK)
		status = take(dp, record, body, &error);
	if (status != STATUS_OK) { /* a record nobody understands admits nothing */
		LOG(ERROR, "dp.record", log_text("tenant", record->ctx),
			log_text("kind", text_of(record_kind_name(record->kind))), log_text("id", record->id),
			log_text("error", error.length > 0 ? buffer_text(&error) : text_of(status_text(status))));
		if (record->kind != RECORD_REVOCATION)
			on_gone(dp, record);
	}
	buffer_free(&error);
	json_free(body);
}

static void on_batch(void *context)
{
	((struct dp *)context)->loading = false;
}

void records_listen(struct dp *dp)
{
	const struct store_listener listener = {.on_record = on_record, .on_batch = on_batch, .context = dp};
	store_listen(dp->store, &listener);
	registry_observe(dp->registry, on_participant, NULL, dp);
}

static bool free_dataset(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	dataset_unref(value);
	return true;
}

static bool free_flow(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	flow_free(value);
	return true;
}

static bool free_revocation(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	revocation_free(value);
	return true;
}

static bool free_planes(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	control_planes_free(value);
	return true;
}

static bool free_letter(void *context, struct text key, void *value)
{
	(void)context, (void)key;
	letter_free(value);
	return true;
}

void records_free(struct dp *dp)
{
	static bool (*const free_one[DP_MAP_COUNT])(void *, struct text, void *) = {[DP_DATASETS] = free_dataset,
		[DP_FLOWS] = free_flow,
		[DP_REVOCATIONS] = free_revocation,
		[DP_CONTROL_PLANES] = free_planes,
		[DP_LETTERS] = free_letter};
	for (int i = 0; i < DP_MAP_COUNT; i++) {
		struct map *map = atomic_load_explicit(&dp->maps[i], memory_order_relaxed);
		if (map != NULL)
			map_each(map, free_one[i], NULL);
		map_free(map);
	}
}
