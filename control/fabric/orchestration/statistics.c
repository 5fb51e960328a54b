/* Counters by type, in a table that grows to its bound and no further. */
#include "control/fabric/orchestration/statistics.h"

#include <stdlib.h>
#include <string.h>

enum { RESULTS_MAX = 3, LABEL_MAX = 128 };

/* Seconds in thousandths: from an agent that does nothing to the orchestration's own limit. */
static const int64_t bounds_ms[STATISTICS_BUCKETS - 1] = {
	10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 15000, 60000, 300000, 1800000};

struct histogram {
	int64_t buckets[STATISTICS_BUCKETS];
	int64_t sum_ms;
};

/* Of one type; results: completed, errored, refused. */
struct line {
	char type[LABEL_MAX + 1];
	int64_t places[STATISTICS_PLACES];
	int64_t started, attempts;
	struct histogram results[RESULTS_MAX];
};

struct table {
	size_t count;
	struct line lines[STATISTICS_TYPES_MAX + 1]; /* the last one: all others */
};

struct statistics {
	struct table orchestrations, activities;
	int64_t events[STATISTICS_EVENTS];
};

struct statistics *statistics_new(void)
{
	return calloc(1, sizeof(struct statistics));
}

void statistics_free(struct statistics *statistics)
{
	free(statistics);
}

static struct line *line_of(struct table *table, struct text type)
{
	struct line *other = &table->lines[STATISTICS_TYPES_MAX];
	for (size_t i = 0; i < table->count; i++) {
		if (text_equals(type, text_of(table->lines[i].type)))
			return &table->lines[i];
	}
	if (table->count == STATISTICS_TYPES_MAX || type.length == 0 || type.length > LABEL_MAX ||
		!message_type_is_valid(type)) {
		memcpy(other->type, "other", sizeof("other"));
		return other;
	}
	struct line *line = &table->lines[table->count++];
	memcpy(line->type, type.bytes, type.length);
	return line;
}

static void observe(struct histogram *histogram, int64_t took_ms)
{
	size_t bucket = 0;
	took_ms = took_ms < 0 ? 0 : took_ms; /* clocks of two processes */
	while (bucket < STATISTICS_BUCKETS - 1 && took_ms > bounds_ms[bucket])
		bucket++;
	histogram->buckets[bucket]++;
	histogram->sum_ms += took_ms;
}

static const char *const results[RESULTS_MAX] = {"completed", "errored", "refused"};

void statistics_count(struct statistics *statistics, struct text type, enum statistics_place place, int by)
{
	line_of(&statistics->orchestrations, type)->places[place] += by;
}

void statistics_started(struct statistics *statistics, struct text type)
{
	line_of(&statistics->orchestrations, type)->started++;
}

void statistics_ended(struct statistics *statistics, struct text type, const char *result, int64_t took_ms)
{
	int index = text_find_word(text_of(result), results, RESULTS_MAX);
	if (index >= 0)
		observe(&line_of(&statistics->orchestrations, type)->results[index], took_ms);
}

/* "edcv-activity--cell-1" is an edcv-activity. */
static struct text kind_of(struct text type)
{
	for (size_t i = 1; i + 1 < type.length; i++) {
		if (type.bytes[i] == '-' && type.bytes[i + 1] == '-')
			return text_slice(type, 0, i);
	}
	return type;
}

/* attempts: its runs, as far as its agent has counted them. */
static void activity_ended(
	struct statistics *statistics, struct text type, bool is_success, int64_t took_ms, int64_t attempts)
{
	struct line *line = line_of(&statistics->activities, kind_of(type));
	observe(&line->results[is_success ? 0 : 1], took_ms);
	line->attempts += attempts > 0 ? attempts : 1;
}

static bool is_over(const struct orchestration *orchestration, struct text id, bool *is_success)
{
	*is_success = orchestration_is_completed(orchestration, id);
	return *is_success || json_member(orchestration_note(orchestration, id), "failed") != NULL;
}

void statistics_compare(struct statistics *statistics, const struct orchestration *before,
	const struct orchestration *now, int64_t step_ms, int64_t wall_ms)
{
	for (size_t i = 0; i < orchestration_steps(now); i++) {
		for (const struct json *activity = json_first(orchestration_step(now, i)); activity != NULL;
			 activity = json_next(activity)) {
			struct text id = json_member_text(activity, "id");
			bool is_success, was_success;
			int64_t first_ms = 0;
			if (!is_over(now, id, &is_success) || (before != NULL && is_over(before, id, &was_success)))
				continue;
			(void)json_integer(json_member(orchestration_note(now, id), "first"), &first_ms);
			activity_ended(statistics, json_member_text(activity, "type"), is_success,
				wall_ms - (first_ms > 0 ? first_ms : step_ms), orchestration_attempt(now, id));
		}
	}
}

void statistics_event(struct statistics *statistics, enum statistics_event event, size_t count)
{
	statistics->events[event] += (int64_t)count;
}

/* --- rendering */

static void append_seconds(struct buffer *into, int64_t milliseconds)
{
	buffer_printf(into, "%lld.%03lld", (long long)milliseconds / 1000, (long long)milliseconds % 1000);
}

static void head(struct buffer *into, const char *name, const char *kind, const char *help)
{
	buffer_printf(into, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

static void render_histogram(struct buffer *into, const char *name, const struct line *line, size_t result)
{
	const struct histogram *histogram = &line->results[result];
	int64_t count = 0;
	for (size_t i = 0; i < STATISTICS_BUCKETS; i++)
		count += histogram->buckets[i];
	if (count == 0)
		return;
	int64_t below = 0;
	for (size_t i = 0; i < STATISTICS_BUCKETS - 1; i++) {
		below += histogram->buckets[i];
		buffer_printf(into, "%s_bucket{type=\"%s\",result=\"%s\",le=\"", name, line->type, results[result]);
		append_seconds(into, bounds_ms[i]);
		buffer_printf(into, "\"} %lld\n", (long long)below);
	}
	buffer_printf(into, "%s_bucket{type=\"%s\",result=\"%s\",le=\"+Inf\"} %lld\n", name, line->type, results[result],
		(long long)count);
	buffer_printf(into, "%s_sum{type=\"%s\",result=\"%s\"} ", name, line->type, results[result]);
	append_seconds(into, histogram->sum_ms);
	buffer_printf(
		into, "\n%s_count{type=\"%s\",result=\"%s\"} %lld\n", name, line->type, results[result], (long long)count);
}

/* Line `index` of those that are used, the others' last; NULL: no more. */
static const struct line *line_at(const struct table *table, size_t index)
{
	if (index < table->count)
		return &table->lines[index];
	const struct line *other = &table->lines[STATISTICS_TYPES_MAX];
	return index == table->count && other->type[0] != 0 ? other : NULL;
}

static void render_durations(struct buffer *into, const struct table *table, const char *name, const char *help)
{
	const struct line *line;
	head(into, name, "histogram", help);
	for (size_t i = 0; (line = line_at(table, i)) != NULL; i++) {
		for (size_t j = 0; j < RESULTS_MAX; j++)
			render_histogram(into, name, line, j);
	}
}

static void render_places(struct buffer *into, const struct table *table)
{
	static const char *const places[STATISTICS_PLACES] = {"ordered", "running", "completed", "errored"};
	const struct line *line;
	head(into, "celld_orchestrations", "gauge", "orchestrations that are kept, by state");
	for (size_t i = 0; (line = line_at(table, i)) != NULL; i++) {
		for (size_t j = 0; j < STATISTICS_PLACES; j++)
			buffer_printf(into, "celld_orchestrations{type=\"%s\",state=\"%s\"} %lld\n", line->type, places[j],
				(long long)line->places[j]);
	}
}

void statistics_render(const struct statistics *statistics, struct buffer *into)
{
	static const char *const events[STATISTICS_EVENTS] = {"activity_resent", "response_resent", "compensation"};
	const struct line *line;
	render_places(into, &statistics->orchestrations);
	head(into, "celld_orchestrations_started_total", "counter", "orchestrations that this process started");
	for (size_t i = 0; (line = line_at(&statistics->orchestrations, i)) != NULL; i++)
		buffer_printf(
			into, "celld_orchestrations_started_total{type=\"%s\"} %lld\n", line->type, (long long)line->started);
	render_durations(into, &statistics->orchestrations, "celld_orchestration_duration_seconds",
		"from an orchestration's creation to its end, of those whose end this process took in");
	render_durations(into, &statistics->activities, "celld_activity_duration_seconds",
		"from an activity's first run, or its step's begin, to its end");
	head(into, "celld_activity_attempts_total", "counter", "runs of activities that have come to their end");
	for (size_t i = 0; (line = line_at(&statistics->activities, i)) != NULL; i++)
		buffer_printf(into, "celld_activity_attempts_total{type=\"%s\"} %lld\n", line->type, (long long)line->attempts);
	head(into, "celld_orchestration_events_total", "counter", "what was mended or undone");
	for (size_t i = 0; i < STATISTICS_EVENTS; i++)
		buffer_printf(
			into, "celld_orchestration_events_total{event=\"%s\"} %lld\n", events[i], (long long)statistics->events[i]);
}
