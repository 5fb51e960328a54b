/* The record of a parked message. */
#include "control/state/parked_record.h"

#include "server/base/clock.h"
#include "server/base/id.h"

bool parked_add(struct transaction *transaction, struct text subject, const char *reason, struct text body,
	struct text command, int64_t wall_ms)
{
	struct buffer record = {0};
	char id[ID_LENGTH + 1], at[25];
	id_random(id);
	clock_format(wall_ms, at);
	buffer_append(&record, TEXT("{\"subject\":"));
	buffer_append_json(&record, subject);
	buffer_append(&record, TEXT(",\"reason\":"));
	buffer_append_json(&record, text_of(reason));
	buffer_printf(&record, ",\"at\":\"%s\",\"cut\":%s,\"body\":", at, body.length > PARKED_BODY_MAX ? "true" : "false");
	buffer_append_json(&record, text_slice(body, 0, PARKED_BODY_MAX));
	if (command.bytes != NULL) {
		buffer_append(&record, TEXT(",\"command\":"));
		buffer_append(&record, command);
	}
	buffer_append_byte(&record, '}');
	bool is_added =
		!record.failed && state_put(transaction, RECORD_PARKED, text_of(id), buffer_text(&record), REVISION_ABSENT);
	buffer_free(&record);
	return is_added;
}
