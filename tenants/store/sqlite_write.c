/* The store in SQLite, written: transactions, each with a savepoint inside its batch's, and the end of tombstones. */
#include "tenants/store/sqlite_private.h"

enum { PRUNE_STEP = 4096, PRUNE_MOST = 8192 }; /* revisions looked through in one commit */

enum status sqlite_begin(void *object)
{
	return sqlite_run(object, STATEMENT_BEGIN);
}

enum status sqlite_commit(void *object)
{
	struct database *database = object;
	enum status status = sqlite_run(database, STATEMENT_COMMIT);
	if (status == STATUS_OK)
		database->is_healthy = true;
	else
		sqlite_roll_back(database);
	return status;
}

void sqlite_rollback(void *object)
{
	sqlite_roll_back(object);
}

enum status sqlite_save(void *object)
{
	return sqlite_run(object, STATEMENT_SAVE);
}

enum status sqlite_release(void *object, bool is_undone)
{
	struct database *database = object;
	if (is_undone && sqlite3_get_autocommit(database->handle) != 0)
		return STATUS_OK; /* the failure has rolled back everything: the caller does so too */
	enum status status = is_undone ? sqlite_run(database, STATEMENT_UNDO) : STATUS_OK;
	return status == STATUS_OK ? sqlite_run(database, STATEMENT_RELEASE) : status;
}

enum status sqlite_write(void *object, struct record *record)
{
	struct database *database = object;
	enum status status = sqlite_number(database, STATEMENT_COUNT_UP, &record->revision);
	if (status != STATUS_OK)
		return status;
	sqlite3_stmt *statement = sqlite_use(database, STATEMENT_PUT);
	sqlite_bind(statement, 1, record->ctx);
	sqlite_bind(statement, 2, text_of(record_kind_name(record->kind)));
	sqlite_bind(statement, 3, record->id);
	sqlite3_bind_int64(statement, 4, record->revision);
	sqlite_bind(statement, 5, record->body);
	status = sqlite_status(database, sqlite3_step(statement));
	sqlite3_reset(statement);
	return status;
}

enum status sqlite_find(void *object, const struct change *change, struct found *found)
{
	struct database *database = object;
	sqlite3_stmt *statement = sqlite_use(database, STATEMENT_FIND);
	sqlite_bind(statement, 1, change->ctx);
	sqlite_bind(statement, 2, text_of(record_kind_name(change->record)));
	sqlite_bind(statement, 3, change->id);
	int result = sqlite3_step(statement);
	bool is_present = result == SQLITE_ROW && sqlite3_column_int(statement, 1) != 0;
	found->revision = is_present ? sqlite3_column_int64(statement, 0) : 0;
	sqlite3_reset(statement);
	if (result != SQLITE_ROW && result != SQLITE_DONE)
		return sqlite_status(database, result);
	statement = sqlite_use(database, STATEMENT_OWNER);
	sqlite_bind(statement, 1, change->ctx);
	result = sqlite3_step(statement);
	sqlite3_reset(statement);
	found->has_owner = result == SQLITE_ROW;
	return result == SQLITE_ROW || result == SQLITE_DONE ? STATUS_OK : sqlite_status(database, result);
}

enum status sqlite_drop(void *object, struct text ctx, enum record_kind kind, struct text id)
{
	struct database *database = object;
	sqlite3_stmt *statement = sqlite_use(database, id.bytes == NULL ? STATEMENT_DROP_KIND : STATEMENT_DROP);
	sqlite_bind(statement, 1, ctx);
	sqlite_bind(statement, 2, text_of(record_kind_name(kind)));
	if (id.bytes != NULL)
		sqlite_bind(statement, 3, id);
	enum status status = sqlite_status(database, sqlite3_step(statement));
	sqlite3_reset(statement);
	return status;
}

enum status sqlite_prune(void *object, int64_t keep)
{
	struct database *database = object;
	int64_t newest = 0, pruned = 0;
	enum status status = sqlite_number(database, STATEMENT_NEWEST, &newest);
	if (status == STATUS_OK)
		status = sqlite_number(database, STATEMENT_PRUNED, &pruned);
	int64_t until = newest - keep;
	if (status != STATUS_OK || until < pruned + (keep < PRUNE_STEP ? 1 : PRUNE_STEP))
		return status;
	until = until > pruned + PRUNE_MOST ? pruned + PRUNE_MOST : until;
	sqlite3_stmt *statement = sqlite_use(database, STATEMENT_PRUNE);
	sqlite3_bind_int64(statement, 1, pruned);
	sqlite3_bind_int64(statement, 2, until);
	status = sqlite_status(database, sqlite3_step(statement));
	sqlite3_reset(statement);
	statement = sqlite_use(database, STATEMENT_NOTE_PRUNED);
	sqlite3_bind_int64(statement, 1, until);
	if (status == STATUS_OK)
		status = sqlite_status(database, sqlite3_step(statement));
	sqlite3_reset(statement);
	return status;
}
