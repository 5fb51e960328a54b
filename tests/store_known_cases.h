/* What a store may take for known, and what not: cases every database must pass; a part of store_suite.h. */
#pragma once

static struct transaction *suite_drop(enum record_kind kind, const char *id, int64_t expected)
{
	struct transaction *transaction = transaction_new();
	assert_true(transaction_delete(transaction, TEXT(""), kind, text_of(id), expected));
	return transaction;
}

static enum status change(struct seen *seen, struct transaction *transaction, int64_t *revision)
{
	return suite_wait(suite_submit(seen, transaction), revision);
}

/* What must be absent and is there, or was, among neighbours in one commit: refused alone, or put over its tombstone.
 */
static void what_must_be_absent_is_looked_for(void **state)
{
	(void)state;
	static const struct {
		enum record_kind kind;
		const char *id;
		enum status status;
	} cases[] = {{RECORD_FLOW, "new", STATUS_OK}, {RECORD_FLOW, "there", STATUS_CONFLICT},
		{RECORD_FLOW, "deleted", STATUS_OK}, {RECORD_RECEIPT, "new", STATUS_OK},
		{RECORD_RECEIPT, "there", STATUS_CONFLICT}, {RECORD_RECEIPT, "deleted", STATUS_OK},
		{RECORD_TOKEN, "new", STATUS_OK}, {RECORD_TOKEN, "there", STATUS_CONFLICT},
		{RECORD_TOKEN, "deleted", STATUS_OK}};
	enum { CASES = sizeof(cases) / sizeof(cases[0]) };
	struct seen *seen = suite_start();
	for (int i = 0; i < CASES; i++) {
		if (strcmp(cases[i].id, "new") == 0)
			continue;
		assert_int_equal(put(seen, "", cases[i].kind, cases[i].id, "0"), STATUS_OK);
		if (strcmp(cases[i].id, "deleted") == 0)
			assert_int_equal(change(seen, suite_drop(cases[i].kind, cases[i].id, REVISION_ANY), NULL), STATUS_OK);
	}
	suite_stop(seen);
	seen = suite_open();
	struct outcome *outcomes[CASES];
	for (int i = 0; i < CASES; i++)
		outcomes[i] = suite_submit(seen, suite_put("", cases[i].kind, cases[i].id, "1", REVISION_ABSENT));
	suite_load(seen);
	for (int i = 0; i < CASES; i++) {
		enum status status = suite_wait(outcomes[i], NULL);
		if (status != cases[i].status)
			fail_msg("case %d: %s", i, status_text(status));
	}
	suite_stop(seen);
	assert_stored("flow . there 0;flow . new 1;flow . deleted 1;token . there 0;token . new 1;token . deleted 1;");
}

/* Put and gone within one transaction: it must be absent all the same. */
static void what_must_be_absent_may_not_be_there_even_for_a_moment(void **state)
{
	(void)state;
	struct seen *seen = suite_start();
	assert_int_equal(put(seen, "", RECORD_RECEIPT, "there", "0"), STATUS_OK);
	static const char *const ids[] = {"there", "new"};
	for (int i = 0; i < 2; i++) {
		struct transaction *moment = suite_put("", RECORD_RECEIPT, ids[i], "1", REVISION_ABSENT);
		assert_true(transaction_delete(moment, TEXT(""), RECORD_RECEIPT, text_of(ids[i]), REVISION_ANY));
		assert_int_equal(change(seen, moment, NULL), i == 0 ? STATUS_CONFLICT : STATUS_OK);
	}
	assert_int_equal(suite_count("SELECT count(*) FROM record WHERE kind = 'receipt'"), 1);
	suite_stop(seen);
}

/* Each change of another process counts from the moment it is committed, heard of or not. */
static void what_others_changed_is_known_at_once(void **state)
{
	(void)state;
	suite_settings.poll_ms = 60000; /* they look when they write */
	struct seen *one = suite_start(), *other = suite_start();
	int64_t first, second, token;
	assert_int_equal(change(one, suite_put("", RECORD_FLOW, "f", "1", REVISION_ABSENT), &first), STATUS_OK);
	assert_int_equal(change(other, suite_put("", RECORD_FLOW, "f", "2", first), &second), STATUS_OK);
	assert_int_equal(change(one, suite_put("", RECORD_FLOW, "f", "3", first), NULL), STATUS_CONFLICT);
	assert_int_equal(change(one, suite_put("", RECORD_FLOW, "f", "3", second), &second), STATUS_OK);
	assert_int_equal(change(other, suite_drop(RECORD_FLOW, "f", second), NULL), STATUS_OK);
	assert_int_equal(change(one, suite_put("", RECORD_FLOW, "f", "4", second), NULL), STATUS_NOT_FOUND);
	assert_int_equal(change(one, suite_drop(RECORD_FLOW, "f", REVISION_ANY), NULL), STATUS_NOT_FOUND);
	assert_int_equal(change(one, suite_put("", RECORD_FLOW, "f", "5", REVISION_ABSENT), NULL), STATUS_OK);
	assert_int_equal(change(other, suite_put("", RECORD_FLOW, "f", "6", REVISION_ABSENT), NULL), STATUS_CONFLICT);
	/* nobody hears of the end of what passes */
	assert_int_equal(change(one, suite_put("", RECORD_TOKEN, "t", "1", REVISION_ABSENT), &token), STATUS_OK);
	assert_int_equal(change(other, suite_drop(RECORD_TOKEN, "t", REVISION_ANY), NULL), STATUS_OK);
	assert_int_equal(change(one, suite_put("", RECORD_TOKEN, "t", "2", token), NULL), STATUS_NOT_FOUND);
	assert_int_equal(change(one, suite_put("", RECORD_TOKEN, "t", "2", REVISION_ABSENT), NULL), STATUS_OK);
	/* who has no owner any more */
	assert_int_equal(participant(one, A), STATUS_OK);
	assert_int_equal(put(other, A, RECORD_DATASET, "d", "1"), STATUS_OK);
	struct transaction *gone = transaction_new();
	assert_true(transaction_delete_ctx(gone, TEXT(A)));
	assert_int_equal(change(other, gone, NULL), STATUS_OK);
	assert_int_equal(put(one, A, RECORD_DATASET, "d", "2"), STATUS_NOT_FOUND);
	suite_stop(other);
	suite_stop(one);
	assert_stored("flow . f 5;token . t 2;");
}

/* Many records change in many commits of another process; who looks once hears of all, each as it is now, in order. */
static void many_changes_of_others_are_told_once_and_in_order(void **state)
{
	(void)state;
	enum { ROUNDS = 30, RECORDS = 5 };
	suite_settings.poll_ms = 60000;
	struct seen *away = suite_start(), *seen = suite_start();
	for (int i = 0; i < ROUNDS; i++) {
		struct transaction *transaction = transaction_new();
		for (int j = 0; j < RECORDS; j++) {
			char id[16];
			snprintf(id, sizeof(id), "%d", (i + j) % (RECORDS + 2));
			assert_true(transaction_put(transaction, TEXT(""), RECORD_FLOW, text_of(id), TEXT("1"), REVISION_ANY));
		}
		assert_int_equal(change(seen, transaction, NULL), STATUS_OK);
	}
	assert_int_equal(put(away, "", RECORD_FLOW, "own", "1"), STATUS_OK);
	assert_told(away, "flow . 6 1;flow . 0 1;flow . 1 1;flow . 2 1;flow . 3 1;flow . 4 1;flow . 5 1;flow . own 1;");
	suite_stop(seen);
	suite_stop(away);
}

#define SUITE_KNOWN_CASES                                                                                              \
	SUITE_CASE(what_must_be_absent_is_looked_for), SUITE_CASE(what_must_be_absent_may_not_be_there_even_for_a_moment), \
		SUITE_CASE(what_others_changed_is_known_at_once),                                                              \
		SUITE_CASE(many_changes_of_others_are_told_once_and_in_order)
