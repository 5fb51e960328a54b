/* The fleet: opened, started, ticked, ended. */
#include <stdlib.h>

#include "control/fabric/fleet/fleet_private.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/metric.h"
#include "server/url.h"

enum { TICK_MS = 100, SWEEP_MS = 60000 };

static enum status open_monitor(struct fleet *fleet)
{
	const struct monitor_settings settings = {.interval_ms = fleet->settings->heartbeat_ms,
		.away_interval_ms = fleet->settings->away_heartbeat_ms,
		.grace_ms = fleet->settings->grace_ms,
		.margin_ms = fleet->settings->margin_ms,
		.fail_over_ms = fleet->settings->fail_over_ms,
		.fail_over_rate = fleet->settings->fail_over_rate};
	return monitor_open(&settings, &watch_events, fleet, clock_boot_ms(), &fleet->monitor);
}

static enum status read_networks(struct fleet *fleet, struct buffer *error)
{
	static char any4[] = "0.0.0.0/0", any6[] = "::/0", *anywhere[] = {any4, any6};
	struct setting_texts texts = fleet->settings->probe_networks;
	if (texts.count == 0)
		texts = (struct setting_texts){anywhere, 2};
	fleet->probe_networks = calloc(texts.count, sizeof(*fleet->probe_networks));
	if (fleet->probe_networks == NULL)
		return STATUS_NO_MEMORY;
	for (size_t i = 0; i < texts.count; i++) {
		if (network_parse(text_of(texts.items[i]), &fleet->probe_networks[i]) != STATUS_OK) {
			buffer_printf(error, "cells.probe_networks: %s is no network in CIDR form", texts.items[i]);
			return STATUS_INVALID;
		}
		fleet->probe_network_count++;
	}
	return STATUS_OK;
}

static void on_lease(void *context, bool leads)
{
	struct fleet *fleet = context;
	monitor_lead(fleet->monitor, leads, clock_boot_ms());
}

enum status fleet_open(const struct fleet_settings *settings, const struct setting_texts *own_nats_urls,
	const struct fleet_uses *uses, struct fleet **fleet, struct buffer *error)
{
	struct fleet *made = calloc(1, sizeof(*made));
	if (made == NULL)
		return STATUS_NO_MEMORY;
	made->settings = settings;
	made->own_nats_urls = own_nats_urls;
	made->uses = *uses;
	id_random(made->self);
	const struct credentials_settings credentials = {
		settings->signing_key_file, settings->account_file, settings->activities};
	enum status status = credentials_open(&credentials, &made->credentials, error);
	if (status == STATUS_OK)
		status = join_tokens_open(uses->state, &made->tokens);
	if (status == STATUS_OK)
		status = audit_open(uses->state, &made->audit);
	if (status == STATUS_OK)
		status = lease_open(uses->state, "fabric", clock_boot_ms, &made->lease);
	if (status == STATUS_OK)
		status = read_networks(made, error);
	if (status == STATUS_OK)
		status = open_monitor(made);
	if (status != STATUS_OK) {
		fleet_free(made);
		return status;
	}
	lease_observe(made->lease, on_lease, made);
	cells_observe(uses->cells, watch_cell_changed, made);
	brakes_open(made);
	metric_add_source(fleet_render_metrics, made);
	if (made->credentials == NULL)
		LOG(WARNING, "fabric.no_credentials",
			log_text("why",
				TEXT("without cells.signing_key_file cells are kept apart on the broker by their epochs alone")));
	*fleet = made;
	return STATUS_OK;
}

enum status fleet_serve(struct fleet *fleet, struct rest *rest)
{
	static const char base[] = "/api/celld/v1";
	enum status status = rest_add(rest, base, join_endpoints, join_endpoint_count, fleet);
	if (status == STATUS_OK)
		status = rest_add(rest, base, member_endpoints, member_endpoint_count, fleet);
	if (status == STATUS_OK)
		status = rest_add(rest, base, admission_endpoints, admission_endpoint_count, fleet);
	if (status == STATUS_OK)
		status = rest_add(rest, base, panel_endpoints, panel_endpoint_count, fleet);
	if (status == STATUS_OK)
		status = rest_add(rest, base, brake_endpoints, brake_endpoint_count, fleet);
	return status;
}

/* --- time */

static void on_swept(void *context, enum status status, int64_t revision)
{
	(void)context, (void)status, (void)revision; /* the next sweep finds what is left */
}

/* Tokens whose time has passed. */
static void sweep(struct fleet *fleet, int64_t wall_ms)
{
	struct transaction *transaction = NULL;
	for (size_t i = 0; i < join_tokens_count(fleet->tokens); i++) {
		const struct join_token *token = join_tokens_at(fleet->tokens, i);
		if (token->expires_ms > wall_ms)
			continue;
		if (transaction == NULL)
			transaction = transaction_new();
		if (transaction == NULL || !state_delete(transaction, RECORD_JOIN_TOKEN, text_of(token->id), REVISION_ANY))
			break;
	}
	if (transaction != NULL)
		state_submit(fleet->uses.state, transaction, on_swept, fleet);
}

static void on_tick(void *context)
{
	struct fleet *fleet = context;
	uint64_t now_ms = clock_boot_ms();
	int64_t wall_ms = clock_wall_ms();
	lease_tick(fleet->lease);
	watch_tick(fleet, now_ms);
	behind_tick(fleet);
	brakes_tick(fleet, now_ms);
	own_credentials_tick(fleet->uses.own, fleet->bus, wall_ms);
	if (lease_is_held(fleet->lease))
		audit_tick(fleet->audit);
	if (lease_is_held(fleet->lease) && now_ms - fleet->swept_ms >= SWEEP_MS) {
		fleet->swept_ms = now_ms;
		sweep(fleet, wall_ms);
	}
	timer_set(fleet->tick, TICK_MS);
}

void fleet_start(struct fleet *fleet, struct bus *bus)
{
	fleet->bus = bus;
	fleet->tick = timer_new(state_worker(fleet->uses.state), on_tick, fleet);
	if (fleet->tick == NULL)
		abort(); /* nobody would be watched */
	watch_start(fleet);
	renewal_start(fleet);
	timer_set(fleet->tick, 0);
}

void fleet_leave(struct fleet *fleet)
{
	lease_release(fleet->lease);
}

void fleet_stop(struct fleet *fleet)
{
	watch_stop(fleet);
	renewal_stop(fleet);
	timer_free(fleet->tick);
	fleet->tick = NULL;
}

void fleet_free(struct fleet *fleet)
{
	if (fleet == NULL)
		return;
	monitor_free(fleet->monitor);
	lease_free(fleet->lease);
	join_tokens_free(fleet->tokens);
	audit_free(fleet->audit);
	credentials_free(fleet->credentials);
	brakes_close(fleet);
	free(fleet->probe_networks);
	for (uint32_t i = 0; i < fleet->watched_count; i++)
		behind_forget(&fleet->watched[i]);
	free(fleet->watched);
	free(fleet);
}

const char *fleet_refusal(const void *fleet)
{
	return brakes_refusal(fleet);
}

void fleet_lines(const struct fleet *fleet, struct buffer *into)
{
	brakes_lines(fleet, clock_boot_ms(), into);
}

bool fleet_leads(const struct fleet *fleet)
{
	return lease_is_held(fleet->lease);
}

int64_t fleet_term(const struct fleet *fleet)
{
	return lease_term(fleet->lease);
}

void fleet_observe(struct fleet *fleet, void (*changed)(void *context, bool leads), void *context)
{
	lease_observe(fleet->lease, changed, context);
}

const struct cell_record *fleet_find(const struct fleet *fleet, struct text name)
{
	const struct cell_record *cell = cells_find(fleet->uses.cells, name);
	return cell != NULL ? cell : cells_find_external(fleet->uses.cells, name);
}

bool fleet_audit(struct transaction *transaction, const char *what, struct text cell_id, const char *detail)
{
	return audit_add(transaction, what, cell_id, TEXT_NONE, detail);
}

bool fleet_audit_call(struct transaction *transaction, const struct rest_call *call, const char *what,
	struct text cell_id, const char *detail)
{
	return audit_add(transaction, what, cell_id, call->caller, detail);
}

void fleet_answer(struct rest_call *call, int status, struct buffer *answer)
{
	if (answer->failed)
		rest_refuse(call, STATUS_NO_MEMORY, NULL);
	else
		rest_answer(call, status, buffer_text(answer));
	buffer_free(answer);
}
