/* The cell's membership: opened, started, ended, and shown. */
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/cell/membership_private.h"
#include "server/base/log.h"
#include "server/worker_pool.h"
#include "tenants/vault/safe_file.h"

enum { DEFINITION_MAX = 64 * 1024 };

#define SETTING(member, kind_, ...)                                                                                    \
	{                                                                                                                  \
		.key = #member, .kind = kind_, .offset = offsetof(struct membership_settings, member), __VA_ARGS__             \
	}
const struct setting membership_settings_table[] = {
	SETTING(url, SETTING_TEXT, .minimum = 1, .maximum = 2048,
		.help = "of the fabric's manager (cfmd), https://host:port; null: this cell belongs to no fabric"),
	SETTING(ca_file, SETTING_TEXT, .minimum = 1, .maximum = 4096, .help = "PEM of the authority of its certificate"),
	SETTING(definition_file, SETTING_TEXT, .minimum = 1, .maximum = 4096,
		.help = "JSON: what this cell is (cellId, name, type, region, provider, capacity, ...)"),
	SETTING(token_file, SETTING_TEXT, .minimum = 1, .maximum = 4096,
		.help = "a join token (cellctl cell token), needed the first time"),
	SETTING(key_file, SETTING_TEXT, .minimum = 1, .maximum = 4096,
		.help = "seed of this cell's own key, made when it is missing; default: <state directory>/cell.nk"),
	SETTING(probe_networks, SETTING_TEXTS,
		.help = "where the ingress of another cell may be tried when the manager asks, besides public addresses; none: "
				"anywhere"),
	SETTING(retry_ms, SETTING_MILLISECONDS, .preset = "5 s", .minimum = 100, .maximum = 3600000,
		.help = "between attempts to join"),
};
#undef SETTING
const size_t membership_settings_count = sizeof(membership_settings_table) / sizeof(membership_settings_table[0]);

static const char *const state_texts[] = {
#define STATE_TEXT(name, text) text,
	MEMBERSHIP_STATE_LIST(STATE_TEXT)
#undef STATE_TEXT
};

struct text membership_cell_id(const struct membership *membership)
{
	return text_of(membership->definition->cell_id);
}

void membership_tell(struct membership *membership, int64_t epoch)
{
	for (size_t i = 0; i < membership->observer_count; i++)
		membership->observers[i].changed(
			membership->observers[i].context, membership->bus, membership_cell_id(membership), epoch);
}

void membership_fence(struct membership *membership)
{
	if (membership->state == STATE_FENCED)
		return;
	membership->state = STATE_FENCED;
	atomic_store(&membership->is_fenced, true);
	LOG(ERROR, "cell.fenced", log_text("cell", membership_cell_id(membership)), log_number("epoch", membership->epoch),
		log_text("why", TEXT("another process of this cell has joined")));
	membership_tell(membership, 0);
	membership->uses.fence(membership->uses.fence_context);
	membership_publish(membership);
}

void membership_publish(struct membership *membership)
{
	struct buffer line = {0};
	buffer_printf(&line, "%s: %s", membership->definition->cell_id, state_texts[membership->state]);
	if (membership->state == STATE_JOINED) {
		buffer_printf(&line, ", epoch %lld%s%s; ", (long long)membership->epoch, membership->mode[0] == 0 ? "" : ", ",
			membership->mode);
		bus_line(membership->bus, &line);
		if (membership->refusal != NULL)
			buffer_printf(&line, "; %s", membership->refusal);
		else if (membership->is_held)
			buffer_append(
				&line, TEXT("; the manager's database is older than its cells, or another one: nothing new is "
							"done until its operator says that it holds (cellctl fabric adopt)"));
		else if (membership->was_lapsed)
			buffer_append(&line, TEXT("; its heartbeats are not answered"));
	} else if (membership->state == STATE_ASKING && membership->why != NULL) {
		buffer_printf(&line, "; %s", membership->why);
	}
	pthread_mutex_lock(&membership->line_lock);
	snprintf(membership->line, sizeof(membership->line), "%s", line.bytes == NULL ? "" : line.bytes);
	pthread_mutex_unlock(&membership->line_lock);
	buffer_free(&line);
}

/* --- life */

static void on_record(void *context, const struct record *record)
{
	struct membership *membership = context;
	struct json *root = NULL;
	int64_t epoch;
	if (!text_equals(record->id, TEXT(MEMBERSHIP_EPOCH_ID)) || record->body.bytes == NULL ||
		json_parse(record->body, NULL, &root) != STATUS_OK)
		return;
	if (json_integer(json_member(root, "epoch"), &epoch) && epoch > membership->last_epoch)
		membership->last_epoch = epoch;
	json_free(root);
}

static enum status on_start(void *context, struct worker *worker)
{
	struct membership *membership = context;
	if (worker_index(worker) != 0)
		return STATUS_OK;
	membership->worker = worker;
	membership->asking = timer_new(worker, membership_ask, membership);
	membership->beating = timer_new(worker, membership_beat, membership);
	enum status status = membership->asking == NULL || membership->beating == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	if (status == STATUS_OK)
		status = join_call_open(membership->settings->url, membership->settings->ca_file, worker, &membership->call);
	if (status != STATUS_OK)
		return status;
	membership_publish(membership);
	figures_start(membership->figures, worker);
	timer_set(membership->asking, 0);
	return STATUS_OK;
}

static void on_stop(void *context, struct worker *worker)
{
	struct membership *membership = context;
	if (worker_index(worker) != 0)
		return;
	figures_stop(membership->figures);
	timer_free(membership->asking);
	timer_free(membership->beating);
	membership->asking = membership->beating = NULL;
}

static enum status read_definition(struct membership *membership, struct buffer *error)
{
	const char *file = membership->settings->definition_file, *name;
	struct buffer content = {0}, what = {0}, warning = {0};
	struct json *root = NULL;
	int folder;
	if (file == NULL) {
		buffer_append(error, TEXT("fabric.definition_file: needed with fabric.url"));
		return STATUS_INVALID;
	}
	enum status status = safe_file_split(file, &folder, &name);
	if (status == STATUS_OK) {
		status = safe_file_read(folder, name, DEFINITION_MAX, false, &content);
		close(folder);
	}
	if (status == STATUS_OK)
		status = json_parse(buffer_text(&content), NULL, &root);
	if (status == STATUS_OK)
		status = cell_definition_parse(root, &membership->definition, &what, &warning);
	if (status != STATUS_OK)
		buffer_printf(
			error, "fabric.definition_file: %s: %s", file, what.length > 0 ? what.bytes : status_text(status));
	json_free(root);
	buffer_free(&content);
	buffer_free(&what);
	buffer_free(&warning);
	return status;
}

static enum status read_files(struct membership *membership, struct buffer *error)
{
	struct buffer file = {0};
	enum status status = read_definition(membership, error);
	if (status == STATUS_OK)
		status = nkey_open(membership->settings->key_file, NKEY_USER, true, &membership->nkey, error);
	buffer_printf(&file, "%s.creds", membership->settings->key_file);
	membership->credentials_file = buffer_take(&file);
	return status == STATUS_OK && membership->credentials_file == NULL ? STATUS_NO_MEMORY : status;
}

enum status membership_open(const struct membership_settings *settings, struct bus_settings *bus_settings,
	const struct membership_uses *uses, struct membership **membership, struct buffer *error)
{
	*membership = NULL;
	if (settings->url == NULL)
		return STATUS_OK;
	struct membership *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->settings = settings;
	made->bus_settings = bus_settings;
	made->uses = *uses;
	made->has_own_urls = bus_settings->urls.count > 0;
	made->has_own_method = bus_settings->method != BUS_NONE;
	pthread_mutex_init(&made->line_lock, NULL);
	id_random(made->incarnation);
	enum status status = read_files(made, error);
	if (status == STATUS_OK)
		status = figures_open(uses->store, uses->vault, uses->registry, &made->figures);
	if (status != STATUS_OK) {
		membership_free(made);
		return status;
	}
	state_watch(uses->state, RECORD_CELL_STATE, on_record, NULL, made);
	worker_pool_on_start(uses->pool, on_start, made);
	worker_pool_on_stop(uses->pool, on_stop, made);
	*membership = made;
	return STATUS_OK;
}

void membership_observe(struct membership *membership,
	void (*changed)(void *context, struct bus *bus, struct text cell_id, int64_t epoch), void *context)
{
	if (membership->observer_count == MEMBERSHIP_OBSERVERS_MAX)
		abort(); /* our mistake */
	membership->observers[membership->observer_count++] = (struct membership_observer){changed, context};
}

struct leaving {
	struct task task;
	struct membership *membership;
	sem_t done;
};

static void leave(struct task *task)
{
	struct leaving *leaving = (struct leaving *)task;
	leaving->membership->is_leaving = true;
	if (leaving->membership->bus != NULL)
		membership_tell(leaving->membership, 0);
	timer_cancel(leaving->membership->beating);
	timer_cancel(leaving->membership->asking);
	sem_post(&leaving->done);
}

void membership_leave(struct membership *membership)
{
	struct leaving leaving = {.task = {.run = leave}, .membership = membership};
	if (membership == NULL || membership->worker == NULL)
		return;
	sem_init(&leaving.done, 0, 0);
	worker_post(membership->worker, &leaving.task);
	while (sem_wait(&leaving.done) != 0)
		continue;
	sem_destroy(&leaving.done);
	/* not closed: a command that the store still has is answered when it has been committed */
	bus_disconnect(membership->bus);
}

void membership_free(struct membership *membership)
{
	if (membership == NULL)
		return;
	join_call_close(membership->call);
	bus_close(membership->bus);
	figures_free(membership->figures);
	cell_definition_free(membership->definition);
	nkey_free(membership->nkey);
	free(membership->credentials_file);
	free(membership->why);
	pthread_mutex_destroy(&membership->line_lock);
	free(membership);
}

const char *membership_ingress(const struct membership *membership)
{
	return membership->definition->ingress;
}

bool membership_is_fenced(const struct membership *membership)
{
	return membership != NULL && atomic_load(&membership->is_fenced);
}

void membership_line(struct membership *membership, struct buffer *into)
{
	pthread_mutex_lock(&membership->line_lock);
	buffer_append(into, text_of(membership->line));
	pthread_mutex_unlock(&membership->line_lock);
}
