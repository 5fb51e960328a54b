/* The store in SQLite, read: at the start, after commits of others, and when asked. */
#include "tenants/store/sqlite_private.h"

static struct text column(sqlite3_stmt *statement, int at)
{
	const char *bytes = (const char *)sqlite3_column_text(statement, at);
	return bytes == NULL ? TEXT_NONE : (struct text){bytes, (size_t)sqlite3_column_bytes(statement, at)};
}

static enum status visit_rows(struct database *database, sqlite3_stmt *statement, record_visit *visit, void *context)
{
	enum status status = STATUS_OK;
	int result = SQLITE_DONE;
	while (status == STATUS_OK && (result = sqlite3_step(statement)) == SQLITE_ROW) {
		struct record record = {.ctx = column(statement, 0),
			.id = column(statement, 2),
			.revision = sqlite3_column_int64(statement, 3),
			.body = column(statement, 4)};
		/* one of a newer program is not ours to judge */
		if (record_kind_find(column(statement, 1), &record.kind) && !visit(context, &record))
			status = STATUS_NO_MEMORY;
	}
	if (status == STATUS_OK)
		status = sqlite_status(database, result);
	sqlite3_reset(statement);
	return status;
}

static enum status sqlite_load(void *object, record_visit *visit, void *context, int64_t *revision)
{
	struct database *database = object;
	enum status status = sqlite_run(database, STATEMENT_BEGIN);
	for (int kind = 0; kind < RECORD_KIND_COUNT && status == STATUS_OK; kind++) {
		if (!record_kind_is_loaded((enum record_kind)kind))
			continue;
		sqlite3_stmt *statement = sqlite_use(database, STATEMENT_OF_KIND);
		sqlite_bind(statement, 1, text_of(record_kind_name((enum record_kind)kind)));
		status = visit_rows(database, statement, visit, context);
	}
	if (status == STATUS_OK)
		status = sqlite_number(database, STATEMENT_NEWEST, revision);
	sqlite_run(database, STATEMENT_COMMIT);
	return status;
}

/* After a failure: can it be written again? The value changes, since SQLite writes nothing for one that stays. The
 * others see no record of it. */
static void probe(struct database *database)
{
	if (sqlite_run(database, STATEMENT_BEGIN) != STATUS_OK)
		return;
	if (sqlite_run(database, STATEMENT_TOUCH) == STATUS_OK && sqlite_run(database, STATEMENT_COMMIT) == STATUS_OK)
		database->is_healthy = true;
	else
		sqlite_roll_back(database);
}

static enum status sqlite_poll(void *object, int64_t after, record_visit *visit, void *context, int64_t *revision)
{
	struct database *database = object;
	int64_t version = 0;
	if (!database->is_healthy && sqlite3_get_autocommit(database->handle) != 0)
		probe(database);
	enum status status = sqlite_number(database, STATEMENT_VERSION, &version);
	if (status != STATUS_OK || version == database->seen_version)
		return status;
	/* the counter first: what is committed between the two is told and then asked for again, never left out */
	int64_t newest = after;
	status = sqlite_number(database, STATEMENT_NEWEST, &newest);
	int64_t pruned = 0;
	if (status == STATUS_OK)
		status = sqlite_number(database, STATEMENT_PRUNED, &pruned);
	if (status == STATUS_OK && after < pruned)
		return STATUS_STOPPED;
	sqlite3_stmt *statement = sqlite_use(database, STATEMENT_AFTER);
	sqlite3_bind_int64(statement, 1, after);
	if (status == STATUS_OK)
		status = visit_rows(database, statement, visit, context);
	if (status == STATUS_OK) {
		database->seen_version = version;
		*revision = newest;
	}
	return status;
}

static enum status sqlite_of_ctx(void *object, struct text ctx, record_visit *visit, void *context)
{
	struct database *database = object;
	sqlite3_stmt *statement = sqlite_use(database, STATEMENT_OF_CTX);
	sqlite_bind(statement, 1, ctx);
	return visit_rows(database, statement, visit, context);
}

static enum status sqlite_list(void *object, struct text ctx, enum record_kind kind, struct text after, size_t limit,
	record_visit *visit, void *context)
{
	struct database *database = object;
	sqlite3_stmt *statement = sqlite_use(database, STATEMENT_LIST);
	sqlite_bind(statement, 1, ctx);
	sqlite_bind(statement, 2, text_of(record_kind_name(kind)));
	sqlite_bind(statement, 3, after.bytes == NULL ? TEXT("") : after);
	sqlite3_bind_int64(statement, 4, (sqlite3_int64)limit);
	return visit_rows(database, statement, visit, context);
}

static enum status sqlite_read(
	void *object, struct text ctx, enum record_kind kind, struct text ids, record_visit *visit, void *context)
{
	struct database *database = object;
	sqlite3_stmt *statement = sqlite_use(database, STATEMENT_READ);
	sqlite_bind(statement, 1, ctx);
	sqlite_bind(statement, 2, text_of(record_kind_name(kind)));
	sqlite_bind(statement, 3, ids);
	return visit_rows(database, statement, visit, context);
}

static bool sqlite_is_healthy(const void *object)
{
	return ((const struct database *)object)->is_healthy;
}

const struct backend backend_sqlite = {.open = sqlite_open,
	.close = sqlite_close,
	.load = sqlite_load,
	.begin = sqlite_begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.poll = sqlite_poll,
	.prune = sqlite_prune,
	.save = sqlite_save,
	.release = sqlite_release,
	.find = sqlite_find,
	.write = sqlite_write,
	.drop = sqlite_drop,
	.of_ctx = sqlite_of_ctx,
	.list = sqlite_list,
	.read = sqlite_read,
	.is_healthy = sqlite_is_healthy};
