/* Versions: the maps' next ones, and the end of the old. */
#include "tenants/dp/versions.h"

#include <stdlib.h>

#include "server/base/log.h"
#include "server/worker_pool.h"

/* Old versions are freed in the order they were replaced: a version shares memory with the one made from it. */
struct grave {
	void (*release)(void *object);
	void *object;
	struct dp *dp;
	bool is_ready;
	struct grave *next;
};

static void on_grace(void *object)
{
	struct grave *grave = object, *ready = NULL, **end = &ready;
	struct dp *dp = grave->dp;
	pthread_mutex_lock(&dp->graves_lock);
	grave->is_ready = true;
	while (dp->graves != NULL && dp->graves->is_ready) {
		*end = dp->graves;
		end = &dp->graves->next;
		dp->graves = dp->graves->next;
	}
	*end = NULL;
	if (dp->graves == NULL)
		dp->graves_end = &dp->graves;
	/* released under the lock: the next batch must not overtake this one */
	while (ready != NULL) {
		struct grave *next = ready->next;
		ready->release(ready->object);
		free(ready);
		ready = next;
	}
	pthread_mutex_unlock(&dp->graves_lock);
}

void dp_retire(struct dp *dp, void (*release)(void *object), void *object)
{
	if (object == NULL)
		return;
	if (dp->loading) {
		release(object);
		return;
	}
	struct grave *grave = malloc(sizeof(*grave));
	if (grave == NULL) {
		LOG(ERROR, "dp.retire", log_text("error", TEXT("out of memory: an old version is never freed")));
		return;
	}
	*grave = (struct grave){.release = release, .object = object, .dp = dp};
	pthread_mutex_lock(&dp->graves_lock);
	*dp->graves_end = grave;
	dp->graves_end = &grave->next;
	pthread_mutex_unlock(&dp->graves_lock);
	worker_pool_retire(dp->pool, on_grace, grave);
}

static void retire_map(void *map)
{
	map_retire(map);
}

enum status dp_publish(struct dp *dp, enum dp_map which, struct text ctx, struct text id, void *value)
{
	char room[1024];
	struct text key = map_key(room, sizeof(room), (const struct text[]){ctx, id}, 2);
	struct map *old = atomic_load_explicit(&dp->maps[which], memory_order_relaxed), *next = old;
	if (key.length == 0)
		return STATUS_TOO_LARGE;
	if (dp->loading && value != NULL)
		return map_load(old, key, value);
	enum status status = value != NULL ? map_put(old, key, value, &next) : map_remove(old, key, &next);
	if (status == STATUS_OK && next != old) {
		atomic_store_explicit(&dp->maps[which], next, memory_order_release);
		dp_retire(dp, retire_map, old);
	}
	return status;
}
