/* Provisioning without HTTP. */
#include "tenants/cp/provision.h"

#include <stdlib.h>

#include "server/base/clock.h"
#include "tenants/cp/management_call.h"

struct provision {
	struct management *management;
	struct worker *worker;
	char ctx[ID_LENGTH + 1];
	char *identity;
	struct early_config *early; /* what came before the participant; NULL: not looked for */
	unsigned attempts;
	void (*done)(void *context, enum status status);
	void *context;
};

static void finish(struct provision *provision, enum status status)
{
	provision->done(provision->context, status);
	early_config_free(provision->early);
	free(provision->identity);
	free(provision);
}

/* Never inside the call that began it. */
struct ending {
	struct task task;
	struct provision *provision;
	enum status status;
};

static void run_ending(struct task *task)
{
	struct ending *ending = (struct ending *)task;
	finish(ending->provision, ending->status);
	free(ending);
}

static void finish_later(struct provision *provision, enum status status)
{
	struct ending *ending = malloc(sizeof(*ending));
	if (ending == NULL)
		abort(); /* whoever waits would wait for ever */
	*ending = (struct ending){.task.run = run_ending, .provision = provision, .status = status};
	worker_post(provision->worker, &ending->task);
}

static struct provision *begin(struct management *management, struct text ctx, struct text identity,
	void (*done)(void *context, enum status status), void *context)
{
	struct provision *provision = calloc(1, sizeof(*provision));
	if (provision == NULL)
		abort();
	*provision =
		(struct provision){.management = management, .worker = worker_current(), .done = done, .context = context};
	snprintf(provision->ctx, sizeof(provision->ctx), "%.*s", TEXT_ARGUMENTS(ctx));
	provision->identity = text_copy(identity);
	return provision;
}

static void ensure(struct provision *provision);
static void submit(struct provision *provision, const struct participant *before);

static void on_taken(void *context, enum status status, struct early_config *early)
{
	struct provision *provision = context;
	early_config_free(provision->early);
	provision->early = early;
	if (status == STATUS_OK)
		submit(provision, NULL);
	else
		finish(provision, status);
}

/* CONFLICT: somebody did the same, or changed it: look again; or there is a configuration that came before. */
static void on_stored(void *context, enum status status, int64_t revision)
{
	struct provision *provision = context;
	const struct management *management = provision->management;
	struct text ctx = text_of(provision->ctx);
	(void)revision;
	if (status == STATUS_OK && provision->early != NULL)
		early_config_forget(management->vault, ctx);
	if (status != STATUS_CONFLICT || ++provision->attempts == CALL_ATTEMPTS_MAX)
		finish(provision, status);
	else if (registry_find(management->registry, ctx) == NULL)
		early_config_take(management->store, management->vault, ctx, provision->worker, on_taken, provision);
	else
		ensure(provision);
}

static bool put_participant(
	struct transaction *transaction, const struct provision *provision, const struct participant *before)
{
	struct json *change = json_object_new(), *old = NULL;
	struct buffer record = {0};
	bool is_put =
		json_add_text(change, "identity", text_of(provision->identity)) &&
		json_add_text(change, "state", TEXT("ACTIVATED")) &&
		(before == NULL || json_parse(text_of(before->body), NULL, &old) == STATUS_OK) &&
		participant_print_record(change, old, before == NULL ? clock_wall_ms() : before->created_ms, &record) &&
		transaction_put(transaction, text_of(provision->ctx), RECORD_PARTICIPANT, TEXT("participant"),
			buffer_text(&record), before == NULL ? REVISION_ABSENT : before->revision);
	json_free(change);
	json_free(old);
	buffer_free(&record);
	return is_put;
}

/* As the agents set them; entries that are there already stay. */
static bool put_config(
	struct transaction *transaction, const struct provision *provision, const struct early_config *early)
{
	struct json *entries = json_object_new();
	bool is_put = json_add_text(entries, "edc.iam.issuer.id", text_of(provision->identity)) &&
				  json_add_text(entries, "edc.participant.id", text_of(provision->identity)) &&
				  early_config_adopt(transaction, text_of(provision->ctx), early, entries);
	json_free(entries);
	return is_put;
}

static void submit(struct provision *provision, const struct participant *before)
{
	struct transaction *transaction = transaction_new();
	bool is_whole = transaction != NULL && put_participant(transaction, provision, before) &&
					((before != NULL && before->config != NULL) ||
						put_config(transaction, provision, before == NULL ? provision->early : NULL));
	if (!is_whole) {
		transaction_free(transaction);
		finish(provision, STATUS_NO_MEMORY);
		return;
	}
	store_submit(provision->management->store, transaction, provision->worker, on_stored, provision);
}

/* Whatever the vault still has of a namesake must not be inherited. */
static void on_cleared(void *context, enum status status, struct text result)
{
	struct provision *provision = context;
	(void)result;
	if (status == STATUS_OK)
		submit(provision, registry_find(provision->management->registry, text_of(provision->ctx)));
	else
		finish(provision, status);
}

static void ensure(struct provision *provision)
{
	const struct participant *participant = registry_find(provision->management->registry, text_of(provision->ctx));
	if (participant == NULL)
		vault_forget(provision->management->vault, text_of(provision->ctx), provision->worker, on_cleared, provision);
	else if (strcmp(participant->identity, provision->identity) != 0)
		finish_later(provision, STATUS_CONFLICT);
	else if (participant->state == PARTICIPANT_ACTIVATED && participant->config != NULL)
		finish_later(provision, STATUS_OK);
	else
		submit(provision, participant);
}

void provision_participant(struct management *management, struct text ctx, struct text identity,
	void (*done)(void *context, enum status status), void *context)
{
	struct provision *provision = begin(management, ctx, identity, done, context);
	if (!id_is_valid(ctx) || identity.length == 0)
		finish_later(provision, STATUS_INVALID);
	else if (provision->identity == NULL)
		finish_later(provision, STATUS_NO_MEMORY);
	else
		ensure(provision);
}

static void on_forgotten(void *context, enum status status, struct text result)
{
	(void)result;
	finish(context, status);
}

static void on_removed(void *context, enum status status, int64_t revision)
{
	struct provision *provision = context;
	(void)revision;
	if (status == STATUS_OK)
		early_config_forget(provision->management->vault, text_of(provision->ctx));
	if (status == STATUS_OK || status == STATUS_NOT_FOUND)
		vault_forget(provision->management->vault, text_of(provision->ctx), provision->worker, on_forgotten, provision);
	else
		finish(provision, status);
}

void provision_remove(
	struct management *management, struct text ctx, void (*done)(void *context, enum status status), void *context)
{
	struct provision *provision = begin(management, ctx, TEXT(""), done, context);
	struct transaction *transaction = id_is_valid(ctx) ? transaction_new() : NULL;
	if (transaction == NULL || !transaction_delete_ctx(transaction, text_of(provision->ctx)) ||
		!early_config_drop(transaction, text_of(provision->ctx))) {
		transaction_free(transaction);
		finish_later(provision, id_is_valid(ctx) ? STATUS_NO_MEMORY : STATUS_INVALID);
		return;
	}
	store_submit(management->store, transaction, provision->worker, on_removed, provision);
}
