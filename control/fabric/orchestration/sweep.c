/* The sweep: every few seconds, what should have gone on and has not. Also after the broker has come back. */
#include <stdio.h>
#include <stdlib.h>

#include "control/fabric/orchestration/pm_private.h"
#include "server/base/log.h"

enum {
	CHECKS_MAX = 32,       /* at the same time */
	ORDER_MS = 15 * 1000,  /* an order's letter is waited for */
	ANSWER_MS = 30 * 1000, /* a response is given to arrive, doubled each time */
	ANSWER_MAX_MS = 3600 * 1000,
	PURGES_MAX = 50, /* a sweep */
};

/* --- streams */

#define MANIFEST_CONFIG                                                                                                \
	"{\"ack_policy\":\"explicit\",\"deliver_policy\":\"all\",\"replay_policy\":\"instant\","                           \
	"\"filter_subject\":\"event.cfm-orchestration\"}"

static void check_all_now(struct pm *pm)
{
	for (struct ledger_item *item = pm->items; item != NULL; item = item->next)
		item->check_at_ms = item->check_pause_ms = 0;
}

static void refuse(struct pm *pm, struct text error)
{
	char *line = text_copy(error);
	if (line == NULL)
		return;
	free(pm->refused);
	pm->refused = line;
	LOG(ERROR, "stream.refused", log_text("why", error));
	if (pm->hooks.refused != NULL && pm->manifests == NULL)
		pm->hooks.refused(pm->hooks.context, error);
}

static void consume(struct pm *pm)
{
	struct buffer config = {0};
	free(pm->refused);
	pm->refused = NULL;
	buffer_append(&config, TEXT("{\"ack_policy\":\"explicit\",\"deliver_policy\":\"all\",\"replay_policy\":\"instant\","
								"\"filter_subject\":"));
	buffer_printf(&config, "\"$KV.%s.>\"}", pm->base.bucket);
	if (pm->manifests == NULL)
		pm->manifests = bus_consume(pm->base.bus,
			&(struct bus_consumer_settings){.stream = text_of(pm->base.stream),
				.durable = TEXT("cfm-orchestration"),
				.config = TEXT(MANIFEST_CONFIG),
				.batch = 16,
				.is_found_only = true,
				.is_queue = true,
				.waits_for_stream = true},
			pm_on_manifest, pm);
	if (pm->mirror == NULL && !config.failed)
		pm->mirror = bus_consume(pm->base.bus,
			&(struct bus_consumer_settings){.stream = buffer_text(&pm->bucket_stream),
				.durable = TEXT("celld-orchestrations"),
				.config = buffer_text(&config),
				.batch = 64,
				.is_found_only = true,
				.waits_for_stream = true},
			pm_on_bucket, pm);
	buffer_free(&config);
	check_all_now(pm);
}

static void on_bucket_ensured(void *context, enum status status, struct text error)
{
	struct pm *pm = context;
	pm->is_ensuring = false;
	pm->has_bucket = status == STATUS_OK;
	if (status == STATUS_OK)
		consume(pm);
	else if (status == STATUS_CONFLICT)
		refuse(pm, error);
}

static void on_stream_ensured(void *context, enum status status, struct text error)
{
	struct pm *pm = context;
	pm->has_stream = status == STATUS_OK;
	if (status == STATUS_OK) {
		bus_bucket_ensure(pm->base.bus, pm->bucket, on_bucket_ensured, pm);
		return;
	}
	pm->is_ensuring = false;
	if (status == STATUS_CONFLICT)
		refuse(pm, error);
}

static void ensure(struct pm *pm)
{
	struct buffer config = {0};
	if (pm->is_ensuring || !bus_is_up(pm->base.bus))
		return;
	pm->is_ensuring = true;
	if (!pm->base.sets_up_stream) {
		on_stream_ensured(pm, STATUS_OK, TEXT_NONE); /* its consumers wait for it */
		return;
	}
	buffer_append(&config, TEXT("{\"name\":"));
	buffer_append_json(&config, text_of(pm->base.stream));
	buffer_append(&config, TEXT(",\"subjects\":[\"event.*\"],\"retention\":\"workqueue\"}"));
	if (config.failed)
		pm->is_ensuring = false;
	else
		bus_stream_ensure(pm->base.bus, text_of(pm->base.stream), buffer_text(&config), on_stream_ensured, pm);
	buffer_free(&config);
}

/* --- the running ones */

/* Since `from`, not counting that the broker was away before. */
static int64_t age(const struct pm *pm, int64_t from_ms, int64_t wall_ms)
{
	return wall_ms - (from_ms > pm->back_ms ? from_ms : pm->back_ms);
}

static void end_late(struct pm *pm, struct ledger_item *item, const char *what, int64_t limit_ms)
{
	char why[128];
	snprintf(why, sizeof(why), "%s within %lld s", what, (long long)(limit_ms / 1000));
	pm_change_fail(pm, item, why);
}

static void sweep_running(struct pm *pm, struct ledger_item *item, int64_t wall_ms)
{
	if (item->is_requested) {
		if (wall_ms - item->created_ms > ORDER_MS)
			pm_start_item(pm, item);
	} else if (item->is_foreign) {
		return; /* the other manager looks after it */
	} else if (age(pm, item->created_ms, wall_ms) > pm->settings.orchestration_ms) {
		end_late(pm, item, "not done", pm->settings.orchestration_ms);
	} else if (age(pm, item->since_ms, wall_ms) > pm->settings.activity_ms) {
		end_late(pm, item, "no activity was completed", pm->settings.activity_ms);
	} else if (pm->has_bucket && pm->checks < CHECKS_MAX && worker_now_ms(pm->worker) >= item->check_at_ms) {
		/* what has just moved is not stuck */
		if (item->check_at_ms != 0 || wall_ms - item->since_ms >= pm->settings.sweep_ms)
			pm_dispatch_check(pm, item);
	}
}

/* --- the finished ones */

static void on_resent(void *context, enum status status, int64_t revision)
{
	(void)context, (void)status, (void)revision; /* asked again later in any case */
}

static void sweep_answer(struct pm *pm, struct ledger_item *item)
{
	uint64_t now = worker_now_ms(pm->worker);
	struct orchestration orchestration;
	if (pm->hooks.is_answered == NULL || now < item->answer_at_ms)
		return;
	bool is_first = item->answer_pause_ms == 0;
	item->answer_pause_ms = is_first ? ANSWER_MS : item->answer_pause_ms * 2;
	if (item->answer_pause_ms > ANSWER_MAX_MS)
		item->answer_pause_ms = ANSWER_MAX_MS;
	item->answer_at_ms = now + item->answer_pause_ms;
	if (is_first || !ledger_read(pm, item, &orchestration))
		return;
	if (pm->hooks.is_answered(pm->hooks.context, &orchestration)) {
		item->answer_at_ms = UINT64_MAX;
	} else {
		struct transaction *transaction = transaction_new();
		LOG(WARNING, "response.resent", log_text("orchestration", orchestration.id));
		statistics_event(pm->statistics, STATISTICS_RESPONSE_RESENT, 1);
		if (transaction != NULL && ledger_tell(transaction, &orchestration))
			state_submit(pm->base.state, transaction, on_resent, NULL);
		else
			transaction_free(transaction);
	}
	orchestration_free(&orchestration);
}

struct purging {
	struct pm *pm;
	struct ledger_item *item;
};

static void on_purge_noted(void *context, enum status status, int64_t revision)
{
	struct ledger_item *item = context;
	(void)status, (void)revision;
	item->is_busy = false;
}

/* The record keeps what lists and questions need; what activities shared goes. */
static void note_purged(struct pm *pm, struct ledger_item *item)
{
	struct orchestration orchestration;
	struct transaction *transaction = transaction_new();
	if (transaction == NULL || !ledger_read(pm, item, &orchestration)) {
		transaction_free(transaction);
		item->is_busy = false;
		return;
	}
	struct json *data = json_object_new(), *steps = json_array_new();
	struct text error = json_text(orchestration_value(&orchestration, "error"));
	bool is_put =
		ledger_own_flag(&orchestration, "purged") && (error.bytes == NULL || json_add_text(data, "error", error));
	if (!is_put || !json_set(orchestration.root, "processingData", data)) {
		json_free(data);
		is_put = false;
	}
	if (!is_put || !json_set(orchestration.root, "steps", steps)) {
		json_free(steps);
		is_put = false;
	}
	if (is_put && ledger_put(transaction, &orchestration, item->revision)) {
		state_submit(pm->base.state, transaction, on_purge_noted, item);
	} else {
		transaction_free(transaction);
		item->is_busy = false;
	}
	orchestration_free(&orchestration);
}

static void on_purged(void *context, enum status status, struct text json)
{
	struct purging *purging = context;
	(void)json;
	if (status == STATUS_OK || status == STATUS_NOT_FOUND)
		note_purged(purging->pm, purging->item);
	else
		purging->item->is_busy = false;
	free(purging);
}

/* The whole key goes, no mark of its end stays (T7). */
static void purge(struct pm *pm, struct ledger_item *item)
{
	struct buffer body = {0}, subject = {0}, api = {0};
	struct purging *purging = malloc(sizeof(*purging));
	buffer_printf(&subject, "$KV.%s.%s", pm->base.bucket, item->id);
	buffer_printf(&api, "STREAM.PURGE.%s", buffer_text(&pm->bucket_stream).bytes);
	buffer_append(&body, TEXT("{\"filter\":"));
	buffer_append_json(&body, buffer_text(&subject));
	buffer_append_byte(&body, '}');
	if (purging != NULL && !body.failed && !subject.failed && !api.failed) {
		*purging = (struct purging){pm, item};
		item->is_busy = true;
		bus_api(pm->base.bus, buffer_text(&api), buffer_text(&body), on_purged, purging);
	} else {
		free(purging);
	}
	buffer_free(&body);
	buffer_free(&subject);
	buffer_free(&api);
}

static void sweep_finished(struct pm *pm, struct ledger_item *item, int64_t wall_ms, unsigned *purges)
{
	if (item->settle_at_ms > 0 && wall_ms >= item->settle_at_ms) {
		pm_compensate(pm, item);
	} else if (pm->has_bucket && wall_ms - item->ended_ms > pm->settings.retention_ms && *purges < PURGES_MAX) {
		++*purges;
		purge(pm, item);
	} else {
		sweep_answer(pm, item);
	}
}

void pm_on_sweep(void *context)
{
	struct pm *pm = context;
	int64_t wall_ms = worker_wall_ms(pm->worker);
	unsigned purges = 0;
	if (!pm->has_stream || !pm->has_bucket || pm->refused != NULL)
		ensure(pm);
	bool may_move = bus_is_up(pm->base.bus) && !pm->is_held;
	for (struct ledger_item *item = may_move ? pm->items : NULL; item != NULL; item = item->next) {
		if (item->is_busy || item->is_purged || item->revision == 0)
			continue;
		if (item->ended_ms == 0)
			sweep_running(pm, item, wall_ms);
		else
			sweep_finished(pm, item, wall_ms, &purges);
	}
	timer_set(pm->sweep, (uint64_t)pm->settings.sweep_ms);
}

void pm_on_bus(void *context, bool is_up)
{
	struct pm *pm = context;
	bool was_here = pm->manifests != NULL;
	pm->has_stream = pm->has_bucket = false; /* it may be another broker, or an empty one */
	if (!is_up)
		return;
	if (was_here)
		pm->back_ms = worker_wall_ms(pm->worker);
	ensure(pm);
}
