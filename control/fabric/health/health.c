/* The table of health, and what its rows ask. */
#include "control/fabric/health/health.h"

/* What is above is unwell; below half of it, and for a while, well again. */
enum {
	READY_PCT = 50,
	ERRORS_PPM = 20000,
	DATABASE_US = 50000,
	DATABASE_WINDOWS = 3,
	CPU_PCT = 90,
};

const struct health_rules health_usual_rules = {
	.interval_ms = 2000,
	.suspect_pct = 240,
	.gone_pct = 500,
	.steady_beats = 3,
	.back_beats = 10,
	.back_ms = 20000,
	.well_ms = 120000,
	.load_ms = 60000,
	.flap_window_ms = 600000,
	.flap_quiet_ms = 600000,
	.flap_quiet_max_ms = 3600000,
};

const char *health_fault_text(enum health_fault fault)
{
	static const char *const texts[] = {
#define FAULT_TEXT(name, text) text,
		HEALTH_FAULT_LIST(FAULT_TEXT)
#undef FAULT_TEXT
	};
	return texts[fault];
}

/* --- what a heartbeat says */

static bool lacks_components(const struct beat_figures *figures)
{
	for (size_t i = 0; i < BEAT_COMPONENT_COUNT; i++) {
		if ((unsigned)figures->ready[i] * 100 < (unsigned)figures->desired[i] * READY_PCT)
			return true;
	}
	return false;
}

static uint32_t worst_errors(const struct beat_figures *figures)
{
	uint32_t worst = 0;
	for (size_t i = 0; i < BEAT_COMPONENT_COUNT; i++)
		worst = figures->errors_ppm[i] > worst ? figures->errors_ppm[i] : worst;
	return worst;
}

/* Bits of enum health_fault. */
static unsigned faults_of(struct health *health, const struct health_view *view, const struct beat_figures *figures)
{
	unsigned database = figures->store_state[BEAT_DATABASE], vault = figures->store_state[BEAT_VAULT], faults = 0;
	bool is_slow = figures->store_us[BEAT_DATABASE] > DATABASE_US;
	health->slow = !is_slow ? 0 : health->slow < DATABASE_WINDOWS ? (uint8_t)(health->slow + 1) : DATABASE_WINDOWS;
	if (figures->cpu <= CPU_PCT)
		health->loaded_ms = 0;
	else if (health->loaded_ms == 0)
		health->loaded_ms = view->now_ms;
	faults |= (unsigned)lacks_components(figures) << FAULT_COMPONENT;
	faults |= (unsigned)(worst_errors(figures) > ERRORS_PPM) << FAULT_ERRORS;
	faults |= (unsigned)(database > BEAT_STORE_OK || health->slow == DATABASE_WINDOWS) << FAULT_DATABASE;
	faults |= (unsigned)(vault > BEAT_STORE_OK) << FAULT_VAULT;
	faults |= (unsigned)(health->loaded_ms != 0 && view->now_ms - health->loaded_ms >= view->rules->load_ms)
			  << FAULT_LOAD;
	faults |= (unsigned)(figures->state == BEAT_STATE_DEGRADED) << FAULT_SAID;
	return faults;
}

static bool is_under_half(const struct beat_figures *figures)
{
	return worst_errors(figures) <= ERRORS_PPM / 2 && figures->store_us[BEAT_DATABASE] <= DATABASE_US / 2 &&
		   figures->cpu <= CPU_PCT / 2;
}

static uint64_t after(const struct health_view *view, uint64_t pct)
{
	return view->rules->interval_ms * pct / 100;
}

/* A cell whose lease has ended while it slept says so once, and is answered: only who says it again and again does not
 * hear us. The row of heartbeats to be believed by begins after the last that says so. */
static void count(struct health *health, const struct health_view *view, bool is_fenced)
{
	bool was_silent = health->heard_ms == 0 || health_silence_ms(health, view) >= after(view, view->rules->suspect_pct);
	health->heard_ms = view->now_ms;
	health->reach = REACH_UNKNOWN;
	if (!was_silent && view->now_ms - health->counted_ms < view->rules->interval_ms / 2)
		return;
	if (was_silent || health->row == 0 || (health->fenced > 0 && !is_fenced)) {
		health->row = 0;
		health->row_ms = view->now_ms;
	}
	health->row++;
	health->counted_ms = view->now_ms;
	if (!is_fenced)
		health->fenced = 0;
	else if (health->fenced < view->rules->steady_beats)
		health->fenced++;
}

void health_hear(struct health *health, const struct health_view *view, const struct beat_figures *figures)
{
	unsigned faults = faults_of(health, view, figures);
	health->faults = (uint8_t)faults;
	if (faults != 0 || !is_under_half(figures))
		health->unwell_ms = view->now_ms;
	count(health, view, figures->state == BEAT_STATE_FENCED);
}

uint64_t health_silence_ms(const struct health *health, const struct health_view *view)
{
	uint64_t from = health->heard_ms > view->trusted_ms ? health->heard_ms : view->trusted_ms;
	return view->now_ms > from ? view->now_ms - from : 0;
}

/* --- the questions of the table */

static bool is_silent(const struct health *health, const struct health_view *view)
{
	return !view->is_grace && health_silence_ms(health, view) >= after(view, view->rules->suspect_pct);
}

static bool is_gone(const struct health *health, const struct health_view *view)
{
	return !view->is_grace && health_silence_ms(health, view) >= after(view, view->rules->gone_pct);
}

static bool is_gone_unreached(const struct health *health, const struct health_view *view)
{
	return is_gone(health, view) && health->reach == REACH_NO;
}

static bool is_gone_reached(const struct health *health, const struct health_view *view)
{
	return is_gone(health, view) && health->reach == REACH_YES;
}

static bool may_fail_over(const struct health *health, const struct health_view *view)
{
	(void)health;
	return view->may_fail_over;
}

static bool may_not_fail_over(const struct health *health, const struct health_view *view)
{
	return !may_fail_over(health, view);
}

static bool is_fenced(const struct health *health, const struct health_view *view)
{
	return !view->is_grace && health->fenced >= view->rules->steady_beats;
}

static bool is_steady(const struct health *health, const struct health_view *view)
{
	return health->fenced == 0 && health->row >= view->rules->steady_beats && !is_silent(health, view);
}

static bool is_back(const struct health *health, const struct health_view *view)
{
	return is_steady(health, view) && health->row >= view->rules->back_beats &&
		   health->counted_ms - health->row_ms >= view->rules->back_ms;
}

static bool is_unwell(const struct health *health, const struct health_view *view)
{
	(void)view;
	return health->faults != 0;
}

static bool is_well(const struct health *health, const struct health_view *view)
{
	return health->faults == 0 && view->now_ms - health->unwell_ms >= view->rules->well_ms;
}

static bool has_fallen_often(const struct health *health, const struct health_view *view)
{
	uint64_t first = health->falls_s[HEALTH_FALLS - 1];
	return first != 0 && view->now_ms / 1000 - first < view->rules->flap_window_ms / 1000;
}

static bool is_steady_flapper(const struct health *health, const struct health_view *view)
{
	return is_steady(health, view) && has_fallen_often(health, view);
}

static bool is_back_flapper(const struct health *health, const struct health_view *view)
{
	return is_back(health, view) && has_fallen_often(health, view);
}

static bool is_quiet(const struct health *health, const struct health_view *view)
{
	uint64_t quiet = view->rules->flap_quiet_ms;
	for (unsigned i = 1; i < health->flaps && quiet < view->rules->flap_quiet_max_ms; i++)
		quiet *= 2;
	quiet = quiet < view->rules->flap_quiet_max_ms ? quiet : view->rules->flap_quiet_max_ms;
	return is_steady(health, view) && view->now_ms - health->quiet_ms >= quiet;
}

#define BIT(state) (1u << CELL_##state)
/* The first row that holds is taken. */
static const struct transition {
	unsigned from; /* bits of enum cell_health */
	enum cell_health to;
	bool (*when)(const struct health *health, const struct health_view *view);
	const char *why;
} transitions[] = {
	{BIT(HEALTHY) | BIT(DEGRADED), CELL_SUSPECT, is_silent, "no heartbeat"},
	{BIT(HEALTHY) | BIT(DEGRADED) | BIT(SUSPECT) | BIT(FLAPPING), CELL_ISOLATED, is_fenced,
		"heartbeats arrive, their answers do not"},
	{BIT(SUSPECT) | BIT(ISOLATED) | BIT(FLAPPING), CELL_UNREACHABLE, is_gone_unreached,
		"no heartbeat, and no answer at its ingress"},
	{BIT(SUSPECT) | BIT(UNREACHABLE) | BIT(FAILOVER_ELIGIBLE) | BIT(FLAPPING), CELL_ISOLATED, is_gone_reached,
		"no heartbeat here, but somebody reaches it"},
	{BIT(UNREACHABLE), CELL_FAILOVER_ELIGIBLE, may_fail_over, "unreachable for long, its lease over, no brake on"},
	{BIT(FAILOVER_ELIGIBLE), CELL_UNREACHABLE, may_not_fail_over, "fail-over is held back again"},
	{BIT(SUSPECT), CELL_FLAPPING, is_steady_flapper, "back, but it fell three times"},
	{BIT(UNREACHABLE) | BIT(ISOLATED), CELL_FLAPPING, is_back_flapper, "back, but it fell three times"},
	{BIT(FLAPPING), CELL_HEALTHY, is_quiet, "quiet for long enough"},
	{BIT(UNKNOWN) | BIT(SUSPECT), CELL_HEALTHY, is_steady, "heartbeats in a row"},
	{BIT(UNREACHABLE) | BIT(ISOLATED), CELL_HEALTHY, is_back, "heartbeats in a row again"},
	{BIT(HEALTHY), CELL_DEGRADED, is_unwell, "its own figures"},
	{BIT(DEGRADED), CELL_HEALTHY, is_well, "all figures well below their limits"},
};
#undef BIT

/* --- moving */

static void note_fall(struct health *health, const struct health_view *view)
{
	memmove(health->falls_s + 1, health->falls_s, sizeof(health->falls_s) - sizeof(health->falls_s[0]));
	health->falls_s[0] = (uint32_t)(view->now_ms / 1000) + 1;
}

static void enter(struct health *health, const struct health_view *view, enum cell_health state)
{
	bool was_up = health->state == CELL_HEALTHY || health->state == CELL_DEGRADED;
	if (was_up && (state == CELL_SUSPECT || state == CELL_ISOLATED))
		note_fall(health, view);
	if (state == CELL_FLAPPING) {
		bool is_again = health->quiet_ms != 0 && view->now_ms - health->quiet_ms < 2 * view->rules->flap_quiet_max_ms;
		health->flaps = is_again && health->flaps < UINT8_MAX ? (uint8_t)(health->flaps + 1) : 1;
		health->quiet_ms = view->now_ms;
	}
	if (health->state == CELL_FLAPPING && state == CELL_HEALTHY)
		memset(health->falls_s, 0, sizeof(health->falls_s));
	health->state = (uint8_t)state;
	health->since_ms = view->now_ms;
}

bool health_step(struct health *health, const struct health_view *view, const char **why)
{
	if (health->state == CELL_FLAPPING && is_silent(health, view))
		health->quiet_ms = view->now_ms;
	for (size_t i = 0; i < sizeof(transitions) / sizeof(transitions[0]); i++) {
		const struct transition *row = &transitions[i];
		if ((row->from >> health->state & 1) != 0 && row->when(health, view)) {
			*why = row->why;
			enter(health, view, row->to);
			return true;
		}
	}
	return false;
}

bool health_wants_probe(const struct health *health, const struct health_view *view)
{
	bool is_down = health->state == CELL_SUSPECT || health->state == CELL_ISOLATED || health->state == CELL_FLAPPING ||
				   cell_health_is_gone((enum cell_health)health->state);
	return is_down && health_silence_ms(health, view) >= after(view, view->rules->suspect_pct);
}

uint64_t health_due_ms(const struct health *health, const struct health_view *view)
{
	uint64_t silence = health_silence_ms(health, view), suspect = after(view, view->rules->suspect_pct);
	bool is_up = health->state == CELL_HEALTHY || health->state == CELL_DEGRADED;
	/* What is heard is judged when it is heard; only the end of silence's bounds comes by itself. */
	if (is_up && silence < suspect)
		return view->now_ms + (suspect - silence);
	return view->now_ms + view->rules->interval_ms / 8 + 1;
}
