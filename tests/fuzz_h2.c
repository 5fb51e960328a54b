/* Any bytes as HTTP/2 from a peer: two connections of one worker, fed in pieces over socket pairs, in front of a
 * handler that answers in every way a runtime may. Every exchange ends once, nothing is left when the connections are
 * gone. The loop is turned by hand and its clock stands still, so that a run is repeated exactly.
 *
 * Input: two bytes that choose how it is cut and who gets what; the rest goes out after the preface. */
#include "tests/engine_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum { PEERS = 2, BODY = 40000 };
static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static struct engine_fixture fixture;
static unsigned open_exchanges;
static struct exchange *waiting[16]; /* for a later turn */

/* --- the handler */

static void forget(const struct exchange *exchange)
{
	for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++)
		if (waiting[i] == exchange)
			waiting[i] = NULL;
}

static void remember(struct exchange *exchange)
{
	for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
		if (waiting[i] == NULL || waiting[i] == exchange) {
			waiting[i] = exchange;
			return;
		}
	}
	exchange_abort(exchange, STATUS_REFUSED);
}

static void on_close(struct exchange *exchange, enum status outcome)
{
	(void)outcome;
	if (open_exchanges-- == 0)
		abort();
	forget(exchange);
}

static enum body_state read_body(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	uint64_t left = BODY - exchange->bytes_sent;
	size_t turn = (size_t)(uintptr_t)exchange->state;
	exchange->state = (void *)(turn + 1);
	if (turn % 3 == 2) {
		remember(exchange);
		return BODY_LATER;
	}
	*count = left < room ? (size_t)left : room;
	memset(frame, 'b', *count);
	if (*count == left)
		exchange_add_trailer(exchange, TEXT("checksum"), TEXT("1"));
	return *count == left ? BODY_END : BODY_MORE;
}

static enum body_state read_failing(struct exchange *exchange, uint8_t *frame, size_t room, size_t *count)
{
	if (exchange->bytes_sent > 0)
		return BODY_FAILED;
	*count = room < 10 ? room : 10;
	memset(frame, 'f', *count);
	return BODY_MORE;
}

static void respond(struct exchange *exchange, int64_t length)
{
	exchange->status = 200;
	exchange->response_length = length;
	exchange_add_header(exchange, TEXT("content-type"), TEXT("text/plain"));
	exchange_respond(exchange);
}

static void on_body(struct exchange *exchange, const uint8_t *bytes, size_t length, bool ended)
{
	(void)bytes;
	exchange_consume(exchange, length);
	if (ended && !exchange_responded(exchange)) {
		exchange->response_text = TEXT("taken");
		respond(exchange, 5);
	}
}

static void on_request(void *context, struct exchange *exchange)
{
	(void)context;
	const struct text path = exchange_path(exchange);
	open_exchanges++;
	exchange->on_close = on_close;
	for (size_t i = 0; i < path.length; i++)
		if ((unsigned char)path.bytes[i] <= 0x20)
			abort();
	if (exchange->authority.length == 0 || path.length == 0 || path.length > exchange->target.length)
		abort();
	switch (path.bytes[path.length - 1]) {
	case '/':
		exchange->response_text = TEXT("hello");
		respond(exchange, 5);
		break;
	case 'b':
		exchange->read_body = read_body;
		respond(exchange, BODY);
		break;
	case 'c':
		exchange->read_body = read_body;
		respond(exchange, -1);
		break;
	case 'f':
		exchange->read_body = read_failing;
		respond(exchange, -1);
		break;
	case 'r':
		exchange_receive(exchange, on_body);
		break;
	case 'a':
		exchange_abort(exchange, STATUS_STOPPED);
		break;
	case 'l':
		remember(exchange);
		break;
	default:
		exchange->response_text = TEXT_NONE;
		exchange->status = 204;
		exchange_respond(exchange);
	}
}

/* What another turn would bring. */
static void go_on(void)
{
	for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++) {
		struct exchange *exchange = waiting[i];
		waiting[i] = NULL;
		if (exchange == NULL)
			continue;
		if (exchange_responded(exchange)) {
			exchange_resume(exchange);
		} else if (i % 2 == 0) {
			exchange_receive(exchange, on_body);
		} else {
			exchange->read_body = read_body;
			respond(exchange, -1);
		}
	}
}

/* --- the peers */

static void start(void)
{
	static const struct handler handler = {.on_request = on_request};
	fixture_open(&fixture, &handler);
	fixture.limits.penalty_burst = 100000; /* deep runs, the clock gives nothing back */
}

static void drain(int peer)
{
	static char output[65536];
	while (recv(peer, output, sizeof(output), 0) > 0)
		continue;
}

static void feed(const int *peers, const uint8_t *bytes, size_t length)
{
	size_t piece = bytes[0] == 0 ? length : (size_t)bytes[0] * 4;
	unsigned who = bytes[1] >> 4, slow = bytes[1] & 3;
	bytes += 2;
	length -= 2;
	for (unsigned round = 0; length > 0 && fixture.engine.connection_count > 0; round++) {
		size_t part = length < piece ? length : piece;
		int peer = peers[who >> (round % 4) & 1];
		if (send(peer, bytes, part, MSG_NOSIGNAL) != (ssize_t)part)
			return;
		fixture_turn(&fixture);
		if (slow == 0 || round % 4 > slow) {
			for (int i = 0; i < PEERS; i++)
				drain(peers[i]);
			go_on();
		}
		bytes += part;
		length -= part;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	int peers[PEERS];
	if (length < 3 || length > 65536)
		return 0;
	if (fixture.server == NULL)
		start();
	for (int i = 0; i < PEERS; i++) {
		peers[i] = fixture_connect(&fixture);
		if (send(peers[i], preface, sizeof(preface) - 1, MSG_NOSIGNAL) < 0)
			abort();
	}
	feed(peers, bytes, length);
	for (int i = 0; i < 4; i++) {
		fixture_turn(&fixture);
		drain(peers[0]);
		drain(peers[1]);
		go_on();
	}
	for (int i = 0; i < PEERS; i++)
		close(peers[i]);
	for (int i = 0; i < 8 && fixture.engine.connection_count > 0; i++)
		fixture_turn(&fixture);
	worker_run_later(fixture.worker);
	if (open_exchanges != 0 || fixture.engine.connection_count != 0 || fixture.engine.connections != NULL)
		abort();
	return 0;
}
