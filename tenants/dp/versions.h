/* What workers read of records: each change is a new version of a map, published with one atomic store; old versions
 * and objects live until no worker can hold them. On the store's thread, or the loading one. */
#pragma once

#include "tenants/dp/state.h"

/* Puts the value (taken over on OK) at (ctx, id), whatever was there; NULL removes. TOO_LARGE, NO_MEMORY. */
enum status dp_publish(struct dp *dp, enum dp_map which, struct text ctx, struct text id, void *value) MUST_CHECK;
/* Releases the object behind everything retired before it; NULL is fine. */
void dp_retire(struct dp *dp, void (*release)(void *object), void *object);
