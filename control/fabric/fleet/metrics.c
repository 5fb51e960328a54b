/* The fleet's series: what each cell says of itself, and what is thought of it. One family after the other, as the text
 * format wants it. On the fabric's worker. */
#include "control/fabric/fleet/fleet_private.h"
#include "server/base/clock.h"

struct scrape {
	struct fleet *fleet;
	struct buffer *into;
	uint64_t now_ms;
	const struct family *family;
};

/* Parts per million as a fraction. */
static void append_ratio(struct buffer *into, uint32_t millionths)
{
	buffer_printf(into, "%u.%06u\n", millionths / 1000000, millionths % 1000000);
}

static void begin(const struct scrape *scrape, const char *name, const struct cell_record *cell)
{
	buffer_printf(scrape->into, "%s{cell=\"%s\"", name, cell->external_id);
}

static void label(const struct scrape *scrape, const char *name, const char *value)
{
	buffer_printf(scrape->into, ",%s=\"%s\"", name, value);
}

static void end(const struct scrape *scrape, int64_t value)
{
	buffer_printf(scrape->into, "} %lld\n", (long long)value);
}

/* --- the families: figures is NULL when nothing was heard yet */

static void render_health(
	const struct scrape *scrape, const char *name, const struct cell_record *cell, const struct beat_figures *figures)
{
	const struct health *health = monitor_health(scrape->fleet->monitor, cell->slot);
	(void)figures;
	for (int i = 0; i <= CELL_FLAPPING; i++) {
		begin(scrape, name, cell);
		label(scrape, "state", cell_health_name((enum cell_health)i));
		end(scrape, health->state == i);
	}
}

static void render_brakes(
	const struct scrape *scrape, const char *name, const struct cell_record *cell, const struct beat_figures *figures)
{
	unsigned brakes = monitor_cell_brakes(scrape->fleet->monitor, cell->slot, scrape->now_ms);
	(void)figures;
	for (int i = BRAKE_AGREEMENT; i < BRAKE_COUNT; i++) {
		begin(scrape, name, cell);
		label(scrape, "brake", monitor_brake_name((enum monitor_brake)i));
		end(scrape, brakes >> i & 1);
	}
}

static void render_age(
	const struct scrape *scrape, const char *name, const struct cell_record *cell, const struct beat_figures *figures)
{
	uint64_t age_ms = monitor_age_ms(scrape->fleet->monitor, cell->slot, scrape->now_ms);
	if (figures == NULL)
		return;
	begin(scrape, name, cell);
	buffer_printf(
		scrape->into, "} %llu.%03llu\n", (unsigned long long)age_ms / 1000, (unsigned long long)age_ms % 1000);
}

static void render_capacity(
	const struct scrape *scrape, const char *name, const struct cell_record *cell, const struct beat_figures *figures)
{
	(void)figures;
	begin(scrape, name, cell);
	buffer_append(scrape->into, TEXT(",dim=\"vpas\",kind=\"used\""));
	end(scrape, scrape->fleet->uses.used(scrape->fleet->uses.placer_context, cell));
	if (cell->definition == NULL)
		return;
	begin(scrape, name, cell);
	buffer_append(scrape->into, TEXT(",dim=\"vpas\",kind=\"max\""));
	end(scrape, cell->definition->max_vpas);
}

static void render_vpas(
	const struct scrape *scrape, const char *name, const struct cell_record *cell, const struct beat_figures *figures)
{
	for (int i = 0; figures != NULL && i < VPA_TYPE_COUNT; i++) {
		begin(scrape, name, cell);
		label(scrape, "type", vpa_type_name((enum vpa_type)i));
		end(scrape, figures->vpas[i]);
	}
}

/* False: the cell has none of this component. */
static bool begin_component(const struct scrape *scrape, const char *name, const struct cell_record *cell,
	const struct beat_figures *figures, int i)
{
	if (figures->desired[i] == 0)
		return false;
	begin(scrape, name, cell);
	label(scrape, "component", beat_component_name((enum beat_component)i));
	return true;
}

static void render_replicas(
	const struct scrape *scrape, const char *name, const struct cell_record *cell, const struct beat_figures *figures)
{
	for (int i = 0; figures != NULL && i < BEAT_COMPONENT_COUNT; i++) {
		if (!begin_component(scrape, name, cell, figures, i))
			continue;
		buffer_append(scrape->into, TEXT(",kind=\"ready\""));
		end(scrape, figures->ready[i]);
		begin_component(scrape, name, cell, figures, i);
		buffer_append(scrape->into, TEXT(",kind=\"desired\""));
		end(scrape, figures->desired[i]);
	}
}

static void render_rate(
	const struct scrape *scrape, const char *name, const struct cell_record *cell, const struct beat_figures *figures)
{
	for (int i = 0; figures != NULL && i < BEAT_COMPONENT_COUNT; i++) {
		if (begin_component(scrape, name, cell, figures, i))
			end(scrape, figures->rate[i]);
	}
}

static void render_errors(
	const struct scrape *scrape, const char *name, const struct cell_record *cell, const struct beat_figures *figures)
{
	for (int i = 0; figures != NULL && i < BEAT_COMPONENT_COUNT; i++) {
		if (!begin_component(scrape, name, cell, figures, i))
			continue;
		buffer_append(scrape->into, TEXT("} "));
		append_ratio(scrape->into, figures->errors_ppm[i]);
	}
}

static void render_durations(
	const struct scrape *scrape, const char *name, const struct cell_record *cell, const struct beat_figures *figures)
{
	static const char *const quantiles[] = {"0.5", "0.95", "0.99"};
	for (int i = 0; figures != NULL && i < BEAT_COMPONENT_COUNT; i++) {
		for (int j = 0; j < 3 && begin_component(scrape, name, cell, figures, i); j++) {
			label(scrape, "quantile", quantiles[j]);
			buffer_append(scrape->into, TEXT("} "));
			append_ratio(scrape->into, figures->latency_us[i][j]);
		}
	}
}

static void render_stores(
	const struct scrape *scrape, const char *name, const struct cell_record *cell, const struct beat_figures *figures)
{
	for (int i = 0; figures != NULL && i < BEAT_STORE_COUNT; i++) {
		begin(scrape, name, cell);
		label(scrape, "store", beat_store_name((enum beat_store)i));
		end(scrape, figures->store_state[i] == BEAT_STORE_OK);
	}
}

static void render_utilization(
	const struct scrape *scrape, const char *name, const struct cell_record *cell, const struct beat_figures *figures)
{
	if (figures == NULL)
		return;
	begin(scrape, name, cell);
	buffer_append(scrape->into, TEXT(",resource=\"cpu\"} "));
	append_ratio(scrape->into, figures->cpu * 10000u);
	begin(scrape, name, cell);
	buffer_append(scrape->into, TEXT(",resource=\"memory\"} "));
	append_ratio(scrape->into, figures->memory * 10000u);
}

static const struct family {
	const char *name, *help;
	void (*render)(const struct scrape *scrape, const char *name, const struct cell_record *cell,
		const struct beat_figures *figures);
} families[] = {
	{"celld_cell_health", "1 for the state a cell is in", render_health},
	{"celld_cell_brake", "1 for what alone holds an unreachable cell back from fail-over", render_brakes},
	{"celld_cell_last_heartbeat_seconds", "since a cell's last heartbeat", render_age},
	{"celld_cell_capacity", "VPAs booked on a cell, and how many it may have", render_capacity},
	{"celld_cell_vpas", "VPAs that a cell says it has", render_vpas},
	{"celld_cell_replicas", "of a cell's components", render_replicas},
	{"celld_request_rate", "requests per second of a cell's component", render_rate},
	{"celld_request_duration_seconds", "quantiles of a cell's component", render_durations},
	{"celld_errors_ratio", "share of failed requests of a cell's component", render_errors},
	{"celld_cell_store_up", "what a cell depends on", render_stores},
	{"celld_resource_utilization", "share of a cell's processors and memory", render_utilization},
};

static bool render_cell(void *context, const struct cell_record *cell)
{
	const struct scrape *scrape = context;
	if (monitor_health(scrape->fleet->monitor, cell->slot) != NULL) /* else it has never joined */
		scrape->family->render(scrape, scrape->family->name, cell, monitor_figures(scrape->fleet->monitor, cell->slot));
	return true;
}

/* --- of the fabric itself */

static void render_fabric(struct fleet *fleet, uint64_t now_ms, struct buffer *into)
{
	unsigned brakes = brakes_on(fleet, now_ms);
	buffer_printf(into,
		"# TYPE celld_fabric_leads gauge\ncelld_fabric_leads %d\n# TYPE celld_fabric_term gauge\n"
		"celld_fabric_term %lld\n# TYPE celld_fabric_brake gauge\n",
		fleet_leads(fleet), (long long)fleet_term(fleet));
	for (int i = 0; i < BRAKE_COUNT; i++)
		buffer_printf(
			into, "celld_fabric_brake{brake=\"%s\"} %u\n", monitor_brake_name((enum monitor_brake)i), brakes >> i & 1);
	buffer_append(into, TEXT("# TYPE celld_heartbeats_total counter\n"));
	for (int i = 0; i < BEAT_VERDICTS; i++)
		buffer_printf(into, "celld_heartbeats_total{verdict=\"%s\"} %llu\n",
			monitor_verdict_name((enum monitor_verdict)i), (unsigned long long)fleet->verdicts[i]);
	buffer_printf(into,
		"celld_heartbeats_total{verdict=\"malformed\"} %llu\ncelld_heartbeats_total{verdict=\"limited\"} %llu\n",
		(unsigned long long)fleet->malformed, (unsigned long long)fleet->limited);
}

void fleet_render_metrics(void *context, struct buffer *into)
{
	struct fleet *fleet = context;
	struct scrape scrape = {fleet, into, clock_boot_ms(), NULL};
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		scrape.family = &families[i];
		buffer_printf(into, "# HELP %s %s\n# TYPE %s gauge\n", families[i].name, families[i].help, families[i].name);
		cells_each(fleet->uses.cells, render_cell, &scrape);
	}
	render_fabric(fleet, scrape.now_ms, into);
}
