/* A heartbeat: what a cell says of itself every few seconds, as it is on the wire. JSON, at most BEAT_BYTES_MAX, all
 * numbers integers: latencies in microseconds, errors in parts per million, load in percent and per second.
 *
 *   {"v":1,"c":"cell-1","inc":"<32 hex>","ep":7,"n":90211,"st":"ok",
 *    "vpas":{"cfm.connector":42,...},"comp":{"cp":[1,1],"dp":[2,2]},
 *    "infra":{"db":["ok",2100],"vault":["ok",50],"nats":["ok",400]},
 *    "load":{"cpu":31,"mem":48,"rps":1200,"mbps":310,"conn":8123},
 *    "cmd":{"term":3,"seq":10441},
 *    "rate":{"cp":10,"dp":1190},"lat":{"cp":[3000,9000,22000],...},"err":{"cp":0,"dp":20}}
 *
 * v, c, inc, ep and n are needed. Members of another name are passed over: a newer cell may say more. */
#pragma once

#include "server/base/text.h"
#include "tenants/participant.h"

enum { BEAT_BYTES_MAX = 4096, BEAT_CELL_MAX = 64 };
/* A larger epoch, term or number of a command is nonsense. */
#define BEAT_COUNT_MAX INT64_C(1000000000000000)

#define BEAT_COMPONENT_LIST(X)                                                                                         \
	X(CP, "cp", "Control plane")                                                                                       \
	X(DP, "dp", "Data plane")                                                                                          \
	X(CS, "cs", "Credential service")
enum beat_component {
#define BEAT_COMPONENT_MEMBER(name, text, title) BEAT_##name,
	BEAT_COMPONENT_LIST(BEAT_COMPONENT_MEMBER)
#undef BEAT_COMPONENT_MEMBER
		BEAT_COMPONENT_COUNT
};
#define BEAT_STORE_LIST(X)                                                                                             \
	X(DATABASE, "db", "Database")                                                                                      \
	X(VAULT, "vault", "Vault")                                                                                         \
	X(NATS, "nats", "NATS")
enum beat_store {
#define BEAT_STORE_MEMBER(name, text, title) BEAT_##name,
	BEAT_STORE_LIST(BEAT_STORE_MEMBER)
#undef BEAT_STORE_MEMBER
		BEAT_STORE_COUNT
};
#define BEAT_STORE_STATE_LIST(X)                                                                                       \
	X(UNSAID, "unknown")                                                                                               \
	X(OK, "ok")                                                                                                        \
	X(STANDBY, "standby")                                                                                              \
	X(SEALED, "sealed")                                                                                                \
	X(DOWN, "down")
enum beat_store_state {
#define BEAT_STORE_STATE_MEMBER(name, text) BEAT_STORE_##name,
	BEAT_STORE_STATE_LIST(BEAT_STORE_STATE_MEMBER)
#undef BEAT_STORE_STATE_MEMBER
};
/* fenced: its lease has ended, for the answers do not reach it */
#define BEAT_STATE_LIST(X)                                                                                             \
	X(OK, "ok")                                                                                                        \
	X(DEGRADED, "degraded")                                                                                            \
	X(DRAINING, "draining")                                                                                            \
	X(FENCED, "fenced")
enum beat_state {
#define BEAT_STATE_MEMBER(name, text) BEAT_STATE_##name,
	BEAT_STATE_LIST(BEAT_STATE_MEMBER)
#undef BEAT_STATE_MEMBER
};

/* What is kept of a cell's last one. */
struct beat_figures {
	uint32_t vpas[VPA_TYPE_COUNT];
	uint32_t rate[BEAT_COMPONENT_COUNT];          /* requests/s */
	uint32_t latency_us[BEAT_COMPONENT_COUNT][3]; /* p50, p95, p99 */
	uint32_t errors_ppm[BEAT_COMPONENT_COUNT];
	uint32_t store_us[BEAT_STORE_COUNT];
	uint32_t requests, megabits, connections;
	uint16_t ready[BEAT_COMPONENT_COUNT], desired[BEAT_COMPONENT_COUNT]; /* desired 0: there is none of it */
	uint8_t store_state[BEAT_STORE_COUNT];                               /* enum beat_store_state */
	uint8_t state;                                                       /* enum beat_state */
	uint8_t cpu, memory;                                                 /* percent */
};
struct beat {
	char cell[BEAT_CELL_MAX + 1];
	char incarnation[ID_LENGTH + 1];
	int64_t epoch, number;
	int64_t term, applied; /* the highest term obeyed, the number of the last command applied; 0: none */
	struct beat_figures figures;
};

/* INVALID, TOO_LARGE: no heartbeat. */
enum status beat_parse(struct text text, struct beat *beat) MUST_CHECK;
/* The cell's half. */
void beat_print(const struct beat *beat, struct buffer *into);
const char *beat_component_title(enum beat_component component);
const char *beat_component_name(enum beat_component component);
const char *beat_store_title(enum beat_store store);
const char *beat_store_name(enum beat_store store);
const char *beat_store_state_name(enum beat_store_state state);
const char *beat_state_name(enum beat_state state);
