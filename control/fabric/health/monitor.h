/* All cells' health: takes heartbeats, notices silence, knows when not to trust its own eyes. Pure: the clock is passed
 * in (boot time, which goes on while the machine sleeps), what follows is told by calls back. One thread. */
#pragma once

#include "control/fabric/health/doubt.h"

struct monitor_settings {
	int64_t interval_ms;      /* 2 s; grows with the fleet: cells / 5,000 s */
	int64_t away_interval_ms; /* of a cell whose connectivity is intermittent: 10 s */
	int64_t grace_ms;         /* after a start or a change of leader: 60 s */
	int64_t margin_ms;        /* what a cell takes off its lease: 1 s */
	int64_t fail_over_ms;     /* unreachable for so long: 20 s */
	int64_t fail_over_rate;   /* VPAs a second that may be moved: cells become eligible no faster */
};

/* Why nothing of weight may follow from health now, as bits: no cell is eligible for fail-over while one is on
 * (control.md 2.5). States go on to say what is heard of a cell, silent ones are placed on no more, and their VPAs are
 * shown offline: only who may be wrong himself (LOCAL, GRACE, FOLLOWER) judges nobody by his silence. */
#define MONITOR_BRAKE_LIST(X)                                                                                          \
	X(FOLLOWER, "follower", "this process does not lead the fabric")                                                   \
	X(GRACE, "grace", "too early after a start or a change of leader")                                                 \
	X(LOCAL, "local", "this process itself was late or cut off a moment ago")                                          \
	X(MASS, "mass", "30 % or more of all cells are silent at once")                                                    \
	X(ZONE, "zone", "55 % or more of a zone's cells are silent at once")                                               \
	X(FREEZE, "freeze", "an operator has frozen it (cellctl fabric unfreeze)")                                         \
	X(BEHIND, "behind", "the database is older than what the cells know, or another one (cellctl fabric adopt)")       \
	X(AGREEMENT, "agreement", "no other replica and no other cell says that it is gone too")                           \
	X(GROUP, "group", "another cell of its fail-over group is failed over")                                            \
	X(RATE, "rate", "as many VPAs as may be are failed over already (cells.fail_over_rate)")
enum monitor_brake {
#define MONITOR_BRAKE_MEMBER(name, word, text) BRAKE_##name,
	MONITOR_BRAKE_LIST(MONITOR_BRAKE_MEMBER)
#undef MONITOR_BRAKE_MEMBER
		BRAKE_COUNT
};
const char *monitor_brake_name(enum monitor_brake brake);
const char *monitor_brake_text(enum monitor_brake brake);

/* The brakes from AGREEMENT on are of one cell: it has been unreachable for long enough, and they alone hold it. */
#define MONITOR_OWN_BRAKES (~0U << BRAKE_AGREEMENT & ((1U << BRAKE_COUNT) - 1))

/* What is asked about a silent cell, and whom besides the other replicas. */
struct monitor_question {
	uint32_t number;
	unsigned count; /* of cells, by their slots */
	uint32_t cells[DOUBT_CELLS];
};
struct monitor_events {
	/* Only while leading. `why`: a literal. */
	void (*changed)(void *context, uint32_t slot, enum cell_health from, enum cell_health to, const char *why);
	/* Try its ingress and call monitor_probed; ask these cells to try it too, and the other replicas whether they hear
	 * it, and call monitor_told_* with each answer. */
	void (*probe)(void *context, uint32_t slot, const struct monitor_question *question);
	/* How many VPAs would have to be moved: what is booked on it, whatever it said last. */
	uint64_t (*vpas)(void *context, uint32_t slot);
};

enum monitor_verdict {
	BEAT_GRANTED,
	BEAT_REPEATED, /* granted again: its answer was lost */
	BEAT_OLD,      /* a number from before, late: no answer */
	BEAT_STALE,    /* of an epoch or a process that has been followed by another */
	BEAT_AHEAD,    /* of an epoch we never gave: our records are older than the cell's */
	BEAT_FOREIGN,  /* no cell that may beat */
	BEAT_VERDICTS
};
const char *monitor_verdict_name(enum monitor_verdict verdict);

struct monitor;
enum status monitor_open(const struct monitor_settings *settings, const struct monitor_events *events, void *context,
	uint64_t now_ms, struct monitor **monitor) MUST_CHECK;
void monitor_free(struct monitor *monitor);

/* The cell's record is new or has changed; NULL: the one at `slot` has gone. */
void monitor_update(struct monitor *monitor, uint32_t slot, const struct cell_record *cell, uint64_t now_ms);
/* Leading begins: everything is as the records say, and grace begins. */
void monitor_lead(struct monitor *monitor, bool leads, uint64_t now_ms);
/* FREEZE, BEHIND: what others know. */
void monitor_brake_set(struct monitor *monitor, enum monitor_brake brake, bool is_on);
/* Whether this process can hear at all: its own connection, its own database. */
void monitor_trust(struct monitor *monitor, bool can_hear, uint64_t now_ms);

/* Before anything is parsed: false when this cell has used up its share (10/s, 20 at once). */
bool monitor_admit(struct monitor *monitor, uint32_t slot, uint64_t now_ms);
enum monitor_verdict monitor_beat(
	struct monitor *monitor, const struct cell_record *cell, const struct beat *beat, uint64_t now_ms);
/* What a leader of this term answers; nothing is written for BEAT_OLD. A grant:
 * {"ep","term","ttl","interval","n","mode"}, and "hold":true while nothing may be ordered (BEHIND); else {"err","ep"}.
 */
void monitor_answer(const struct monitor *monitor, const struct cell_record *cell, const struct beat *beat,
	enum monitor_verdict verdict, int64_t term, struct buffer *into);
void monitor_probed(struct monitor *monitor, uint32_t slot, bool is_reached, uint64_t now_ms);
/* What another says of the cell at `slot`: a cell (at slot `by`), a replica (any number of its own). What was not asked
 * is passed over. */
void monitor_told_by_cell(
	struct monitor *monitor, uint32_t slot, uint32_t question, uint32_t by, bool is_alive, uint64_t now_ms);
void monitor_told_by_replica(
	struct monitor *monitor, uint32_t slot, uint32_t question, uint64_t by, bool is_alive, uint64_t now_ms);
/* What this process itself can say of it to another replica: UNKNOWN when it could not have heard it. */
enum health_reach monitor_view(const struct monitor *monitor, uint32_t slot, uint64_t now_ms);
/* Every 100 ms. */
void monitor_tick(struct monitor *monitor, uint64_t now_ms);

/* --- what it knows */
uint64_t monitor_interval_ms(const struct monitor *monitor, const struct cell_record *cell);
uint64_t monitor_ttl_ms(const struct monitor *monitor, const struct cell_record *cell); /* of a granted lease */
/* NULL: nothing is known of this slot. */
const struct health *monitor_health(const struct monitor *monitor, uint32_t slot);
const struct beat_figures *monitor_figures(const struct monitor *monitor, uint32_t slot); /* NULL: no beat yet */
/* The epoch that the cell has and its record never had: our database is an older copy (F24). 0: none. */
int64_t monitor_ahead(const struct monitor *monitor, uint32_t slot);
/* Since the last heartbeat; UINT64_MAX: never heard. */
uint64_t monitor_age_ms(const struct monitor *monitor, uint32_t slot, uint64_t now_ms);
/* Those of the whole fabric. */
unsigned monitor_brakes(const struct monitor *monitor, uint64_t now_ms);
/* The same, and its own. */
unsigned monitor_cell_brakes(const struct monitor *monitor, uint32_t slot, uint64_t now_ms);
/* How many cells a brake of their own holds now. */
uint32_t monitor_held(const struct monitor *monitor, enum monitor_brake brake);
/* False: there is no doubt about it. */
bool monitor_tally(const struct monitor *monitor, uint32_t slot, uint64_t now_ms, struct doubt_tally *tally);
/* Its state is FAILOVER_ELIGIBLE, and still is it now: unreachable for long enough, its lease surely over, not ahead of
 * us, and no brake on. To be asked again in the turn in which something follows. */
bool monitor_may_fail_over(const struct monitor *monitor, uint32_t slot, uint64_t now_ms);
/* How many cells are watched, and how many of them are in each state. */
uint32_t monitor_census(const struct monitor *monitor, uint32_t by_health[CELL_FLAPPING + 1]);
size_t monitor_bytes_per_cell(void);
