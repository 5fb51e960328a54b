/* Tombstones are forgotten after a week, for VPAs come and go for years. The highest seq of what is forgotten is the
 * floor: of a VPA that is not known, whatever is not above it has been applied. A command that is a week late would be
 * taken for applied; none is, for the broker keeps none so long, and the fabric writes those it repeats on its list. */
#include <stdlib.h>

#include "control/cell/orders_private.h"
#include "server/base/log.h"

enum { AT_ONCE = 200 };
static const int64_t kept_ms = 7LL * 86400 * 1000;

struct pruning {
	struct orders *orders;
	size_t count;
};

static void on_pruned(void *context, enum status status, int64_t revision)
{
	struct pruning pruning = *(struct pruning *)context;
	(void)revision;
	free(context);
	pruning.orders->own.is_busy = false;
	if (status == STATUS_OK)
		LOG(INFO, "orders.tombstones_forgotten", log_number("count", (int64_t)pruning.count));
	if (status == STATUS_OK && pruning.count == AT_ONCE && pruning.orders->pruning != NULL)
		timer_set(pruning.orders->pruning, 0);
}

static bool is_old(const struct vpa *vpa, int64_t wall_ms)
{
	int64_t at = wall_ms;
	return vpa->told.state == CELL_VPA_TOMBSTONE && !vpa->is_busy && json_integer(json_member(vpa->body, "at"), &at) &&
		   at <= wall_ms - kept_ms;
}

void tombstones_prune(struct orders *orders, int64_t wall_ms)
{
	struct own changed = orders->own;
	size_t count = 0;
	struct transaction *transaction = transaction_new();
	struct pruning *pruning = malloc(sizeof(*pruning));
	bool is_whole = transaction != NULL && pruning != NULL && !orders->own.is_busy;
	for (const struct vpa *vpa = orders->first; vpa != NULL && is_whole && count < AT_ONCE; vpa = vpa->next) {
		if (!is_old(vpa, wall_ms))
			continue;
		is_whole = state_delete(transaction, RECORD_VPA, vpa->told.id, vpa->revision);
		if (vpa->told.seq > changed.floor)
			changed.floor = vpa->told.seq;
		count++;
	}
	if (!is_whole || count == 0 || !own_put(transaction, &changed)) {
		transaction_free(transaction);
		free(pruning);
		return;
	}
	*pruning = (struct pruning){orders, count};
	orders->own.is_busy = true;
	state_submit(orders->state, transaction, on_pruned, pruning);
}
