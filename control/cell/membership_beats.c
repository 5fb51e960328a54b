/* Heartbeats and renewals of a cell that has joined. */
#include "control/cell/membership_private.h"
#include "server/base/clock.h"
#include "server/base/log.h"

enum { BEAT_ANSWER_MS = 5000, RENEW_MS = 5000, SOON_MS = 100 };

/* --- renewals */

static void on_renewed(void *context, enum status status, const struct bus_message *message)
{
	struct membership *membership = context;
	struct json *answer = NULL;
	membership->is_renewing = false;
	if (membership->is_leaving || membership->state != STATE_JOINED)
		return;
	if (status == STATUS_OK && json_parse(message->body, NULL, &answer) != STATUS_OK)
		answer = NULL;
	if (json_member(answer, "err") != NULL) {
		membership_fence(membership);
	} else if (answer != NULL && membership_take_credentials(membership, answer)) {
		bus_renew(membership->bus, membership->bus_settings);
		LOG(INFO, "cell.credentials_renewed", log_text("cell", membership_cell_id(membership)));
	} else {
		membership->renew_ms = clock_wall_ms() + membership->settings->retry_ms;
		membership_ask(membership); /* over HTTPS the same process is welcomed again */
	}
	json_free(answer);
}

static void renew(struct membership *membership)
{
	struct buffer subject = {0}, body = {0};
	buffer_printf(&subject, "celld.renew.%s", membership->definition->cell_id);
	buffer_printf(&body, "{\"inc\":\"%s\",\"ep\":%lld,\"nkey\":\"%s\"}", membership->incarnation,
		(long long)membership->epoch, nkey_public(membership->nkey));
	if (!subject.failed && !body.failed) {
		membership->is_renewing = true;
		bus_request(
			membership->bus, buffer_text(&subject), NULL, 0, buffer_text(&body), RENEW_MS, on_renewed, membership);
	}
	buffer_free(&subject);
	buffer_free(&body);
}

/* --- heartbeats */

static void hold(struct membership *membership, bool is_held)
{
	if (membership->is_held == is_held)
		return;
	membership->is_held = is_held;
	LOG(WARNING, "cell.held", log_bool("held", is_held), log_number("epoch", membership->epoch));
	membership->uses.hold(membership->uses.fence_context, is_held);
}

static void take_grant(struct membership *membership, const struct json *answer)
{
	int64_t number, ttl, interval, term;
	struct text mode = json_member_text(answer, "mode");
	if (!json_integer(json_member(answer, "n"), &number) || !json_integer(json_member(answer, "ttl"), &ttl) ||
		!json_integer(json_member(answer, "term"), &term) || ttl <= 0)
		return;
	bool is_held = false;
	(void)json_bool(json_member(answer, "hold"), &is_held); /* a manager that does not say so holds nothing */
	if (term < membership->term) { /* of a leader that has been followed, or whose database has forgotten this term */
		if (is_held)
			hold(membership, true);
		return;
	}
	hold(membership, is_held);
	membership->term = term;
	membership->refusal = NULL;
	pulse_answered(&membership->pulse, number, (uint64_t)ttl);
	if (json_integer(json_member(answer, "interval"), &interval) && interval > 0)
		membership->pulse.interval_ms = (uint64_t)interval;
	if (mode.length > 0 && mode.length < sizeof(membership->mode)) {
		memcpy(membership->mode, mode.bytes, mode.length);
		membership->mode[mode.length] = 0;
	}
}

/* Once, until one is granted again. */
static void tell_refusal(struct membership *membership, struct text why, int64_t epoch)
{
	if (membership->refusal == NULL)
		LOG(ERROR, "cell.heartbeat_refused", log_text("why", why), log_number("epoch", epoch));
	if (text_equals(why, TEXT("EPOCH_AHEAD")))
		hold(membership, true);
	membership->refusal = text_equals(why, TEXT("EPOCH_AHEAD")) ? "the manager's records are older than this cell"
																: "the manager does not know this cell (any more)";
}

static void on_beat_answered(void *context, enum status status, const struct bus_message *message)
{
	struct membership *membership = context;
	struct json *answer = NULL;
	if (membership->is_leaving || membership->state != STATE_JOINED || status != STATUS_OK ||
		json_parse(message->body, NULL, &answer) != STATUS_OK)
		return;
	struct text error = json_member_text(answer, "err");
	int64_t epoch = 0;
	bool is_newer = json_integer(json_member(answer, "ep"), &epoch) && epoch >= membership->epoch;
	if (text_equals(error, TEXT("STALE_EPOCH")) && is_newer)
		membership_fence(membership);
	else if (error.bytes != NULL)
		tell_refusal(membership, error, epoch);
	else
		take_grant(membership, answer);
	json_free(answer);
}

static void send_beat(struct membership *membership)
{
	struct buffer subject = {0}, body = {0};
	struct beat beat = {.epoch = membership->epoch, .number = membership->pulse.number};
	memcpy(beat.cell, membership->definition->cell_id, strlen(membership->definition->cell_id));
	memcpy(beat.incarnation, membership->incarnation, ID_LENGTH);
	if (membership->uses.applied != NULL)
		membership->uses.applied(membership->uses.applied_context, &beat.term, &beat.applied);
	if (membership->term > beat.term)
		beat.term = membership->term;
	figures_fill(membership->figures, membership->bus, &beat.figures);
	if (membership->was_lapsed)
		beat.figures.state = BEAT_STATE_FENCED;
	else if (strcmp(membership->mode, "draining") == 0)
		beat.figures.state = BEAT_STATE_DRAINING;
	buffer_printf(&subject, "celld.hb.%s", membership->definition->cell_id);
	beat_print(&beat, &body);
	if (!subject.failed && !body.failed)
		bus_request(membership->bus, buffer_text(&subject), NULL, 0, buffer_text(&body), BEAT_ANSWER_MS,
			on_beat_answered, membership);
	buffer_free(&subject);
	buffer_free(&body);
}

static void watch_lease(struct membership *membership, uint64_t now_ms)
{
	bool has_lapsed = pulse_has_lapsed(&membership->pulse, now_ms);
	if (has_lapsed != membership->was_lapsed)
		LOG(WARNING, "cell.lease", log_bool("lapsed", has_lapsed), log_number("epoch", membership->epoch));
	membership->was_lapsed = has_lapsed;
}

void membership_beat(void *context)
{
	struct membership *membership = context;
	uint64_t now_ms = clock_boot_ms();
	uint32_t random;
	if (membership->state != STATE_JOINED)
		return;
	watch_lease(membership, now_ms);
	random_bytes(&random, sizeof(random));
	if (bus_is_up(membership->bus) && pulse_beats(&membership->pulse, now_ms, random))
		send_beat(membership);
	if (membership->renew_ms != 0 && clock_wall_ms() >= membership->renew_ms && !membership->is_renewing)
		renew(membership);
	membership_publish(membership);
	uint64_t due_ms = pulse_due_ms(&membership->pulse);
	timer_set(membership->beating, due_ms > now_ms ? due_ms - now_ms : SOON_MS);
}

/* Back after the broker was away: said at once. */
void membership_bus_changed(void *context, bool is_up)
{
	struct membership *membership = context;
	if (is_up && membership->state == STATE_JOINED && !membership->is_leaving)
		timer_set(membership->beating, 0);
}
