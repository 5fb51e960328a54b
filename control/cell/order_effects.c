/* What a command changes in the cell's records, and what is wrong with one that can change nothing. */
#include <inttypes.h>

#include "control/cell/orders_private.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "tenants/cp/provision.h"

static const char *const states[] = {
#define STATE_ROW(name, text) text,
	CELL_VPA_STATE_LIST(STATE_ROW)
#undef STATE_ROW
};

bool order_state_parse(struct text text, enum cell_vpa_state *state)
{
	int found = text_find_word(text, states, sizeof(states) / sizeof(states[0]));
	if (found < 0)
		return false;
	*state = (enum cell_vpa_state)found;
	return true;
}

const char *order_check(const struct command *command, const struct vpa *vpa)
{
	enum vpa_type type;
	bool has_type = vpa_type_parse(json_member_text(command->args, "type"), &type);
	bool is_of_cell = command->op >= COMMAND_CELL_CORDON;
	const struct json *planes = json_member(command->args, "dataplanes");
	if (is_of_cell != (command->vpa.length == 0))
		return "VPA_AND_OP_DISAGREE";
	if (command->op == COMMAND_VPA_PREPARE && !has_type)
		return "UNKNOWN_TYPE";
	if (command->op != COMMAND_VPA_ACTIVATE)
		return NULL;
	/* a cell that has joined after the placement has not been told to prepare */
	if (vpa == NULL ? !has_type : vpa->told.state == CELL_VPA_TOMBSTONE)
		return "NOT_PREPARED";
	if (!id_is_valid(json_member_text(command->args, "participantContextId")))
		return "NO_CONTEXT";
	return planes != NULL && json_kind(planes) != JSON_ARRAY ? "BAD_DATA_PLANES" : NULL;
}

/* --- VPAs */

/* Without what the record has of its own. */
static struct json *base_of(const struct command *command, const struct vpa *vpa)
{
	static const char *const own[] = {"state", "epoch", "seq", "at", "participantContextId", "dataplanes"};
	struct json *body =
		json_copy(vpa == NULL || command->op == COMMAND_VPA_PREPARE ? command->args : (const struct json *)vpa->body);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		json_remove(body, own[i]);
	return body;
}

static bool put_vpa(
	struct transaction *transaction, const struct order *order, const struct vpa *vpa, enum cell_vpa_state state)
{
	const struct command *command = &order->command;
	const struct json *ctx = json_member(command->args, "participantContextId");
	struct json *body = base_of(command, vpa);
	struct buffer text = {0};
	bool is_built = body != NULL && json_add_text(body, "state", text_of(states[state])) &&
					json_add_integer(body, "epoch", command->vpa_epoch) &&
					json_add_integer(body, "seq", command->seq) && json_add_integer(body, "at", clock_wall_ms()) &&
					(ctx == NULL || json_set(body, "ctx", json_copy(ctx)));
	json_print(body, &text);
	json_free(body);
	is_built = is_built && !text.failed &&
			   state_put(transaction, RECORD_VPA, command->vpa, buffer_text(&text),
				   vpa == NULL ? REVISION_ABSENT : vpa->revision);
	buffer_free(&text);
	return is_built;
}

/* The control plane in this cell knows the participant's data planes, wherever they are. One that makes no sense (its
 * cell has no address, say) does not keep the VPA from its life. False: out of memory. */
static bool add_data_planes(struct transaction *transaction, const struct order *order)
{
	const struct json *args = order->command.args;
	struct text ctx = json_member_text(args, "participantContextId");
	if (order->has_no_context)
		return true;
	for (const struct json *one = json_first(json_member(args, "dataplanes")); one != NULL; one = json_next(one)) {
		bool is_added = false;
		const char *wrong = data_plane_add(transaction, ctx, one, &is_added);
		if (wrong != NULL)
			LOG(WARNING, "orders.bad_data_plane", log_text("vpa", order->command.vpa),
				log_text("dataplane", json_member_text(one, "dataplaneId")), log_text("member", text_of(wrong)));
		else if (!is_added)
			return false;
	}
	return true;
}

/* --- the cell */

bool own_put(struct transaction *transaction, const struct own *changed)
{
	struct buffer text = {0};
	buffer_printf(&text,
		"{\"term\":%" PRId64 ",\"seq\":%" PRId64 ",\"epoch\":%" PRId64 ",\"floor\":%" PRId64
		",\"cordoned\":%s,\"draining\":%s}",
		changed->term, changed->seq, changed->epoch, changed->floor, changed->is_cordoned ? "true" : "false",
		changed->is_draining ? "true" : "false");
	bool is_put = !text.failed && state_put(transaction, RECORD_CELL_STATE, TEXT("orders"), buffer_text(&text),
									  changed->revision == 0 ? REVISION_ABSENT : changed->revision);
	buffer_free(&text);
	return is_put;
}

/* --- all of it */

static bool build_for_cell(struct transaction *transaction, const struct orders *orders, const struct command *command)
{
	struct own changed = orders->own;
	changed.term = command->term;
	changed.seq = command->seq;
	changed.epoch = command->vpa_epoch;
	changed.is_cordoned = command->op != COMMAND_CELL_UNCORDON;
	changed.is_draining =
		command->op == COMMAND_CELL_DRAIN || (command->op == COMMAND_CELL_CORDON && orders->own.is_draining);
	return own_put(transaction, &changed);
}

/* A tombstone of what was never here is remembered too. */
bool order_build(
	struct transaction *transaction, const struct orders *orders, const struct order *order, const struct vpa *vpa)
{
	const struct command *command = &order->command;
	if (command->vpa.length == 0)
		return build_for_cell(transaction, orders, command);
	enum cell_vpa_state state = command->op == COMMAND_VPA_PREPARE    ? CELL_VPA_PREPARED
								: command->op == COMMAND_VPA_ACTIVATE ? CELL_VPA_ACTIVE
																	  : CELL_VPA_TOMBSTONE;
	struct own changed = orders->own;
	changed.term = command->term;
	/* a new leader is remembered with its first command */
	return (command->op != COMMAND_VPA_ACTIVATE || add_data_planes(transaction, order)) &&
		   put_vpa(transaction, order, vpa, state) &&
		   (command->term <= orders->own.term || own_put(transaction, &changed));
}
