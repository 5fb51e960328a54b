/* Memory of nghttp2's sessions. The first and largest piece is the buffer it packs frames into. What lies there is
 * taken (connection_write) before another session packs, so the sessions of a worker share one; it stays in the cache,
 * too. What a session is opened with, 9 KiB mostly of zeros, lies in the connection's drawer. */
#include <stdlib.h>
#include <string.h>

#include "server/drawer.h"
#include "server/h2_private.h"

static void *take_in_drawer(const struct h2 *h2, size_t size)
{
	struct drawer *drawer = h2->connection->drawer;
	return drawer != NULL ? drawer_take(drawer, size) : NULL;
}

static void *session_malloc(size_t size, void *context)
{
	struct h2 *h2 = context;
	uint8_t *frame = h2->connection->engine->frame;
	if (h2->output.frame_room > 0 && size == FRAME_EXTRA + h2->output.frame_room && h2->has_frame_buffer)
		return frame; /* it has outgrown its first one */
	if (!h2->is_opening)
		return malloc(size);
	if (size == FRAME_BUFFER && !h2->has_frame_buffer && frame != NULL) {
		h2->has_frame_buffer = true;
		return frame;
	}
	void *taken = take_in_drawer(h2, size);
	return taken != NULL ? taken : malloc(size);
}

static void session_free(void *bytes, void *context)
{
	const struct h2 *h2 = context;
	if (bytes != NULL && bytes != h2->connection->engine->frame && !drawer_owns(bytes))
		free(bytes);
}

static void *session_calloc(size_t count, size_t size, void *context)
{
	const struct h2 *h2 = context;
	size_t whole;
	void *taken = h2->is_opening && !__builtin_mul_overflow(count, size, &whole) ? take_in_drawer(h2, whole) : NULL;
	return taken != NULL ? taken : calloc(count, size);
}

static void *session_realloc(void *bytes, size_t size, void *context)
{
	const struct h2 *h2 = context;
	if (bytes == NULL)
		return session_malloc(size, context);
	bool is_frame = bytes == h2->connection->engine->frame;
	if (!is_frame && !drawer_owns(bytes))
		return realloc(bytes, size);
	size_t old = is_frame ? FRAME_BUFFER : drawer_extent(bytes);
	void *own = malloc(size);
	if (own != NULL)
		memcpy(own, bytes, size < old ? size : old);
	return own;
}

nghttp2_mem h2_memory(struct h2 *h2)
{
	return (nghttp2_mem){h2, session_malloc, session_free, session_calloc, session_realloc};
}
