/* Route look-up: ctx to gate among few and many tenants. */
#include <stdlib.h>
#include <string.h>

#include "bench/benches.h"
#include "server/base/id.h"
#include "server/base/map.h"

static void route_lookup(struct bench *bench)
{
	size_t count = (size_t)bench_argument(bench), at = 0;
	char(*ctx)[ID_LENGTH + 1] = calloc(count, sizeof(*ctx));
	struct map *map = map_new();
	if (ctx == NULL || map == NULL)
		abort();
	for (size_t i = 0; i < count; i++) {
		id_random(ctx[i]);
		if (map_load(map, text_of(ctx[i]), ctx[i]) != STATUS_OK)
			abort();
	}
	while (bench_continues(bench)) {
		bench_keep(map_find(map, (struct text){ctx[at], ID_LENGTH}));
		at = at + 7919 < count ? at + 7919 : (at + 7919) % count;
	}
	map_free(map);
	free(ctx);
}

/* One tenant changes while many stand: the next version and the end of the one before. */
static void route_change(struct bench *bench)
{
	size_t count = (size_t)bench_argument(bench);
	char ctx[ID_LENGTH + 1];
	struct map *map = map_new(), *next;
	static int value;
	for (size_t i = 0; i < count; i++) {
		id_random(ctx);
		if (map == NULL || map_load(map, text_of(ctx), &value) != STATUS_OK)
			abort();
	}
	while (bench_continues(bench)) {
		if (map_put(map, text_of(ctx), &value, &next) != STATUS_OK)
			abort();
		map_retire(map);
		map = next;
	}
	map_free(map);
}

void register_route_benches(void)
{
	static const int64_t counts[] = {1, 10000, 100000};
	bench_register("route_lookup", route_lookup, counts, 3);
	bench_register("route_change", route_change, counts, 3);
}
