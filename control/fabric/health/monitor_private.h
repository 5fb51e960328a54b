/* What the files of the monitor share. */
#pragma once

#include "control/fabric/health/monitor.h"

enum { NAMES_MAX = 1024, DOUBTS_MAX = 4096, MONITOR_INTERVALS_PER_LEASE = 5 };

struct watch {
	struct health health;
	struct beat_figures figures;
	int64_t epoch, number; /* of the last heartbeat; number -1: none of this epoch */
	int64_t ahead;         /* the epoch it has and we never gave; 0: it has ours */
	uint64_t allowed_ms, probe_ms;
	uint16_t zone, group;
	uint16_t doubt; /* its place among the doubts, from 1 on; 0: none */
	uint8_t held;   /* its own brakes, as bits from AGREEMENT on */
	bool is_watched : 1, is_heard : 1;
	bool is_away : 1;                                 /* its connectivity is intermittent */
	bool is_counted : 1, is_down : 1, is_claimed : 1; /* in the figures of the brakes; holds its group's place */
};

/* Names by their places; the first place is of who has none. */
struct names {
	char *items[NAMES_MAX];
	uint32_t count;
};

struct zone {
	uint32_t cells, down;
};

struct monitor {
	struct monitor_settings settings;
	struct monitor_events events;
	void *context;
	struct watch *watches;
	uint64_t *due; /* by slot; UINT64_MAX: never */
	uint32_t count, room;
	struct names zone_names, group_names;
	struct zone zones[NAMES_MAX]; /* the first: of cells that name none, which no brake watches */
	uint32_t eligible[NAMES_MAX]; /* by fail-over group: one at a time. The first: of all cells that name none */
	uint32_t zones_braked;
	uint32_t cells, down;
	uint32_t held[BRAKE_COUNT];     /* how many cells each of their own brakes holds */
	struct doubt **doubts;          /* of the silent ones; NULL: a free place */
	uint32_t doubt_count, question; /* places; the last question's number */
	uint64_t ticked_ms, trusted_ms, grace_until_ms, local_until_ms;
	uint64_t rate_until_ms; /* the VPAs of who became eligible last are being moved until then */
	unsigned set;           /* brakes, as bits */
	bool leads, is_deaf;
};

uint64_t monitor_interval_of(const struct monitor *monitor, bool is_away);
bool monitor_is_grace(const struct monitor *monitor, uint64_t now_ms);

/* --- monitor_brakes.c */

/* The zone and the group of a cell, made when they are new. */
void brakes_place(struct monitor *monitor, struct watch *watch, const struct cell_record *cell);
/* Adds the watch to the figures, takes it out, or (its state has changed) moves it within them. */
void brakes_count(struct monitor *monitor, struct watch *watch, bool is_counted);
/* Whether it may be, or stay, eligible for fail-over; notes what holds it back. */
bool brakes_judge(struct monitor *monitor, struct watch *watch, uint64_t now_ms);
/* It has become eligible: its group's place and its share of the rate are taken. */
void brakes_claim(struct monitor *monitor, const struct watch *watch, uint64_t now_ms);
/* NULL: nothing is known of it besides its silence. */
struct doubt *brakes_doubt(const struct monitor *monitor, const struct watch *watch);
/* Its doubt, opened when there is none; NULL: too many, or out of memory. */
struct doubt *brakes_doubt_open(struct monitor *monitor, uint32_t slot);
void brakes_doubt_close(struct monitor *monitor, struct watch *watch);
/* It is watched no more. */
void brakes_forget(struct monitor *monitor, struct watch *watch);
void brakes_free(struct monitor *monitor);
