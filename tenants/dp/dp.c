/* The data plane runtime: opening, its half on each worker, closing. */
#include "tenants/dp/dp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/base/mapping.h"
#include "server/base/metric.h"
#include "tenants/dp/pull.h"

#define SETTING(name, kind_, preset_, low, high, help_)                                                                \
	{                                                                                                                  \
		.key = #name, .kind = kind_, .offset = offsetof(struct dp_settings, name), .preset = preset_, .minimum = low,  \
		.maximum = high, .help = help_                                                                                 \
	}
const struct setting dp_settings_table[] = {
	SETTING(source_root, SETTING_TEXT, NULL, 0, 0,
		"directory of file sources: <source_root>/<ctx>/<path>; default <state directory>/sources"),
	SETTING(token_lifetime_ms, SETTING_MILLISECONDS, "1 h", 1000, 31536000000,
		"how long an access token is good when the request does not say; a flow's own expiry bounds it"),
	SETTING(token_cache, SETTING_INTEGER, "16384", 16, 1048576, "token verdicts remembered by each worker"),
	SETTING(open_files, SETTING_INTEGER, "1024", 1, 65536, "open files kept by each worker"),
	SETTING(source_ms, SETTING_MILLISECONDS, "30 s", 10, 3600000, "how long a source may stay silent"),
};
const size_t dp_settings_count = sizeof(dp_settings_table) / sizeof(dp_settings_table[0]);

static int metrics[DP_METRIC_COUNT];

static void register_metrics(void)
{
#define REGISTER(name, series, labels, help) metrics[DP_##name] = metric_register(METRIC_COUNTER, series, labels, help);
	DP_METRIC_LIST(REGISTER)
#undef REGISTER
}

void dp_count(enum dp_metric metric)
{
	metric_add(metrics[metric], 1);
}

void *dp_find(const struct dp *dp, enum dp_map map, struct text ctx, struct text id)
{
	char room[1024];
	const struct map *version = atomic_load_explicit(&dp->maps[map], memory_order_acquire);
	if (map_count(version) == 0)
		return NULL;
	struct text key = map_key(room, sizeof(room), (const struct text[]){ctx, id}, 2);
	return key.length == 0 ? NULL : map_find(version, key);
}

struct dp_worker *dp_here(const struct dp *dp, struct worker *worker)
{
	return worker_slot(worker, dp->slot);
}

static void close_worker(struct dp_worker *home)
{
	if (home == NULL)
		return;
	timer_free(home->tick);
	open_files_free(home->files);
	verdicts_free(home->verdicts);
	free(home);
}

static enum status on_start(void *context, struct worker *worker)
{
	struct dp *dp = context;
	struct dp_worker *home = calloc(1, sizeof(*home));
	if (home == NULL)
		return STATUS_NO_MEMORY;
	home->dp = dp;
	home->worker = worker;
	home->index = worker_index(worker);
	home->verdicts = verdicts_new((size_t)dp->settings.token_cache);
	home->files = open_files_new(dp->root, (size_t)dp->settings.open_files);
	home->tick = timer_new(worker, pull_tick, home);
	if (home->verdicts == NULL || home->files == NULL || home->tick == NULL) {
		close_worker(home);
		return STATUS_NO_MEMORY;
	}
	worker_slot_set(worker, dp->slot, home);
	return STATUS_OK;
}

static void on_stop(void *context, struct worker *worker)
{
	const struct dp *dp = context;
	close_worker(worker_slot(worker, dp->slot));
	worker_slot_set(worker, dp->slot, NULL);
}

static enum status open_root(const char *path, int *root)
{
	if (path == NULL || (mkdir(path, 0750) != 0 && errno != EEXIST))
		return path == NULL ? STATUS_INVALID : STATUS_IO;
	*root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *root < 0 ? STATUS_IO : STATUS_OK;
}

enum status dp_open(const struct dp_settings *settings, struct worker_pool *pool, struct store *store,
	struct vault *vault, struct registry *registry, struct access *access, struct dp **dp)
{
	struct dp *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	*made = (struct dp){.settings = *settings,
		.pool = pool,
		.store = store,
		.vault = vault,
		.registry = registry,
		.access = access,
		.loading = true,
		.workers = worker_pool_count(pool),
		.root = -1};
	made->graves_end = &made->graves;
	pthread_mutex_init(&made->graves_lock, NULL);
	enum status status = open_root(settings->source_root, &made->root);
	if (status != STATUS_OK)
		LOG(ERROR, "dp.open",
			log_text("source_root", text_of(settings->source_root == NULL ? "" : settings->source_root)),
			log_text("error", text_of(status_text(status))));
	for (int i = 0; i < DP_MAP_COUNT && status == STATUS_OK; i++) {
		struct map *map = map_new();
		atomic_store_explicit(&made->maps[i], map, memory_order_release);
		status = map == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	}
	if (status == STATUS_OK)
		status = mapping_guard_install();
	if (status != STATUS_OK) {
		dp_free(made);
		return status;
	}
	register_metrics();
	made->slot = worker_slot_new();
	worker_pool_on_start(pool, on_start, made);
	worker_pool_on_stop(pool, on_stop, made);
	records_listen(made);
	*dp = made;
	return STATUS_OK;
}

void dp_free(struct dp *dp)
{
	if (dp == NULL)
		return;
	records_free(dp);
	if (dp->root >= 0)
		close(dp->root);
	pthread_mutex_destroy(&dp->graves_lock);
	free(dp);
}
