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

/* The management token of the command line; false: it has said why not. */
bool cellctl_token(const struct call *call, struct buffer *token);

/* The file, or standard input for "-" and NULL; false: it has said why not. */
bool cellctl_read_file(const char *path, struct buffer *into);
/* One request with call->body; 0: `answer` is there; else it has been said what is wrong. */
int cellctl_ask(const struct command *command, const struct call *call, struct buffer *answer);

/* cellctl_fabric.c */
extern const struct command fabric_commands[];
extern const size_t fabric_command_count;
/* cellctl_place.c */
extern const struct command place_commands[];
extern const size_t place_command_count;
/* cellctl_pull.c */
int pull_run(const struct command *command, struct call *call);
