/* What follows from a run: the next step's messages, or the response. */
#include "control/orchestration/executor_private.h"

#include "server/base/id.h"

static void on_told(void *context, enum status status, uint64_t sequence, bool is_duplicate)
{
	struct activity *activity = context;
	(void)sequence, (void)is_duplicate;
	activity->awaited--;
	activity->has_unsent = activity->has_unsent || status != STATUS_OK;
	if (activity->awaited > 0)
		return;
	if (activity->has_unsent)
		activity_again(activity, activity->delivery.deliveries); /* it will find itself completed, and tell again */
	else
		activity_answer(activity, BUS_ACK, 0);
}

static void tell(struct activity *activity, struct text subject, struct text message_id, const struct buffer *body)
{
	struct bus_header header = {TEXT("traceparent"), text_of(activity->traceparent)};
	activity->awaited++;
	bus_publish(activity->executor->bus, subject, message_id, &header, activity->traceparent != NULL ? 1 : 0,
		buffer_text(body), on_told, activity);
}

static void tell_next(struct activity *activity, const struct json *step)
{
	struct text id = activity->orchestration.id;
	activity->awaited++; /* not over before all are under way */
	for (const struct json *next = json_first(step); next != NULL; next = json_next(next)) {
		struct buffer subject = {0}, message_id = {0}, body = {0};
		buffer_append(&subject, TEXT("event."));
		activity_queue(json_member_text(next, "type"), &subject);
		buffer_printf(&message_id, "%.*s.%.*s", TEXT_ARGUMENTS(id), TEXT_ARGUMENTS(json_member_text(next, "id")));
		activity_message_print(id, next, &body);
		if (subject.failed || message_id.failed || body.failed)
			activity->has_unsent = true;
		else
			tell(activity, buffer_text(&subject), buffer_text(&message_id), &body);
		buffer_free(&subject);
		buffer_free(&message_id);
		buffer_free(&body);
	}
	on_told(activity, STATUS_OK, 0, false);
}

void activity_tell_response(struct activity *activity)
{
	const struct orchestration *orchestration = &activity->orchestration;
	char id[UUID_LENGTH + 1];
	struct buffer message_id = {0}, body = {0};
	bool is_success = orchestration->state != ORCHESTRATION_ERRORED;
	struct text error = json_text(orchestration_value(orchestration, "error"));
	uuid_random(id);
	response_print(&(struct response){.id = text_of(id),
					   .manifest_id = orchestration->id,
					   .correlation_id = orchestration->correlation_id,
					   .type = orchestration->type,
					   .is_success = is_success,
					   .error_detail = is_success ? TEXT_NONE : error,
					   .properties = orchestration_output(orchestration)},
		&body);
	/* the same for each telling of this end, another for the end after a retry */
	buffer_printf(&message_id, "%.*s.%.*s", TEXT_ARGUMENTS(orchestration->id),
		TEXT_ARGUMENTS(json_member_text(orchestration->root, "stateTimestamp")));
	if (body.failed || message_id.failed)
		activity_again(activity, 1);
	else
		tell(activity, ORCHESTRATION_RESPONSE_SUBJECT, buffer_text(&message_id), &body);
	buffer_free(&message_id);
	buffer_free(&body);
}

void activity_settle(struct activity *activity)
{
	const struct orchestration *orchestration = &activity->orchestration;
	size_t now = orchestration_step_now(orchestration);
	size_t next = orchestration_step_of(orchestration, activity->message.id) + 1;
	while (next < now && json_count(orchestration_step(orchestration, next)) == 0)
		next++;
	if (orchestration->state == ORCHESTRATION_COMPLETED && now == next)
		activity_tell_response(activity);
	else if (!orchestration_is_finished(orchestration) && now == next && activity->executor->is_held)
		activity_answer(activity, BUS_NAK, EXECUTOR_HELD_MS); /* it will find itself completed, and tell then */
	else if (!orchestration_is_finished(orchestration) && now == next)
		tell_next(activity, orchestration_step(orchestration, now));
	else
		activity_answer(activity, BUS_ACK, 0);
}
