/* What digests one answer from a file carries (RFC 9530), asked for by Want-Repr-Digest and Want-Content-Digest.
 *
 * Repr-Digest is of the whole file, whatever range is sent: it stands in the head. When it is not known yet, the answer
 * waits for it, at most dp.digest_wait_ms; after that it goes without, and the next request finds it. Content-Digest is
 * of the bytes of this very answer: it is computed as they go out and stands in the trailer (of no bytes: in the head).
 * A file that changes has neither: the first is not given, the second never comes, since the body is reset. */
#pragma once

#include "tenants/dp/pull.h"
#include "tenants/dp/source/digests.h"

struct file_digests {
	struct digest_waiter waiter; /* first */
	struct pull *pull;
	void (*ready)(struct pull *pull);
	struct timer *timer;
	bool wants_repr, wants_content, has_waited, is_known;
	enum hash_kind repr, content;
	uint8_t digest[HASH_BYTES_MAX];
	struct running_digest *running;
};

/* Reads the wishes of the pull's request. All-zero before, and while there are none. */
void file_digests_read(struct file_digests *digests, struct pull *pull);
/* True: `ready` runs later, then the head can be made; false: now. */
bool file_digests_wait(
	struct file_digests *digests, struct text path, const struct open_file *file, void (*ready)(struct pull *pull));
/* Adds what the head says; before the length is known to the engine. False: 503. */
bool file_digests_begin(struct file_digests *digests, int64_t length) MUST_CHECK;
/* Bytes that go out; `ended`: the last. False: fail the body. */
bool file_digests_pass(struct file_digests *digests, const uint8_t *bytes, size_t count, bool ended) MUST_CHECK;
void file_digests_close(struct file_digests *digests);
