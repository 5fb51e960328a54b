/* Drawers: what is taken stays as it is through shutting and opening, and costs no page meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/drawer.h"

enum { PAGE = 4096 };

static int open_pool(void **state)
{
	*state = drawer_pool_new();
	return *state == NULL ? -1 : 0;
}

static int close_pool(void **state)
{
	drawer_pool_free(*state);
	return 0;
}

static size_t pages_of(const void *bytes)
{
	unsigned char present[DRAWER_SIZE / PAGE];
	size_t count = 0;
	assert_int_equal(mincore((void *)(uintptr_t)bytes, DRAWER_SIZE, present), 0);
	for (size_t i = 0; i < sizeof(present); i++)
		count += present[i] & 1;
	return count;
}

static bool is_zero(const uint8_t *bytes, size_t length)
{
	size_t at = 0;
	while (at < length && bytes[at] == 0)
		at++;
	return at == length;
}

static void *ask(void *bytes)
{
	return drawer_owns(bytes) ? bytes : NULL;
}

/* OpenSSL frees on other threads while the first worker begins: the thread sanitizer sees whether both may. The first
 * of all: the addresses are reserved once. */
static void others_ask_meanwhile(void **state)
{
	pthread_t other;
	void *owned, *bytes = malloc(1);
	(void)state;
	assert_int_equal(pthread_create(&other, NULL, ask, bytes), 0);
	struct drawer_pool *pool = drawer_pool_new();
	assert_int_equal(pthread_join(other, &owned), 0);
	assert_null(owned);
	assert_non_null(pool);
	drawer_pool_free(pool);
	free(bytes);
}

static void what_is_taken_fits(void **state)
{
	struct drawer *drawer = drawer_new(*state);
	uint8_t *first = drawer_take(drawer, 7), *second = drawer_take(drawer, 4096), *none = drawer_take(drawer, SIZE_MAX);
	assert_ptr_equal(second, first + 16);
	assert_null(none);
	assert_null(drawer_take(drawer, DRAWER_SIZE - 16 - 4096 + 1));
	uint8_t *rest = drawer_take(drawer, DRAWER_SIZE - 16 - 4096);
	assert_ptr_equal(rest, second + 4096);
	assert_null(drawer_take(drawer, 1));
	assert_true(is_zero(first, DRAWER_SIZE));
	assert_true(drawer_owns(first) && drawer_owns(first + DRAWER_SIZE - 1));
	assert_false(drawer_owns(*state));
	assert_false(drawer_owns(NULL));
	assert_int_equal(drawer_extent(first), DRAWER_SIZE);
	assert_int_equal(drawer_extent(rest), DRAWER_SIZE - 16 - 4096);
	drawer_free(drawer);
}

/* Of every pattern, what comes out is what went in; shut, it has no page. */
static void shut_and_opened_it_is_the_same(void **state)
{
	static const struct {
		size_t used, step; /* every so many bytes one is not zero */
	} patterns[] = {{DRAWER_SIZE, 1}, {DRAWER_SIZE, 31}, {DRAWER_SIZE, 32}, {DRAWER_SIZE, 4099}, {DRAWER_SIZE, 20000},
		{7, 3}, {33, 32}, {7624, 100}, {5000, 9000}};
	static uint8_t kept[DRAWER_SIZE];
	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		struct drawer *drawer = drawer_new(*state);
		uint8_t *bytes = drawer_take(drawer, patterns[i].used);
		for (size_t at = 0; at < patterns[i].used; at += patterns[i].step)
			bytes[at] = (uint8_t)(at % 255 + 1);
		for (int round = 0; round < 3; round++) {
			memcpy(kept, bytes, patterns[i].used);
			assert_false(drawer_is_shut(drawer));
			drawer_shut(drawer);
			assert_true(drawer_is_shut(drawer));
			assert_int_equal(pages_of(bytes), 0);
			drawer_shut(drawer); /* it is */
			drawer_open(drawer);
			assert_false(drawer_is_shut(drawer));
			assert_memory_equal(bytes, kept, patterns[i].used);
			drawer_open(drawer); /* it is */
			bytes[patterns[i].used - 1]++;
		}
		drawer_free(drawer);
	}
}

/* Whoever gets a drawer next finds nothing in it. */
static void freed_drawers_are_empty(void **state)
{
	enum { COUNT = 200 };
	struct drawer *drawers[COUNT];
	uint8_t *bytes[COUNT];
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < COUNT; i++) {
			drawers[i] = drawer_new(*state);
			assert_non_null(drawers[i]);
			bytes[i] = drawer_take(drawers[i], DRAWER_SIZE);
			assert_true(is_zero(bytes[i], DRAWER_SIZE));
			memset(bytes[i], i + 1, DRAWER_SIZE);
		}
		for (int i = 0; i < COUNT; i++)
			assert_int_equal(bytes[i][DRAWER_SIZE - 1], (uint8_t)(i + 1));
		for (int i = 0; i < COUNT; i++) {
			if (i % 3 == 0)
				drawer_shut(drawers[i]);
			drawer_free(drawers[i]);
		}
	}
}

#ifndef NDEBUG
/* In a child: a touch of what is shut ends a debug build. */
static void shut_means_shut(void **state)
{
	struct drawer *drawer = drawer_new(*state);
	uint8_t *bytes = drawer_take(drawer, 100);
	drawer_shut(drawer);
	pid_t child = fork();
	if (child == 0) {
		signal(SIGSEGV, SIG_DFL);
		*(volatile uint8_t *)bytes = 1;
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	drawer_free(drawer);
}
#endif

int main(void)
{
	const struct CMUnitTest first[] = {cmocka_unit_test(others_ask_meanwhile)};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_taken_fits),
		cmocka_unit_test(shut_and_opened_it_is_the_same),
		cmocka_unit_test(freed_drawers_are_empty),
#ifndef NDEBUG
		cmocka_unit_test(shut_means_shut),
#endif
	};
	return cmocka_run_group_tests(first, NULL, NULL) + cmocka_run_group_tests(tests, open_pool, close_pool);
}
