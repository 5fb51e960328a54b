/* The limits as settings, and the penalty budget. */
#include "server/limits.h"

#include <stddef.h>

#define LIMIT(name, kind_, preset_, low, high, help_)                                                                  \
	{                                                                                                                  \
		.key = #name, .kind = (kind_), .offset = offsetof(struct limits, name), .preset = (preset_), .minimum = (low), \
		.maximum = (high), .help = (help_)                                                                             \
	}
#define GIB ((int64_t)1 << 30)
const struct setting limits_settings[] = {
	LIMIT(connections, SETTING_INTEGER, "50000", 1, 10000000,
		"open connections of this process, at most half its descriptors"),
	LIMIT(connections_per_source, SETTING_INTEGER, "1000", 1, 10000000,
		"open connections from one address, on each worker"),
	LIMIT(streams_per_connection, SETTING_INTEGER, "100", 1, 10000, "concurrent HTTP/2 streams of a connection"),
	LIMIT(
		streams_per_lifetime, SETTING_INTEGER, "100000", 1, 2000000000, "streams of a connection in all, then GOAWAY"),
	LIMIT(reset_burst, SETTING_INTEGER, "200", 1, 1000000, "streams a client may reset at once"),
	LIMIT(reset_rate, SETTING_INTEGER, "33", 1, 1000000, "streams a client may reset, a second"),
	LIMIT(penalty_burst, SETTING_INTEGER, "500", 10, 1000000,
		"points a connection may spend on what provokes work without progress; GOAWAY at 75 %"),
	LIMIT(penalty_rate, SETTING_INTEGER, "20", 1, 1000000, "points given back, a second"),
	LIMIT(header_bytes, SETTING_BYTES, "32 KiB", 1024, 1 << 20, "of one request: names, values, and 32 for each field"),
	LIMIT(header_fields, SETTING_INTEGER, "100", 10, 1000, "fields of one request, each cookie crumb counted"),
	LIMIT(continuations, SETTING_INTEGER, "8", 1, 1000, "CONTINUATION frames of one header block"),
	LIMIT(settings_entries, SETTING_INTEGER, "32", 8, 1000, "entries of one SETTINGS frame"),
	LIMIT(queued_acks, SETTING_INTEGER, "100", 10, 10000, "answers to PING and SETTINGS waiting to be sent"),
	LIMIT(queued_frames, SETTING_INTEGER, "1000", 200, 100000, "frames waiting to be sent"),
	LIMIT(header_table_in, SETTING_BYTES, "4 KiB", 0, 65536, "HPACK table for what peers send"),
	LIMIT(stream_window, SETTING_BYTES, "64 KiB", 1024, 16 << 20, "what a peer may send ahead on one stream"),
	LIMIT(connection_window, SETTING_BYTES, "1 MiB", 65535, GIB, "what a peer may send ahead on one connection"),
	LIMIT(stream_buffer, SETTING_BYTES, "64 KiB", 16384, 16 << 20, "held for one stream that its peer does not take"),
	LIMIT(connection_buffer, SETTING_BYTES, "256 KiB", 16384, 64 << 20,
		"held for one connection that its peer does not take; up to four times as much of one that took all so far"),
	LIMIT(collected_body, SETTING_BYTES, "1 MiB", 1024, 64 << 20, "a request body that is read whole (JSON)"),
	LIMIT(request_body, SETTING_BYTES, "64 GiB", 1024, GIB << 20, "a streamed request body"),
	LIMIT(tls_ms, SETTING_MILLISECONDS, "5 s", 100, 600000, "for the TLS handshake"),
	LIMIT(preface_ms, SETTING_MILLISECONDS, "5 s", 100, 600000, "for the first bytes, and for a PROXY header"),
	LIMIT(header_ms, SETTING_MILLISECONDS, "10 s", 100, 600000, "for a request head that has begun"),
	LIMIT(idle_ms, SETTING_MILLISECONDS, "300 s", 1000, 86400000, "a connection without requests"),
	LIMIT(
		sleep_ms, SETTING_MILLISECONDS, "2 s", 1, 86400000, "without requests, until a connection's memory is packed"),
	LIMIT(stream_idle_ms, SETTING_MILLISECONDS, "60 s", 100, 86400000, "a response whose peer takes nothing"),
	LIMIT(body_rate, SETTING_BYTES, "1 KiB", 1, GIB, "a request body brings at least so much a second"),
	LIMIT(body_grace_ms, SETTING_MILLISECONDS, "10 s", 100, 86400000, "after which body_rate holds"),
	LIMIT(drain_ms, SETTING_MILLISECONDS, "20 s", 0, 86400000, "from SIGTERM until what still runs is cut"),
};
const size_t limits_setting_count = sizeof(limits_settings) / sizeof(limits_settings[0]);

/* What is spent afterwards, in thousandths. */
static int64_t spend(struct penalty *penalty, int64_t burst, int64_t rate, uint64_t now_ms, unsigned points)
{
	if (now_ms > penalty->at_ms) {
		uint64_t passed = now_ms - penalty->at_ms;
		/* long rests forgive all; the bound keeps the product in range */
		int64_t back = passed > 86400000 ? burst * 1000 : (int64_t)passed * rate;
		penalty->spent_milli = penalty->spent_milli > back ? penalty->spent_milli - back : 0;
		penalty->at_ms = now_ms;
	}
	return penalty->spent_milli += (int64_t)points * 1000;
}

enum penalty_verdict penalty_charge(
	struct penalty *penalty, const struct limits *limits, uint64_t now_ms, unsigned points)
{
	int64_t burst = limits->penalty_burst * 1000;
	int64_t spent = spend(penalty, limits->penalty_burst, limits->penalty_rate, now_ms, points);
	if (spent >= burst)
		return PENALTY_OUT;
	return spent * 4 >= burst * 3 ? PENALTY_WARN : PENALTY_FINE;
}

bool penalty_add(struct penalty *penalty, int64_t burst, int64_t rate, uint64_t now_ms, unsigned points)
{
	return spend(penalty, burst, rate, now_ms, points) <= burst * 1000;
}
