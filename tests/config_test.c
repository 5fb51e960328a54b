/* Settings: what the file may say, and that a mistake is one line that names file, key and what is allowed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/config.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

struct item {
	int64_t port;
	char *name;
};
struct sample {
	bool on;
	int64_t count, size, wait_ms;
	char *text, *bounded;
	int color;
	struct setting_texts words;
	struct setting_objects items;
};

static const char *const colors[] = {"red", "green", NULL};
static const struct setting item_table[] = {
	{.key = "port",
		.kind = SETTING_INTEGER,
		.offset = offsetof(struct item, port),
		.preset = "80",
		.minimum = 1,
		.maximum = 65535,
		.help = "a port"},
	{.key = "name", .kind = SETTING_TEXT, .offset = offsetof(struct item, name), .preset = "none", .help = "a name"},
};

#define SETTING(name, kind_, ...)                                                                                      \
	{                                                                                                                  \
		.key = #name, .kind = kind_, .offset = offsetof(struct sample, name), .help = #name " helps", __VA_ARGS__      \
	}
static const struct setting sample_table[] = {
	SETTING(on, SETTING_BOOL, .preset = "true"),
	SETTING(count, SETTING_INTEGER, .preset = "7", .minimum = -5, .maximum = 10),
	SETTING(size, SETTING_BYTES, .preset = "2 KiB", .minimum = 1, .maximum = (int64_t)4 << 30),
	SETTING(wait_ms, SETTING_MILLISECONDS, .preset = "10 s", .minimum = 0, .maximum = 86400000),
	SETTING(text, SETTING_TEXT),
	SETTING(bounded, SETTING_TEXT, .preset = "abc", .minimum = 2, .maximum = 5),
	SETTING(color, SETTING_CHOICE, .preset = "green", .choices = colors),
	SETTING(words, SETTING_TEXTS),
	SETTING(items, SETTING_OBJECTS, .members = item_table, .member_count = COUNT(item_table),
		.object_size = sizeof(struct item)),
};

struct loaded {
	struct sample sample, other;
	struct setting_section sections[2];
	struct buffer error;
	enum status status;
};

static struct loaded *load(struct text content)
{
	struct loaded *loaded = calloc(1, sizeof(*loaded));
	loaded->sections[0] = (struct setting_section){"sample", sample_table, COUNT(sample_table), &loaded->sample};
	loaded->sections[1] = (struct setting_section){"other", sample_table, 1, &loaded->other};
	loaded->status = config_parse("c.json", content, loaded->sections, 2, &loaded->error);
	return loaded;
}

static void unload(struct loaded *loaded)
{
	config_free(loaded->sections, 2);
	buffer_free(&loaded->error);
	free(loaded);
}

static void defaults_are_set(void **state)
{
	(void)state;
	struct loaded *loaded = load(TEXT("{}"));
	const struct sample *sample = &loaded->sample;
	assert_int_equal(loaded->status, STATUS_OK);
	assert_int_equal(loaded->error.length, 0);
	assert_true(sample->on && loaded->other.on);
	assert_int_equal(sample->count, 7);
	assert_int_equal(sample->size, 2048);
	assert_int_equal(sample->wait_ms, 10000);
	assert_null(sample->text);
	assert_string_equal(sample->bounded, "abc");
	assert_int_equal(sample->color, 1);
	assert_int_equal(sample->words.count + sample->items.count, 0);
	unload(loaded);
}

static void values_are_read(void **state)
{
	(void)state;
	struct loaded *loaded = load(TEXT("{\"sample\":{\"on\":false,\"count\":-5,\"size\":\"3 MiB\",\"wait_ms\":\"5 min\","
									  "\"text\":\"t\",\"bounded\":\"12345\",\"color\":\"red\",\"words\":[\"a\",\"b\"],"
									  "\"items\":[{\"port\":1},{\"name\":\"n\"}]},\"other\":{\"on\":false}}"));
	const struct sample *sample = &loaded->sample;
	const struct item *items = sample->items.items;
	assert_int_equal(loaded->status, STATUS_OK);
	assert_true(!sample->on && !loaded->other.on);
	assert_int_equal(sample->count, -5);
	assert_int_equal(sample->size, 3 << 20);
	assert_int_equal(sample->wait_ms, 300000);
	assert_string_equal(sample->text, "t");
	assert_string_equal(sample->bounded, "12345");
	assert_int_equal(sample->color, 0);
	assert_int_equal(sample->words.count, 2);
	assert_string_equal(sample->words.items[1], "b");
	assert_int_equal(sample->items.count, 2);
	assert_int_equal(items[0].port, 1);
	assert_string_equal(items[0].name, "none");
	assert_int_equal(items[1].port, 80);
	assert_string_equal(items[1].name, "n");
	unload(loaded);
}

static void units_are_understood(void **state)
{
	(void)state;
	static const struct {
		const char *key, *value;
		int64_t number; /* -1: refused */
	} units[] = {
		{"size", "5", 5},
		{"size", "\"5\"", -1},
		{"size", "\"5B\"", 5},
		{"size", "\"5 B\"", 5},
		{"size", "\"1KiB\"", 1024},
		{"size", "\"4 GiB\"", (int64_t)4 << 30},
		{"size", "\"5 GiB\"", -1},
		{"size", "\"9223372036854775807 GiB\"", -1},
		{"size", "\"1 KB\"", -1},
		{"size", "\"1 kib\"", -1},
		{"size", "\"-1 B\"", -1},
		{"size", "\"1.5 KiB\"", -1},
		{"size", "\" 1 KiB\"", -1},
		{"size", "\"KiB\"", -1},
		{"size", "0", -1},
		{"size", "1.5", -1},
		{"wait_ms", "\"500 ms\"", 500},
		{"wait_ms", "\"2 s\"", 2000},
		{"wait_ms", "\"2 min\"", 120000},
		{"wait_ms", "\"2 h\"", 7200000},
		{"wait_ms", "\"1 d\"", 86400000},
		{"wait_ms", "\"2 d\"", -1},
		{"wait_ms", "\"1 m\"", -1},
		{"wait_ms", "\"1 KiB\"", -1},
		{"count", "\"5 B\"", -1},
		{"count", "\"5\"", -1},
		{"count", "1e1", 10},
	};
	for (size_t i = 0; i < COUNT(units); i++) {
		struct buffer content = {0};
		buffer_printf(&content, "{\"sample\":{\"%s\":%s}}", units[i].key, units[i].value);
		struct loaded *loaded = load(buffer_text(&content));
		const struct sample *sample = &loaded->sample;
		int64_t number = units[i].key[0] == 's'   ? sample->size
						 : units[i].key[0] == 'w' ? sample->wait_ms
												  : sample->count;
		if ((loaded->status == STATUS_OK) != (units[i].number >= 0) ||
			(loaded->status == STATUS_OK && number != units[i].number))
			fail_msg("%s: %s", content.bytes, status_name(loaded->status));
		buffer_free(&content);
		unload(loaded);
	}
}

static const struct {
	const char *content, *message;
} mistakes[] = {
	{"{\"sample\":{\"cuont\":1}}",
		"c.json: sample.cuont: unknown key; allowed: on, count, size, wait_ms, text, bounded, "
		"color, words, items"},
	{"{\"sample\":{\"Count\":1}}",
		"c.json: sample.Count: unknown key; allowed: on, count, size, wait_ms, text, bounded, "
		"color, words, items"},
	{"{\"other\":{\"a\\nb\":1}}", "c.json: other.\"a\\nb\": unknown key; allowed: on"},
	{"{\"simple\":{}}", "c.json: simple: unknown section; allowed: sample, other"},
	{"{\"sample\":[]}", "c.json: sample: must be an object"},
	{"[]", "c.json: must be a JSON object of sections"},
	{"{\"sample\":{\"on\":1}}", "c.json: sample.on: must be true or false"},
	{"{\"sample\":{\"count\":\"x\"}}", "c.json: sample.count: must be an integer from -5 to 10"},
	{"{\"sample\":{\"count\":11}}", "c.json: sample.count: must be an integer from -5 to 10"},
	{"{\"sample\":{\"count\":null}}", "c.json: sample.count: must be an integer from -5 to 10"},
	{"{\"sample\":{\"size\":\"9 TiB\"}}",
		"c.json: sample.size: must be bytes (an integer, or like \"64 KiB\") from 1 to 4294967296"},
	{"{\"sample\":{\"wait_ms\":-1}}",
		"c.json: sample.wait_ms: must be milliseconds (an integer, or like \"10 s\") from 0 to 86400000"},
	{"{\"sample\":{\"text\":5}}", "c.json: sample.text: must be a text"},
	{"{\"sample\":{\"bounded\":null}}", "c.json: sample.bounded: must be a text"},
	{"{\"sample\":{\"bounded\":\"a\"}}", "c.json: sample.bounded: must be a text of 2 to 5 bytes"},
	{"{\"sample\":{\"bounded\":\"123456\"}}", "c.json: sample.bounded: must be a text of 2 to 5 bytes"},
	{"{\"sample\":{\"color\":\"blue\"}}", "c.json: sample.color: must be one of \"red\", \"green\""},
	{"{\"sample\":{\"color\":1}}", "c.json: sample.color: must be one of \"red\", \"green\""},
	{"{\"sample\":{\"words\":\"a\"}}", "c.json: sample.words: must be an array of texts"},
	{"{\"sample\":{\"words\":[\"a\",1]}}", "c.json: sample.words: must be an array of texts"},
	{"{\"sample\":{\"items\":{}}}", "c.json: sample.items: must be an array of objects"},
	{"{\"sample\":{\"items\":[{},5]}}", "c.json: sample.items[1]: must be an object"},
	{"{\"sample\":{\"items\":[{},{\"port\":0}]}}", "c.json: sample.items[1].port: must be an integer from 1 to 65535"},
	{"{\"sample\":{\"items\":[{\"x\":0}]}}", "c.json: sample.items[0].x: unknown key; allowed: port, name"},
	{"{\n\"sample\": {\n\"count\": 1,\n}}", "c.json:4: not valid JSON (or a key twice)"},
	{"{\"sample\":{\"count\":1,\n\"count\":2}}", "c.json:2: not valid JSON (or a key twice)"},
	{"", "c.json:1: not valid JSON (or a key twice)"},
};

static void mistakes_are_named_in_one_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(mistakes); i++) {
		struct loaded *loaded = load(text_of(mistakes[i].content));
		assert_int_equal(loaded->status, STATUS_INVALID);
		assert_string_equal(loaded->error.bytes, mistakes[i].message);
		unload(loaded);
	}
}

static void files_are_read(void **state)
{
	(void)state;
	char name[] = "/tmp/config_test_XXXXXX";
	int descriptor = mkstemp(name);
	static const char content[] = "{\"sample\": {\"count\": 3}}\n";
	struct loaded *loaded = load(TEXT("{}"));
	assert_int_equal(write(descriptor, content, sizeof(content) - 1), sizeof(content) - 1);
	close(descriptor);
	config_free(loaded->sections, 2);
	assert_int_equal(config_load(name, loaded->sections, 2, &loaded->error), STATUS_OK);
	assert_int_equal(loaded->sample.count, 3);
	unlink(name);
	config_free(loaded->sections, 2);
	assert_int_equal(config_load("/nowhere/c.json", loaded->sections, 2, &loaded->error), STATUS_NOT_FOUND);
	assert_string_equal(loaded->error.bytes, "/nowhere/c.json: No such file or directory");
	assert_int_equal(config_load(NULL, loaded->sections, 2, &loaded->error), STATUS_OK);
	assert_int_equal(loaded->sample.count, 7);
	unload(loaded);
}

/* What is printed is, without its comments, a file that says the same. */
static void printing_reads_back(void **state)
{
	(void)state;
	struct loaded *loaded =
		load(TEXT("{\"sample\":{\"text\":\"a\\\"\\n\",\"words\":[\"x\"],\"items\":[{\"port\":5},{}]}}"));
	char *printed[2] = {NULL, NULL};
	for (int i = 0; i < 2; i++) {
		size_t length = 0;
		FILE *out = open_memstream(&printed[i], &length);
		config_print(out, loaded->sections, 2);
		fclose(out);
		unload(loaded);
		struct buffer bare = {0};
		struct text rest = {printed[i], length}, line;
		bool done = false;
		while (text_next_part(&rest, '\n', &line, &done)) {
			if (!text_starts_with(text_trim(line), TEXT("//")))
				buffer_append(&bare, line);
		}
		loaded = load(buffer_text(&bare));
		buffer_free(&bare);
		if (loaded->status != STATUS_OK)
			fail_msg("%s", loaded->error.bytes);
	}
	assert_string_equal(printed[0], printed[1]);
	assert_non_null(strstr(printed[0], "// count helps (-5 to 10)\n"));
	assert_non_null(strstr(printed[0], "// color helps (red, green)\n"));
	free(printed[0]);
	free(printed[1]);
	unload(loaded);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_set),
		cmocka_unit_test(values_are_read),
		cmocka_unit_test(units_are_understood),
		cmocka_unit_test(mistakes_are_named_in_one_line),
		cmocka_unit_test(files_are_read),
		cmocka_unit_test(printing_reads_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
