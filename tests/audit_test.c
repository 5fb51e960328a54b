/* Entries of the audit wait and are sealed: who seals at once does not fork the chain, and nothing is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "control/fabric/fleet/audit.h"
#include "server/base/log.h"
#include "tests/state_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
static struct audit *audits[3];
static struct state *states[3];

static int setup(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(audits); i++) {
		states[i] = fixture_state();
		if (audit_open(states[i], &audits[i]) != STATUS_OK)
			return -1;
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(audits); i++)
		audit_free(audits[i]);
	fixture_clear();
	return 0;
}

static void ignore(void *context, enum status status, int64_t revision)
{
	(void)context, (void)status, (void)revision;
}

/* An entry in the commit of what it tells of. */
static void write_entry(size_t process, const char *cell)
{
	struct transaction *transaction = transaction_new();
	assert_true(state_put(transaction, RECORD_CELL, text_of(cell), TEXT("{}"), REVISION_ABSENT));
	assert_true(audit_add(transaction, "cell.joined", text_of(cell), TEXT("somebody"), "because"));
	state_submit(states[process], transaction, ignore, NULL);
}

static int by_id(const void *a, const void *b)
{
	return strcmp((*(const struct fixture_record *const *)a)->id, (*(const struct fixture_record *const *)b)->id);
}

static void check_stored(struct audit_check *check)
{
	const struct fixture_record *found[FIXTURE_RECORDS];
	size_t count = 0;
	for (size_t i = 0; i < fixture.record_count; i++) {
		if (fixture.records[i].kind == RECORD_AUDIT && fixture.records[i].id != NULL)
			found[count++] = &fixture.records[i];
	}
	qsort(found, count, sizeof(void *), by_id);
	audit_check_begin(check);
	audit_check_expect(check, &audits[0]->head);
	for (size_t i = 0; i < count; i++)
		audit_check_add(check, text_of(found[i]->id), text_of(found[i]->body));
	audit_check_end(check);
}

/* Two that both think they lead seal at once, over and over, while all of them write. */
static void who_seals_at_once_does_not_fork_it(void **state)
{
	struct audit_check check;
	char cell[16];
	int written = 0;
	(void)state;
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < COUNT(audits); i++) {
			snprintf(cell, sizeof(cell), "c%d", written++);
			write_entry(i, cell);
		}
		audit_tick(audits[round % 2]);
		fixture_run();
		audit_tick(audits[0]);
		audit_tick(audits[1]);
		fixture_run();
	}
	for (int i = 0; i < 30; i++) {
		audit_tick(audits[2]);
		fixture_run();
	}
	check_stored(&check);
	assert_null(check.why);
	assert_int_equal(check.last.sequence, written);
	assert_int_equal(fixture_count(RECORD_AUDIT_CHAIN), 1); /* the head alone */
	for (size_t i = 0; i < COUNT(audits); i++) {
		assert_int_equal(audits[i]->count, 0);
		assert_int_equal(audits[i]->head.sequence, written);
	}
}

/* What a process left behind is sealed by the next; what was refused has left no entry. */
static void nothing_is_lost_or_made_up(void **state)
{
	struct audit_check check;
	(void)state;
	write_entry(0, "a");
	write_entry(1, "a"); /* CONFLICT: the cell is there */
	write_entry(1, "b");
	fixture_run();
	assert_int_equal(audits[2]->count, 2);
	audit_tick(audits[0]);
	states[0]->is_dead = true; /* and the commit is made */
	fixture_run();
	write_entry(1, "c");
	fixture_run();
	fixture.is_down = true;
	audit_tick(audits[1]);
	fixture_run();
	assert_int_equal(audits[1]->count, 1);
	fixture.is_down = false;
	for (int i = 0; i < 30; i++) {
		audit_tick(audits[1]);
		fixture_run();
	}
	audits[0]->head = audits[1]->head; /* the dead has not heard of it */
	check_stored(&check);
	assert_null(check.why);
	assert_int_equal(check.last.sequence, 3);
}

/* More than one commit's worth, and entries from before the chain. */
static void a_chain_begins_behind_what_is_there(void **state)
{
	struct audit_check check;
	char cell[16];
	(void)state;
	fixture_put(RECORD_AUDIT, "01764146000000-abcdef12", "{\"at\":\"x\",\"what\":\"cell.joined\",\"cell\":\"old\"}");
	for (int i = 0; i < 150; i++) {
		snprintf(cell, sizeof(cell), "c%d", i);
		write_entry(0, cell);
		fixture_run();
	}
	for (int i = 0; i < 5; i++) {
		audit_tick(audits[0]);
		fixture_run();
	}
	check_stored(&check);
	assert_null(check.why);
	assert_int_equal(check.last.sequence, 150);
	assert_int_equal(check.outside, 1);
}

/* A head that was tampered with stops sealing: entries wait, and are seen waiting. */
static void a_bad_head_seals_nothing(void **state)
{
	static const char *const heads[] = {"", "{}", "{\"sequence\":1}", "{\"sequence\":1,\"hash\":\"00\"}",
		"{\"sequence\":0,\"hash\":\"0000000000000000000000000000000000000000000000000000000000000000\"}"};
	(void)state;
	for (size_t i = 0; i < COUNT(heads); i++) {
		char cell[16];
		snprintf(cell, sizeof(cell), "c%zu", i);
		fixture_put(RECORD_AUDIT_CHAIN, AUDIT_HEAD, heads[i]);
		write_entry(0, cell);
		fixture_run();
		audit_tick(audits[0]);
		fixture_run();
		assert_int_equal(fixture_count(RECORD_AUDIT), 0);
		assert_int_equal(audits[0]->count, i + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(who_seals_at_once_does_not_fork_it, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_lost_or_made_up, setup, teardown),
		cmocka_unit_test_setup_teardown(a_chain_begins_behind_what_is_there, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bad_head_seals_nothing, setup, teardown),
	};
	log_threshold = LOG_ERROR + 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
