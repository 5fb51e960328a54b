/* Secrets live in pages of their own: locked, kept out of core dumps, wiped before they go back. */
#include "server/base/secret.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct secret {
	size_t mapped, length;
	char bytes[];
};

void wipe(void *bytes, size_t length)
{
	if (length > 0)
		explicit_bzero(bytes, length);
}

void buffer_wipe(struct buffer *buffer)
{
	wipe(buffer->bytes, buffer->room);
	buffer_free(buffer);
}

struct secret *secret_new(struct text bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	if (bytes.length > SIZE_MAX / 2)
		return NULL;
	size_t mapped = (sizeof(struct secret) + bytes.length + 1 + page - 1) / page * page;
	struct secret *secret = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (secret == MAP_FAILED)
		return NULL;
	/* Best effort: RLIMIT_MEMLOCK may be small, and a secret that can swap still serves. */
	(void)mlock(secret, mapped);
	(void)madvise(secret, mapped, MADV_DONTDUMP);
	secret->mapped = mapped;
	secret->length = bytes.length;
	if (bytes.length > 0)
		memcpy(secret->bytes, bytes.bytes, bytes.length);
	return secret;
}

struct secret *secret_copy(const struct secret *secret)
{
	return secret ? secret_new(secret_expose(secret)) : NULL;
}

struct text secret_expose(const struct secret *secret)
{
	return secret ? (struct text){secret->bytes, secret->length} : TEXT_NONE;
}

void secret_free(struct secret *secret)
{
	if (!secret)
		return;
	size_t mapped = secret->mapped;
	wipe(secret, mapped);
	munmap(secret, mapped);
}
