/* An allocator for libevent. */
#include "server/loop_memory.h"

#include <event2/event.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 64 };

static void *take(size_t size)
{
	return size > SIZE_MAX - LINE ? NULL : aligned_alloc(LINE, size == 0 ? LINE : (size + LINE - 1) / LINE * LINE);
}

static void *change(void *bytes, size_t size)
{
	void *more = take(size);
	if (more == NULL || bytes == NULL)
		return more;
	size_t old = malloc_usable_size(bytes);
	memcpy(more, bytes, old < size ? old : size);
	free(bytes);
	return more;
}

static void install(void)
{
	event_set_mem_functions(take, change, free);
}

void loop_memory_install(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, install);
}
