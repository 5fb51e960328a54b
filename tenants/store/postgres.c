/* The store in PostgreSQL: the same statements over libpq, revisions in commit order by the lock on their counter. */
#include <errno.h>
#include <fcntl.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/clock.h"
#include "server/base/log.h"
#include "tenants/store/backend.h"
#include "tenants/store/migrations.h"
#include "tenants/store/postgres_batch.h"

enum {
	CONNECTION_MAX = 4096,
	MIGRATION_LOCK = 0x63656c6c,
	RETRY_FIRST_MS = 200,
	RETRY_LAST_MS = 5000,
	GRACE_MS = 1000,
	LOAD_MS = 600000,
	PARAMETERS_MAX = 5,
	PRUNE_STEP = 4096, /* revisions looked through in one commit */
	PRUNE_MOST = 8192,
	IDLE_MS = 3000 /* who is cut off in a transaction has the counter's lock: so long all others wait for it */
};

struct database {
	PGconn *connection;
	char *options;
	int64_t statement_ms, patience_ms; /* how long the server may be silent */
	uint64_t retry_at_ms, retry_ms;
	int64_t seen;                  /* the newest revision the store was told of */
	int64_t started, written;      /* the newest before this transaction, and with it */
	int64_t pruned, pruned_before; /* tombstones up to here may be gone; when this transaction is not committed */
	struct batch batch;
	unsigned prepared; /* bit per statement of this connection */
	bool is_healthy, has_notice, is_writing;
};

/* --- results */

static bool is_lost(const struct database *database)
{
	return database->connection == NULL || PQstatus(database->connection) != CONNECTION_OK;
}

/* libpq's messages end, and sometimes go on, with line ends. */
static struct text message_of(const struct database *database)
{
	struct text message = text_trim(text_of(PQerrorMessage(database->connection)));
	return text_slice(message, 0, text_find(message, '\n'));
}

/* The server says nothing: the connection is as good as lost, and not tried again at once. */
static void give_up(struct database *database)
{
	LOG(WARNING, "store.lost", log_number("patience_ms", database->patience_ms));
	PQfinish(database->connection);
	database->connection = NULL;
	database->retry_at_ms = clock_monotonic_ms() + database->retry_ms;
}

/* Sends what is left and receives the next result whole; false: lost. */
static bool await_result(struct database *database)
{
	for (;;) {
		int unsent = PQflush(database->connection);
		if (unsent == 0 && PQisBusy(database->connection) == 0)
			return true;
		struct pollfd wanted = {.fd = PQsocket(database->connection)};
		wanted.events = (short)(POLLIN | (unsent > 0 ? POLLOUT : 0));
		int ready = unsent < 0 ? -1 : poll(&wanted, 1, (int)database->patience_ms);
		if (ready == 0 || unsent < 0 || (ready < 0 && errno != EINTR)) {
			give_up(database);
			return false;
		}
		if (ready > 0 && (wanted.revents & ~POLLOUT) != 0 && PQconsumeInput(database->connection) == 0)
			return false;
	}
}

/* The last of the results of what was sent; NULL: lost. */
static PGresult *collect(struct database *database)
{
	PGresult *last = NULL;
	while (await_result(database)) {
		PGresult *result = PQgetResult(database->connection);
		if (result == NULL)
			return last;
		PQclear(last);
		last = result;
	}
	PQclear(last);
	return NULL;
}

/* As PQexec or PQexecParams, but never waiting for ever. Without values `sql` may be several statements, of which the
 * last or the first that fails answers. */
static PGresult *execute(struct database *database, const char *sql, int count, const char *const *values)
{
	int is_sent = count == 0 ? PQsendQuery(database->connection, sql)
							 : PQsendQueryParams(database->connection, sql, count, NULL, values, NULL, NULL, 0);
	return is_sent == 0 ? NULL : collect(database);
}

/* NULL: it failed, which has been logged; *verdict: INVALID when the values are to blame, else UNAVAILABLE. */
static PGresult *judge(struct database *database, PGresult *result, enum status *verdict)
{
	ExecStatusType kind = PQresultStatus(result);
	*verdict = STATUS_UNAVAILABLE;
	if (kind == PGRES_TUPLES_OK || kind == PGRES_COMMAND_OK) {
		*verdict = STATUS_OK;
		return result;
	}
	const char *code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	if (code != NULL && strncmp(code, "22", 2) == 0)
		*verdict = STATUS_INVALID; /* a data exception, as bytes that are no UTF-8 */
	LOG(WARNING, "store.query", log_text("error", message_of(database)));
	PQclear(result);
	database->is_healthy = !is_lost(database) && database->is_healthy;
	return NULL;
}

static PGresult *query_judged(
	struct database *database, const char *sql, int count, const char *const *values, enum status *verdict)
{
	*verdict = STATUS_UNAVAILABLE;
	return is_lost(database) ? NULL : judge(database, execute(database, sql, count, values), verdict);
}

static PGresult *query(struct database *database, const char *sql, int count, const char *const *values)
{
	enum status ignored;
	return query_judged(database, sql, count, values, &ignored);
}

static enum status run(struct database *database, const char *sql)
{
	PGresult *result = query(database, sql, 0, NULL);
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
	/* a server that has vanished is noticed; what the connection string says wins over what stands before it */
	static const char *const names[] = {"connect_timeout", "keepalives_idle", "keepalives_interval", "keepalives_count",
		"tcp_user_timeout", "fallback_application_name", "dbname", "client_encoding", NULL};
	const char *values[] = {"5", "10", "5", "3", "15000", "celld", database->options, "UTF8", NULL};
	char limits[240];
	PQfinish(database->connection);
	database->prepared = 0;
	database->connection = PQconnectdbParams(names, values, 1);
	if (PQstatus(database->connection) != CONNECTION_OK)
		return false;
	snprintf(limits, sizeof(limits),
		"SET statement_timeout = %lld; SET lock_timeout = %lld; SET idle_in_transaction_session_timeout = %d; "
		"SET client_min_messages = warning",
		(long long)database->statement_ms, (long long)database->statement_ms, IDLE_MS);
	PGresult *result = PQexec(database->connection, limits);
	bool is_limited = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	result = PQexec(database->connection, "LISTEN celld_records");
	bool is_listening = PQresultStatus(result) == PGRES_COMMAND_OK;
	PQclear(result);
	database->has_notice = true; /* whatever happened meanwhile is looked for */
	return is_limited && is_listening && PQsetnonblocking(database->connection, 1) == 0;
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

/* The first failure goes into `error`. */
static enum status run_script(struct database *database, const char *script, struct buffer *error)
{
	PGresult *result = PQexec(database->connection, script);
	ExecStatusType kind = PQresultStatus(result);
	PQclear(result);
	if (kind == PGRES_COMMAND_OK || kind == PGRES_TUPLES_OK)
		return STATUS_OK;
	buffer_printf(error, "store: PostgreSQL: %.*s", TEXT_ARGUMENTS(message_of(database)));
	return STATUS_UNAVAILABLE;
}

static enum status read_version(struct database *database, int64_t *version, struct buffer *error)
{
	PGresult *result = query(database, "SELECT value FROM meta WHERE name = 'schema'", 0, NULL);
	bool is_read = result != NULL && PQntuples(result) == 1 && to_number(result, 0, 0, version);
	PQclear(result);
	if (!is_read) {
		buffer_printf(error, "store: PostgreSQL: the schema's version cannot be read");
		return STATUS_UNAVAILABLE;
	}
	if (*version > SCHEMA_VERSION) {
		buffer_printf(
			error, "store: the schema is version %lld, this program knows %d", (long long)*version, SCHEMA_VERSION);
		return STATUS_INVALID;
	}
	return STATUS_OK;
}

static enum status migrate(struct database *database, struct buffer *error)
{
	char script[256];
	int64_t version = 0;
	/* under a lock: two processes may start at once */
	snprintf(script, sizeof(script), "BEGIN; SELECT pg_advisory_xact_lock(%d)", MIGRATION_LOCK);
	enum status status = run_script(database, script, error);
	if (status == STATUS_OK)
		status = run_script(database,
			"CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL);"
			"INSERT INTO meta VALUES ('schema', 0), ('revision', 0) ON CONFLICT DO NOTHING",
			error);
	if (status == STATUS_OK)
		status = read_version(database, &version, error);
	for (; status == STATUS_OK && version < SCHEMA_VERSION; version++) {
		status = run_script(database, migrations[version], error);
		snprintf(script, sizeof(script), "UPDATE meta SET value = %lld WHERE name = 'schema'", (long long)version + 1);
		if (status == STATUS_OK)
			status = run_script(database, script, error);
	}
	return status == STATUS_OK ? run_script(database, "COMMIT", error) : status; /* else the connection is closed */
}

static void postgres_close(void *object)
{
	struct database *database = object;
	if (database == NULL)
		return;
	PQfinish(database->connection);
	batch_free(&database->batch);
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
	database->patience_ms = settings->statement_ms + GRACE_MS;
	database->retry_ms = RETRY_FIRST_MS;
	enum status status = read_options(settings->connection_file, &database->options, error);
	if (status == STATUS_OK && !connect_now(database)) {
		buffer_printf(error, "store: PostgreSQL: %.*s", TEXT_ARGUMENTS(message_of(database)));
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
	enum status status = STATUS_OK;
	for (int row = 0; row < PQntuples(result) && status == STATUS_OK; row++) {
		struct record record = {.ctx = cell(result, row, 0), .id = cell(result, row, 2), .body = cell(result, row, 4)};
		if (kind_parse(cell(result, row, 1), &record.kind) && to_number(result, row, 3, &record.revision) &&
			!visit(context, &record))
			status = STATUS_NO_MEMORY;
	}
	PQclear(result);
	return status;
}

/* A server that knows less than was acknowledged (an old copy took over) must not be written to: what is in memory and
 * what is stored have parted. A restart reads what there is. */
static enum status check_newest(struct database *database, int64_t newest)
{
	if (newest >= database->seen)
		return STATUS_OK;
	if (database->is_healthy)
		LOG(ERROR, "store.went_back", log_number("revision", newest), log_number("expected", database->seen));
	database->is_healthy = false;
	return STATUS_UNAVAILABLE;
}

static enum status read_newest(struct database *database, const char *sql, int64_t *revision)
{
	PGresult *result = query(database, sql, 0, NULL);
	bool is_read = result != NULL && PQntuples(result) == 1 && to_number(result, 0, 0, revision);
	PQclear(result);
	return is_read ? check_newest(database, *revision) : STATUS_UNAVAILABLE;
}

static enum status read_pruned(struct database *database)
{
	PGresult *result = query(database, "SELECT value FROM meta WHERE name = 'pruned'", 0, NULL);
	bool is_read = result != NULL && PQntuples(result) == 1 && to_number(result, 0, 0, &database->pruned);
	PQclear(result);
	return is_read ? STATUS_OK : STATUS_UNAVAILABLE;
}

static enum status postgres_load(void *object, record_visit *visit, void *context, int64_t *revision)
{
	struct database *database = object;
	int64_t patience_ms = database->patience_ms;
	enum status status = run(database, "BEGIN ISOLATION LEVEL REPEATABLE READ");
	if (status == STATUS_OK)
		status = run(database, "SET LOCAL statement_timeout = 0"); /* all there is may take its time */
	if (status == STATUS_OK)
		status = run(database, "SET LOCAL idle_in_transaction_session_timeout = 0"); /* so may we: no lock is held */
	database->patience_ms = LOAD_MS;
	for (int kind = 0; kind < RECORD_KIND_COUNT && status == STATUS_OK; kind++) {
		const char *values[] = {record_kind_name((enum record_kind)kind)};
		if (!record_kind_is_loaded((enum record_kind)kind))
			continue;
		status = visit_rows(query(database,
								"SELECT ctx, kind, id, revision, body FROM record WHERE kind = $1 AND body IS NOT NULL "
								"ORDER BY revision",
								1, values),
			visit, context);
	}
	if (status == STATUS_OK)
		status = read_newest(database, "SELECT value FROM meta WHERE name = 'revision'", revision);
	if (status == STATUS_OK)
		database->seen = *revision;
	if (status == STATUS_OK)
		status = read_pruned(database);
	database->patience_ms = patience_ms;
	run(database, "COMMIT");
	return status;
}

static enum status postgres_poll(void *object, int64_t after, record_visit *visit, void *context, int64_t *revision)
{
	struct database *database = object;
	/* inside a transaction a new connection would be outside it */
	enum status status = database->is_writing ? STATUS_OK : come_back(database);
	if (status != STATUS_OK)
		return status;
	if (PQconsumeInput(database->connection) == 0) {
		database->is_healthy = false;
		return STATUS_UNAVAILABLE;
	}
	for (PGnotify *notice; (notice = PQnotifies(database->connection)) != NULL; PQfreemem(notice))
		database->has_notice = database->has_notice || notice->be_pid != PQbackendPID(database->connection);
	if (!database->has_notice)
		return STATUS_OK;
	char number[24];
	int64_t newest = after;
	snprintf(number, sizeof(number), "%lld", (long long)after);
	const char *values[] = {number};
	/* the counter first: what is committed between the two is told and then asked for again, never left out */
	status = read_newest(database, "SELECT value FROM meta WHERE name = 'revision'", &newest);
	if (status == STATUS_OK)
		status = read_pruned(database);
	if (status == STATUS_OK && after < database->pruned)
		return STATUS_STOPPED;
	if (status == STATUS_OK)
		status = visit_rows(query(database,
								"SELECT ctx, kind, id, revision, body FROM record WHERE revision > $1::bigint "
								"ORDER BY revision",
								1, values),
			visit, context);
	if (status == STATUS_OK) {
		database->seen = newest;
		*revision = newest;
	}
	database->has_notice = status != STATUS_OK;
	return status;
}

/* --- writing */

static void roll_back(struct database *database)
{
	database->is_writing = false;
	database->pruned = database->pruned_before;
	batch_clear(&database->batch);
	run(database, "ROLLBACK");
}

/* The counter's lock: whoever commits later has the higher revisions. */
static enum status begin(struct database *database)
{
	enum status status = come_back(database);
	if (status == STATUS_OK)
		status = read_newest(
			database, "BEGIN; SELECT value FROM meta WHERE name = 'revision' FOR UPDATE", &database->started);
	return status;
}

static enum status postgres_begin(void *object)
{
	struct database *database = object;
	enum status status = begin(database);
	if (status != STATUS_OK && is_lost(database)) /* while idle: nothing was under way, so once more */
		status = begin(database);
	if (status != STATUS_OK) {
		if (!is_lost(database))
			roll_back(database);
		return status;
	}
	database->written = database->started;
	database->pruned_before = database->pruned;
	batch_clear(&database->batch);
	database->has_notice = database->has_notice || database->started != database->seen;
	database->is_writing = true;
	return STATUS_OK;
}

/* --- many at once */

/* Prepared once a connection: planning them anew each time costs more than running them. Each record is one look into
 * the index: a join would be planned as a pass over the whole table, as long as nobody has counted its rows. */
enum prepared { LOOK_UP, OWNERS, PUT, DROP, PREPARED_COUNT };
static const struct {
	const char *name, *sql;
	int count; /* of arrays */
} prepared[PREPARED_COUNT] = {
	[LOOK_UP] = {"look_up",
		"SELECT at, (SELECT revision FROM record WHERE ctx = wanted.ctx AND kind = wanted.kind AND id = wanted.id "
		"AND body IS NOT NULL) FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY "
		"AS wanted (ctx, kind, id, at)",
		3},
	[OWNERS] = {"owners",
		"SELECT DISTINCT ctx FROM record WHERE ctx = ANY($1::text[]) AND kind = 'participant' AND body IS NOT NULL", 1},
	[PUT] = {"put",
		"INSERT INTO record (ctx, kind, id, revision, body) "
		"SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[]) "
		"ON CONFLICT (ctx, kind, id) DO UPDATE SET revision = excluded.revision, body = excluded.body",
		5},
	[DROP] = {"drop",
		"DELETE FROM record WHERE ctid = ANY(ARRAY(SELECT (SELECT ctid FROM record WHERE ctx = gone.ctx "
		"AND kind = gone.kind AND id = gone.id) FROM unnest($1::text[], $2::text[], $3::text[]) "
		"AS gone (ctx, kind, id)))",
		3},
};

static enum status prepare(struct database *database, enum prepared which)
{
	enum status status = STATUS_UNAVAILABLE;
	if ((database->prepared >> which & 1U) != 0)
		return STATUS_OK;
	if (!is_lost(database) &&
		PQsendPrepare(database->connection, prepared[which].name, prepared[which].sql, 0, NULL) != 0)
		PQclear(judge(database, collect(database), &status));
	if (status == STATUS_OK)
		database->prepared |= 1U << which;
	return status;
}

/* The result or NULL. */
static PGresult *ask_arrays(struct database *database, enum prepared which, struct buffer *arrays, enum status *verdict)
{
	static const int binary[PARAMETERS_MAX] = {1, 1, 1, 1, 1};
	const char *values[PARAMETERS_MAX];
	int lengths[PARAMETERS_MAX], count = prepared[which].count;
	*verdict = STATUS_NO_MEMORY;
	for (int i = 0; i < count; i++) {
		if (arrays[i].failed || arrays[i].length > INT32_MAX / 2)
			return NULL;
		values[i] = arrays[i].bytes;
		lengths[i] = (int)arrays[i].length;
	}
	*verdict = prepare(database, which);
	if (*verdict != STATUS_OK)
		return NULL;
	bool is_sent =
		PQsendQueryPrepared(database->connection, prepared[which].name, count, values, lengths, binary, 0) != 0;
	return judge(database, is_sent ? collect(database) : NULL, verdict);
}

static void free_arrays(struct buffer *arrays)
{
	for (int i = 0; i < PARAMETERS_MAX; i++)
		buffer_free(&arrays[i]);
}

/* The revisions of what is there. */
static enum status look_up(struct database *database)
{
	struct batch *batch = &database->batch;
	struct buffer arrays[PARAMETERS_MAX] = {{0}};
	enum status status;
	for (int i = 0; i < 3; i++)
		array_begin(&arrays[i], ARRAY_TEXT, batch->known_count);
	for (uint32_t i = 0; i < batch->known_count; i++) {
		const struct batch_known *known = &batch->known[i];
		array_text(&arrays[0], known->ctx);
		array_text(&arrays[1], text_of(record_kind_name(known->kind)));
		array_text(&arrays[2], known->id.bytes == NULL ? TEXT("") : known->id);
	}
	PGresult *result = ask_arrays(database, LOOK_UP, arrays, &status);
	for (int row = 0; result != NULL && row < PQntuples(result); row++) {
		int64_t at = 0, revision = 0;
		if (to_number(result, row, 0, &at) && to_number(result, row, 1, &revision) && at > 0 &&
			at <= batch->known_count && batch->known[at - 1].id.bytes != NULL)
			batch->known[at - 1].revision = revision;
	}
	PQclear(result);
	free_arrays(arrays);
	return status;
}

/* Which of the contexts have their participant. */
static enum status look_up_owners(struct database *database)
{
	struct batch *batch = &database->batch;
	struct buffer arrays[PARAMETERS_MAX] = {{0}};
	enum status status;
	uint32_t count = 0;
	for (uint32_t i = 0; i < batch->known_count; i++)
		count += batch->known[i].id.bytes == NULL;
	if (count == 0)
		return STATUS_OK;
	array_begin(&arrays[0], ARRAY_TEXT, count);
	for (uint32_t i = 0; i < batch->known_count; i++) {
		if (batch->known[i].id.bytes == NULL)
			array_text(&arrays[0], batch->known[i].ctx);
	}
	PGresult *result = ask_arrays(database, OWNERS, arrays, &status);
	for (int row = 0; result != NULL && row < PQntuples(result); row++) {
		struct batch_known *owner = batch_find(batch, cell(result, row, 0), RECORD_PARTICIPANT, TEXT_NONE);
		if (owner != NULL)
			owner->revision = 1;
	}
	PQclear(result);
	free_arrays(arrays);
	return status;
}

static enum status postgres_gather(void *object, const struct changes *all, size_t count)
{
	struct database *database = object;
	for (size_t i = 0; i < count; i++) {
		if (!batch_takes(all[i].items, all[i].count))
			return STATUS_OK; /* one after another, as they come */
	}
	for (size_t i = 0; i < count; i++) {
		if (!batch_gather(&database->batch, all[i].items, all[i].count))
			return STATUS_NO_MEMORY;
	}
	database->batch.is_gathered = true;
	if (database->batch.known_count == 0)
		return STATUS_OK;
	enum status status = look_up(database);
	return status == STATUS_OK ? look_up_owners(database) : status;
}

static uint32_t count_last(const struct batch *batch, bool is_drop)
{
	uint32_t count = 0;
	for (uint32_t i = 0; i < batch->write_count; i++)
		count += batch_is_last(batch, i) && batch->writes[i].is_drop == is_drop;
	return count;
}

static enum status flush_rows(struct database *database, bool is_drop)
{
	const struct batch *batch = &database->batch;
	struct buffer arrays[PARAMETERS_MAX] = {{0}};
	uint32_t count = count_last(batch, is_drop);
	enum status status;
	if (count == 0)
		return STATUS_OK;
	for (int i = 0; i < PARAMETERS_MAX; i++)
		array_begin(&arrays[i], i == 3 ? ARRAY_BIGINT : ARRAY_TEXT, count);
	for (uint32_t i = 0; i < batch->write_count; i++) {
		const struct batch_write *write = &batch->writes[i];
		if (!batch_is_last(batch, i) || write->is_drop != is_drop)
			continue;
		array_text(&arrays[0], write->change->ctx);
		array_text(&arrays[1], text_of(record_kind_name(write->change->record)));
		array_text(&arrays[2], write->change->id);
		array_number(&arrays[3], write->revision);
		array_text(&arrays[4], write->change->kind == CHANGE_PUT ? write->change->body : TEXT_NONE);
	}
	PQclear(ask_arrays(database, is_drop ? DROP : PUT, arrays, &status));
	free_arrays(arrays);
	return status;
}

/* Of each record its last version. */
static enum status flush(struct database *database)
{
	enum status status = database->batch.is_gathered ? flush_rows(database, false) : STATUS_OK;
	if (status == STATUS_OK && database->batch.is_gathered)
		status = flush_rows(database, true);
	batch_clear(&database->batch);
	return status;
}

/* --- tombstones */

static enum status postgres_prune(void *object, int64_t keep)
{
	struct database *database = object;
	int64_t until = database->written - keep;
	char from_text[24], until_text[24];
	enum status status;
	if (until < database->pruned + (keep < PRUNE_STEP ? 1 : PRUNE_STEP))
		return STATUS_OK;
	until = until > database->pruned + PRUNE_MOST ? database->pruned + PRUNE_MOST : until;
	snprintf(from_text, sizeof(from_text), "%lld", (long long)database->pruned);
	snprintf(until_text, sizeof(until_text), "%lld", (long long)until);
	const char *values[] = {from_text, until_text};
	PQclear(query_judged(database,
		"WITH gone AS (DELETE FROM record WHERE revision > $1::bigint AND revision <= $2::bigint AND body IS NULL) "
		"UPDATE meta SET value = greatest(value, $2::bigint) WHERE name = 'pruned'",
		2, values, &status));
	if (status == STATUS_OK)
		database->pruned = until;
	return status;
}

static enum status postgres_commit(void *object)
{
	struct database *database = object;
	char sql[160] = "COMMIT";
	enum status status = flush(database);
	if (status != STATUS_OK) {
		roll_back(database);
		return status;
	}
	if (database->written != database->started)
		snprintf(sql, sizeof(sql), "UPDATE meta SET value = %lld WHERE name = 'revision'; NOTIFY celld_records; COMMIT",
			(long long)database->written);
	PGresult *result = query(database, sql, 0, NULL);
	/* a transaction that had failed answers COMMIT with ROLLBACK, and no error */
	bool is_done = result != NULL && strcmp(PQcmdStatus(result), "COMMIT") == 0;
	PQclear(result);
	if (is_done)
		database->seen = database->written;
	else
		roll_back(database);
	database->has_notice = database->has_notice || !is_done; /* in doubt: if it did commit, the next look finds it */
	database->is_writing = false;
	database->is_healthy = !is_lost(database);
	return is_done ? STATUS_OK : STATUS_UNAVAILABLE;
}

static void postgres_rollback(void *object)
{
	roll_back(object);
}

static enum status write_record(
	struct database *database, struct record *record, record_visit *visit, void *context, int64_t *revision)
{
	bool has_body = record->body.bytes != NULL;
	char number[24], *ctx = text_copy(record->ctx), *id = text_copy(record->id);
	char *body = has_body ? text_copy(record->body) : NULL;
	enum status status = ctx == NULL || id == NULL || (has_body && body == NULL) ? STATUS_NO_MEMORY : STATUS_OK;
	record->revision = database->written + 1;
	snprintf(number, sizeof(number), "%lld", (long long)record->revision);
	const char *values[] = {ctx, record_kind_name(record->kind), id, number, body};
	if (status == STATUS_OK)
		PQclear(query_judged(database,
			"INSERT INTO record (ctx, kind, id, revision, body) VALUES ($1, $2, $3, $4::bigint, $5) "
			"ON CONFLICT (ctx, kind, id) DO UPDATE SET revision = excluded.revision, body = excluded.body",
			5, values, &status));
	free(ctx);
	free(id);
	free(body);
	if (status != STATUS_OK)
		return status;
	*revision = database->written = record->revision;
	return visit(context, record) ? STATUS_OK : STATUS_NO_MEMORY;
}

/* Is the stored state what the change expects? */
static enum status check_expected(struct database *database, const struct change *change)
{
	char *ctx = text_copy(change->ctx), *id = text_copy(change->id);
	enum status status = ctx == NULL || id == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	const char *values[] = {ctx, record_kind_name(change->record), id};
	PGresult *result = NULL;
	if (status == STATUS_OK)
		result = query_judged(database,
			"SELECT (SELECT revision FROM record WHERE ctx = $1 AND kind = $2 AND id = $3 AND body IS NOT NULL), "
			"EXISTS (SELECT 1 FROM record WHERE ctx = $1 AND kind = 'participant' AND body IS NOT NULL)",
			3, values, &status);
	free(ctx);
	free(id);
	if (status != STATUS_OK)
		return status;
	int64_t revision = 0;
	bool is_present = PQntuples(result) == 1 && to_number(result, 0, 0, &revision);
	bool has_owner = text_equals(cell(result, 0, 1), TEXT("t"));
	PQclear(result);
	return change_judge(change, is_present, revision, has_owner);
}

/* id absent: all of the kind */
static enum status drop(struct database *database, struct text ctx_text, enum record_kind kind, struct text id_text)
{
	char *ctx = text_copy(ctx_text), *id = text_copy(id_text);
	enum status status = ctx == NULL || id == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	const char *values[] = {ctx, record_kind_name(kind), id};
	bool is_one = id_text.bytes != NULL;
	if (status == STATUS_OK)
		PQclear(query_judged(database,
			is_one ? "DELETE FROM record WHERE ctx = $1 AND kind = $2 AND id = $3"
				   : "DELETE FROM record WHERE ctx = $1 AND kind = $2",
			is_one ? 3 : 2, values, &status));
	free(ctx);
	free(id);
	return status;
}

/* What was told of as deleted, but leaves no trace. */
static enum status drop_passing(struct database *database, struct text ctx)
{
	enum status status = STATUS_OK;
	for (int kind = 0; kind < RECORD_KIND_COUNT && status == STATUS_OK; kind++) {
		if (record_kind_passes((enum record_kind)kind))
			status = drop(database, ctx, (enum record_kind)kind, TEXT_NONE);
	}
	return status;
}

static enum status delete_ctx(
	struct database *database, const struct change *change, record_visit *visit, void *context, int64_t *revision)
{
	char *ctx = text_copy(change->ctx);
	enum status status = ctx == NULL ? STATUS_NO_MEMORY : STATUS_OK;
	const char *values[] = {ctx};
	PGresult *result = NULL;
	for (int kind = 0; kind < RECORD_KIND_COUNT && status == STATUS_OK; kind++) {
		if (!record_kind_is_loaded((enum record_kind)kind))
			status = drop(database, change->ctx, (enum record_kind)kind, TEXT_NONE);
	}
	if (status == STATUS_OK)
		result = query_judged(
			database, "SELECT kind, id FROM record WHERE ctx = $1 AND body IS NOT NULL", 1, values, &status);
	free(ctx);
	for (int row = 0; status == STATUS_OK && row < PQntuples(result); row++) {
		struct record record = {.ctx = change->ctx, .id = cell(result, row, 1)};
		if (kind_parse(cell(result, row, 0), &record.kind))
			status = write_record(database, &record, visit, context, revision);
	}
	PQclear(result);
	return status == STATUS_OK ? drop_passing(database, change->ctx) : status;
}

static enum status apply_one(
	struct database *database, const struct change *change, record_visit *visit, void *context, int64_t *revision)
{
	if (change->kind == CHANGE_DELETE_CTX)
		return delete_ctx(database, change, visit, context, revision);
	if (change->kind == CHANGE_DELETE && !record_kind_is_loaded(change->record))
		return drop(database, change->ctx, change->record, change->id);
	bool passes = change->kind == CHANGE_DELETE && record_kind_passes(change->record);
	enum status status = passes ? STATUS_OK : check_expected(database, change);
	if (status != STATUS_OK || change->kind == CHANGE_EXPECT)
		return status;
	struct record record = {.ctx = change->ctx,
		.kind = change->record,
		.id = change->id,
		.body = change->kind == CHANGE_PUT ? change->body : TEXT_NONE};
	status = write_record(database, &record, visit, context, revision);
	return status == STATUS_OK && passes ? drop(database, change->ctx, change->record, change->id) : status;
}

static enum status postgres_apply(
	void *object, const struct change *changes, size_t count, record_visit *visit, void *context, int64_t *revision)
{
	struct database *database = object;
	if (database->batch.is_gathered)
		return batch_apply(&database->batch, changes, count, &database->written, visit, context, revision);
	int64_t before = database->written;
	enum status status = run(database, "SAVEPOINT one");
	for (size_t i = 0; i < count && status == STATUS_OK; i++)
		status = apply_one(database, &changes[i], visit, context, revision);
	if (status == STATUS_OK)
		return run(database, "RELEASE SAVEPOINT one");
	database->written = before;
	enum status undone = run(database, "ROLLBACK TO SAVEPOINT one");
	if (undone == STATUS_OK)
		undone = run(database, "RELEASE SAVEPOINT one");
	return undone == STATUS_OK ? status : undone;
}

static enum status postgres_list(void *object, struct text ctx_text, enum record_kind kind, struct text after_text,
	size_t limit, record_visit *visit, void *context)
{
	struct database *database = object;
	char number[24], *ctx = text_copy(ctx_text), *after = text_copy(after_text);
	enum status status = ctx == NULL || after == NULL ? STATUS_NO_MEMORY : come_back(database);
	snprintf(number, sizeof(number), "%zu", limit);
	const char *values[] = {ctx, record_kind_name(kind), after, number};
	if (status == STATUS_OK)
		status = visit_rows(query(database,
								"SELECT ctx, kind, id, revision, body FROM record WHERE ctx = $1 AND kind = $2 AND "
								"id > $3 AND body IS NOT NULL ORDER BY id LIMIT $4::bigint",
								4, values),
			visit, context);
	free(ctx);
	free(after);
	return status;
}

static enum status postgres_read(
	void *object, struct text ctx_text, enum record_kind kind, struct text ids, record_visit *visit, void *context)
{
	struct database *database = object;
	char *ctx = text_copy(ctx_text);
	enum status status = ctx == NULL ? STATUS_NO_MEMORY : come_back(database);
	const char *values[] = {ctx, record_kind_name(kind), ids.bytes};
	if (status == STATUS_OK)
		status = visit_rows(query(database,
								"SELECT ctx, kind, id, revision, body FROM record WHERE ctx = $1 AND kind = $2 AND "
								"id IN (SELECT jsonb_array_elements_text($3::jsonb)) AND body IS NOT NULL",
								3, values),
			visit, context);
	free(ctx);
	return status;
}

static bool postgres_is_healthy(const void *object)
{
	return ((const struct database *)object)->is_healthy;
}

const struct backend backend_postgres = {.open = postgres_open,
	.close = postgres_close,
	.load = postgres_load,
	.begin = postgres_begin,
	.gather = postgres_gather,
	.apply = postgres_apply,
	.commit = postgres_commit,
	.rollback = postgres_rollback,
	.poll = postgres_poll,
	.prune = postgres_prune,
	.list = postgres_list,
	.read = postgres_read,
	.is_healthy = postgres_is_healthy};
