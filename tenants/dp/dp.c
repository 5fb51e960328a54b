/* The data plane runtime: opening, its half on each worker, closing. */
#include "tenants/dp/dp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/base/mapping.h"
#include "server/base/metric.h"
#include "server/worker_pool.h"
#include "tenants/dp/consumer/held_token.h"
#include "tenants/dp/contract/books.h"
#include "tenants/dp/pull.h"
#include "tenants/dp/signaling/agreement_fetch.h"
#include "tenants/dp/signaling/callback_token.h"
#include "tenants/dp/signaling/jwks.h"
#include "tenants/dp/signaling/outbox.h"
#include "tenants/dp/signaling/replay.h"
#include "tenants/dp/sink/disk.h"
#include "tenants/dp/sink/push.h"

#define SETTING(name, kind_, preset_, low, high, help_)                                                                \
	{                                                                                                                  \
		.key = #name, .kind = kind_, .offset = offsetof(struct dp_settings, name), .preset = preset_, .minimum = low,  \
		.maximum = high, .help = help_                                                                                 \
	}
static const char *const unenforceable_choices[] = {"refuse", "flag", NULL};
static const char *const fetching_choices[] = {"never", "optional", "required", NULL};
static const char *const form_choices[] = {"jwt", "opaque", NULL};
const struct setting dp_settings_table[] = {
	SETTING(source_root, SETTING_TEXT, NULL, 0, 0,
		"directory of file sources: <source_root>/<ctx>/<path>; default <state directory>/sources"),
	{.key = "token_form",
		.kind = SETTING_CHOICE,
		.offset = offsetof(struct dp_settings, token_form),
		.preset = "jwt",
		.choices = form_choices,
		.help =
			"of the access tokens made from now on; opaque: 43 characters that say nothing, good in this cell alone, "
			"cheaper with each request; both forms are accepted"},
	SETTING(token_lifetime_ms, SETTING_MILLISECONDS, "1 h", 1000, 31536000000,
		"how long an access token is good when the request does not say; a flow's own expiry bounds it"),
	SETTING(renewal_lifetime_ms, SETTING_MILLISECONDS, "300 s", 1000, 31536000000,
		"how long an access token is good that its consumer can renew"),
	SETTING(renewal_grace_ms, SETTING_MILLISECONDS, "30 d", 0, 31536000000,
		"how long ago an access token may have expired that is to be renewed"),
	SETTING(token_cache, SETTING_INTEGER, "16384", 16, 1048576, "token verdicts remembered by each worker"),
	SETTING(open_files, SETTING_INTEGER, "1024", 1, 65536, "open files kept by each worker"),
	SETTING(source_ms, SETTING_MILLISECONDS, "30 s", 10, 3600000, "how long a source may stay silent"),
	SETTING(received_bytes, SETTING_BYTES, "64 GiB", 1, (int64_t)1 << 50, "the largest object a file sink takes"),
	SETTING(pushes, SETTING_INTEGER, "4", 1, 1024, "pushes of one tenant at once; others wait in order"),
	SETTING(
		push_segment, SETTING_BYTES, "8 MiB", 65536, 1073741824, "what a receiver of segments acknowledges at once"),
	SETTING(push_retries, SETTING_INTEGER, "10", 0, 1000,
		"attempts of a push after a failure, in a row without a byte acknowledged"),
	SETTING(push_pause_ms, SETTING_MILLISECONDS, "500 ms", 1, 30000,
		"pause before the first of them; it doubles up to 30 s"),
	SETTING(push_ms, SETTING_MILLISECONDS, "60 s", 10, 3600000,
		"how long the receiver of a push may stay silent, or take no byte"),
	SETTING(public_url, SETTING_TEXT, NULL, 1, 1024,
		"what the addresses given to control planes start with; null: scheme and authority of their request"),
	SETTING(callback_min_ms, SETTING_MILLISECONDS, "1 s", 10, 3600000,
		"pause after the first failed callback; doubled with each further one"),
	SETTING(callback_max_ms, SETTING_MILLISECONDS, "60 s", 10, 86400000, "longest pause between callbacks"),
	SETTING(callback_timeout_ms, SETTING_MILLISECONDS, "5 s", 100, 600000,
		"how long a control plane may take to answer a callback, or a server to give tokens and keys"),
	SETTING(subject_token_file, SETTING_TEXT, NULL, 1, 4096,
		"the workload's own token, exchanged for tokens to call control planes with; read for each exchange"),
	SETTING(unverified_control_planes, SETTING_BOOL, "false", 0, 0,
		"accept tokens of control planes that registered no keys without checking their signature"),
	SETTING(replay_detection, SETTING_BOOL, "false", 0, 0,
		"refuse a control plane's token whose id (jti) came before; many reuse their tokens"),
	SETTING(jwks_ms, SETTING_MILLISECONDS, "5 min", 1000, 86400000, "how long fetched key sets are good"),
	SETTING(digest_wait_ms, SETTING_MILLISECONDS, "2 s", 0, 3600000,
		"how long an answer waits for the digest of its file when one is wanted and not known yet; then it goes "
		"without"),
	SETTING(cell_file, SETTING_TEXT, NULL, 1, 4096,
		"file with the name this cell keeps its books under, made when missing; null: cell.id in the state directory"),
	SETTING(flush_ms, SETTING_MILLISECONDS, "1 s", 20, 60000, "how often what was sent is written to the books"),
	SETTING(receipts, SETTING_BOOL, "true", 0, 0, "signed receipts of what was sent"),
	SETTING(receipts_kept, SETTING_INTEGER, "100000", 1, 100000000, "receipts kept for each participant"),
	SETTING(agreement_required, SETTING_BOOL, "false", 0, 0,
		"true: a flow without a record of its agreement is not served; false: it is not limited"),
	{.key = "policy_unenforceable",
		.kind = SETTING_CHOICE,
		.offset = offsetof(struct dp_settings, policy_unenforceable),
		.preset = "refuse",
		.choices = unenforceable_choices,
		.help = "an agreement with terms this cell cannot enforce: refuse it, or serve it and flag it"},
	{.key = "agreement_from_control_plane",
		.kind = SETTING_CHOICE,
		.offset = offsetof(struct dp_settings, agreement_from_control_plane),
		.preset = "never",
		.choices = fetching_choices,
		.help = "an agreement without a record is fetched from the control plane when a flow of it is to begin; "
				"optional: the flow begins without it when it cannot be had; required: it does not"},
};
const size_t dp_settings_count = sizeof(dp_settings_table) / sizeof(dp_settings_table[0]);

static int metrics[DP_METRIC_COUNT], reason_metrics[POLICY_REASON_COUNT];

static void register_metrics(void)
{
#define REGISTER(name, series, labels, help) metrics[DP_##name] = metric_register(METRIC_COUNTER, series, labels, help);
	DP_METRIC_LIST(REGISTER)
#undef REGISTER
#define REGISTER(name, text)                                                                                           \
	reason_metrics[POLICY_##name] = metric_register(METRIC_COUNTER, "celld_dp_policy_total", "reason=\"" text "\"",    \
		"Pulls refused or stopped by the policy of their agreement");
	POLICY_REASON_LIST(REGISTER)
#undef REGISTER
}

void dp_count(enum dp_metric metric)
{
	metric_add(metrics[metric], 1);
}

void dp_count_reason(enum policy_reason reason)
{
	metric_add(reason_metrics[reason], 1);
}

static void *find_in(const struct map *version, struct text ctx, struct text id)
{
	char room[1024];
	if (map_count(version) == 0)
		return NULL;
	struct text key = map_key(room, sizeof(room), (const struct text[]){ctx, id}, 2);
	return key.length == 0 ? NULL : map_find(version, key);
}

void *dp_find(const struct dp *dp, enum dp_map map, struct text ctx, struct text id)
{
	return find_in(atomic_load_explicit(&dp->maps[map], memory_order_acquire), ctx, id);
}

void *dp_recall(const struct dp *dp, enum dp_map map, struct text ctx, struct text id, struct map_memo *memo)
{
	const struct map *version = atomic_load_explicit(&dp->maps[map], memory_order_acquire);
	if (memo->version != map_version(version))
		*memo = (struct map_memo){map_version(version), find_in(version, ctx, id)};
	return memo->found;
}

struct dp_worker *dp_here(const struct dp *dp, struct worker *worker)
{
	return worker_slot(worker, dp->slot);
}

static void close_worker(struct dp_worker *home)
{
	if (home == NULL)
		return;
	pushes_close_worker(home);
	books_drop(home);
	outbox_free(home->outbox);
	agreement_fetches_free(home->agreement_fetches);
	callback_tokens_free(home->callback_tokens);
	jwks_free(home->jwks);
	timer_free(home->tick);
	held_tokens_free(home->holdings);
	disk_drain(home->dp->disk);
	open_files_free(home->files);
	digest_lane_close(home->digests);
	verdicts_free(home->verdicts);
	buffer_free(&home->key_set);
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
	home->verdicts = verdicts_new((size_t)dp->settings.token_cache, &dp->token_epoch);
	home->files = open_files_new(dp->root, (size_t)dp->settings.open_files);
	home->holdings = holdings_new(dp, worker);
	home->digests = digest_lane_open(dp->digests, worker);
	home->tick = timer_new(worker, pull_tick, home);
	home->jwks = jwks_new(worker, dp->settings.jwks_ms, (uint32_t)dp->settings.callback_timeout_ms);
	if (home->verdicts == NULL || home->files == NULL || home->holdings == NULL || home->tick == NULL ||
		home->jwks == NULL || home->digests == NULL) {
		close_worker(home);
		return STATUS_NO_MEMORY;
	}
	worker_slot_set(worker, dp->slot, home);
	return home->index > 0 || outbox_new(home) != NULL ? STATUS_OK : STATUS_NO_MEMORY;
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

/* The name in the file; made when there is none. */
static enum status read_cell(const char *path, char into[ID_LENGTH + 1])
{
	id_random(into);
	if (path == NULL)
		return STATUS_OK;
	int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0)
		return STATUS_IO;
	char found[ID_LENGTH + 2];
	ssize_t length = read(file, found, sizeof(found));
	enum status status = STATUS_OK;
	if (length == 0)
		status = write(file, into, ID_LENGTH) == ID_LENGTH && fsync(file) == 0 ? STATUS_OK : STATUS_IO;
	else if (length == ID_LENGTH && id_is_valid((struct text){found, ID_LENGTH}))
		memcpy(into, found, ID_LENGTH);
	else
		status = STATUS_INVALID;
	close(file);
	return status;
}

static enum status open_books(struct dp *dp)
{
	char cell[ID_LENGTH + 1];
	enum status status = read_cell(dp->settings.cell_file, cell);
	if (status != STATUS_OK) {
		LOG(ERROR, "dp.open", log_text("cell_file", text_of(dp->settings.cell_file)),
			log_text("error", text_of(status_text(status))));
		return status;
	}
	dp->books = books_new(dp, text_of(cell));
	return dp->books == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

enum status dp_start(struct dp *dp)
{
	return books_start(dp->books);
}

void dp_settle(struct dp *dp)
{
	if (dp != NULL)
		books_settle(dp->books);
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
	id_random(made->process);
	enum status status = open_root(settings->source_root, &made->root);
	if (status != STATUS_OK)
		LOG(ERROR, "dp.open",
			log_text("source_root", text_of(settings->source_root == NULL ? "" : settings->source_root)),
			log_text("error", text_of(status_text(status))));
	made->disk = status == STATUS_OK ? disk_new() : NULL;
	if (status == STATUS_OK && made->disk == NULL)
		status = STATUS_NO_MEMORY;
	for (int i = 0; i < DP_MAP_COUNT && status == STATUS_OK; i++) {
		struct map *map = map_new();
		atomic_store_explicit(&made->maps[i], map, memory_order_release);
		status = map == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	}
	if (status == STATUS_OK && settings->replay_detection && (made->replays = replays_new()) == NULL)
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK && (made->digests = digests_new(made->root)) == NULL)
		status = STATUS_NO_MEMORY;
	if (status == STATUS_OK)
		status = open_books(made);
	if (status == STATUS_OK)
		status = mapping_guard_install();
	if (status != STATUS_OK) {
		dp_free(made);
		return status;
	}
	register_metrics();
	status = did_resolver_open(pool, registry, &made->resolver);
	if (status != STATUS_OK) {
		dp_free(made);
		return status;
	}
	made->slot = worker_slot_new();
	worker_pool_on_start(pool, on_start, made);
	worker_pool_on_stop(pool, on_stop, made);
	records_listen(made);
	*dp = made;
	return STATUS_OK;
}

void dp_stop(struct dp *dp, void (*done)(void *context), void *context)
{
	atomic_store_explicit(&dp->is_stopping, true, memory_order_release);
	worker_pool_barrier(dp->pool, done, context);
}

void dp_free(struct dp *dp)
{
	if (dp == NULL)
		return;
	books_free(dp->books);
	records_free(dp);
	replays_free(dp->replays);
	did_resolver_free(dp->resolver);
	digests_free(dp->digests);
	disk_free(dp->disk);
	if (dp->root >= 0)
		close(dp->root);
	pthread_mutex_destroy(&dp->graves_lock);
	free(dp);
}
