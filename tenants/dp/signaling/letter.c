/* Letters: their kinds and records. */
#include "tenants/dp/signaling/letter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *segment;
	unsigned goes, ends;
} kinds[] = {
#define KIND(name, segment, goes, ends) {segment, goes, ends},
	LETTER_LIST(KIND)
#undef KIND
};

const char *letter_segment(enum letter_kind kind)
{
	return kinds[kind].segment;
}

bool letter_goes(enum letter_kind kind, enum flow_state state)
{
	return (kinds[kind].goes >> state & 1U) != 0;
}

bool letter_ends(enum letter_kind kind, enum flow_state state)
{
	return (kinds[kind].ends >> state & 1U) != 0;
}

struct text letter_id(struct text flow, enum letter_kind kind, char room[LETTER_ID_MAX])
{
	int length = snprintf(room, LETTER_ID_MAX, "%.*s:%s", TEXT_ARGUMENTS(flow), kinds[kind].segment);
	return (struct text){room, (size_t)length};
}

enum status letter_parse(struct text ctx, const struct json *body, struct letter **letter)
{
	struct letter *made = calloc(1, sizeof(*made));
	struct text flow = json_member_text(body, "flowId"), owner = json_member_text(body, "owner");
	struct text error = json_member_text(body, "error"), kind = json_member_text(body, "callback");
	struct text message = json_member_text(body, "messageId");
	int number = 0;
	while (number < LETTER_COUNT && !text_equals(kind, text_of(kinds[number].segment)))
		number++;
	if (made == NULL)
		return STATUS_NO_MEMORY;
	if (number == LETTER_COUNT || ctx.length != ID_LENGTH || owner.length != ID_LENGTH || flow.length == 0 ||
		message.length != ID_LENGTH || !json_integer(json_member(body, "until"), &made->until_ms) ||
		!json_integer(json_member(body, "queuedAt"), &made->queued_ms) ||
		!json_integer(json_member(body, "attempts"), &made->attempts)) {
		free(made);
		return STATUS_INVALID;
	}
	made->kind = (enum letter_kind)number;
	memcpy(made->ctx, ctx.bytes, ID_LENGTH);
	memcpy(made->owner, owner.bytes, ID_LENGTH);
	memcpy(made->message, message.bytes, ID_LENGTH);
	made->flow = text_copy(flow);
	made->error = error.bytes == NULL ? NULL : text_copy(error);
	if (made->flow == NULL || (error.bytes != NULL && made->error == NULL)) {
		letter_free(made);
		return STATUS_NO_MEMORY;
	}
	*letter = made;
	return STATUS_OK;
}

void letter_free(void *object)
{
	struct letter *letter = object;
	if (letter == NULL)
		return;
	free(letter->flow);
	free(letter->error);
	free(letter);
}

bool letter_put(struct transaction *transaction, const struct letter *letter, int64_t expected)
{
	char room[LETTER_ID_MAX];
	struct buffer body = {0};
	buffer_append(&body, TEXT("{\"flowId\":"));
	buffer_append_json(&body, text_of(letter->flow));
	buffer_printf(&body,
		",\"callback\":\"%s\",\"messageId\":\"%s\",\"owner\":\"%s\",\"until\":%lld,\"queuedAt\":%lld,\"attempts\":%lld",
		kinds[letter->kind].segment, letter->message, letter->owner, (long long)letter->until_ms,
		(long long)letter->queued_ms, (long long)letter->attempts);
	if (letter->error != NULL) {
		buffer_append(&body, TEXT(",\"error\":"));
		buffer_append_json(&body, text_of(letter->error));
	}
	buffer_append_byte(&body, '}');
	bool is_put =
		!body.failed && transaction_put(transaction, text_of(letter->ctx), RECORD_OUTBOX,
							letter_id(text_of(letter->flow), letter->kind, room), buffer_text(&body), expected);
	buffer_free(&body);
	return is_put;
}
