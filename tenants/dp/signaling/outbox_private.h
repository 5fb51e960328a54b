/* The outbox, inside: outbox.c knows the lanes and wakes them, outbox_lane.c does what is to be done for one flow. */
#pragma once

#include "tenants/dp/signaling/callback.h"

/* An owner's time goes on so long beyond what an attempt may take. */
enum { OUTBOX_SLACK_MS = 1000 };

/* What one flow has under way. On the outbox's worker alone. */
struct outbox_lane {
	struct outbox *outbox;
	char ctx[ID_LENGTH + 1];
	char *flow;
	struct timer *timer;
	struct outbox_lane *next, **previous; /* in the outbox's list */
	bool is_busy;                         /* something is under way that will look again */
	enum letter_kind kind;                /* under way, or the last that was */
	int64_t revision;                     /* its letter's */
	bool is_acknowledged;                 /* it has arrived, the record does not know yet */
	unsigned failures;                    /* in a row */
	int64_t next_ms;                      /* not before */
	struct callback *callback;
};

struct outbox {
	struct dp_worker *home;
	struct map *lanes; /* (ctx, flow) -> lane; this worker's alone */
	struct outbox_lane *first;
};

/* Begins what is due, or waits for it; without anything to do the lane ends and is freed. */
void outbox_lane_look(struct outbox_lane *lane);
/* Nothing is to be done for the flow: forgets and frees its lane. */
void outbox_lane_end(struct outbox_lane *lane);
