/* Scenario files: what is accepted, and that each mistake is told by its member's name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bench/cellbench/scenario.h"

static char folder[] = "/tmp/scenario-XXXXXX";

static void write_file(const char *name, const char *content)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	FILE *file = fopen(path, "we");
	assert_non_null(file);
	fputs(content, file);
	fclose(file);
}

static enum status load(const char *content, struct scenario **scenario, struct buffer *error)
{
	char path[128];
	write_file("s.json", content);
	snprintf(path, sizeof(path), "%s/s.json", folder);
	return scenario_load(path, scenario, error);
}

static void test_whole(void **state)
{
	struct scenario *scenario = NULL;
	struct buffer error = {0};
	(void)state;
	write_file("token-1", "Bearer one\n");
	write_file("token-2", "Bearer two\r\n");
	enum status status =
		load("{\"name\":\"n\",\"url\":\"https://localhost:8443/\",\"ca_file\":\"ca.pem\",\"threads\":2,\"warmup_ms\":0,"
			 "\"duration_ms\":100,\"tenants\":[{\"name\":\"light\",\"count\":2,\"path\":\"/t/{i}/x?{i}\","
			 "\"authorization_file\":\"token-{i}\",\"rate\":50,\"arrivals\":\"poisson\"},"
			 "{\"name\":\"heavy\",\"path\":\"/big\",\"connections\":4,\"streams\":10}]}",
			&scenario, &error);
	assert_int_equal(status, STATUS_OK);
	assert_int_equal(scenario->tenant_count, 3);
	assert_true(scenario->is_http2);
	assert_string_equal(scenario->tenants[1].name, "light-2");
	assert_string_equal(scenario->tenants[1].group, "light");
	assert_string_equal(scenario->tenants[1].url_text, "https://localhost:8443/t/2/x?2");
	assert_string_equal(scenario->tenants[1].authorization, "Bearer two");
	assert_true(scenario->tenants[1].rate == 50 && scenario->tenants[1].is_poisson);
	assert_string_equal(scenario->tenants[2].name, "heavy");
	assert_null(scenario->tenants[2].authorization);
	assert_true(scenario->tenants[2].rate == 0);
	assert_int_equal(scenario->tenants[2].streams, 10);
	assert_true(text_ends_with(text_of(scenario->ca_file), TEXT("/ca.pem")) && scenario->ca_file[0] == '/');
	scenario_free(scenario);
	buffer_free(&error);
}

static void test_mistakes(void **state)
{
#define GOOD "\"url\":\"http://127.0.0.1:80\",\"tenants\":[{\"name\":\"a\",\"path\":\"/\"}]"
	static const struct {
		const char *content, *wrong;
	} cases[] = {
		{"{", "JSON"},
		{"[]", "scenario"},
		{"{\"url\":\"http://127.0.0.1:80\"}", "tenants"},
		{"{\"url\":\"http://127.0.0.1:80\",\"tenants\":[]}", "tenants"},
		{"{\"url\":\"ftp://127.0.0.1\",\"tenants\":[{\"name\":\"a\",\"path\":\"/\"}]}", "url"},
		{"{\"url\":\"http://127.0.0.1/x\",\"tenants\":[{\"name\":\"a\",\"path\":\"/\"}]}", "url"},
		{"{\"url\":\"http://127.0.0.1\",\"tenants\":[{\"path\":\"/\"}]}", "tenants.name"},
		{"{\"url\":\"http://127.0.0.1\",\"tenants\":[{\"name\":\"a\",\"path\":\"/\",\"speed\":1}]}", "speed"},
		{"{\"url\":\"http://127.0.0.1\",\"tenants\":[{\"name\":\"a\",\"path\":\"/\",\"streams\":101}]}", "streams"},
		{"{\"url\":\"http://127.0.0.1\",\"tenants\":[{\"name\":\"a\",\"path\":\"/\",\"arrivals\":\"x\"}]}", "arrivals"},
		{"{\"url\":\"http://127.0.0.1\",\"tenants\":[{\"name\":\"a\",\"path\":\"/\",\"authorization_file\":\"no\"}]}",
			"authorization_file"},
		{"{\"http\":\"3\"," GOOD "}", "http"},
		{"{\"threads\":0," GOOD "}", "threads"},
		{"{\"threads\":2,\"shared\":true," GOOD "}", "shared"},
		{"{\"shared\":1," GOOD "}", "shared"},
		{"{\"sleeps\":0," GOOD "}", "sleeps"},
		{"{\"window\":100," GOOD "}", "window"},
		{"{\"duration_ms\":\"long\"," GOOD "}", "duration_ms"},
		{"{\"other\":1," GOOD "}", "other"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct scenario *scenario = NULL;
		struct buffer error = {0};
		assert_int_not_equal(load(cases[i].content, &scenario, &error), STATUS_OK);
		assert_non_null(strstr(error.bytes, cases[i].wrong));
		assert_non_null(strstr(error.bytes, "s.json"));
		buffer_free(&error);
	}
	struct scenario *scenario = NULL;
	struct buffer error = {0};
	assert_int_equal(load("{" GOOD "}", &scenario, &error), STATUS_OK);
	scenario_free(scenario);
	buffer_free(&error);
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
	static const char *const names[] = {"s.json", "token-1", "token-2"};
	char path[128];
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole), cmocka_unit_test(test_mistakes)};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
