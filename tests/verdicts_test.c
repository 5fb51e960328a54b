/* Verdicts on tokens: found again for whom they were given, and no longer than they stand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "tenants/dp/token.h"

#define A "0123456789abcdef0123456789abcdef"
#define B "fedcba9876543210fedcba9876543210"
#define IDENTITY "did:web:provider.example"

enum { CAPACITY = 16, TOKENS = 300 };
static const int64_t expires_s = 1000;

static _Atomic uint64_t epoch = 1;
static struct verdicts *verdicts;
static const struct participant first = {.ctx = A, .identity = (char *)(uintptr_t)IDENTITY},
								other = {.ctx = B, .identity = (char *)(uintptr_t)IDENTITY};

static struct text token_at(int number)
{
	static char room[64];
	snprintf(room, sizeof(room), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ%07d", number);
	return text_of(room);
}

static const struct verdict *take(const struct participant *participant, int number)
{
	const struct verdict *verdict = NULL;
	const struct access_claims claims = {.ctx = text_of(participant->ctx),
		.flow = TEXT("flow"),
		.jti = TEXT("jti"),
		.identity = TEXT(IDENTITY),
		.audience = TEXT("audience"),
		.expires_s = expires_s};
	assert_int_equal(
		verdicts_take(verdicts, participant, token_at(number), &claims, atomic_load(&epoch), 0, &verdict), STATUS_OK);
	return verdict;
}

static const struct verdict *find(const struct participant *participant, int number, int64_t now_ms)
{
	return verdicts_find(verdicts, participant, token_at(number), now_ms);
}

static int open_verdicts(void **state)
{
	(void)state;
	verdicts = verdicts_new(CAPACITY, &epoch);
	return verdicts == NULL;
}

static int close_verdicts(void **state)
{
	(void)state;
	verdicts_free(verdicts);
	return 0;
}

static void a_verdict_is_its_participants(void **state)
{
	(void)state;
	const struct verdict *verdict = take(&first, 1);
	for (int i = 0; i < 3; i++) {
		assert_ptr_equal(find(&first, 1, 0), verdict);
		assert_null(find(&other, 1, 0));
		assert_null(find(&first, 2, 0));
	}
}

static void a_verdict_ends(void **state)
{
	(void)state;
	const struct verdict *verdict = take(&first, 1);
	for (int i = 0; i < 2; i++)
		assert_ptr_equal(find(&first, 1, expires_s * 1000 - 1), verdict);
	assert_null(find(&first, 1, expires_s * 1000));
	assert_null(find(&first, 1, 0)); /* it is gone */
	verdict = take(&first, 1);
	for (int i = 0; i < 2; i++)
		assert_ptr_equal(find(&first, 1, 0), verdict);
	atomic_fetch_add(&epoch, 1);
	assert_null(find(&first, 1, 0));
}

/* More than there is room for: each that is found is the one that was asked for. */
static void verdicts_make_room(void **state)
{
	(void)state;
	const struct participant *const participants[] = {&first, &other};
	for (int i = 0; i < TOKENS; i++) {
		const struct participant *participant = participants[i % 2];
		const struct verdict *verdict = take(participant, i);
		assert_ptr_equal(find(participant, i, 0), verdict);
		for (int j = 0; j <= i; j += 7) {
			const struct verdict *found = find(participants[j % 2], j, 0);
			assert_true(found == NULL || text_equals(found->token, token_at(j)));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_verdict_is_its_participants, open_verdicts, close_verdicts),
		cmocka_unit_test_setup_teardown(a_verdict_ends, open_verdicts, close_verdicts),
		cmocka_unit_test_setup_teardown(verdicts_make_room, open_verdicts, close_verdicts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
