/* The store on SQLite: the shared suite, and what only a file can suffer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/store_suite.h"

static char folder[64], file[96];
static sqlite3 *beside;

static int suite_setup(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/celld-store-XXXXXX");
	if (mkdtemp(folder) == NULL)
		return -1;
	snprintf(file, sizeof(file), "%s/cell.db", folder);
	suite_settings = (struct store_settings){
		.backend = STORE_SQLITE, .file = file, .queued_transactions = 4096, .poll_ms = 10, .statement_ms = 5000};
	return 0;
}

static int suite_teardown(void **state)
{
	(void)state;
	char command[128];
	sqlite3_close(beside);
	beside = NULL;
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command); /* NOLINT: a test's own folder */
}

static void suite_sql(const char *sql)
{
	if (beside == NULL)
		assert_int_equal(sqlite3_open(file, &beside), SQLITE_OK);
	assert_int_equal(sqlite3_exec(beside, sql, NULL, NULL, NULL), SQLITE_OK);
}

static long suite_count(const char *sql)
{
	sqlite3_stmt *statement = NULL;
	suite_sql("SELECT 1");
	assert_int_equal(sqlite3_prepare_v2(beside, sql, -1, &statement, NULL), SQLITE_OK);
	long count = sqlite3_step(statement) == SQLITE_ROW ? (long)sqlite3_column_int64(statement, 0) : -1;
	sqlite3_finalize(statement);
	return count;
}

static void suite_lock(bool is_held)
{
	suite_sql(is_held ? "BEGIN IMMEDIATE" : "ROLLBACK");
}

static void fill(size_t from, const char *bytes, size_t length)
{
	int descriptor = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(pwrite(descriptor, bytes, length, (off_t)from), length);
	close(descriptor);
}

static void files_that_cannot_be_opened_are_named(void **state)
{
	(void)state;
	suite_settings.file = NULL;
	assert_open_fails(STATUS_INVALID, "store.file");
	suite_settings.file = folder; /* a folder */
	assert_open_fails(STATUS_UNAVAILABLE, folder);
	char missing[128];
	snprintf(missing, sizeof(missing), "%s/missing/cell.db", folder);
	suite_settings.file = missing;
	assert_open_fails(STATUS_UNAVAILABLE, missing);
	suite_settings.file = file;
	char garbage[8192];
	memset(garbage, 'g', sizeof(garbage));
	fill(0, garbage, sizeof(garbage));
	assert_open_fails(STATUS_UNAVAILABLE, "not a database");
}

/* As somebody who may only read, also when the test runs as root. */
static void without_write_permission_it_does_not_start(void **state)
{
	(void)state;
	suite_stop(suite_start());
	uid_t user = geteuid();
	assert_int_equal(chmod(file, 0444) | chmod(folder, 0555), 0);
	if (user == 0)
		assert_int_equal(seteuid(65534), 0);
	assert_open_fails(STATUS_UNAVAILABLE, "readonly");
	if (user == 0)
		assert_int_equal(seteuid(0), 0);
	assert_int_equal(chmod(file, 0600) | chmod(folder, 0700), 0);
	suite_stop(suite_start());
}

static void a_damaged_page_is_an_error_and_not_an_empty_cell(void **state)
{
	(void)state;
	struct seen *seen = suite_start();
	assert_int_equal(participant(seen, A), STATUS_OK);
	for (int i = 0; i < 200; i++) {
		char id[16];
		snprintf(id, sizeof(id), "%d", i);
		assert_int_equal(put(seen, A, RECORD_DATASET, id, "{\"a\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}"), STATUS_OK);
	}
	suite_stop(seen);
	struct stat found;
	assert_int_equal(stat(file, &found), 0);
	char garbage[4096];
	memset(garbage, 0xee, sizeof(garbage));
	for (off_t at = 4096; at < found.st_size; at += 4096)
		fill((size_t)at, garbage, sizeof(garbage)); /* all but the schema's page */
	struct store *store = NULL;
	struct buffer error = {0};
	enum status status = store_open(&suite_settings, NULL, &store, &error);
	if (status == STATUS_OK)
		status = store_load(store, &error);
	assert_int_equal(status, STATUS_UNAVAILABLE);
	assert_non_null(strstr(error.bytes, "store: "));
	buffer_free(&error);
	store_close(store);
}

static void set_file_limit(rlim_t bytes)
{
	struct rlimit limit;
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The disk is full at every possible write: what was acknowledged stays, nothing else comes, and space heals. */
static void a_full_disk_refuses_whole_transactions(void **state)
{
	(void)state;
	static char large[20000];
	memset(large, 'x', sizeof(large) - 1);
	signal(SIGXFSZ, SIG_IGN);
	for (rlim_t room = 0; room < 60000; room += 2777) {
		struct seen *seen = suite_start();
		assert_int_equal(put(seen, "", RECORD_KEY, "small", "1"), STATUS_OK);
		char wal[112], line[256];
		struct stat found;
		snprintf(wal, sizeof(wal), "%s-wal", file);
		assert_int_equal(stat(wal, &found), 0);
		set_file_limit((rlim_t)found.st_size + room);
		struct outcome *outcomes[6];
		enum status statuses[6];
		size_t length = (size_t)snprintf(line, sizeof(line), "key . small 1;");
		for (int i = 0; i < 6; i++) {
			struct transaction *transaction = suite_put("", RECORD_FLOW, "first", large, REVISION_ANY);
			char id[8];
			snprintf(id, sizeof(id), "%d", i);
			assert_true(
				transaction_put(transaction, TEXT(""), RECORD_REVOCATION, text_of(id), TEXT("1"), REVISION_ANY));
			outcomes[i] = suite_submit(seen, transaction);
		}
		bool is_any = false, has_failed = false;
		for (int i = 0; i < 6; i++) {
			statuses[i] = suite_wait(outcomes[i], NULL);
			assert_true(statuses[i] == STATUS_OK || statuses[i] == STATUS_UNAVAILABLE);
			is_any = is_any || statuses[i] == STATUS_OK;
			has_failed = has_failed || statuses[i] != STATUS_OK;
		}
		assert_true(has_failed || room > 20000);
		set_file_limit(RLIM_INFINITY);
		wait_healthy(seen, true);
		if (is_any)
			length += (size_t)snprintf(line + length, sizeof(line) - length, "flow . first %.20s;", large);
		for (int i = 0; i < 6; i++) {
			if (statuses[i] == STATUS_OK)
				length += (size_t)snprintf(line + length, sizeof(line) - length, "revocation . %d 1;", i);
		}
		suite_stop(seen);
		assert_stored(line);
		unlink(file);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SUITE_CASES,
		SUITE_KNOWN_CASES,
		SUITE_CASE(files_that_cannot_be_opened_are_named),
		SUITE_CASE(without_write_permission_it_does_not_start),
		SUITE_CASE(a_damaged_page_is_an_error_and_not_an_empty_cell),
		SUITE_CASE(a_full_disk_refuses_whole_transactions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
