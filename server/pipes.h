/* Pipes of one worker, by which bytes go from socket to socket without passing through this process. A pipe that comes
 * back with bytes in it is closed: nobody ever gets another's. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { PIPES_MOST = 32, PIPE_BYTES = 1024 * 1024 };

struct pipe_ends {
	int in, out; /* to write to, to read from */
};

struct pipes {
	struct pipe_ends free[PIPES_MOST];
	unsigned free_count, open_count;
};

/* False: all are in use, or the system has none. */
bool pipes_take(struct pipes *pipes, struct pipe_ends *taken);
void pipes_give(struct pipes *pipes, struct pipe_ends given);
/* All have come back. */
void pipes_close(struct pipes *pipes);
