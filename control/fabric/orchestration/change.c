/* Changes by hand or by the clock: of the value in the bucket, where agents write too. */
#include <stdlib.h>

#include "control/fabric/orchestration/pm_private.h"
#include "server/base/log.h"

struct changing {
	struct pm *pm;
	struct ledger_item *item;
	struct orchestration orchestration;
	unsigned clashes;
	bool (*make)(void *context, struct orchestration *orchestration);
	void (*done)(void *context, enum change change);
	void *context;
};

static void finish(struct changing *changing, enum change change)
{
	changing->item->is_busy = false;
	if (changing->done != NULL)
		changing->done(changing->context, change);
	orchestration_free(&changing->orchestration);
	free(changing);
}

static void read_value(struct changing *changing);

static void on_put(void *context, enum status status, uint64_t revision)
{
	struct changing *changing = context;
	(void)revision;
	if (status == STATUS_OK)
		finish(changing, CHANGE_MADE);
	else if (status == STATUS_CONFLICT && ++changing->clashes < PM_CLASHES_MAX)
		read_value(changing);
	else
		finish(changing, CHANGE_FAILED);
}

static void on_value(void *context, enum status status, struct text value, uint64_t revision)
{
	struct changing *changing = context;
	struct buffer error = {0}, made = {0};
	bool is_there = status == STATUS_OK;
	orchestration_free(&changing->orchestration);
	if (status == STATUS_NOT_FOUND) /* the broker has lost it: from the record */
		is_there = ledger_read(changing->pm, changing->item, &changing->orchestration);
	else if (is_there)
		is_there = orchestration_parse(value, &changing->orchestration, &error) == STATUS_OK;
	if (!is_there)
		finish(changing, CHANGE_FAILED);
	else if (!changing->make(changing->context, &changing->orchestration))
		finish(changing, CHANGE_NOT_ALLOWED);
	else {
		ledger_print_value(&changing->orchestration, &made);
		if (made.failed)
			finish(changing, CHANGE_FAILED);
		else
			bus_bucket_put(changing->pm->base.bus, changing->pm->bucket, changing->orchestration.id, buffer_text(&made),
				status == STATUS_OK ? (int64_t)revision : 0, on_put, changing);
	}
	buffer_free(&error);
	buffer_free(&made);
}

static void read_value(struct changing *changing)
{
	bus_bucket_get(changing->pm->base.bus, changing->pm->bucket, text_of(changing->item->id), on_value, changing);
}

void pm_change(struct pm *pm, struct ledger_item *item,
	bool (*make)(void *context, struct orchestration *orchestration), void (*done)(void *context, enum change change),
	void *context)
{
	struct changing *changing = calloc(1, sizeof(*changing));
	if (changing == NULL) {
		if (done != NULL)
			done(context, CHANGE_FAILED);
		return;
	}
	*changing = (struct changing){.pm = pm, .item = item, .make = make, .done = done, .context = context};
	item->is_busy = true;
	read_value(changing);
}

/* --- an end by the manager */

struct failing {
	struct pm *pm;
	char *why;
};

static bool fail(void *context, struct orchestration *orchestration)
{
	const struct failing *failing = context;
	return !orchestration_is_finished(orchestration) &&
		   orchestration_set_value(orchestration, "celld.manager", json_object_new()) &&
		   orchestration_fail(orchestration, text_of(failing->why), worker_wall_ms(failing->pm->worker));
}

static void on_failed(void *context, enum change change)
{
	struct failing *failing = context;
	(void)change; /* what could not be changed now is found again by the sweep */
	free(failing->why);
	free(failing);
}

void pm_change_fail(struct pm *pm, struct ledger_item *item, const char *why)
{
	struct failing *failing = malloc(sizeof(*failing));
	char *copy = text_copy(text_of(why));
	if (failing == NULL || copy == NULL) {
		free(failing);
		free(copy);
		return;
	}
	*failing = (struct failing){pm, copy};
	LOG(WARNING, "orchestration.ended", log_text("orchestration", text_of(item->id)), log_text("why", text_of(why)));
	pm_change(pm, item, fail, on_failed, failing);
}
