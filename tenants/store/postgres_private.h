/* The store in PostgreSQL, inside: postgres.c reads and commits, postgres_write.c applies, postgres_schema.c migrates.
 */
#pragma once

#include "tenants/store/memory.h"
#include "tenants/store/postgres_batch.h"
#include "tenants/store/postgres_connection.h"
#include "tenants/store/postgres_trail.h"

struct database {
	struct connection connection;
	int64_t seen;                  /* the newest revision the store was told of */
	int64_t started, written;      /* the newest before this transaction, and with it */
	int64_t saved;                 /* the newest before the one that is being applied */
	int64_t pruned, pruned_before; /* tombstones up to here may be gone; when this transaction is not committed */
	struct buffer keys;            /* of what was written, for the trail */
	size_t keys_saved;             /* its length before the one that is being applied */
	struct batch batch;
	struct memory memory;
	uint64_t remembered_by; /* the connection's serial: another server may stand behind the next */
	bool is_writing;
	bool is_doubtful; /* what was taken for granted was not so: now everything is asked for */
};

/* Those that prepare themselves, each with its bit. */
#define STATEMENT_LIST(X)                                                                                              \
	X(BEGIN, "begin", "BEGIN")                                                                                         \
	X(COMMIT, "commit", "COMMIT")                                                                                      \
	X(LOCK, "lock", "SELECT value FROM meta WHERE name = 'revision' FOR UPDATE")                                       \
	X(ADVANCE, "advance", "UPDATE meta SET value = $1::bigint WHERE name = 'revision'")                                \
	X(NOTIFY, "notify", "NOTIFY celld_records")                                                                        \
	X(SAVE, "save", "SAVEPOINT one")                                                                                   \
	X(RELEASE, "release", "RELEASE SAVEPOINT one")                                                                     \
	X(UNDO, "undo", "ROLLBACK TO SAVEPOINT one")                                                                       \
	X(FIND, "find",                                                                                                    \
		"SELECT (SELECT revision FROM record WHERE ctx = $1 AND kind = $2 AND id = $3 AND body IS NOT NULL), "         \
		"EXISTS (SELECT 1 FROM record WHERE ctx = $1 AND kind = 'participant' AND body IS NOT NULL)")                  \
	X(WRITE, "write",                                                                                                  \
		"INSERT INTO record (ctx, kind, id, revision, body) VALUES ($1, $2, $3, $4::bigint, $5) "                      \
		"ON CONFLICT (ctx, kind, id) DO UPDATE SET revision = excluded.revision, body = excluded.body")                \
	X(DROP, "drop_one", "DELETE FROM record WHERE ctx = $1 AND kind = $2 AND id = $3")                                 \
	X(DROP_KIND, "drop_kind", "DELETE FROM record WHERE ctx = $1 AND kind = $2")                                       \
	/* Each record is one look into the index: a join would be planned as a pass over the whole table, as long as      \
	 * nobody has counted its rows. */                                                                                 \
	X(LOOK_UP, "look_up",                                                                                              \
		"SELECT at, (SELECT revision FROM record WHERE ctx = wanted.ctx AND kind = wanted.kind AND id = wanted.id "    \
		"AND body IS NOT NULL) FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY "                       \
		"AS wanted (ctx, kind, id, at)")                                                                               \
	X(OWNERS, "owners",                                                                                                \
		"SELECT at, 1 FROM unnest($1::text[]) WITH ORDINALITY AS wanted (ctx, at) WHERE EXISTS (SELECT 1 FROM record " \
		"WHERE ctx = wanted.ctx AND kind = 'participant' AND body IS NOT NULL OFFSET 0)")                              \
	X(ADD_ALL, "add_all",                                                                                              \
		"INSERT INTO record (ctx, kind, id, revision, body) "                                                          \
		"SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[])")                          \
	X(PUT_ALL, "put_all",                                                                                              \
		"INSERT INTO record (ctx, kind, id, revision, body) "                                                          \
		"SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[]) "                          \
		"ON CONFLICT (ctx, kind, id) DO UPDATE SET revision = excluded.revision, body = excluded.body")                \
	X(DROP_ALL, "drop_all",                                                                                            \
		"DELETE FROM record WHERE ctid = ANY(ARRAY(SELECT (SELECT ctid FROM record WHERE ctx = gone.ctx "              \
		"AND kind = gone.kind AND id = gone.id) FROM unnest($1::text[], $2::text[], $3::text[]) "                      \
		"AS gone (ctx, kind, id)))")

enum statement_name {
#define STATEMENT_MEMBER(name, text, sql) STATEMENT_##name,
	STATEMENT_LIST(STATEMENT_MEMBER)
#undef STATEMENT_MEMBER
		STATEMENT_END
};
extern const struct statement postgres_statements[];

/* Brings the schema up, under a lock; a newer one is INVALID. After a failure the connection is to be closed. */
enum status postgres_migrate(struct connection *connection, struct buffer *error) MUST_CHECK;

/* As backend has them. */
enum status postgres_gather(void *object, const struct changes *all, size_t count) MUST_CHECK;
enum status postgres_save(void *object) MUST_CHECK;
enum status postgres_release(void *object, bool is_undone) MUST_CHECK;
enum status postgres_find(void *object, const struct change *change, struct found *found) MUST_CHECK;
enum status postgres_write(void *object, struct record *record) MUST_CHECK;
enum status postgres_drop(void *object, struct text ctx, enum record_kind kind, struct text id) MUST_CHECK;
enum status postgres_of_ctx(void *object, struct text ctx, record_visit *visit, void *context) MUST_CHECK;
/* The rows of a result of (ctx, kind, id, revision, body); frees it. */
enum status postgres_visit(PGresult *result, record_visit *visit, void *context) MUST_CHECK;

/* What was gathered, as questions that write it: at most WRITES_MAX, with their values in `arrays`, which are freed
 * when they are answered. */
enum { WRITES_MAX = 3 };
struct writes {
	struct buffer copy; /* to be copied before the questions are asked; may be empty */
	struct buffer arrays[WRITES_MAX][PARAMETERS_MAX];
	struct question questions[WRITES_MAX];
	size_t count;
};
enum status postgres_writes(const struct batch *batch, struct writes *writes) MUST_CHECK;
void postgres_writes_free(struct writes *writes);
