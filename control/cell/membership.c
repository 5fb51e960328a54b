/* The cell in the fabric: one state, moved by answers. */
#include "control/cell/membership.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "control/bus/nats_jwt.h"
#include "control/cell/figures.h"
#include "control/cell/join_call.h"
#include "control/cell/pulse.h"
#include "control/fabric/cell_definition.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/secret.h"
#include "tenants/vault/safe_file.h"

enum { DEFINITION_MAX = 64 * 1024, TOKEN_MAX = 256, OBSERVERS_MAX = 4, BEAT_ANSWER_MS = 5000, RENEW_MS = 5000 };
enum { RENEW_RETRY_MS = 60000, PENDING_MS = 2000 };
#define EPOCH_ID "membership"

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
	SETTING(retry_ms, SETTING_MILLISECONDS, .preset = "5 s", .minimum = 100, .maximum = 3600000,
		.help = "between attempts to join"),
};
#undef SETTING
const size_t membership_settings_count = sizeof(membership_settings_table) / sizeof(membership_settings_table[0]);

/* name, words for people */
#define STATE_LIST(X)                                                                                                  \
	X(ASKING, "asking to join")                                                                                        \
	X(PENDING, "waits for an operator's approval")                                                                     \
	X(JOINED, "joined")                                                                                                \
	X(FENCED, "fenced: another process of this cell has joined")
enum membership_state {
#define STATE_MEMBER(name, text) STATE_##name,
	STATE_LIST(STATE_MEMBER)
#undef STATE_MEMBER
};
static const char *const state_texts[] = {
#define STATE_TEXT(name, text) text,
	STATE_LIST(STATE_TEXT)
#undef STATE_TEXT
};

struct observer {
	void (*changed)(void *context, struct bus *bus, struct text cell_id, int64_t epoch);
	void *context;
};

struct membership {
	const struct membership_settings *settings;
	struct bus_settings *bus_settings;
	struct membership_uses uses;
	struct worker *worker;
	struct nkey *nkey;
	struct cell_definition *definition;
	struct figures *figures;
	struct join_call *call;
	struct bus *bus; /* NULL: not joined yet */
	struct timer *asking, *beating;
	char incarnation[ID_LENGTH + 1];
	char *credentials_file; /* written when the manager issues any */
	char *why;              /* the last refusal */
	enum membership_state state;
	int64_t last_epoch; /* the highest this cell ever had */
	int64_t epoch;      /* of this process; 0: not joined yet */
	int64_t term;
	uint64_t asked_ms;
	int64_t renew_ms; /* wall clock; 0: never */
	struct pulse pulse;
	bool has_own_urls, has_own_method, is_renewing, was_lapsed, is_leaving;
	char mode[24]; /* as the manager says */
	atomic_bool is_fenced;
	struct observer observers[OBSERVERS_MAX];
	size_t observer_count;
};

static struct text cell_id_of(const struct membership *membership)
{
	return text_of(membership->definition->cell_id);
}

static void tell(struct membership *membership, int64_t epoch)
{
	for (size_t i = 0; i < membership->observer_count; i++)
		membership->observers[i].changed(
			membership->observers[i].context, membership->bus, cell_id_of(membership), epoch);
}

static void set_why(struct membership *membership, struct text why)
{
	free(membership->why);
	membership->why = text_copy(text_slice(why, 0, 300));
}

static void fence(struct membership *membership)
{
	if (membership->state == STATE_FENCED)
		return;
	membership->state = STATE_FENCED;
	atomic_store(&membership->is_fenced, true);
	LOG(ERROR, "cell.fenced", log_text("cell", cell_id_of(membership)), log_number("epoch", membership->epoch),
		log_text("why", TEXT("another process of this cell has joined")));
	tell(membership, 0);
	membership->uses.fence(membership->uses.fence_context);
}

/* --- credentials */

/* The file that the bus reads at each connecting. */
static bool write_credentials(struct membership *membership, struct text jwt)
{
	struct buffer content = {0};
	int folder;
	const char *name;
	enum status status = nats_credentials_print(jwt, membership->nkey, &content);
	if (status == STATUS_OK)
		status = safe_file_split(membership->credentials_file, &folder, &name);
	if (status == STATUS_OK) {
		status = safe_file_replace(folder, name, 0600, buffer_text(&content));
		close(folder);
	}
	if (status != STATUS_OK)
		LOG(ERROR, "cell.credentials_unwritten", log_text("file", text_of(membership->credentials_file)),
			log_text("why", text_of(status_text(status))));
	if (content.bytes != NULL)
		wipe(content.bytes, content.room);
	buffer_free(&content);
	return status == STATUS_OK;
}

/* What a welcome or a renewal brings; true: there were credentials, and they are in force with the next connecting. */
static bool take_credentials(struct membership *membership, const struct json *answer)
{
	struct text jwt = json_member_text(answer, "natsUserJwt");
	int64_t expires_ms = 0, now_ms = clock_wall_ms();
	if (jwt.length == 0 || membership->has_own_method || !write_credentials(membership, jwt))
		return false;
	if (json_integer(json_member(answer, "natsExpiresAt"), &expires_ms) && expires_ms > 0)
		membership->renew_ms = now_ms + (expires_ms - now_ms) * 2 / 3;
	struct bus_settings *bus_settings = membership->bus_settings;
	if (bus_settings->credentials_file == NULL)
		bus_settings->credentials_file = text_copy(text_of(membership->credentials_file));
	bus_settings->method = BUS_CREDENTIALS;
	return bus_settings->credentials_file != NULL;
}

static void ask(struct membership *membership);

static void on_renewed(void *context, enum status status, const struct bus_message *message)
{
	struct membership *membership = context;
	struct json *answer = NULL;
	membership->is_renewing = false;
	if (membership->is_leaving || membership->state != STATE_JOINED)
		return;
	if (status == STATUS_OK && json_parse(message->body, NULL, &answer) != STATUS_OK)
		answer = NULL;
	if (json_member(answer, "err") != NULL) {
		fence(membership);
	} else if (answer != NULL && take_credentials(membership, answer)) {
		bus_renew(membership->bus, membership->bus_settings);
		LOG(INFO, "cell.credentials_renewed", log_text("cell", cell_id_of(membership)));
	} else {
		membership->renew_ms = clock_wall_ms() + RENEW_RETRY_MS;
		ask(membership); /* over HTTPS the same process is welcomed again */
	}
	json_free(answer);
}

static void renew(struct membership *membership)
{
	struct buffer subject = {0}, body = {0};
	buffer_printf(&subject, "celld.renew.%s", membership->definition->cell_id);
	buffer_printf(&body, "{\"inc\":\"%s\",\"ep\":%lld,\"nkey\":\"%s\"}", membership->incarnation,
		(long long)membership->epoch, nkey_public(membership->nkey));
	if (!subject.failed && !body.failed) {
		membership->is_renewing = true;
		bus_request(
			membership->bus, buffer_text(&subject), NULL, 0, buffer_text(&body), RENEW_MS, on_renewed, membership);
	}
	buffer_free(&subject);
	buffer_free(&body);
}

/* --- heartbeats */

static void take_grant(struct membership *membership, const struct json *answer)
{
	int64_t number, ttl, interval, term;
	struct text mode = json_member_text(answer, "mode");
	if (!json_integer(json_member(answer, "n"), &number) || !json_integer(json_member(answer, "ttl"), &ttl) ||
		!json_integer(json_member(answer, "term"), &term) || ttl <= 0)
		return;
	if (term < membership->term)
		return; /* of a leader that has been followed */
	membership->term = term;
	pulse_answered(&membership->pulse, number, (uint64_t)ttl);
	if (json_integer(json_member(answer, "interval"), &interval) && interval > 0)
		membership->pulse.interval_ms = (uint64_t)interval;
	if (mode.length > 0 && mode.length < sizeof(membership->mode)) {
		memcpy(membership->mode, mode.bytes, mode.length);
		membership->mode[mode.length] = 0;
	}
}

static void on_beat_answered(void *context, enum status status, const struct bus_message *message)
{
	struct membership *membership = context;
	struct json *answer = NULL;
	if (membership->is_leaving || membership->state != STATE_JOINED || status != STATUS_OK ||
		json_parse(message->body, NULL, &answer) != STATUS_OK)
		return;
	struct text error = json_member_text(answer, "err");
	int64_t epoch = 0;
	bool is_newer = json_integer(json_member(answer, "ep"), &epoch) && epoch >= membership->epoch;
	if (text_equals(error, TEXT("STALE_EPOCH")) && is_newer)
		fence(membership);
	else if (error.bytes != NULL)
		LOG(WARNING, "cell.heartbeat_refused", log_text("why", error), log_number("epoch", epoch));
	else
		take_grant(membership, answer);
	json_free(answer);
}

static void send_beat(struct membership *membership)
{
	struct buffer subject = {0}, body = {0};
	struct beat beat = {.epoch = membership->epoch, .number = membership->pulse.number};
	memcpy(beat.cell, membership->definition->cell_id, strlen(membership->definition->cell_id));
	memcpy(beat.incarnation, membership->incarnation, ID_LENGTH);
	figures_fill(membership->figures, membership->bus, &beat.figures);
	if (membership->was_lapsed)
		beat.figures.state = BEAT_STATE_FENCED;
	else if (strcmp(membership->mode, "draining") == 0)
		beat.figures.state = BEAT_STATE_DRAINING;
	buffer_printf(&subject, "celld.hb.%s", membership->definition->cell_id);
	beat_print(&beat, &body);
	if (!subject.failed && !body.failed)
		bus_request(membership->bus, buffer_text(&subject), NULL, 0, buffer_text(&body), BEAT_ANSWER_MS,
			on_beat_answered, membership);
	buffer_free(&subject);
	buffer_free(&body);
}

static void watch_lease(struct membership *membership, uint64_t now_ms)
{
	bool has_lapsed = pulse_has_lapsed(&membership->pulse, now_ms);
	if (has_lapsed != membership->was_lapsed)
		LOG(WARNING, "cell.lease", log_bool("lapsed", has_lapsed), log_number("epoch", membership->epoch));
	membership->was_lapsed = has_lapsed;
}

static void on_beating(void *context)
{
	struct membership *membership = context;
	uint64_t now_ms = clock_boot_ms();
	uint32_t random;
	if (membership->state != STATE_JOINED)
		return;
	watch_lease(membership, now_ms);
	random_bytes(&random, sizeof(random));
	if (bus_is_up(membership->bus) && pulse_beats(&membership->pulse, now_ms, random))
		send_beat(membership);
	if (membership->renew_ms != 0 && clock_wall_ms() >= membership->renew_ms && !membership->is_renewing)
		renew(membership);
	uint64_t due_ms = pulse_due_ms(&membership->pulse);
	timer_set(membership->beating, due_ms > now_ms ? due_ms - now_ms : 100);
}

/* Back after the broker was away: said at once. */
static void on_bus(void *context, bool is_up)
{
	struct membership *membership = context;
	if (is_up && membership->state == STATE_JOINED && !membership->is_leaving)
		timer_set(membership->beating, 0);
}

/* --- joining */

static void ask_later(struct membership *membership, uint64_t after_ms)
{
	timer_set(membership->asking, after_ms);
}

/* The urls of the welcome, unless the operator has set some. False: there are none, or out of memory. */
static bool take_urls(struct membership *membership, const struct json *urls)
{
	struct setting_texts *texts = &membership->bus_settings->urls;
	if (membership->has_own_urls)
		return true;
	for (size_t i = 0; i < texts->count; i++)
		free(texts->items[i]);
	free(texts->items);
	*texts = (struct setting_texts){.items = calloc(json_count(urls) + 1, sizeof(char *))};
	for (const struct json *url = json_first(urls); url != NULL && texts->items != NULL; url = json_next(url)) {
		char *copy = json_text(url).bytes == NULL ? NULL : text_copy(json_text(url));
		if (copy != NULL)
			texts->items[texts->count++] = copy;
	}
	return texts->count > 0;
}

/* The reply subjects that the credentials allow. */
static bool take_inbox(struct membership *membership, struct text inbox)
{
	if (inbox.length == 0 || membership->has_own_method)
		return true;
	free(membership->bus_settings->inbox);
	membership->bus_settings->inbox = text_copy(inbox);
	return membership->bus_settings->inbox != NULL;
}

static bool open_bus(struct membership *membership, const struct json *welcome)
{
	struct buffer error = {0};
	if (!take_urls(membership, json_member(welcome, "natsUrls"))) {
		set_why(membership, TEXT("the manager names no broker, and nats.urls is not set"));
		return false;
	}
	bool has_credentials = take_credentials(membership, welcome);
	if (has_credentials && !take_inbox(membership, json_member_text(welcome, "inboxPrefix")))
		return false;
	if (membership->bus != NULL) {
		bus_renew(membership->bus, membership->bus_settings);
		return true;
	}
	enum status status = bus_open(membership->bus_settings, membership->worker, &membership->bus, &error);
	if (status == STATUS_OK)
		bus_on_state(membership->bus, on_bus, membership);
	else
		set_why(membership, error.length > 0 ? buffer_text(&error) : text_of(status_text(status)));
	buffer_free(&error);
	return status == STATUS_OK;
}

static void on_epoch_kept(void *context, enum status status, int64_t revision)
{
	struct membership *membership = context;
	(void)revision;
	if (status != STATUS_OK)
		LOG(ERROR, "cell.epoch_unwritten", log_number("epoch", membership->epoch),
			log_text("why", text_of(status_text(status))));
}

static void keep_epoch(struct membership *membership)
{
	struct transaction *transaction = transaction_new();
	struct buffer body = {0};
	buffer_printf(&body, "{\"epoch\":%lld}", (long long)membership->epoch);
	if (transaction != NULL && !body.failed &&
		state_put(transaction, RECORD_CELL_STATE, TEXT(EPOCH_ID), buffer_text(&body), REVISION_ANY))
		state_submit(membership->uses.state, transaction, on_epoch_kept, membership);
	else
		transaction_free(transaction);
	buffer_free(&body);
}

static bool take_welcome(struct membership *membership, const struct json *welcome)
{
	int64_t epoch, interval, ttl, margin;
	uint64_t now_ms = clock_boot_ms();
	if (!json_integer(json_member(welcome, "cellEpoch"), &epoch) || epoch <= 0 ||
		!json_integer(json_member(welcome, "hbIntervalMs"), &interval) || interval <= 0 ||
		!json_integer(json_member(welcome, "leaseTtlMs"), &ttl) || ttl <= 0 ||
		!json_integer(json_member(welcome, "marginMs"), &margin) || margin < 0) {
		set_why(membership, TEXT("the manager's welcome cannot be read"));
		return false;
	}
	if (!open_bus(membership, welcome))
		return false;
	bool is_again = membership->epoch == epoch;
	membership->epoch = epoch;
	if (is_again) /* fresh credentials for the same process: its numbers go on */
		return true;
	if (epoch > membership->last_epoch) {
		membership->last_epoch = epoch;
		keep_epoch(membership);
	}
	pulse_start(&membership->pulse, (uint64_t)interval, (uint64_t)ttl, (uint64_t)margin, membership->asked_ms, now_ms);
	return true;
}

static void on_welcome(struct membership *membership, const struct json *welcome)
{
	bool was_joined = membership->state == STATE_JOINED;
	int64_t before = membership->epoch;
	if (!take_welcome(membership, welcome)) {
		LOG(ERROR, "cell.join_failed", log_text("why", text_of(membership->why == NULL ? "" : membership->why)));
		ask_later(membership, (uint64_t)membership->settings->retry_ms);
		return;
	}
	membership->state = STATE_JOINED;
	if (!was_joined || before != membership->epoch) {
		LOG(INFO, "cell.joined", log_text("cell", cell_id_of(membership)), log_number("epoch", membership->epoch));
		tell(membership, membership->epoch);
	}
	timer_set(membership->beating, 0);
}

static void on_refused(struct membership *membership, int http_status, const struct json *answer, struct text body)
{
	struct text message = json_member_text(answer, "message");
	bool is_stale = http_status == 409 && membership->epoch > 0;
	set_why(membership, message.length > 0 ? message : http_status == 0 ? body : TEXT("the manager refuses"));
	if (is_stale) {
		fence(membership);
		return;
	}
	LOG(WARNING, "cell.join_refused", log_number("status", http_status), log_text("why", text_of(membership->why)));
	if (membership->state != STATE_JOINED) {
		membership->state = STATE_ASKING;
		ask_later(membership, (uint64_t)membership->settings->retry_ms);
	}
}

static void on_join_answered(void *context, int http_status, struct text body)
{
	struct membership *membership = context;
	struct json *answer = NULL;
	if (membership->is_leaving || membership->state == STATE_FENCED)
		return;
	if (http_status != 0 && json_parse(body, NULL, &answer) != STATUS_OK)
		answer = NULL;
	if (http_status == 200 && answer != NULL) {
		on_welcome(membership, answer);
	} else if (http_status == 202) {
		if (membership->state != STATE_PENDING)
			LOG(INFO, "cell.join_pending", log_text("cell", cell_id_of(membership)));
		membership->state = STATE_PENDING;
		ask_later(membership, PENDING_MS);
	} else {
		on_refused(membership, http_status, answer, body);
	}
	json_free(answer);
}

/* A token is read each time: it may have been put there since. "" when there is none. */
static void read_token(const struct membership *membership, struct buffer *token)
{
	int folder;
	const char *name;
	if (membership->settings->token_file == NULL ||
		safe_file_split(membership->settings->token_file, &folder, &name) != STATUS_OK)
		return;
	enum status status = safe_file_read(folder, name, TOKEN_MAX, true, token);
	close(folder);
	if (status == STATUS_FORBIDDEN)
		LOG(ERROR, "cell.token_readable", log_text("file", text_of(membership->settings->token_file)),
			log_text("why", TEXT("must be readable by its owner alone")));
	while (token->length > 0 && token->bytes[token->length - 1] == '\n')
		token->length--;
}

static void ask(struct membership *membership)
{
	struct buffer token = {0};
	read_token(membership, &token);
	const struct join_ask asked = {.cell_id = cell_id_of(membership),
		.incarnation = text_of(membership->incarnation),
		.definition = text_of(membership->definition->text),
		.token = buffer_text(&token),
		.nkey = membership->nkey,
		.epoch = membership->epoch,
		.last_epoch = membership->last_epoch};
	membership->asked_ms = clock_boot_ms();
	if (!join_call_ask(membership->call, &asked, on_join_answered, membership))
		ask_later(membership, (uint64_t)membership->settings->retry_ms);
	if (token.bytes != NULL)
		wipe(token.bytes, token.room);
	buffer_free(&token);
}

static void on_asking(void *context)
{
	ask(context);
}

/* --- life */

static void on_record(void *context, const struct record *record)
{
	struct membership *membership = context;
	struct json *root = NULL;
	int64_t epoch;
	if (!text_equals(record->id, TEXT(EPOCH_ID)) || record->body.bytes == NULL ||
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
	membership->asking = timer_new(worker, on_asking, membership);
	membership->beating = timer_new(worker, on_beating, membership);
	enum status status = membership->asking == NULL || membership->beating == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	if (status == STATUS_OK)
		status = join_call_open(membership->settings->url, membership->settings->ca_file, worker, &membership->call);
	if (status != STATUS_OK)
		return status;
	figures_start(membership->figures, worker);
	ask_later(membership, 0);
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
	if (membership->observer_count == OBSERVERS_MAX)
		abort(); /* our mistake */
	membership->observers[membership->observer_count++] = (struct observer){changed, context};
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
	bus_close(membership->bus);
	membership->bus = NULL;
}

void membership_free(struct membership *membership)
{
	if (membership == NULL)
		return;
	join_call_close(membership->call);
	figures_free(membership->figures);
	cell_definition_free(membership->definition);
	nkey_free(membership->nkey);
	free(membership->credentials_file);
	free(membership->why);
	free(membership);
}

bool membership_is_fenced(const struct membership *membership)
{
	return membership != NULL && atomic_load(&membership->is_fenced);
}

void membership_line(const struct membership *membership, struct buffer *into)
{
	buffer_printf(into, "%s: %s", membership->definition->cell_id, state_texts[membership->state]);
	if (membership->state == STATE_JOINED) {
		buffer_printf(into, ", epoch %lld%s%s; ", (long long)membership->epoch, membership->mode[0] == 0 ? "" : ", ",
			membership->mode);
		bus_line(membership->bus, into);
		if (membership->was_lapsed)
			buffer_append(into, TEXT("; its heartbeats are not answered"));
	} else if (membership->state == STATE_ASKING && membership->why != NULL) {
		buffer_printf(into, "; %s", membership->why);
	}
}
