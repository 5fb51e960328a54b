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
	OPTION_COUNT
};
struct call {
	const char *options[OPTION_COUNT];
	const char *words[WORDS_MAX]; /* behind the command's own */
	unsigned word_count;
	struct buffer body;
};

enum shape { SHAPE_TABLE, SHAPE_OBJECT, SHAPE_QUIET };

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

/* cellctl_pull.c */
int pull_run(const struct command *command, struct call *call);
