/* The audit over REST: listed. */
#include <stdlib.h>
#include <string.h>

#include "control/fabric/fleet/audit.h"

enum { PAGE = 1000 };

static void answer(struct rest_call *call, struct buffer *body)
{
	if (body->failed)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else
		rest_answer(call, 200, buffer_text(body));
	buffer_free(body);
}

/* --- listing: what is sealed, and behind it what waits */

struct listing {
	struct rest_call *call;
	struct audit_waiting *waiting; /* as it was when the call came: what is sealed meanwhile is in either */
};

static void append_entry(struct buffer *into, struct text id, struct text body)
{
	buffer_append(into, into->length == 1 ? TEXT("{\"id\":") : TEXT(",{\"id\":"));
	buffer_append_json(into, id);
	buffer_append_byte(into, ',');
	buffer_append(into, text_slice(body, 1, body.length));
}

static bool is_listed(const struct audit_waiting *waiting, const struct record *records, size_t count)
{
	struct buffer member = {0};
	bool is_found = false;
	buffer_printf(&member, "\"entry\":\"%s\"", waiting->id);
	for (size_t i = count; i > 0 && !is_found && !member.failed; i--)
		is_found = memmem(records[i - 1].body.bytes, records[i - 1].body.length, member.bytes, member.length) != NULL;
	buffer_free(&member);
	return is_found;
}

static void on_listed(void *context, enum status status, const struct record *records, size_t count)
{
	struct listing *listing = context;
	struct buffer body = {0};
	buffer_append_byte(&body, '[');
	for (size_t i = 0; i < count; i++)
		append_entry(&body, records[i].id, records[i].body);
	for (const struct audit_waiting *one = listing->waiting; one != NULL && count < PAGE; one = one->next) {
		if (!is_listed(one, records, count))
			append_entry(&body, text_of(one->id), text_of(one->body));
	}
	buffer_append_byte(&body, ']');
	if (status == STATUS_OK) {
		answer(listing->call, &body);
	} else {
		buffer_free(&body);
		rest_refuse(listing->call, status, NULL);
	}
	rest_release(listing->call);
	audit_waiting_free(listing->waiting);
	free(listing);
}

void audit_list(struct audit *audit, struct rest_call *call)
{
	struct listing *listing = calloc(1, sizeof(*listing));
	struct text after = rest_parameter(call, "after");
	bool is_whole = false;
	if (listing != NULL)
		listing->waiting = audit_waiting_copy(audit, after, &is_whole);
	if (!is_whole) {
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
		audit_waiting_free(listing == NULL ? NULL : listing->waiting);
		free(listing);
		return;
	}
	listing->call = call;
	rest_hold(call);
	store_list(
		state_store(audit->state), TEXT(""), RECORD_AUDIT, after, PAGE, state_worker(audit->state), on_listed, listing);
}
