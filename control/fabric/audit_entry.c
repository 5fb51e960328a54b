/* Entries of the audit, as they wait. */
#include "control/fabric/audit_entry.h"

#include <stdio.h>

#include "server/base/clock.h"
#include "server/base/id.h"

bool audit_add_members(struct transaction *transaction, const char *what, struct text members)
{
	char random[ID_LENGTH + 1], id[64], stamp[25];
	struct buffer body = {0};
	int64_t wall_ms = clock_wall_ms();
	id_random(random);
	clock_format(wall_ms, stamp);
	int length = snprintf(id, sizeof(id), "w%014lld-%.8s", (long long)wall_ms, random);
	buffer_printf(&body, "{\"at\":\"%s\",\"what\":\"%s\",", stamp, what);
	buffer_append(&body, members);
	buffer_append_byte(&body, '}');
	bool is_put = !body.failed && state_put(transaction, RECORD_AUDIT_CHAIN, (struct text){id, (size_t)length},
									  buffer_text(&body), REVISION_ABSENT);
	buffer_free(&body);
	return is_put;
}

bool audit_add(
	struct transaction *transaction, const char *what, struct text cell_id, struct text by, const char *detail)
{
	struct buffer members = {0};
	buffer_append(&members, TEXT("\"cell\":"));
	buffer_append_json(&members, cell_id);
	if (by.length > 0) {
		buffer_append(&members, TEXT(",\"by\":"));
		buffer_append_json(&members, by);
	}
	if (detail != NULL) {
		buffer_append(&members, TEXT(",\"detail\":"));
		buffer_append_json(&members, text_of(detail));
	}
	bool is_put = !members.failed && audit_add_members(transaction, what, buffer_text(&members));
	buffer_free(&members);
	return is_put;
}
