/* The panel of a cell, for programs and for people, and the state of the whole fleet. */
#include <stdlib.h>

#include "control/fabric/fleet/fleet_private.h"
#include "server/answer.h"
#include "server/base/clock.h"

/* What a panel shows, gathered. */
struct panel {
	struct fleet *fleet;
	const struct cell_record *cell;
	const struct health *health;        /* NULL: it is not watched */
	const struct beat_figures *figures; /* NULL: never heard */
	enum cell_health state;
	uint64_t age_ms;
	int64_t used, maximum; /* maximum -1: none */
	unsigned brakes;
	bool may_fail_over;
	int64_t ahead; /* monitor_ahead */
	bool is_doubted;
	struct doubt_tally tally; /* what others say, while it is doubted */
};

static struct panel gather(struct fleet *fleet, const struct cell_record *cell)
{
	uint64_t now_ms = clock_boot_ms();
	struct panel panel = {.fleet = fleet,
		.cell = cell,
		.health = monitor_health(fleet->monitor, cell->slot),
		.figures = monitor_figures(fleet->monitor, cell->slot),
		.age_ms = monitor_age_ms(fleet->monitor, cell->slot, now_ms),
		.used = fleet->uses.used(fleet->uses.placer_context, cell),
		.maximum = cell->definition == NULL ? -1 : cell->definition->max_vpas,
		.brakes = monitor_cell_brakes(fleet->monitor, cell->slot, now_ms),
		.may_fail_over = monitor_may_fail_over(fleet->monitor, cell->slot, now_ms),
		.ahead = monitor_ahead(fleet->monitor, cell->slot)};
	panel.is_doubted = monitor_tally(fleet->monitor, cell->slot, now_ms, &panel.tally);
	panel.state = panel.health == NULL ? cell->health : (enum cell_health)panel.health->state;
	return panel;
}

static int64_t percent(int64_t used, int64_t maximum)
{
	return maximum <= 0 ? 0 : used * 100 / maximum;
}

static void append_upper(struct buffer *into, const char *text)
{
	for (; *text != 0; text++)
		buffer_append_byte(into, (char)(*text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text));
}

/* --- JSON */

static void append_components(const struct beat_figures *figures, struct buffer *into)
{
	bool is_first = true;
	buffer_append(into, TEXT(",\"components\":{"));
	for (int i = 0; i < BEAT_COMPONENT_COUNT; i++) {
		const uint32_t *latency = figures->latency_us[i];
		if (figures->desired[i] == 0)
			continue;
		buffer_printf(into,
			"%s\"%s\":{\"name\":\"%s\",\"ready\":%u,\"desired\":%u,\"requestsPerSecond\":%u,\"errorsPpm\":%u,"
			"\"latencyUs\":{\"p50\":%u,\"p95\":%u,\"p99\":%u}}",
			is_first ? "" : ",", beat_component_name((enum beat_component)i),
			beat_component_title((enum beat_component)i), figures->ready[i], figures->desired[i], figures->rate[i],
			figures->errors_ppm[i], latency[0], latency[1], latency[2]);
		is_first = false;
	}
	buffer_append_byte(into, '}');
}

static void append_stores(const struct beat_figures *figures, struct buffer *into)
{
	buffer_append(into, TEXT(",\"infrastructure\":{"));
	for (int i = 0; i < BEAT_STORE_COUNT; i++)
		buffer_printf(into, "%s\"%s\":{\"name\":\"%s\",\"status\":\"%s\",\"latencyUs\":%u}", i == 0 ? "" : ",",
			beat_store_name((enum beat_store)i), beat_store_title((enum beat_store)i),
			beat_store_state_name((enum beat_store_state)figures->store_state[i]), figures->store_us[i]);
	buffer_append_byte(into, '}');
}

static void append_figures(const struct beat_figures *figures, struct buffer *into)
{
	buffer_printf(into, ",\"says\":\"%s\"", beat_state_name((enum beat_state)figures->state));
	append_components(figures, into);
	append_stores(figures, into);
	buffer_append(into, TEXT(",\"vpas\":{"));
	for (int i = 0; i < VPA_TYPE_COUNT; i++)
		buffer_printf(into, "%s\"%s\":%u", i == 0 ? "" : ",", vpa_type_name((enum vpa_type)i), figures->vpas[i]);
	buffer_printf(into,
		"},\"load\":{\"cpuPercent\":%u,\"memoryPercent\":%u,\"requestsPerSecond\":%u,\"megabitsPerSecond\":%u,"
		"\"connections\":%u}",
		figures->cpu, figures->memory, figures->requests, figures->megabits, figures->connections);
}

static void append_faults(const struct health *health, struct buffer *into)
{
	bool is_first = true;
	buffer_append(into, TEXT(",\"faults\":["));
	for (int i = 0; health != NULL && i < FAULT_COUNT; i++) {
		if ((health->faults >> i & 1) == 0)
			continue;
		buffer_append(into, is_first ? TEXT("") : TEXT(","));
		buffer_append_json(into, text_of(health_fault_text((enum health_fault)i)));
		is_first = false;
	}
	buffer_append_byte(into, ']');
}

static void append_witnesses(const struct doubt_tally *tally, struct buffer *into)
{
	buffer_printf(into,
		",\"witnesses\":{\"replicas\":{\"silent\":%u,\"alive\":%u},"
		"\"cells\":{\"asked\":%u,\"silent\":%u,\"alive\":%u}}",
		tally->replicas_silent, tally->replicas_alive, tally->cells_asked, tally->cells_silent, tally->cells_alive);
}

static void print_json(const struct panel *panel, struct buffer *into)
{
	const struct cell_record *cell = panel->cell;
	buffer_append(into, TEXT("{\"cellId\":"));
	buffer_append_json(into, text_of(cell->external_id));
	buffer_append(into, TEXT(",\"name\":"));
	buffer_append_json(into, cell->definition == NULL ? TEXT("") : text_of(cell->definition->name));
	buffer_append(into, TEXT(",\"status\":\""));
	append_upper(into, cell_health_name(panel->state));
	buffer_printf(into, "\",\"mode\":\"%s\",\"epoch\":%lld,\"capacity\":{\"used\":%lld", cell_mode_name(cell->mode),
		(long long)cell->epoch, (long long)panel->used);
	if (panel->maximum >= 0)
		buffer_printf(into, ",\"max\":%lld,\"percent\":%lld", (long long)panel->maximum,
			(long long)percent(panel->used, panel->maximum));
	buffer_append_byte(into, '}');
	if (cell->offline_since != NULL) {
		buffer_append(into, TEXT(",\"vpasOfflineSince\":"));
		buffer_append_json(into, text_of(cell->offline_since));
	}
	if (panel->age_ms != UINT64_MAX)
		buffer_printf(into, ",\"lastHeartbeatAgeMs\":%llu", (unsigned long long)panel->age_ms);
	if (panel->health != NULL)
		buffer_printf(into, ",\"inStateMs\":%llu", (unsigned long long)(clock_boot_ms() - panel->health->since_ms));
	if (panel->ahead != 0)
		buffer_printf(into, ",\"aheadEpoch\":%lld", (long long)panel->ahead);
	append_faults(panel->health, into);
	if (panel->is_doubted)
		append_witnesses(&panel->tally, into);
	brakes_print(panel->fleet, panel->brakes, clock_boot_ms(), into);
	buffer_printf(into, ",\"failoverEligible\":%s", panel->may_fail_over ? "true" : "false");
	if (panel->figures != NULL)
		append_figures(panel->figures, into);
	buffer_append_byte(into, '}');
}

/* --- for people */

static void print_milliseconds(uint32_t microseconds, struct buffer *into)
{
	buffer_printf(into, "%u.%u ms", microseconds / 1000, microseconds / 100 % 10);
}

static void print_components(const struct beat_figures *figures, struct buffer *into)
{
	buffer_append(into, TEXT("Components:\n"));
	for (int i = 0; i < BEAT_COMPONENT_COUNT; i++) {
		const uint32_t *latency = figures->latency_us[i];
		if (figures->desired[i] == 0)
			continue;
		buffer_printf(into, "  %-20s %u/%u replicas ready, %u requests/s, P50 ",
			beat_component_title((enum beat_component)i), figures->ready[i], figures->desired[i], figures->rate[i]);
		print_milliseconds(latency[0], into);
		buffer_append(into, TEXT(", P95 "));
		print_milliseconds(latency[1], into);
		buffer_append(into, TEXT(", P99 "));
		print_milliseconds(latency[2], into);
		buffer_printf(into, ", errors %u.%02u%%\n", figures->errors_ppm[i] / 10000, figures->errors_ppm[i] / 100 % 100);
	}
}

static void print_stores(const struct beat_figures *figures, struct buffer *into)
{
	buffer_append(into, TEXT("Infrastructure:\n"));
	for (int i = 0; i < BEAT_STORE_COUNT; i++) {
		buffer_printf(into, "  %-20s %s, ", beat_store_title((enum beat_store)i),
			beat_store_state_name((enum beat_store_state)figures->store_state[i]));
		print_milliseconds(figures->store_us[i], into);
		buffer_append_byte(into, '\n');
	}
}

static void print_faults(const struct panel *panel, struct buffer *into)
{
	if (panel->ahead != 0)
		buffer_printf(into,
			"  ! the cell has epoch %lld, and its record %lld: the database is an older copy. "
			"Its heartbeats are not answered until an operator says that the copy holds: cellctl fabric adopt\n",
			(long long)panel->ahead, (long long)panel->cell->epoch);
	for (int i = 0; panel->health != NULL && i < FAULT_COUNT; i++) {
		if ((panel->health->faults >> i & 1) != 0)
			buffer_printf(into, "  ! %s\n", health_fault_text((enum health_fault)i));
	}
	if (panel->is_doubted)
		buffer_printf(into,
			"  ! it is silent to this replica; others: %u replicas and %u of %u cells asked say so too, "
			"%u replicas and %u cells reach it\n",
			panel->tally.replicas_silent, panel->tally.cells_silent, panel->tally.cells_asked,
			panel->tally.replicas_alive, panel->tally.cells_alive);
	for (int i = 0; i < BRAKE_COUNT; i++) {
		if ((panel->brakes >> i & 1) != 0)
			buffer_printf(into, "  ! brake: %s\n", monitor_brake_text((enum monitor_brake)i));
	}
}

/* Names are an operator's or a cell's words: what is no line does not stand here. */
static void print_text(const struct panel *panel, struct buffer *into)
{
	const struct cell_record *cell = panel->cell;
	struct text name = cell->definition == NULL ? TEXT("") : text_of(cell->definition->name);
	buffer_printf(into, "Cell: %s", cell->external_id);
	if (name.length > 0 && text_is_line(name))
		buffer_printf(into, " (%.*s)", TEXT_ARGUMENTS(name));
	buffer_append(into, TEXT("\nStatus: "));
	append_upper(into, cell_health_name(panel->state));
	buffer_printf(into, " (%s)\n", cell_mode_name(cell->mode));
	print_faults(panel, into);
	if (panel->figures != NULL) {
		print_components(panel->figures, into);
		print_stores(panel->figures, into);
	}
	if (panel->maximum >= 0)
		buffer_printf(into, "Capacity: %lld/%lld VPAs (%lld%%)\n", (long long)panel->used, (long long)panel->maximum,
			(long long)percent(panel->used, panel->maximum));
	else
		buffer_printf(into, "Capacity: %lld VPAs, without limit\n", (long long)panel->used);
	if (cell->offline_since != NULL && text_is_line(text_of(cell->offline_since)))
		buffer_printf(into, "Its VPAs: offline since %s\n", cell->offline_since);
	if (panel->age_ms == UINT64_MAX)
		buffer_append(into, TEXT("Last heartbeat: none\n"));
	else
		buffer_printf(into, "Last heartbeat: %llu.%llu s ago\n", (unsigned long long)panel->age_ms / 1000,
			(unsigned long long)panel->age_ms / 100 % 10);
}

static void answer_text(struct rest_call *call, struct buffer *text)
{
	if (call->exchange == NULL || exchange_responded(call->exchange))
		return;
	if (text->failed)
		answer_empty(call->exchange, 503);
	else
		answer(call->exchange, 200, TEXT("text/plain; charset=utf-8"), buffer_text(text));
}

static void show_health(struct rest_call *call)
{
	struct fleet *fleet = call->context;
	const struct cell_record *cell = fleet_find(fleet, call->arguments[0]);
	struct text format = rest_parameter(call, "format");
	struct buffer text = {0};
	if (cell == NULL) {
		rest_refuse(call, STATUS_NOT_FOUND, NULL);
		return;
	}
	const struct panel panel = gather(fleet, cell);
	if (format.length == 0 || text_equals(format, TEXT("json"))) {
		print_json(&panel, &text);
		if (text.failed)
			rest_refuse(call, STATUS_NO_MEMORY, NULL);
		else
			rest_answer(call, 200, buffer_text(&text));
	} else if (text_equals(format, TEXT("text"))) {
		print_text(&panel, &text);
		answer_text(call, &text);
	} else {
		rest_refuse(call, STATUS_INVALID, "format: must be json or text");
	}
	buffer_free(&text);
}

/* --- the fleet */

struct ahead {
	const struct fleet *fleet;
	struct buffer *into;
	bool is_first;
};

static bool append_ahead(void *context, const struct cell_record *cell)
{
	struct ahead *ahead = context;
	if (monitor_ahead(ahead->fleet->monitor, cell->slot) == 0)
		return true;
	if (!ahead->is_first)
		buffer_append_byte(ahead->into, ',');
	ahead->is_first = false;
	buffer_append_json(ahead->into, text_of(cell->external_id));
	return true;
}

static void show_fleet(struct rest_call *call)
{
	struct fleet *fleet = call->context;
	uint32_t by_health[CELL_FLAPPING + 1], watched = monitor_census(fleet->monitor, by_health);
	struct buffer text = {0}, line = {0};
	if (fleet->bus != NULL)
		bus_line(fleet->bus, &line);
	else
		buffer_append(&line, TEXT("no broker is configured"));
	buffer_printf(&text, "{\"leads\":%s,\"term\":%lld,\"broker\":", fleet_leads(fleet) ? "true" : "false",
		(long long)fleet_term(fleet));
	buffer_append_json(&text, buffer_text(&line));
	buffer_printf(
		&text, ",\"credentials\":%s,\"cells\":%u,\"health\":{", fleet->credentials != NULL ? "true" : "false", watched);
	for (int i = 0; i <= CELL_FLAPPING; i++)
		buffer_printf(&text, "%s\"%s\":%u", i == 0 ? "" : ",", cell_health_name((enum cell_health)i), by_health[i]);
	buffer_append_byte(&text, '}');
	brakes_print(fleet, brakes_on(fleet, clock_boot_ms()), clock_boot_ms(), &text);
	buffer_append(&text, TEXT(",\"aheadCells\":["));
	cells_each(fleet->uses.cells, append_ahead, &(struct ahead){fleet, &text, true});
	buffer_append_byte(&text, ']');
	buffer_append_byte(&text, '}');
	if (text.failed || line.failed)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else
		rest_answer(call, 200, buffer_text(&text));
	buffer_free(&text);
	buffer_free(&line);
}

const struct rest_endpoint panel_endpoints[] = {
	{"GET", "/cells/{id}/health", FLEET_READ, false, show_health},
	{"GET", "/fleet", FLEET_READ, false, show_fleet},
};
const size_t panel_endpoint_count = sizeof(panel_endpoints) / sizeof(panel_endpoints[0]);
