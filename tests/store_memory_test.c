/* What is remembered of a server's records, against a list that remembers everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "tenants/store/memory.h"

enum { IDS = 3000, STEPS = 60000 };

static void told(struct memory *memory, enum record_kind kind, const char *id, int64_t revision, bool is_there)
{
	memory_note(memory, &(struct record){.ctx = TEXT("c"),
							.kind = kind,
							.id = text_of(id),
							.revision = revision,
							.body = is_there ? TEXT("{}") : TEXT_NONE});
}

static void it_holds_what_was_told_last(void **state)
{
	(void)state;
	static int64_t known[IDS];
	struct memory memory = {0};
	uint64_t chance = 88172645463325252U;
	for (int64_t step = 1; step <= STEPS; step++) {
		char id[16];
		chance ^= chance << 13, chance ^= chance >> 7, chance ^= chance << 17;
		/* many come, then most go */
		size_t at = chance % IDS;
		bool is_there = chance >> 32 & 1 || step < STEPS / 2;
		snprintf(id, sizeof(id), "%zu", at);
		told(&memory, RECORD_FLOW, id, step, is_there);
		known[at] = is_there ? step : 0;
		if (step % 5000 != 0)
			continue;
		size_t count = 0;
		for (size_t i = 0; i < IDS; i++) {
			snprintf(id, sizeof(id), "%zu", i);
			assert_int_equal(memory_revision(&memory, TEXT("c"), RECORD_FLOW, text_of(id)), known[i]);
			assert_int_equal(memory_revision(&memory, TEXT("d"), RECORD_FLOW, text_of(id)), 0);
			assert_int_equal(memory_revision(&memory, TEXT("c"), RECORD_KEY, text_of(id)), 0);
			count += known[i] != 0;
		}
		assert_int_equal(memory.count, count);
	}
	memory_clear(&memory);
	assert_int_equal(memory_revision(&memory, TEXT("c"), RECORD_FLOW, TEXT("1")), 0);
}

/* Of some kinds not every change is told. */
static void what_others_may_change_in_silence_is_not_remembered(void **state)
{
	(void)state;
	struct memory memory = {0};
	told(&memory, RECORD_TOKEN, "t", 1, true);
	told(&memory, RECORD_RECEIPT, "r", 2, true);
	assert_int_equal(memory_revision(&memory, TEXT("c"), RECORD_TOKEN, TEXT("t")), 0);
	assert_int_equal(memory_revision(&memory, TEXT("c"), RECORD_RECEIPT, TEXT("r")), 0);
	memory_clear(&memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_holds_what_was_told_last),
		cmocka_unit_test(what_others_may_change_in_silence_is_not_remembered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
