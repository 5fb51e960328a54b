/* A scenario file: where the load goes, for how long, and which tenants make it. JSON, strict:
 *
 *   {"name": "...", "url": "https://localhost:8443", "http": "2" or "1.1", "ca_file": "...",
 *    "threads": 1, "shared": false, "sleeps": false, "window": 524288, "warmup_ms": 500,
 *    "duration_ms": 5000,
 *    "tenants": [{"name": "light", "count": 9, "path": "/x?t={i}", "authorization_file": "token-{i}",
 *                 "connections": 1, "streams": 1, "rate": 100, "arrivals": "even" or "poisson"}]}
 *
 * Without a rate a tenant is a closed loop: each of its streams asks again as soon as it has its answer. With one it is
 * an open loop: requests are due at their times whatever the server does, and a latency counts from when its request
 * was due. shared: the tenants' connections are the same ones, as behind an ingress (on one thread). https means TLS,
 * http with "2" HTTP/2 with prior knowledge. sleeps: open loops sleep until a request is due, instead of looking at the
 * clock all the time; for a core that others need, too. window: what a stream may get before it is read (HTTP/2).
 * {i}: 1 .. count. Files are relative to the scenario's. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "server/base/text.h"
#include "server/url.h"

struct tenant_load {
	char *group, *name; /* name: group, or group-i when there are several */
	char *url_text;
	struct url url;      /* into url_text */
	char *authorization; /* "Bearer ..."; NULL: none */
	unsigned connections, streams;
	double rate; /* requests/s; 0: closed loop */
	bool is_poisson;
};

struct scenario {
	char *name, *ca_file;
	bool is_http2, is_shared, sleeps;
	unsigned threads;
	uint64_t warmup_ms, duration_ms;
	int64_t window; /* bytes */
	struct tenant_load *tenants;
	size_t tenant_count;
};

/* `error` gets one line that names the file and the member. */
enum status scenario_load(const char *file, struct scenario **scenario, struct buffer *error) MUST_CHECK;
void scenario_free(struct scenario *scenario);
