/* Whose block is being sent: streams of one connection and one share that read large blocks from their sources take
 * turns, so that who has read a block sends it before the next one reads. Then the block is still in the cache, one
 * connection holds few of them, and each source is read in large pieces. Only streams whose peer takes much and quickly
 * wait for each other, and nobody longer than a block takes to leave, at most TURN_MS. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct connection;
struct stream;

struct block_turn {
	struct stream *holder; /* NULL: nobody's block is being sent */
	uint64_t since_ms;
	struct stream *first, **end; /* who waits, in the order they came */
};

/* Before a stream reads from its source. False: it is another one's turn; the stream is queued, and deferred. */
bool block_turn_take(struct stream *stream);
/* The socket is full: the stream gives its turn up, and is queued and deferred until there is something to send to it.
 */
void block_turn_wait(struct stream *stream);
/* After it read or lent; is_dry: its source had nothing. */
void block_turn_note(struct stream *stream, bool is_dry);
/* The connection can write; is_idle: and has nothing to. The next one that waits is resumed; false: there is none, or
 * it is still another's turn. */
bool block_turn_pass(struct connection *connection, bool is_idle);
void block_turn_leave(struct stream *stream);
