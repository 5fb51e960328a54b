/* What a driver of sinks has to say to the receiver: one thing is asked at a time, and answered at the end of a turn,
 * never inside the call that asked. */
#pragma once

#include "tenants/dp/sink/sink.h"

/* The first member of the driver's state. */
struct teller {
	struct intake *intake; /* NULL: closed */
	struct task task;
	void (*free)(struct teller *teller); /* the driver's state, `bytes` apart */
	struct buffer bytes;                 /* of the write under way */
	int64_t offset;                      /* told with `opened` */
	enum status failed;                  /* told with all that follows */
	bool is_queued, is_opening, is_writing, is_finishing;
	bool is_finished; /* it was told that all is well */
};

/* All-zero before. `opened` is asked. */
void teller_open(struct teller *teller, struct intake *intake, void (*free)(struct teller *teller));
/* Answers what is asked, later in this turn. */
void teller_tell(struct teller *teller);
/* The first failure is the one told. */
void teller_fail(struct teller *teller, enum status why);
/* `written` is asked; the bytes are the teller's now. */
void teller_take(struct teller *teller, struct buffer *bytes);
/* Nothing is told any more; the state is freed, now or at the end of the turn. */
void teller_close(struct teller *teller);
