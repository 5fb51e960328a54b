/* A doubt: what is known of a cell that is silent, besides its silence (control.md 2.5: probes at SUSPECT, brake c).
 * Our own try at its ingress, what the other replicas hear of it, and what three other cells found at its ingress. A
 * word counts for a while, of whom was asked alone, and in answer to the last question alone. Pure: the clock is passed
 * in.
 */
#pragma once

#include "control/fabric/health/health.h"

enum {
	DOUBT_CELLS = 3,
	DOUBT_REPLICAS = 4,
	DOUBT_TRIES = 64,      /* cells that are looked at to find so many */
	DOUBT_WORD_MS = 25000, /* two and a half of the longest pause between questions */
};

enum doubt_word { WORD_NONE, WORD_SILENT, WORD_ALIVE };

/* One who can say something: a cell by its slot, a replica by a number of its own. */
struct doubt_voice {
	uint64_t who, said_ms;
	uint8_t word;             /* enum doubt_word */
	bool is_used, is_awaited; /* awaited: has not answered the last question */
};

/* All-zero is a good start. */
struct doubt {
	uint32_t slot;     /* of the silent cell */
	uint32_t question; /* the last one's number */
	uint32_t next;     /* the slot after the last one that was asked */
	struct doubt_voice probe, cells[DOUBT_CELLS], replicas[DOUBT_REPLICAS];
};

/* Another question. Cells that answered the one before are asked again, the places of the others are filled with those
 * that `is_fit` says may be asked; slots: how many there are. Returns how many are asked, in cells[]. */
unsigned doubt_ask(struct doubt *doubt, uint32_t question, uint32_t slots,
	bool (*is_fit)(const void *context, uint32_t slot), const void *context, uint32_t cells[DOUBT_CELLS]);
/* What our own try has found. */
void doubt_probed(struct doubt *doubt, bool is_alive, uint64_t now_ms);
/* False: it was not asked, or that was another question. */
bool doubt_hear_cell(struct doubt *doubt, uint32_t question, uint32_t slot, bool is_alive, uint64_t now_ms);
bool doubt_hear_replica(struct doubt *doubt, uint32_t question, uint64_t replica, bool is_alive, uint64_t now_ms);

/* Whether it can be reached by anybody. NO only when we have tried ourselves. */
enum health_reach doubt_reach(const struct doubt *doubt, uint64_t now_ms);

struct doubt_tally {
	unsigned replicas_silent, replicas_alive;
	unsigned cells_asked, cells_silent, cells_alive;
};
struct doubt_tally doubt_tally(const struct doubt *doubt, uint64_t now_ms);
/* Brake c: another replica, or a cell, finds it silent too, and nobody reaches it. */
bool doubt_is_agreed(const struct doubt *doubt, uint64_t now_ms);
