/* What the programs that stay have in common: command line, settings, log, hardening, start, signals, reload, end. */
#pragma once

#include "server/base/config.h"
#include "server/client.h"
#include "server/server.h"
#include "tenants/access.h"
#include "tenants/store/store.h"

enum { PROGRAM_SECTIONS_MAX = 24, EXIT_CONFIG = 2 };

/* Section "log". */
struct log_settings {
	int level;
	char *file;
};

/* What the settings of each program begin with: what all of them have. */
struct program_settings {
	struct setting_section sections[PROGRAM_SECTIONS_MAX];
	size_t count;
	struct log_settings log;
	struct server_settings server;
	struct limits limits;
	struct client_settings client;
	struct store_settings store;
	struct access_settings access;
};

struct program_options {
	const char *config, *state; /* state: a folder, never NULL */
	long workers;               /* 0: as the settings say */
	bool print_config, check_config;
};

/* All functions run on the main thread. `context`: the running program. */
struct program {
	const char *name, *summary; /* "celld", "one cell" */
	const char *noun;           /* begins the names of its log events: "cell" */
	const char *state_help;     /* what lies in the state directory */
	bool has_workers;           /* --workers is an option */
	size_t settings_size;       /* of a struct that begins with struct program_settings */
	/* Names the sections beside those of all programs with program_section. */
	void (*describe)(struct program_settings *settings);
	/* What the tables cannot say; false with one line in `error` (left empty: out of memory). */
	bool (*complete)(struct program_settings *settings, const struct program_options *options, struct buffer *error);
	/* Borrows the settings until close. On failure close follows. The log is open. */
	enum status (*open)(void *context, struct program_settings *settings, struct buffer *error);
	void (*say_ready)(void *context, uint64_t started_ms);
	/* What new settings are put into force on: limits, certificates, the identity provider's keys. */
	struct program_reloaded {
		struct server *server;
		struct access *access;
	} (*reloaded)(void *context);
	/* First signal to end: no new work; done is called once, from any thread. */
	void (*drain)(void *context, void (*done)(void *context), void *done_context);
	/* Also what is half open. */
	void (*close)(void *context);
	void *context;
};

/* The whole of main; the exit code. */
int program_main(const struct program *program, int count, char **arguments);

/* For describe. */
void program_section(
	struct program_settings *settings, const char *name, const struct setting *table, size_t count, void *target);
/* For complete: what is not set lies in the state directory. False: out of memory. */
bool program_default_path(char **into, const struct program_options *options, const char *name);
/* For say_ready: a line for each listener. */
void program_say_listeners(const struct server_settings *settings, const struct server *server);
