/* The provision manager's inside: the ledger of orchestrations, and who moves them. */
#pragma once

#include "control/fabric/orchestration/pm.h"
#include "control/fabric/orchestration/statistics.h"
#include "control/fabric/orchestration/steps.h"
#include "control/fabric/record_index.h"

#define PM_BASE "/api/v1alpha1"
#define PM_READ "provision-manager-api:read"
#define PM_WRITE "provision-manager-api:write"

enum { PM_CLASHES_MAX = 20 };

/* One orchestration, as far as it must be at hand; the rest is in its record. Lives as long as the manager. */
struct ledger_item {
	struct ledger_item *next;
	char *id, *type, *correlation_id;
	int64_t revision; /* 0: the record is gone */
	enum orchestration_state state;
	bool is_requested, is_foreign, is_purged, is_compensated, is_busy;
	int64_t created_ms, ended_ms, since_ms, settle_at_ms; /* wall clock; ended: 0: not yet */
	int64_t at_us, bucket_revision;
	uint64_t check_at_ms, check_pause_ms;   /* worker's clock: is it stuck? */
	uint64_t answer_at_ms, answer_pause_ms; /* has its response arrived? */
	unsigned doubts;                        /* messages that the stream took for known ones since it has moved */
	bool is_warned;
};

struct pm {
	struct pm_settings settings;
	struct pm_base base;
	struct pm_hooks hooks;
	struct worker *worker;
	struct definitions *definitions;
	struct steps_settings plan;
	struct steps_service *services;
	struct record_index *index;
	struct statistics *statistics;
	struct map *by_id;
	struct ledger_item *items;
	struct bus_consumer *manifests, *mirror;
	struct text bucket;
	struct buffer bucket_stream; /* "KV_cfm-bucket" */
	struct timer *sweep;
	struct task begin;
	bool has_stream, has_bucket, is_ensuring;
	int64_t back_ms; /* when the broker came back, or it was let go, wall clock; 0: neither has been */
	bool is_held;
	unsigned checks; /* under way */
	struct listing *listing;
	char *refused; /* why a stream cannot be used; NULL: it can */
};

/* --- ledger.c */
enum status ledger_open(struct pm *pm) MUST_CHECK;
void ledger_close(struct pm *pm);
struct ledger_item *ledger_find(const struct pm *pm, struct text id);
/* The record's value, with our member; false: out of memory, or the record is gone. orchestration_free it. */
bool ledger_read(const struct pm *pm, const struct ledger_item *item, struct orchestration *orchestration);
/* Our member, made when it is not there; NULL: out of memory. */
struct json *ledger_own(struct orchestration *orchestration);
bool ledger_own_number(struct orchestration *orchestration, const char *name, int64_t value);
bool ledger_own_text(struct orchestration *orchestration, const char *name, struct text value);
bool ledger_own_flag(struct orchestration *orchestration, const char *name);
/* What the bucket holds of it: without our member. */
void ledger_print_value(struct orchestration *orchestration, struct buffer *into);
/* Puts the record as it is now into a transaction; false: out of memory. */
bool ledger_put(struct transaction *transaction, const struct orchestration *orchestration, int64_t expected);
/* The letter that tells how it ended. */
bool ledger_tell(struct transaction *transaction, const struct orchestration *orchestration);
bool ledger_is_used(void *context, struct text type);

/* Keeps a message that makes no sense for the operator (parked.h); `done` once, after the commit. */
void ledger_park(struct pm *pm, const struct bus_message *message, const char *why,
	void (*done)(void *ticket, bool is_kept), void *ticket);

/* --- start.c: `done` once: OK (it is in the ledger; `item`), INVALID or NOT_FOUND (no definition)
 * with the reason, else what the store says. The
 * manifest is copied. */
void pm_start(struct pm *pm, const struct manifest *manifest,
	void (*done)(void *context, enum status status, const struct ledger_item *item, const char *why), void *context);
/* Starts one that was only ordered. */
void pm_start_item(struct pm *pm, struct ledger_item *item);
void pm_on_manifest(void *pm, const struct bus_message *message);

/* --- dispatch.c */
/* Puts the value into the bucket when it is not there, and sends the messages of its step. `done` (may be NULL) once.
 */
void pm_dispatch(struct pm *pm, struct ledger_item *item, void (*done)(void *context), void *context);
/* Sends what was lost: messages of activities that are not completed and of which the stream has none; the value, when
 * the bucket has it no more. */
void pm_dispatch_check(struct pm *pm, struct ledger_item *item);

/* --- change.c: changes the value in the bucket until it holds. */
enum change { CHANGE_MADE, CHANGE_NOT_ALLOWED, CHANGE_FAILED };
/* `make` gives false when this state allows no such change. `done` (may be NULL) once. */
void pm_change(struct pm *pm, struct ledger_item *item,
	bool (*make)(void *context, struct orchestration *orchestration), void (*done)(void *context, enum change change),
	void *context);
/* Ends it as failed; its response and compensation follow when the bucket's change comes back. */
void pm_change_fail(struct pm *pm, struct ledger_item *item, const char *why);

/* --- mirror.c */
void pm_on_bucket(void *pm, const struct bus_message *message);
/* Takes in a value that was read from the bucket, unless the record has moved since. `known`: the item's
 * bucket_revision before the value was asked for. */
void pm_mirror_take(struct pm *pm, struct text value, uint64_t revision, int64_t known);
/* A compensation whose time to wait is over. */
void pm_compensate(struct pm *pm, struct ledger_item *item);
/* Adds the compensation to the transaction and notes it in the value. NOT_FOUND: the definition's template has none. */
enum status pm_compensation_add(
	struct pm *pm, struct transaction *transaction, struct orchestration *orchestration) MUST_CHECK;

/* --- sweep.c */
void pm_on_sweep(void *pm);
void pm_on_bus(void *pm, bool is_up);

/* --- orchestrations.c: REST */
enum status pm_serve(struct pm *pm) MUST_CHECK;
