/* The provision manager: settings, wiring, beginning and end. */
#include "control/fabric/orchestration/pm.h"

#include <stdlib.h>

#include "control/fabric/orchestration/pm_private.h"

#define SETTING(member, kind_, ...)                                                                                    \
	{                                                                                                                  \
		.key = #member, .kind = kind_, .offset = offsetof(struct pm_settings, member), __VA_ARGS__                     \
	}

const struct setting pm_settings_table[] = {
	SETTING(orchestration_ms, SETTING_MILLISECONDS, .preset = "30 min", .minimum = 1000, .maximum = 7LL * 86400000,
		.help = "an orchestration that takes longer ends as failed"),
	SETTING(activity_ms, SETTING_MILLISECONDS, .preset = "15 min", .minimum = 1000, .maximum = 7LL * 86400000,
		.help = "an orchestration in which nothing is completed for so long ends as failed"),
	SETTING(settle_ms, SETTING_MILLISECONDS, .preset = "30 s", .minimum = 0, .maximum = 3600000,
		.help = "a compensation waits so long for activities that may still run"),
	SETTING(retention_ms, SETTING_MILLISECONDS, .preset = "168 h", .minimum = 60000, .maximum = 3650LL * 86400000,
		.help = "finished orchestrations stay in the bucket, with their data, for so long"),
	SETTING(sweep_ms, SETTING_MILLISECONDS, .preset = "5 s", .minimum = 50, .maximum = 3600000,
		.help = "how often what is stuck is looked for"),
	SETTING(services, SETTING_TEXTS,
		.help = "\"activity-type=vpa.type\": activities that each cell's own executor does for its VPAs of that type; "
				"none: those of the existing agents"),
};
const size_t pm_settings_count = sizeof(pm_settings_table) / sizeof(pm_settings_table[0]);

static const char *const usual_services[] = {"edcv-activity=cfm.connector", "siglet-activity=cfm.dataplane",
	"identityhub-activity=cfm.credentialservice", "onboarding-activity=cfm.credentialservice",
	"registration-activity=cfm.issuer"};

/* "type=vpa type". */
static enum status add_service(struct pm *pm, struct text line, struct buffer *error)
{
	size_t equals = text_find(line, '=');
	struct text type = text_slice(line, 0, equals), vpa_type = text_slice(line, equals + 1, line.length);
	if (!message_type_is_valid(type) || !message_type_is_valid(vpa_type)) {
		buffer_printf(
			error, "orchestration.services: \"%.*s\": must be \"activity-type=vpa.type\"", TEXT_ARGUMENTS(line));
		return STATUS_INVALID;
	}
	struct steps_service *service = &pm->services[pm->plan.service_count++];
	service->type = text_copy(type);
	service->vpa_type = text_copy(vpa_type);
	return service->type != NULL && service->vpa_type != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status add_services(struct pm *pm, struct buffer *error)
{
	const struct setting_texts *texts = &pm->settings.services;
	size_t usual = sizeof(usual_services) / sizeof(usual_services[0]);
	size_t count = texts->count > 0 ? texts->count : usual;
	enum status status = STATUS_OK;
	pm->services = calloc(count, sizeof(pm->services[0]));
	if (pm->services == NULL)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < count && status == STATUS_OK; i++)
		status = add_service(pm, text_of(texts->count > 0 ? texts->items[i] : usual_services[i]), error);
	pm->plan.services = pm->services;
	return status;
}

/* A cell that has joined takes its activities itself. */
static struct text cell_name(void *context, struct text cell_id, struct text external_id)
{
	const struct pm *pm = context;
	const struct cell_record *cell = pm->base.cells != NULL ? cells_find(pm->base.cells, cell_id) : NULL;
	if (cell == NULL && pm->base.cells != NULL && external_id.length > 0)
		cell = cells_find_external(pm->base.cells, external_id);
	return cell != NULL && !cell->is_legacy && cell->epoch > 0 ? text_of(cell->external_id) : TEXT_NONE;
}

static void on_begin(struct task *task)
{
	struct pm *pm = (struct pm *)((char *)task - offsetof(struct pm, begin));
	pm_on_sweep(pm);
}

static enum status open_parts(struct pm *pm, struct buffer *error)
{
	enum status status =
		pm->bucket_stream.failed || pm->statistics == NULL ? STATUS_NO_MEMORY : add_services(pm, error);
	if (status == STATUS_OK)
		status = definitions_open(pm->base.state, pm->base.rest, &pm->definitions);
	if (status == STATUS_OK)
		status = ledger_open(pm);
	if (status == STATUS_OK && pm->base.rest != NULL)
		status = pm_serve(pm);
	if (status == STATUS_OK) {
		pm->sweep = timer_new(pm->worker, pm_on_sweep, pm);
		status = pm->sweep != NULL ? STATUS_OK : STATUS_NO_MEMORY;
	}
	return status;
}

enum status pm_open(const struct pm_settings *settings, const struct pm_base *base, const struct pm_hooks *hooks,
	struct pm **pm, struct buffer *error)
{
	struct pm *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->settings = *settings;
	made->base = *base;
	made->worker = state_worker(base->state);
	made->begin.run = on_begin;
	made->plan.cell_name = cell_name;
	made->plan.context = made;
	made->bucket = text_of(base->bucket);
	made->statistics = statistics_new();
	buffer_printf(&made->bucket_stream, "KV_%s", base->bucket);
	if (hooks != NULL)
		made->hooks = *hooks;
	enum status status = open_parts(made, error);
	made->settings.services = (struct setting_texts){0}; /* the caller's */
	if (status != STATUS_OK) {
		pm_free(made);
		return status;
	}
	definitions_ask_use(made->definitions, ledger_is_used, made);
	bus_on_state(base->bus, pm_on_bus, made);
	worker_post(made->worker, &made->begin);
	*pm = made;
	return STATUS_OK;
}

void pm_free(struct pm *pm)
{
	if (pm == NULL)
		return;
	for (size_t i = 0; i < pm->plan.service_count; i++) {
		free(pm->services[i].type);
		free(pm->services[i].vpa_type);
	}
	free(pm->services);
	timer_free(pm->sweep);
	ledger_close(pm);
	definitions_free(pm->definitions);
	free(pm->listing);
	statistics_free(pm->statistics);
	buffer_free(&pm->bucket_stream);
	free(pm->refused);
	free(pm);
}

void pm_hold(struct pm *pm, bool is_held)
{
	if (pm->is_held == is_held)
		return;
	pm->is_held = is_held;
	if (is_held)
		return;
	pm->back_ms = worker_wall_ms(pm->worker);
	for (struct ledger_item *item = pm->items; item != NULL; item = item->next)
		item->check_at_ms = item->check_pause_ms = 0;
	timer_set(pm->sweep, 0);
}

void pm_render_metrics(const struct pm *pm, struct buffer *into)
{
	statistics_render(pm->statistics, into);
}

void pm_line(const struct pm *pm, struct buffer *into)
{
	size_t running = 0, errored = 0;
	if (pm->refused != NULL) {
		buffer_printf(into, "nothing is orchestrated: %s", pm->refused);
		return;
	}
	for (const struct ledger_item *item = pm->items; item != NULL; item = item->next) {
		running += item->revision != 0 && item->ended_ms == 0;
		errored += item->revision != 0 && item->state == ORCHESTRATION_ERRORED;
	}
	buffer_printf(into, "%zu orchestrations run, %zu have failed%s%s", running, errored,
		pm->has_stream && pm->has_bucket ? "" : "; the broker's streams are waited for",
		pm->is_held ? "; none goes on while the database is behind its cells" : "");
}
