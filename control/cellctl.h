/* What the files of cellctl share: the parsed command line, the table's rows, the token. */
#pragma once

#include "server/base/text.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, WORDS_MAX = 64 };

enum option {
	OPTION_URL,
	OPTION_CA,
	OPTION_STATE,
	OPTION_TOKEN_FILE,
	OPTION_JSON,
	OPTION_ID,
	OPTION_IDENTITY,
	OPTION_PARTICIPANT_STATE,
	OPTION_FILE,
	OPTION_DATASET,
	OPTION_AGREEMENT,
	OPTION_CONSUMER,
	OPTION_NOT_BEFORE,
	OPTION_EXPIRES,
	OPTION_LIFETIME,
	OPTION_SCOPES,
	OPTION_SUBJECT,
	OPTION_FLOW,
	OPTION_KEY,
	OPTION_OUTPUT,
	OPTION_APPROVE,
	OPTION_FORCE,
	OPTION_EXPLAIN,
	OPTION_COUNT
};
struct call {
	const char *options[OPTION_COUNT];
	const char *words[WORDS_MAX]; /* behind the command's own */
	unsigned word_count;
	struct buffer body;
};

enum shape { SHAPE_TABLE, SHAPE_OBJECT, SHAPE_TEXT, SHAPE_QUIET };

/* In the order in which the tables say it. NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
struct command {
	const char *words, *arguments;
	unsigned needed;
	const char *method, *path; /* {0}, {1}: arguments, escaped */
	bool (*build)(struct call *call);
	enum shape shape;
	const char *columns;                                          /* members, comma-separated */
	int (*run)(const struct command *command, struct call *call); /* NULL: one request */
	const char *help;
};

/* The option is given; false: it has said that it is not. */
bool cellctl_needs(const struct call *call, enum option option);

/* cellctl_input.c */
/* The file, or standard input for "-" and NULL. */
bool cellctl_read(const char *path, struct buffer *into);
/* The same; false: it has said why not. */
bool cellctl_read_file(const char *path, struct buffer *into);
/* For command.build: call->body; false: it has said what is wrong. */
bool build_participant(struct call *call);
bool build_activate(struct call *call);
bool build_deactivate(struct call *call);
bool build_entries(struct call *call);
bool build_file(struct call *call);
bool build_flow(struct call *call);
bool build_token(struct call *call);
bool build_secret(struct call *call);
bool build_key(struct call *call);

/* cellctl_print.c */
/* Says so; EXIT_FAILED. */
int cellctl_fail(const char *what);
int cellctl_print_error(long status, const struct buffer *answer);
/* In the command's shape; 0, or EXIT_FAILED. */
int cellctl_print(const struct command *command, const struct call *call, const struct buffer *answer);

/* cellctl_ask.c */
/* The management token of the command line; false: it has said why not. */
bool cellctl_token(const struct call *call, struct buffer *token);
/* One request with call->body; 0: `answer` is there; else it has been said what is wrong. */
int cellctl_ask(const struct command *command, const struct call *call, struct buffer *answer);

/* As command.run: the token itself. */
int access_token_run(const struct command *command, struct call *call);

/* cellctl_fabric.c */
extern const struct command fabric_commands[];
extern const size_t fabric_command_count;
/* cellctl_place.c */
extern const struct command place_commands[];
extern const size_t place_command_count;
/* cellctl_pull.c */
int pull_run(const struct command *command, struct call *call);
