/* Who may do what on the broker. */
#include "control/fabric/fleet/credentials.h"

#include <stdlib.h>
#include <unistd.h>

#include "tenants/vault/safe_file.h"

struct credentials {
	struct nkey *signer;
	char *account;
	char **activities;
	size_t activity_count;
};

/* {C} stands for the cell's id, {T} for an activity's type (a line for each). The consumers named here are made by the
 * managers: who may make one may choose what it is fed with. */
struct grant {
	bool is_publish;
	const char *subject;
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CELL "{C}"
#define TYPE "{T}"

static const struct grant cell_grants[] = {
	{true, "celld.hb." CELL},
	{true, "celld.renew." CELL},
	{true, "celld.status." CELL},
	{true, "celld.evt." CELL ".>"},
	{true, "celld.ack." CELL},
	{true, "celld.word.*." CELL}, /* what it finds where another cell is silent, ... */
	{false, "celld.probe." CELL}, /* ... when it is asked */
	{true, "$JS.API.STREAM.INFO.celld-cmd"},
	{true, "$JS.API.CONSUMER.INFO.celld-cmd.cell-" CELL},
	{true, "$JS.API.CONSUMER.MSG.NEXT.celld-cmd.cell-" CELL},
	{true, "$JS.ACK.celld-cmd.cell-" CELL ".>"},
	{true, "_INBOX_" CELL ".>"}, /* to itself: how long the way takes */
	{false, "_INBOX_" CELL ".>"},
	{false, "celld.route.>"},
};
/* The activities that a cell serves itself. */
static const struct grant executor_grants[] = {
	{true, "event.>"},
	{true, "$KV.cfm-bucket.>"},
	{true, "$JS.API.STREAM.INFO.cfm-stream"},
	{true, "$JS.API.STREAM.INFO.KV_cfm-bucket"},
	{true, "$JS.API.STREAM.MSG.GET.KV_cfm-bucket"},
	{true, "$JS.API.DIRECT.GET.KV_cfm-bucket.>"},
};
static const struct grant activity_grants[] = {
	{true, "$JS.API.CONSUMER.INFO.cfm-stream." TYPE "--" CELL},
	{true, "$JS.API.CONSUMER.MSG.NEXT.cfm-stream." TYPE "--" CELL},
	{true, "$JS.ACK.cfm-stream." TYPE "--" CELL ".>"},
};
/* What the client library of the existing agents asks. */
static const struct grant agent_grants[] = {
	{true, "event.>"},
	{true, "$KV.cfm-bucket.>"},
	{true, "$JS.API.INFO"},
	{true, "$JS.API.STREAM.NAMES"},
	{true, "$JS.API.STREAM.*.cfm-stream"},
	{true, "$JS.API.STREAM.*.KV_cfm-bucket"},
	{true, "$JS.API.STREAM.MSG.GET.KV_cfm-bucket"},
	{true, "$JS.API.DIRECT.GET.KV_cfm-bucket"},
	{true, "$JS.API.DIRECT.GET.KV_cfm-bucket.>"},
	{true, "$JS.API.CONSUMER.*.cfm-stream"},
	{true, "$JS.API.CONSUMER.*.cfm-stream.>"},
	{true, "$JS.API.CONSUMER.*.KV_cfm-bucket"},
	{true, "$JS.API.CONSUMER.*.KV_cfm-bucket.>"},
	{true, "$JS.API.CONSUMER.DURABLE.CREATE.cfm-stream.>"},
	{true, "$JS.API.CONSUMER.MSG.NEXT.cfm-stream.>"},
	{true, "$JS.ACK.cfm-stream.>"},
	{true, "$JS.ACK.KV_cfm-bucket.>"},
	{false, "_INBOX.>"},
};

struct permissions {
	struct nats_subjects publish, subscribe;
};

static void append_text(struct buffer *into, struct text name, struct text type, const char *subject)
{
	for (const char *at = subject; *at != 0;) {
		bool is_cell = strncmp(at, CELL, 3) == 0, is_type = strncmp(at, TYPE, 3) == 0;
		if (is_cell || is_type)
			buffer_append(into, is_cell ? name : type);
		else
			buffer_append_byte(into, *at);
		at += is_cell || is_type ? 3 : 1;
	}
}

static void add_grants(
	struct permissions *permissions, const struct grant *grants, size_t count, struct text name, struct text type)
{
	for (size_t i = 0; i < count; i++) {
		struct nats_subjects *subjects = grants[i].is_publish ? &permissions->publish : &permissions->subscribe;
		struct buffer subject = {0};
		append_text(&subject, name, type, grants[i].subject);
		if (subject.failed)
			subjects->failed = true;
		else
			nats_subjects_add(subjects, "%s", subject.bytes);
		buffer_free(&subject);
	}
}

static void add_role(struct permissions *permissions, const struct credentials *credentials, enum credentials_role role,
	struct text name)
{
	switch (role) {
	case ROLE_MANAGER:
		break;
	case ROLE_CELL:
		add_grants(permissions, cell_grants, COUNT(cell_grants), name, TEXT(""));
		add_grants(permissions, executor_grants, COUNT(executor_grants), name, TEXT(""));
		for (size_t i = 0; i < credentials->activity_count; i++)
			add_grants(permissions, activity_grants, COUNT(activity_grants), name, text_of(credentials->activities[i]));
		break;
	case ROLE_AGENT:
		add_grants(permissions, agent_grants, COUNT(agent_grants), name, TEXT(""));
		break;
	}
}

enum status credentials_issue(const struct credentials *credentials, enum credentials_role role, struct text name,
	const char *user, int64_t wall_ms, int64_t lifetime_ms, struct buffer *jwt, int64_t *expires_ms)
{
	struct permissions permissions = {0};
	struct nats_user claims = {.public = user,
		.name = name,
		.account = text_of(credentials->account),
		.issued_s = wall_ms / 1000,
		.expires_s = lifetime_ms == 0 ? 0 : (wall_ms + lifetime_ms) / 1000,
		.publish = &permissions.publish,
		.subscribe = &permissions.subscribe};
	add_role(&permissions, credentials, role, name);
	enum status status = nats_jwt_user(credentials->signer, &claims, jwt);
	nats_subjects_free(&permissions.publish);
	nats_subjects_free(&permissions.subscribe);
	if (status == STATUS_OK)
		*expires_ms = claims.expires_s * 1000;
	return status;
}

/* --- opening */

static enum status read_account(const char *file, const char *signer, struct buffer *account, struct buffer *error)
{
	struct buffer content = {0};
	int folder;
	const char *name;
	enum status status = safe_file_split(file, &folder, &name);
	if (status == STATUS_OK) {
		status = safe_file_read(folder, name, NATS_JWT_MAX, false, &content);
		close(folder);
	}
	if (status == STATUS_OK) {
		struct text jwt = buffer_text(&content);
		status = nats_jwt_account_read(text_slice(jwt, 0, text_find(jwt, '\n')), signer, account);
		if (status == STATUS_INVALID)
			buffer_printf(error, "cells.account_file: %s is no JWT of an account for which %s may sign", file, signer);
	}
	buffer_free(&content);
	if (status != STATUS_OK && error->length == 0)
		buffer_printf(error, "cells.account_file: %s: %s", file, status_text(status));
	return status;
}

static bool copy_activities(struct credentials *credentials, struct setting_texts activities)
{
	static char controlplane[] = "edcv-activity", dataplane[] = "siglet-activity", *usual[] = {controlplane, dataplane};
	if (activities.count == 0)
		activities = (struct setting_texts){usual, COUNT(usual)};
	credentials->activities = calloc(activities.count, sizeof(char *));
	for (size_t i = 0; credentials->activities != NULL && i < activities.count; i++) {
		credentials->activities[i] = text_copy(text_of(activities.items[i]));
		if (credentials->activities[i] == NULL)
			return false;
		credentials->activity_count++;
	}
	return credentials->activities != NULL;
}

enum status credentials_open(
	const struct credentials_settings *settings, struct credentials **credentials, struct buffer *error)
{
	struct buffer account = {0};
	*credentials = NULL;
	if (settings->signing_key_file == NULL && settings->account_file == NULL)
		return STATUS_OK;
	if (settings->signing_key_file == NULL || settings->account_file == NULL) {
		buffer_append(error, TEXT("cells.signing_key_file and cells.account_file: one needs the other"));
		return STATUS_INVALID;
	}
	struct credentials *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	enum status status = nkey_open(settings->signing_key_file, NKEY_ACCOUNT, false, &made->signer, error);
	if (status == STATUS_OK)
		status = read_account(settings->account_file, nkey_public(made->signer), &account, error);
	if (status == STATUS_OK && (account.failed || !copy_activities(made, settings->activities)))
		status = STATUS_NO_MEMORY;
	made->account = buffer_take(&account);
	if (status != STATUS_OK) {
		credentials_free(made);
		return status;
	}
	*credentials = made;
	return STATUS_OK;
}

void credentials_free(struct credentials *credentials)
{
	if (credentials == NULL)
		return;
	for (size_t i = 0; i < credentials->activity_count; i++)
		free(credentials->activities[i]);
	free(credentials->activities);
	free(credentials->account);
	nkey_free(credentials->signer);
	free(credentials);
}

size_t credentials_activities(const struct credentials *credentials)
{
	return credentials == NULL ? 0 : credentials->activity_count;
}

const char *credentials_activity(const struct credentials *credentials, size_t index)
{
	return credentials->activities[index];
}
