/* An account of what is booked, made from committed records alone: after each commit it says whether a slot was given
 * away twice. It knows nothing of how placers work, only what their records mean (control/fabric/place/placer.h). */
#pragma once

#include "control/state/state.h"
#include "server/base/json.h"

enum { LEDGER_CELLS = 64, LEDGER_DIMENSIONS = 7, LEDGER_TYPES = 4, LEDGER_VPAS_MAX = 8 };
static const char *const ledger_names[LEDGER_DIMENSIONS] = {
	"VPAs", "cfm.connector", "cfm.credentialservice", "cfm.dataplane", "cfm.issuer", "cpuMilli", "memMiB"};

struct ledger_cell {
	int generation;                                 /* of its id "cell-<slot>-<generation>" */
	bool is_there, is_open;                         /* as its record says */
	int64_t allowed[LEDGER_DIMENSIONS];             /* -1: unlimited */
	int64_t booked[LEDGER_DIMENSIONS];              /* as its capacity's record says */
	int64_t given_back[LEDGER_DIMENSIONS];          /* as records say, not yet taken off */
	int64_t live[LEDGER_DIMENSIONS];                /* of the VPAs there are */
	bool is_changed, has_gained[LEDGER_DIMENSIONS]; /* by the commit under way */
};

struct ledger_vpa {
	int slot, generation, type;
	int64_t demand[2]; /* cpuMilli, memMiB */
};

struct ledger_participant {
	struct ledger_participant *next; /* of its bucket */
	size_t at;                       /* in `all` */
	char *id;
	int64_t revision;
	size_t count;
	struct ledger_vpa vpas[LEDGER_VPAS_MAX];
};

struct ledger {
	struct ledger_cell cells[LEDGER_CELLS];
	struct ledger_participant *buckets[1 << 12];
	struct ledger_participant **all; /* those that live */
	size_t count, room;
	uint64_t bookings, releases;                          /* VPAs that came and went */
	uint64_t over, on_closed, twice, unbalanced, orphans; /* what must not be: over: a dimension is booked beyond what
															 the cell allows; twice: a participant is there already */
};

static inline uint64_t ledger_wrongs(const struct ledger *ledger)
{
	return ledger->over + ledger->on_closed + ledger->twice + ledger->unbalanced + ledger->orphans;
}

static inline struct json *ledger_json(const char *body)
{
	struct json *root = NULL;
	if (body != NULL && json_parse(text_of(body), NULL, &root) != STATUS_OK)
		abort(); /* a placer has written what is no JSON */
	return root;
}

/* NULL: not this cell, or not any more. */
static inline struct ledger_cell *ledger_cell_of(struct ledger *ledger, const char *id)
{
	int slot, generation;
	if (sscanf(id, "cell-%d-%d", &slot, &generation) != 2) /* NOLINT(cert-err34-c): an id of ours */
		abort();
	struct ledger_cell *cell = &ledger->cells[slot];
	return cell->generation == generation ? cell : NULL;
}

static inline int64_t ledger_number(const struct json *object, const char *name, int64_t otherwise)
{
	int64_t number;
	return json_integer(json_member(object, name), &number) ? number : otherwise;
}

/* --- records */

static inline void ledger_define(struct ledger *ledger, const char *id, const char *body)
{
	int slot = atoi(id + strlen("cell-"));
	struct ledger_cell *cell = &ledger->cells[slot];
	if (ledger_cell_of(ledger, id) == NULL || !cell->is_there) /* a new one in the place of one that has gone */
		*cell = (struct ledger_cell){.generation = atoi(strrchr(id, '-') + 1)};
	cell->is_there = body != NULL;
	struct json *root = ledger_json(body);
	const struct json *capacity =
		json_member(json_member(json_member(root, "properties"), "celld.definition"), "capacity");
	cell->is_open = text_equals(json_member_text(root, "state"), TEXT("active"));
	for (int i = 0; i < LEDGER_DIMENSIONS; i++) {
		const char *group = i <= LEDGER_TYPES ? "perType" : "resources";
		cell->allowed[i] = i == 0 ? ledger_number(capacity, "maxVPAs", -1)
								  : ledger_number(json_member(capacity, group), ledger_names[i], -1);
	}
	json_free(root);
}

static inline void ledger_amounts(const char *body, const char *name, int64_t sign, int64_t into[LEDGER_DIMENSIONS])
{
	struct json *root = ledger_json(body);
	for (int i = 0; i < LEDGER_DIMENSIONS; i++)
		into[i] += sign * ledger_number(json_member(root, name), ledger_names[i], 0);
	json_free(root);
}

static inline void ledger_capacity(struct ledger *ledger, const char *id, const char *before, const char *after)
{
	struct ledger_cell *cell = ledger_cell_of(ledger, id);
	if (cell == NULL)
		return;
	cell->is_changed = true;
	if (strchr(id, '/') != NULL) {
		ledger_amounts(before, "released", -1, cell->given_back);
		ledger_amounts(after, "released", 1, cell->given_back);
		return;
	}
	memset(cell->booked, 0, sizeof(cell->booked));
	ledger_amounts(after, "used", 1, cell->booked);
}

static inline void ledger_move(struct ledger *ledger, const struct ledger_vpa *vpa, int64_t sign)
{
	struct ledger_cell *cell = &ledger->cells[vpa->slot];
	const int64_t amount[LEDGER_DIMENSIONS] = {[0] = 1, [LEDGER_TYPES + 1] = vpa->demand[0], vpa->demand[1]};
	if (sign > 0 && (cell->generation != vpa->generation || !cell->is_there))
		ledger->orphans++; /* on a cell that has gone */
	if (cell->generation != vpa->generation)
		return;
	cell->is_changed = true;
	for (int i = 0; i < LEDGER_DIMENSIONS; i++) {
		int64_t more = i == 1 + vpa->type ? 1 : amount[i];
		cell->live[i] += sign * more;
		cell->has_gained[i] |= sign > 0 && more > 0;
	}
}

static inline struct ledger_participant **ledger_find(struct ledger *ledger, const char *id)
{
	uint64_t hash = 5381;
	for (const char *at = id; *at != 0; at++)
		hash = hash * 33 + (unsigned char)*at;
	struct ledger_participant **slot = &ledger->buckets[(hash ^ hash >> 17) % (1 << 12)];
	while (*slot != NULL && strcmp((*slot)->id, id) != 0)
		slot = &(*slot)->next;
	return slot;
}

static inline void ledger_read_vpas(struct ledger_participant *participant, const char *body)
{
	struct json *root = ledger_json(body);
	for (const struct json *one = json_first(json_member(root, "vpas")); one != NULL; one = json_next(one)) {
		const struct json *demand = json_member(json_member(one, "celld"), "demand");
		struct ledger_vpa *vpa = &participant->vpas[participant->count++];
		*vpa =
			(struct ledger_vpa){.demand = {ledger_number(demand, "cpuMilli", 0), ledger_number(demand, "memMiB", 0)}};
		if (participant->count == LEDGER_VPAS_MAX ||
			sscanf(json_member_text(one, "cellId").bytes, "cell-%d-%d", &vpa->slot, &vpa->generation) != 2) /* NOLINT */
			abort();
		while (!text_equals(json_member_text(one, "type"), text_of(ledger_names[1 + vpa->type])))
			vpa->type++;
	}
	json_free(root);
}

static inline void ledger_leave(struct ledger *ledger, struct ledger_participant **slot)
{
	struct ledger_participant *participant = *slot;
	for (size_t i = 0; i < participant->count; i++)
		ledger_move(ledger, &participant->vpas[i], -1);
	ledger->releases += participant->count;
	ledger->all[participant->at] = ledger->all[--ledger->count];
	ledger->all[participant->at]->at = participant->at;
	*slot = participant->next;
	free(participant->id);
	free(participant);
}

static inline void ledger_come(
	struct ledger *ledger, struct ledger_participant **slot, const char *id, const char *body)
{
	struct ledger_participant *participant = calloc(1, sizeof(*participant));
	participant->id = strdup(id);
	ledger_read_vpas(participant, body);
	for (size_t i = 0; i < participant->count; i++)
		ledger_move(ledger, &participant->vpas[i], 1);
	ledger->bookings += participant->count;
	if (ledger->count == ledger->room) {
		ledger->room = ledger->room == 0 ? 1024 : ledger->room * 2;
		ledger->all = realloc(ledger->all, ledger->room * sizeof(struct ledger_participant *));
	}
	participant->at = ledger->count;
	ledger->all[ledger->count++] = participant;
	*slot = participant;
}

/* Each record of a commit; absent: NULL. */
static inline void ledger_change(
	void *context, enum record_kind kind, const char *id, const char *before, const char *after, int64_t revision)
{
	struct ledger *ledger = context;
	if (kind == RECORD_CELL) {
		ledger_define(ledger, id, after);
	} else if (kind == RECORD_CELL_CAPACITY) {
		ledger_capacity(ledger, id, before, after);
	} else if (kind == RECORD_PARTICIPANT_PROFILE) {
		struct ledger_participant **slot = ledger_find(ledger, id);
		ledger->twice += *slot != NULL && after != NULL;
		if (*slot != NULL)
			ledger_leave(ledger, slot);
		if (after != NULL) {
			slot = ledger_find(ledger, id);
			ledger_come(ledger, slot, id, after);
			(*slot)->revision = revision;
		}
	}
}

/* Its end: now everything must be right. */
static inline void ledger_check(void *context)
{
	struct ledger *ledger = context;
	for (size_t slot = 0; slot < LEDGER_CELLS; slot++) {
		struct ledger_cell *cell = &ledger->cells[slot];
		bool has_gained = false, is_over = false, is_unbalanced = false;
		for (int i = 0; cell->is_changed && i < LEDGER_DIMENSIONS; i++) {
			has_gained |= cell->has_gained[i];
			is_over |= cell->has_gained[i] && cell->allowed[i] >= 0 && cell->live[i] > cell->allowed[i];
			is_unbalanced |= cell->booked[i] - cell->given_back[i] != cell->live[i];
			cell->has_gained[i] = false;
		}
		ledger->over += is_over;
		ledger->unbalanced += is_unbalanced && cell->is_there;
		ledger->on_closed += has_gained && cell->is_there && !cell->is_open;
		cell->is_changed = false;
	}
}

static inline void ledger_clear(struct ledger *ledger)
{
	for (size_t i = 0; i < ledger->count; i++) {
		free(ledger->all[i]->id);
		free(ledger->all[i]);
	}
	free(ledger->all);
	memset(ledger, 0, sizeof(*ledger));
}
