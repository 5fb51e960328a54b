/* The store in PostgreSQL: the same statements over libpq, revisions in commit order by the lock on their counter. */
#include <fcntl.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "tenants/store/backend.h"
#include "tenants/store/migrations.h"

enum { CONNECTION_MAX = 4096, MIGRATION_LOCK = 0x63656c6c, RETRY_FIRST_MS = 200, RETRY_LAST_MS = 5000 };

struct database {
	PGconn *connection;
	char *options;
	int64_t statement_ms;
	uint64_t retry_at_ms, retry_ms;
	bool is_healthy, has_notice;
};

/* --- results */

static bool is_lost(const struct database *database)
{
	return database->connection == NULL || PQstatus(database->connection) != CONNECTION_OK;
}

static PGresult *query(
	struct database *database, const char *sql, int count, const char *const *values, const int *lengths)
{
	if (is_lost(database))
		return NULL;
	PGresult *result = PQexecParams(database->connection, sql, count, NULL, values, lengths, NULL, 0);
	ExecStatusType kind = PQresultStatus(result);
	if (kind == PGRES_TUPLES_OK || kind == PGRES_COMMAND_OK)
		return result;
	LOG(WARNING, "store.query", log_text("error", text_of(PQerrorMessage(database->connection))));
	PQclear(result);
	database->is_healthy = !is_lost(database) && database->is_healthy;
	return NULL;
}

static enum status run(struct database *database, const char *sql)
{
	PGresult *result = query(database, sql, 0, NULL, NULL);
	enum status status = result == NULL ? STATUS_UNAVAILABLE : STATUS_OK;
	PQclear(result);
	return status;
}

static bool to_number(const PGresult *result, int row, int column, int64_t *number)
{
	uint64_t value;
	struct text digits = {PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
	if (text_to_unsigned(digits, INT64_MAX, &value) != STATUS_OK)
		return false;
	*number = (int64_t)value;
	return true;
}

static struct text cell(const PGresult *result, int row, int column)
{
	if (PQgetisnull(result, row, column))
		return TEXT_NONE;
	return (struct text){PQgetvalue(result, row, column), (size_t)PQgetlength(result, row, column)};
}

/* --- opening and coming back */

static enum status read_options(const char *file, char **options, struct buffer *error)
{
	char text[CONNECTION_MAX + 1];
	struct stat found;
	int descriptor = file == NULL ? -1 : open(file, O_RDONLY | O_CLOEXEC);
	if (descriptor < 0 || fstat(descriptor, &found) != 0) {
		buffer_printf(error, "store.connection_file: %s: cannot be read", file == NULL ? "(not set)" : file);
		if (descriptor >= 0)
			close(descriptor);
		return STATUS_INVALID;
	}
	ssize_t length = read(descriptor, text, CONNECTION_MAX);
	close(descriptor);
	if ((found.st_mode & 077) != 0) {
		buffer_printf(error, "store.connection_file: %s: others may read it; chmod 600", file);
		return STATUS_INVALID;
	}
	*options = length < 0 ? NULL : text_copy(text_trim((struct text){text, (size_t)length}));
	for (char *at = *options; at != NULL && *at != 0; at++) {
		if (*at == '\n' || *at == '\r')
			*at = ' ';
	}
	explicit_bzero(text, sizeof(text));
	return *options == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static bool connect_now(struct database *database)
{
	char limits[160];
	PQfinish(database->connection);
	database->connection = PQconnectdb(database->options);
	if (PQstatus(database->connection) != CONNECTION_OK)
		return false;
	snprintf(limits, sizeof(limits),
		"SET statement_timeout = %lld; SET lock_timeout = %lld; SET client_min_messages = warning",
		(long long)database->statement_ms, (long long)database->statement_ms);
	PGresult *result = PQexec(database->connection, limits);
	PQclear(result);
	result = PQexec(database->connection, "LISTEN celld_records");
	bool is_listening = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	database->has_notice = true; /* whatever happened meanwhile is looked for */
	return is_listening;
}

/* Again after a while that doubles, with some chance in it. */
static enum status come_back(struct database *database)
{
	if (!is_lost(database))
		return STATUS_OK;
	uint64_t now_ms = clock_monotonic_ms();
	database->is_healthy = false;
	if (now_ms < database->retry_at_ms)
		return STATUS_UNAVAILABLE;
	if (connect_now(database)) {
		database->retry_ms = RETRY_FIRST_MS;
		database->is_healthy = true;
		LOG(INFO, "store.connected", log_text("backend", TEXT("postgres")));
		return STATUS_OK;
	}
	database->retry_at_ms = now_ms + database->retry_ms / 2 + (now_ms * 2654435761U) % (database->retry_ms / 2 + 1);
	database->retry_ms = database->retry_ms * 2 > RETRY_LAST_MS ? RETRY_LAST_MS : database->retry_ms * 2;
	return STATUS_UNAVAILABLE;
}

static enum status run_script(struct database *database, const char *script)
{
	PGresult *result = PQexec(database->connection, script);
	ExecStatusType kind = PQresultStatus(result);
	PQclear(result);
	return kind == PGRES_COMMAND_OK || kind == PGRES_TUPLES_OK ? STATUS_OK : STATUS_UNAVAILABLE;
}

static enum status migrate(struct database *database, struct buffer *error)
{
	char script[256];
	int64_t version = 0;
	snprintf(script, sizeof(script), "BEGIN; SELECT pg_advisory_xact_lock(%d)", MIGRATION_LOCK);
	enum status status = run_script(database, script);
	if (status == STATUS_OK)
		status = run_script(database, "CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL);"
									  "INSERT INTO meta VALUES ('schema', 0), ('revision', 0) ON CONFLICT DO NOTHING");
	PGresult *result = query(database, "SELECT value FROM meta WHERE name = 'schema'", 0, NULL, NULL);
	if (result == NULL || PQntuples(result) != 1 || !to_number(result, 0, 0, &version))
		status = STATUS_UNAVAILABLE;
	PQclear(result);
	if (status == STATUS_OK && version > SCHEMA_VERSION) {
		run_script(database, "ROLLBACK");
		buffer_printf(
			error, "store: the schema is version %lld, this program knows %d", (long long)version, SCHEMA_VERSION);
		return STATUS_INVALID;
	}
	for (; status == STATUS_OK && version < SCHEMA_VERSION; version++) {
		status = run_script(database, migrations[version]);
		snprintf(script, sizeof(script), "UPDATE meta SET value = %lld WHERE name = 'schema'", (long long)version + 1);
		if (status == STATUS_OK)
			status = run_script(database, script);
	}
	if (status == STATUS_OK)
		status = run_script(database, "COMMIT");
	if (status != STATUS_OK) {
		buffer_printf(error, "store: PostgreSQL: %s", PQerrorMessage(database->connection));
		run_script(database, "ROLLBACK");
	}
	return status;
}

static void postgres_close(void *object)
{
	struct database *database = object;
	if (database == NULL)
		return;
	PQfinish(database->connection);
	if (database->options != NULL)
		explicit_bzero(database->options, strlen(database->options));
	free(database->options);
	free(database);
}

static enum status postgres_open(const struct store_settings *settings, void **into, struct buffer *error)
{
	struct database *database = calloc(1, sizeof(*database));
	if (database == NULL)
		return STATUS_NO_MEMORY;
	database->statement_ms = settings->statement_ms;
	database->retry_ms = RETRY_FIRST_MS;
	enum status status = read_options(settings->connection_file, &database->options, error);
	if (status == STATUS_OK && !connect_now(database)) {
		buffer_printf(error, "store: PostgreSQL: %s", PQerrorMessage(database->connection));
		status = STATUS_UNAVAILABLE;
	}
	if (status == STATUS_OK)
		status = migrate(database, error);
	if (status != STATUS_OK) {
		postgres_close(database);
		return status;
	}
	database->is_healthy = true;
	*into = database;
	return STATUS_OK;
}

/* --- reading */

static bool kind_parse(struct text name, enum record_kind *kind)
{
	for (int i = 0; i < RECORD_KIND_COUNT; i++) {
		if (text_equals(text_of(record_kind_name((enum record_kind)i)), name)) {
			*kind = (enum record_kind)i;
			return true;
		}
	}
	return false;
}

static enum status visit_rows(PGresult *result, record_visit *visit, void *context)
{
	if (result == NULL)
		return STATUS_UNAVAILABLE;
	for (int row = 0; row < PQntuples(result); row++) {
		struct record record = {.ctx = cell(result, row, 0), .id = cell(result, row, 2), .body = cell(result, row, 4)};
		if (kind_parse(cell(result, row, 1), &record.kind) && to_number(result, row, 3, &record.revision))
			visit(context, &record);
	}
	PQclear(result);
	return STATUS_OK;
}

static enum status newest(struct database *database, int64_t *revision)
{
	PGresult *result = query(database, "SELECT value FROM meta WHERE name = 'revision'", 0, NULL, NULL);
	bool is_read = result != NULL && PQntuples(result) == 1 && to_number(result, 0, 0, revision);
	PQclear(result);
	return is_read ? STATUS_OK : STATUS_UNAVAILABLE;
}

static enum status postgres_load(void *object, record_visit *visit, void *context, int64_t *revision)
{
	struct database *database = object;
	enum status status = run(database, "BEGIN ISOLATION LEVEL REPEATABLE READ");
	for (int kind = 0; kind < RECORD_KIND_COUNT && status == STATUS_OK; kind++) {
		const char *values[] = {record_kind_name((enum record_kind)kind)};
		status = visit_rows(query(database,
								"SELECT ctx, kind, id, revision, body FROM record WHERE kind = $1 AND body IS NOT NULL "
								"ORDER BY revision",
								1, values, NULL),
			visit, context);
	}
	if (status == STATUS_OK)
		status = newest(database, revision);
	run(database, "COMMIT");
	return status;
}

static enum status postgres_poll(void *object, int64_t after, record_visit *visit, void *context, int64_t *revision)
{
	struct database *database = object;
	enum status status = come_back(database);
	if (status != STATUS_OK)
		return status;
	if (PQconsumeInput(database->connection) == 0)
		return STATUS_UNAVAILABLE;
	for (PGnotify *notice; (notice = PQnotifies(database->connection)) != NULL; PQfreemem(notice))
		database->has_notice = database->has_notice || notice->be_pid != PQbackendPID(database->connection);
	if (!database->has_notice)
		return STATUS_OK;
	char number[24];
	snprintf(number, sizeof(number), "%lld", (long long)after);
	const char *values[] = {number};
	status =
		visit_rows(query(database,
					   "SELECT ctx, kind, id, revision, body FROM record WHERE revision > $1::bigint ORDER BY revision",
					   1, values, NULL),
			visit, context);
	if (status == STATUS_OK)
		status = newest(database, revision);
	database->has_notice = status != STATUS_OK;
	return status;
}

/* --- writing */

static enum status postgres_begin(void *object)
{
	struct database *database = object;
	enum status status = come_back(database);
	if (status == STATUS_OK)
		status = run(database, "BEGIN");
	/* the counter's lock: whoever commits later has the higher revisions */
	return status == STATUS_OK ? run(database, "SELECT value FROM meta WHERE name = 'revision' FOR UPDATE") : status;
}

static enum status postgres_commit(void *object)
{
	struct database *database = object;
	enum status status = run(database, "NOTIFY celld_records");
	if (status == STATUS_OK)
		status = run(database, "COMMIT"); /* lost here: in doubt; if it did commit, the next look finds it */
	if (status != STATUS_OK)
		run(database, "ROLLBACK");
	database->is_healthy = !is_lost(database);
	return status;
}

static void postgres_rollback(void *object)
{
	run(object, "ROLLBACK");
}

/* Texts of a record are bound with their lengths in a copy that ends: libpq's text parameters are strings. */
static enum status write_record(
	struct database *database, struct record *record, record_visit *visit, void *context, int64_t *revision)
{
	PGresult *result =
		query(database, "UPDATE meta SET value = value + 1 WHERE name = 'revision' RETURNING value", 0, NULL, NULL);
	bool is_counted = result != NULL && PQntuples(result) == 1 && to_number(result, 0, 0, &record->revision);
	PQclear(result);
	if (!is_counted)
		return STATUS_UNAVAILABLE;
	char number[24], *ctx = text_copy(record->ctx), *id = text_copy(record->id);
	char *body = record->body.bytes == NULL ? NULL : text_copy(record->body);
	snprintf(number, sizeof(number), "%lld", (long long)record->revision);
	const char *values[] = {ctx, record_kind_name(record->kind), id, number, body};
	enum status status =
		ctx == NULL || id == NULL || (record->body.bytes != NULL && body == NULL) ? STATUS_NO_MEMORY : STATUS_OK;
	if (status == STATUS_OK) {
		result = query(database,
			"INSERT INTO record (ctx, kind, id, revision, body) VALUES ($1, $2, $3, $4::bigint, $5) "
			"ON CONFLICT (ctx, kind, id) DO UPDATE SET revision = excluded.revision, body = excluded.body",
			5, values, NULL);
		status = result == NULL ? STATUS_UNAVAILABLE : STATUS_OK;
		PQclear(result);
	}
	free(ctx);
	free(id);
	free(body);
	if (status == STATUS_OK) {
		*revision = record->revision;
		visit(context, record);
	}
	return status;
}

static enum status check_expected(struct database *database, const struct change *change)
{
	char *ctx = text_copy(change->ctx), *id = text_copy(change->id);
	const char *values[] = {ctx, record_kind_name(change->record), id};
	PGresult *result =
		ctx == NULL || id == NULL
			? NULL
			: query(database,
				  "SELECT revision FROM record WHERE ctx = $1 AND kind = $2 AND id = $3 AND body IS NOT NULL", 3,
				  values, NULL);
	free(ctx);
	free(id);
	if (result == NULL)
		return STATUS_UNAVAILABLE;
	int64_t revision = 0;
	bool is_present = PQntuples(result) == 1 && to_number(result, 0, 0, &revision);
	PQclear(result);
	if (change->kind == CHANGE_DELETE && !is_present)
		return STATUS_NOT_FOUND;
	if (change->expected == REVISION_ANY)
		return STATUS_OK;
	if (change->expected == REVISION_ABSENT)
		return is_present ? STATUS_CONFLICT : STATUS_OK;
	return !is_present ? STATUS_NOT_FOUND : revision == change->expected ? STATUS_OK : STATUS_CONFLICT;
}

static enum status delete_ctx(
	struct database *database, const struct change *change, record_visit *visit, void *context, int64_t *revision)
{
	char *ctx = text_copy(change->ctx);
	const char *values[] = {ctx};
	PGresult *result = ctx == NULL ? NULL
								   : query(database, "SELECT kind, id FROM record WHERE ctx = $1 AND body IS NOT NULL",
										 1, values, NULL);
	free(ctx);
	enum status status = result == NULL ? STATUS_UNAVAILABLE : STATUS_OK;
	for (int row = 0; status == STATUS_OK && row < PQntuples(result); row++) {
		struct record record = {.ctx = change->ctx, .id = cell(result, row, 1)};
		if (kind_parse(cell(result, row, 0), &record.kind))
			status = write_record(database, &record, visit, context, revision);
	}
	PQclear(result);
	return status;
}

static enum status apply_one(
	struct database *database, const struct change *change, record_visit *visit, void *context, int64_t *revision)
{
	if (change->kind == CHANGE_DELETE_CTX)
		return delete_ctx(database, change, visit, context, revision);
	enum status status = check_expected(database, change);
	struct record record = {.ctx = change->ctx,
		.kind = change->record,
		.id = change->id,
		.body = change->kind == CHANGE_PUT ? change->body : TEXT_NONE};
	return status == STATUS_OK ? write_record(database, &record, visit, context, revision) : status;
}

static enum status postgres_apply(
	void *object, const struct change *changes, size_t count, record_visit *visit, void *context, int64_t *revision)
{
	struct database *database = object;
	enum status status = run(database, "SAVEPOINT one");
	for (size_t i = 0; i < count && status == STATUS_OK; i++)
		status = apply_one(database, &changes[i], visit, context, revision);
	enum status after = run(database, status == STATUS_OK ? "RELEASE SAVEPOINT one" : "ROLLBACK TO SAVEPOINT one");
	return status != STATUS_OK ? status : after;
}

static bool postgres_is_healthy(const void *object)
{
	return ((const struct database *)object)->is_healthy;
}

const struct backend backend_postgres = {postgres_open, postgres_close, postgres_load, postgres_begin, postgres_apply,
	postgres_commit, postgres_rollback, postgres_poll, postgres_is_healthy};
