/* Management of a participant's configuration: entries in the store, private ones in the vault alone. */
#include <stdlib.h>
#include <string.h>

#include "tenants/cp/management_call.h"
#include "tenants/participant_build.h"

enum { ALIAS_MAX = 160 };

/* The record: {"entries":{...},"privateEntries":[names]}; private values are in the vault alone */

static const char *wrong_config_member(const struct json *body, const char *ctx)
{
	for (const struct json *member = json_first(body); member != NULL; member = json_next(member)) {
		bool is_fine = json_name_is(member, "@context") || json_name_is(member, "@id");
		if (json_name_is(member, "@type"))
			is_fine = text_equals(json_text(member), TEXT("ParticipantContextConfig"));
		else if (json_name_is(member, "identity"))
			is_fine = text_equals(json_text(member), text_of(ctx));
		else if (json_name_is(member, "entries") || json_name_is(member, "privateEntries")) {
			is_fine = json_kind(member) == JSON_OBJECT;
			for (const struct json *entry = json_first(member); entry != NULL && is_fine; entry = json_next(entry))
				is_fine = (json_kind(entry) == JSON_STRING || json_kind(entry) == JSON_NULL) &&
						  name_is_valid(text_of(json_name(entry)), ALIAS_MAX);
		}
		if (!is_fine)
			return json_name(member);
	}
	return NULL;
}

static bool set_entries(struct json *into, const struct json *change)
{
	bool is_set = into != NULL;
	for (const struct json *entry = json_first(change); entry != NULL && is_set; entry = json_next(entry)) {
		if (json_kind(entry) == JSON_NULL)
			json_remove(into, json_name(entry));
		else
			is_set = json_set(into, json_name(entry), json_copy(entry));
	}
	return is_set;
}

/* Names only. */
static bool set_private_names(struct json *into, const struct json *before, const struct json *change)
{
	bool is_set = into != NULL;
	for (const struct json *name = json_first(before); name != NULL && is_set; name = json_next(name)) {
		char *text = text_copy(json_text(name));
		is_set = text != NULL && (json_member(change, text) != NULL || json_add_text(into, NULL, json_text(name)));
		free(text);
	}
	for (const struct json *entry = json_first(change); entry != NULL && is_set; entry = json_next(entry)) {
		if (json_kind(entry) != JSON_NULL)
			is_set = json_add_text(into, NULL, text_of(json_name(entry)));
	}
	return is_set;
}

static bool is_patch(const struct call *call)
{
	return strcmp(call->endpoint->method, "PATCH") == 0;
}

/* before: as the record has it; NULL: there is none. */
static struct json *merged_config(const struct call *call, const struct json *before)
{
	struct json *config = json_object_new();
	if (!is_patch(call))
		before = NULL;
	struct json *entries = before == NULL ? json_object_new() : json_copy(json_member(before, "entries"));
	struct json *names = json_array_new();
	bool is_made =
		set_entries(entries, json_member(call->body, "entries")) &&
		set_private_names(names, json_member(before, "privateEntries"), json_member(call->body, "privateEntries"));
	is_made = json_add(config, "entries", entries) && is_made;
	is_made = json_add(config, "privateEntries", names) && is_made;
	if (is_made)
		return config;
	json_free(config);
	return NULL;
}

/* NULL: it has none. */
static struct json *config_of(const struct participant *participant)
{
	struct json *config = NULL;
	if (participant->config != NULL && json_parse(text_of(participant->config), NULL, &config) != STATUS_OK)
		config = NULL;
	return config;
}

static void change_begin(struct call *call);
static void store_config(struct call *call);

static void on_config_stored(void *context, enum status status, int64_t revision)
{
	struct call *call = context;
	(void)revision;
	if (status == STATUS_OK && call->is_early)
		early_config_forget_old(call->vault, call->early);
	if (!call_resumes(call))
		return;
	bool is_overtaken = status == STATUS_CONFLICT && ++call->attempts < CALL_ATTEMPTS_MAX;
	if (is_overtaken && call->is_early)
		change_begin(call); /* the participant has come, or another's early merge */
	else if (is_overtaken)
		store_config(call); /* somebody else's merge came first: merge into theirs */
	else if (status == STATUS_OK)
		call_finish(call);
	else
		call_refuse_status(call, status);
}

/* participant NULL: it has yet to come. */
static bool put_config(struct call *call, struct transaction *transaction, const struct participant *participant,
	const struct json *config)
{
	struct buffer text = {0};
	if (participant == NULL)
		return early_config_put(transaction, text_of(call->ctx), call->early, config);
	json_print(config, &text);
	bool is_put = !text.failed && transaction_put(transaction, text_of(call->ctx), RECORD_PARTICIPANT_CONFIG,
									  TEXT("config"), buffer_text(&text), participant->config_revision);
	buffer_free(&text);
	return is_put;
}

static void store_config(struct call *call)
{
	const struct participant *participant = call->is_early ? NULL : call_participant(call);
	if (participant == NULL && !call->is_early)
		return;
	struct json *stored = participant == NULL ? NULL : config_of(participant);
	struct json *config = merged_config(call, participant == NULL ? call->early->config : stored);
	struct buffer error = {0};
	enum status status = config == NULL ? STATUS_NO_MEMORY : participant_check_config(config, &error);
	struct transaction *transaction = status == STATUS_OK ? transaction_new() : NULL;
	if (status == STATUS_INVALID)
		call_refuse(call, 400, "ValidationFailure", error.bytes, "entries");
	else if (transaction == NULL || !put_config(call, transaction, participant, config)) {
		transaction_free(transaction);
		call_refuse_status(call, STATUS_NO_MEMORY);
	} else {
		call_submit(call, transaction, on_config_stored);
	}
	json_free(stored);
	json_free(config);
	buffer_free(&error);
}

static void keep_private_entries(struct call *call);

static void on_private_entry(void *context, enum status status, struct text result)
{
	struct call *call = context;
	(void)result;
	if (!call_resumes(call))
		return;
	if (status != STATUS_OK && status != STATUS_NOT_FOUND) {
		call_refuse_status(call, status);
		return;
	}
	call->secret = json_next(call->secret);
	keep_private_entries(call);
}

static void keep_private_entries(struct call *call)
{
	if (call->secret == NULL) {
		store_config(call);
		return;
	}
	char alias[ALIAS_MAX + 16], room[EARLY_NAME_ROOM];
	int length = snprintf(alias, sizeof(alias), "config.%s", json_name(call->secret));
	struct text name = {alias, (size_t)length},
				owner = call->is_early ? early_config_vault(text_of(call->ctx), room) : text_of(call->ctx);
	call->is_pending = true;
	if (json_kind(call->secret) == JSON_NULL)
		vault_delete(call->vault, owner, name, call->worker, on_private_entry, call);
	else
		vault_secret_put(call->vault, owner, name, json_text(call->secret), call->worker, on_private_entry, call);
}

/* What the body gives; a replacing one deletes the others. */
static struct json *list_secrets(const struct call *call, const struct json *before)
{
	const struct json *given = json_member(call->body, "privateEntries");
	struct json *secrets = given == NULL ? json_object_new() : json_copy(given);
	bool is_made = secrets != NULL;
	const struct json *name = is_patch(call) ? NULL : json_first(json_member(before, "privateEntries"));
	for (; name != NULL && is_made; name = json_next(name)) {
		char *text = text_copy(json_text(name));
		is_made = text != NULL && (json_member(secrets, text) != NULL || json_add_null(secrets, text));
		free(text);
	}
	if (is_made)
		return secrets;
	json_free(secrets);
	return NULL;
}

/* Secrets first: a name without its value would be believed. */
static void change_secrets(struct call *call, const struct json *before)
{
	json_free(call->secrets);
	call->secrets = list_secrets(call, before);
	call->secret = json_first(call->secrets);
	if (call->secrets == NULL)
		call_refuse_status(call, STATUS_NO_MEMORY);
	else
		keep_private_entries(call);
}

/* Nothing is kept for the participant: what the vault has under that name is a leftover, and gone. */
static void on_early_cleared(void *context, enum status status, struct text result)
{
	struct call *call = context;
	(void)result;
	if (!call_resumes(call))
		return;
	if (status == STATUS_OK)
		change_secrets(call, NULL);
	else
		call_refuse_status(call, status);
}

static void on_early_read(void *context, enum status status, struct early_config *early)
{
	struct call *call = context;
	char room[EARLY_NAME_ROOM];
	early_config_free(call->early);
	call->early = early;
	if (!call_resumes(call))
		return;
	if (status != STATUS_OK) {
		call_refuse_status(call, status);
	} else if (early->config != NULL) {
		change_secrets(call, early->config);
	} else {
		call->is_pending = true;
		vault_forget(call->vault, early_config_vault(text_of(call->ctx), room), call->worker, on_early_cleared, call);
	}
}

static void change_begin(struct call *call)
{
	const struct participant *participant = registry_find(call->registry, text_of(call->ctx));
	call->is_early = participant == NULL;
	if (participant == NULL) {
		call->is_pending = true;
		early_config_read(call->store, text_of(call->ctx), call->worker, on_early_read, call);
		return;
	}
	if (call->early != NULL)
		early_config_forget(call->vault, text_of(call->ctx)); /* it came while we were at it */
	struct json *before = config_of(participant);
	change_secrets(call, before);
	json_free(before);
}

void config_change(struct call *call, struct text body)
{
	if (!call_parse(call, body))
		return;
	const char *wrong = wrong_config_member(call->body, call->ctx);
	struct buffer error = {0};
	if (wrong != NULL) {
		call_refuse(call, 400, "ValidationFailure", "is not what a ParticipantContextConfig has here", wrong);
	} else if (participant_check_config(call->body, &error) == STATUS_INVALID) {
		call_refuse(call, 400, "ValidationFailure", error.bytes, "entries");
	} else {
		call->status = 204;
		change_begin(call);
	}
	buffer_free(&error);
}

/* config NULL: it is empty. */
static void show(struct call *call, const struct json *config)
{
	buffer_printf(&call->answer,
		"{\"@context\":" MANAGEMENT_CONTEXT ",\"@type\":\"ParticipantContextConfig\",\"identity\":\"%s\",\"entries\":",
		call->ctx);
	if (config == NULL)
		buffer_append(&call->answer, TEXT("{}"));
	else
		json_print(json_member(config, "entries"), &call->answer);
	buffer_append(&call->answer, TEXT(",\"privateEntries\":{}}"));
	call->status = 200;
	call_finish(call);
}

static void on_early_shown(void *context, enum status status, struct early_config *early)
{
	struct call *call = context;
	call->early = early;
	if (!call_resumes(call))
		return;
	if (status != STATUS_OK || early->config == NULL)
		call_refuse_status(call, status == STATUS_OK ? STATUS_NOT_FOUND : status);
	else
		show(call, early->config);
}

void config_show(struct call *call, struct text body)
{
	(void)body;
	const struct participant *participant = registry_find(call->registry, text_of(call->ctx));
	if (participant == NULL) {
		call->is_pending = true;
		early_config_read(call->store, text_of(call->ctx), call->worker, on_early_shown, call);
		return;
	}
	struct json *config = config_of(participant);
	show(call, config);
	json_free(config);
}
