/* HTTP/1.1 towards upstreams: client_h1.c has the connection, heads and requests, client_h1_body.c the answer's body.
 */
#pragma once

#include "server/client_private.h"

/* The block goes back when all of it has been taken. */
void h1_block_release(struct upstream *upstream);

/* As client_protocol has them. */
enum body_state h1_body_read(struct client_call *call, uint8_t *into, size_t room, size_t *count);
enum body_state h1_body_lend(
	struct client_call *call, size_t room, bool may_read, const uint8_t **bytes, size_t *count);
enum body_state h1_body_pipe(struct client_call *call, size_t room, int *pipe, size_t *count);
size_t h1_body_held(const struct client_call *call);
