/* Work on files that may block, off the event loops: a few threads that take jobs in the order they come. */
#pragma once

#include "server/worker.h"

struct disk;

/* Embed it. Whoever submits a job leaves it alone until `done`. */
struct disk_job {
	struct task task;                   /* first */
	void (*run)(struct disk_job *job);  /* on a thread of the disk's */
	void (*done)(struct disk_job *job); /* later, on the worker that submitted it */
	struct disk *disk;
	struct worker *worker;
	struct disk_job *next;
};

/* The threads begin with the first job. NULL: out of memory. */
struct disk *disk_new(void);
/* On `worker`. Without a thread to run it, it runs here. */
void disk_submit(struct disk *disk, struct disk_job *job, struct worker *worker);
/* Returns when every job has run: its `done` is posted. For stop hooks: what is posted runs after them. */
void disk_drain(struct disk *disk);
/* No job may be left. */
void disk_free(struct disk *disk);
