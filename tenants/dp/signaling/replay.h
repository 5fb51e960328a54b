/* Token ids seen before: for control planes whose tokens are good once. Bounded: of the oldest in a crowded place the
 * one that expires first is forgotten. From any thread; under a lock, off the data path. */
#pragma once

#include "server/base/text.h"

struct replays;
struct replays *replays_new(void);
void replays_free(struct replays *replays);
/* False: seen before, and not yet expired. */
bool replays_note(
	struct replays *replays, struct text ctx, struct text issuer, struct text id, int64_t expires_ms, int64_t now_ms);
