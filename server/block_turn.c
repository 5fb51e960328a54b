/* Turns of the streams of a connection: one holder, and a queue in which each waits once. */
#include "server/block_turn.h"

#include "server/stream.h"

enum { TURN_MS = 10 };

static bool is_over(const struct block_turn *turn, const struct stream *stream)
{
	return worker_now_ms(stream->exchange.worker) - turn->since_ms > TURN_MS;
}

static void enqueue(struct block_turn *turn, struct stream *stream)
{
	stream->is_deferred = true;
	if (stream->turn_previous != NULL)
		return;
	if (turn->first == NULL)
		turn->end = &turn->first;
	stream->turn_next = NULL;
	stream->turn_previous = turn->end;
	*turn->end = stream;
	turn->end = &stream->turn_next;
}

static void dequeue(struct block_turn *turn, struct stream *stream)
{
	if (stream->turn_previous == NULL)
		return;
	*stream->turn_previous = stream->turn_next;
	if (stream->turn_next != NULL)
		stream->turn_next->turn_previous = stream->turn_previous;
	else
		turn->end = stream->turn_previous;
	stream->turn_previous = NULL;
}

static bool must_wait(const struct block_turn *turn, const struct stream *stream)
{
	const struct stream *other = turn->holder != NULL ? turn->holder : turn->first;
	if (other == NULL || other == stream || other->exchange.share != stream->exchange.share)
		return false;
	return (other != turn->holder || !is_over(turn, stream)) && stream_is_moving(stream);
}

bool block_turn_take(struct stream *stream)
{
	if (stream->connection == NULL || stream->exchange.held > 0 || !stream->reads_blocks)
		return true;
	struct block_turn *turn = &stream->connection->block_turn;
	if (must_wait(turn, stream)) {
		enqueue(turn, stream);
		return false;
	}
	dequeue(turn, stream);
	return true;
}

void block_turn_wait(struct stream *stream)
{
	struct block_turn *turn = &stream->connection->block_turn;
	enqueue(turn, stream);
	if (turn->holder == stream) /* else nobody would go on when the socket is free before the turn is over */
		turn->holder = NULL;
}

void block_turn_note(struct stream *stream, bool is_dry)
{
	struct block_turn *turn = &stream->connection->block_turn;
	stream->reads_blocks = stream->reads_blocks || stream->exchange.held > 0;
	if (is_dry || stream->exchange.held == 0) {
		if (turn->holder == stream)
			turn->holder = NULL;
		return;
	}
	if (turn->holder != NULL && (turn->holder == stream || !is_over(turn, stream)))
		return;
	turn->holder = stream;
	turn->since_ms = worker_now_ms(stream->exchange.worker);
}

bool block_turn_pass(struct connection *connection, bool is_idle)
{
	struct block_turn *turn = &connection->block_turn;
	struct stream *holder = turn->holder, *next = turn->first;
	/* an idle connection's holder waits for its share, as the others would, or for its peer's window */
	if (next == NULL || (holder != NULL && !is_over(turn, holder) && (!is_idle || holder->is_deferred)))
		return false;
	dequeue(turn, next);
	turn->holder = next;
	turn->since_ms = worker_now_ms(next->exchange.worker);
	exchange_resume(&next->exchange);
	return true;
}

void block_turn_leave(struct stream *stream)
{
	if (stream->connection == NULL)
		return;
	struct block_turn *turn = &stream->connection->block_turn;
	dequeue(turn, stream);
	if (turn->holder == stream)
		turn->holder = NULL;
	if (turn->first != NULL)
		connection_flush_later(stream->connection);
}
