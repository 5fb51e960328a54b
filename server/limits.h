/* The limits of the HTTP engine as settings, and the penalty budget every connection has for what its peer provokes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/config.h"

/* Section "limits". Defaults are the safe ones; nothing here means "no limit". */
struct limits {
	int64_t connections;                 /* per process */
	int64_t connections_per_source;      /* per peer address and worker */
	int64_t streams_per_connection;      /* concurrent: 100 */
	int64_t streams_per_lifetime;        /* then GOAWAY: 100,000 */
	int64_t reset_burst, reset_rate;     /* client resets: 200, 33/s */
	int64_t penalty_burst, penalty_rate; /* 500, 20/s; GOAWAY at 75 % */
	int64_t header_bytes, header_fields; /* 32 KiB (name+value+32 each), 100, cookie crumbs counted one by one */
	int64_t continuations;               /* 8 */
	int64_t settings_entries, queued_acks, queued_frames;           /* 32, 100, 1,000 */
	int64_t header_table_in;                                        /* 4 KiB */
	int64_t stream_window, connection_window;                       /* of what peers may send us: 64 KiB, 1 MiB */
	int64_t stream_buffer, connection_buffer;                       /* of what we hold for a peer: 64 KiB, 256 KiB */
	int64_t collected_body;                                         /* JSON bodies: 1 MiB */
	int64_t request_body;                                           /* streamed bodies, total: 64 GiB */
	int64_t tls_ms, preface_ms, header_ms, idle_ms, stream_idle_ms; /* 5, 5, 10, 300, 60 s */
	int64_t sleep_ms;                                               /* 2 s without a stream: memory is put away */
	int64_t body_rate, body_grace_ms;                               /* request bodies: at least 1 KiB/s after 10 s */
	int64_t drain_ms;                                               /* 20 s from SIGTERM to the end */
};
extern const struct setting limits_settings[];
extern const size_t limits_setting_count;

/* A token bucket of misdeeds. */
struct penalty {
	uint64_t at_ms;
	int64_t spent_milli; /* thousandths of a point */
};
enum penalty_verdict { PENALTY_FINE, PENALTY_WARN, PENALTY_OUT };
/* Charges `points`; WARN from 75 % of the burst on (send GOAWAY, finish what runs), OUT at the burst (close). */
enum penalty_verdict penalty_charge(
	struct penalty *penalty, const struct limits *limits, uint64_t now_ms, unsigned points);
/* The same bucket with a burst and a rate a second of its own. False: it is over. */
bool penalty_add(struct penalty *penalty, int64_t burst, int64_t rate, uint64_t now_ms, unsigned points) MUST_CHECK;
