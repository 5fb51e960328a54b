/* Digests of whole files: computed on a thread of their own, in turns of a few pieces so that a small file does not
 * wait for a large one, and remembered by the thread and by each worker. In memory: after a restart they are computed
 * again when somebody asks. */
#pragma once

#include "server/worker.h"
#include "tenants/dp/source/digest_table.h"

struct digests;
struct digest_lane; /* a worker's */

/* root: an O_PATH directory descriptor, borrowed. The thread starts with the first file. */
struct digests *digests_new(int root);
/* After its lanes. */
void digests_free(struct digests *digests);

/* On the worker, from its start hook to its stop hook. The last lane that closes ends the thread. */
struct digest_lane *digest_lane_open(struct digests *digests, struct worker *worker);
void digest_lane_close(struct digest_lane *lane); /* NULL is fine */

/* Waits for a digest; embed it. */
struct digest_waiter {
	/* digest NULL: it is not to be had (the file has changed, or cannot be read). On the worker. */
	void (*ready)(struct digest_waiter *waiter, const uint8_t *digest);
	struct digest_waiter *next, **previous;
};

bool digest_lane_find(const struct digest_lane *lane, const struct digest_key *key, uint8_t into[HASH_BYTES_MAX]);
/* Asks for it, or joins who has asked. REFUSED: too many wait, of this tenant or of all. `ready` runs in a later turn,
 * unless the waiter leaves; the digest is computed in any case, for the next. */
enum status digest_lane_wait(
	struct digest_lane *lane, const struct digest_key *key, struct digest_waiter *waiter) MUST_CHECK;
void digest_waiter_leave(struct digest_waiter *waiter);
