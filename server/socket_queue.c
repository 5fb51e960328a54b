/* The queue is read by ioctls (tcp(7)); of a local socket its unread bytes, and none that have not left. */
#include "server/socket_queue.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "server/connection.h"

static bool set_bound(int descriptor, int bytes)
{
	return setsockopt(descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof(bytes)) == 0;
}

void socket_queue_begin(int listening)
{
	(void)set_bound(listening, UNSENT_MAX);
}

void socket_queue_deepen(struct connection *connection, bool is_deep)
{
	struct engine *engine = connection->engine;
	if (connection->is_deep == is_deep || (is_deep && engine->deep_count >= DEEP_MOST))
		return;
	if (!set_bound(connection->descriptor, is_deep ? UNSENT_DEEP : UNSENT_MAX) && is_deep)
		return;
	connection->is_deep = is_deep;
	engine->deep_count += is_deep ? 1U : -1U;
}

static uint64_t count(const struct connection *connection, unsigned long which)
{
	int bytes = 0;
	return ioctl(connection->descriptor, which, &bytes) == 0 && bytes > 0 ? (uint64_t)bytes : 0;
}

uint64_t socket_queue_unsent(const struct connection *connection)
{
	return count(connection, SIOCOUTQNSD);
}

uint64_t socket_queue_length(const struct connection *connection)
{
	return count(connection, SIOCOUTQ);
}

void socket_queue_discard(const struct connection *connection)
{
	const struct linger none = {.l_onoff = 1, .l_linger = 0};
	(void)setsockopt(connection->descriptor, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
}
