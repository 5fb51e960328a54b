/* The queues of the activities that cells serve themselves: a cell with credentials of its own may read its queue, and
 * may not make it, for who makes one chooses what it is fed with. As the existing agents make theirs (cfm.md 3.5). */
#include <stdlib.h>

#include "control/fabric/fleet/fleet_private.h"
#include "control/orchestration/messages.h"
#include "server/base/log.h"

#define STREAM "cfm-stream"

static struct bus_consumer *keep(struct fleet *fleet, const char *activity, const char *cell_id)
{
	struct buffer type = {0}, queue = {0}, config = {0};
	struct bus_consumer *keeper = NULL;
	buffer_printf(&type, "%s--%s", activity, cell_id);
	activity_queue(buffer_text(&type), &queue);
	buffer_printf(&config,
		"{\"ack_policy\":\"explicit\",\"deliver_policy\":\"all\",\"replay_policy\":\"instant\",\"filter_subject\":"
		"\"event.%s\"}",
		queue.bytes == NULL ? "" : queue.bytes);
	const struct bus_consumer_settings settings = {.stream = TEXT(STREAM),
		.durable = buffer_text(&queue),
		.config = buffer_text(&config),
		.is_found_only = true,
		.is_queue = true,
		.waits_for_stream = true};
	if (!type.failed && !queue.failed && !config.failed)
		keeper = bus_consume(fleet->bus, &settings, NULL, NULL);
	if (keeper == NULL)
		LOG(ERROR, "cell.no_queue", log_text("cell", text_of(cell_id)), log_text("activity", text_of(activity)));
	buffer_free(&type);
	buffer_free(&queue);
	buffer_free(&config);
	return keeper;
}

void keepers_follow(struct fleet *fleet, struct watched *watched, const struct cell_record *cell)
{
	size_t count = credentials_activities(fleet->credentials);
	if (cell == NULL) {
		keepers_close(watched);
		return;
	}
	if (fleet->bus == NULL || count == 0 || cell->epoch == 0 || cell->is_legacy || watched->keepers != NULL)
		return;
	watched->keepers = calloc(count, sizeof(void *));
	for (size_t i = 0; watched->keepers != NULL && i < count; i++)
		watched->keepers[watched->keeper_count++] =
			keep(fleet, credentials_activity(fleet->credentials, i), cell->external_id);
}

void keepers_close(struct watched *watched)
{
	for (size_t i = 0; i < watched->keeper_count; i++) {
		if (watched->keepers[i] != NULL)
			bus_consumer_close(watched->keepers[i]);
	}
	free(watched->keepers);
	watched->keepers = NULL;
	watched->keeper_count = 0;
}
