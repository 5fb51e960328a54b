/* Who waits for an answer, and until when: places, each of which stands in the reply subject of its request with how
 * often it was used, so that an answer that comes too late is nobody's. All on the bus's worker. */
#pragma once

#include "control/bus/bus.h"

typedef void wait_done(void *context, enum status status, const struct bus_message *message);

struct waiting;
struct waits {
	struct waiting *places;
	uint32_t place_count, free_place, used;
};
enum { NO_PLACE = UINT32_MAX };

void waits_init(struct waits *waits);
/* Nobody may wait any more. */
void waits_free(struct waits *waits);
/* NO_PLACE: too many wait, or out of memory. Else `done` runs once: by waits_answer, waits_tick or waits_end. */
uint32_t waits_add(struct waits *waits, uint64_t deadline_ms, wait_done *done, void *context);
/* Its request could not be sent: the next tick ends it UNAVAILABLE. */
void waits_give_up(struct waits *waits, uint32_t place);
enum { REPLY_MAX = 160 };
/* The reply subject, "<inbox>.r.<place>.<use>", in `room`. */
struct text waits_reply(const struct waits *waits, uint32_t place, const char *inbox, char room[REPLY_MAX]);
/* The message for whoever waits at the place in its subject; one that says that nobody is there ends UNAVAILABLE. */
void waits_answer(struct waits *waits, const char *inbox, const struct bus_message *message);
/* Those whose time is over end TIMEOUT. */
void waits_tick(struct waits *waits, uint64_t now_ms);
void waits_end(struct waits *waits, enum status status);
