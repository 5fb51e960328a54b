/* The audit of the fleet: who was let in, refused, fenced, and by whom (control.md 2.2.3). An entry is written in the
 * commit of what it tells of, and waits there; whoever leads seals what waits, in the order of the commits, into the
 * chain (audit_chain.h). The chain's head is a record changed by compare-and-set alone, in the commit that moves the
 * entries: of two that seal at once one is refused, so the chain cannot fork, and who dies has sealed all of them or
 * none. On the fabric's worker.
 *
 * Records:
 *   AUDIT_CHAIN (id "head") {"sequence", "hash"}: the end of the chain
 *   AUDIT_CHAIN (id "w" and 14 digits of the time in ms, "-", 8 hex) {"at", "what", "cell", "by"?, "detail"?}: an entry
 *     that waits, some tenths of a second
 *   AUDIT (audit_chain.h): a sealed entry. What earlier versions wrote has ids that begin with a digit. */
#pragma once

#include "control/fabric/audit_entry.h"
#include "control/fabric/fleet/audit_chain.h"
#include "control/fabric/rest.h"

struct audit;
/* Before store_load. */
enum status audit_open(struct state *state, struct audit **audit) MUST_CHECK;
void audit_free(struct audit *audit);
/* Of whoever leads, every 100 ms or so. */
void audit_tick(struct audit *audit);
/* --- audit_rest.c: GET /audit (?after=) */
void audit_list(struct audit *audit, struct rest_call *call);
/* --- audit_verify.c: GET /audit:verify (?noted=SEQUENCE:HASH of an entry) */
void audit_verify(struct audit *audit, struct rest_call *call);

/* --- for these */

/* An entry that waits. */
struct audit_waiting {
	struct audit_waiting *next;
	char *id, *body;
	int64_t revision;
};
struct audit {
	struct state *state;
	struct audit_link head;
	int64_t head_revision;                /* REVISION_ABSENT: there is none */
	struct audit_waiting *waiting, **end; /* in the order of their commits */
	size_t count;
	bool is_busy, is_bad, is_told; /* bad: the head cannot be read; told: the log has it that nothing is sealed */
	int64_t sealed_on;             /* the head's revision that the transaction under way expects */
	unsigned pause;                /* ticks */
};
#define AUDIT_HEAD "head"
struct audit_waiting *audit_waiting_copy(const struct audit *audit, struct text after, bool *is_whole);
void audit_waiting_free(struct audit_waiting *waiting);
/* Of the record "head"; false: it says nothing that can be understood. */
bool audit_head_read(struct text body, struct audit_link *head);
