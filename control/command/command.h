/* A command of the fabric to a cell, and the cell's answer, as messages (control.md 2.6):
 *
 * celld.cmd.<cell>.<lane>  {"v":1,"cmdId","cell","cellEpoch","term","seq","vpa","vpaEpoch","op","args":{}}
 * celld.ack.<cell>         {"v":1,"cmdId","cell","cellEpoch","seq","status","code","appliedSeq"}
 *
 * Order: `seq` grows over the whole fabric; of one VPA (or, with vpa "", of the cell itself) the next command is sent
 * only after the answer to the one before, so whatever comes with a seq that is not greater than the last applied one
 * has been applied already. When a later one was, the answer says which (appliedSeq): a fabric that still waits for an
 * answer has sent none after it, so a greater one means that its database is an older copy (F24). */
#pragma once

#include "server/base/json.h"

/* name, spelling, lane */
#define COMMAND_OP_LIST(X)                                                                                             \
	X(VPA_PREPARE, "vpa.prepare", "cp")                                                                                \
	X(VPA_ACTIVATE, "vpa.activate", "cp")                                                                              \
	X(VPA_TOMBSTONE, "vpa.tombstone", "cp")                                                                            \
	X(CELL_CORDON, "cell.cordon", "adm")                                                                               \
	X(CELL_UNCORDON, "cell.uncordon", "adm")                                                                           \
	X(CELL_DRAIN, "cell.drain", "adm")
enum command_op {
#define COMMAND_OP_MEMBER(name, text, lane) COMMAND_##name,
	COMMAND_OP_LIST(COMMAND_OP_MEMBER)
#undef COMMAND_OP_MEMBER
		COMMAND_OP_COUNT
};
const char *command_op_name(enum command_op op);
const char *command_op_lane(enum command_op op);
bool command_op_parse(struct text text, enum command_op *op);

struct command {
	struct text id, cell, vpa; /* vpa "": the cell itself */
	int64_t cell_epoch, term, seq, vpa_epoch;
	enum command_op op;
	const struct json *args; /* an object */
	struct json *root;       /* owns all of it */
};
/* INVALID: not such a message, with `why` a literal for people. command_free what is OK. */
enum status command_parse(struct text body, struct command *command, const char **why) MUST_CHECK;
void command_free(struct command *command);
/* args: the JSON text of an object. */
void command_print(struct buffer *into, const struct command *command, struct text args);

/* done: its effect is there. retry: not now, send it again. rejected: never (an old epoch, a foreign cell). failed: the
 * cell could not, sent again some times. */
#define COMMAND_STATUS_LIST(X) X(DONE, "done") X(RETRY, "retry") X(REJECTED, "rejected") X(FAILED, "failed")
enum command_status {
#define COMMAND_STATUS_MEMBER(name, text) COMMAND_STATUS_##name,
	COMMAND_STATUS_LIST(COMMAND_STATUS_MEMBER)
#undef COMMAND_STATUS_MEMBER
};

struct command_answer {
	struct text id, cell, code;
	int64_t cell_epoch, seq;
	int64_t applied_seq; /* of a later command that was applied; 0: none was */
	enum command_status status;
	struct json *root;
};
enum status command_answer_parse(struct text body, struct command_answer *answer) MUST_CHECK;
void command_answer_free(struct command_answer *answer);
void command_answer_print(struct buffer *into, const struct command_answer *answer);

/* --- the cell's judgement: pure */

/* What a cell remembers of itself, and of one VPA (or of itself as a target). */
struct command_cell {
	struct text id;
	int64_t epoch, term; /* the highest seen */
	int64_t floor;       /* what is not remembered any more has been applied up to here */
};
struct command_target {
	bool is_known;
	int64_t seq, epoch; /* of the last command applied */
};

#define COMMAND_VERDICT_LIST(X)                                                                                        \
	X(APPLY, "")                                                                                                       \
	X(APPLIED, "") /* already: say done again */                                                                       \
	X(FOREIGN, "FOREIGN_CELL")                                                                                         \
	X(STALE_TERM, "STALE_TERM")                                                                                        \
	X(STALE_CELL, "STALE_CELL_EPOCH")                                                                                  \
	X(STALE_VPA, "STALE_EPOCH")
enum command_verdict {
#define COMMAND_VERDICT_MEMBER(name, code) COMMAND_VERDICT_##name,
	COMMAND_VERDICT_LIST(COMMAND_VERDICT_MEMBER)
#undef COMMAND_VERDICT_MEMBER
};
const char *command_verdict_code(enum command_verdict verdict);
enum command_verdict command_judge(
	const struct command_cell *cell, const struct command_target *target, const struct command *command);
