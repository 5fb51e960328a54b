/* The provision manager: orchestrations from manifests to their end (cfm.md 3, control.md 2.10), wire-compatible with
 * the existing one, whose agents it drives.
 *
 * Record: ORCHESTRATION (id: the manifest's) = the value in the bucket (control/orchestration/orchestration.h) and a
 * member "celld": {"requested": not started yet, "foreign": another manager's, "revision", "at": of the bucket's
 * message it was taken from (us), "since": when something was completed last (ms), "settleAt": until when a
 * compensation waits for what is under way (ms), "compensation": the id of its compensation, "compensates": what it is
 * one of, "purged"}. The record is the truth: what the broker loses is put back from it.
 *
 * Several replicas may run: each change is a compare-and-set of the bucket's value or of the record, and what follows
 * from it (response, compensation) is in the record's transaction, once. */
#pragma once

#include "control/fabric/cells.h"
#include "control/fabric/letters.h"
#include "control/fabric/orchestration/definitions.h"
#include "control/fabric/rest.h"
#include "control/orchestration/orchestration.h"

/* Section "orchestration". */
struct pm_settings {
	int64_t orchestration_ms;      /* from its creation to its end: 30 min */
	int64_t activity_ms;           /* from one completed activity to the next: 15 min */
	int64_t settle_ms;             /* a compensation waits so long for what is under way: 30 s */
	int64_t retention_ms;          /* a finished one stays in the bucket: 7 days */
	int64_t sweep_ms;              /* how often is looked for what is stuck: 5 s */
	struct setting_texts services; /* "activity-type=vpa.type"; none: those of the existing agents */
};
extern const struct setting pm_settings_table[];
extern const size_t pm_settings_count;

/* All may be NULL. */
struct pm_hooks {
	/* A stream of ours cannot be used, and never could since the start (control.md F18): one line. The program should
	 * end; until then nothing is orchestrated, and it is tried again. */
	void (*refused)(void *context, struct text why);
	/* Has the tenant manager taken in how this orchestration ended? Asked of those that have ended some time ago; the
	 * response is sent again when it has not. */
	bool (*is_answered)(void *context, const struct orchestration *orchestration);
	void *context;
};

/* What it stands on; all outlive it. */
struct pm_base {
	struct state *state;
	struct bus *bus;
	struct cells *cells;         /* NULL: no cell has an executor of its own */
	struct rest *rest;           /* NULL: tests */
	const char *stream, *bucket; /* "cfm-stream", "cfm-bucket" */
	bool sets_up_stream;         /* create it when it is missing; else it is waited for */
};

struct pm;
/* Before store_load, before the worker starts and before the server opens. INVALID: one line in `error`. Settings are
 * copied. */
enum status pm_open(const struct pm_settings *settings, const struct pm_base *base, const struct pm_hooks *hooks,
	struct pm **pm, struct buffer *error) MUST_CHECK;
/* After the worker has stopped. */
void pm_free(struct pm *pm);
/* Held: facts are taken in, and nothing is started, sent, compensated or ended; then all of it goes on, and time counts
 * from there. On the worker or before it starts. */
void pm_hold(struct pm *pm, bool is_held);
/* Its series, as text of Prometheus. On the worker. */
void pm_render_metrics(const struct pm *pm, struct buffer *into);
/* One line for people. */
void pm_line(const struct pm *pm, struct buffer *into);

/* Orders an orchestration within the caller's transaction: its letter (cfm.md 3.2), and a record by which it is started
 * even if the broker loses the letter. False: out of memory. */
bool pm_order(struct transaction *transaction, const struct manifest *manifest, int64_t wall_ms) MUST_CHECK;
