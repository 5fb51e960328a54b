/* Pipes: kept when they come back empty, closed when they do not, never more than so many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "server/pipes.h"

static bool is_open(int descriptor)
{
	return fcntl(descriptor, F_GETFD) >= 0;
}

static void an_empty_pipe_is_used_again(void **state)
{
	(void)state;
	struct pipes pipes = {0};
	struct pipe_ends first, second;
	char byte = 'x';
	assert_true(pipes_take(&pipes, &first));
	assert_int_equal(write(first.in, &byte, 1), 1);
	assert_int_equal(read(first.out, &byte, 1), 1);
	pipes_give(&pipes, first);
	assert_true(pipes_take(&pipes, &second));
	assert_true(second.in == first.in && second.out == first.out);
	pipes_give(&pipes, second);
	pipes_close(&pipes);
	assert_false(is_open(first.in) || is_open(first.out));
	assert_int_equal(pipes.open_count, 0);
}

static void bytes_never_reach_the_next(void **state)
{
	(void)state;
	struct pipes pipes = {0};
	struct pipe_ends ends;
	assert_true(pipes_take(&pipes, &ends));
	assert_int_equal(write(ends.in, "secret", 6), 6);
	pipes_give(&pipes, ends);
	assert_false(is_open(ends.in) || is_open(ends.out));
	assert_int_equal(pipes.free_count, 0);
	assert_int_equal(pipes.open_count, 0);
}

static void there_are_so_many(void **state)
{
	(void)state;
	struct pipes pipes = {0};
	struct pipe_ends taken[PIPES_MOST], more;
	for (int i = 0; i < PIPES_MOST; i++)
		assert_true(pipes_take(&pipes, &taken[i]));
	assert_false(pipes_take(&pipes, &more));
	pipes_give(&pipes, taken[0]);
	assert_true(pipes_take(&pipes, &taken[0]));
	for (int i = 0; i < PIPES_MOST; i++)
		pipes_give(&pipes, taken[i]);
	pipes_close(&pipes);
	assert_int_equal(pipes.open_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_pipe_is_used_again),
		cmocka_unit_test(bytes_never_reach_the_next),
		cmocka_unit_test(there_are_so_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
