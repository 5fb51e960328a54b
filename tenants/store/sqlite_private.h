/* The store in SQLite, inside: one file, WAL, every commit on the disk before it is acknowledged. sqlite_database.c
 * opens it, sqlite.c reads, sqlite_write.c applies. All on the store's thread. */
#pragma once

#include <sqlite3.h>

#include "tenants/store/backend.h"

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

enum statement {
#define STATEMENT_MEMBER(name, sql) STATEMENT_##name,
	STATEMENT_LIST(STATEMENT_MEMBER)
#undef STATEMENT_MEMBER
		STATEMENT_COUNT
};
struct database {
	sqlite3 *handle;
	sqlite3_stmt *prepared[STATEMENT_COUNT];
	int64_t seen_version;
	bool is_healthy;
};

/* Ready to be bound and stepped; to be reset after. */
sqlite3_stmt *sqlite_use(struct database *database, enum statement which);
/* Borrowed until the statement is bound anew; TEXT_NONE is NULL. */
void sqlite_bind(sqlite3_stmt *statement, int at, struct text text);
/* Of a result code; a failure is logged once, until the database is healthy again. */
enum status sqlite_status(struct database *database, int result) MUST_CHECK;
enum status sqlite_run(struct database *database, enum statement which);
/* The first column of its one row; NOT_FOUND: no row. */
enum status sqlite_number(struct database *database, enum statement which, int64_t *number);
/* Fine after a failure (disk full, I/O, memory) that has rolled back already. */
void sqlite_roll_back(struct database *database);

/* As backend has them. */
enum status sqlite_open(const struct store_settings *settings, void **into, struct buffer *error) MUST_CHECK;
void sqlite_close(void *object);
enum status sqlite_begin(void *object) MUST_CHECK;
enum status sqlite_commit(void *object) MUST_CHECK;
void sqlite_rollback(void *object);
enum status sqlite_save(void *object) MUST_CHECK;
enum status sqlite_release(void *object, bool is_undone) MUST_CHECK;
enum status sqlite_find(void *object, const struct change *change, struct found *found) MUST_CHECK;
enum status sqlite_write(void *object, struct record *record) MUST_CHECK;
enum status sqlite_drop(void *object, struct text ctx, enum record_kind kind, struct text id) MUST_CHECK;
enum status sqlite_prune(void *object, int64_t keep) MUST_CHECK;
