/* Decisions as records: the audit tells of each commit of them, and they go by whole commits, which it tells, too. */
#include "tests/place_fixture.h"

#include <string.h>

#include "control/fabric/cells.h"
#include "control/fabric/fleet/audit_decisions.h"
#include "control/fabric/place/placer_private.h"
#include "tests/fabric_fixture.h"

static struct fabric fabric;
static struct cells *cells;
static struct placer *placer;

/* --- writing */

struct change {
	struct transaction *transaction;
	bool is_done;
};

static void on_changed(void *context, enum status status, int64_t revision)
{
	(void)revision;
	assert_int_equal(status, STATUS_OK);
	((struct change *)context)->is_done = true;
}

static void submit(void *context)
{
	struct change *change = context;
	state_submit(fabric.state, change->transaction, on_changed, change);
}

static bool is_changed(void *context)
{
	return ((struct change *)context)->is_done;
}

static void commit(struct transaction *transaction)
{
	struct change change = {transaction, false};
	fabric_run(&fabric, submit, &change);
	assert_true(fabric_wait(&fabric, is_changed, &change));
}

static void put(enum record_kind kind, const char *id, const char *body)
{
	struct transaction *transaction = transaction_new();
	if (body == NULL)
		assert_true(state_delete(transaction, kind, text_of(id), REVISION_ANY));
	else
		assert_true(state_put(transaction, kind, text_of(id), text_of(body), REVISION_ANY));
	commit(transaction);
}

/* --- reading, and holding one against the other */

struct reading {
	struct decision_check check;
	size_t records, entries, dropped; /* dropped: entries that tell of it */
	char first[ID_LENGTH + 1], last_dropped[256];
	bool is_done;
};

static void on_entries(void *context, enum status status, const struct record *records, size_t count)
{
	struct reading *reading = context;
	assert_int_equal(status, STATUS_OK);
	for (size_t i = 0; i < count; i++) {
		struct text body = records[i].body;
		decision_check_entry(&reading->check, 0, body);
		if (memmem(body.bytes, body.length, "placement.dropped", 17) == NULL)
			continue;
		reading->dropped++;
		snprintf(reading->last_dropped, sizeof(reading->last_dropped), "%.*s", TEXT_ARGUMENTS(body));
	}
	reading->entries = count;
	decision_check_end(&reading->check);
	reading->is_done = true;
}

static void on_decisions(void *context, enum status status, const struct record *records, size_t count)
{
	struct reading *reading = context;
	assert_int_equal(status, STATUS_OK);
	for (size_t i = 0; i < count; i++)
		decision_check_record(&reading->check, records[i].id, records[i].body);
	reading->records = count;
	if (count > 0)
		memcpy(reading->first, records[0].id.bytes, ID_LENGTH);
	store_list(
		fabric.store, TEXT(""), RECORD_AUDIT_CHAIN, TEXT_NONE, 1000, state_worker(fabric.state), on_entries, reading);
}

static void read_all(void *context)
{
	struct reading *reading = context;
	decision_check_begin(&reading->check, 0);
	store_list(
		fabric.store, TEXT(""), RECORD_DECISION, TEXT_NONE, 1000, state_worker(fabric.state), on_decisions, reading);
}

static bool is_read(void *context)
{
	return ((struct reading *)context)->is_done;
}

static void look(struct reading *reading)
{
	*reading = (struct reading){.is_done = false};
	fabric_run(&fabric, read_all, reading);
	assert_true(fabric_wait(&fabric, is_read, reading));
}

static void reading_free(struct reading *reading)
{
	decision_check_free(&reading->check);
}

/* --- placing */

enum { WAVE = 300 };
struct many {
	struct place_request *request;
	size_t placed, ended, asked;
	char decision[64]; /* of the last */
};

static void on_placed(void *context, enum status status, struct text decision, struct text explain, struct text line)
{
	struct many *many = context;
	(void)explain, (void)line;
	many->placed += status == STATUS_OK;
	many->ended++;
	snprintf(many->decision, sizeof(many->decision), "%.*s", TEXT_ARGUMENTS(decision));
}

static void place_many(void *context)
{
	struct many *many = context;
	many->asked += WAVE;
	for (int i = 0; i < WAVE; i++)
		placer_place(placer, &(struct placement){.requests = (const struct place_request *const *)&many->request,
								 .count = 1,
								 .done = on_placed,
								 .context = many});
}

static bool are_placed(void *context)
{
	const struct many *many = context;
	return many->ended == many->asked;
}

static void start(void)
{
	fabric_open(&fabric);
	assert_int_equal(cells_open(fabric.state, &cells), STATUS_OK);
	assert_int_equal(placer_open(fabric.state, cells, &placer), STATUS_OK);
	fabric_start(&fabric);
	put(RECORD_CELL, "cfm-a",
		"{\"externalId\":\"a\",\"version\":0,\"state\":\"active\",\"stateTimestamp\":\"2026-01-01T00:00:00Z\","
		"\"properties\":{\"celld.definition\":{\"cellId\":\"a\",\"name\":\"n\",\"type\":\"t\",\"region\":\"r\","
		"\"provider\":\"p\",\"capacity\":{\"maxVPAs\":500}}},\"celld\":{\"mode\":\"ready\",\"epoch\":1}}");
}

static void stop(void)
{
	fabric_settle(&fabric);
	fabric_stop(&fabric);
	placer_free(placer);
	cells_free(cells);
	fabric_free(&fabric);
}

/* Two waves: some find no room, and are decisions all the same. */
static void the_audit_tells_of_every_decision(void **state)
{
	struct many many = {.request = place_ask("{\"vpaId\":\"v\",\"type\":\"cfm.dataplane\"}")};
	struct reading reading;
	(void)state;
	start();
	for (int wave = 0; wave < 2; wave++) {
		fabric_run(&fabric, place_many, &many);
		assert_true(fabric_wait(&fabric, are_placed, &many));
	}
	assert_int_equal(many.ended, 2 * WAVE);
	assert_int_equal(many.placed, 500);
	look(&reading);
	assert_null(reading.check.fault.why);
	assert_true(reading.entries >= 2 && reading.records >= 2 * WAVE / DECISION_JOBS);
	assert_int_equal(reading.check.whole, reading.entries);
	assert_int_equal(reading.check.outside, 0);
	reading_free(&reading);

	many.decision[ID_LENGTH] = 0; /* its record */
	put(RECORD_DECISION, many.decision, "{\"decisions\":[]}");
	look(&reading);
	assert_string_equal(reading.check.fault.why, "have been changed");
	assert_memory_equal(reading.check.fault.first, many.decision, DECISION_BATCH);
	reading_free(&reading);
	place_request_free(many.request);
	stop();
}

/* --- those that are old go */

static void put_commit(int64_t at_ms, char letter, unsigned records)
{
	struct transaction *transaction = transaction_new();
	char id[64];
	for (unsigned i = 0; i < records; i++) {
		snprintf(id, sizeof(id), "%012llx%014d%04x%c%c", (unsigned long long)at_ms, 0, i, letter, letter);
		assert_true(state_put(transaction, RECORD_DECISION, text_of(id), TEXT("{}"), REVISION_ABSENT));
	}
	commit(transaction);
}

static void tick(void *context)
{
	(void)context;
	for (int i = 0; i < 60; i++)
		pruning_tick(placer);
}

static void prune_until(size_t records)
{
	struct reading reading = {.records = SIZE_MAX};
	for (int i = 0; i < 200 && reading.records != records; i++) {
		fabric_run(&fabric, tick, NULL);
		fabric_settle(&fabric);
		look(&reading);
		reading_free(&reading);
	}
	assert_int_equal(reading.records, records);
}

static void what_is_old_goes_by_whole_commits(void **state)
{
	const int64_t day_ms = 24LL * 3600 * 1000, now_ms = clock_wall_ms();
	struct reading reading;
	(void)state;
	start();
	put_commit(now_ms - 33 * day_ms, 'a', 150);
	put_commit(now_ms - 32 * day_ms, 'b', 150); /* of these no page takes all together with the first */
	put_commit(now_ms - 29 * day_ms, 'c', 3);
	fabric_run(&fabric, tick, NULL);
	fabric_settle(&fabric);
	prune_until(3);
	look(&reading);
	assert_int_equal(reading.first[ID_LENGTH - 1], 'c');
	assert_int_equal(reading.dropped, 2);
	assert_non_null(strstr(reading.last_dropped, "0095bb\""));
	reading_free(&reading);
	stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_audit_tells_of_every_decision),
		cmocka_unit_test(what_is_old_goes_by_whole_commits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
