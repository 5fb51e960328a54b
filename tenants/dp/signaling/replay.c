/* Replay detection: a table of hashes. */
#include "tenants/dp/signaling/replay.h"

#include <pthread.h>
#include <stdlib.h>

#include "server/base/map.h"

enum { SETS = 8192, WAYS = 8, KEY_MAX = 16 * 1024 };

struct replays {
	pthread_mutex_t lock;
	struct {
		uint64_t hash;
		int64_t expires_ms; /* 0: empty */
	} slots[SETS][WAYS];
};

struct replays *replays_new(void)
{
	struct replays *replays = calloc(1, sizeof(*replays));
	if (replays != NULL)
		pthread_mutex_init(&replays->lock, NULL);
	return replays;
}

void replays_free(struct replays *replays)
{
	if (replays == NULL)
		return;
	pthread_mutex_destroy(&replays->lock);
	free(replays);
}

static bool note(struct replays *replays, uint64_t hash, int64_t expires_ms, int64_t now_ms)
{
	size_t set = hash % SETS;
	int slot = 0;
	for (int i = 0; i < WAYS; i++) {
		if (replays->slots[set][i].hash == hash && replays->slots[set][i].expires_ms > now_ms)
			return false;
		if (replays->slots[set][i].expires_ms < replays->slots[set][slot].expires_ms)
			slot = i;
	}
	replays->slots[set][slot].hash = hash;
	replays->slots[set][slot].expires_ms = expires_ms;
	return true;
}

bool replays_note(
	struct replays *replays, struct text ctx, struct text issuer, struct text id, int64_t expires_ms, int64_t now_ms)
{
	char room[KEY_MAX];
	struct text key = map_key(room, sizeof(room), (const struct text[]){ctx, issuer, id}, 3);
	if (key.length == 0)
		return false;
	uint64_t hash = text_hash(key);
	pthread_mutex_lock(&replays->lock);
	bool is_new = note(replays, hash, expires_ms, now_ms);
	pthread_mutex_unlock(&replays->lock);
	return is_new;
}
