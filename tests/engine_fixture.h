/* The HTTP engine on one worker without a thread: connections are socket pairs, the loop is turned by hand and its
 * clock stands still, so that a test or a fuzz target is repeated exactly. */
#pragma once

#include <event2/event.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/base/log.h"
#include "server/connection.h"
#include "server/stream.h"
#include "server/worker_pool.h"

struct engine_fixture {
	struct limits limits; /* change after opening: connections to come use them */
	struct server_settings settings;
	struct worker_pool *pool;
	struct worker *worker;
	struct server *server;
	struct engine engine;
};

static inline void fixture_open(struct engine_fixture *fixture, const struct handler *handler)
{
	struct setting_section sections[] = {{"limits", limits_settings, limits_setting_count, &fixture->limits},
		{"server", server_settings_table, server_settings_count, &fixture->settings}};
	struct buffer error = {0};
	*fixture = (struct engine_fixture){.pool = worker_pool_new(1)};
	log_threshold = LOG_ERROR;
	if (fixture->pool == NULL || config_load(NULL, sections, 2, &error) != STATUS_OK ||
		server_open(fixture->pool, &fixture->settings, &fixture->limits, handler, &fixture->server, &error) !=
			STATUS_OK)
		abort();
	fixture->worker = worker_pool_at(fixture->pool, 0);
	fixture->engine = (struct engine){.server = fixture->server,
		.worker = fixture->worker,
		.input = malloc(INPUT_SIZE),
		.gather = malloc(GATHER_CLEAR),
		.frame = malloc(FRAME_BUFFER),
		.send_number = 1,
		.drawers = drawer_pool_new(),
		.strings = known_strings_new()};
}

/* No connection may be left. */
static inline void fixture_close(struct engine_fixture *fixture)
{
	struct setting_section section = {"server", server_settings_table, server_settings_count, &fixture->settings};
	streams_release(&fixture->engine);
	share_close_worker(fixture->worker);
	free(fixture->engine.input);
	free(fixture->engine.gather);
	free(fixture->engine.frame);
	drawer_pool_free(fixture->engine.drawers);
	known_strings_free(fixture->engine.strings);
	server_free(fixture->server);
	worker_pool_free(fixture->pool);
	config_free(&section, 1);
}

static inline void fixture_turn(struct engine_fixture *fixture)
{
	event_base_loop(worker_loop(fixture->worker), EVLOOP_ONCE | EVLOOP_NONBLOCK);
	worker_run_later(fixture->worker);
}

/* The peer's end of a new connection. */
static inline int fixture_connect(struct engine_fixture *fixture)
{
	static const struct listener_settings settings = {.protocol = LISTENER_CLEAR};
	static const struct listener listener = {.settings = &settings};
	static const struct sockaddr_in address = {.sin_family = AF_INET};
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
		abort();
	connection_accept(&fixture->engine, &listener, pair[0], "127.0.0.1", (const struct sockaddr *)&address);
	return pair[1];
}
