/* What the files of the fleet share. */
#pragma once

#include "control/fabric/fleet/audit.h"
#include "control/fabric/fleet/credentials.h"
#include "control/fabric/fleet/fleet.h"
#include "control/fabric/fleet/join_tokens.h"
#include "control/fabric/health/gauge.h"
#include "control/fabric/health/monitor.h"
#include "control/fabric/lease.h"

#define FLEET_READ "tenant-manager-api:read"
#define FLEET_WRITE "tenant-manager-api:write"

/* What of a cell is only watched here: by slot. */
struct watched {
	struct probe *probe;           /* under way */
	bool is_writing;               /* its health is on its way to the record */
	struct gauge gauge;            /* what placement was told of it */
	struct bus_consumer **keepers; /* of the queues of its activities */
	size_t keeper_count;
	struct ahead *ahead; /* behind.c: it has an epoch that its record never had; NULL: it has not */
	bool is_told;        /* the refusal of its heartbeats has been logged */
};

/* brakes.c: a brake that is a record; revision 0: it is off. */
struct standing_brake {
	int64_t revision;
	char *why, *at;
};
#define BRAKE_FREEZE_ID "freeze"
#define BRAKE_BEHIND_ID "behind"
#define BRAKE_ADOPTED_ID "adopted"

struct fleet {
	const struct fleet_settings *settings;
	const struct setting_texts *own_nats_urls;
	struct fleet_uses uses;
	struct join_tokens *tokens;
	struct audit *audit;
	struct credentials *credentials; /* NULL: none are issued */
	struct lease *lease;
	struct monitor *monitor;
	struct bus *bus;
	struct bus_subscription *beats, *renewals;
	char self[ID_LENGTH + 1];                        /* among the replicas */
	struct bus_subscription *doubts, *views, *words; /* doubts.c */
	struct timer *tick;
	struct watched *watched;
	uint32_t watched_count;
	struct network *probe_networks;
	size_t probe_network_count;
	struct standing_brake freeze, behind;
	unsigned brakes_told; /* bits, as the log has them */
	uint64_t brake_since_ms[BRAKE_COUNT];
	int64_t shift;                    /* of the numbers of commands, since the last adoption */
	int64_t heard_term, heard_number; /* the highest that any cell has said */
	uint32_t heard_slot;              /* who said what is above ours */
	bool is_braking;                  /* "behind" is on its way to its record */
	uint64_t swept_ms, caught_up_ms;
	uint64_t verdicts[BEAT_VERDICTS], malformed, limited;
};

/* The cell a path names by its CFM id or its cellId; NULL: none. */
const struct cell_record *fleet_find(const struct fleet *fleet, struct text name);
/* An entry of the audit in the transaction; `detail` may be NULL. False: out of memory. */
bool fleet_audit(struct transaction *transaction, const char *what, struct text cell_id, const char *detail);
/* The same of what a caller has asked for. */
bool fleet_audit_call(struct transaction *transaction, const struct rest_call *call, const char *what,
	struct text cell_id, const char *detail);

/* Answers with what was printed, and frees it. */
void fleet_answer(struct rest_call *call, int status, struct buffer *answer);

/* join.c, admission.c, members.c, panel.c, brakes.c: rows of the API. */
extern const struct rest_endpoint join_endpoints[], admission_endpoints[], member_endpoints[], panel_endpoints[],
	brake_endpoints[];
extern const size_t join_endpoint_count, admission_endpoint_count, member_endpoint_count, panel_endpoint_count,
	brake_endpoint_count;

/* watch.c */
void watch_start(struct fleet *fleet);
void watch_stop(struct fleet *fleet);
void watch_tick(struct fleet *fleet, uint64_t now_ms);
void watch_cell_changed(void *fleet, uint32_t slot, const struct cell_record *cell);
extern const struct monitor_events watch_events;
/* Made when it is not there yet. */
struct watched *watched_of(struct fleet *fleet, uint32_t slot);

/* doubts.c: questions about silent cells, and answers to those of other replicas. */
void doubts_start(struct fleet *fleet);
void doubts_stop(struct fleet *fleet);
void doubts_ask(void *fleet, uint32_t slot, const struct monitor_question *question);

/* renewal.c: credentials of cells over the bus. */
void renewal_start(struct fleet *fleet);
void renewal_stop(struct fleet *fleet);
/* "natsUserJwt" and "natsExpiresAt" for a cell whose key this is, appended to an object; nothing when none are issued.
 * False: out of memory. */
bool renewal_append(struct fleet *fleet, const struct cell_record *cell, const char *key, struct buffer *object);

/* keepers.c: a cell has joined, or (NULL) is gone. */
void keepers_follow(struct fleet *fleet, struct watched *watched, const struct cell_record *cell);
void keepers_close(struct watched *watched);

/* brakes.c. Before store_load. */
void brakes_open(struct fleet *fleet);
void brakes_close(struct fleet *fleet);
void brakes_tick(struct fleet *fleet, uint64_t now_ms);
/* A standing brake's record in the transaction. False: out of memory. */
bool brake_put(struct transaction *transaction, const char *id, struct text why, int64_t expected);
/* Why nothing may be changed now, for people; NULL: it may. */
const char *brakes_refusal(const struct fleet *fleet);
/* All that are on, those that hold some cells alone included, as bits. */
unsigned brakes_on(const struct fleet *fleet, uint64_t now_ms);
/* Members "brakes" and "brakeDetails" of an object, with a comma before, of these brakes. */
void brakes_print(const struct fleet *fleet, unsigned brakes, uint64_t now_ms, struct buffer *into);
/* A line for each that is on, for the page; none of a follower. */
void brakes_lines(const struct fleet *fleet, uint64_t now_ms, struct buffer *into);

/* behind.c: what a heartbeat of this cell says of epoch, term and commands. */
void behind_hear(struct fleet *fleet, struct watched *watched, const struct cell_record *cell, const struct beat *beat,
	uint64_t now_ms);
void behind_forget(struct watched *watched);
void behind_tick(struct fleet *fleet);
void behind_adopt(struct rest_call *call);

/* metrics.c */
void fleet_render_metrics(void *fleet, struct buffer *into);
