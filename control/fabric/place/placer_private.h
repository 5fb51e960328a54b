/* The placer's inside: rooms.c keeps what is booked, jobs.c the queue, batch.c decides and writes transactions,
 * decisions.c the decisions. */
#pragma once

#include "control/fabric/place/amounts.h"
#include "control/fabric/place/deployments.h"
#include "control/fabric/place/journal.h"
#include "control/fabric/place/lodgings.h"
#include "control/fabric/place/placer.h"

enum {
	BATCH_JOBS = 4096, /* placements in one transaction */
	BATCH_VPAS = 8192,
	BRIEF_FROM = 32,    /* a batch of so many says of each only what is needed to decide again */
	DECISION_JOBS = 64, /* placements in one record */
	STORED_CELLS = 32,  /* of so many cells a stored decision tells of each */
	TOLD_CELLS = 10000, /* and a dry run */
	TRIES = 50,
	TICK_MS = 1000
};

/* What a VPA gave back, not yet taken off its cell's capacity. */
struct release {
	struct release *next;
	char *id; /* of its record */
	int64_t revision;
	int64_t amount[PLACE_DIMENSION_COUNT];
};

/* One cell's room, by its slot. */
struct room {
	int64_t revision;                       /* of its CELL_CAPACITY record; 0: none yet */
	int64_t used[PLACE_DIMENSION_COUNT];    /* as stored */
	int64_t pending[PLACE_DIMENSION_COUNT]; /* booked by what is under way here */
	struct release *releases;
	unsigned ready; /* as measured; all bits: not known */
	int load;
	bool is_touched;                  /* by the batch being written */
	bool is_chosen;                   /* by the batch decided meanwhile */
	int64_t seen_revision, seen_cell; /* what the batch under way was decided on */
};

/* One placement from its call to its end. */
struct job {
	struct job *next;
	struct placement placement;
	struct place_request **requests;
	uint32_t *slots;
	enum status verdict; /* OK: chosen; NOT_FOUND: nothing fits; else what to say */
	unsigned conflicts;
	uint64_t give_up_ms; /* monotonic: how long it waits for a cell */
	uint64_t tried_at;   /* version of the snapshot */
	bool is_alone;       /* its records may be what was refused: not again with others */
	bool is_booked;
	int64_t micros;
	char decision[ID_LENGTH + 8]; /* "<record>-<index>"; "": none */
	struct buffer explain, line;
};

struct batch {
	struct placer *placer;
	struct job *jobs, **end;
	size_t count, vpas;
	bool is_alone, has_changes;
};

struct placer {
	struct state *state;
	struct cells *cells;
	struct place_snapshot *snapshot;
	struct journal *journal; /* of the snapshot */
	struct room *rooms;
	uint32_t room_count;
	struct lodgings pending_seats; /* of participants under way */
	struct deployments deployments;
	struct job *queue, **queue_end;
	size_t queued;
	struct job *waiting; /* for a cell that fits */
	struct batch *batch; /* under way */
	struct batch *next;  /* decided meanwhile, and not yet on its way */
	bool is_stale;       /* somebody changed a room that the next has chosen */
	struct task later;
	bool is_planned, is_running;
	struct timer *timer;
	size_t unfolded; /* releases */
	struct pruning *pruning;
	int64_t process; /* whose snapshot a version is of */
};

/* --- rooms.c */
enum status rooms_open(struct placer *placer) MUST_CHECK;
void rooms_free(struct placer *placer);
/* A decided job, which the snapshot has booked, is under way (sign 1), or no longer: then what did not land as a record
 * is taken out of the snapshot, its capacity by the next room_show. */
void rooms_pend(struct placer *placer, const struct job *job, int sign);
/* The snapshot shows what is stored, less what was released, and what is under way. */
void room_show(struct placer *placer, uint32_t slot);

/* --- jobs.c */
struct job *job_new(const struct placement *placement); /* NULL: out of memory */
void job_end(struct job *job, enum status status);      /* tells, and frees it */
void jobs_free(struct job *jobs);
void job_queue_add(struct placer *placer, struct job *job);
void job_queue_add_first(struct placer *placer, struct job *job);
void job_queue_put_back(struct placer *placer, struct job *jobs); /* before all others, in their order */
struct job *job_queue_take(struct placer *placer);

/* --- batch.c */
/* Soon, when there is something to do. */
void batch_plan(struct placer *placer);
/* What is told of a decided job: made from what was told of each decision. */
void job_explain(const struct placer *placer, struct job *job, uint64_t version, const struct buffer *decisions);

/* --- decisions.c */
/* Adds the records of the batch's decisions. */
bool decisions_add(struct batch *batch, struct transaction *transaction);
enum status pruning_open(struct placer *placer) MUST_CHECK;
void pruning_free(struct placer *placer);
void pruning_count(struct placer *placer, const char *record);
void pruning_tick(struct placer *placer);
