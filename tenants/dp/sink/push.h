/* Pushes: a provider's flow with a push profile sends its dataset to the endpoint that the consumer has named, from the
 * offset the receiver acknowledges, until every byte is acknowledged.
 *
 * On the wire. The endpoint of the flow's DataAddress, plus the part's path, is asked with HEAD first. A receiver that
 * answers 2xx with "Upload-Offset: N" takes segments: PUT with "Content-Range: bytes X-Y/Z", in order, each of at most
 * dp.push_segment bytes, each acknowledged by its 2xx, or by 308 with "Range: bytes=0-Y". After a failure it is asked
 * again, and the push goes on from the offset it tells, as long as the source is still the same (ETag, else
 * Last-Modified); a segment that begins at 0 starts afresh. 409 and 416 mean: ask again. Any other receiver, and a
 * source that does not tell its length, gets one POST (or what the address' property "method" says) with the whole; it
 * is sent again from 0 after a failure. 401, 403, 408, 425, 429, 5xx and broken connections are tried again with
 * growing pauses; other statuses end the push.
 *
 * All pushes of a tenant run on one worker: they share a core, and the limit on their number is exact. */
#pragma once

#include "tenants/dp/state.h"

struct push;

/* On the store's thread, after each change of a flow's record and before the change is answered: whoever suspends a
 * flow hears of it after its push has stopped. */
void pushes_flow_changed(struct dp *dp, struct flow *flow, const struct flow_terms *terms);
/* On the store's thread, before the flow is retired. */
void pushes_flow_gone(struct dp *dp, struct flow *flow);
/* On the store's thread: the participant is no longer served. */
void pushes_flow_held(struct dp *dp, struct flow *flow);
/* While loading: how far an earlier process came. */
void pushes_load_progress(struct flow *flow, const struct json *body);
/* The worker ends. */
void pushes_close_worker(struct dp_worker *home);
/* The flow's reference; NULL is fine. From any thread. */
void push_unref(struct push *push);
