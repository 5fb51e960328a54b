/* Is the database an older copy of what the cells have seen (control.md F24)? Cells say in each heartbeat which epoch
 * they were given, the highest term they have obeyed and the number of the last command they have applied. A leader
 * gave out none of these before it was committed: what is higher than the records was forgotten by the database. Then
 * the fabric does not run on as if nothing had been: the brake "behind" goes on, and stays until an operator says that
 * the older copy is what holds from here on, or brings back the newer one. */
#include <stdlib.h>

#include "control/fabric/fleet/fleet_private.h"
#include "control/fabric/rest_submit.h"
#include "server/base/clock.h"
#include "server/base/log.h"

/* A join that another replica has let in may be known to the cell sooner than here. */
enum { PROOF_MS = 3000 };

/* A cell with an epoch that its record never had. */
struct ahead {
	int64_t epoch;
	char incarnation[ID_LENGTH + 1];
	uint64_t since_ms;
};

/* The number of a command that would be written now. */
static int64_t newest_number(const struct fleet *fleet)
{
	return state_revision(fleet->uses.state) + fleet->shift;
}

static void note_ahead(struct watched *watched, const struct beat *beat, uint64_t now_ms)
{
	if (watched->ahead == NULL && (watched->ahead = calloc(1, sizeof(*watched->ahead))) != NULL)
		watched->ahead->since_ms = now_ms;
	if (watched->ahead == NULL)
		return; /* it says so again */
	watched->ahead->epoch = beat->epoch;
	memcpy(watched->ahead->incarnation, beat->incarnation, sizeof(watched->ahead->incarnation));
}

void behind_forget(struct watched *watched)
{
	free(watched->ahead);
	watched->ahead = NULL;
}

/* Has it a say? What has been fenced or removed may claim what it likes. */
static bool is_believed(const struct cell_record *cell)
{
	return cell->mode != CELL_FENCED && cell->mode != CELL_DECOMMISSIONING && cell->mode != CELL_GONE;
}

void behind_hear(struct fleet *fleet, struct watched *watched, const struct cell_record *cell, const struct beat *beat,
	uint64_t now_ms)
{
	if (!is_believed(cell))
		return;
	if (beat->epoch > cell->epoch)
		note_ahead(watched, beat, now_ms);
	else
		behind_forget(watched);
	fleet->heard_term = beat->term > fleet->heard_term ? beat->term : fleet->heard_term;
	fleet->heard_number = beat->applied > fleet->heard_number ? beat->applied : fleet->heard_number;
	if (beat->term > lease_term(fleet->lease) || beat->applied > newest_number(fleet))
		fleet->heard_slot = cell->slot;
}

/* --- the brake goes on */

static void on_put(void *context, enum status status, int64_t revision)
{
	struct fleet *fleet = context;
	(void)revision;
	fleet->is_braking = false;
	if (status != STATUS_OK && status != STATUS_CONFLICT)
		LOG(ERROR, "fabric.behind_unwritten", log_text("why", text_of(status_text(status))));
}

static void brake(struct fleet *fleet, uint32_t slot, const char *what, int64_t theirs, int64_t ours)
{
	const struct cell_record *cell = cells_at(fleet->uses.cells, slot);
	struct transaction *transaction = transaction_new();
	struct buffer why = {0};
	buffer_printf(&why, "%s knows %s %lld, the records %lld", cell == NULL ? "a cell" : cell->external_id, what,
		(long long)theirs, (long long)ours);
	bool is_made =
		transaction != NULL && !why.failed &&
		brake_put(transaction, BRAKE_BEHIND_ID, buffer_text(&why), REVISION_ABSENT) &&
		fleet_audit(transaction, "fabric.behind", cell == NULL ? TEXT("") : text_of(cell->external_id), why.bytes);
	if (is_made) {
		LOG(ERROR, "fabric.behind", log_text("why", buffer_text(&why)));
		fleet->is_braking = true;
		state_submit(fleet->uses.state, transaction, on_put, fleet);
	} else {
		transaction_free(transaction);
	}
	buffer_free(&why);
}

static bool find_ahead(void *context, const struct cell_record *cell)
{
	struct fleet *fleet = context;
	const struct ahead *ahead = cell->slot < fleet->watched_count ? fleet->watched[cell->slot].ahead : NULL;
	if (ahead == NULL || ahead->epoch <= cell->epoch || clock_boot_ms() - ahead->since_ms < PROOF_MS)
		return true;
	brake(fleet, cell->slot, "epoch", ahead->epoch, cell->epoch);
	return false;
}

void behind_tick(struct fleet *fleet)
{
	int64_t term = lease_term(fleet->lease), newest = newest_number(fleet);
	if (!lease_is_held(fleet->lease) || fleet->behind.revision != 0 || fleet->is_braking)
		return;
	if (fleet->heard_term > term)
		brake(fleet, fleet->heard_slot, "term", fleet->heard_term, term);
	else if (fleet->heard_number > newest)
		brake(fleet, fleet->heard_slot, "command", fleet->heard_number, newest);
	else
		cells_each(fleet->uses.cells, find_ahead, fleet);
}

/* --- the operator's word */

struct adoption {
	struct fleet *fleet;
	struct transaction *transaction;
	bool is_whole;
};

/* The process that runs as this cell is the one that is meant: it goes on with the epoch it has. */
static bool adopt_cell(void *context, const struct cell_record *cell)
{
	struct adoption *adoption = context;
	const struct watched *watched =
		cell->slot < adoption->fleet->watched_count ? &adoption->fleet->watched[cell->slot] : NULL;
	if (watched == NULL || watched->ahead == NULL || watched->ahead->epoch <= cell->epoch || !is_believed(cell))
		return true;
	struct json *set = json_object_new();
	char *body = NULL;
	if (json_add_integer(set, "epoch", watched->ahead->epoch) &&
		json_add_text(set, "incarnation", text_of(watched->ahead->incarnation)))
		body = cells_body_with(cell, set, cell->mode, cell->health, clock_wall_ms());
	json_free(set);
	adoption->is_whole =
		body != NULL &&
		state_put(adoption->transaction, RECORD_CELL, text_of(cell->id), text_of(body), cell->revision) &&
		fleet_audit(adoption->transaction, "cell.epoch_adopted", text_of(cell->external_id), NULL);
	free(body);
	return adoption->is_whole;
}

static bool put_adoption(struct fleet *fleet, struct transaction *transaction)
{
	int64_t known = lease_term(fleet->lease), missing = fleet->heard_number - newest_number(fleet);
	int64_t term = fleet->heard_term > known ? fleet->heard_term : known;
	int64_t shift = missing > 0 ? fleet->shift + missing : fleet->shift;
	struct buffer body = {0};
	char stamp[25];
	clock_format(clock_wall_ms(), stamp);
	buffer_printf(&body, "{\"at\":\"%s\",\"term\":%lld,\"shift\":%lld}", stamp, (long long)term, (long long)shift);
	bool is_put =
		!body.failed && state_put(transaction, RECORD_BRAKE, TEXT(BRAKE_ADOPTED_ID), buffer_text(&body), REVISION_ANY);
	buffer_free(&body);
	return is_put;
}

void behind_adopt(struct rest_call *call)
{
	struct fleet *fleet = call->context;
	struct buffer answer = {0};
	if (fleet->behind.revision == 0) {
		rest_refuse_with(call, 409, "the database is not behind its cells");
		return;
	}
	struct adoption adoption = {fleet, transaction_new(), true};
	if (adoption.transaction != NULL)
		cells_each(fleet->uses.cells, adopt_cell, &adoption);
	if (adoption.transaction != NULL &&
		(!adoption.is_whole || !put_adoption(fleet, adoption.transaction) ||
			!state_delete(adoption.transaction, RECORD_BRAKE, TEXT(BRAKE_BEHIND_ID), fleet->behind.revision) ||
			!fleet_audit_call(adoption.transaction, call, "fabric.adopted", TEXT(""), fleet->behind.why))) {
		transaction_free(adoption.transaction);
		adoption.transaction = NULL;
	}
	rest_submit(call, fleet->uses.state, adoption.transaction, 204, &answer);
}
