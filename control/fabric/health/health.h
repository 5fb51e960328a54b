/* The health of one cell: one table of transitions (control.md 2.5), pure. Time is what the caller says. */
#pragma once

#include "control/command/beat.h"
#include "control/fabric/cells.h"

enum { HEALTH_FALLS = 3 };

struct health_rules {
	uint64_t interval_ms;       /* between heartbeats: 2 s; of a cell that may be away: 10 s */
	uint64_t suspect_pct;       /* of the interval: 240, so that 5 s are kept with the tick's lateness */
	uint64_t gone_pct;          /* 500 */
	uint64_t steady_beats;      /* in a row, to be believed again: 3 */
	uint64_t back_beats;        /* after it was unreachable: 10, */
	uint64_t back_ms;           /* and over 20 s */
	uint64_t well_ms;           /* under half of every limit, to be healthy again: 120 s */
	uint64_t load_ms;           /* CPU above its limit: 60 s */
	uint64_t flap_window_ms;    /* three falls in it: 10 min */
	uint64_t flap_quiet_ms;     /* 10 min, doubling ... */
	uint64_t flap_quiet_max_ms; /* ... to 60 min */
};
extern const struct health_rules health_usual_rules;

enum health_reach { REACH_UNKNOWN, REACH_NO, REACH_YES };
/* What is wrong with a cell that is heard, as bits. */
#define HEALTH_FAULT_LIST(X)                                                                                           \
	X(COMPONENT, "less than half of a component is ready")                                                             \
	X(ERRORS, "more than 2 % of requests fail")                                                                        \
	X(DATABASE, "the database is slow or down")                                                                        \
	X(VAULT, "the vault is sealed, on standby or down")                                                                \
	X(LOAD, "the processors are busy above 90 %")                                                                      \
	X(SAID, "the cell says so")
enum health_fault {
#define HEALTH_FAULT_MEMBER(name, text) FAULT_##name,
	HEALTH_FAULT_LIST(HEALTH_FAULT_MEMBER)
#undef HEALTH_FAULT_MEMBER
		FAULT_COUNT
};
const char *health_fault_text(enum health_fault fault);

/* All-zero with `state` and `since_ms` set is a good start. */
struct health {
	uint64_t since_ms;              /* of the state */
	uint64_t heard_ms;              /* the last heartbeat that counted; 0: none */
	uint64_t row_ms;                /* the first one of the unbroken row */
	uint64_t counted_ms;            /* the last that was added to the row: one half an interval */
	uint64_t quiet_ms;              /* flapping: when it last fell */
	uint64_t loaded_ms;             /* CPU above the limit since; 0: it is not */
	uint64_t unwell_ms;             /* last time a figure was above half of its limit */
	uint32_t falls_s[HEALTH_FALLS]; /* the last times it went silent, the newest first; 0: none */
	uint32_t row;
	uint8_t state;  /* enum cell_health */
	uint8_t faults; /* bit per enum health_fault */
	uint8_t reach;  /* enum health_reach: of whoever has tried since it was silent */
	uint8_t slow;   /* windows in a row with a slow database */
	uint8_t flaps;  /* how often it was flapping, not long ago */
	uint8_t fenced; /* heartbeats in a row that say its lease has ended, as far as steady_beats */
};

struct health_view {
	const struct health_rules *rules;
	uint64_t now_ms;
	uint64_t trusted_ms; /* silence counts from here on: we could have heard since */
	bool is_grace;       /* after a start or a change of leader nobody falls for his silence */
	bool may_fail_over;  /* it is unreachable, and nothing holds back what follows (monitor.h) */
};

/* A heartbeat that counts: takes in what it says. The state is moved by health_step. */
void health_hear(struct health *health, const struct health_view *view, const struct beat_figures *figures);
/* Moves once; false: there is nothing to move. *why: a literal for people. */
bool health_step(struct health *health, const struct health_view *view, const char **why);
/* How long it has been silent. */
uint64_t health_silence_ms(const struct health *health, const struct health_view *view);
/* When health_step may next have something to say though nothing is heard; never before now + 1. */
uint64_t health_due_ms(const struct health *health, const struct health_view *view);
/* Is it silent, so that its ingress should be tried and others be asked, now and then? */
bool health_wants_probe(const struct health *health, const struct health_view *view);
