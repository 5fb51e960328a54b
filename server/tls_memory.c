/* OpenSSL's allocator: its largest object of a connection, 7.6 KiB of which most is never used, goes where it can be
 * put away. All else is malloc's. */
#include "server/tls_memory.h"

#include <stdlib.h>

/* The drawer for the first object that is made, while SSL_new runs: SSL_new makes the connection first. */
static _Thread_local struct drawer *offered;

/* Apart, so that the other way, which all memory of OpenSSL goes, is short. */
static __attribute__((noinline)) void *take_offered(size_t size)
{
	void *taken = drawer_take(offered, size);
	offered = NULL;
	return taken != NULL ? taken : malloc(size);
}

static void *take(size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return offered == NULL ? malloc(size) : take_offered(size);
}

static void *change(void *bytes, size_t size, const char *file, int line)
{
	(void)file, (void)line;
	return drawer_owns(bytes) ? NULL : realloc(bytes, size); /* SSL objects do not grow */
}

static void give(void *bytes, const char *file, int line)
{
	(void)file, (void)line;
	if (!drawer_owns(bytes))
		free(bytes);
}

/* Before OpenSSL is asked for anything, other constructors among it: later it refuses, and all is malloc's. */
__attribute__((constructor(101))) static void set_functions(void)
{
	(void)CRYPTO_set_mem_functions(take, change, give);
}

SSL *tls_new_in(SSL_CTX *context, struct drawer *drawer)
{
	offered = drawer;
	SSL *ssl = SSL_new(context);
	offered = NULL;
	return ssl;
}
