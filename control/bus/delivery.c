/* What the reply subject of a JetStream message says, and the answers that are sent there. */
#include <inttypes.h>

#include "control/bus/bus_private.h"

/* $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>; newer servers put a domain and
 * an account hash before the stream, and a token at the end. */
enum { ACK_PARTS = 9, ACK_PARTS_LONG = 11, ACK_PARTS_MAX = 12 };

static size_t split(struct text reply, struct text parts[ACK_PARTS_MAX])
{
	size_t count = 0;
	bool done = false;
	struct text part;
	while (count < ACK_PARTS_MAX && text_next_part(&reply, '.', &part, &done))
		parts[count++] = part;
	return count;
}

/* Index of the stream's name; 0: not such a subject. */
static size_t find_stream(const struct text *parts, size_t count)
{
	if (count < ACK_PARTS || !text_equals(parts[0], TEXT("$JS")) || !text_equals(parts[1], TEXT("ACK")))
		return 0;
	return count >= ACK_PARTS_LONG ? 4 : 2;
}

enum status bus_delivery_parse(struct text reply, struct bus_delivery *delivery)
{
	struct text parts[ACK_PARTS_MAX];
	size_t count = split(reply, parts), at = find_stream(parts, count);
	uint64_t numbers[5];
	if (at == 0)
		return STATUS_INVALID;
	for (size_t i = 0; i < 5; i++) {
		if (text_to_unsigned(parts[at + 2 + i], INT64_MAX, &numbers[i]) != STATUS_OK)
			return STATUS_INVALID;
	}
	*delivery = (struct bus_delivery){.deliveries = numbers[0],
		.stream_sequence = numbers[1],
		.consumer_sequence = numbers[2],
		.timestamp_ns = (int64_t)numbers[3],
		.pending = numbers[4]};
	return STATUS_OK;
}

static void answered(struct bus *bus, struct text reply)
{
	struct text parts[ACK_PARTS_MAX];
	size_t at = find_stream(parts, split(reply, parts));
	if (at > 0)
		consumers_answered(bus, parts[at], parts[at + 1]);
}

bool bus_answer(struct bus *bus, struct text reply, enum bus_verdict verdict, uint64_t delay_ms)
{
	static const char *const words[] = {
		[BUS_ACK] = "+ACK", [BUS_NAK] = "-NAK", [BUS_TERM] = "+TERM", [BUS_PROGRESS] = "+WPI"};
	char body[64];
	int length = verdict == BUS_NAK && delay_ms > 0
					 ? snprintf(body, sizeof(body), "-NAK {\"delay\": %" PRIu64 "}", delay_ms * 1000000)
					 : snprintf(body, sizeof(body), "%s", words[verdict]);
	bool is_sent = bus_send(bus, reply, NULL, 0, (struct text){body, (size_t)length});
	if (verdict != BUS_PROGRESS)
		answered(bus, reply);
	return is_sent;
}
