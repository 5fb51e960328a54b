/* What the provision manager counts, and how it is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "control/fabric/orchestration/statistics.h"

#define DEPLOY "cfm.orchestration.vpa.deploy"

static struct statistics *statistics;

static int set_up(void **state)
{
	(void)state;
	statistics = statistics_new();
	return statistics == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	statistics_free(statistics);
	return 0;
}

static void shows(const char *line, bool is_shown)
{
	struct buffer text = {0}, whole = {0};
	statistics_render(statistics, &text);
	buffer_printf(&whole, "\n%s\n", line);
	assert_false(text.failed || whole.failed);
	if ((strstr(text.bytes, whole.bytes) != NULL) != is_shown)
		fail_msg("%s%s in\n%s", line, is_shown ? " is not" : " is", text.bytes);
	buffer_free(&text);
	buffer_free(&whole);
}

static void orchestrations_are_counted_by_type_and_state(void **state)
{
	(void)state;
	statistics_count(statistics, TEXT(DEPLOY), STATISTICS_ORDERED, 1);
	statistics_count(statistics, TEXT(DEPLOY), STATISTICS_ORDERED, -1);
	statistics_count(statistics, TEXT(DEPLOY), STATISTICS_RUNNING, 1);
	statistics_count(statistics, TEXT("other.type"), STATISTICS_ERRORED, 1);
	statistics_started(statistics, TEXT(DEPLOY));
	shows("celld_orchestrations{type=\"" DEPLOY "\",state=\"ordered\"} 0", true);
	shows("celld_orchestrations{type=\"" DEPLOY "\",state=\"running\"} 1", true);
	shows("celld_orchestrations{type=\"other.type\",state=\"errored\"} 1", true);
	shows("celld_orchestrations_started_total{type=\"" DEPLOY "\"} 1", true);
	shows("celld_orchestrations_started_total{type=\"other.type\"} 0", true);
}

static void durations_fall_into_buckets(void **state)
{
	(void)state;
	static const int64_t took_ms[] = {-5, 0, 10, 11, 1800000, 1800001};
	for (size_t i = 0; i < sizeof(took_ms) / sizeof(took_ms[0]); i++)
		statistics_ended(statistics, TEXT(DEPLOY), "completed", took_ms[i]);
	statistics_ended(statistics, TEXT(DEPLOY), "never heard of", 1);
#define NAME "celld_orchestration_duration_seconds"
#define LABELS "type=\"" DEPLOY "\",result=\"completed\""
	shows(NAME "_bucket{" LABELS ",le=\"0.010\"} 3", true);
	shows(NAME "_bucket{" LABELS ",le=\"0.025\"} 4", true);
	shows(NAME "_bucket{" LABELS ",le=\"300.000\"} 4", true);
	shows(NAME "_bucket{" LABELS ",le=\"1800.000\"} 5", true);
	shows(NAME "_bucket{" LABELS ",le=\"+Inf\"} 6", true);
	shows(NAME "_sum{" LABELS "} 3600.022", true);
	shows(NAME "_count{" LABELS "} 6", true);
	shows(NAME "_count{type=\"" DEPLOY "\",result=\"errored\"} 0", false); /* nothing was seen: nothing is shown */
}

static void parse(const char *text, struct orchestration *orchestration)
{
	struct buffer error = {0};
	if (orchestration_parse(text_of(text), orchestration, &error) != STATUS_OK)
		fail_msg("%s", error.bytes);
}

#define VALUE(data, completed)                                                                                         \
	"{\"id\":\"o\",\"correlationId\":\"p\",\"definitionId\":\"d\",\"state\":0,\"orchestrationType\":\"" DEPLOY "\","   \
	"\"steps\":[{\"activities\":[{\"id\":\"a\",\"type\":\"edcv-activity--cell-1\"},{\"id\":\"b\",\"type\":\"two\"}]}," \
	"{\"activities\":[{\"id\":\"c\",\"type\":\"edcv-activity\"}]}],\"processingData\":{" data "},"                     \
	"\"outputData\":{},\"completed\":{" completed "}}"

/* Only what is over now and was not before; the attempts as whoever ran it has counted them. */
static void activities_are_counted_as_they_end(void **state)
{
	(void)state;
	struct orchestration begun, first, second, failed;
	parse(VALUE("", ""), &begun);
	parse(VALUE("\"activity.a.attempt\":3,\"celld.activity.a\":{\"first\":99000}", "\"a\":{}"), &first);
	parse(VALUE("\"activity.a.attempt\":3", "\"a\":{},\"b\":{}"), &second);
	parse(VALUE("\"celld.activity.c\":{\"failed\":true}", "\"a\":{},\"b\":{}"), &failed);
	statistics_compare(statistics, &begun, &begun, 90000, 100000);
	statistics_compare(statistics, &begun, &first, 90000, 100000);
#define ACTIVITY "celld_activity_duration_seconds"
	shows(ACTIVITY "_sum{type=\"edcv-activity\",result=\"completed\"} 1.000", true);
	shows("celld_activity_attempts_total{type=\"edcv-activity\"} 3", true);
	shows(ACTIVITY "_count{type=\"two\",result=\"completed\"} 1", false);
	statistics_compare(statistics, &first, &second, 90000, 100000);
	shows(ACTIVITY "_sum{type=\"two\",result=\"completed\"} 10.000", true);
	shows("celld_activity_attempts_total{type=\"two\"} 1", true);
	statistics_compare(statistics, &second, &failed, 90000, 100000);
	shows(ACTIVITY "_count{type=\"edcv-activity\",result=\"errored\"} 1", true);
	shows(ACTIVITY "_count{type=\"edcv-activity\",result=\"completed\"} 1", true);
	orchestration_free(&begun);
	orchestration_free(&first);
	orchestration_free(&second);
	orchestration_free(&failed);
}

/* Types are names of people: their number, and what may stand in them, is bounded. */
static void types_are_bounded(void **state)
{
	(void)state;
	for (int i = 0; i < STATISTICS_TYPES_MAX + 10; i++) {
		char type[32];
		snprintf(type, sizeof(type), "type-%d", i);
		statistics_started(statistics, text_of(type));
	}
	statistics_started(statistics, TEXT("a\"} 1\nb"));
	statistics_started(statistics, TEXT(""));
	shows("celld_orchestrations_started_total{type=\"type-63\"} 1", true);
	shows("celld_orchestrations_started_total{type=\"type-64\"} 1", false);
	shows("celld_orchestrations_started_total{type=\"other\"} 12", true);
}

static void what_was_mended_is_counted(void **state)
{
	(void)state;
	statistics_event(statistics, STATISTICS_ACTIVITY_RESENT, 3);
	statistics_event(statistics, STATISTICS_COMPENSATION, 1);
	shows("celld_orchestration_events_total{event=\"activity_resent\"} 3", true);
	shows("celld_orchestration_events_total{event=\"response_resent\"} 0", true);
	shows("celld_orchestration_events_total{event=\"compensation\"} 1", true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(orchestrations_are_counted_by_type_and_state, set_up, tear_down),
		cmocka_unit_test_setup_teardown(durations_fall_into_buckets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(activities_are_counted_as_they_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(types_are_bounded, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_mended_is_counted, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
