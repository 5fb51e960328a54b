/* Figures become two numbers, which are told seldom. */
#include "control/fabric/health/gauge.h"

enum { FULL = 1000 };

/* Who serves which type. */
static const enum beat_component components[VPA_TYPE_COUNT] = {
	[VPA_CONNECTOR] = BEAT_CP, [VPA_CREDENTIALSERVICE] = BEAT_CS, [VPA_DATAPLANE] = BEAT_DP, [VPA_ISSUER] = BEAT_CS};

/* A cell that says nothing of a component is not known to lack it. */
static unsigned ready_of(const struct beat_figures *figures)
{
	unsigned ready = 0;
	for (unsigned type = 0; type < VPA_TYPE_COUNT; type++) {
		enum beat_component component = components[type];
		if (figures->desired[component] == 0 || figures->ready[component] > 0)
			ready |= 1U << type;
	}
	return ready;
}

static int share_of(uint64_t used, int64_t most)
{
	if (most <= 0)
		return 0; /* not said, or none: nothing to compare with */
	uint64_t share = used * FULL / (uint64_t)most;
	return share > FULL ? FULL : (int)share;
}

/* That of which least is left. */
static int load_of(const struct beat_figures *figures, const struct cell_definition *definition)
{
	const int64_t *resources = definition == NULL ? NULL : definition->resources;
	const int shares[] = {share_of(figures->cpu, 100), share_of(figures->memory, 100),
		resources == NULL ? 0 : share_of(figures->requests, resources[CELL_RESOURCE_REQUESTS_PER_SEC]),
		resources == NULL ? 0 : share_of(figures->megabits, resources[CELL_RESOURCE_TRANSFER_MBPS]),
		resources == NULL ? 0 : share_of(figures->connections, resources[CELL_RESOURCE_CONNECTIONS])};
	int load = 0;
	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++)
		load = shares[i] > load ? shares[i] : load;
	return load;
}

bool gauge_hear(
	struct gauge *gauge, const struct beat_figures *figures, const struct cell_definition *definition, uint64_t now_ms)
{
	unsigned ready = ready_of(figures);
	int load = load_of(figures, definition), change = load > gauge->load ? load - gauge->load : gauge->load - load;
	bool is_due = !gauge->is_told || now_ms - gauge->told_ms >= GAUGE_PAUSE_MS;
	bool has_lost = (gauge->ready & ~ready) != 0;
	if (!has_lost && !(is_due && (!gauge->is_told || ready != gauge->ready || change >= GAUGE_STEP)))
		return false;
	*gauge = (struct gauge){.told_ms = now_ms,
		.ready = is_due ? ready : gauge->ready & ready, /* what has come back waits */
		.load = load / GAUGE_STEP * GAUGE_STEP,
		.is_told = true};
	return true;
}
