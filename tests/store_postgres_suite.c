/* The store on PostgreSQL: the shared suite, and what only a server can do to it. Takes the connection string of an
 * empty database from CELLD_POSTGRES; tests/e2e/test_store_postgres.py runs it against a server of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libpq-fe.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/store_suite.h"

static char file[64];
static PGconn *beside;

static void write_options(const char *options, mode_t mode)
{
	FILE *stream = fopen(file, "w");
	assert_non_null(stream);
	assert_int_equal(fchmod(fileno(stream), mode), 0);
	fprintf(stream, "%s\n", options);
	fclose(stream);
}

static void suite_sql(const char *sql)
{
	PGresult *result = PQexec(beside, sql);
	ExecStatusType kind = PQresultStatus(result);
	PQclear(result);
	if (kind != PGRES_COMMAND_OK && kind != PGRES_TUPLES_OK)
		fail_msg("%s: %s", sql, PQerrorMessage(beside));
}

static long suite_count(const char *sql)
{
	PGresult *result = PQexec(beside, sql);
	long count = PQntuples(result) == 1 ? strtol(PQgetvalue(result, 0, 0), NULL, 10) : -1;
	PQclear(result);
	return count;
}

static int suite_setup(void **state)
{
	(void)state;
	snprintf(file, sizeof(file), "/tmp/celld-postgres-%d", (int)getpid());
	beside = PQconnectdb(getenv("CELLD_POSTGRES")); /* NOLINT: nobody else's thread */
	if (PQstatus(beside) != CONNECTION_OK)
		return -1;
	suite_sql("SET client_min_messages = warning; DROP TABLE IF EXISTS record, meta, trail");
	write_options(getenv("CELLD_POSTGRES"), 0600); /* NOLINT */
	suite_settings = (struct store_settings){.backend = STORE_POSTGRES,
		.connection_file = file,
		.queued_transactions = 4096,
		.poll_ms = 10,
		.statement_ms = 5000};
	return 0;
}

static int suite_teardown(void **state)
{
	(void)state;
	PQfinish(beside);
	return unlink(file);
}

static void suite_lock(bool is_held)
{
	suite_sql(is_held ? "BEGIN; SELECT value FROM meta FOR UPDATE" : "ROLLBACK");
}

static void kill_others(void)
{
	suite_sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
			  "WHERE datname = current_database() AND pid <> pg_backend_pid()");
}

static void connection_files_are_checked(void **state)
{
	(void)state;
	write_options("host=/nowhere", 0644);
	assert_open_fails(STATUS_INVALID, "chmod 600");
	write_options("host=/nowhere", 0600);
	assert_open_fails(STATUS_UNAVAILABLE, "/nowhere");
	write_options("no such option", 0600);
	assert_open_fails(STATUS_UNAVAILABLE, "store: PostgreSQL: ");
	suite_settings.connection_file = NULL;
	assert_open_fails(STATUS_INVALID, "store.connection_file");
}

/* Between two writes nothing is lost: the next one finds a new connection. Changes of others meanwhile are found. */
static void a_lost_idle_connection_is_made_again(void **state)
{
	(void)state;
	suite_settings.poll_ms = 60000; /* the write itself must notice */
	struct seen *seen = suite_start();
	assert_int_equal(put(seen, "", RECORD_KEY, "1", "1"), STATUS_OK);
	kill_others();
	suite_sql("INSERT INTO record VALUES ('', 'key', '2', 2, '2'); UPDATE meta SET value = 2 WHERE name = 'revision'");
	assert_int_equal(put(seen, "", RECORD_KEY, "3", "3"), STATUS_OK);
	assert_told(seen, "key . 1 1;key . 2 2;key . 3 3;");
	assert_true(store_is_healthy(seen->store));
	suite_stop(seen);
}

/* Another server may stand behind the next connection: what the last one said is not relied on. */
static void what_was_known_of_a_lost_connection_is_asked_again(void **state)
{
	(void)state;
	struct seen *seen = suite_start();
	int64_t revisions[2];
	assert_int_equal(change(seen, suite_put("", RECORD_KEY, "1", "1", REVISION_ABSENT), &revisions[0]), STATUS_OK);
	assert_int_equal(change(seen, suite_put("", RECORD_KEY, "2", "1", REVISION_ABSENT), &revisions[1]), STATUS_OK);
	kill_others();
	suite_sql("DELETE FROM record WHERE id = '1'");
	assert_int_equal(change(seen, suite_put("", RECORD_KEY, "1", "2", revisions[0]), NULL), STATUS_NOT_FOUND);
	assert_int_equal(change(seen, suite_put("", RECORD_KEY, "2", "2", revisions[1]), NULL), STATUS_OK);
	assert_int_equal(change(seen, suite_put("", RECORD_KEY, "1", "3", REVISION_ABSENT), NULL), STATUS_OK);
	suite_stop(seen);
	assert_stored("key . 2 2;key . 1 3;");
}

/* The trail is as long as tombstones are remembered, and who writes without it is heard of all the same. */
static void the_trail_is_short_and_its_gaps_are_seen(void **state)
{
	(void)state;
	enum { KEEP = 20, ROUNDS = 60 };
	suite_settings.tombstones = KEEP;
	struct seen *seen = suite_start();
	for (int i = 0; i < ROUNDS; i++)
		assert_int_equal(put(seen, "", RECORD_KEY, "k", "1"), STATUS_OK);
	assert_true(suite_count("SELECT count(*) FROM trail") <= KEEP + 1);
	suite_sql("INSERT INTO record VALUES ('', 'flow', 'silent', 61, '1'), ('', 'flow', 'gone', 62, NULL);"
			  "UPDATE meta SET value = 62 WHERE name = 'revision'; NOTIFY celld_records");
	wait_told(seen, 61);
	for (int i = 0; i < ROUNDS; i++)
		assert_int_equal(put(seen, "", RECORD_KEY, "k", "1"), STATUS_OK);
	assert_int_equal(suite_count("SELECT count(*) FROM record WHERE body IS NULL"), 0);
	suite_stop(seen);
	suite_settings.tombstones = 0;
	assert_stored("key . k 1;flow . silent 1;");
}

/* Connections die at any moment of many writes: each acknowledged one is stored, and the listener knows the rest. */
static void connections_lost_amid_writes_lose_nothing_acknowledged(void **state)
{
	(void)state;
	enum { ROUNDS = 150 };
	static bool is_stored[ROUNDS];
	struct seen *seen = suite_start();
	unsigned failures = 0;
	for (int i = 0; i < ROUNDS; i++) {
		char id[16];
		snprintf(id, sizeof(id), "<%d>", i);
		struct outcome *outcome = suite_submit(seen, suite_put("", RECORD_KEY, id, "1", REVISION_ANY));
		if (i % 5 == 2)
			kill_others();
		enum status status = suite_wait(outcome, NULL);
		assert_true(status == STATUS_OK || status == STATUS_UNAVAILABLE);
		is_stored[i] = status == STATUS_OK;
		failures += status != STATUS_OK;
	}
	wait_healthy(seen, true);
	assert_int_equal(put(seen, "", RECORD_KEY, "end", "1"), STATUS_OK);
	struct seen *fresh = suite_start();
	for (int i = 0; i < ROUNDS; i++) {
		char part[32];
		snprintf(part, sizeof(part), "key . <%d> 1;", i);
		bool in_database = strstr(fresh->line, part) != NULL, is_told = strstr(seen->line, part) != NULL;
		if ((is_stored[i] && !in_database) || in_database != is_told)
			fail_msg("%d: acknowledged %d, stored %d, told %d", i, is_stored[i], in_database, is_told);
	}
	print_message("           %u of %u writes were refused\n", failures, (unsigned)ROUNDS);
	suite_stop(fresh);
	suite_stop(seen);
}

static void an_aborted_write_holds_no_lock(void **state)
{
	(void)state;
	suite_settings.statement_ms = 100;
	struct seen *seen = suite_start();
	suite_sql("BEGIN; LOCK TABLE record IN EXCLUSIVE MODE");
	assert_int_equal(put(seen, "", RECORD_KEY, "during", "1"), STATUS_UNAVAILABLE);
	suite_sql("UPDATE meta SET value = value WHERE name = 'revision'"); /* would wait for ever */
	suite_sql("COMMIT");
	assert_int_equal(put(seen, "", RECORD_KEY, "after", "1"), STATUS_OK);
	suite_stop(seen);
	assert_stored("key . after 1;");
}

static void a_server_that_forgot_is_not_written_to(void **state)
{
	(void)state;
	struct seen *seen = suite_start();
	assert_int_equal(put(seen, "", RECORD_KEY, "1", "1"), STATUS_OK);
	assert_int_equal(put(seen, "", RECORD_KEY, "2", "1"), STATUS_OK);
	suite_sql("DELETE FROM record WHERE id = '2'; UPDATE meta SET value = 1 WHERE name = 'revision'");
	assert_int_equal(put(seen, "", RECORD_KEY, "3", "1"), STATUS_UNAVAILABLE);
	assert_false(store_is_healthy(seen->store));
	suite_stop(seen);
	seen = suite_start();
	assert_int_equal(put(seen, "", RECORD_KEY, "3", "1"), STATUS_OK);
	suite_stop(seen);
	assert_stored("key . 1 1;key . 3 1;");
}

static void bytes_that_are_no_text_spoil_only_their_transaction(void **state)
{
	(void)state;
	struct seen *seen = suite_open();
	struct outcome *before = suite_submit(seen, suite_put("", RECORD_KEY, "1", "1", REVISION_ANY));
	struct outcome *wrong = suite_submit(seen, suite_put("", RECORD_KEY, "\xff", "1", REVISION_ANY));
	struct outcome *after = suite_submit(seen, suite_put("", RECORD_KEY, "2", "1", REVISION_ANY));
	suite_load(seen);
	assert_int_equal(suite_wait(before, NULL), STATUS_OK);
	assert_int_equal(suite_wait(wrong, NULL), STATUS_INVALID);
	assert_int_equal(suite_wait(after, NULL), STATUS_OK);
	suite_stop(seen);
}

/* So many that they are copied: one that is there already, and one that is no text. */
static void of_many_new_ones_only_the_wrong_are_refused(void **state)
{
	(void)state;
	enum { COUNT = 200, THERE = 70, WRONG = 140 };
	struct seen *seen = suite_start();
	struct outcome *outcomes[COUNT];
	assert_int_equal(put(seen, "", RECORD_RECEIPT, "70", "0"), STATUS_OK);
	suite_stop(seen);
	seen = suite_open();
	for (int i = 0; i < COUNT; i++) {
		char id[16];
		snprintf(id, sizeof(id), "%d", i);
		outcomes[i] = suite_submit(seen, suite_put("", RECORD_RECEIPT, i == WRONG ? "\xff" : id, "1", REVISION_ABSENT));
	}
	suite_load(seen);
	for (int i = 0; i < COUNT; i++) {
		enum status wanted = i == THERE ? STATUS_CONFLICT : i == WRONG ? STATUS_INVALID : STATUS_OK;
		assert_int_equal(suite_wait(outcomes[i], NULL), wanted);
	}
	assert_true(store_is_healthy(seen->store));
	suite_stop(seen);
	assert_int_equal(suite_count("SELECT count(*) FROM record WHERE kind = 'receipt' AND body = '1'"), COUNT - 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SUITE_CASES,
		SUITE_KNOWN_CASES,
		SUITE_CASE(connection_files_are_checked),
		SUITE_CASE(a_lost_idle_connection_is_made_again),
		SUITE_CASE(what_was_known_of_a_lost_connection_is_asked_again),
		SUITE_CASE(the_trail_is_short_and_its_gaps_are_seen),
		SUITE_CASE(connections_lost_amid_writes_lose_nothing_acknowledged),
		SUITE_CASE(an_aborted_write_holds_no_lock),
		SUITE_CASE(a_server_that_forgot_is_not_written_to),
		SUITE_CASE(bytes_that_are_no_text_spoil_only_their_transaction),
		SUITE_CASE(of_many_new_ones_only_the_wrong_are_refused),
	};
	if (getenv("CELLD_POSTGRES") == NULL) /* NOLINT */
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
