/* What the kernel holds of a connection's output and has not sent: little, so that what was stopped stops soon and a
 * peer that takes nothing holds little. More for few: with much there, what a peer's acknowledgements let go leaves
 * without waking the worker. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct connection;

enum {
	UNSENT_MAX = 128 * 1024,       /* of every connection */
	UNSENT_DEEP = 2 * 1024 * 1024, /* of those that are deep */
	DEEP_MOST = 16,                /* so many of a worker at once */
};

/* Of a listening socket of the Internet: its connections inherit it. */
void socket_queue_begin(int listening);
/* From now on, or no longer; what stands in the queue stays. Does nothing where too many are deep already, or the
 * socket is a local one. A connection that is closed must not be deep. */
void socket_queue_deepen(struct connection *connection, bool is_deep);
/* Bytes that have not left; also after the peer has reset the connection: then they never will. */
uint64_t socket_queue_unsent(const struct connection *connection);
/* Bytes that the peer has not acknowledged, these among them. */
uint64_t socket_queue_length(const struct connection *connection);
/* The close that follows resets the connection and throws the queue away. */
void socket_queue_discard(const struct connection *connection);
