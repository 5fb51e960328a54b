/* How a cell gets in: it asks until it is welcomed, and takes what the welcome brings. */
#include <stdlib.h>
#include <unistd.h>

#include "control/bus/nats_jwt.h"
#include "control/cell/membership_private.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/secret.h"
#include "tenants/vault/safe_file.h"

enum { TOKEN_MAX = 256, PENDING_MS = 2000 };

static void set_why(struct membership *membership, struct text why)
{
	free(membership->why);
	membership->why = text_copy(text_slice(why, 0, 300));
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
	buffer_wipe(&content);
	return status == STATUS_OK;
}

bool membership_take_credentials(struct membership *membership, const struct json *answer)
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

/* --- the welcome */

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
	bool has_credentials = membership_take_credentials(membership, welcome);
	if (has_credentials && !take_inbox(membership, json_member_text(welcome, "inboxPrefix")))
		return false;
	if (membership->bus != NULL) {
		bus_renew(membership->bus, membership->bus_settings);
		return true;
	}
	enum status status = bus_open(membership->bus_settings, membership->worker, &membership->bus, &error);
	if (status == STATUS_OK)
		bus_on_state(membership->bus, membership_bus_changed, membership);
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
		state_put(transaction, RECORD_CELL_STATE, TEXT(MEMBERSHIP_EPOCH_ID), buffer_text(&body), REVISION_ANY))
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
		LOG(INFO, "cell.joined", log_text("cell", membership_cell_id(membership)),
			log_number("epoch", membership->epoch));
		membership_tell(membership, membership->epoch);
	}
	timer_set(membership->beating, 0);
}

static void on_refused(struct membership *membership, int http_status, const struct json *answer, struct text body)
{
	struct text message = json_member_text(answer, "message");
	bool is_stale = http_status == 409 && membership->epoch > 0;
	set_why(membership, message.length > 0 ? message : http_status == 0 ? body : TEXT("the manager refuses"));
	if (is_stale) {
		membership_fence(membership);
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
			LOG(INFO, "cell.join_pending", log_text("cell", membership_cell_id(membership)));
		membership->state = STATE_PENDING;
		ask_later(membership, PENDING_MS);
	} else {
		on_refused(membership, http_status, answer, body);
	}
	membership_publish(membership);
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

void membership_ask(void *context)
{
	struct membership *membership = context;
	struct buffer token = {0};
	read_token(membership, &token);
	const struct join_ask asked = {.cell_id = membership_cell_id(membership),
		.incarnation = text_of(membership->incarnation),
		.definition = text_of(membership->definition->text),
		.token = buffer_text(&token),
		.nkey = membership->nkey,
		.epoch = membership->epoch,
		.last_epoch = membership->last_epoch};
	membership->asked_ms = clock_boot_ms();
	if (!join_call_ask(membership->call, &asked, on_join_answered, membership))
		ask_later(membership, (uint64_t)membership->settings->retry_ms);
	buffer_wipe(&token);
}
