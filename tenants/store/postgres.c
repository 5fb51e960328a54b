/* The store in PostgreSQL: revisions in commit order by the lock on their counter. */
#include <stdio.h>
#include <stdlib.h>

#include "server/base/log.h"
#include "tenants/store/postgres_private.h"

enum {
	LOAD_MS = 600000,
	PRUNE_STEP = 4096, /* revisions looked through in one commit */
	PRUNE_MOST = 8192
};

/* --- opening */

static void postgres_close(void *object)
{
	struct database *database = object;
	if (database == NULL)
		return;
	connection_close(&database->connection);
	batch_free(&database->batch);
	buffer_free(&database->keys);
	memory_clear(&database->memory);
	free(database);
}

static enum status postgres_open(const struct store_settings *settings, void **into, struct buffer *error)
{
	struct database *database = calloc(1, sizeof(*database));
	if (database == NULL)
		return STATUS_NO_MEMORY;
	enum status status = connection_open(&database->connection, settings, error);
	if (status == STATUS_OK)
		status = postgres_migrate(&database->connection, error);
	if (status != STATUS_OK) {
		postgres_close(database);
		return status;
	}
	database->remembered_by = database->connection.serial;
	*into = database;
	return STATUS_OK;
}

/* --- reading */

enum status postgres_visit(PGresult *result, record_visit *visit, void *context)
{
	enum status status = STATUS_OK;
	for (int row = 0; row < PQntuples(result) && status == STATUS_OK; row++) {
		struct record record = {
			.ctx = result_text(result, row, 0), .id = result_text(result, row, 2), .body = result_text(result, row, 4)};
		/* one of a newer program is not ours to judge */
		if (record_kind_find(result_text(result, row, 1), &record.kind) &&
			result_number(result, row, 3, &record.revision) && !visit(context, &record))
			status = STATUS_NO_MEMORY;
	}
	PQclear(result);
	return status;
}

static enum status ask_rows(struct database *database, struct question *question, record_visit *visit, void *context)
{
	enum status status = connection_ask(&database->connection, question, 1);
	return status == STATUS_OK ? postgres_visit(question->result, visit, context) : status;
}

/* A server that knows less than was acknowledged (an old copy took over) must not be written to: what is in memory and
 * what is stored have parted. A restart reads what there is. */
static enum status check_newest(struct database *database, int64_t newest)
{
	if (newest >= database->seen)
		return STATUS_OK;
	if (database->connection.is_healthy)
		LOG(ERROR, "store.went_back", log_number("revision", newest), log_number("expected", database->seen));
	database->connection.is_healthy = false;
	return STATUS_UNAVAILABLE;
}

static const struct statement newest_revision = {.sql = "SELECT value FROM meta WHERE name = 'revision'"},
							  pruned_revision = {.sql = "SELECT value FROM meta WHERE name = 'pruned'"};

/* Answers to these two. */
static enum status read_counters(struct database *database, const struct question *answered, int64_t *newest)
{
	bool is_read = PQntuples(answered[0].result) == 1 && result_number(answered[0].result, 0, 0, newest) &&
				   PQntuples(answered[1].result) == 1 && result_number(answered[1].result, 0, 0, &database->pruned);
	return is_read ? check_newest(database, *newest) : STATUS_UNAVAILABLE;
}

static enum status postgres_load(void *object, record_visit *visit, void *context, int64_t *revision)
{
	static const struct statement of_kind = {.sql = "SELECT ctx, kind, id, revision, body FROM record WHERE kind = $1 "
													"AND body IS NOT NULL ORDER BY revision"};
	struct database *database = object;
	struct question counters[] = {{.statement = &newest_revision}, {.statement = &pruned_revision}};
	int64_t patience_ms = database->connection.patience_ms;
	/* all there is may take its time; so may we, for no lock is held */
	enum status status =
		connection_run(&database->connection, "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL statement_timeout = 0; "
											  "SET LOCAL idle_in_transaction_session_timeout = 0; "
											  /* of a counter that was set back by hand; else there are none */
											  "DELETE FROM trail WHERE last > (SELECT value FROM meta "
											  "WHERE name = 'revision')");
	database->connection.patience_ms = LOAD_MS;
	for (int kind = 0; kind < RECORD_KIND_COUNT && status == STATUS_OK; kind++) {
		struct question question = {.statement = &of_kind};
		if (!record_kind_is_loaded((enum record_kind)kind))
			continue;
		parameters_text(&question.parameters, text_of(record_kind_name((enum record_kind)kind)));
		status = ask_rows(database, &question, visit, context);
	}
	if (status == STATUS_OK)
		status = connection_ask(&database->connection, counters, 2);
	if (status == STATUS_OK) {
		status = read_counters(database, counters, revision);
		question_free(counters, 2);
	}
	if (status == STATUS_OK)
		database->seen = *revision;
	database->connection.patience_ms = patience_ms;
	connection_run(&database->connection, "COMMIT");
	return status;
}

static void postgres_told(void *object, const struct record *record)
{
	memory_note(&((struct database *)object)->memory, record);
}

/* All that is newer, by a look at everything: somebody has left no trail. What is committed behind the counter is told,
 * and then asked for again, never left out. */
static enum status visit_newer(struct database *database, int64_t after, record_visit *visit, void *context)
{
	static const struct statement newer = {
		.sql = "SELECT ctx, kind, id, revision, body FROM record WHERE revision > $1::bigint ORDER BY revision"};
	struct question question = {.statement = &newer};
	parameters_number(&question.parameters, after);
	return ask_rows(database, &question, visit, context);
}

/* What the trail names, as it is now. What has changed beyond it meanwhile is left for the next look, with all that was
 * changed together with it. */
static enum status visit_trail(
	struct database *database, const struct trail *trail, int64_t after, record_visit *visit, void *context)
{
	/* each key is one look into the index; a record that was changed often comes once */
	static const struct statement named = {
		.sql = "SELECT DISTINCT ON (revision) found.* FROM unnest($1::text[], $2::text[], $3::text[]) "
			   "AS wanted (ctx, kind, id), LATERAL (SELECT ctx, kind, id, revision, body FROM record "
			   "WHERE ctx = wanted.ctx AND kind = wanted.kind AND id = wanted.id OFFSET 0) AS found "
			   "WHERE revision > $4::bigint AND revision <= $5::bigint ORDER BY revision"};
	struct question question = {.statement = &named};
	for (int i = 0; i < 3; i++)
		parameters_text(&question.parameters, buffer_text(&trail->arrays[i]));
	parameters_number(&question.parameters, after);
	parameters_number(&question.parameters, trail->covered);
	return trail->count == 0 ? STATUS_OK : ask_rows(database, &question, visit, context);
}

static enum status look(struct database *database, int64_t after, record_visit *visit, void *context, int64_t *revision)
{
	struct question questions[] = {
		{.statement = &newest_revision}, {.statement = &pruned_revision}, trail_ask(after, INT64_MAX)};
	struct trail trail = {.count = 0};
	int64_t newest = after;
	enum status status = connection_ask(&database->connection, questions, 3);
	if (status != STATUS_OK)
		return status;
	status = read_counters(database, questions, &newest);
	if (status == STATUS_OK && after < database->pruned)
		status = STATUS_STOPPED;
	if (status == STATUS_OK)
		status = trail_read(questions[2].result, after, &trail);
	question_free(questions, 3);
	if (status != STATUS_OK)
		return status;
	status = trail.covered < newest ? visit_newer(database, after, visit, context)
									: visit_trail(database, &trail, after, visit, context);
	if (status == STATUS_OK)
		database->seen = *revision = trail.covered < newest ? newest : trail.covered;
	trail_free(&trail);
	return status;
}

static enum status postgres_poll(void *object, int64_t after, record_visit *visit, void *context, int64_t *revision)
{
	struct database *database = object;
	struct connection *connection = &database->connection;
	/* inside a transaction a new connection would be outside it */
	enum status status = database->is_writing ? STATUS_OK : connection_come_back(connection);
	if (status != STATUS_OK)
		return status;
	if (PQconsumeInput(connection->handle) == 0) {
		connection->is_healthy = false;
		return STATUS_UNAVAILABLE;
	}
	for (PGnotify *notice; (notice = PQnotifies(connection->handle)) != NULL; PQfreemem(notice))
		connection->has_notice = connection->has_notice || notice->be_pid != PQbackendPID(connection->handle);
	if (!connection->has_notice)
		return STATUS_OK;
	status = look(database, after, visit, context, revision);
	connection->has_notice = status != STATUS_OK;
	return status;
}

/* --- writing */

static void roll_back(struct database *database)
{
	database->is_writing = false;
	database->pruned = database->pruned_before;
	batch_clear(&database->batch);
	connection_run(&database->connection, "ROLLBACK");
}

/* The counter's lock: whoever commits later has the higher revisions. */
static enum status begin(struct database *database)
{
	struct question questions[] = {
		{.statement = &postgres_statements[STATEMENT_BEGIN]}, {.statement = &postgres_statements[STATEMENT_LOCK]}};
	enum status status = connection_come_back(&database->connection);
	if (status == STATUS_OK)
		status = connection_ask(&database->connection, questions, 2);
	if (status != STATUS_OK)
		return status;
	bool is_read = PQntuples(questions[1].result) == 1 && result_number(questions[1].result, 0, 0, &database->started);
	question_free(questions, 2);
	return is_read ? check_newest(database, database->started) : STATUS_UNAVAILABLE;
}

static enum status postgres_begin(void *object)
{
	struct database *database = object;
	struct connection *connection = &database->connection;
	enum status status = begin(database);
	if (status != STATUS_OK && connection_is_lost(connection)) /* while idle: nothing was under way, so once more */
		status = begin(database);
	if (status != STATUS_OK) {
		if (!connection_is_lost(connection))
			roll_back(database);
		return status;
	}
	database->written = database->started;
	buffer_clear(&database->keys);
	database->pruned_before = database->pruned;
	batch_clear(&database->batch);
	connection->has_notice = connection->has_notice || database->started != database->seen;
	database->is_writing = true;
	return STATUS_OK;
}

/* --- tombstones */

/* Those that the trail names, and the trail itself up to there; or, where it has a gap, those that are found by a look
 * at everything. */
static enum status prune_until(struct database *database, const struct trail *trail, int64_t until)
{
	static const struct statement
		named = {.sql = "DELETE FROM record WHERE ctid = ANY(ARRAY(SELECT (SELECT ctid FROM record WHERE ctx = "
						"gone.ctx AND "
						"kind = gone.kind AND id = gone.id AND body IS NULL AND revision <= $4::bigint) "
						"FROM unnest($1::text[], $2::text[], $3::text[]) AS gone (ctx, kind, id)))"},
		all = {.sql = "DELETE FROM record WHERE body IS NULL AND revision <= $1::bigint"},
		followed = {.sql = "DELETE FROM trail WHERE last <= $1::bigint"},
		counter = {.sql = "UPDATE meta SET value = greatest(value, $1::bigint) "
						  "WHERE name = 'pruned'"};
	bool is_covered = trail->covered >= until;
	struct question questions[] = {
		{.statement = is_covered ? &named : &all}, {.statement = &followed}, {.statement = &counter}};
	for (int i = 0; i < 3 && is_covered; i++)
		parameters_text(&questions[0].parameters, buffer_text(&trail->arrays[i]));
	for (int i = 0; i < 3; i++)
		parameters_number(&questions[i].parameters, until);
	enum status status = connection_ask(&database->connection, questions, 3);
	question_free(questions, 3);
	return status;
}

static enum status postgres_prune(void *object, int64_t keep)
{
	struct database *database = object;
	int64_t until = database->written - keep;
	if (until < database->pruned + (keep < PRUNE_STEP ? 1 : PRUNE_STEP))
		return STATUS_OK;
	until = until > database->pruned + PRUNE_MOST ? database->pruned + PRUNE_MOST : until;
	struct question question = trail_ask(database->pruned, until);
	struct trail trail = {.count = 0};
	enum status status = connection_ask(&database->connection, &question, 1);
	if (status == STATUS_OK)
		status = trail_read(question.result, database->pruned, &trail);
	question_free(&question, 1);
	if (status == STATUS_OK)
		status = prune_until(database, &trail, until);
	if (status == STATUS_OK)
		database->pruned = until;
	trail_free(&trail);
	return status;
}

/* --- the end */

/* The rows, the counter, the trail and the end, in one round trip; very many new rows in one of their own before. */
static enum status write_and_commit(struct database *database)
{
	struct writes writes;
	struct question questions[WRITES_MAX + 4];
	size_t count = 0;
	enum status status = postgres_writes(&database->batch, &writes);
	for (; count < writes.count; count++)
		questions[count] = writes.questions[count];
	if (database->written != database->started) {
		struct question counter = {.statement = &postgres_statements[STATEMENT_ADVANCE]};
		parameters_number(&counter.parameters, database->written);
		questions[count++] = counter;
		questions[count++] = trail_question(&database->keys, database->started + 1, database->written);
		questions[count++] = (struct question){.statement = &postgres_statements[STATEMENT_NOTIFY]};
	}
	questions[count++] = (struct question){.statement = &postgres_statements[STATEMENT_COMMIT]};
	if (status == STATUS_OK && writes.copy.length > 0)
		status = connection_copy(&database->connection,
			"COPY record (ctx, kind, id, revision, body) FROM STDIN (FORMAT binary)", buffer_text(&writes.copy));
	if (status == STATUS_OK)
		status = connection_ask(&database->connection, questions, count);
	/* a transaction that had failed answers COMMIT with ROLLBACK, and no error */
	if (status == STATUS_OK && strcmp(PQcmdStatus(questions[count - 1].result), "COMMIT") != 0)
		status = STATUS_UNAVAILABLE;
	question_free(questions, count);
	postgres_writes_free(&writes);
	return status;
}

static enum status postgres_commit(void *object)
{
	struct database *database = object;
	struct connection *connection = &database->connection;
	enum status status = write_and_commit(database);
	database->is_doubtful = status == STATUS_CONFLICT;
	if (status != STATUS_OK) {
		roll_back(database);
		/* in doubt: if it did commit, the next look finds it */
		connection->has_notice = connection->has_notice || status == STATUS_UNAVAILABLE;
	} else {
		database->seen = database->written;
	}
	batch_clear(&database->batch);
	database->is_writing = false;
	connection->is_healthy = !connection_is_lost(connection);
	return status;
}

static void postgres_rollback(void *object)
{
	roll_back(object);
}

static enum status postgres_list(void *object, struct text ctx, enum record_kind kind, struct text after, size_t limit,
	record_visit *visit, void *context)
{
	static const struct statement list = {
		.sql = "SELECT ctx, kind, id, revision, body FROM record WHERE ctx = $1 AND kind = $2 AND id > $3 AND "
			   "body IS NOT NULL ORDER BY id LIMIT $4::bigint"};
	struct database *database = object;
	struct question question = {.statement = &list};
	parameters_text(&question.parameters, ctx);
	parameters_text(&question.parameters, text_of(record_kind_name(kind)));
	parameters_text(&question.parameters, after.bytes == NULL ? TEXT("") : after);
	parameters_number(&question.parameters, (int64_t)limit);
	enum status status = connection_come_back(&database->connection);
	return status == STATUS_OK ? ask_rows(database, &question, visit, context) : status;
}

static enum status postgres_read(
	void *object, struct text ctx, enum record_kind kind, struct text ids, record_visit *visit, void *context)
{
	static const struct statement read = {
		.sql = "SELECT ctx, kind, id, revision, body FROM record WHERE ctx = $1 AND kind = $2 AND "
			   "id IN (SELECT jsonb_array_elements_text($3::text::jsonb)) AND body IS NOT NULL"};
	struct database *database = object;
	struct question question = {.statement = &read};
	parameters_text(&question.parameters, ctx);
	parameters_text(&question.parameters, text_of(record_kind_name(kind)));
	parameters_text(&question.parameters, ids);
	enum status status = connection_come_back(&database->connection);
	return status == STATUS_OK ? ask_rows(database, &question, visit, context) : status;
}

static bool postgres_is_healthy(const void *object)
{
	return ((const struct database *)object)->connection.is_healthy;
}

const struct backend backend_postgres = {.open = postgres_open,
	.close = postgres_close,
	.load = postgres_load,
	.told = postgres_told,
	.begin = postgres_begin,
	.gather = postgres_gather,
	.commit = postgres_commit,
	.rollback = postgres_rollback,
	.poll = postgres_poll,
	.prune = postgres_prune,
	.save = postgres_save,
	.release = postgres_release,
	.find = postgres_find,
	.write = postgres_write,
	.drop = postgres_drop,
	.of_ctx = postgres_of_ctx,
	.list = postgres_list,
	.read = postgres_read,
	.is_healthy = postgres_is_healthy};
