/* When a cell sends its heartbeats, and how long it may act on their answers. Pure: boot time is passed in.
 *
 * A heartbeat that is not answered is sent again, with the same number, until the next is due: one lost message is no
 * silence. The lease counts from when the answered one was first sent, so the fabric's own count, from when it received
 * it, never ends before (control.md 2.4). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pulse {
	uint64_t interval_ms, margin_ms;
	uint64_t next_ms;  /* the next number is due */
	uint64_t again_ms; /* the last one is to be sent again */
	uint64_t sent_ms;  /* the last one, first */
	uint64_t lease_ms; /* ends */
	int64_t number;
	bool is_answered;
};

/* At a join: `asked_ms` is when it was asked for. */
void pulse_start(
	struct pulse *pulse, uint64_t interval_ms, uint64_t ttl_ms, uint64_t margin_ms, uint64_t asked_ms, uint64_t now_ms);
/* When pulse_beats is to be called. */
uint64_t pulse_due_ms(const struct pulse *pulse);
/* True: send one with pulse->number now. random: any number, for the jitter. */
bool pulse_beats(struct pulse *pulse, uint64_t now_ms, uint32_t random);
/* False: it is not the answer that is waited for. */
bool pulse_answered(struct pulse *pulse, int64_t number, uint64_t ttl_ms);
/* The lease has ended: what it was for must not be done any more. */
bool pulse_has_lapsed(const struct pulse *pulse, uint64_t now_ms);
