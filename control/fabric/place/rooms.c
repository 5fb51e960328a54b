/* What is booked where: records of the fabric's state become the snapshot's columns. */
#include <stdlib.h>

#include "control/fabric/place/placer_private.h"
#include "control/fabric/place/request.h"
#include "control/fabric/place/seats.h"
#include "server/base/log.h"

/* of a participant: what its record says, and what is under way */
enum { BOTH_MAX = SEATS_MAX * 2 };

/* --- rooms */

/* NULL: out of memory */
static struct room *room_at(struct placer *placer, uint32_t slot)
{
	if (slot < placer->room_count)
		return &placer->rooms[slot];
	uint32_t count = slot + 64;
	struct room *rooms = realloc(placer->rooms, count * sizeof(*rooms));
	if (rooms == NULL)
		return NULL;
	memset(rooms + placer->room_count, 0, (count - placer->room_count) * sizeof(*rooms));
	for (uint32_t i = placer->room_count; i < count; i++) {
		rooms[i].ready = ~0U;
		rooms[i].load = -1;
	}
	placer->rooms = rooms;
	placer->room_count = count;
	return &rooms[slot];
}

static void sum_up(const struct room *room, int64_t used[PLACE_DIMENSION_COUNT])
{
	for (int i = 0; i < PLACE_DIMENSION_COUNT; i++)
		used[i] = room->used[i] + room->pending[i];
	for (const struct release *release = room->releases; release != NULL; release = release->next) {
		for (int i = 0; i < PLACE_DIMENSION_COUNT; i++)
			used[i] -= release->amount[i];
	}
}

void room_show(struct placer *placer, uint32_t slot)
{
	int64_t used[PLACE_DIMENSION_COUNT];
	sum_up(&placer->rooms[slot], used);
	/* while a batch is under way there, what is stored may hold it already: shown when it has ended */
	if (!placer->rooms[slot].is_touched && place_snapshot_cell(placer->snapshot, slot) != NULL)
		place_snapshot_set_used(placer->snapshot, slot, used);
}

static bool is_pending(const struct placer *placer, uint64_t who, uint32_t slot, enum vpa_type type)
{
	uint32_t count;
	const struct held *held = lodgings_of(&placer->pending_seats, who, &count);
	for (uint32_t i = 0; i < count; i++) {
		if (held[i].slot == slot && held[i].type == (unsigned)type)
			return true;
	}
	return false;
}

static void pend_seat(struct placer *placer, const struct place_request *request, uint32_t slot, int sign)
{
	bool is_edge, is_there = is_pending(placer, request->participant_hash, slot, request->type);
	if (request->participant_hash == 0 || (sign < 0 && !is_there))
		return;
	if (!lodgings_change(&placer->pending_seats, request->participant_hash, slot, request->type, sign, &is_edge))
		abort(); /* an index that has missed a change would decide wrongly for ever */
	if (sign < 0 &&
		place_snapshot_hold(placer->snapshot, text_of(request->participant),
			request->tenant == NULL ? TEXT_NONE : text_of(request->tenant), slot, request->type, -1) != STATUS_OK)
		abort();
}

void rooms_pend(struct placer *placer, const struct job *job, int sign)
{
	int64_t amount[PLACE_DIMENSION_COUNT];
	for (size_t i = 0; i < job->placement.count; i++) {
		struct room *room = &placer->rooms[job->slots[i]];
		amounts_of(job->requests[i], amount);
		for (int dimension = 0; dimension < PLACE_DIMENSION_COUNT; dimension++)
			room->pending[dimension] += sign * amount[dimension];
		pend_seat(placer, job->requests[i], job->slots[i], sign);
	}
}

/* --- cells */

static const char *closed_why(const struct cell_record *cell)
{
	if (cell->mode != CELL_READY)
		return cell_mode_name(cell->mode);
	return cell->health == CELL_HEALTHY ? "not active" : cell_health_name(cell->health);
}

static void show_cell(struct placer *placer, const struct cell_record *cell)
{
	struct room *room = room_at(placer, cell->slot);
	struct text *profiles = NULL;
	struct place_standing standing = {
		.is_open = cell->is_active, .is_degraded = cell->health == CELL_DEGRADED, .why = closed_why(cell)};
	standing.profile_count = deployments_in(&placer->deployments, cell->id, &profiles);
	standing.profiles = profiles;
	if (room == NULL || profiles == NULL)
		abort(); /* an index that has missed a change would decide wrongly for ever */
	standing.ready = room->ready;
	standing.load = room->load;
	sum_up(room, standing.used);
	if (place_snapshot_put(placer->snapshot, cell->slot, text_of(cell->id), cell->definition, &standing) != STATUS_OK)
		abort();
	free(profiles);
}

static void drop_releases(struct placer *placer, struct room *room)
{
	while (room->releases != NULL) {
		struct release *next = room->releases->next;
		free(room->releases->id);
		free(room->releases);
		room->releases = next;
		placer->unfolded--;
	}
}

static void on_cell(void *context, uint32_t slot, const struct cell_record *cell)
{
	struct placer *placer = context;
	if (cell != NULL) {
		show_cell(placer, cell);
	} else {
		struct room *room = room_at(placer, slot);
		place_snapshot_remove(placer->snapshot, slot);
		if (room != NULL) {
			drop_releases(placer, room);
			/* what is under way there ends by itself, and is taken off then */
			room->revision = 0;
			memset(room->used, 0, sizeof(room->used));
			room->ready = ~0U;
			room->load = -1;
		}
	}
	placer->is_stale = placer->is_stale || (slot < placer->room_count && placer->rooms[slot].is_chosen);
	batch_plan(placer);
}

void placer_measure(struct placer *placer, uint32_t slot, unsigned ready, int load)
{
	struct room *room = room_at(placer, slot);
	const struct cell_record *cell = cells_at(placer->cells, slot);
	if (room == NULL || cell == NULL || (room->ready == ready && room->load == load))
		return;
	bool has_more = (ready & ~room->ready) != 0;
	room->ready = ready;
	room->load = load;
	place_snapshot_measure(placer->snapshot, slot, cell->definition, ready, load);
	if (has_more)
		batch_plan(placer); /* somebody may have waited for it */
}

/* --- capacity */

static void on_room(struct placer *placer, const struct cell_record *cell, const struct record *record)
{
	struct room *room = room_at(placer, cell->slot);
	if (room == NULL)
		abort();
	room->revision = record->body.bytes == NULL ? 0 : record->revision;
	if (record->body.bytes == NULL)
		memset(room->used, 0, sizeof(room->used));
	else if (!amounts_read(record->body, "used", room->used))
		LOG(ERROR, "place.bad_capacity", log_text("cell", text_of(cell->id)));
	/* of a room that is touched too it is not yet known whose this is */
	placer->is_stale = placer->is_stale || (room->is_chosen && !room->is_touched);
	room_show(placer, cell->slot);
}

static void add_release(struct placer *placer, struct room *room, const struct record *record)
{
	struct release *release = calloc(1, sizeof(*release));
	if (release == NULL || (release->id = text_copy(record->id)) == NULL)
		abort();
	if (!amounts_read(record->body, "released", release->amount))
		LOG(ERROR, "place.bad_release", log_text("id", record->id));
	release->revision = record->revision;
	release->next = room->releases;
	room->releases = release;
	placer->unfolded++;
}

static void remove_release(struct placer *placer, struct room *room, struct text id)
{
	for (struct release **at = &room->releases; *at != NULL; at = &(*at)->next) {
		struct release *release = *at;
		if (!text_equals(text_of(release->id), id))
			continue;
		*at = release->next;
		free(release->id);
		free(release);
		placer->unfolded--;
		return;
	}
}

/* What belongs to a cell that is not there (any more) is nothing to count. */
static void on_capacity(void *context, const struct record *record)
{
	struct placer *placer = context;
	size_t slash = text_find(record->id, '/');
	const struct cell_record *cell = cells_find(placer->cells, text_slice(record->id, 0, slash));
	if (cell == NULL)
		return;
	if (slash == record->id.length) {
		on_room(placer, cell, record);
		return;
	}
	struct room *room = room_at(placer, cell->slot);
	if (room == NULL)
		abort();
	if (record->body.bytes == NULL)
		remove_release(placer, room, record->id);
	else
		add_release(placer, room, record);
	room_show(placer, cell->slot);
}

/* --- participants */

/* Is one of the first `count` seats the same? It is taken out of those still to be matched. */
static bool match(const struct held *held, struct place_seat *seats, size_t *unmatched)
{
	for (size_t i = 0; i < *unmatched; i++) {
		if (seats[i].slot != held->slot || (unsigned)seats[i].type != held->type)
			continue;
		struct place_seat last = seats[--*unmatched];
		seats[*unmatched] = seats[i];
		seats[i] = last;
		return true;
	}
	return false;
}

/* What of the participant is under way stays, unless the record has it already: then it has landed. */
static size_t add_pending(struct placer *placer, uint64_t who, struct place_seat *seats, size_t count)
{
	uint32_t held_count;
	size_t unmatched = count;
	const struct held *held;
	for (uint32_t i = 0; (held = lodgings_of(&placer->pending_seats, who, &held_count)) != NULL && i < held_count;) {
		struct held one = held[i];
		bool is_edge;
		if (match(&one, seats, &unmatched)) {
			if (!lodgings_change(&placer->pending_seats, who, one.slot, (enum vpa_type)one.type, -1, &is_edge))
				abort(); /* taking away needs no memory */
			continue;
		}
		for (uint32_t times = 0; times < one.count && count < BOTH_MAX; times++)
			seats[count++] = (struct place_seat){one.slot, (enum vpa_type)one.type};
		i++;
	}
	return count;
}

/* What the record says, and what of this participant is under way. */
static void on_profile(void *context, const struct record *record)
{
	struct placer *placer = context;
	size_t slash = text_find(record->id, '/');
	struct text tenant = text_slice(record->id, 0, slash);
	struct text participant = text_slice(record->id, slash + 1, record->id.length);
	struct seat read[SEATS_MAX];
	struct place_seat seats[BOTH_MAX];
	size_t count = record->body.bytes == NULL ? 0 : seats_read(record->body, read), found = 0;
	for (size_t i = 0; i < count; i++) {
		const struct cell_record *cell = cells_find(placer->cells, read[i].cell);
		if (cell != NULL)
			seats[found++] = (struct place_seat){cell->slot, read[i].type};
	}
	found = add_pending(placer, place_hash(participant), seats, found);
	if (participant.length > 0 &&
		place_snapshot_settle(placer->snapshot, participant, tenant, seats, found) != STATUS_OK)
		abort(); /* an index that has missed a change would decide wrongly for ever */
}

/* --- dataspace profiles */

static bool show_each(void *context, const struct cell_record *cell)
{
	show_cell(context, cell);
	return true;
}

static void on_dataspace(void *context, const struct record *record)
{
	struct placer *placer = context;
	deployments_hear(&placer->deployments, record);
	cells_each(placer->cells, show_each, placer);
}

static void on_news(void *context)
{
	batch_plan(context);
}

enum status rooms_open(struct placer *placer)
{
	placer->snapshot = place_snapshot_new();
	if (placer->snapshot == NULL)
		return STATUS_NO_MEMORY;
	cells_observe(placer->cells, on_cell, placer);
	state_watch(placer->state, RECORD_CELL_CAPACITY, on_capacity, on_news, placer);
	state_watch(placer->state, RECORD_DATASPACE_PROFILE, on_dataspace, NULL, placer);
	state_watch(placer->state, RECORD_PARTICIPANT_PROFILE, on_profile, NULL, placer);
	return STATUS_OK;
}

void rooms_free(struct placer *placer)
{
	for (uint32_t i = 0; i < placer->room_count; i++)
		drop_releases(placer, &placer->rooms[i]);
	free(placer->rooms);
	deployments_free(&placer->deployments);
	lodgings_free(&placer->pending_seats);
	place_snapshot_free(placer->snapshot);
}

/* --- asking */

int64_t placer_used(const struct placer *placer, const struct cell_record *cell, const int64_t **per_type)
{
	static const int64_t nothing[VPA_TYPE_COUNT];
	static int64_t used[PLACE_DIMENSION_COUNT]; /* the fabric has one worker */
	if (cell->slot >= placer->room_count) {
		if (per_type != NULL)
			*per_type = nothing;
		return 0;
	}
	sum_up(&placer->rooms[cell->slot], used);
	if (per_type != NULL)
		*per_type = used + PLACE_TYPES;
	return used[PLACE_VPAS];
}

struct lapse_visit {
	const struct placer *placer;
	void (*visit)(void *context, const struct cell_record *cell, const char *compliance, int64_t vpas);
	void *context;
};

static void visit_lapse(void *context, uint32_t slot, const char *compliance)
{
	const struct lapse_visit *lapse = context;
	const struct cell_record *cell = cells_at(lapse->placer->cells, slot);
	if (cell != NULL)
		lapse->visit(lapse->context, cell, compliance, placer_used(lapse->placer, cell, NULL));
}

void placer_lapses(const struct placer *placer,
	void (*visit)(void *context, const struct cell_record *cell, const char *compliance, int64_t vpas), void *context)
{
	struct lapse_visit lapse = {placer, visit, context};
	place_snapshot_lapses(placer->snapshot, visit_lapse, &lapse);
}

bool placer_release(struct placer *placer, const struct cell_record *cell, enum vpa_type type, const int64_t *demand,
	struct transaction *transaction)
{
	int64_t amount[PLACE_DIMENSION_COUNT] = {[PLACE_VPAS] = 1};
	struct buffer id = {0}, body = {0};
	char random[ID_LENGTH + 1];
	(void)placer;
	id_random(random);
	amount[PLACE_TYPES + type] = 1;
	for (int i = 0; demand != NULL && i < CELL_RESOURCE_COUNT; i++)
		amount[PLACE_RESOURCES + i] = demand[i];
	buffer_printf(&id, "%s/%s", cell->id, random);
	amounts_print(&body, "released", amount);
	bool is_added = !id.failed && !body.failed &&
					state_put(transaction, RECORD_CELL_CAPACITY, buffer_text(&id), buffer_text(&body), REVISION_ABSENT);
	buffer_free(&id);
	buffer_free(&body);
	return is_added;
}

struct place_snapshot *placer_snapshot(struct placer *placer)
{
	return placer->snapshot;
}
