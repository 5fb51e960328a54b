/* Printing receipts: members in the order of RFC 8785, so that the text is canonical as it is written. */
#include "tenants/dp/contract/receipt.h"

#include <string.h>

#include "server/base/clock.h"

const struct receipt_link receipt_link_first = {0, "0000000000000000000000000000000000000000000000000000000000000000"};

static void add_number(struct buffer *into, const char *name, uint64_t value)
{
	buffer_printf(into, ",\"%s\":", name);
	buffer_append_number(into, (int64_t)value);
}

static void add_time(struct buffer *into, const char *name, int64_t wall_ms)
{
	char text[25];
	clock_format(wall_ms, text);
	buffer_append_member(into, name, text_of(text));
}

static void print_entities(const struct tally *tally, struct buffer *into)
{
	buffer_append(into, TEXT(",\"entities\":["));
	for (unsigned i = 0; i < tally->entity_count; i++) {
		bool is_first = true;
		buffer_append(into, i == 0 ? TEXT("{") : TEXT(",{"));
		if (tally->entities[i].digest[0] != 0) {
			buffer_append(into, TEXT("\"digest\":"));
			buffer_append_json(into, text_of(tally->entities[i].digest));
			buffer_append_byte(into, ',');
		}
		buffer_append(into, TEXT("\"etag\":"));
		buffer_append_json(into, text_of(tally->entities[i].tag));
		buffer_append(into, TEXT(",\"ranges\":["));
		for (size_t j = 0; j < tally->ranges.count; j++) {
			const struct span *span = &tally->ranges.spans[j];
			if (span->entity != i)
				continue;
			buffer_printf(into, "%s[%llu,%llu]", is_first ? "" : ",", (unsigned long long)span->first,
				(unsigned long long)span->end - 1);
			is_first = false;
		}
		buffer_append(into, TEXT("]}"));
	}
	buffer_append_byte(into, ']');
}

void receipt_print(const struct tally *tally, struct text cell, const struct receipt_link *link, struct buffer *into)
{
	const uint64_t *of = tally->totals.of;
	buffer_append(into, TEXT("{\"agreement\":"));
	buffer_append_json(into, text_of(tally->agreement));
	add_number(into, "bytes", of[BOOK_BYTES] + of[BOOK_PUSHED]);
	buffer_append_member(into, "cell", cell);
	buffer_append_member(into, "consumer", text_of(tally->consumer));
	buffer_append_member(into, "ctx", text_of(tally->ctx));
	buffer_append_member(into, "dataset", text_of(tally->dataset));
	print_entities(tally, into);
	add_time(into, "first", tally->first_ms);
	buffer_printf(into, ",\"flags\":%s", tally->flags);
	buffer_append_member(into, "flow", text_of(tally->flow));
	add_time(into, "last", tally->last_ms);
	buffer_printf(into, ",\"outcomes\":{\"broken\":%llu,\"ok\":%llu,\"refused\":%llu,\"stopped\":%llu}",
		(unsigned long long)of[BOOK_BROKEN], (unsigned long long)of[BOOK_OK], (unsigned long long)of[BOOK_REFUSED],
		(unsigned long long)of[BOOK_STOPPED]);
	buffer_append_member(into, "previous", text_of(link->hash));
	buffer_append_member(into, "provider", text_of(tally->provider));
	if (tally->region[0] != 0)
		buffer_append_member(into, "region", text_of(tally->region));
	add_number(into, "repeated", of[BOOK_REPEATED] + of[BOOK_REPUSHED]);
	add_number(into, "requests", of[BOOK_REQUESTS]);
	add_number(into, "sequence", link->sequence + 1);
	add_number(into, "unlisted", tally->unlisted);
	buffer_append(into, TEXT(",\"version\":1}"));
}

bool receipt_advance(struct receipt_link *link, struct text receipt)
{
	if (digest_hex_of(receipt, link->hash) != STATUS_OK)
		return false;
	link->sequence++;
	return true;
}

void receipt_line_print(const struct receipt_link *link, struct text receipt, struct text token, struct buffer *into)
{
	size_t dot = text_find(token, '.');
	struct text rest = text_slice(token, dot < token.length ? dot + 1 : dot, token.length);
	size_t second = text_find(rest, '.');
	buffer_printf(into, "{\"hash\":\"%s\",\"receipt\":", link->hash);
	buffer_append(into, receipt);
	buffer_append(into, TEXT(",\"signature\":"));
	if (second == rest.length) {
		buffer_append(into, TEXT("null}"));
		return;
	}
	buffer_append_byte(into, '"');
	buffer_append(into, text_slice(token, 0, dot));
	buffer_append(into, TEXT(".."));
	buffer_append(into, text_slice(rest, second + 1, rest.length));
	buffer_append(into, TEXT("\"}"));
}
