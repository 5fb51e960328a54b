/* Commands as messages, and what a cell does with one. */
#include "control/command/command.h"

#include <inttypes.h>

enum { ID_MAX = 128, CELL_MAX = 128 };
static const struct json_limits limits = {256 * 1024, 10, 8192};

static const struct {
	const char *text, *lane;
} ops[] = {
#define OP_ROW(name, text, lane) {text, lane},
	COMMAND_OP_LIST(OP_ROW)
#undef OP_ROW
};

const char *command_op_name(enum command_op op)
{
	return ops[op].text;
}

const char *command_op_lane(enum command_op op)
{
	return ops[op].lane;
}

bool command_op_parse(struct text text, enum command_op *op)
{
	for (size_t i = 0; i < COMMAND_OP_COUNT; i++) {
		if (!text_equals(text, text_of(ops[i].text)))
			continue;
		*op = (enum command_op)i;
		return true;
	}
	return false;
}

/* --- parsing */

static bool take_text(const struct json *root, const char *name, size_t maximum, struct text *into)
{
	*into = json_member_text(root, name);
	return into->bytes != NULL && into->length <= maximum && text_is_printable(*into, '"', '\\');
}

static bool take_number(const struct json *root, const char *name, int64_t *into)
{
	return json_integer(json_member(root, name), into) && *into >= 0;
}

enum status command_parse(struct text body, struct command *command, const char **why)
{
	struct command made = {.root = NULL};
	int64_t version = 0;
	if (json_parse(body, &limits, &made.root) != STATUS_OK) {
		*why = "not JSON";
		return STATUS_INVALID;
	}
	const struct json *root = made.root;
	made.args = json_member(root, "args");
	*why = !take_number(root, "v", &version) || version != 1                         ? "v: 1 is known"
		   : !take_text(root, "cmdId", ID_MAX, &made.id) || made.id.length == 0      ? "cmdId: is missing"
		   : !take_text(root, "cell", CELL_MAX, &made.cell) || made.cell.length == 0 ? "cell: is missing"
		   : !take_text(root, "vpa", ID_MAX, &made.vpa)                              ? "vpa: is missing"
		   : !take_number(root, "cellEpoch", &made.cell_epoch)                       ? "cellEpoch: is missing"
		   : !take_number(root, "term", &made.term)                                  ? "term: is missing"
		   : !take_number(root, "seq", &made.seq) || made.seq == 0                   ? "seq: is missing"
		   : !take_number(root, "vpaEpoch", &made.vpa_epoch)                         ? "vpaEpoch: is missing"
		   : made.args == NULL || json_kind(made.args) != JSON_OBJECT                ? "args: is missing"
		   : !command_op_parse(json_member_text(root, "op"), &made.op)               ? "op: is not known"
																					 : NULL;
	if (*why != NULL) {
		json_free(made.root);
		return STATUS_INVALID;
	}
	*command = made;
	return STATUS_OK;
}

void command_free(struct command *command)
{
	json_free(command->root);
	command->root = NULL;
}

static void print_number(struct buffer *into, const char *name, int64_t value)
{
	buffer_printf(into, ",\"%s\":%" PRId64, name, value);
}

void command_print(struct buffer *into, const struct command *command, struct text args)
{
	buffer_append(into, TEXT("{\"v\":1"));
	buffer_append_member(into, "cmdId", command->id);
	buffer_append_member(into, "cell", command->cell);
	print_number(into, "cellEpoch", command->cell_epoch);
	print_number(into, "term", command->term);
	print_number(into, "seq", command->seq);
	buffer_append_member(into, "vpa", command->vpa);
	print_number(into, "vpaEpoch", command->vpa_epoch);
	buffer_append_member(into, "op", text_of(command_op_name(command->op)));
	buffer_append(into, TEXT(",\"args\":"));
	buffer_append(into, args);
	buffer_append_byte(into, '}');
}

/* --- answers */

static const char *const statuses[] = {
#define STATUS_ROW(name, text) text,
	COMMAND_STATUS_LIST(STATUS_ROW)
#undef STATUS_ROW
};

static bool status_parse(struct text text, enum command_status *status)
{
	int found = text_find_word(text, statuses, sizeof(statuses) / sizeof(statuses[0]));
	if (found < 0)
		return false;
	*status = (enum command_status)found;
	return true;
}

enum status command_answer_parse(struct text body, struct command_answer *answer)
{
	struct command_answer made = {.root = NULL};
	int64_t version = 0;
	if (json_parse(body, &limits, &made.root) != STATUS_OK)
		return STATUS_INVALID;
	const struct json *root = made.root;
	if (!take_number(root, "v", &version) || version != 1 || !take_text(root, "cmdId", ID_MAX, &made.id) ||
		!take_text(root, "cell", CELL_MAX, &made.cell) || !take_text(root, "code", ID_MAX, &made.code) ||
		!take_number(root, "cellEpoch", &made.cell_epoch) || !take_number(root, "seq", &made.seq) ||
		!status_parse(json_member_text(root, "status"), &made.status)) {
		json_free(made.root);
		return STATUS_INVALID;
	}
	if (!take_number(root, "appliedSeq", &made.applied_seq))
		made.applied_seq = 0;
	*answer = made;
	return STATUS_OK;
}

void command_answer_free(struct command_answer *answer)
{
	json_free(answer->root);
	answer->root = NULL;
}

void command_answer_print(struct buffer *into, const struct command_answer *answer)
{
	buffer_append(into, TEXT("{\"v\":1"));
	buffer_append_member(into, "cmdId", answer->id);
	buffer_append_member(into, "cell", answer->cell);
	print_number(into, "cellEpoch", answer->cell_epoch);
	print_number(into, "seq", answer->seq);
	buffer_append_member(into, "status", text_of(statuses[answer->status]));
	buffer_append_member(into, "code", answer->code);
	if (answer->applied_seq > 0)
		print_number(into, "appliedSeq", answer->applied_seq);
	buffer_append_byte(into, '}');
}

/* --- judging */

const char *command_verdict_code(enum command_verdict verdict)
{
	static const char *const codes[] = {
#define VERDICT_ROW(name, code) code,
		COMMAND_VERDICT_LIST(VERDICT_ROW)
#undef VERDICT_ROW
	};
	return codes[verdict];
}

enum command_verdict command_judge(
	const struct command_cell *cell, const struct command_target *target, const struct command *command)
{
	if (!text_equals(command->cell, cell->id))
		return COMMAND_VERDICT_FOREIGN;
	/* what is applied is applied, whoever repeats it */
	if (command->seq <= (target->is_known ? target->seq : cell->floor))
		return COMMAND_VERDICT_APPLIED;
	if (command->term < cell->term)
		return COMMAND_VERDICT_STALE_TERM;
	if (command->cell_epoch != cell->epoch)
		return COMMAND_VERDICT_STALE_CELL;
	if (target->is_known && command->vpa_epoch < target->epoch)
		return COMMAND_VERDICT_STALE_VPA;
	return COMMAND_VERDICT_APPLY;
}
