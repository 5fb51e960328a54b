/* Credentials are renewed at two thirds of their life: a cell asks on celld.renew.<cellId> with {"inc","ep","nkey"}. */
#include "control/fabric/fleet/fleet_private.h"
#include "server/base/clock.h"

#define SUBJECT "celld.renew."

bool renewal_append(struct fleet *fleet, const struct cell_record *cell, const char *key, struct buffer *object)
{
	bool is_away = cell->definition != NULL && cell->definition->is_intermittent;
	int64_t lifetime_ms = is_away ? fleet->settings->away_credentials_ms : fleet->settings->credentials_ms, expires_ms;
	struct buffer jwt = {0};
	if (fleet->credentials == NULL)
		return true;
	enum status status = credentials_issue(fleet->credentials, ROLE_CELL, text_of(cell->external_id), key,
		clock_wall_ms(), lifetime_ms, &jwt, &expires_ms);
	if (status == STATUS_OK)
		buffer_printf(object, ",\"natsUserJwt\":\"%s\",\"natsExpiresAt\":%lld", jwt.bytes, (long long)expires_ms);
	buffer_free(&jwt);
	return status == STATUS_OK && !object->failed;
}

/* The cell of record is asked of: its newest process, with the key that joined. */
static bool may_renew(const struct cell_record *cell, const struct json *asked)
{
	int64_t epoch;
	return cell != NULL && cell->key != NULL && cell->incarnation != NULL &&
		   (cell->mode == CELL_READY || cell->mode == CELL_CORDONED || cell->mode == CELL_DRAINING) &&
		   json_integer(json_member(asked, "ep"), &epoch) && epoch == cell->epoch &&
		   text_equals(json_member_text(asked, "inc"), text_of(cell->incarnation)) &&
		   text_equals(json_member_text(asked, "nkey"), text_of(cell->key));
}

/* Every replica may answer; the cell takes the first. */
static void on_renewal(void *context, const struct bus_message *message)
{
	struct fleet *fleet = context;
	struct text cell_id = text_slice(message->subject, sizeof(SUBJECT) - 1, message->subject.length);
	const struct cell_record *cell = cells_find_external(fleet->uses.cells, cell_id);
	struct json *asked = NULL;
	struct buffer answer = {0};
	if (message->body.length > BEAT_BYTES_MAX || json_parse(message->body, NULL, &asked) != STATUS_OK)
		return;
	bool may = may_renew(cell, asked);
	json_free(asked);
	buffer_printf(&answer, "{\"ep\":%lld", cell == NULL ? 0LL : (long long)cell->epoch);
	if (!may)
		buffer_append(&answer, TEXT(",\"err\":\"STALE_EPOCH\""));
	if (may && !renewal_append(fleet, cell, cell->key, &answer))
		answer.failed = true;
	buffer_append_byte(&answer, '}');
	if (!answer.failed && message->reply.length > 0)
		bus_respond(fleet->bus, message, buffer_text(&answer));
	buffer_free(&answer);
}

void renewal_start(struct fleet *fleet)
{
	if (fleet->bus != NULL && fleet->credentials != NULL)
		fleet->renewals = bus_subscribe(fleet->bus, TEXT(SUBJECT "*"), on_renewal, fleet);
}

void renewal_stop(struct fleet *fleet)
{
	if (fleet->renewals != NULL)
		bus_unsubscribe(fleet->renewals);
	fleet->renewals = NULL;
}
