/* Values into the bucket, messages onto the stream, and both again when the broker has lost them. */
#include <stdlib.h>

#include "control/fabric/orchestration/pm_private.h"
#include "server/base/log.h"

enum { CHECK_PAUSE_MS = 5000, CHECK_PAUSE_MAX_MS = 60000 };

struct dispatching {
	struct pm *pm;
	struct ledger_item *item;
	struct orchestration orchestration;
	const struct json *asked; /* check: the activity whose subject is asked for */
	struct json *lost;        /* check: ids of those of which the stream has no message; NULL: send all */
	uint64_t revision;
	int64_t known; /* check: the value's revision as the record had it at its begin */
	size_t awaited;
	bool is_check, has_unsent;
	void (*done)(void *context);
	void *context;
};

static void finish(struct dispatching *dispatching)
{
	struct ledger_item *item = dispatching->item;
	item->is_busy = false;
	dispatching->pm->checks -= dispatching->is_check;
	if (dispatching->has_unsent)
		item->check_at_ms = worker_now_ms(dispatching->pm->worker);
	if (dispatching->done != NULL)
		dispatching->done(dispatching->context);
	orchestration_free(&dispatching->orchestration);
	json_free(dispatching->lost);
	free(dispatching);
}

static struct dispatching *dispatching_new(struct pm *pm, struct ledger_item *item)
{
	struct dispatching *dispatching = calloc(1, sizeof(*dispatching));
	if (dispatching == NULL)
		return NULL;
	if (!ledger_read(pm, item, &dispatching->orchestration)) {
		free(dispatching);
		return NULL;
	}
	dispatching->pm = pm;
	dispatching->item = item;
	item->is_busy = true;
	return dispatching;
}

/* --- messages */

static void on_sent(void *context, enum status status, uint64_t sequence, bool is_duplicate)
{
	struct dispatching *dispatching = context;
	(void)sequence;
	/* known to the stream, which has none: another has just sent it, or it is lost. The next check knows. */
	if (status == STATUS_OK && is_duplicate)
		dispatching->item->doubts++;
	dispatching->has_unsent = dispatching->has_unsent || status != STATUS_OK || is_duplicate;
	if (--dispatching->awaited == 0)
		finish(dispatching);
}

static void subject_of(const struct json *activity, struct buffer *into)
{
	buffer_append(into, TEXT("event."));
	activity_queue(json_member_text(activity, "type"), into);
}

static bool is_lost(const struct dispatching *dispatching, struct text id)
{
	if (dispatching->lost == NULL)
		return true;
	const struct json *lost = json_first(dispatching->lost);
	while (lost != NULL && !text_equals(json_text(lost), id))
		lost = json_next(lost);
	return lost != NULL;
}

/* Of whoever asked for the orchestration; how many there are. */
static size_t trace_headers(const struct orchestration *orchestration, struct bus_header headers[2])
{
	const struct trace trace = trace_read(json_member(orchestration->root, ORCHESTRATION_TRACE));
	headers[0] = (struct bus_header){TEXT("traceparent"), trace.parent};
	headers[1] = (struct bus_header){TEXT("tracestate"), trace.state};
	return (size_t)(trace.parent.length > 0) + (trace.state.length > 0);
}

static void send_one(struct dispatching *dispatching, const struct json *activity)
{
	struct text id = dispatching->orchestration.id, activity_id = json_member_text(activity, "id");
	struct buffer subject = {0}, message_id = {0}, body = {0};
	struct bus_header headers[2];
	subject_of(activity, &subject);
	activity_message_print(id, activity, &body);
	/* the same of all replicas that see the same value */
	buffer_printf(&message_id, "%.*s.%.*s.%llu", TEXT_ARGUMENTS(id), TEXT_ARGUMENTS(activity_id),
		(unsigned long long)dispatching->revision);
	if (dispatching->item->doubts > 0)
		buffer_printf(&message_id, ".%u", dispatching->item->doubts);
	if (!subject.failed && !message_id.failed && !body.failed) {
		dispatching->awaited++;
		bus_publish(dispatching->pm->base.bus, buffer_text(&subject), buffer_text(&message_id), headers,
			trace_headers(&dispatching->orchestration, headers), buffer_text(&body), on_sent, dispatching);
	} else {
		dispatching->has_unsent = true;
	}
	buffer_free(&subject);
	buffer_free(&message_id);
	buffer_free(&body);
}

static void send_step(struct dispatching *dispatching)
{
	const struct orchestration *orchestration = &dispatching->orchestration;
	const struct json *step = orchestration_step(orchestration, orchestration_step_now(orchestration));
	dispatching->awaited++; /* not over before all are under way */
	for (const struct json *activity = json_first(step); activity != NULL; activity = json_next(activity)) {
		struct text id = json_member_text(activity, "id");
		if (!orchestration_is_completed(orchestration, id) && is_lost(dispatching, id))
			send_one(dispatching, activity);
	}
	on_sent(dispatching, STATUS_OK, 0, false);
}

/* --- the value */

static void on_created(void *context, enum status status, uint64_t revision)
{
	struct dispatching *dispatching = context;
	dispatching->revision = revision;
	dispatching->has_unsent = status != STATUS_OK && status != STATUS_CONFLICT;
	if (status == STATUS_OK && !orchestration_is_finished(&dispatching->orchestration))
		send_step(dispatching);
	else
		finish(dispatching); /* it is there already: who put it there has sent, or the next check does */
}

static void create(struct dispatching *dispatching)
{
	struct buffer value = {0};
	ledger_print_value(&dispatching->orchestration, &value);
	if (value.failed) {
		dispatching->has_unsent = true;
		finish(dispatching);
	} else {
		bus_bucket_put(dispatching->pm->base.bus, dispatching->pm->bucket, dispatching->orchestration.id,
			buffer_text(&value), 0, on_created, dispatching);
	}
	buffer_free(&value);
}

void pm_dispatch(struct pm *pm, struct ledger_item *item, void (*done)(void *context), void *context)
{
	struct dispatching *dispatching = pm->is_held ? NULL : dispatching_new(pm, item);
	if (dispatching == NULL) {
		if (done != NULL)
			done(context); /* the next check does it */
		return;
	}
	dispatching->done = done;
	dispatching->context = context;
	create(dispatching);
}

/* --- checks: first what the stream has, then what the bucket has: an agent writes before it acknowledges, so that what
 * is in neither is lost. */

static void on_value(void *context, enum status status, struct text value, uint64_t revision)
{
	struct dispatching *dispatching = context;
	struct pm *pm = dispatching->pm;
	struct orchestration now;
	struct buffer error = {0};
	if (status == STATUS_NOT_FOUND) {
		LOG(WARNING, "orchestration.restored", log_text("orchestration", dispatching->orchestration.id));
		json_free(dispatching->lost);
		dispatching->lost = NULL;
		create(dispatching);
		return;
	}
	if (status != STATUS_OK || orchestration_parse(value, &now, &error) != STATUS_OK) {
		buffer_free(&error);
		finish(dispatching);
		return;
	}
	if ((int64_t)revision != dispatching->item->bucket_revision)
		pm_mirror_take(pm, value, revision, dispatching->known); /* the broker has not told us, or will */
	orchestration_free(&dispatching->orchestration);
	dispatching->orchestration = now;
	dispatching->revision = revision;
	if ((int64_t)revision != dispatching->known) {
		/* It moves: what the stream did not have yet may have come, been done, or be under way. With another revision
		 * the stream would not know it again. Asked once more. */
		dispatching->has_unsent = true;
		finish(dispatching);
		return;
	}
	if (!orchestration_is_finished(&now) && json_count(dispatching->lost) > 0) {
		LOG(WARNING, "activity.resent", log_text("orchestration", now.id),
			log_number("activities", json_count(dispatching->lost)));
		statistics_event(pm->statistics, STATISTICS_ACTIVITY_RESENT, json_count(dispatching->lost));
		send_step(dispatching);
	} else {
		finish(dispatching);
	}
}

static void ask_next(struct dispatching *dispatching);

static void note_waiting(struct dispatching *dispatching)
{
	struct ledger_item *item = dispatching->item;
	int64_t age_ms = worker_wall_ms(dispatching->pm->worker) - item->since_ms;
	if (item->is_warned || age_ms < CHECK_PAUSE_MAX_MS)
		return;
	item->is_warned = true;
	LOG(WARNING, "activity.waits", log_text("orchestration", dispatching->orchestration.id),
		log_text("activity", json_member_text(dispatching->asked, "id")),
		log_text("type", json_member_text(dispatching->asked, "type")));
}

static void on_counted(void *context, enum status status, struct text json)
{
	struct dispatching *dispatching = context;
	struct json *info = NULL;
	struct buffer subject = {0};
	if (status == STATUS_NOT_FOUND)
		dispatching->pm->has_stream = false; /* the sweep makes it anew */
	if (status != STATUS_OK || json_parse(json, NULL, &info) != STATUS_OK) {
		finish(dispatching);
		return;
	}
	subject_of(dispatching->asked, &subject);
	int64_t count = 0;
	if (!subject.failed &&
		(!json_integer(json_member(json_member(json_member(info, "state"), "subjects"), subject.bytes), &count) ||
			count == 0))
		(void)json_add_text(dispatching->lost, NULL, json_member_text(dispatching->asked, "id"));
	else
		note_waiting(dispatching);
	json_free(info);
	buffer_free(&subject);
	ask_next(dispatching);
}

/* The next activity of the step that is not completed; after the last one, the bucket. */
static void ask_next(struct dispatching *dispatching)
{
	const struct orchestration *orchestration = &dispatching->orchestration;
	const struct json *activity =
		dispatching->asked != NULL
			? json_next(dispatching->asked)
			: json_first(orchestration_step(orchestration, orchestration_step_now(orchestration)));
	while (activity != NULL && orchestration_is_completed(orchestration, json_member_text(activity, "id")))
		activity = json_next(activity);
	dispatching->asked = activity;
	if (activity == NULL) {
		bus_bucket_get(dispatching->pm->base.bus, dispatching->pm->bucket, orchestration->id, on_value, dispatching);
		return;
	}
	struct buffer subject = {0}, body = {0}, api = {0};
	subject_of(activity, &subject);
	buffer_append(&body, TEXT("{\"subjects_filter\":"));
	buffer_append_json(&body, buffer_text(&subject));
	buffer_append_byte(&body, '}');
	buffer_append(&api, TEXT("STREAM.INFO."));
	buffer_append(&api, text_of(dispatching->pm->base.stream));
	if (subject.failed || body.failed || api.failed)
		finish(dispatching);
	else
		bus_api(dispatching->pm->base.bus, buffer_text(&api), buffer_text(&body), on_counted, dispatching);
	buffer_free(&subject);
	buffer_free(&body);
	buffer_free(&api);
}

void pm_dispatch_check(struct pm *pm, struct ledger_item *item)
{
	struct dispatching *dispatching = dispatching_new(pm, item);
	item->check_pause_ms = item->check_pause_ms == 0 ? CHECK_PAUSE_MS : item->check_pause_ms * 2;
	if (item->check_pause_ms > CHECK_PAUSE_MAX_MS)
		item->check_pause_ms = CHECK_PAUSE_MAX_MS;
	item->check_at_ms = worker_now_ms(pm->worker) + item->check_pause_ms;
	if (dispatching == NULL)
		return;
	dispatching->lost = json_array_new();
	dispatching->known = item->bucket_revision;
	dispatching->is_check = true;
	pm->checks++;
	ask_next(dispatching);
}
