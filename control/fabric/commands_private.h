/* What the files of the commands share. */
#pragma once

#include "control/fabric/commands.h"
#include "server/base/id.h"

enum { COMMANDS_RETRY_MS = 500 };

struct commands {
	struct state *state;
	struct cells *cells;
	struct bus *bus;
	struct command_queue *queue;
	struct bus_consumer *answers, *poison;
	struct timer *tick, *ensure;
	struct task start;
	bool is_leader, has_stream, is_held;
	int64_t term;
	int64_t adopted, shift;  /* records after this revision are numbered so much higher */
	char run[ID_LENGTH + 1]; /* of this process */
	uint64_t sendings, refused;
	size_t publishing;
};

/* commands_answers.c: messages of the two consumers of celld-evt. */
void commands_on_answer(void *commands, const struct bus_message *message);
void commands_on_poison(void *commands, const struct bus_message *message);
