/* An exchange without a connection: a request of this process to one of its own runtimes, whose response the asker
 * pulls as it likes. The runtime cannot tell it from any other; the same rules hold. On the worker's thread alone. */
#pragma once

#include "server/exchange.h"

struct inner;

struct inner_request {
	struct text method, target;
	const struct header *headers;
	unsigned header_count;
	struct text tenant;  /* for pools and logs */
	struct share *share; /* NULL: the worker's common one */
};

/* All run at the end of a turn, never inside a call of the asker or the runtime. */
struct inner_events {
	void (*on_head)(void *state);     /* the runtime has answered: status, length and headers stand */
	void (*on_readable)(void *state); /* after inner_read said LATER */
	/* Before the body was read whole: the runtime, or whoever may, has ended the exchange. inner_close is still due. */
	void (*on_aborted)(void *state, enum status why);
};

/* Copies the request's texts; the share is the asker's, until inner_close. NULL: out of memory. The runtime is called
 * by the asker: it gets inner_exchange(). */
struct inner *inner_new(
	struct worker *worker, const struct inner_request *request, const struct inner_events *events, void *state);
struct exchange *inner_exchange(struct inner *inner);
/* Of the response; TEXT_NONE when absent. Until inner_close, or the end of the body. */
struct text inner_header(const struct inner *inner, struct text name);
/* on_aborted is to come, or has been. */
bool inner_is_aborted(const struct inner *inner);
/* Pulls body bytes. END and FAILED end the exchange: the runtime's on_close has run. */
enum body_state inner_read(struct inner *inner, uint8_t *into, size_t room, size_t *count);
/* Ends the exchange, if it still lives, and forgets it: no event comes after. NULL is fine. */
void inner_close(struct inner *inner);
