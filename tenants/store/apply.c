/* A walk over the changes of a transaction, with what the database can do. */
#include "tenants/store/apply.h"

#include "tenants/store/news.h"

struct walk {
	const struct backend *backend;
	void *database;
	record_visit *visit;
	void *context;
	int64_t *revision;
};

/* The verdict on a put or delete: is the stored state what it expects? */
static enum status judge(const struct change *change, const struct found *found)
{
	bool wants_owner = change->kind == CHANGE_PUT && change->record != RECORD_PARTICIPANT && change->ctx.length > 0;
	bool is_present = found->revision != 0;
	if ((wants_owner && !found->has_owner) || (change->kind == CHANGE_DELETE && !is_present))
		return STATUS_NOT_FOUND;
	if (change->expected == REVISION_ANY)
		return STATUS_OK;
	if (change->expected == REVISION_ABSENT)
		return is_present ? STATUS_CONFLICT : STATUS_OK;
	return !is_present ? STATUS_NOT_FOUND : found->revision == change->expected ? STATUS_OK : STATUS_CONFLICT;
}

static enum status write_told(const struct walk *walk, struct record *record)
{
	enum status status = walk->backend->write(walk->database, record);
	if (status != STATUS_OK)
		return status;
	*walk->revision = record->revision;
	return walk->visit(walk->context, record) ? STATUS_OK : STATUS_NO_MEMORY;
}

static bool is_read_on_demand(enum record_kind kind)
{
	return !record_kind_is_loaded(kind);
}

/* All records of the ctx of such kinds, which leave no trace. */
static enum status drop_kinds(const struct walk *walk, struct text ctx, bool (*is_such)(enum record_kind kind))
{
	enum status status = STATUS_OK;
	for (int kind = 0; kind < RECORD_KIND_COUNT && status == STATUS_OK; kind++) {
		if (is_such((enum record_kind)kind))
			status = walk->backend->drop(walk->database, ctx, (enum record_kind)kind, TEXT_NONE);
	}
	return status;
}

static enum status delete_ctx(const struct walk *walk, struct text ctx)
{
	struct newspaper found;
	newspaper_begin(&found);
	enum status status = drop_kinds(walk, ctx, is_read_on_demand);
	if (status == STATUS_OK)
		status = walk->backend->of_ctx(walk->database, ctx, newspaper_add, &found);
	for (const struct news *news = found.first; news != NULL && status == STATUS_OK; news = news->next) {
		struct record record = {.ctx = ctx, .kind = news->record.kind, .id = news->record.id};
		status = write_told(walk, &record);
	}
	newspaper_drop(&found);
	return status == STATUS_OK ? drop_kinds(walk, ctx, record_kind_passes) : status;
}

static enum status apply_one(const struct walk *walk, const struct change *change)
{
	if (change->kind == CHANGE_DELETE_CTX)
		return delete_ctx(walk, change->ctx);
	if (change->kind == CHANGE_DELETE && !record_kind_is_loaded(change->record))
		return walk->backend->drop(walk->database, change->ctx, change->record, change->id);
	bool passes = change->kind == CHANGE_DELETE && record_kind_passes(change->record);
	struct found found = {0};
	enum status status = passes ? STATUS_OK : walk->backend->find(walk->database, change, &found);
	if (status == STATUS_OK && !passes)
		status = judge(change, &found);
	if (status != STATUS_OK || change->kind == CHANGE_EXPECT)
		return status;
	struct record record = {.ctx = change->ctx,
		.kind = change->record,
		.id = change->id,
		.body = change->kind == CHANGE_PUT ? change->body : TEXT_NONE};
	status = write_told(walk, &record);
	/* told of as deleted, but it leaves no trace */
	return status == STATUS_OK && passes ? walk->backend->drop(walk->database, change->ctx, change->record, change->id)
										 : status;
}

enum status transaction_apply(const struct backend *backend, void *database, const struct changes *changes,
	record_visit *visit, void *context, int64_t *revision)
{
	const struct walk walk = {backend, database, visit, context, revision};
	enum status status = backend->save(database);
	if (status != STATUS_OK)
		return status;
	for (size_t i = 0; i < changes->count && status == STATUS_OK; i++)
		status = apply_one(&walk, &changes->items[i]);
	enum status ended = backend->release(database, status != STATUS_OK);
	return ended == STATUS_OK ? status : ended;
}
