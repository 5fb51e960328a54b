/* The rhythm of heartbeats. */
#include "control/cell/pulse.h"

enum { AGAIN_MS = 300, JITTER_PCT = 10, DRIFT_PPM = 500 };

static uint64_t lease_end(const struct pulse *pulse, uint64_t from_ms, uint64_t ttl_ms)
{
	uint64_t sure = ttl_ms - ttl_ms * DRIFT_PPM / 1000000;
	return from_ms + (sure > pulse->margin_ms ? sure - pulse->margin_ms : 0);
}

void pulse_start(
	struct pulse *pulse, uint64_t interval_ms, uint64_t ttl_ms, uint64_t margin_ms, uint64_t asked_ms, uint64_t now_ms)
{
	*pulse = (struct pulse){.interval_ms = interval_ms,
		.margin_ms = margin_ms,
		.next_ms = now_ms,
		.again_ms = UINT64_MAX,
		.is_answered = true};
	pulse->lease_ms = lease_end(pulse, asked_ms, ttl_ms);
}

uint64_t pulse_due_ms(const struct pulse *pulse)
{
	return !pulse->is_answered && pulse->again_ms < pulse->next_ms ? pulse->again_ms : pulse->next_ms;
}

bool pulse_beats(struct pulse *pulse, uint64_t now_ms, uint32_t random)
{
	if (now_ms >= pulse->next_ms) {
		uint64_t jitter = pulse->interval_ms * JITTER_PCT / 100;
		pulse->number++;
		pulse->is_answered = false;
		pulse->sent_ms = now_ms;
		pulse->next_ms = now_ms + pulse->interval_ms - jitter + random % (2 * jitter + 1);
	} else if (pulse->is_answered || now_ms < pulse->again_ms) {
		return false;
	}
	pulse->again_ms = now_ms + AGAIN_MS;
	return true;
}

bool pulse_answered(struct pulse *pulse, int64_t number, uint64_t ttl_ms)
{
	if (number != pulse->number || pulse->is_answered)
		return false;
	pulse->is_answered = true;
	pulse->lease_ms = lease_end(pulse, pulse->sent_ms, ttl_ms);
	return true;
}

bool pulse_has_lapsed(const struct pulse *pulse, uint64_t now_ms)
{
	return now_ms >= pulse->lease_ms;
}
