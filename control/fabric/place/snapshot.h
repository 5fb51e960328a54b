/* The snapshot's inside, for place/ alone: columns of numbers, sets of cells, who holds what, and a log that can be
 * walked backwards. */
#pragma once

#include "control/fabric/place/attributes.h"
#include "control/fabric/place/journal.h"
#include "control/fabric/place/lodgings.h"
#include "control/fabric/place/request.h"
#include "control/fabric/place/sizes.h"

enum {
	OVERLAP_LODGINGS = 64, /* a tenant with more of them overlaps with all anyway */
	SKETCH_SIZE = 32,      /* tenants of a cell, by five bits of their hash */
	HISTORY_MAX = 1 << 17, /* changes that can be walked back: some 20,000 placements */
	SETS_MAX = 4 + VPA_TYPE_COUNT
};

/* Sets that are no attributes. */
enum place_set {
	SET_PRESENT, /* there is a cell */
	SET_OPEN,    /* takes new VPAs */
	SET_DEGRADED,
	SET_INTERMITTENT, /* not always connected */
	SET_READY,        /* + type: its runtime is enabled and ready */
};

/* A change that can be undone, and then done again: it holds the other state. */
struct past {
	uint64_t version; /* before the change */
	enum { PAST_ROW, PAST_SET, PAST_ATTRIBUTE, PAST_HOLD, PAST_OPINION } kind : 8;
	uint8_t dimension, type;
	int8_t change;
	uint32_t slot, index; /* index: of the set, attribute or opinion */
	union {
		struct {
			int32_t free, allowed; /* of the dimension */
		} room;
		struct {
			uint64_t participant, tenant;
		} who;
		bool value;
		int16_t part;
	};
};

/* What cells say of themselves: cost, external.<name>. */
struct opinion {
	char *name;
	uint64_t hash;
	int16_t *parts; /* of each cell: 0 ... 1000 */
};

/* What few decisions look at. */
struct cold {
	char *id, *cfm_id;
	const char *why;
	uint16_t keys[PLACE_KEY_COUNT]; /* the attribute that is its region, zone, ...; ATTRIBUTE_NONE */
	int16_t load;                   /* measured; -1 */
	int32_t protocol;
	struct attestation {
		uint16_t attribute;
		int64_t until_ms;
	} * attestations;
	uint32_t attestation_count;
};

struct place_snapshot {
	uint32_t words, count; /* room in words of 64 cells; cells present */
	uint64_t version;
	int64_t now_ms, next_expiry_ms;
	int32_t *free[PLACE_DIMENSION_COUNT], *allowed[PLACE_DIMENSION_COUNT]; /* INT32_MAX: unlimited */
	uint32_t *share[PLACE_DIMENSION_COUNT];                                /* what one unit is of 2^32 */
	int16_t *balance;                                                      /* 0 ... 1000: how idle */
	uint64_t *hash;
	uint8_t (*tenants)[SKETCH_SIZE]; /* how many tenants have that hash; 255 stays */
	uint32_t *sketch;
	struct cold *cold;
	uint64_t *sets[SETS_MAX];
	struct sizes sizes;
	struct attributes attributes;
	struct opinion opinions[PLACE_OPINIONS_MAX];
	uint32_t opinion_count;
	uint16_t *taints; /* attributes */
	uint32_t taint_count;
	struct lodgings participants, tenancies;
	struct past *history; /* a ring */
	uint64_t history_first, history_end;
	bool is_walking;           /* rewound: nothing is written down */
	struct journal *journal;   /* who keeps one; NULL: nobody. Not the snapshot's */
	uint64_t rewound, present; /* where in the history; the version to return to */
	/* of the last decision */
	struct asked {
		const struct place_request *requests[PLACE_GROUP_MAX];
		size_t count;
		int32_t need[PLACE_DIMENSION_COUNT];
		const struct size *size; /* what is left where, of so much */
		unsigned filters;        /* bit per filter that stands against any cell at all: only their sets count */
	} asked;
	uint64_t *ok[PLACE_FILTER_COUNT], *feasible, *scratch[2];
	uint64_t *spare[SUM_SETS_MAX]; /* of a sum's sets */
	int16_t *total, *overlap;
};

static inline bool is_limited(const struct place_snapshot *snapshot, int dimension, uint32_t slot)
{
	return snapshot->allowed[dimension][slot] != INT32_MAX;
}

/* --- decide.c, filter.c, score.c and neighbours.c, for explain.c */

/* The parts of some cells' scores, each 0 ... 1000; what was asked last, and the totals are gone afterwards. */
void place_parts(struct place_snapshot *snapshot, const uint32_t *slots, size_t count, int (*parts)[PLACE_SCORE_COUNT]);
int place_weight(enum place_score score, enum place_strategy strategy);
/* The column of what cells say under this name; NULL: none does. */
const int16_t *place_opinion(const struct place_snapshot *snapshot, const struct weigh *weigh);
/* The filters a cell does not pass. */
uint32_t place_mask(const struct place_snapshot *snapshot, uint32_t slot);
/* Does the first win a tie of scores? */
bool place_wins_tie(const struct place_snapshot *snapshot, uint32_t slot, uint32_t other);
/* Every taint but those the request tolerates. */
bool place_tolerates(const struct place_request *request, struct text taint);
/* Whose VPAs a term of affinity looks at. */
const struct held *place_held(const struct place_snapshot *snapshot, const struct place_request *request,
	enum place_whose whose, uint32_t *count);

/* --- explain_words.c */

/* What the filters of the mask say of a cell: "lacks label tier=gold and has no room". Of several VPAs that share a
 * cell, the first that a filter stands against says it. */
void explain_print_miss(const struct place_snapshot *snapshot, uint32_t slot, uint32_t mask, struct buffer *into);

/* --- history.c: the setters */

/* As it was: which hashes of tenants the cell has. */
void snapshot_put_sketch(struct place_snapshot *snapshot, uint32_t slot, uint32_t sketch);
/* What was decided before cannot be decided again. */
void snapshot_forget(struct place_snapshot *snapshot);
void snapshot_set_room(struct place_snapshot *snapshot, uint32_t slot, int dimension, int32_t left, int32_t allowed);
void snapshot_set_load(struct place_snapshot *snapshot, uint32_t slot, int16_t load);
void snapshot_set_member(struct place_snapshot *snapshot, uint32_t slot, uint32_t set, bool value);
void snapshot_set_opinion(struct place_snapshot *snapshot, uint32_t slot, uint32_t index, int16_t part);
void snapshot_set_attribute(struct place_snapshot *snapshot, uint32_t slot, uint32_t index, bool value);
/* change: 1 a VPA comes, -1 one goes. NO_MEMORY: nothing is changed. */
enum status snapshot_hold(struct place_snapshot *snapshot, uint64_t participant, uint64_t tenant, uint32_t slot,
	enum vpa_type type, int change) MUST_CHECK;

/* --- snapshot.c */

/* Room for the cell at `slot`; false: out of memory. */
bool snapshot_reserve(struct place_snapshot *snapshot, uint32_t slot);
void cold_free(struct cold *cold);
/* Taints are looked at one by one, so they have a list. False: out of memory. */
bool snapshot_list_taints(struct place_snapshot *snapshot);
/* A name that cells have not said before; *index UINT32_MAX: there are as many as are heard. */
enum status snapshot_add_opinion(struct place_snapshot *snapshot, const char *name, uint32_t *index) MUST_CHECK;
static inline int32_t snapshot_bounded(int64_t number)
{
	return number < 0 ? 0 : number > INT32_MAX - 1 ? INT32_MAX - 1 : (int32_t)number;
}

/* The slot of a cell by either id; -1: none. */
int64_t place_snapshot_find(const struct place_snapshot *snapshot, const char *id);
/* The cells of one attribute; NULL: none has it. */
const uint64_t *place_snapshot_set(const struct place_snapshot *snapshot, const struct want *want);
