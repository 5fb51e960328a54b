/* Pipes are kept as they are: making one, and making it larger, costs more than a block's way through it. */
#include "server/pipes.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void close_ends(struct pipes *pipes, struct pipe_ends ends)
{
	close(ends.in);
	close(ends.out);
	pipes->open_count--;
}

bool pipes_take(struct pipes *pipes, struct pipe_ends *taken)
{
	int ends[2];
	if (pipes->free_count > 0) {
		*taken = pipes->free[--pipes->free_count];
		return true;
	}
	if (pipes->open_count == PIPES_MOST || pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0)
		return false;
	*taken = (struct pipe_ends){.in = ends[1], .out = ends[0]};
	pipes->open_count++;
	/* it holds pages, however little is in each; beyond what a user may have it stays as small as it is */
	(void)fcntl(taken->in, F_SETPIPE_SZ, PIPE_BYTES);
	return true;
}

void pipes_give(struct pipes *pipes, struct pipe_ends given)
{
	int found = 0;
	if (ioctl(given.out, FIONREAD, &found) != 0 || found != 0)
		close_ends(pipes, given);
	else
		pipes->free[pipes->free_count++] = given;
}

void pipes_close(struct pipes *pipes)
{
	while (pipes->free_count > 0)
		close_ends(pipes, pipes->free[--pipes->free_count]);
}
