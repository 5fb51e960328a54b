/* The audit's chain: what is done to its entries is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/fabric/fleet/audit_chain.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
enum { ENTRIES = 6, ROOM = 12 };

/* --- the chain alone */

struct entry {
	char id[32];
	struct buffer body;
};
static struct entry entries[ROOM];
static size_t entry_count;
static struct audit_link links[ROOM]; /* [n]: of the entry with the sequence n */

static void seal(struct audit_link *link, const char *body)
{
	struct entry *entry = &entries[entry_count++];
	buffer_clear(&entry->body);
	assert_int_equal(audit_link_follow(link, TEXT("w1"), text_of(body), &entry->body), STATUS_OK);
	audit_link_id(link->sequence, entry->id);
}

static void make_chain(void)
{
	struct audit_link link = audit_link_first();
	char body[64];
	entry_count = 0;
	for (int i = 1; i <= ENTRIES; i++) {
		snprintf(body, sizeof(body), "{\"at\":\"t%d\",\"what\":\"cell.cordoned\",\"cell\":\"c\"}", i);
		seal(&link, body);
		links[i] = link;
	}
}

static void drop_entries(void)
{
	for (size_t i = 0; i < ROOM; i++) {
		buffer_free(&entries[i].body);
		entries[i] = (struct entry){{0}, {0}};
	}
}

static void take_out(size_t at)
{
	struct entry gone = entries[at];
	memmove(&entries[at], &entries[at + 1], (--entry_count - at) * sizeof(gone));
	entries[entry_count] = gone;
}

static void swap_bodies(size_t one, size_t other)
{
	struct buffer body = entries[one].body;
	entries[one].body = entries[other].body;
	entries[other].body = body;
}

static void change_byte(size_t at, const char *what, char byte)
{
	char *found = strstr(entries[at].body.bytes, what);
	assert_non_null(found);
	*found = byte;
}

static void put_body(size_t at, const char *body)
{
	buffer_clear(&entries[at].body);
	buffer_append(&entries[at].body, text_of(body));
}

/* --- what is done to it */

static void nothing(void)
{
}
static void change_time(void)
{
	change_byte(2, "t3", 'T');
}
static void change_hash(void)
{
	char *last = entries[2].body.bytes + entries[2].body.length - 3;
	*last = *last == '0' ? '1' : '0';
}
static void change_what_it_follows(void)
{
	char *at = strstr(entries[2].body.bytes, "\"previous\":\"") + 12;
	*at = *at == '0' ? '1' : '0';
}
static void change_sequence(void)
{
	change_byte(2, "3,\"previous", '4');
}
static void capitals(void)
{
	for (char *at = entries[2].body.bytes + entries[2].body.length - 66; *at != '"'; at++)
		*at = (char)(*at >= 'a' && *at <= 'f' ? *at - 32 : *at == '0' ? 'A' : *at);
}
static void remove_first(void)
{
	take_out(0);
}
static void remove_middle(void)
{
	take_out(3);
}
static void remove_last(void)
{
	take_out(ENTRIES - 1);
}
static void remove_all(void)
{
	entry_count = 0;
}
static void reorder(void)
{
	swap_bodies(1, 4);
}
static void rename_over_gap(void)
{
	take_out(3);
	audit_link_id(4, entries[3].id);
	audit_link_id(5, entries[4].id);
}
static void insert_copy(void)
{
	put_body(ENTRIES, entries[5].body.bytes);
	put_body(5, entries[4].body.bytes);
	audit_link_id(7, entries[ENTRIES].id);
	entry_count++;
}
static void empty_body(void)
{
	put_body(3, "");
}
static void no_object(void)
{
	put_body(3, "[]");
}
static void space(void)
{
	buffer_append_byte(&entries[3].body, ' ');
}
static void strange_id(void)
{
	snprintf(entries[3].id, sizeof(entries[3].id), "c4");
}
/* With hashes that are right for what now stands there: only what is known from elsewhere tells. */
static void rewrite_last(void)
{
	struct audit_link link = links[ENTRIES - 1];
	entry_count = ENTRIES - 1;
	seal(&link, "{\"what\":\"cell.approved\"}");
}
static void rewrite_from_third(void)
{
	struct audit_link link = links[2];
	entry_count = 2;
	for (int i = 3; i <= ENTRIES; i++)
		seal(&link, "{\"what\":\"cell.approved\"}");
}
static void rewrite_third_alone(void)
{
	struct audit_link link = links[2];
	struct buffer body = {0};
	assert_int_equal(audit_link_follow(&link, TEXT("w1"), TEXT("{\"what\":\"x\"}"), &body), STATUS_OK);
	put_body(2, body.bytes);
	buffer_free(&body);
}
static void add_one(void)
{
	struct audit_link link = links[ENTRIES];
	seal(&link, "{\"what\":\"cell.approved\"}");
}

#define CHANGED "has been changed"
#define FOLLOWS "does not follow the one before it"
#define MISSING "is missing"
#define ANOTHER "is another than the one that is known"
#define NO_HEAD "cannot be known: the head of the chain is missing"
static const struct tampering {
	const char *name;
	void (*do_it)(void);
	int64_t bad; /* 0: all is good */
	const char *why;
	int64_t head, noted; /* sequences of what is known; head 0: none */
} tamperings[] = {
	{"nothing", nothing, 0, NULL, ENTRIES, 0},
	{"nothing, noted", nothing, 0, NULL, ENTRIES, 3},
	{"an older head", nothing, 0, NULL, 4, 0},
	{"one more", add_one, 0, NULL, ENTRIES, 0},
	{"a text", change_time, 3, CHANGED, ENTRIES, 0},
	{"a hash", change_hash, 3, CHANGED, ENTRIES, 0},
	{"previous", change_what_it_follows, 3, CHANGED, ENTRIES, 0},
	{"a sequence", change_sequence, 3, CHANGED, ENTRIES, 0},
	{"a hash in capitals", capitals, 3, CHANGED, ENTRIES, 0},
	{"no body", empty_body, 4, CHANGED, ENTRIES, 0},
	{"no object", no_object, 4, CHANGED, ENTRIES, 0},
	{"a space", space, 4, CHANGED, ENTRIES, 0},
	{"the first is gone", remove_first, 1, MISSING, ENTRIES, 0},
	{"one is gone", remove_middle, 4, MISSING, ENTRIES, 0},
	{"one is gone, and the others are renamed", rename_over_gap, 4, FOLLOWS, ENTRIES, 0},
	{"the last is gone", remove_last, 6, MISSING, ENTRIES, 0},
	{"the last is gone, and the head follows", remove_last, 0, NULL, 5, 0},
	{"the last is gone, the head follows, it was noted", remove_last, 6, MISSING, 5, 6},
	{"all are gone", remove_all, 1, MISSING, ENTRIES, 0},
	{"all are gone, with the head", remove_all, 0, NULL, 0, 0},
	{"two in each other's place", reorder, 2, FOLLOWS, ENTRIES, 0},
	{"one twice", insert_copy, 6, FOLLOWS, ENTRIES, 0},
	{"a strange id", strange_id, 4, MISSING, ENTRIES, 0},
	{"the last is another", rewrite_last, 6, ANOTHER, ENTRIES, 0},
	{"one is another", rewrite_third_alone, 4, FOLLOWS, ENTRIES, 0},
	{"all from one on are others", rewrite_from_third, 6, ANOTHER, ENTRIES, 0},
	{"all from one on are others, one was noted", rewrite_from_third, 4, ANOTHER, ENTRIES, 4},
	{"no head", nothing, 7, NO_HEAD, 0, 0},
};

static void what_is_done_to_the_chain_is_found(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(tamperings); i++) {
		const struct tampering *one = &tamperings[i];
		struct audit_check check;
		make_chain();
		one->do_it();
		audit_check_begin(&check);
		check.has_no_head = one->head == 0;
		audit_check_expect(&check, one->head == 0 ? &(struct audit_link){0} : &links[one->head]);
		audit_check_expect(&check, one->noted == 0 ? &(struct audit_link){0} : &links[one->noted]);
		for (size_t at = 0; at < entry_count; at++)
			audit_check_add(&check, text_of(entries[at].id),
				entries[at].body.bytes == NULL ? TEXT("") : buffer_text(&entries[at].body));
		audit_check_end(&check);
		int64_t bad = check.why == NULL ? 0 : check.last.sequence + 1;
		bool is_right = bad == one->bad && (bad == 0 || strcmp(check.why, one->why) == 0);
		if (!is_right)
			print_error("%s: entry %lld %s\n", one->name, (long long)bad, check.why == NULL ? "is good" : check.why);
		assert_true(is_right);
	}
	drop_entries();
}

/* Byte by byte: whatever changes is found at the entry it is in. */
static void no_byte_can_be_changed(void **state)
{
	(void)state;
	make_chain();
	for (size_t at = 0; at < ENTRIES; at++) {
		for (size_t i = 0; i < entries[at].body.length; i++) {
			struct audit_check check;
			entries[at].body.bytes[i] ^= 1;
			audit_check_begin(&check);
			for (size_t j = 0; j < entry_count; j++)
				audit_check_add(&check, text_of(entries[j].id), buffer_text(&entries[j].body));
			assert_non_null(check.why);
			assert_int_equal(check.last.sequence, at);
			entries[at].body.bytes[i] ^= 1;
		}
	}
	drop_entries();
}

/* The form is what anybody can compute: SHA-256 of the text without its last member. */
static void the_form_is_this(void **state)
{
	struct audit_link link = audit_link_first();
	struct buffer body = {0};
	(void)state;
	assert_int_equal(audit_link_follow(&link, TEXT("w1"), TEXT("{\"what\":\"x\"}"), &body), STATUS_OK);
	assert_string_equal(body.bytes,
		"{\"sequence\":1,\"previous\":\"0000000000000000000000000000000000000000000000000000000000000000\","
		"\"entry\":\"w1\",\"what\":\"x\",\"hash\":"
		"\"ad7dc73addd5bdee7f974a1f58ceaf5737f8a8b774d729a3ca82134f843f9b28\"}");
	buffer_clear(&body);
	assert_int_equal(audit_link_follow(&link, TEXT("w2"), TEXT("no JSON"), &body), STATUS_OK);
	assert_non_null(strstr(body.bytes, "\"entry\":\"w2\",\"unreadable\":\"no JSON\",\"hash\":\""));
	buffer_free(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_done_to_the_chain_is_found),
		cmocka_unit_test(no_byte_can_be_changed),
		cmocka_unit_test(the_form_is_this),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
