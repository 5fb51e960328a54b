/* The SQLite database itself: opened, brought to the present schema, its statements prepared. */
#include <stdlib.h>

#include "server/base/log.h"
#include "tenants/store/migrations.h"
#include "tenants/store/sqlite_private.h"

static const char *const statements[] = {
#define STATEMENT_SQL(name, sql) sql,
	STATEMENT_LIST(STATEMENT_SQL)
#undef STATEMENT_SQL
};

sqlite3_stmt *sqlite_use(struct database *database, enum statement which)
{
	sqlite3_reset(database->prepared[which]);
	return database->prepared[which];
}

void sqlite_bind(sqlite3_stmt *statement, int at, struct text text)
{
	if (text.bytes == NULL)
		sqlite3_bind_null(statement, at);
	else
		sqlite3_bind_text(statement, at, text.bytes, (int)text.length, SQLITE_STATIC);
}

enum status sqlite_status(struct database *database, int result)
{
	if (result == SQLITE_OK || result == SQLITE_ROW || result == SQLITE_DONE)
		return STATUS_OK;
	if (database->is_healthy)
		LOG(ERROR, "store.sqlite", log_text("error", text_of(sqlite3_errmsg(database->handle))));
	database->is_healthy = false;
	return result == SQLITE_NOMEM ? STATUS_NO_MEMORY : STATUS_UNAVAILABLE;
}

enum status sqlite_run(struct database *database, enum statement which)
{
	sqlite3_stmt *statement = sqlite_use(database, which);
	enum status status = sqlite_status(database, sqlite3_step(statement));
	sqlite3_reset(statement);
	return status;
}

enum status sqlite_number(struct database *database, enum statement which, int64_t *number)
{
	sqlite3_stmt *statement = sqlite_use(database, which);
	int result = sqlite3_step(statement);
	enum status status = result == SQLITE_ROW    ? STATUS_OK
						 : result == SQLITE_DONE ? STATUS_NOT_FOUND
												 : sqlite_status(database, result);
	if (status == STATUS_OK)
		*number = sqlite3_column_int64(statement, 0);
	sqlite3_reset(statement);
	return status;
}

void sqlite_roll_back(struct database *database)
{
	if (sqlite3_get_autocommit(database->handle) == 0)
		sqlite_run(database, STATEMENT_ROLLBACK);
}

/* --- opening */

static enum status complain(sqlite3 *handle, const char *file, struct buffer *error)
{
	buffer_printf(error, "store: %s: %s", file, handle == NULL ? "out of memory" : sqlite3_errmsg(handle));
	return STATUS_UNAVAILABLE;
}

static enum status migrate(sqlite3 *handle, const char *file, struct buffer *error)
{
	sqlite3_stmt *statement = NULL;
	int64_t version = 0;
	/* under the write lock: two processes may start at once */
	if (sqlite3_exec(handle,
			"BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL);"
			"INSERT OR IGNORE INTO meta VALUES ('schema', 0), ('revision', 0);",
			NULL, NULL, NULL) != SQLITE_OK)
		return complain(handle, file, error);
	if (sqlite3_prepare_v2(handle, "SELECT value FROM meta WHERE name = 'schema'", -1, &statement, NULL) == SQLITE_OK &&
		sqlite3_step(statement) == SQLITE_ROW)
		version = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	if (version > SCHEMA_VERSION) {
		sqlite3_exec(handle, "ROLLBACK", NULL, NULL, NULL);
		buffer_printf(error, "store: %s: its schema is version %lld, this program knows %d", file, (long long)version,
			SCHEMA_VERSION);
		return STATUS_INVALID;
	}
	for (; version < SCHEMA_VERSION; version++) {
		char count[96];
		sqlite3_snprintf(
			sizeof(count), count, "UPDATE meta SET value = %lld WHERE name = 'schema'", (long long)version + 1);
		if (sqlite3_exec(handle, migrations[version].sqlite, NULL, NULL, NULL) != SQLITE_OK ||
			sqlite3_exec(handle, count, NULL, NULL, NULL) != SQLITE_OK) {
			enum status status = complain(handle, file, error);
			sqlite3_exec(handle, "ROLLBACK", NULL, NULL, NULL);
			return status;
		}
	}
	return sqlite3_exec(handle, "COMMIT", NULL, NULL, NULL) == SQLITE_OK ? STATUS_OK : complain(handle, file, error);
}

void sqlite_close(void *object)
{
	struct database *database = object;
	if (database == NULL)
		return;
	for (int i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(database->prepared[i]);
	sqlite3_close(database->handle);
	free(database);
}

enum status sqlite_open(const struct store_settings *settings, void **into, struct buffer *error)
{
	struct database *database = calloc(1, sizeof(*database));
	const char *file = settings->file == NULL ? "" : settings->file;
	if (database == NULL)
		return STATUS_NO_MEMORY;
	if (file[0] == 0) {
		buffer_printf(error, "store.file: is not set");
		free(database);
		return STATUS_INVALID;
	}
	enum status status = STATUS_OK;
	if (sqlite3_open_v2(file, &database->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
			NULL) != SQLITE_OK)
		status = complain(database->handle, file, error);
	if (status == STATUS_OK) {
		sqlite3_busy_timeout(database->handle, (int)settings->statement_ms);
		if (sqlite3_exec(database->handle,
				"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON;", NULL, NULL,
				NULL) != SQLITE_OK)
			status = complain(database->handle, file, error);
	}
	if (status == STATUS_OK)
		status = migrate(database->handle, file, error);
	for (int i = 0; i < STATEMENT_COUNT && status == STATUS_OK; i++) {
		if (sqlite3_prepare_v3(database->handle, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &database->prepared[i],
				NULL) != SQLITE_OK)
			status = complain(database->handle, file, error);
	}
	if (status != STATUS_OK) {
		sqlite_close(database);
		return status;
	}
	database->is_healthy = true;
	sqlite_number(database, STATEMENT_VERSION, &database->seen_version);
	*into = database;
	return STATUS_OK;
}
