/* The cases every database of the store must pass; a part of store_suite.h. */
#pragma once

static void waiting_transactions_share_a_commit_and_end_in_order(void **state)
{
	(void)state;
	enum { COUNT = 300 };
	struct outcome *outcomes[COUNT];
	struct seen *seen = suite_open();
	for (int i = 0; i < COUNT; i++) {
		char id[16];
		snprintf(id, sizeof(id), "r%d", i);
		outcomes[i] = suite_submit(seen, suite_put("", RECORD_KEY, id, "{}", REVISION_ABSENT));
	}
	suite_load(seen);
	for (int i = 0; i < COUNT; i++) {
		int64_t revision;
		assert_int_equal(suite_wait(outcomes[i], &revision), STATUS_OK);
		assert_int_equal(revision, i + 1);
	}
	assert_int_equal(seen->told, COUNT);
	assert_int_equal(seen->batches, 1 + 2); /* the load, then 256 and the rest */
	suite_stop(seen);
}

static void what_is_expected_decides(void **state)
{
	(void)state;
	enum { FIRST = 1000 }; /* stands for the revision of the first put */
	static const struct {
		bool is_delete;
		const char *id;
		int64_t expected;
		enum status status;
	} cases[] = {
		{false, "a", REVISION_ABSENT, STATUS_CONFLICT}, {false, "a", FIRST + 7, STATUS_CONFLICT},
		{true, "a", FIRST + 7, STATUS_CONFLICT}, {false, "none", FIRST, STATUS_NOT_FOUND},
		{true, "none", REVISION_ANY, STATUS_NOT_FOUND}, {true, "none", FIRST, STATUS_NOT_FOUND},
		{false, "a", FIRST, STATUS_OK}, {false, "a", FIRST, STATUS_CONFLICT}, /* no longer */
		{false, "a", REVISION_ANY, STATUS_OK}, {true, "a", REVISION_ANY, STATUS_OK},
		{true, "a", REVISION_ANY, STATUS_NOT_FOUND}, {false, "a", REVISION_ABSENT, STATUS_OK}, /* over the tombstone */
	};
	struct seen *seen = suite_start();
	int64_t first;
	assert_int_equal(suite_wait(suite_submit(seen, suite_put("", RECORD_FLOW, "a", "1", 0)), &first), STATUS_OK);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct transaction *transaction = transaction_new();
		int64_t expected = cases[i].expected >= FIRST ? cases[i].expected - FIRST + first : cases[i].expected;
		struct text id = text_of(cases[i].id);
		assert_true(cases[i].is_delete ? transaction_delete(transaction, TEXT(""), RECORD_FLOW, id, expected)
									   : transaction_put(transaction, TEXT(""), RECORD_FLOW, id, TEXT("2"), expected));
		enum status status = suite_wait(suite_submit(seen, transaction), NULL);
		if (status != cases[i].status)
			fail_msg("case %zu: %s", i, status_text(status));
	}
	assert_told(seen, "flow . a 1;flow . a 2;flow . a 2;flow . a -;flow . a 2;");
	suite_stop(seen);
}

static void a_record_that_is_only_expected_guards_the_others(void **state)
{
	(void)state;
	struct seen *seen = suite_start();
	int64_t first;
	assert_int_equal(suite_wait(suite_submit(seen, suite_put("", RECORD_FLOW, "a", "1", 0)), &first), STATUS_OK);
	const struct {
		const char *id;
		int64_t expected;
		enum status status;
	} cases[] = {{"a", first, STATUS_OK}, {"a", first + 1, STATUS_CONFLICT}, {"a", REVISION_ABSENT, STATUS_CONFLICT},
		{"none", REVISION_ABSENT, STATUS_OK}, {"none", first, STATUS_NOT_FOUND}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct transaction *transaction = suite_put("", RECORD_FLOW, "b", "1", REVISION_ANY);
		assert_true(transaction_expect(transaction, TEXT(""), RECORD_FLOW, text_of(cases[i].id), cases[i].expected));
		assert_int_equal(suite_wait(suite_submit(seen, transaction), NULL), cases[i].status);
	}
	assert_told(seen, "flow . a 1;flow . b 1;flow . b 1;");
	suite_stop(seen);
}

/* The same record several times in one commit, in one transaction and in several: each sees what came before it. */
static void a_record_may_change_often_in_one_commit(void **state)
{
	(void)state;
	struct seen *seen = suite_open();
	struct transaction *often = suite_put("", RECORD_FLOW, "a", "1", REVISION_ABSENT);
	assert_true(transaction_put(often, TEXT(""), RECORD_FLOW, TEXT("a"), TEXT("2"), REVISION_ANY));
	assert_true(transaction_delete(often, TEXT(""), RECORD_FLOW, TEXT("a"), REVISION_ANY));
	assert_true(transaction_put(often, TEXT(""), RECORD_FLOW, TEXT("a"), TEXT("3"), REVISION_ABSENT));
	struct transaction *receipts = suite_put("", RECORD_RECEIPT, "r", "1", REVISION_ANY);
	assert_true(transaction_delete(receipts, TEXT(""), RECORD_RECEIPT, TEXT("r"), REVISION_ANY));
	assert_true(transaction_put(receipts, TEXT(""), RECORD_RECEIPT, TEXT("s"), TEXT("1"), REVISION_ABSENT));
	/* refused as a whole: what it did before it was refused is undone, for those behind it too */
	struct transaction *refused = suite_put("", RECORD_FLOW, "a", "lost", REVISION_ANY);
	assert_true(transaction_delete(refused, TEXT(""), RECORD_FLOW, TEXT("b"), REVISION_ANY));
	struct outcome *outcomes[] = {suite_submit(seen, often), suite_submit(seen, receipts), suite_submit(seen, refused),
		suite_submit(seen, suite_put("", RECORD_FLOW, "a", "4", 4)),
		suite_submit(seen, suite_put("", RECORD_FLOW, "a", "5", REVISION_ABSENT))};
	static const enum status wanted[] = {STATUS_OK, STATUS_OK, STATUS_NOT_FOUND, STATUS_OK, STATUS_CONFLICT};
	suite_load(seen);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		assert_int_equal(suite_wait(outcomes[i], NULL), wanted[i]);
	assert_told(seen, "flow . a 1;flow . a 2;flow . a -;flow . a 3;flow . a 4;");
	suite_stop(seen);
	assert_stored("flow . a 4;");
}

/* What was refused half way has counted nothing: what others commit next is heard of. */
static void a_refusal_hides_nothing_of_others(void **state)
{
	(void)state;
	struct seen *seen = suite_start(), *other = suite_start();
	assert_int_equal(put(seen, "", RECORD_FLOW, "taken", "1"), STATUS_OK);
	struct transaction *half = suite_put("", RECORD_FLOW, "half", "1", REVISION_ANY);
	assert_true(transaction_put(half, TEXT(""), RECORD_FLOW, TEXT("more"), TEXT("1"), REVISION_ANY));
	assert_true(transaction_put(half, TEXT(""), RECORD_FLOW, TEXT("taken"), TEXT("2"), REVISION_ABSENT));
	assert_int_equal(suite_wait(suite_submit(seen, half), NULL), STATUS_CONFLICT);
	assert_int_equal(put(other, "", RECORD_FLOW, "theirs", "1"), STATUS_OK);
	assert_int_equal(put(seen, "", RECORD_FLOW, "ours", "1"), STATUS_OK);
	assert_told(seen, "flow . taken 1;flow . theirs 1;flow . ours 1;");
	suite_stop(other);
	suite_stop(seen);
}

static volatile sig_atomic_t ended;
static void suite_on_end(int number)
{
	(void)number;
	ended = 1;
}

/* What was deleted long ago leaves nothing; who was away meanwhile ends, for nobody can tell it any more. */
static void tombstones_go_and_who_missed_them_ends(void **state)
{
	(void)state;
	enum { KEEP = 20, ROUNDS = 60 };
	suite_settings.tombstones = KEEP;
	suite_settings.poll_ms = 60000; /* it looks when it writes */
	struct seen *away = suite_start();
	struct seen *seen = suite_start();
	assert_int_equal(put(seen, "", RECORD_FLOW, "stays", "1"), STATUS_OK);
	assert_int_equal(put(away, "", RECORD_FLOW, "also", "1"), STATUS_OK);
	for (int i = 0; i < ROUNDS; i++) {
		char id[16];
		snprintf(id, sizeof(id), "r%d", i);
		assert_int_equal(put(seen, "", RECORD_FLOW, id, "1"), STATUS_OK);
		struct transaction *gone = transaction_new();
		assert_true(transaction_delete(gone, TEXT(""), RECORD_FLOW, text_of(id), REVISION_ANY));
		assert_int_equal(suite_wait(suite_submit(seen, gone), NULL), STATUS_OK);
	}
	struct seen *fresh = suite_start(); /* who loads now knows all there is */
	assert_told(fresh, "flow . stays 1;flow . also 1;");
	assert_int_equal(put(fresh, "", RECORD_FLOW, "new", "1"), STATUS_OK);
	ended = 0;
	signal(SIGTERM, suite_on_end);
	assert_int_equal(put(away, "", RECORD_FLOW, "late", "1"), STATUS_UNAVAILABLE);
	signal(SIGTERM, SIG_DFL);
	assert_int_equal(ended, 1);
	assert_false(store_is_healthy(away->store));
	assert_true(store_is_healthy(seen->store));
	suite_stop(away);
	suite_stop(fresh);
	suite_stop(seen);
	assert_int_equal(suite_count("SELECT count(*) FROM record WHERE body IS NULL") <= KEEP, 1);
	suite_settings.tombstones = 0;
}

static void a_transaction_is_whole_and_its_neighbours_do_not_suffer(void **state)
{
	(void)state;
	struct seen *seen = suite_open();
	struct outcome *before = suite_submit(seen, suite_put("", RECORD_FLOW, "before", "1", REVISION_ANY));
	struct transaction *half = suite_put("", RECORD_FLOW, "half", "1", REVISION_ANY);
	assert_true(transaction_put(half, TEXT(""), RECORD_FLOW, TEXT("before"), TEXT("2"), REVISION_ABSENT));
	struct outcome *failed = suite_submit(seen, half);
	struct outcome *after = suite_submit(seen, suite_put("", RECORD_FLOW, "after", "1", REVISION_ANY));
	suite_load(seen);
	assert_int_equal(suite_wait(before, NULL), STATUS_OK);
	assert_int_equal(suite_wait(failed, NULL), STATUS_CONFLICT);
	assert_int_equal(suite_wait(after, NULL), STATUS_OK);
	assert_told(seen, "flow . before 1;flow . after 1;");
	suite_stop(seen);
	assert_stored("flow . before 1;flow . after 1;");
}

static void a_context_goes_with_all_its_records(void **state)
{
	(void)state;
	struct seen *seen = suite_start();
	assert_int_equal(put(seen, A, RECORD_DATASET, "d", "{}"), STATUS_NOT_FOUND); /* of nobody */
	assert_int_equal(participant(seen, A), STATUS_OK);
	assert_int_equal(participant(seen, B), STATUS_OK);
	assert_int_equal(put(seen, A, RECORD_DATASET, "d", "1"), STATUS_OK);
	assert_int_equal(put(seen, A, RECORD_FLOW, "f", "1"), STATUS_OK);
	assert_int_equal(put(seen, B, RECORD_DATASET, "d", "2"), STATUS_OK);
	struct transaction *transaction = transaction_new();
	assert_true(transaction_delete_ctx(transaction, TEXT(A)));
	assert_int_equal(suite_wait(suite_submit(seen, transaction), NULL), STATUS_OK);
	assert_non_null(strstr(seen->line, "participant a participant -;"));
	assert_non_null(strstr(seen->line, "dataset a d -;"));
	assert_non_null(strstr(seen->line, "flow a f -;"));
	/* who comes too late finds no owner, and one that comes back does not inherit */
	assert_int_equal(put(seen, A, RECORD_PARTICIPANT_CONFIG, "config", "{}"), STATUS_NOT_FOUND);
	assert_int_equal(participant(seen, A), STATUS_OK);
	suite_stop(seen);
	assert_stored("participant b participant {};participant a participant {};dataset b d 2;");
}

static void a_reload_tells_kind_by_kind_and_counts_on(void **state)
{
	(void)state;
	struct seen *seen = suite_start();
	assert_told(seen, "");
	assert_int_equal(put(seen, "", RECORD_REVOCATION, "r", "1"), STATUS_OK);
	assert_int_equal(participant(seen, B), STATUS_OK);
	assert_int_equal(put(seen, B, RECORD_FLOW, "f", "1"), STATUS_OK);
	assert_int_equal(participant(seen, A), STATUS_OK);
	assert_int_equal(put(seen, B, RECORD_KEY, "k", "1"), STATUS_OK);
	assert_int_equal(put(seen, B, RECORD_FLOW, "f", "2"), STATUS_OK);
	suite_stop(seen);
	assert_stored("participant b participant {};participant a participant {};key b k 1;flow b f 2;revocation . r 1;");
	seen = suite_start();
	int64_t revision;
	struct outcome *outcome = suite_submit(seen, suite_put("", RECORD_KEY, "next", "1", REVISION_ANY));
	assert_int_equal(suite_wait(outcome, &revision), STATUS_OK);
	assert_int_equal(revision, 7);
	suite_stop(seen);
}

static void bytes_come_back_as_they_were(void **state)
{
	(void)state;
	enum { LENGTH = 2 << 20 };
	char *body = malloc(LENGTH + 1);
	memset(body, 'x', LENGTH);
	memcpy(body, "{\"'%$1\\n\":\"\xc3\xa4\xf0\x9f\x98\x80\"}", 19);
	body[LENGTH] = 0;
	struct seen *seen = suite_start();
	struct transaction *transaction = transaction_new();
	assert_true(transaction_put(
		transaction, TEXT(""), RECORD_KEY, TEXT("o'brien\"\\"), (struct text){body, LENGTH}, REVISION_ANY));
	assert_true(transaction_put(transaction, TEXT(""), RECORD_KEY, TEXT("empty"), TEXT(""), REVISION_ANY));
	assert_int_equal(suite_wait(suite_submit(seen, transaction), NULL), STATUS_OK);
	suite_stop(seen);
	char expected[128];
	snprintf(expected, sizeof(expected), "key . o'brien\"\\ %.20s;key . empty ;", body);
	assert_stored(expected);
	free(body);
	seen = suite_start();
	transaction = transaction_new();
	assert_true(transaction_put(transaction, TEXT(""), RECORD_KEY, TEXT("a\0b"), TEXT("1"), REVISION_ANY));
	assert_int_equal(suite_wait(suite_submit(seen, transaction), NULL), STATUS_INVALID);
	suite_stop(seen);
}

static void too_many_waiting_are_refused_at_once(void **state)
{
	(void)state;
	suite_settings.queued_transactions = 2;
	struct seen *seen = suite_open();
	struct outcome *first = suite_submit(seen, suite_put("", RECORD_KEY, "1", "1", REVISION_ANY));
	struct outcome *second = suite_submit(seen, suite_put("", RECORD_KEY, "2", "1", REVISION_ANY));
	struct outcome *third = suite_submit(seen, suite_put("", RECORD_KEY, "3", "1", REVISION_ANY));
	assert_int_equal(suite_wait(third, NULL), STATUS_UNAVAILABLE);
	suite_load(seen);
	assert_int_equal(suite_wait(first, NULL), STATUS_OK);
	assert_int_equal(suite_wait(second, NULL), STATUS_OK);
	suite_stop(seen);
	assert_stored("key . 1 1;key . 2 1;");
}

static void closing_finishes_what_waits(void **state)
{
	(void)state;
	struct seen *seen = suite_open();
	struct outcome *outcomes[20];
	for (int i = 0; i < 20; i++)
		outcomes[i] = suite_submit(seen, suite_put("", RECORD_KEY, "same", "1", REVISION_ANY));
	suite_load(seen);
	suite_stop(seen);
	for (int i = 0; i < 20; i++)
		assert_int_equal(suite_wait(outcomes[i], NULL), STATUS_OK);
	assert_stored("key . same 1;");
}

/* Two processes that write to one database at the same time: each is told every revision of both, once and in order. */
static void two_processes_see_each_other_in_order(void **state)
{
	(void)state;
	enum { ROUNDS = 40 };
	struct outcome *outcomes[2][ROUNDS];
	struct seen *sides[2] = {suite_start(), suite_start()};
	for (int i = 0; i < ROUNDS; i++) {
		for (int side = 0; side < 2; side++) {
			char id[16];
			snprintf(id, sizeof(id), "%d-%d", side, i);
			outcomes[side][i] = suite_submit(sides[side], suite_put("", RECORD_KEY, id, "1", REVISION_ANY));
		}
	}
	for (int i = 0; i < 2 * ROUNDS; i++)
		assert_int_equal(suite_wait(outcomes[i % 2][i / 2], NULL), STATUS_OK);
	for (int side = 0; side < 2; side++)
		wait_told(sides[side], 2 * ROUNDS);
	for (int side = 0; side < 2; side++) {
		assert_int_equal(sides[side]->told, 2 * ROUNDS);
		for (int i = 0; i < 2 * ROUNDS; i++)
			assert_int_equal(sides[side]->revisions[i], i + 1);
		suite_stop(sides[side]);
	}
}

static void of_one_expected_revision_one_process_wins(void **state)
{
	(void)state;
	struct seen *one = suite_start(), *other = suite_start();
	struct outcome *first = suite_submit(one, suite_put("", RECORD_KEY, "k", "1", REVISION_ABSENT));
	struct outcome *second = suite_submit(other, suite_put("", RECORD_KEY, "k", "2", REVISION_ABSENT));
	enum status a = suite_wait(first, NULL), b = suite_wait(second, NULL);
	assert_true((a == STATUS_OK && b == STATUS_CONFLICT) || (a == STATUS_CONFLICT && b == STATUS_OK));
	suite_stop(one);
	suite_stop(other);
}

/* What a refused transaction had written before its last change was refused takes no revisions: the next ones are
 * another process's, and are told. */
static void what_is_refused_hides_nothing_of_others(void **state)
{
	(void)state;
	struct seen *one = suite_start(), *other = suite_start();
	assert_int_equal(
		suite_wait(suite_submit(one, suite_put("", RECORD_KEY, "k", "1", REVISION_ABSENT)), NULL), STATUS_OK);
	wait_told(other, 1);
	for (int round = 0; round < 3; round++) {
		struct transaction *refused = suite_put("", RECORD_KEY, "a", "1", REVISION_ANY);
		assert_true(transaction_put(refused, TEXT(""), RECORD_KEY, TEXT("b"), TEXT("1"), REVISION_ANY));
		assert_true(transaction_put(refused, TEXT(""), RECORD_KEY, TEXT("k"), TEXT("2"), REVISION_ABSENT));
		assert_int_equal(suite_wait(suite_submit(other, refused), NULL), STATUS_CONFLICT);
		struct outcome *outcome = suite_submit(one, suite_put("", RECORD_KEY, "k", "3", REVISION_ANY));
		assert_int_equal(suite_wait(outcome, NULL), STATUS_OK);
		wait_told(other, round + 2);
	}
	suite_stop(one);
	suite_stop(other);
}

static void assert_open_fails(enum status expected, const char *message)
{
	struct store *store = NULL;
	struct buffer error = {0};
	assert_int_equal(store_open(&suite_settings, NULL, &store, &error), expected);
	if (strstr(error.bytes, message) == NULL || strchr(error.bytes, '\n') != NULL)
		fail_msg("message: %s", error.bytes);
	buffer_free(&error);
}

static void an_old_schema_is_brought_up_and_a_newer_one_refused(void **state)
{
	(void)state;
	suite_sql("CREATE TABLE meta (name TEXT PRIMARY KEY, value BIGINT NOT NULL)");
	suite_sql("INSERT INTO meta VALUES ('schema', 0), ('revision', 41)");
	struct seen *seen = suite_start();
	int64_t revision;
	struct outcome *outcome = suite_submit(seen, suite_put("", RECORD_KEY, "k", "1", REVISION_ANY));
	assert_int_equal(suite_wait(outcome, &revision), STATUS_OK);
	assert_int_equal(revision, 42);
	suite_stop(seen);
	suite_sql("UPDATE meta SET value = 99 WHERE name = 'schema'");
	assert_open_fails(STATUS_INVALID, "version 99");
	suite_sql("UPDATE meta SET value = 1 WHERE name = 'schema'");
	assert_stored("key . k 1;");
}

static void records_of_a_newer_program_are_left_alone(void **state)
{
	(void)state;
	struct seen *seen = suite_start();
	assert_int_equal(participant(seen, A), STATUS_OK);
	suite_stop(seen);
	suite_sql("INSERT INTO record VALUES ('" A "', 'novelty', 'x', 2, '{}')");
	suite_sql("UPDATE meta SET value = 2 WHERE name = 'revision'");
	seen = suite_start();
	assert_told(seen, "participant a participant {};");
	int64_t revision;
	struct outcome *outcome = suite_submit(seen, suite_put("", RECORD_KEY, "k", "1", REVISION_ANY));
	assert_int_equal(suite_wait(outcome, &revision), STATUS_OK);
	assert_int_equal(revision, 3);
	suite_stop(seen);
}

static void wait_healthy(const struct seen *seen, bool is_healthy)
{
	for (int i = 0; store_is_healthy(seen->store) != is_healthy; i++) {
		if (i == 5000)
			fail_msg("health does not become %d", is_healthy);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

static void a_held_lock_refuses_and_its_end_heals(void **state)
{
	(void)state;
	suite_settings.statement_ms = 100;
	struct seen *seen = suite_start();
	assert_int_equal(put(seen, "", RECORD_KEY, "before", "1"), STATUS_OK);
	suite_lock(true);
	assert_int_equal(put(seen, "", RECORD_KEY, "during", "1"), STATUS_UNAVAILABLE);
	assert_int_equal(put(seen, "", RECORD_KEY, "during", "1"), STATUS_UNAVAILABLE);
	suite_lock(false);
	wait_healthy(seen, true);
	assert_int_equal(put(seen, "", RECORD_KEY, "after", "1"), STATUS_OK);
	suite_stop(seen);
	assert_stored("key . before 1;key . after 1;");
}

struct page {
	struct outcome outcome;
	size_t count;
	char line[4096]; /* "id body;" of each record */
};

static void on_page(void *context, enum status status, const struct record *records, size_t count)
{
	struct page *page = context;
	page->count = count;
	page->line[0] = 0;
	for (size_t i = 0; i < count; i++) {
		size_t length = strlen(page->line);
		snprintf(page->line + length, sizeof(page->line) - length, "%.*s %.*s;", TEXT_ARGUMENTS(records[i].id),
			TEXT_ARGUMENTS(records[i].body));
	}
	suite_on_done(&page->outcome, status, 0);
}

static void page_open(struct page *page)
{
	*page = (struct page){.count = 0};
	pthread_mutex_init(&page->outcome.lock, NULL);
	pthread_cond_init(&page->outcome.changed, NULL);
}

static void page_wait(struct page *page)
{
	pthread_mutex_lock(&page->outcome.lock);
	while (!page->outcome.is_done)
		pthread_cond_wait(&page->outcome.changed, &page->outcome.lock);
	pthread_mutex_unlock(&page->outcome.lock);
	assert_int_equal(page->outcome.status, STATUS_OK);
	pthread_cond_destroy(&page->outcome.changed);
	pthread_mutex_destroy(&page->outcome.lock);
}

static void assert_page(struct seen *seen, const char *ctx, const char *after, size_t limit, const char *expected)
{
	struct page page;
	page_open(&page);
	store_list(seen->store, text_of(ctx), RECORD_RECEIPT, after == NULL ? TEXT_NONE : text_of(after), limit, NULL,
		on_page, &page);
	page_wait(&page);
	assert_string_equal(page.line, expected);
}

static void what_is_asked_for_by_its_ids_is_read(void **state)
{
	static const struct {
		const char *ids[4], *expected; /* each once, in whatever order */
		size_t count;
	} cases[] = {{{"a"}, "a 1;", 1}, {{"b", "none", "a"}, "a 1;b 2;", 2}, {{"gone"}, "", 0}, {{NULL}, "", 0},
		{{"q\"uo{te},\\", "a", "a"}, "a 1;q\"uo{te},\\ 3;", 2}, {{"%", "A", ""}, "", 0}};
	struct seen *seen = suite_start();
	(void)state;
	assert_int_equal(put(seen, "", RECORD_FLOW, "a", "1"), STATUS_OK);
	assert_int_equal(put(seen, "", RECORD_FLOW, "b", "2"), STATUS_OK);
	assert_int_equal(put(seen, "", RECORD_FLOW, "q\"uo{te},\\", "3"), STATUS_OK);
	assert_int_equal(put(seen, "", RECORD_FLOW, "gone", "4"), STATUS_OK);
	assert_int_equal(put(seen, "", RECORD_KEY, "none", "5"), STATUS_OK);
	struct transaction *transaction = transaction_new();
	assert_true(transaction_delete(transaction, TEXT(""), RECORD_FLOW, TEXT("gone"), REVISION_ANY));
	struct outcome *deleted = suite_submit(seen, transaction); /* what was submitted before is seen */
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct text ids[4];
		struct page page;
		size_t count = 0;
		while (count < 4 && cases[i].ids[count] != NULL) {
			ids[count] = text_of(cases[i].ids[count]);
			count++;
		}
		page_open(&page);
		store_read(seen->store, TEXT(""), RECORD_FLOW, ids, count, NULL, on_page, &page);
		page_wait(&page);
		assert_int_equal(page.count, cases[i].count);
		for (const char *at = page.line; *at != 0; at = strchr(at, ';') + 1) {
			char one[64];
			snprintf(one, sizeof(one), "%.*s", (int)(strchr(at, ';') + 1 - at), at);
			assert_non_null(strstr(cases[i].expected, one));
		}
	}
	assert_int_equal(suite_wait(deleted, NULL), STATUS_OK);
	suite_stop(seen);
}

static void what_is_read_on_demand_is_told_to_nobody(void **state)
{
	(void)state;
	struct seen *seen = suite_start();
	assert_int_equal(participant(seen, A), STATUS_OK);
	assert_int_equal(participant(seen, B), STATUS_OK);
	for (int i = 9; i > 0; i--) {
		char id[16];
		snprintf(id, sizeof(id), "%04d", i);
		assert_int_equal(put(seen, i == 5 ? B : A, RECORD_RECEIPT, id, "1"), STATUS_OK);
	}
	assert_int_equal(put(seen, A, RECORD_RECEIPT, "0003", "2"), STATUS_OK);
	assert_told(seen, "participant a participant {};participant b participant {};");
	assert_page(seen, A, NULL, 3, "0001 1;0002 1;0003 2;");
	assert_page(seen, A, "0003", 3, "0004 1;0006 1;0007 1;");
	assert_page(seen, A, "0009", 3, "");
	assert_page(seen, B, "", 3, "0005 1;");
	/* deleted without trace, whether it was there or not */
	struct transaction *transaction = transaction_new();
	assert_true(transaction_delete(transaction, TEXT(A), RECORD_RECEIPT, TEXT("0001"), REVISION_ANY));
	assert_true(transaction_delete(transaction, TEXT(A), RECORD_RECEIPT, TEXT("0005"), REVISION_ANY));
	assert_true(transaction_put(transaction, TEXT(A), RECORD_KEY, TEXT("k"), TEXT("1"), REVISION_ANY));
	int64_t revision;
	assert_int_equal(suite_wait(suite_submit(seen, transaction), &revision), STATUS_OK);
	assert_int_equal(revision, 13);
	assert_page(seen, A, NULL, 2, "0002 1;0003 2;");
	suite_stop(seen);
	assert_stored("participant a participant {};participant b participant {};key a k 1;");
	seen = suite_start();
	transaction = transaction_new();
	assert_true(transaction_delete_ctx(transaction, TEXT(A)));
	assert_int_equal(suite_wait(suite_submit(seen, transaction), NULL), STATUS_OK);
	assert_page(seen, A, NULL, 9, "");
	assert_page(seen, B, NULL, 9, "0005 1;");
	suite_stop(seen);
}

static void what_passes_is_told_of_and_leaves_no_trace(void **state)
{
	(void)state;
	struct seen *seen = suite_start();
	assert_int_equal(participant(seen, A), STATUS_OK);
	assert_int_equal(put(seen, B, RECORD_TOKEN, "t", "1"), STATUS_NOT_FOUND);
	for (const char *id = "123"; *id != 0; id++) {
		const char name[] = {*id, 0};
		assert_int_equal(put(seen, A, RECORD_TOKEN, name, "1"), STATUS_OK);
	}
	struct transaction *transaction = transaction_new();
	assert_true(transaction_delete(transaction, TEXT(A), RECORD_TOKEN, TEXT("1"), REVISION_ANY));
	assert_true(transaction_delete(transaction, TEXT(A), RECORD_TOKEN, TEXT("never"), REVISION_ANY));
	int64_t revision;
	assert_int_equal(suite_wait(suite_submit(seen, transaction), &revision), STATUS_OK);
	assert_int_equal(revision, 6);
	assert_told(seen, "participant a participant {};token a 1 1;token a 2 1;token a 3 1;token a 1 -;token a never -;");
	assert_int_equal(put(seen, A, RECORD_TOKEN, "3", "2"), STATUS_OK);
	suite_stop(seen);
	static const char raise[] = "UPDATE record SET body = 'left' WHERE kind = 'token' AND body IS NULL";
	suite_sql(raise);
	assert_stored("participant a participant {};token a 2 1;token a 3 2;");
	seen = suite_start();
	transaction = transaction_new();
	assert_true(transaction_delete_ctx(transaction, TEXT(A)));
	assert_int_equal(suite_wait(suite_submit(seen, transaction), NULL), STATUS_OK);
	assert_non_null(strstr(seen->line, "token a 3 -;"));
	suite_stop(seen);
	suite_sql(raise);
	assert_stored("");
}

/* --- the end */

static void count_refusal(void *context, enum status status, const struct record *records, size_t count)
{
	unsigned *refused = context;
	(void)records;
	*refused += status == STATUS_UNAVAILABLE && count == 0;
}

/* Workers' turns may ask when the store has ended. */
static void what_comes_after_the_end_is_refused(void **state)
{
	struct seen *seen = suite_start();
	struct outcome *last = suite_submit(seen, suite_put("", RECORD_KEY, "a", "1", REVISION_ANY));
	unsigned refused = 0;
	(void)state;
	store_finish(seen->store);
	assert_int_equal(suite_wait(last, NULL), STATUS_OK);
	assert_int_equal(put(seen, "", RECORD_KEY, "b", "2"), STATUS_UNAVAILABLE);
	store_list(seen->store, TEXT(""), RECORD_KEY, TEXT_NONE, 10, NULL, count_refusal, &refused);
	store_read(seen->store, TEXT(""), RECORD_KEY, &TEXT("a"), 1, NULL, count_refusal, &refused);
	assert_int_equal(refused, 2);
	store_finish(seen->store); /* twice is once */
	suite_stop(seen);
	assert_stored("key . a 1;");
}

#define SUITE_CASE(function) cmocka_unit_test_setup_teardown(function, suite_setup, suite_teardown)
#define SUITE_CASES                                                                                                    \
	SUITE_CASE(waiting_transactions_share_a_commit_and_end_in_order), SUITE_CASE(what_is_expected_decides),            \
		SUITE_CASE(a_record_that_is_only_expected_guards_the_others),                                                  \
		SUITE_CASE(a_record_may_change_often_in_one_commit), SUITE_CASE(tombstones_go_and_who_missed_them_ends),       \
		SUITE_CASE(a_refusal_hides_nothing_of_others), SUITE_CASE(a_record_that_is_only_expected_guards_the_others),   \
		SUITE_CASE(a_transaction_is_whole_and_its_neighbours_do_not_suffer),                                           \
		SUITE_CASE(a_context_goes_with_all_its_records), SUITE_CASE(a_reload_tells_kind_by_kind_and_counts_on),        \
		SUITE_CASE(bytes_come_back_as_they_were), SUITE_CASE(too_many_waiting_are_refused_at_once),                    \
		SUITE_CASE(closing_finishes_what_waits), SUITE_CASE(what_comes_after_the_end_is_refused),                      \
		SUITE_CASE(two_processes_see_each_other_in_order), SUITE_CASE(of_one_expected_revision_one_process_wins),      \
		SUITE_CASE(what_is_refused_hides_nothing_of_others),                                                           \
		SUITE_CASE(an_old_schema_is_brought_up_and_a_newer_one_refused),                                               \
		SUITE_CASE(what_is_asked_for_by_its_ids_is_read), SUITE_CASE(what_is_read_on_demand_is_told_to_nobody),        \
		SUITE_CASE(what_passes_is_told_of_and_leaves_no_trace), SUITE_CASE(records_of_a_newer_program_are_left_alone), \
		SUITE_CASE(a_held_lock_refuses_and_its_end_heals)
