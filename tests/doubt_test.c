/* What others say of a silent cell: whom to ask, which words count, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "control/fabric/health/doubt.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The cells that may be asked, as bits. */
static bool is_fit(const void *context, uint32_t slot)
{
	return (*(const uint64_t *)context >> slot & 1) != 0;
}

static unsigned ask(struct doubt *doubt, uint32_t question, uint64_t fit, uint32_t cells[DOUBT_CELLS])
{
	return doubt_ask(doubt, question, 16, is_fit, &fit, cells);
}

static void three_others_are_asked(void **state)
{
	static const struct {
		uint32_t slot;
		uint64_t fit;
		unsigned count;
		uint32_t cells[DOUBT_CELLS];
	} cases[] = {
		{0, 0xffff, 3, {1, 2, 3}},
		{14, 0xffff, 3, {15, 0, 1}}, /* around the end, and not itself */
		{5, 0x0000, 0, {0}},
		{5, 0x0020, 0, {0}}, /* itself alone */
		{5, 0x8001, 2, {15, 0}},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct doubt doubt = {.slot = cases[i].slot};
		uint32_t cells[DOUBT_CELLS] = {0};
		assert_int_equal(ask(&doubt, 1, cases[i].fit, cells), cases[i].count);
		assert_memory_equal(cells, cases[i].cells, cases[i].count * sizeof(cells[0]));
		assert_int_equal(doubt_tally(&doubt, 0).cells_asked, cases[i].count);
	}
	struct doubt doubt = {.slot = 0};
	uint32_t cells[DOUBT_CELLS];
	assert_int_equal(doubt_ask(&doubt, 1, 0, is_fit, &(uint64_t){0}, cells), 0); /* no cells at all */
}

static void who_does_not_answer_is_replaced(void **state)
{
	struct doubt doubt = {.slot = 0};
	uint32_t cells[DOUBT_CELLS];
	(void)state;
	assert_int_equal(ask(&doubt, 1, 0xffff, cells), 3);
	assert_true(doubt_hear_cell(&doubt, 1, 2, false, 1000));
	assert_int_equal(ask(&doubt, 2, 0xffff, cells), 3);
	assert_memory_equal(cells, ((uint32_t[]){4, 2, 5}), sizeof(cells));
	assert_int_equal(doubt_tally(&doubt, 1000).cells_silent, 1); /* the word stays while it is asked again */
	for (uint32_t i = 0; i < 3; i++)
		assert_true(doubt_hear_cell(&doubt, 2, cells[i], false, 2000));
	assert_int_equal(ask(&doubt, 3, 0xffff & ~(1u << 4), cells), 3); /* no longer well itself */
	assert_memory_equal(cells, ((uint32_t[]){6, 2, 5}), sizeof(cells));
	assert_int_equal(doubt_tally(&doubt, 2000).cells_silent, 2);
}

static void only_who_was_asked_is_heard_once(void **state)
{
	struct doubt doubt = {.slot = 0};
	uint32_t cells[DOUBT_CELLS];
	(void)state;
	assert_int_equal(ask(&doubt, 7, 0xffff, cells), 3);
	assert_false(doubt_hear_cell(&doubt, 7, 9, false, 1000)); /* another cell */
	assert_false(doubt_hear_cell(&doubt, 6, 1, false, 1000)); /* another question */
	assert_true(doubt_hear_cell(&doubt, 7, 1, false, 1000));
	assert_false(doubt_hear_cell(&doubt, 7, 1, true, 1000)); /* it has had its say */
	assert_false(doubt_hear_replica(&doubt, 6, 1, false, 1000));
	for (uint64_t replica = 1; replica <= DOUBT_REPLICAS; replica++)
		assert_true(doubt_hear_replica(&doubt, 7, replica, false, 1000));
	assert_false(doubt_hear_replica(&doubt, 7, 99, true, 1000));
	assert_true(doubt_hear_replica(&doubt, 7, 1, true, 1500));                   /* the same, anew */
	assert_true(doubt_hear_replica(&doubt, 7, 99, false, 1001 + DOUBT_WORD_MS)); /* in a stale one's place */
}

enum { NOBODY = -1, SILENT = 0, ALIVE = 1 };

static void judgement(void **state)
{
	static const struct {
		int probe, cell, replica;
		enum health_reach reach;
		bool is_agreed;
	} cases[] = {
		{NOBODY, NOBODY, NOBODY, REACH_UNKNOWN, false},
		{SILENT, NOBODY, NOBODY, REACH_NO, false}, /* one replica alone */
		{NOBODY, SILENT, SILENT, REACH_UNKNOWN, false},
		{SILENT, SILENT, NOBODY, REACH_NO, true},
		{SILENT, NOBODY, SILENT, REACH_NO, true},
		{SILENT, SILENT, SILENT, REACH_NO, true},
		{SILENT, SILENT, ALIVE, REACH_YES, false},
		{SILENT, ALIVE, SILENT, REACH_YES, false},
		{ALIVE, SILENT, SILENT, REACH_YES, false},
		{NOBODY, ALIVE, NOBODY, REACH_YES, false},
	};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct doubt doubt = {.slot = 0};
		uint32_t cells[DOUBT_CELLS];
		assert_int_equal(ask(&doubt, 1, 0xffff, cells), 3);
		if (cases[i].probe != NOBODY)
			doubt_probed(&doubt, cases[i].probe == ALIVE, 5000);
		if (cases[i].cell != NOBODY)
			assert_true(doubt_hear_cell(&doubt, 1, 2, cases[i].cell == ALIVE, 5000));
		if (cases[i].replica != NOBODY)
			assert_true(doubt_hear_replica(&doubt, 1, 42, cases[i].replica == ALIVE, 5000));
		assert_int_equal(doubt_reach(&doubt, 5000 + DOUBT_WORD_MS), cases[i].reach);
		assert_int_equal(doubt_is_agreed(&doubt, 5000 + DOUBT_WORD_MS), cases[i].is_agreed);
		/* words of long ago are none */
		assert_int_equal(doubt_reach(&doubt, 5001 + DOUBT_WORD_MS), REACH_UNKNOWN);
		assert_false(doubt_is_agreed(&doubt, 5001 + DOUBT_WORD_MS));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(three_others_are_asked),
		cmocka_unit_test(who_does_not_answer_is_replaced),
		cmocka_unit_test(only_who_was_asked_is_heard_once),
		cmocka_unit_test(judgement),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
