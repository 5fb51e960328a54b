/* Stored decisions against the audit: what is done to them is found, and what was let go is not held to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/fabric/fleet/audit_decisions.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
enum { COMMITS = 4, RECORDS = 3, ROOM = 24, ID_ROOM = 80 };

/* --- what is stored: four commits of three records, one entry of the audit for each, in this order */

struct stored {
	char id[ID_ROOM], body[96];
};
static struct stored records[ROOM];
static size_t record_count;
static struct stored entries[ROOM]; /* body: what it says; id: "w" it waits, "" it is gone, else sealed */
static char entry_bodies[ROOM][512];
static size_t entry_count;
static int64_t sealed;

static void print_id(char *into, int commit, int record)
{
	snprintf(into, ID_ROOM, "0199aa00000%d%014d%04x%02x", commit, commit * 7, record, 0xab ^ record);
}

static void add_entry(const char *body)
{
	snprintf(entry_bodies[entry_count], sizeof(entry_bodies[0]), "%s", body);
	snprintf(entries[entry_count++].id, ID_ROOM, "c");
}

static void make_commit(int commit)
{
	struct decision_seal seal = {.records = 0};
	char digest[DIGEST_HEX + 1], body[512];
	size_t first = record_count;
	for (int record = 0; record < RECORDS; record++) {
		struct stored *made = &records[record_count++];
		print_id(made->id, commit, record);
		snprintf(made->body, sizeof(made->body), "{\"decisions\":[\"%d.%d\"]}", commit, record);
		decision_seal_add(&seal, text_of(made->id), text_of(made->body));
	}
	assert_int_equal(decision_seal_end(&seal, digest), STATUS_OK);
	snprintf(body, sizeof(body),
		"{\"sequence\":1,\"what\":\"placement.decided\",\"cell\":\"\",\"first\":\"%s-0\",\"last\":\"%s-63\","
		"\"decisions\":"
		"192,\"records\":%d,\"digest\":\"%s\"}",
		records[first].id, records[record_count - 1].id, RECORDS, digest);
	add_entry(body);
}

static void drop_up_to(int commit, int record)
{
	char id[ID_ROOM], body[512];
	print_id(id, commit, record);
	snprintf(body, sizeof(body), "{\"what\":\"placement.dropped\",\"cell\":\"\",\"upTo\":\"%s\"}", id);
	add_entry(body);
}

static void make_all(void)
{
	record_count = entry_count = 0;
	for (int commit = 0; commit < COMMITS; commit++)
		make_commit(commit);
	add_entry("{\"what\":\"cell.joined\",\"cell\":\"c\"}");
	sealed = (int64_t)entry_count;
}

static void take_out(size_t at, size_t count)
{
	memmove(&records[at], &records[at + count], (record_count - at - count) * sizeof(*records));
	record_count -= count;
}

static void put_in(size_t at, const char *id)
{
	memmove(&records[at + 1], &records[at], (record_count++ - at) * sizeof(*records));
	snprintf(records[at].id, ID_ROOM, "%s", id);
	snprintf(records[at].body, sizeof(records[at].body), "{\"decisions\":[\"forged\"]}");
}

/* --- what is done to it */

static void nothing(void)
{
}
static void change_one(void)
{
	records[4].body[15] = '9';
}
static void change_to_empty(void)
{
	records[3].body[0] = 0;
}
static void change_two(void)
{
	records[10].body[15] = '9';
	records[4].body[15] = '9';
}
static void swap_bodies(void)
{
	struct stored other = records[3];
	memcpy(records[3].body, records[5].body, sizeof(other.body));
	memcpy(records[5].body, other.body, sizeof(other.body));
}
static void rename_one(void)
{
	records[5].id[31] = 'f';
}
static void remove_first_of_commit(void)
{
	take_out(3, 1);
}
static void remove_last_of_commit(void)
{
	take_out(5, 1);
}
static void remove_commit(void)
{
	take_out(6, RECORDS);
}
static void remove_oldest(void)
{
	take_out(0, RECORDS);
}
static void remove_all(void)
{
	record_count = 0;
}
static void insert_into_commit(void)
{
	char id[ID_ROOM];
	print_id(id, 1, 7);
	put_in(6, id);
}
static void insert_before_in_commit(void)
{
	char id[ID_ROOM];
	print_id(id, 1, 0);
	id[30] = id[31] = '0';
	put_in(3, id);
}
static void insert_commit(void)
{
	put_in(6, "0199aa000001ffffffffffffff0000ab");
}
static void insert_newest(void)
{
	put_in(12, "0199bb000001ffffffffffffff0000ab");
}
static void insert_strange(void)
{
	put_in(12, "x");
}
static void insert_long(void)
{
	char id[ID_ROOM];
	print_id(id, 1, 7);
	strcat(id, "0"); /* NOLINT: there is room */
	put_in(6, id);
}
static void put_older(void)
{
	put_in(0, "0199a9000001ffffffffffffff0000ab");
}
static void drop_oldest(void)
{
	remove_oldest();
	drop_up_to(0, 2);
}
static void drop_two(void)
{
	take_out(0, 2 * (size_t)RECORDS);
	drop_up_to(0, 2);
	drop_up_to(1, 2);
}
static void drop_backwards(void)
{
	take_out(0, 2 * (size_t)RECORDS);
	drop_up_to(1, 2);
	drop_up_to(0, 2);
}
static void drop_and_remove(void)
{
	drop_oldest();
	take_out(0, RECORDS);
}
static void drop_while_it_is_read(void)
{
	take_out(0, 2);
	drop_up_to(0, 2);
	entries[entry_count - 1].id[0] = 'w';
}
static void drop_older(void)
{
	drop_up_to(0, 2); /* another process will not let them go: they are still there */
}
static void insert_into_what_was_dropped(void)
{
	drop_oldest();
	put_in(0, "0199aa000000ffffffffffffff0000ab");
	drop_up_to(1, 0);
}
static void put_older_than_what_was_dropped(void)
{
	drop_oldest();
	put_older();
}
static void last_waits(void)
{
	entries[3].id[0] = 'w';
}
static void last_waits_and_was_changed(void)
{
	last_waits();
	records[10].body[15] = '9';
}
static void no_entry(void)
{
	entries[1].id[0] = 0;
}
static void no_entries(void)
{
	for (size_t i = 0; i < COMMITS; i++)
		entries[i].id[0] = 0;
}
static void one_more_commit(void)
{
	make_commit(COMMITS);
	take_out(12, RECORDS); /* it came after the records were read */
}
static void broken_entries(void)
{
	add_entry("{\"what\":\"placement.decided\"");
	add_entry("{\"what\":\"placement.decided\",\"first\":7,\"records\":1}");
	add_entry("{\"what\":\"placement.decided\",\"first\":\"0199\",\"records\":1,\"digest\":\"\"}");
	add_entry("{\"what\":\"placement.dropped\",\"upTo\":\"ffff\"}");
	add_entry("{\"what\":\"placement.dropped\"}");
	add_entry("{\"what\":\"cell.joined\",\"detail\":\"\\\"what\\\":\\\"placement.dropped\\\"\",\"upTo\":"
			  "\"ffffffffffffffffffffffffffffffff\"}");
}

#define CHANGED "have been changed"
#define LACK "lack a record"
#define MORE "have a record that was not decided"
#define MISSING "are missing"
#define NOWHERE "are in no entry of the audit"
static const struct tampering {
	const char *name;
	void (*do_it)(void);
	const char *why; /* NULL: all is good */
	int commit;      /* that is named; -1: one that was never decided */
	size_t whole, dropped, outside;
} tamperings[] = {
	{"nothing", nothing, NULL, 0, 4, 0, 0},
	{"a decision", change_one, CHANGED, 1, 3, 0, 0},
	{"a record without a body", change_to_empty, CHANGED, 1, 3, 0, 0},
	{"two", change_two, CHANGED, 1, 2, 0, 0},
	{"two in each other's place", swap_bodies, CHANGED, 1, 3, 0, 0},
	{"another id", rename_one, CHANGED, 1, 3, 0, 0},
	{"the first of a commit is gone", remove_first_of_commit, LACK, 1, 3, 0, 0},
	{"the last of a commit is gone", remove_last_of_commit, LACK, 1, 3, 0, 0},
	{"a commit is gone", remove_commit, MISSING, 2, 3, 0, 0},
	{"the oldest is gone", remove_oldest, MISSING, 0, 3, 0, 0},
	{"all are gone", remove_all, MISSING, 3, 0, 3, 0},
	{"one more in a commit", insert_into_commit, MORE, 1, 3, 0, 0},
	{"one more before a commit's first", insert_before_in_commit, MORE, 1, 3, 0, 0},
	{"one more commit", insert_commit, NOWHERE, -1, 4, 0, 0},
	{"one more, the newest", insert_newest, NOWHERE, -1, 4, 0, 0},
	{"a strange id", insert_strange, NOWHERE, -1, 4, 0, 0},
	{"a long id", insert_long, MORE, 1, 3, 0, 0},
	{"one from before", put_older, NULL, 0, 4, 0, 1},
	{"the oldest was let go", drop_oldest, NULL, 0, 3, 1, 0},
	{"two were let go", drop_two, NULL, 0, 2, 2, 0},
	{"two were let go, told the other way round", drop_backwards, NULL, 0, 2, 2, 0},
	{"the oldest was let go, the next is gone", drop_and_remove, MISSING, 1, 2, 1, 0},
	{"the oldest is let go while it is read", drop_while_it_is_read, NULL, 0, 3, 1, 0},
	{"the oldest was let go, and is there", drop_older, NULL, 0, 4, 0, 0},
	{"one more among those let go", insert_into_what_was_dropped, NOWHERE, -1, 3, 1, 0},
	{"one more, older than those let go", put_older_than_what_was_dropped, NOWHERE, -1, 3, 1, 0},
	{"an entry waits", last_waits, NULL, 0, 4, 0, 0},
	{"an entry waits, and its decision", last_waits_and_was_changed, CHANGED, 3, 3, 0, 0},
	{"an entry is gone", no_entry, NOWHERE, 1, 3, 0, 0},
	{"no entry tells of decisions", no_entries, NULL, 0, 0, 0, 4},
	{"one came meanwhile", one_more_commit, NULL, 0, 4, 0, 0},
	{"entries that say nothing", broken_entries, NULL, 0, 4, 0, 0},
};

static void read_all(struct decision_check *check)
{
	decision_check_begin(check, sealed);
	for (size_t i = 0; i < record_count; i++)
		decision_check_record(check, text_of(records[i].id), text_of(records[i].body));
	for (size_t i = 0; i < entry_count; i++) {
		if (entries[i].id[0] == 'w')
			decision_check_entry(check, 0, text_of(entry_bodies[i]));
	}
	for (size_t i = 0; i < entry_count; i++) {
		if (entries[i].id[0] == 'c')
			decision_check_entry(check, (int64_t)i + 1, text_of(entry_bodies[i]));
	}
	decision_check_end(check);
}

static bool is_named(const struct decision_fault *fault, int commit)
{
	char id[ID_ROOM];
	if (commit < 0)
		return fault->entry == 0 && fault->last[0] == 0;
	print_id(id, commit, 0);
	return memcmp(fault->first, id, DECISION_BATCH) == 0;
}

static void what_is_done_to_decisions_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(tamperings); i++) {
		const struct tampering *one = &tamperings[i];
		struct decision_check check;
		make_all();
		one->do_it();
		read_all(&check);
		const char *why = check.fault.why;
		bool is_right = why == NULL || one->why == NULL
							? why == one->why
							: strcmp(why, one->why) == 0 && is_named(&check.fault, one->commit);
		is_right = is_right && !check.has_failed && check.whole == one->whole && check.dropped == one->dropped &&
				   check.outside == one->outside;
		if (!is_right)
			print_error("%s: %s %s, %zu whole, %zu dropped, %zu outside\n", one->name, check.fault.first,
				why == NULL ? "all is good" : why, check.whole, check.dropped, check.outside);
		assert_true(is_right);
		decision_check_free(&check);
	}
}

/* The missing one has an entry that names its decisions. */
static void a_missing_commit_is_named_whole(void **state)
{
	struct decision_check check;
	char first[ID_ROOM], last[ID_ROOM];
	(void)state;
	make_all();
	remove_commit();
	read_all(&check);
	print_id(first, 2, 0);
	print_id(last, 2, 2);
	strcat(first, "-0"); /* NOLINT: there is room */
	strcat(last, "-63"); /* NOLINT */
	assert_string_equal(check.fault.first, first);
	assert_string_equal(check.fault.last, last);
	assert_int_equal(check.fault.entry, 3);
	decision_check_free(&check);
}

static void no_byte_can_be_changed(void **state)
{
	(void)state;
	make_all();
	for (size_t at = 0; at < record_count; at++) {
		for (size_t i = 0; records[at].body[i] != 0; i++) {
			struct decision_check check;
			records[at].body[i] ^= 1;
			read_all(&check);
			assert_string_equal(check.fault.why, CHANGED);
			assert_memory_equal(check.fault.first, records[at].id, DECISION_BATCH);
			decision_check_free(&check);
			records[at].body[i] ^= 1;
		}
	}
}

/* The digest is what anybody can compute: printf '%s %s\n' ID "$(sha256sum < body)" ... | sha256sum */
static void the_form_is_this(void **state)
{
	struct decision_seal seal = {.records = 0};
	char digest[DIGEST_HEX + 1];
	(void)state;
	decision_seal_add(&seal, TEXT("0199aa00000000000000000000000000"), TEXT("{}"));
	decision_seal_add(&seal, TEXT("0199aa00000000000000000000000100"), TEXT("{\"a\":1}"));
	assert_int_equal(seal.records, 2);
	assert_int_equal(decision_seal_end(&seal, digest), STATUS_OK);
	assert_string_equal(digest, "7b21250081ce0dc18e51b348458f7db10fd93f018c5fc462719efc97dff444a8");
	assert_int_equal(seal.records, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_done_to_decisions_is_found),
		cmocka_unit_test(a_missing_commit_is_named_whole),
		cmocka_unit_test(no_byte_can_be_changed),
		cmocka_unit_test(the_form_is_this),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
