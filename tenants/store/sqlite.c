/* The store in SQLite: one file, WAL, every commit on the disk before it is acknowledged. */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "tenants/store/backend.h"
#include "tenants/store/migrations.h"

#define STATEMENT_LIST(X)                                                                                              \
	X(FIND, "SELECT revision, body IS NOT NULL FROM record WHERE ctx = ?1 AND kind = ?2 AND id = ?3")                  \
	X(OWNER, "SELECT 1 FROM record WHERE ctx = ?1 AND kind = 'participant' AND body IS NOT NULL")                      \
	X(PUT, "INSERT INTO record VALUES (?1,?2,?3,?4,?5) ON CONFLICT (ctx,kind,id) DO UPDATE SET revision=?4, body=?5")  \
	X(OF_CTX, "SELECT ctx, kind, id, revision, body FROM record WHERE ctx = ?1 AND body IS NOT NULL")                  \
	X(OF_KIND,                                                                                                         \
		"SELECT ctx, kind, id, revision, body FROM record WHERE kind = ?1 AND body IS NOT NULL ORDER BY revision")     \
	X(DROP, "DELETE FROM record WHERE ctx = ?1 AND kind = ?2 AND id = ?3")                                             \
	X(DROP_KIND, "DELETE FROM record WHERE ctx = ?1 AND kind = ?2")                                                    \
	X(LIST, "SELECT * FROM record WHERE ctx = ?1 AND kind = ?2 AND id > ?3 AND body NOTNULL ORDER BY id LIMIT ?4")     \
	X(READ, "SELECT * FROM record WHERE ctx = ?1 AND kind = ?2 AND id IN (SELECT value FROM json_each(?3)) AND body "  \
			"NOTNULL")                                                                                                 \
	X(AFTER, "SELECT ctx, kind, id, revision, body FROM record WHERE revision > ?1 ORDER BY revision")                 \
	X(NEWEST, "SELECT value FROM meta WHERE name = 'revision'")                                                        \
	X(PRUNED, "SELECT value FROM meta WHERE name = 'pruned'")                                                          \
	X(PRUNE, "DELETE FROM record WHERE revision > ?1 AND revision <= ?2 AND body IS NULL")                             \
	X(NOTE_PRUNED, "UPDATE meta SET value = max(value, ?1) WHERE name = 'pruned'")                                     \
	X(COUNT_UP, "UPDATE meta SET value = value + 1 WHERE name = 'revision' RETURNING value")                           \
	X(TOUCH, "INSERT INTO meta VALUES ('probe', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1")                \
	X(BEGIN, "BEGIN IMMEDIATE")                                                                                        \
	X(COMMIT, "COMMIT")                                                                                                \
	X(ROLLBACK, "ROLLBACK")                                                                                            \
	X(SAVE, "SAVEPOINT one")                                                                                           \
	X(RELEASE, "RELEASE one")                                                                                          \
	X(UNDO, "ROLLBACK TO one")                                                                                         \
	X(VERSION, "PRAGMA data_version")

enum { PRUNE_STEP = 4096, PRUNE_MOST = 8192 }; /* revisions looked through in one commit */

enum statement {
#define STATEMENT_MEMBER(name, sql) STATEMENT_##name,
	STATEMENT_LIST(STATEMENT_MEMBER)
#undef STATEMENT_MEMBER
		STATEMENT_COUNT
};
static const char *const statements[] = {
#define STATEMENT_SQL(name, sql) sql,
	STATEMENT_LIST(STATEMENT_SQL)
#undef STATEMENT_SQL
};

struct database {
	sqlite3 *handle;
	sqlite3_stmt *prepared[STATEMENT_COUNT];
	int64_t seen_version;
	bool is_healthy;
};

static sqlite3_stmt *use(struct database *database, enum statement which)
{
	sqlite3_reset(database->prepared[which]);
	return database->prepared[which];
}

static void bind(sqlite3_stmt *statement, int at, struct text text)
{
	if (text.bytes == NULL)
		sqlite3_bind_null(statement, at);
	else
		sqlite3_bind_text(statement, at, text.bytes, (int)text.length, SQLITE_STATIC);
}

static enum status status_of(struct database *database, int result)
{
	if (result == SQLITE_OK || result == SQLITE_ROW || result == SQLITE_DONE)
		return STATUS_OK;
	if (database->is_healthy)
		LOG(ERROR, "store.sqlite", log_text("error", text_of(sqlite3_errmsg(database->handle))));
	database->is_healthy = false;
	return result == SQLITE_NOMEM ? STATUS_NO_MEMORY : STATUS_UNAVAILABLE;
}

static enum status run(struct database *database, enum statement which)
{
	sqlite3_stmt *statement = use(database, which);
	enum status status = status_of(database, sqlite3_step(statement));
	sqlite3_reset(statement);
	return status;
}

static enum status run_number(struct database *database, enum statement which, int64_t *number)
{
	sqlite3_stmt *statement = use(database, which);
	int result = sqlite3_step(statement);
	enum status status = result == SQLITE_ROW    ? STATUS_OK
						 : result == SQLITE_DONE ? STATUS_NOT_FOUND
												 : status_of(database, result);
	if (status == STATUS_OK)
		*number = sqlite3_column_int64(statement, 0);
	sqlite3_reset(statement);
	return status;
}

/* A failure (disk full, I/O, memory) may have rolled back already. */
static void roll_back(struct database *database)
{
	if (sqlite3_get_autocommit(database->handle) == 0)
		run(database, STATEMENT_ROLLBACK);
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

static void sqlite_close(void *object)
{
	struct database *database = object;
	if (database == NULL)
		return;
	for (int i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(database->prepared[i]);
	sqlite3_close(database->handle);
	free(database);
}

static enum status sqlite_open(const struct store_settings *settings, void **into, struct buffer *error)
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
	run_number(database, STATEMENT_VERSION, &database->seen_version);
	*into = database;
	return STATUS_OK;
}

/* --- reading */

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
		status = status_of(database, result);
	sqlite3_reset(statement);
	return status;
}

static enum status sqlite_load(void *object, record_visit *visit, void *context, int64_t *revision)
{
	struct database *database = object;
	enum status status = run(database, STATEMENT_BEGIN);
	for (int kind = 0; kind < RECORD_KIND_COUNT && status == STATUS_OK; kind++) {
		if (!record_kind_is_loaded((enum record_kind)kind))
			continue;
		sqlite3_stmt *statement = use(database, STATEMENT_OF_KIND);
		bind(statement, 1, text_of(record_kind_name((enum record_kind)kind)));
		status = visit_rows(database, statement, visit, context);
	}
	if (status == STATUS_OK)
		status = run_number(database, STATEMENT_NEWEST, revision);
	run(database, STATEMENT_COMMIT);
	return status;
}

/* After a failure: can it be written again? The value changes, since SQLite writes nothing for one that stays. The
 * others see no record of it. */
static void probe(struct database *database)
{
	if (run(database, STATEMENT_BEGIN) != STATUS_OK)
		return;
	if (run(database, STATEMENT_TOUCH) == STATUS_OK && run(database, STATEMENT_COMMIT) == STATUS_OK)
		database->is_healthy = true;
	else
		roll_back(database);
}

static enum status sqlite_poll(void *object, int64_t after, record_visit *visit, void *context, int64_t *revision)
{
	struct database *database = object;
	int64_t version = 0;
	if (!database->is_healthy && sqlite3_get_autocommit(database->handle) != 0)
		probe(database);
	enum status status = run_number(database, STATEMENT_VERSION, &version);
	if (status != STATUS_OK || version == database->seen_version)
		return status;
	/* the counter first: what is committed between the two is told and then asked for again, never left out */
	int64_t newest = after;
	status = run_number(database, STATEMENT_NEWEST, &newest);
	int64_t pruned = 0;
	if (status == STATUS_OK)
		status = run_number(database, STATEMENT_PRUNED, &pruned);
	if (status == STATUS_OK && after < pruned)
		return STATUS_STOPPED;
	sqlite3_stmt *statement = use(database, STATEMENT_AFTER);
	sqlite3_bind_int64(statement, 1, after);
	if (status == STATUS_OK)
		status = visit_rows(database, statement, visit, context);
	if (status == STATUS_OK) {
		database->seen_version = version;
		*revision = newest;
	}
	return status;
}

/* --- writing */

static enum status sqlite_begin(void *object)
{
	return run(object, STATEMENT_BEGIN);
}

static enum status sqlite_commit(void *object)
{
	struct database *database = object;
	enum status status = run(database, STATEMENT_COMMIT);
	if (status == STATUS_OK)
		database->is_healthy = true;
	else
		roll_back(database);
	return status;
}

static void sqlite_rollback(void *object)
{
	roll_back(object);
}

static enum status sqlite_save(void *object)
{
	return run(object, STATEMENT_SAVE);
}

static enum status sqlite_release(void *object, bool is_undone)
{
	struct database *database = object;
	if (is_undone && sqlite3_get_autocommit(database->handle) != 0)
		return STATUS_OK; /* the failure has rolled back everything: the caller does so too */
	enum status status = is_undone ? run(database, STATEMENT_UNDO) : STATUS_OK;
	return status == STATUS_OK ? run(database, STATEMENT_RELEASE) : status;
}

static enum status sqlite_write(void *object, struct record *record)
{
	struct database *database = object;
	enum status status = run_number(database, STATEMENT_COUNT_UP, &record->revision);
	if (status != STATUS_OK)
		return status;
	sqlite3_stmt *statement = use(database, STATEMENT_PUT);
	bind(statement, 1, record->ctx);
	bind(statement, 2, text_of(record_kind_name(record->kind)));
	bind(statement, 3, record->id);
	sqlite3_bind_int64(statement, 4, record->revision);
	bind(statement, 5, record->body);
	status = status_of(database, sqlite3_step(statement));
	sqlite3_reset(statement);
	return status;
}

static enum status sqlite_find(void *object, const struct change *change, struct found *found)
{
	struct database *database = object;
	sqlite3_stmt *statement = use(database, STATEMENT_FIND);
	bind(statement, 1, change->ctx);
	bind(statement, 2, text_of(record_kind_name(change->record)));
	bind(statement, 3, change->id);
	int result = sqlite3_step(statement);
	bool is_present = result == SQLITE_ROW && sqlite3_column_int(statement, 1) != 0;
	found->revision = is_present ? sqlite3_column_int64(statement, 0) : 0;
	sqlite3_reset(statement);
	if (result != SQLITE_ROW && result != SQLITE_DONE)
		return status_of(database, result);
	statement = use(database, STATEMENT_OWNER);
	bind(statement, 1, change->ctx);
	result = sqlite3_step(statement);
	sqlite3_reset(statement);
	found->has_owner = result == SQLITE_ROW;
	return result == SQLITE_ROW || result == SQLITE_DONE ? STATUS_OK : status_of(database, result);
}

static enum status sqlite_drop(void *object, struct text ctx, enum record_kind kind, struct text id)
{
	struct database *database = object;
	sqlite3_stmt *statement = use(database, id.bytes == NULL ? STATEMENT_DROP_KIND : STATEMENT_DROP);
	bind(statement, 1, ctx);
	bind(statement, 2, text_of(record_kind_name(kind)));
	if (id.bytes != NULL)
		bind(statement, 3, id);
	enum status status = status_of(database, sqlite3_step(statement));
	sqlite3_reset(statement);
	return status;
}

static enum status sqlite_of_ctx(void *object, struct text ctx, record_visit *visit, void *context)
{
	struct database *database = object;
	sqlite3_stmt *statement = use(database, STATEMENT_OF_CTX);
	bind(statement, 1, ctx);
	return visit_rows(database, statement, visit, context);
}

static enum status sqlite_prune(void *object, int64_t keep)
{
	struct database *database = object;
	int64_t newest = 0, pruned = 0;
	enum status status = run_number(database, STATEMENT_NEWEST, &newest);
	if (status == STATUS_OK)
		status = run_number(database, STATEMENT_PRUNED, &pruned);
	int64_t until = newest - keep;
	if (status != STATUS_OK || until < pruned + (keep < PRUNE_STEP ? 1 : PRUNE_STEP))
		return status;
	until = until > pruned + PRUNE_MOST ? pruned + PRUNE_MOST : until;
	sqlite3_stmt *statement = use(database, STATEMENT_PRUNE);
	sqlite3_bind_int64(statement, 1, pruned);
	sqlite3_bind_int64(statement, 2, until);
	status = status_of(database, sqlite3_step(statement));
	sqlite3_reset(statement);
	statement = use(database, STATEMENT_NOTE_PRUNED);
	sqlite3_bind_int64(statement, 1, until);
	if (status == STATUS_OK)
		status = status_of(database, sqlite3_step(statement));
	sqlite3_reset(statement);
	return status;
}

static enum status sqlite_list(void *object, struct text ctx, enum record_kind kind, struct text after, size_t limit,
	record_visit *visit, void *context)
{
	struct database *database = object;
	sqlite3_stmt *statement = use(database, STATEMENT_LIST);
	bind(statement, 1, ctx);
	bind(statement, 2, text_of(record_kind_name(kind)));
	bind(statement, 3, after.bytes == NULL ? TEXT("") : after);
	sqlite3_bind_int64(statement, 4, (sqlite3_int64)limit);
	return visit_rows(database, statement, visit, context);
}

static enum status sqlite_read(
	void *object, struct text ctx, enum record_kind kind, struct text ids, record_visit *visit, void *context)
{
	struct database *database = object;
	sqlite3_stmt *statement = use(database, STATEMENT_READ);
	bind(statement, 1, ctx);
	bind(statement, 2, text_of(record_kind_name(kind)));
	bind(statement, 3, ids);
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
